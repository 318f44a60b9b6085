// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package process

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// settleTimeout limits how long a tree may go on forking while it is frozen or killed.
	settleTimeout  = 5 * time.Second
	settleInterval = time.Millisecond
	// haltTimeout is short: a fence waits for the kill behind it, and a member that hangs in the kernel never halts.
	haltTimeout = 200 * time.Millisecond
)

// run is one life of a process, from its spawning until nothing of it is left. Whoever acts on a process acts on one
// run, so that an order which comes late cannot hit the next.
type run struct {
	id      string
	pid     int
	started time.Time
	log     os.FileInfo
	ended   chan struct{} // closed when the leftovers are gone too, or have outlived even SIGKILL
	trouble error         // what outlived the end; set before ended is closed

	acting sync.RWMutex // held for reading while members are signalled, for writing to declare the end

	mutex    sync.Mutex // guards what follows; never held while waiting
	exited   bool       // the main process has ended; what it left behind may still be there
	asked    bool       // somebody asked for the main process's end before it came
	timedOut bool
	stopping bool
	exitCode *int
	result   Result
}

// noRun stands for the run of a process that never started, or could not be.
func noRun(id string, result Result) *run {
	none := &run{id: id, ended: make(chan struct{}), exited: true, result: result}
	close(none.ended)
	return none
}

// root is the main process, 0 when it has ended.
func (r *run) root() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.exited {
		return 0
	}
	return r.pid
}

func (r *run) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// watch records the run's end; what the process leaves behind ends with it, as it would in a service's cgroup.
func (r *run) watch(exited <-chan syscall.WaitStatus) {
	status := <-exited
	r.mutex.Lock()
	r.exited, r.stopping = true, true
	r.exitCode, r.result = judge(status, r.timedOut)
	r.mutex.Unlock()
	r.finish(r.endMembers())
}

// finish waits for whoever still signals members: those of the next run carry the same marks.
func (r *run) finish(trouble error) {
	r.acting.Lock()
	defer r.acting.Unlock()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.stopping, r.trouble = false, trouble
	if trouble != nil {
		slog.Error("not all of a process ended with it", "error", trouble)
		if r.result == Success {
			r.result = ByTimeout
		}
	}
	close(r.ended)
}

// judge follows systemd: ending by TERM, INT, HUP or PIPE is clean, whoever sent it.
func judge(status syscall.WaitStatus, timedOut bool) (*int, Result) {
	code, result := status.ExitStatus(), Success
	if status.Signaled() {
		code = -int(status.Signal())
	}
	clean := []int{0, -int(syscall.SIGTERM), -int(syscall.SIGINT), -int(syscall.SIGHUP), -int(syscall.SIGPIPE)}
	switch {
	case timedOut:
		result = ByTimeout
	case slices.Contains(clean, code):
	case status.Signaled():
		result = BySignal
	default:
		result = ByExitCode
	}
	return &code, result
}

// ask notes that the end is wanted and returns the main process, 0 when it has ended.
func (r *run) ask(politely bool) int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.exited {
		return 0
	}
	r.asked = true
	r.stopping = r.stopping || politely
	return r.pid
}

func (r *run) stop(signal syscall.Signal, timeout time.Duration) error {
	if root := r.ask(true); root != 0 {
		if err := r.send(root, signal); err != nil {
			return err
		}
	}
	select {
	case <-r.ended:
		return r.trouble
	case <-time.After(timeout):
	}
	r.mutex.Lock()
	r.timedOut = true
	r.mutex.Unlock()
	return r.kill()
}

// kill ends the whole tree at once.
func (r *run) kill() error {
	r.ask(false)
	if err := r.endMembers(); err != nil {
		return err
	}
	select {
	case <-r.ended:
		return r.trouble
	case <-time.After(settleTimeout):
		return fmt.Errorf("%s (process %d) was sent SIGKILL but has not ended after %s", r.id, r.pid, settleTimeout)
	}
}

// endMembers kills until nothing is left. The tree is halted first: one that still forks could outrun its own collection.
func (r *run) endMembers() error {
	r.acting.RLock()
	defer r.acting.RUnlock()
	if r.over() {
		return r.trouble
	}
	_ = r.halt(haltTimeout) // a member that cannot be halted in time is killed all the same
	deadline := time.Now().Add(settleTimeout)
	for {
		members, err := r.members()
		if err != nil || len(members) == 0 {
			return err
		}
		for _, member := range members {
			if err := r.send(member.pid, syscall.SIGKILL); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %d processes outlived SIGKILL for %s", r.id, len(members), settleTimeout)
		}
		time.Sleep(settleInterval)
	}
}

func (r *run) freeze() error {
	r.acting.RLock()
	defer r.acting.RUnlock()
	if _, err := r.running(); err != nil {
		return err
	}
	return r.halt(settleTimeout)
}

// halt repeats until the tree is stable. A parent may have forked between its listing and its own stop, and a listing is
// not of one moment: only two in a row that show the same processes, all standing still, are believed.
func (r *run) halt(timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	var quiet []int
	for {
		members, err := r.members()
		if err != nil {
			return err
		}
		moving := 0
		for _, member := range members {
			if member.halted() {
				continue
			}
			moving++
			if err := r.send(member.pid, syscall.SIGSTOP); err != nil {
				return err
			}
		}
		seen := pidsOf(members)
		if moving == 0 && slices.Equal(seen, quiet) {
			return nil
		}
		quiet = nil
		if moving == 0 {
			quiet = seen
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %d processes do not stand still after %s", r.id, moving, timeout)
		}
		time.Sleep(settleInterval)
	}
}

// signal sends one signal to the whole tree: SIGCONT to the children first, so that a parent finds them answering.
func (r *run) signal(number syscall.Signal) error {
	r.acting.RLock()
	defer r.acting.RUnlock()
	if _, err := r.running(); err != nil {
		return err
	}
	members, err := r.members()
	if err != nil {
		return err
	}
	if number == syscall.SIGCONT {
		slices.Reverse(members)
	}
	for _, member := range members {
		if err := r.send(member.pid, number); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) signalMain(number syscall.Signal) error {
	root, err := r.running()
	if err != nil {
		return err
	}
	return r.send(root, number)
}

func (r *run) running() (root int, err error) {
	if root = r.root(); root == 0 {
		err = fmt.Errorf("%s %w", r.id, ErrNotRunning)
	}
	return root, err
}

func (r *run) send(pid int, number syscall.Signal) error {
	if err := syscall.Kill(pid, number); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%s: send %s to process %d: %w", r.id, unix.SignalName(number), pid, err)
	}
	return nil
}

func (r *run) members() ([]entry, error) {
	root := r.root() // before the table: were it to end in between, its children would be neither its own nor orphans yet
	table, err := readProcesses()
	if err != nil {
		return nil, err
	}
	return table.tree(root, r.owns), nil
}

// owns tells whether an orphan comes from this process. A program may have wiped its environment, as PostgreSQL's
// backends do when they write their title over it; it is then known by the log that it was given.
func (r *run) owns(pid int) bool {
	if id, tagged := variable(pid, TagVariable); tagged {
		return id == r.id
	}
	return r.log != nil && r.log.Mode().IsRegular() && writesTo(pid, r.log)
}

func pidsOf(members []entry) []int {
	pids := make([]int, len(members))
	for i, member := range members {
		pids[i] = member.pid
	}
	return pids
}
