// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeRows answers every call with the same error, or with a row of its own.
type fakeRows struct {
	err      error
	inserted int
}

func (f *fakeRows) Insert(_ context.Context, key, value string) (Row, error) {
	f.inserted++
	return Row{ID: 7, Key: key, Value: value}, f.err
}
func (f *fakeRows) Read(_ context.Context, key string) (Row, error) { return Row{Key: key}, f.err }
func (f *fakeRows) Writable(context.Context) error                  { return f.err }
func (f *fakeRows) Identity(context.Context) (Identity, error)      { return Identity{Host: "db"}, f.err }

func (f *fakeRows) Consumed(context.Context, string, string) (Consumed, error) {
	return Consumed{}, f.err
}

func newTestServer(rows store, depends error) *Server {
	return NewServer("user-service", rows, NewStores(nil), func(context.Context) error { return depends }, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

func ask(handler http.Handler, method, path, body string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(method, path, strings.NewReader(body)))
	return recorder
}

func TestAnswers(t *testing.T) {
	const rows, row = "/v1/user-service/rows", `{"key":"k","value":"v"}`
	gone := errors.New("gone")
	for name, test := range map[string]struct {
		method, path, body string
		err, depends       error
		wanted             int
	}{
		"write":                  {"POST", rows, row, nil, nil, 201},
		"write of a known key":   {"POST", rows, row, errKnownKey, nil, 409},
		"write, read-only":       {"POST", rows, row, errReadOnly, nil, 503},
		"write, database gone":   {"POST", rows, row, gone, nil, 503},
		"write, dependency gone": {"POST", rows, row, nil, gone, 503},
		"write without key":      {"POST", rows, `{"value":"v"}`, nil, nil, 400},
		"write of nonsense":      {"POST", rows, `{`, nil, nil, 400},
		"read":                   {"GET", rows + "/k", "", nil, nil, 200},
		"read of no row":         {"GET", rows + "/k", "", errUnknownKey, nil, 404},
		"read, database gone":    {"GET", rows + "/k", "", gone, nil, 503},
		"another service":        {"GET", "/v1/ai-service/rows/k", "", nil, nil, 404},
		"alive without database": {"GET", "/healthz", "", gone, nil, 200},
		"health":                 {"GET", "/v1/user-service/healthz", "", nil, nil, 200},
		"health, database gone":  {"GET", "/v1/user-service/healthz", "", gone, nil, 503},
		"ready":                  {"GET", "/readyz", "", nil, nil, 200},
		"ready, database gone":   {"GET", "/readyz", "", gone, nil, 503},
		"ready, dependency gone": {"GET", "/readyz", "", nil, gone, 503},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(newTestServer(&fakeRows{err: test.err}, test.depends).Handler(), test.method, test.path, test.body)
			if got.Code != test.wanted {
				t.Fatalf("got %d %s, wanted %d", got.Code, got.Body, test.wanted)
			}
		})
	}
}

func TestWriteWithoutItsDependencyReachesNoDatabase(t *testing.T) {
	rows := &fakeRows{}
	ask(newTestServer(rows, errors.New("gone")).Handler(), "POST", "/v1/user-service/rows", `{"key":"k","value":"v"}`)
	if rows.inserted != 0 {
		t.Fatal("the row was inserted")
	}
}

func TestWriteAnswersWithTheRow(t *testing.T) {
	got := ask(newTestServer(&fakeRows{}, nil).Handler(), "POST", "/v1/user-service/rows", `{"key":"k","value":"v"}`)
	var row map[string]any
	if err := json.Unmarshal(got.Body.Bytes(), &row); err != nil || row["id"] != 7.0 || row["key"] != "k" || row["created_at"] == nil {
		t.Fatalf("got %s (%v)", got.Body, err)
	}
}

func TestDrainingIsUnreadyButStillServes(t *testing.T) {
	server := newTestServer(&fakeRows{}, nil)
	server.Drain()
	if got := ask(server.Handler(), "GET", "/readyz", ""); got.Code != 503 {
		t.Fatalf("ready while draining: %d", got.Code)
	}
	if got := ask(server.Handler(), "GET", "/v1/user-service/rows/k", ""); got.Code != 200 {
		t.Fatalf("request refused while draining: %d", got.Code)
	}
}

func TestReadinessIsSharedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks atomic.Int32
		hang := atomic.Bool{}
		r := readiness{fresh: freshness, check: func(ctx context.Context) error {
			checks.Add(1)
			if hang.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		if r.Ready() != nil || r.Ready() != nil || checks.Load() != 1 {
			t.Fatalf("a fresh answer was checked again: %d checks", checks.Load())
		}
		time.Sleep(freshness)
		hang.Store(true)
		began, answers := time.Now(), make(chan error)
		for range 10 {
			go func() { answers <- r.Ready() }()
		}
		for range 10 {
			if <-answers == nil {
				t.Error("ready although the check hangs")
			}
		}
		if took := time.Since(began); took != readyTimeout || checks.Load() != 2 {
			t.Fatalf("took %s with %d checks", took, checks.Load())
		}
	})
}
