// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package process

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"syscall"
	"time"
)

// What callers tell apart by errors.Is.
var (
	ErrMasked     = errors.New("is masked")
	ErrNotRunning = errors.New("is not running")
	ErrRunning    = errors.New("is running")
	ErrUnknown    = errors.New("is not defined")
	ErrClosing    = errors.New("is not started any more: the lab is being shut down")
	ErrSpawn      = errors.New("could not be started")
)

// State is what a process is doing now.
type State string

// A process that ended by itself is failed if it said so by its exit code or died by a signal that is no polite one,
// else stopped. It runs as long as anything of it is left.
const (
	Running State = "running"
	Stopped State = "stopped"
	Frozen  State = "frozen"
	Failed  State = "failed"
)

// Result says how the last run ended, in systemd's words.
type Result string

// Results of a run. A process that had to be killed because it did not stop in time has run into a timeout, and so has
// one whose leftovers could not be killed.
const (
	Success    Result = "success"
	ByExitCode Result = "exit-code"
	BySignal   Result = "signal"
	ByTimeout  Result = "timeout"
	ByStart    Result = "resources"
)

// Process is one supervised server with all its descendants.
type Process struct {
	id      string
	spawner *Spawner
	masks   masks

	// starting is held from the look at what forbids a start to the end of the spawning, never while waiting for the end
	// of anything: whoever masks a process knows then that it is either started already or never will be.
	starting sync.Mutex
	refusal  error // why it is never started again

	mutex   sync.Mutex // guards what follows
	defined Definition
	last    *run // the current run, or the one before
}

// Start spawns the process; on a running one it does nothing. The leftovers of the run before must be gone first: they
// may hold a port or a lock of the next.
func (p *Process) Start() error {
	for {
		leftovers, err := p.tryStart()
		if leftovers == nil {
			return err
		}
		<-leftovers
	}
}

// tryStart returns what is to be waited for before it is called again, if anything is.
func (p *Process) tryStart() (leftovers <-chan struct{}, err error) {
	p.starting.Lock()
	defer p.starting.Unlock()
	before := p.run()
	switch {
	case p.refusal != nil:
		return nil, fmt.Errorf("%s %w", p.id, p.refusal)
	case p.masks.has(p.id):
		return nil, fmt.Errorf("%s %w: unmask it first", p.id, ErrMasked)
	case before.root() != 0:
		return nil, nil
	case !before.over():
		return before.ended, nil
	}
	next, err := p.spawn()
	if err != nil {
		next, err = noRun(p.id, ByStart), fmt.Errorf("%s %w: %w", p.id, ErrSpawn, err)
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.last = next
	return nil, err
}

func (p *Process) run() *run {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.last
}

func (p *Process) spawn() (*run, error) {
	executable, err := p.defined.executable()
	if err != nil {
		return nil, err
	}
	input, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	log, err := os.OpenFile(p.defined.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	logInfo, err := log.Stat()
	if err != nil {
		return nil, err
	}
	child := p.spawner.spawn(executable, p.defined.Argv, &syscall.ProcAttr{
		Dir:   p.defined.Folder,
		Env:   p.defined.environment(p.id),
		Files: []uintptr{input.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if child.err != nil {
		return nil, child.err
	}
	next := &run{id: p.id, pid: child.pid, started: time.Now(), log: logInfo, ended: make(chan struct{})}
	go next.watch(child.ended)
	return next, nil
}

// Stop asks the process to end and kills its tree when it has not after the definition's time. It returns when nothing
// of the process is left.
func (p *Process) Stop() error {
	p.mutex.Lock()
	current, timeout, name := p.last, p.defined.stopTimeout(), p.defined.StopSignal
	p.mutex.Unlock()
	signal, err := ParseSignal(name)
	if err != nil {
		return err
	}
	return current.stop(signal, timeout)
}

// Kill ends the whole tree at once.
func (p *Process) Kill() error { return p.run().kill() }

// Freeze halts the whole tree; it returns when every member stands still.
func (p *Process) Freeze() error { return p.run().freeze() }

// Thaw lets a frozen tree go on.
func (p *Process) Thaw() error { return p.run().signal(syscall.SIGCONT) }

// Signal sends one signal to the main process or to the whole tree. SIGKILL to the tree is Kill.
func (p *Process) Signal(number syscall.Signal, mainOnly bool) error {
	current := p.run()
	switch {
	case mainOnly:
		return current.signalMain(number)
	case number == syscall.SIGKILL:
		return current.kill()
	}
	return current.signal(number)
}

// Mask makes every start refuse, until Unmask and across restarts of the supervisor.
func (p *Process) Mask() error {
	p.starting.Lock()
	defer p.starting.Unlock()
	return p.masks.add(p.id)
}

// Unmask allows starts again.
func (p *Process) Unmask() error { return p.masks.remove(p.id) }

// refuse makes every start from now on fail with a reason.
func (p *Process) refuse(reason error) {
	p.starting.Lock()
	defer p.starting.Unlock()
	p.refusal = reason
}

// retire is refuse for a process of which nothing is left.
func (p *Process) retire() error {
	p.starting.Lock()
	defer p.starting.Unlock()
	if !p.run().over() {
		return fmt.Errorf("%s %w: stop it before it is removed", p.id, ErrRunning)
	}
	p.refusal = ErrUnknown
	return nil
}

func (p *Process) redefine(wanted Definition) error {
	p.starting.Lock()
	defer p.starting.Unlock()
	if p.refusal != nil {
		return fmt.Errorf("%s %w", p.id, p.refusal)
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.last.root() != 0 && !reflect.DeepEqual(p.defined, wanted) {
		return fmt.Errorf("%s %w: stop it before it is defined anew", p.id, ErrRunning)
	}
	p.defined = wanted
	return nil
}
