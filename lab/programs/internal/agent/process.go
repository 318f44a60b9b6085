// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"io"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// outputGrace is how long a dead process' orphans may go on writing into its log.
const outputGrace = 100 * time.Millisecond

// spawner starts every process from one thread that lives as long as the agent: the kernel ends a process whose
// starting thread is gone, and Go ends threads as it likes.
type spawner struct{ requests chan func() }

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for request := range s.requests {
			request()
		}
	}()
	return s
}

// process is a started program and the group of what it starts itself.
type process struct {
	pid       int
	startedAt time.Time
	// done is closed when the process has ended; only then do endedAt, code and signal count.
	done    chan struct{}
	endedAt time.Time
	code    int32
	signal  int32

	mu    sync.Mutex
	ended bool
}

// start runs argv with the output going to out.
func (s *spawner) start(argv, env []string, folder string, out io.Writer) (*process, error) {
	command := &exec.Cmd{
		Path: argv[0], Args: argv, Env: env, Dir: folder, Stdout: out, Stderr: out, WaitDelay: outputGrace,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	started := make(chan error, 1)
	s.requests <- func() { started <- command.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{pid: command.Process.Pid, startedAt: time.Now(), done: make(chan struct{})}
	go p.wait(command)
	return p, nil
}

func (p *process) wait(command *exec.Cmd) {
	// Its error repeats the exit status, or tells of output that orphans kept open.
	_ = command.Wait()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	p.endedAt = time.Now()
	status := command.ProcessState.Sys().(syscall.WaitStatus)
	p.code = int32(status.ExitStatus())
	if status.Signaled() {
		p.signal = int32(status.Signal())
		p.code = 128 + p.signal
	}
	close(p.done)
}

// terminate asks the process to end.
func (p *process) terminate() { p.send(p.pid, syscall.SIGTERM) }

// kill ends the process and all that it started.
func (p *process) kill() { p.send(-p.pid, syscall.SIGKILL) }

// send does nothing once the process has ended: its number may be another's by then.
func (p *process) send(target int, signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		_ = syscall.Kill(target, signal)
	}
}

// stop asks, and kills what has not ended within the grace time.
func (p *process) stop(grace time.Duration) {
	p.terminate()
	select {
	case <-p.done:
	case <-time.After(grace):
		p.kill()
	}
}
