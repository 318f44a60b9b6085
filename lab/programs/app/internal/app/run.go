// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// lameDuck is how long an ending instance still takes requests: those who send them learn of its end by watching
	// the cluster, at the same moment as the instance itself.
	lameDuck     = 150 * time.Millisecond
	finishWithin = 850 * time.Millisecond
)

// Run serves until ctx ends, then finishes what is in flight within a second.
func Run(ctx context.Context, config Config, log *slog.Logger) error {
	began := time.Now()
	resolver := NewResolver(config.Resolver)
	database, err := OpenDatabase(context.Background(), config, resolver)
	if err != nil {
		return err
	}
	stores, err := OpenStores(config, resolver, log)
	if err != nil {
		return err
	}
	consumer, err := OpenConsumer(config, resolver, database, stores, log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return err
	}
	depends := NewDependencies(config, resolver)
	server := NewServer(config.Service, database, stores, depends.Check, log)
	web := &http.Server{Handler: server.Handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	var background sync.WaitGroup
	if consumer != nil {
		background.Go(func() { consumer.Run(ctx) })
	}
	log.Info("serving", "address", config.Listen, "database", config.Database.Host, "seconds", time.Since(began).Seconds())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		err := finish(server, web, log)
		// It leaves its group meanwhile, so that nobody waits for it there.
		background.Wait()
		return err
	}
}

// finish leaves connections to the database to the end of the process: closing them waits for what is in flight,
// and that has had its time.
func finish(server *Server, web *http.Server, log *slog.Logger) error {
	server.Drain()
	web.SetKeepAlivesEnabled(false)
	log.Info("ending")
	time.Sleep(lameDuck)
	ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	if err := web.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
