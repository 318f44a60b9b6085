// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package relay is a CoreDNS plugin that passes queries on to authoritative servers over TCP, because the lab's links between
// places carry nothing else. CoreDNS's own forward plugin would bring modules of which nothing else here has need.
package relay

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

const (
	pluginName = "relay"
	// As long as a resolver waits for one server before it asks the next.
	patience = 800 * time.Millisecond
)

func init() { plugin.Register(pluginName, setup) }

// setup reads: relay ADDRESS:PORT...
func setup(controller *caddy.Controller) error {
	made := &relay{client: dns.Client{Net: "tcp", Timeout: patience}}
	for controller.Next() {
		made.servers = append(made.servers, controller.RemainingArgs()...)
	}
	if len(made.servers) == 0 {
		return plugin.Error(pluginName, controller.ArgErr())
	}
	dnsserver.GetConfig(controller).AddPlugin(func(plugin.Handler) plugin.Handler { return made })
	return nil
}

type relay struct {
	servers []string
	client  dns.Client
	turn    atomic.Uint32
}

// Name says who answers.
func (r *relay) Name() string { return pluginName }

// ServeDNS asks one server after the other, each time beginning with another one, until one answers.
func (r *relay) ServeDNS(ctx context.Context, writer dns.ResponseWriter, query *dns.Msg) (int, error) {
	first := int(r.turn.Add(1))
	for at := range r.servers {
		answer, _, err := r.client.ExchangeContext(ctx, query, r.servers[(first+at)%len(r.servers)])
		if err != nil || answer.Rcode == dns.RcodeServerFailure || answer.Rcode == dns.RcodeRefused {
			continue
		}
		answer.Authoritative, answer.RecursionAvailable = false, true
		return answer.Rcode, writer.WriteMsg(answer)
	}
	return dns.RcodeServerFailure, nil
}
