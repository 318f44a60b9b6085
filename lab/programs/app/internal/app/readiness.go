// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	readyTimeout      = 650 * time.Millisecond
	dependencyTimeout = 400 * time.Millisecond
	// freshness is how long a good answer is repeated, so that a dependent service's load is not the database's.
	freshness = 100 * time.Millisecond
	// longestAnswer is far more than a service says of its readiness.
	longestAnswer = 64 << 10
)

// Dependencies are the services without which this one cannot work.
type Dependencies struct {
	client *http.Client
	urls   []string
}

// NewDependencies reaches each service by its cluster name.
func NewDependencies(config Config, resolver *Resolver) *Dependencies {
	urls := make([]string, len(config.Dependencies))
	for i, name := range config.Dependencies {
		urls[i] = fmt.Sprintf("http://%s.%s.svc.cluster.local:8080/readyz", name, config.Namespace)
	}
	// Connections end after a second: a name that now leads elsewhere is followed.
	transport := &http.Transport{DialContext: resolver.Dial, IdleConnTimeout: time.Second, MaxIdleConnsPerHost: 2}
	return &Dependencies{client: &http.Client{Transport: transport}, urls: urls}
}

// Check fails unless every dependency says that it is ready.
func (d *Dependencies) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dependencyTimeout)
	defer cancel()
	for _, url := range d.urls {
		err := d.ask(ctx, url)
		if err != nil {
			// Another connection looks the name up again: the instance of this one may just be ending.
			d.client.CloseIdleConnections()
			err = d.ask(ctx, url)
		}
		if err != nil {
			return fmt.Errorf("dependency: %w", err)
		}
	}
	return nil
}

func (d *Dependencies) ask(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer func() {
		// A connection whose answer was not read to its end is not used again.
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, longestAnswer))
		response.Body.Close()
	}()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d", url, response.StatusCode)
	}
	return nil
}

// readiness answers many callers with one check: callers that come while a check runs get its result.
type readiness struct {
	check func(context.Context) error
	fresh time.Duration

	mu      sync.Mutex
	running chan struct{}
	err     error
	goodAt  time.Time
}

// Ready returns the answer of a check that ended after the call began, or a good one that is still fresh.
func (r *readiness) Ready() error {
	r.mu.Lock()
	if time.Since(r.goodAt) < r.fresh {
		r.mu.Unlock()
		return nil
	}
	done := r.running
	if done == nil {
		done = make(chan struct{})
		r.running = done
		go r.run(done)
	}
	r.mu.Unlock()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *readiness) run(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	err := r.check(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.running = err, nil
	if err == nil {
		r.goodAt = time.Now()
	}
	close(done)
}
