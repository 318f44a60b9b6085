// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command lab-authority is an authoritative name server of the lab's hosted zones: it answers as Route 53 would.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"platform.recovery/lab/internal/authority"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var config authority.Config
	flag.StringVar(&config.Listen, "listen", "", "address:port, for UDP and TCP")
	flag.StringVar(&config.Feed, "feed", "", "URL of the AWS API, whose hosted zones are followed")
	flag.StringVar(&config.State, "state", "", "file in which the newest zones are kept: a restart needs no control plane")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := authority.Run(ctx, config, log); err != nil {
		log.Error("cannot serve", "reason", err)
		os.Exit(1)
	}
}
