// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package readypods is a CoreDNS plugin that answers <service>.<namespace>.svc.<zone> with the addresses of the
// service's ready pods. CoreDNS's own kubernetes plugin reads EndpointSlices, in which Kubernetes allows no loopback
// address, and the lab's pods have no other.
package readypods

import (
	"context"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"k8s.io/client-go/tools/clientcmd"
)

const pluginName = "readypods"

func init() { plugin.Register(pluginName, setup) }

type settings struct {
	zones                 []string
	kubeconfig, namespace string
}

func setup(controller *caddy.Controller) error {
	wanted, err := parse(controller)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", wanted.kubeconfig)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	cluster, err := newCluster(config, wanted.namespace)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	controller.OnStartup(func() error { cluster.follow(ctx); return nil })
	controller.OnShutdown(func() error { cancel(); return nil })
	dnsserver.GetConfig(controller).AddPlugin(func(next plugin.Handler) plugin.Handler {
		return &handler{zones: wanted.zones, cluster: cluster, next: next}
	})
	return nil
}

// parse reads: readypods [ZONE...] { kubeconfig FILE; namespace NAME }
func parse(controller *caddy.Controller) (settings, error) {
	wanted := settings{}
	for controller.Next() {
		wanted.zones = plugin.OriginsFromArgsOrServerBlock(controller.RemainingArgs(), controller.ServerBlockKeys)
		for controller.NextBlock() {
			if err := wanted.property(controller); err != nil {
				return wanted, err
			}
		}
	}
	if wanted.kubeconfig == "" {
		return wanted, controller.Err("kubeconfig is missing")
	}
	return wanted, nil
}

func (s *settings) property(controller *caddy.Controller) error {
	name := controller.Val()
	values := controller.RemainingArgs()
	if len(values) != 1 {
		return controller.ArgErr()
	}
	switch name {
	case "kubeconfig":
		s.kubeconfig = values[0]
	case "namespace":
		s.namespace = values[0]
	default:
		return controller.Errf("unknown property %q", name)
	}
	return nil
}
