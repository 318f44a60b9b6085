// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package process

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
)

var validID = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`)

// Registry holds every process of the lab by its id, such as us-west-2/postgresql/postgres.
type Registry struct {
	spawner *Spawner
	masks   masks
	mutex   sync.Mutex // guards what follows; never held while a process is waited for
	known   map[string]*Process
	closing bool
}

// NewRegistry keeps what must survive the supervisor in the state folder.
func NewRegistry(spawner *Spawner, stateFolder string) *Registry {
	return &Registry{
		spawner: spawner,
		masks:   masks(filepath.Join(stateFolder, "masked")),
		known:   map[string]*Process{},
	}
}

// Define adds a process or replaces the definition of one that is not running.
func (r *Registry) Define(id string, wanted Definition) (*Process, error) {
	if !validID.MatchString(id) {
		return nil, fmt.Errorf("%q is no process id: wanted words of letters, digits and ._- joined by /", id)
	}
	if err := wanted.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	found, err := r.findOrAdd(id)
	if err != nil {
		return nil, err
	}
	return found, found.redefine(wanted)
}

func (r *Registry) findOrAdd(id string) (*Process, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.closing {
		return nil, fmt.Errorf("%s %w", id, ErrClosing)
	}
	if found, known := r.known[id]; known {
		return found, nil
	}
	added := &Process{id: id, spawner: r.spawner, masks: r.masks, last: noRun(id, "")}
	r.known[id] = added
	return added, nil
}

// Find returns a defined process.
func (r *Registry) Find(id string) (*Process, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if found, known := r.known[id]; known {
		return found, nil
	}
	return nil, fmt.Errorf("process %s %w", id, ErrUnknown)
}

// Remove forgets a process of which nothing runs. A start that has found it before is refused.
func (r *Registry) Remove(id string) error {
	found, err := r.Find(id)
	if err != nil {
		return err
	}
	if err := found.retire(); err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.known, id)
	return nil
}

// List describes all processes from one reading of /proc.
func (r *Registry) List(proportional bool) (map[string]Status, error) {
	table, err := readProcesses()
	if err != nil {
		return nil, err
	}
	list := map[string]Status{}
	for _, found := range r.all() {
		list[found.id] = found.statusIn(table, proportional)
	}
	return list, nil
}

func (r *Registry) all() []*Process {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	list := []*Process{}
	for _, found := range r.known {
		list = append(list, found)
	}
	return list
}

// StopAll ends everything, last started first, because what starts later depends on what was there before. Nothing is
// started any more from then on: it would outlive the end.
func (r *Registry) StopAll() error {
	r.mutex.Lock()
	r.closing = true
	r.mutex.Unlock()
	list := r.all()
	for _, found := range list {
		found.refuse(ErrClosing)
	}
	slices.SortFunc(list, func(a, b *Process) int { return b.run().started.Compare(a.run().started) })
	problems := []error{}
	for _, found := range list {
		problems = append(problems, found.end())
	}
	return errors.Join(problems...)
}

// end does not wait for a frozen process, which could not hear the polite signal.
func (p *Process) end() error {
	status, err := p.Status()
	if err != nil {
		return err
	}
	if status.State == Frozen {
		return p.Kill()
	}
	return p.Stop()
}
