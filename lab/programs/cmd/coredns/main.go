// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command coredns is a region's DNS server, and the resolver of those who live in none: CoreDNS with the few plugins
// that the lab needs.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"

	_ "platform.recovery/lab/internal/readypods"
	_ "platform.recovery/lab/internal/relay"
)

func main() {
	// The order in which the plugins see a query. CoreDNS's own list names many that are left out here.
	dnsserver.Directives = []string{"bind", "health", "ready", "errors", "log", "cache", "hosts", "readypods", "template", "relay"}
	coremain.Run()
}
