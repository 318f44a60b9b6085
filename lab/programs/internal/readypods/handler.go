// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package readypods

import (
	"context"
	"net"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// handler answers for its zones and passes everything else on.
type handler struct {
	zones   []string
	cluster *cluster
	next    plugin.Handler
}

// Name is what CoreDNS calls the plugin.
func (h *handler) Name() string { return pluginName }

// Ready is asked by CoreDNS's ready plugin.
func (h *handler) Ready() bool { return h.cluster.synced() }

// ServeDNS answers one query. Nothing may be cached: a pod's readiness changes at any moment.
func (h *handler) ServeDNS(ctx context.Context, writer dns.ResponseWriter, query *dns.Msg) (int, error) {
	state := request.Request{W: writer, Req: query}
	zone := plugin.Zones(h.zones).Matches(state.Name())
	if zone == "" {
		return plugin.NextOrFailure(h.Name(), h.next, ctx, writer, query)
	}
	if !h.Ready() {
		return dns.RcodeServerFailure, nil
	}
	answer := new(dns.Msg).SetReply(query)
	answer.Authoritative = true
	addresses, known := h.lookUp(state.Name(), zone)
	if !known {
		answer.Rcode = dns.RcodeNameError
	}
	if state.QType() == dns.TypeA {
		answer.Answer = records(state.QName(), addresses)
	}
	if len(answer.Answer) == 0 {
		answer.Ns = []dns.RR{authority(zone)}
	}
	return dns.RcodeSuccess, writer.WriteMsg(answer)
}

func (h *handler) lookUp(name, zone string) (addresses []string, known bool) {
	labels := strings.Split(strings.TrimSuffix(name, "."+zone), ".")
	if len(labels) != 3 || labels[2] != "svc" {
		return nil, name == zone
	}
	return h.cluster.readyAddresses(labels[1], labels[0])
}

func records(name string, addresses []string) []dns.RR {
	list := make([]dns.RR, 0, len(addresses))
	for _, address := range addresses {
		header := dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}
		list = append(list, &dns.A{Hdr: header, A: net.ParseIP(address)})
	}
	return list
}

// authority goes with an empty answer, so that its emptiness is not cached either.
func authority(zone string) dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET},
		Ns:  "ns.dns." + zone, Mbox: "hostmaster." + zone, Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400,
	}
}
