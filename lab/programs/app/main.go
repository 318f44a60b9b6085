// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command lab-app is the lab's application: one instance of one service, configured by its environment.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"platform.recovery/lab/app/internal/app"
)

func main() {
	// Eight and more instances share one machine: a small heap is worth more here than the collector's time.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(20 << 20)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("service", os.Getenv("SERVICE_NAME"))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := app.ConfigFrom(os.Getenv)
	if err == nil {
		err = app.Run(ctx, config, log)
	}
	if err != nil {
		log.Error("cannot serve", "reason", err)
		os.Exit(1)
	}
}
