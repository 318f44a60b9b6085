// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package process runs the lab's servers: it starts, freezes, ends and describes whole trees of processes.
package process

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spawner starts processes and reaps whatever ends, orphans included. A program has one: it waits for any child.
type Spawner struct {
	requests chan spawnRequest
	mutex    sync.Mutex // held across fork and registration, so that no child is reaped before it is known
	waiting  map[int]chan<- syscall.WaitStatus
}

type spawnRequest struct {
	executable string
	argv       []string
	attributes *syscall.ProcAttr
	answer     chan<- spawned
}

type spawned struct {
	pid   int
	ended <-chan syscall.WaitStatus
	err   error
}

// NewSpawner makes this program the foster parent of its descendants' orphans and starts reaping.
func NewSpawner() (*Spawner, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	spawner := &Spawner{requests: make(chan spawnRequest), waiting: map[int]chan<- syscall.WaitStatus{}}
	childEnded := make(chan os.Signal, 1)
	signal.Notify(childEnded, syscall.SIGCHLD)
	go spawner.spawnAll()
	go spawner.reapAll(childEnded)
	return spawner, nil
}

func (s *Spawner) spawn(executable string, argv []string, attributes *syscall.ProcAttr) spawned {
	answer := make(chan spawned, 1)
	s.requests <- spawnRequest{executable, argv, attributes, answer}
	return <-answer
}

// Spawn starts a process that nobody supervises; its end comes through the channel.
func (s *Spawner) Spawn(
	executable string, argv []string, attributes *syscall.ProcAttr,
) (int, <-chan syscall.WaitStatus, error) {
	child := s.spawn(executable, argv, attributes)
	return child.pid, child.ended, child.err
}

// spawnAll keeps to one thread for ever: the kernel sends the parent-death signal when the *thread* that forked ends.
func (s *Spawner) spawnAll() {
	runtime.LockOSThread()
	for request := range s.requests {
		request.answer <- s.fork(request)
	}
}

func (s *Spawner) fork(request spawnRequest) spawned {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	pid, err := syscall.ForkExec(request.executable, request.argv, request.attributes)
	if err != nil {
		return spawned{err: err}
	}
	ended := make(chan syscall.WaitStatus, 1)
	s.waiting[pid] = ended
	return spawned{pid: pid, ended: ended}
}

func (s *Spawner) reapAll(childEnded <-chan os.Signal) {
	for range childEnded {
		for s.reapOne() {
		}
	}
}

func (s *Spawner) reapOne() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if errors.Is(err, syscall.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if ended, known := s.waiting[pid]; known {
		delete(s.waiting, pid)
		ended <- status
	}
	return true
}
