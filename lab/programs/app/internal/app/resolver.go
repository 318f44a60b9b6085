// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"errors"
	"net"
	"strings"
)

// Resolver finds addresses by asking the region's own DNS server: the machine's resolver knows neither the
// cluster's names nor the region's view of the others.
type Resolver struct {
	dns    *net.Resolver
	server string
}

// NewResolver asks the server at address (ip:port), or the machine's resolver if address is empty.
func NewResolver(address string) *Resolver {
	if address == "" {
		return &Resolver{dns: net.DefaultResolver}
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, address)
	}
	return &Resolver{dns: &net.Resolver{PreferGo: true, Dial: dial}, server: address}
}

// Lookup returns the IPv4 addresses of host. The trailing dot keeps the machine's search domains out, each of
// which would cost a round trip and could answer for a stranger.
func (r *Resolver) Lookup(ctx context.Context, host string) ([]string, error) {
	if net.ParseIP(host) != nil {
		return []string{host}, nil
	}
	if strings.Contains(host, ".") && !strings.HasSuffix(host, ".") {
		host += "."
	}
	found, err := r.dns.LookupIP(ctx, "ip4", host)
	if err != nil {
		return nil, r.blamed(err)
	}
	addresses := make([]string, len(found))
	for i, ip := range found {
		addresses[i] = ip.String()
	}
	return addresses, nil
}

// blamed names the server that was really asked, where the error names the machine's.
func (r *Resolver) blamed(err error) error {
	var problem *net.DNSError
	if r.server != "" && errors.As(err, &problem) {
		problem.Server = r.server
	}
	return err
}

// Dial connects to the first address of a host that takes the connection.
func (r *Resolver) Dial(ctx context.Context, network, target string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	addresses, err := r.Lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	var conn net.Conn
	for _, address := range addresses {
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(address, port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}
