// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package app is the lab's application: a service that keeps rows of its own in a shared database and says no
// rather than promise what it cannot keep.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	requestTimeout = 1400 * time.Millisecond
	longestBody    = 64 << 10
)

// store is what the handlers need of a database.
type store interface {
	Insert(ctx context.Context, key, value string) (Row, error)
	Read(ctx context.Context, key string) (Row, error)
	Writable(ctx context.Context) error
	Identity(ctx context.Context) (Identity, error)
	Consumed(ctx context.Context, topic, key string) (Consumed, error)
}

// Server answers the service's HTTP requests.
type Server struct {
	service    string
	rows       store
	stores     *Stores
	depends    func(context.Context) error
	ready      readiness
	log        *slog.Logger
	draining   atomic.Bool
	wasReady   atomic.Bool
	lastReport atomic.Int64
}

// NewServer serves rows; depends fails while a service that this one needs cannot be had.
func NewServer(service string, rows store, stores *Stores, depends func(context.Context) error, log *slog.Logger) *Server {
	s := &Server{service: service, rows: rows, stores: stores, depends: depends, log: log}
	s.ready = readiness{check: s.checkReady, fresh: freshness}
	return s
}

// Handler routes the requests of interface.md and the two probes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"service": s.service})
	})
	mux.HandleFunc("GET /readyz", s.getReady)
	mux.HandleFunc("POST /v1/"+s.service+"/rows", s.postRow)
	mux.HandleFunc("GET /v1/"+s.service+"/rows/{key}", s.getRow)
	mux.HandleFunc("GET /v1/"+s.service+"/healthz", s.getHealth)
	if s.service == consumerService {
		mux.HandleFunc("GET /v1/"+s.service+"/consumed/{topic}/{key}", s.getConsumed)
	}
	return mux
}

// Drain makes the instance unready from now on, so that no new work is sent to it.
func (s *Server) Drain() { s.draining.Store(true) }

func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) {
	err := s.ready.Ready()
	if s.draining.Load() {
		err = errors.New("the instance is ending")
	}
	s.noteReady(err)
	if err != nil {
		refuse(w, "not ready", err)
		return
	}
	answer(w, http.StatusOK, map[string]bool{"ready": true})
}

// checkReady asks database, stores and dependencies at the same time: each may take most of the allowance.
func (s *Server) checkReady(ctx context.Context) error {
	others := make(chan error, 1)
	go func() { others <- s.beside(ctx, s.stores.Well) }()
	err := s.rows.Writable(ctx)
	return errors.Join(err, <-others)
}

// beside asks dependencies and stores, what there is beside the database, at the same time.
func (s *Server) beside(ctx context.Context, stores func() error) error {
	depends := make(chan error, 1)
	go func() { depends <- s.depends(ctx) }()
	err := stores()
	return errors.Join(err, <-depends)
}

func (s *Server) postRow(w http.ResponseWriter, r *http.Request) {
	var body struct{ Key, Value string }
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, longestBody)).Decode(&body)
	if err != nil || body.Key == "" {
		answer(w, http.StatusBadRequest, problem{"expected a JSON object with a key and a value"})
		return
	}
	ctx, cancel := requestContext(r)
	defer cancel()
	if err := s.beside(ctx, s.stores.Writable); err != nil {
		s.noteFailure(err)
		refuse(w, "nothing was written, for something that a row needs cannot be had", err)
		return
	}
	row, err := s.rows.Insert(ctx, body.Key, body.Value)
	var places map[string]any
	if err == nil {
		if places, err = s.stores.Keep(ctx, row); err != nil {
			err = fmt.Errorf("row %d is in the database, but %w", row.ID, err)
		}
	}
	s.answerRow(w, http.StatusCreated, row, places, err)
}

func (s *Server) getRow(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := requestContext(r)
	defer cancel()
	row, err := s.rows.Read(ctx, r.PathValue("key"))
	var places map[string]any
	if err == nil {
		places = s.stores.Find(ctx, row)
	}
	s.answerRow(w, http.StatusOK, row, places, err)
}

func (s *Server) getConsumed(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := requestContext(r)
	defer cancel()
	found, err := s.rows.Consumed(ctx, r.PathValue("topic"), r.PathValue("key"))
	switch {
	case err == nil:
		answer(w, http.StatusOK, found)
	case errors.Is(err, errUnknownKey):
		answer(w, http.StatusNotFound, problem{"no such event was consumed"})
	default:
		refuse(w, "the database cannot be used", err)
	}
}

// answerRow says what was written or read, and what is where beside the database.
func (s *Server) answerRow(w http.ResponseWriter, status int, row Row, places map[string]any, err error) {
	switch {
	case err == nil:
		answer(w, status, row.with(places))
	case errors.Is(err, errKnownKey):
		answer(w, http.StatusConflict, problem{err.Error()})
	case errors.Is(err, errUnknownKey):
		answer(w, http.StatusNotFound, problem{err.Error()})
	default:
		s.noteFailure(err)
		refuse(w, "not done", err)
	}
}

func (s *Server) getHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := requestContext(r)
	defer cancel()
	identity, err := s.rows.Identity(ctx)
	if err != nil {
		refuse(w, "the database cannot be used", err)
		return
	}
	body := map[string]any{"service": s.service, "database": identity}
	if health := s.stores.Health(); len(health) > 0 {
		said := map[string]map[string]any{}
		for name, err := range health {
			said[name] = map[string]any{"writable": err == nil, "closed": errors.Is(err, errClosed), "reason": reason(err)}
		}
		body["stores"] = said
	}
	answer(w, http.StatusOK, body)
}

// requestContext bounds a request in time, but does not end with its client: a write cut off in the middle would
// cost the pool a connection and leave it open whether it was committed.
func requestContext(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), requestTimeout)
}

// noteReady logs flips only: probes come many times a second.
func (s *Server) noteReady(err error) {
	if ready := err == nil; s.wasReady.Swap(ready) != ready {
		s.log.Info("readiness changed", "ready", ready, "reason", reason(err))
	}
}

// noteFailure logs at most one failed request a second: an outage under load must not fill the disk.
func (s *Server) noteFailure(err error) {
	now, last := time.Now().UnixNano(), s.lastReport.Load()
	if now-last > int64(time.Second) && s.lastReport.CompareAndSwap(last, now) {
		s.log.Warn("request refused", "reason", reason(err))
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

type problem struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, what string, err error) {
	answer(w, http.StatusServiceUnavailable, problem{what + ": " + reason(err)})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone away is nobody to tell.
	_ = json.NewEncoder(w).Encode(body)
}
