// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package sshhost

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	interpreter    = "/bin/sh"
	killedBySignal = 128
	// outputGrace is how long what a script left behind may hold its output open.
	outputGrace = 2 * time.Second
)

// Spawn starts a process; its end comes through the channel.
type Spawn func(executable string, argv []string, attributes *syscall.ProcAttr) (int, <-chan syscall.WaitStatus, error)

// scripts are the shell scripts that run on a host. As on a real one they outlive the connection that brought them, but
// not the host.
type scripts struct {
	spawn       Spawn
	environment map[string]string
	mutex       sync.Mutex
	running     map[int]struct{}
	closed      bool
}

// run runs the script that comes as input, and returns its exit code.
func (s *scripts) run(input io.Reader, output, problems io.Writer) int {
	var files [3]*os.File // what the script gets
	var ours [3]*os.File
	for number := range files {
		reader, writer, err := os.Pipe()
		if err != nil {
			return commandNotFound
		}
		files[number], ours[number] = writer, reader
		if number == 0 {
			files[number], ours[number] = reader, writer
		}
		defer ours[number].Close()
	}
	pid, ended, err := s.start(files)
	for _, file := range files {
		file.Close()
	}
	if err != nil {
		return commandNotFound
	}
	go func() {
		_, _ = io.Copy(ours[0], input)
		ours[0].Close()
	}()
	var copying sync.WaitGroup
	for number, to := range map[int]io.Writer{1: output, 2: problems} {
		copying.Go(func() {
			_, _ = io.Copy(to, ours[number])
			ours[number].Close() // whoever still writes to a client that left is told
		})
	}
	status := <-ended
	s.forget(pid)
	waitFor(&copying, outputGrace)
	if status.Signaled() {
		return killedBySignal + int(status.Signal())
	}
	return status.ExitStatus()
}

func waitFor(copying *sync.WaitGroup, grace time.Duration) {
	done := make(chan struct{})
	go func() {
		copying.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(grace):
	}
}

func (s *scripts) start(files [3]*os.File) (int, <-chan syscall.WaitStatus, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		return 0, nil, errors.New("the host is gone")
	}
	environment := []string{}
	for name, value := range s.environment {
		environment = append(environment, name+"="+value)
	}
	pid, ended, err := s.spawn(interpreter, []string{"sh", "-s"}, &syscall.ProcAttr{
		Dir:   s.environment["HOME"],
		Env:   environment,
		Files: []uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd()},
		// A session of its own, so that all of it can be ended.
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err == nil {
		s.running[pid] = struct{}{}
	}
	return pid, ended, err
}

func (s *scripts) forget(pid int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.running, pid)
}

// end kills every script with all that it began.
func (s *scripts) end() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.closed = true
	for pid := range s.running {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}
