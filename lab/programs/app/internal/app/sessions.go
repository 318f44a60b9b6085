// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

const (
	sessionLife = 24 * time.Hour
	// writableKey is overwritten again and again: only a write tells that writes are taken.
	writableKey  = "writable"
	writableLife = 10 * time.Second
	redisTimeout = 500 * time.Millisecond
)

// Session is what is kept of a user who has just been made.
type Session struct {
	ID   int64  `json:"id"`
	User string `json:"user"`
}

// Sessions keeps a session a row in the Redis that the sentinels call the primary.
type Sessions struct{ client *redis.Client }

// OpenSessions prepares the client; the sentinels are asked at the first use, and again whenever a connection is lost.
func OpenSessions(config SessionsConfig, resolver *Resolver) (*Sessions, error) {
	roots, err := rootsFrom(config.CA)
	if err != nil {
		return nil, fmt.Errorf("SESSIONS_CA: %w", err)
	}
	// The client would say each failed connection; what fails is said once, by who was to use it.
	logging.Disable()
	return &Sessions{redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName:            config.Master,
		SentinelAddrs:         config.Sentinels,
		SentinelPassword:      config.Password,
		Password:              config.Password,
		Dialer:                dialer(resolver, roots),
		DialerRetries:         1,
		MaxRetries:            1,
		DialTimeout:           redisTimeout,
		ReadTimeout:           redisTimeout,
		WriteTimeout:          redisTimeout,
		PoolTimeout:           redisTimeout,
		ContextTimeoutEnabled: true,
		PoolSize:              4,
		PipelinePoolSize:      -1,
		// A tenth of the defaults: many small instances share one machine, and what is said is short.
		ReadBufferSize:  4 << 10,
		WriteBufferSize: 4 << 10,
		ConnMaxIdleTime: 10 * time.Second,
		DisableIdentity: true,
	})}, nil
}

func sessionKey(row Row) string { return "session:" + row.Key }

// Keep opens the session of a user.
func (s *Sessions) Keep(ctx context.Context, row Row) (any, error) {
	session := Session{row.ID, row.Key}
	content, err := json.Marshal(session)
	if err != nil {
		return nil, err
	}
	return session, s.client.Set(ctx, sessionKey(row), content, sessionLife).Err()
}

// Find returns the session of a user.
func (s *Sessions) Find(ctx context.Context, row Row) (any, error) {
	content, err := s.client.Get(ctx, sessionKey(row)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	var session Session
	if err == nil {
		err = json.Unmarshal(content, &session)
	}
	return session, err
}

// Writable writes a key that says nothing. A replica, a fenced primary and a full one all answer to everything else.
func (s *Sessions) Writable(ctx context.Context) error {
	return s.client.Set(ctx, writableKey, "", writableLife).Err()
}
