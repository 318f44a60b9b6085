// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func TestDependencyIsAskedAgainOnceAndInTime(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(asked int32, w http.ResponseWriter, r *http.Request)
		good   bool
	}{
		"ready":     {func(_ int32, _ http.ResponseWriter, _ *http.Request) {}, true},
		"one ends":  {func(asked int32, w http.ResponseWriter, _ *http.Request) { unreadyIf(w, asked == 1) }, true},
		"not ready": {func(_ int32, w http.ResponseWriter, _ *http.Request) { unreadyIf(w, true) }, false},
		"hangs":     {func(_ int32, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { test.answer(asked.Add(1), w, r) }))
			defer server.Close()
			began := time.Now()
			err := (&Dependencies{client: server.Client(), urls: []string{server.URL}}).Check(t.Context())
			if (err == nil) != test.good {
				t.Fatalf("got %v after %d asks", err, asked.Load())
			}
			if took := time.Since(began); took > 2*dependencyTimeout {
				t.Fatalf("took %s", took)
			}
		})
	}
}

func unreadyIf(w http.ResponseWriter, unready bool) {
	if unready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func TestDependencyIsAskedOnAKeptConnection(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ready\n"))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	dependencies := &Dependencies{client: server.Client(), urls: []string{server.URL}}
	for range 3 {
		if err := dependencies.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if count := opened.Load(); count != 1 {
		t.Fatalf("%d connections", count)
	}
}
