// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package sshhost

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
)

// ErrUnknown is a host that is not open.
var ErrUnknown = errors.New("is not open")

// Registry holds the lab's hosts by name, such as us-west-2/postgresql.
type Registry struct {
	find  Finder
	spawn Spawn
	mutex sync.Mutex
	open  map[string]*host
}

// NewRegistry makes an empty one; units are looked up by find, scripts are started by spawn.
func NewRegistry(find Finder, spawn Spawn) *Registry {
	return &Registry{find: find, spawn: spawn, open: map[string]*host{}}
}

// Open starts a host's server or replaces it by one of another definition.
func (r *Registry) Open(name string, definition Definition) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if former, known := r.open[name]; known {
		if reflect.DeepEqual(former.definition, definition) {
			return nil
		}
		former.close()
		delete(r.open, name)
	}
	opened, err := openHost(definition, r.find, r.spawn)
	if err != nil {
		return fmt.Errorf("host %s: %w", name, err)
	}
	r.open[name] = opened
	return nil
}

// Close ends a host's server and its connections, as the loss of the host would.
func (r *Registry) Close(name string) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	found, known := r.open[name]
	if !known {
		return fmt.Errorf("host %s %w", name, ErrUnknown)
	}
	found.close()
	delete(r.open, name)
	return nil
}

// CloseAll loses every host.
func (r *Registry) CloseAll() {
	for name := range r.List() {
		_ = r.Close(name) // somebody else may have been faster
	}
}

// List tells the open hosts' definitions.
func (r *Registry) List() map[string]Definition {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	list := map[string]Definition{}
	for name, found := range maps.All(r.open) {
		list[name] = found.definition
	}
	return list
}
