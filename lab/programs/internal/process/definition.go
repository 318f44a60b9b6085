// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Definition says how a process is started and stopped.
type Definition struct {
	Argv        []string          `json:"argv"`
	Environment map[string]string `json:"env"`
	Folder      string            `json:"cwd"`
	Log         string            `json:"log"`
	StopSignal  string            `json:"stop_signal"`
	StopSeconds float64           `json:"stop_seconds"`
}

const defaultStopSeconds = 10

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL,
	"TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
	"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "ABRT": syscall.SIGABRT,
}

// lastSignal is the highest number that Linux knows.
const lastSignal = 64

// ParseSignal reads a signal's number or its name, with or without SIG.
func ParseSignal(name string) (syscall.Signal, error) {
	if number, err := strconv.Atoi(name); err == nil && number > 0 && number <= lastSignal {
		return syscall.Signal(number), nil
	}
	if found, known := signals[strings.TrimPrefix(strings.ToUpper(name), "SIG")]; known {
		return found, nil
	}
	return 0, fmt.Errorf("unknown signal %q", name)
}

// Check fills in what was left out and refuses what cannot work.
func (d *Definition) Check() error {
	if d.StopSignal == "" {
		d.StopSignal = "TERM"
	}
	if d.StopSeconds == 0 {
		d.StopSeconds = defaultStopSeconds
	}
	if _, err := ParseSignal(d.StopSignal); err != nil {
		return fmt.Errorf("stop_signal: %w", err)
	}
	switch {
	case len(d.Argv) == 0:
		return errors.New("argv is empty")
	case !filepath.IsAbs(d.Folder):
		return fmt.Errorf("cwd must be an absolute path, not %q", d.Folder)
	case !filepath.IsAbs(d.Log):
		return fmt.Errorf("log must be an absolute path, not %q", d.Log)
	case d.StopSeconds < 0:
		return errors.New("stop_seconds must not be negative")
	}
	return nil
}

func (d *Definition) stopTimeout() time.Duration {
	return time.Duration(d.StopSeconds * float64(time.Second))
}

func (d *Definition) executable() (string, error) {
	if filepath.IsAbs(d.Argv[0]) {
		return d.Argv[0], nil
	}
	return exec.LookPath(d.Argv[0])
}

// environment is the definition's own and the search path; nothing else of the supervisor's leaks into a server.
func (d *Definition) environment(id string) []string {
	variables := []string{}
	if _, given := d.Environment["PATH"]; !given {
		variables = append(variables, "PATH="+os.Getenv("PATH"))
	}
	for name, value := range d.Environment {
		variables = append(variables, name+"="+value)
	}
	slices.Sort(variables)
	return append(variables, TagVariable+"="+id)
}
