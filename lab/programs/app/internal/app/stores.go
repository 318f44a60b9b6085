// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// findTimeout bounds what a reader waits for other stores: the row itself is already there.
	findTimeout = 400 * time.Millisecond
	// storeFreshness is how long a store that was writable is taken to be so still.
	storeFreshness = 500 * time.Millisecond
)

// errClosed tells of a store that is well and takes no writes from us, because somebody closed it: a mirror's topics and
// buckets are, until they take over, and a fenced region's.
var errClosed = errors.New("it is closed in this region")

// Keeper is one store beside the database, in which a service keeps something of each of its rows.
type Keeper interface {
	// Keep returns where it now is, once the store has said that it is safe there.
	Keep(ctx context.Context, row Row) (any, error)
	// Find asks the store for it; nil if the store has nothing of the row.
	Find(ctx context.Context, row Row) (any, error)
	// Writable fails unless the store takes writes.
	Writable(ctx context.Context) error
}

// Stores are those that a service uses beside the database, by what each keeps of a row: session, event or file.
//
// A row is written to the database first: it is the truth, and the others follow it. So a store that is known to take no
// writes refuses the whole write before, and one that fails after the commit leaves a row that is answered with an error
// and never with success. Nothing is tried again or taken back here: which rows are without their event, session
// or file can be asked of each store, and a recovery reports it.
type Stores struct {
	keepers  map[string]Keeper
	writable map[string]*readiness
}

// OpenStores prepares what the environment names and the service uses; nothing is connected yet.
func OpenStores(config Config, resolver *Resolver, log *slog.Logger) (*Stores, error) {
	keepers := map[string]Keeper{}
	if len(config.Sessions.Sentinels) > 0 && config.Service == "user-service" {
		sessions, err := OpenSessions(config.Sessions, resolver)
		if err != nil {
			return nil, err
		}
		keepers["session"] = sessions
	}
	if len(config.Events.Brokers) > 0 {
		events, err := OpenEvents(config, resolver, log)
		if err != nil {
			return nil, err
		}
		keepers["event"] = events
	}
	if config.Files.Endpoint != "" && (config.Service == "plugin-service" || config.Service == "ai-service") {
		files, err := OpenFiles(config, resolver)
		if err != nil {
			return nil, err
		}
		keepers["file"] = files
	}
	return NewStores(keepers), nil
}

// NewStores asks each store for its health no more often than is useful.
func NewStores(keepers map[string]Keeper) *Stores {
	writable := map[string]*readiness{}
	for name, keeper := range keepers {
		writable[name] = &readiness{check: keeper.Writable, fresh: storeFreshness}
	}
	return &Stores{keepers: keepers, writable: writable}
}

// Health says of each store why it is not writable, or nil, all asked at the same time.
func (s *Stores) Health() map[string]error {
	return each(s.keepers, func(name string, _ Keeper) error {
		if err := s.writable[name].Ready(); err != nil {
			return fmt.Errorf("the store of each row's %s is not writable: %w", name, err)
		}
		return nil
	})
}

// Writable fails unless every store takes writes.
func (s *Stores) Writable() error {
	var problems []error
	for _, err := range s.Health() {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// Well fails unless every store takes writes or is closed on purpose. An instance of a region that stands by is ready: it
// can be rolled out and scaled before its stores are opened, and refuses every write until then.
func (s *Stores) Well() error {
	var problems []error
	for _, err := range s.Health() {
		if !errors.Is(err, errClosed) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Keep stores what belongs to a committed row, everywhere at the same time, and says what is where. An error names
// every store that did not confirm.
func (s *Stores) Keep(ctx context.Context, row Row) (map[string]any, error) {
	type kept struct {
		place any
		err   error
	}
	found, problems := map[string]any{}, []error{}
	for name, one := range each(s.keepers, func(_ string, keeper Keeper) kept {
		place, err := keeper.Keep(ctx, row)
		return kept{place, err}
	}) {
		found[name] = one.place
		if one.err != nil {
			problems = append(problems, fmt.Errorf("its %s was not confirmed: %w", name, one.err))
		}
	}
	return found, errors.Join(problems...)
}

// Find says what each store has of a row: null for nothing, an error where it cannot be asked.
func (s *Stores) Find(ctx context.Context, row Row) map[string]any {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	return each(s.keepers, func(_ string, keeper Keeper) any {
		place, err := keeper.Find(ctx, row)
		if err != nil {
			return problem{err.Error()}
		}
		return place
	})
}

// each calls work for all stores at the same time and gathers what comes of it.
func each[T any](keepers map[string]Keeper, work func(string, Keeper) T) map[string]T {
	var mu sync.Mutex
	var group sync.WaitGroup
	found := map[string]T{}
	for name, keeper := range keepers {
		group.Go(func() {
			result := work(name, keeper)
			mu.Lock()
			defer mu.Unlock()
			found[name] = result
		})
	}
	group.Wait()
	return found
}
