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

	"golang.org/x/sys/unix"
)

// What callers tell apart by errors.Is.
var (
	ErrMasked     = errors.New("is masked")
	ErrNotRunning = errors.New("is not running")
	ErrRunning    = errors.New("is running")
	ErrUnknown    = errors.New("is not defined")
	ErrSpawn      = errors.New("could not be started")
)

// State is what a process is doing now.
type State string

// A process that ended by itself is failed if it said so by its exit code or died by a signal, else stopped.
const (
	Running State = "running"
	Stopped State = "stopped"
	Frozen  State = "frozen"
	Failed  State = "failed"
)

// Result says how the last run ended, in systemd's words.
type Result string

// Results of a run. A process that had to be killed because it did not stop in time has run into a timeout.
const (
	Success    Result = "success"
	ByExitCode Result = "exit-code"
	BySignal   Result = "signal"
	ByTimeout  Result = "timeout"
	ByStart    Result = "resources"
)

const (
	// settleTimeout limits how long a tree may go on forking while it is frozen or killed.
	settleTimeout  = 5 * time.Second
	settleInterval = time.Millisecond
)

// Process is one supervised server with all its descendants.
type Process struct {
	id      string
	spawner *Spawner
	masks   masks

	starting sync.Mutex // one start at a time
	mutex    sync.Mutex // guards what follows; never held while waiting
	defined  Definition
	pid      int
	started  time.Time
	ended    chan struct{} // closed when the current run has ended and its leftovers are gone
	asked    bool          // somebody asked for this run's end
	timedOut bool
	stopping bool
	exitCode *int
	result   Result
}

// Start spawns the process; on a running one it does nothing.
func (p *Process) Start() error {
	p.starting.Lock()
	defer p.starting.Unlock()
	if p.masks.has(p.id) {
		return fmt.Errorf("%s %w: unmask it first", p.id, ErrMasked)
	}
	if p.alive() {
		return nil
	}
	p.awaitCleanup()
	if err := p.spawn(); err != nil {
		p.mutex.Lock()
		p.result, p.asked, p.exitCode = ByStart, false, nil
		p.mutex.Unlock()
		return fmt.Errorf("%s %w: %w", p.id, ErrSpawn, err)
	}
	return nil
}

func (p *Process) alive() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.pid != 0
}

func (p *Process) startTime() time.Time {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.started
}

// awaitCleanup waits until the leftovers of the former run are gone, so that they hold no port or lock of the next.
func (p *Process) awaitCleanup() {
	p.mutex.Lock()
	ended := p.ended
	p.mutex.Unlock()
	if ended != nil {
		<-ended
	}
}

func (p *Process) spawn() error {
	executable, err := p.defined.executable()
	if err != nil {
		return err
	}
	input, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer input.Close()
	log, err := os.OpenFile(p.defined.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	child := p.spawner.spawn(executable, p.defined.Argv, &syscall.ProcAttr{
		Dir:   p.defined.Folder,
		Env:   p.defined.environment(p.id),
		Files: []uintptr{input.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if child.err != nil {
		return child.err
	}
	p.begin(child)
	return nil
}

func (p *Process) begin(child spawned) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.pid, p.started, p.ended = child.pid, time.Now(), make(chan struct{})
	p.asked, p.timedOut, p.stopping, p.exitCode, p.result = false, false, false, nil, ""
	go p.watch(child.ended)
}

// watch records the run's end; what the process leaves behind ends with it, as it would in a service's cgroup.
func (p *Process) watch(exited <-chan syscall.WaitStatus) {
	status := <-exited
	p.mutex.Lock()
	p.pid, p.stopping = 0, false
	p.exitCode, p.result = judge(status, p.asked, p.timedOut)
	ended := p.ended
	p.mutex.Unlock()
	_ = p.endMembers(0)
	close(ended)
}

// judge follows systemd: ending by TERM, INT or HUP is clean when it was asked for.
func judge(status syscall.WaitStatus, asked, timedOut bool) (*int, Result) {
	if !status.Signaled() {
		code := status.ExitStatus()
		if code == 0 {
			return &code, Success
		}
		return &code, ByExitCode
	}
	code := -int(status.Signal())
	polite := status.Signal() != syscall.SIGKILL && status.Signal() != syscall.SIGQUIT
	switch {
	case timedOut:
		return &code, ByTimeout
	case asked && polite:
		return &code, Success
	default:
		return &code, BySignal
	}
}

// Stop asks the process to end and kills its tree when it has not after the definition's time.
func (p *Process) Stop() error {
	p.mutex.Lock()
	pid, ended := p.pid, p.ended
	timeout := p.defined.stopTimeout()
	name := p.defined.StopSignal
	if pid != 0 {
		p.asked, p.stopping = true, true
	}
	p.mutex.Unlock()
	if pid == 0 {
		return nil
	}
	stop, err := ParseSignal(name)
	if err != nil {
		return err
	}
	if err := ignoreGone(syscall.Kill(pid, stop)); err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(timeout):
	}
	p.mutex.Lock()
	p.timedOut = true
	p.mutex.Unlock()
	return p.Kill()
}

// Kill ends the whole tree at once. It is halted first: a tree that still forks could outrun its own collection.
func (p *Process) Kill() error {
	p.mutex.Lock()
	pid, ended := p.pid, p.ended
	if pid != 0 {
		p.asked = true
	}
	p.mutex.Unlock()
	if pid == 0 {
		return nil
	}
	if err := p.endMembers(pid); err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(settleTimeout):
		return fmt.Errorf("%s (process %d) was sent SIGKILL but has not ended after %s", p.id, pid, settleTimeout)
	}
}

// endMembers kills the members below root until none is left.
func (p *Process) endMembers(root int) error {
	_ = p.halt(root) // a member that cannot be halted in time is killed all the same
	deadline := time.Now().Add(settleTimeout)
	for {
		members, err := p.members(root)
		if err != nil || len(members) == 0 {
			return err
		}
		for _, member := range members {
			if err := ignoreGone(syscall.Kill(member.pid, syscall.SIGKILL)); err != nil {
				return fmt.Errorf("%s: kill process %d: %w", p.id, member.pid, err)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %d processes outlived SIGKILL for %s", p.id, len(members), settleTimeout)
		}
		time.Sleep(settleInterval)
	}
}

func (p *Process) members(root int) ([]entry, error) {
	table, err := readProcesses()
	if err != nil {
		return nil, err
	}
	return table.tree(root, p.id), nil
}

// Freeze halts the whole tree; it returns when every member stands still.
func (p *Process) Freeze() error {
	pid, err := p.running()
	if err != nil {
		return err
	}
	return p.halt(pid)
}

// halt repeats until the tree is stable: a parent may have forked between its listing and its own stop.
func (p *Process) halt(root int) error {
	deadline := time.Now().Add(settleTimeout)
	for {
		members, err := p.members(root)
		if err != nil {
			return err
		}
		moving := 0
		for _, member := range members {
			if member.halted() {
				continue
			}
			moving++
			if err := ignoreGone(syscall.Kill(member.pid, syscall.SIGSTOP)); err != nil {
				return fmt.Errorf("%s: freeze process %d: %w", p.id, member.pid, err)
			}
		}
		if moving == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %d processes do not stand still after %s", p.id, moving, settleTimeout)
		}
		time.Sleep(settleInterval)
	}
}

// Thaw lets a frozen tree go on, children first, so that the parent finds them answering.
func (p *Process) Thaw() error {
	pid, err := p.running()
	if err != nil {
		return err
	}
	members, err := p.members(pid)
	if err != nil {
		return err
	}
	for index := len(members) - 1; index >= 0; index-- {
		if err := ignoreGone(syscall.Kill(members[index].pid, syscall.SIGCONT)); err != nil {
			return fmt.Errorf("%s: thaw process %d: %w", p.id, members[index].pid, err)
		}
	}
	return nil
}

// Signal sends one signal to the main process or to the whole tree. SIGKILL to the tree is Kill.
func (p *Process) Signal(number syscall.Signal, mainOnly bool) error {
	if number == syscall.SIGKILL && !mainOnly {
		return p.Kill()
	}
	pid, err := p.running()
	if err != nil {
		return err
	}
	if mainOnly {
		return ignoreGone(syscall.Kill(pid, number))
	}
	members, err := p.members(pid)
	if err != nil {
		return err
	}
	for _, member := range members {
		if err := ignoreGone(syscall.Kill(member.pid, number)); err != nil {
			return err
		}
	}
	return nil
}

func (p *Process) running() (int, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.pid == 0 {
		return 0, fmt.Errorf("%s %w", p.id, ErrNotRunning)
	}
	return p.pid, nil
}

// Mask makes every start refuse, until Unmask and across restarts of the supervisor.
func (p *Process) Mask() error { return p.masks.add(p.id) }

// Unmask allows starts again.
func (p *Process) Unmask() error { return p.masks.remove(p.id) }

func (p *Process) redefine(wanted Definition) error {
	p.starting.Lock()
	defer p.starting.Unlock()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.pid != 0 && !reflect.DeepEqual(p.defined, wanted) {
		return fmt.Errorf("%s %w: stop it before it is defined anew", p.id, ErrRunning)
	}
	p.defined = wanted
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
