// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command supervisor (lab-supervisor) runs the lab's servers as processes of its own and obeys the lab's command
// line through a socket. When it dies, in whatever way, its processes die with it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"platform.recovery/lab/internal/control"
	"platform.recovery/lab/internal/process"
	"platform.recovery/lab/internal/sshhost"
)

const (
	defaultSocket = "@platform-recovery-lab"
	// farewell is how long running answers may take after everything was stopped.
	farewell = 2 * time.Second
)

func main() {
	state := flag.String("state", "", "folder of the lab's state; every process works below it")
	name := flag.String("name", "", "whose lab this is, such as the path of the clone (default: the state folder)")
	socket := flag.String("socket", defaultSocket, "unix socket to listen on; @ stands for the abstract namespace")
	flag.Parse()
	if err := run(*state, *name, *socket); err != nil {
		slog.Error("the supervisor ends", "error", err)
		os.Exit(1)
	}
}

func run(state, name, socket string) error {
	state, err := enter(state)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("another lab may be running: %w", err)
	}
	spawner, err := process.NewSpawner()
	if err != nil {
		return err
	}
	processes := process.NewRegistry(spawner, state)
	hosts := sshhost.NewRegistry(func(id string) (sshhost.Unit, error) { return processes.Find(id) }, spawner.Spawn)
	stopOnce := sync.OnceValue(func() error {
		hosts.CloseAll() // nobody governs units of a lab that ends
		return processes.StopAll()
	})
	done := make(chan struct{})
	var finish sync.Once
	shutdown := func() error {
		defer finish.Do(func() { close(done) })
		return stopOnce()
	}
	server := &http.Server{
		ConnContext:       control.RememberPeer,
		ReadHeaderTimeout: farewell,
		Handler: (&control.Server{
			Lab:       describe(state, name),
			Processes: processes,
			Hosts:     hosts,
			Shutdown:  shutdown,
		}).Handler(),
	}
	go shutdownOnSignal(shutdown)
	return serve(server, listener, done)
}

// enter makes the state folder the working directory: a lab's leftovers are found by where they work.
func enter(state string) (string, error) {
	if state == "" {
		return "", fmt.Errorf("--state is missing")
	}
	state, err := filepath.Abs(state)
	if err != nil {
		return "", err
	}
	return state, os.Chdir(state)
}

func describe(state, name string) control.Lab {
	if name == "" {
		name = state
	}
	return control.Lab{Name: name, State: state, PID: os.Getpid(), StartedAt: process.FormatTime(time.Now())}
}

func shutdownOnSignal(shutdown func() error) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	received := <-asked
	slog.Info("shutting down", "signal", received.String())
	if err := shutdown(); err != nil {
		slog.Error("not everything ended", "error", err)
	}
}

// serve returns when the lab was shut down and the answer to that request is out.
func serve(server *http.Server, listener net.Listener, done <-chan struct{}) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-done:
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	return server.Shutdown(ctx)
}
