// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package sshhost

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"platform.recovery/lab/internal/process"
)

// Exit codes of systemctl, which follow the LSB's.
const (
	failure       = 1
	notActive     = 3
	noSuchUnit    = 4
	notInstalled  = 5
	unitSuffix    = ".service"
	defaultSignal = syscall.SIGTERM
)

// Unit is what systemctl needs of a supervised process.
type Unit interface {
	Status() (process.Status, error)
	Start() error
	Stop() error
	Signal(number syscall.Signal, mainOnly bool) error
	Mask() error
	Unmask() error
}

// Finder looks a process up by its id.
type Finder func(id string) (Unit, error)

// call is one parsed command line of systemctl.
type call struct {
	verb       string
	units      []string
	properties []string
	valueOnly  bool
	quiet      bool
	now        bool
	signal     syscall.Signal
	mainOnly   bool
}

func (s *shell) systemctl(arguments []string) int {
	wanted, err := parseCall(arguments)
	if err != nil {
		return s.fail(failure, "systemctl: %v", err)
	}
	switch wanted.verb {
	case "is-active":
		return s.isActive(wanted)
	case "is-enabled":
		return s.each(wanted, s.isEnabled)
	case "show":
		return s.each(wanted, s.show)
	case "start", "stop", "kill", "mask", "unmask":
		return s.each(wanted, s.change)
	default:
		return s.fail(failure, "Unknown command verb '%s'.", wanted.verb)
	}
}

func (s *shell) fail(code int, format string, values ...any) int {
	fmt.Fprintf(s.problems, format+"\n", values...)
	return code
}

func parseCall(arguments []string) (call, error) {
	wanted := call{signal: defaultSignal}
	for len(arguments) > 0 {
		argument := arguments[0]
		arguments = arguments[1:]
		if !strings.HasPrefix(argument, "-") {
			wanted.operand(argument)
			continue
		}
		var err error
		if arguments, err = wanted.option(argument, arguments); err != nil {
			return wanted, err
		}
	}
	switch {
	case wanted.verb == "":
		return wanted, errors.New("a command verb is missing")
	case len(wanted.units) == 0:
		return wanted, errors.New("too few arguments")
	}
	return wanted, nil
}

func (c *call) operand(word string) {
	if c.verb == "" {
		c.verb = word
		return
	}
	c.units = append(c.units, strings.TrimSuffix(word, unitSuffix))
}

// option takes one option and, if it has a value of its own, that; it returns the arguments left.
func (c *call) option(argument string, rest []string) ([]string, error) {
	switch argument {
	case "--now":
		c.now = true
		return rest, nil
	case "-q", "--quiet":
		c.quiet = true
		return rest, nil
	case "--value":
		c.valueOnly = true
		return rest, nil
	case "--no-pager", "--no-ask-password":
		return rest, nil
	}
	name, value, rest, err := splitOption(argument, rest)
	if err != nil {
		return nil, err
	}
	return rest, c.setting(name, value)
}

// splitOption knows -x value, -xvalue, --long value and --long=value.
func splitOption(argument string, rest []string) (name, value string, left []string, err error) {
	long := strings.HasPrefix(argument, "--")
	if before, after, found := strings.Cut(argument, "="); long && found {
		return before, after, rest, nil
	}
	if !long && len(argument) > 2 {
		return argument[:2], argument[2:], rest, nil
	}
	if len(rest) == 0 {
		return "", "", nil, fmt.Errorf("option '%s' is not known or requires an argument", argument)
	}
	return argument, rest[0], rest[1:], nil
}

func (c *call) setting(name, value string) error {
	switch name {
	case "-p", "--property":
		c.properties = append(c.properties, strings.Split(value, ",")...)
		return nil
	case "-s", "--signal":
		number, err := process.ParseSignal(value)
		c.signal = number
		return err
	case "--kill-whom", "--kill-who":
		c.mainOnly = value == "main"
		return nil
	default:
		return fmt.Errorf("unrecognized option '%s'", name)
	}
}

// each applies a verb to every unit and returns the last bad exit code.
func (s *shell) each(wanted call, apply func(call, string) int) int {
	code := 0
	for _, unit := range wanted.units {
		if got := apply(wanted, unit); got != 0 {
			code = got
		}
	}
	return code
}

func (s *shell) unit(name string) (Unit, bool) {
	id, known := s.units[name]
	if !known {
		return nil, false
	}
	found, err := s.find(id)
	return found, err == nil
}

// isActive is 0 if any of the units is active.
func (s *shell) isActive(wanted call) int {
	code := notActive
	for _, name := range wanted.units {
		view := s.view(name)
		if view.active == "active" {
			code = 0
		}
		if !wanted.quiet {
			fmt.Fprintln(s.output, view.active)
		}
	}
	if _, known := s.unit(wanted.units[0]); len(wanted.units) == 1 && !known {
		return noSuchUnit
	}
	return code
}

func (s *shell) isEnabled(wanted call, name string) int {
	view := s.view(name)
	if view.file == "" {
		return s.fail(failure, "Failed to get unit file state for %s%s: No such file or directory", name, unitSuffix)
	}
	if !wanted.quiet {
		fmt.Fprintln(s.output, view.file)
	}
	if view.file != "enabled" {
		return failure
	}
	return 0
}

func (s *shell) show(wanted call, name string) int {
	view := s.view(name)
	for _, property := range view.properties(name) {
		if len(wanted.properties) > 0 && !slices.Contains(wanted.properties, property[0]) {
			continue
		}
		if wanted.valueOnly {
			fmt.Fprintln(s.output, property[1])
		} else {
			fmt.Fprintf(s.output, "%s=%s\n", property[0], property[1])
		}
	}
	return 0
}

func (s *shell) change(wanted call, name string) int {
	unit, known := s.unit(name)
	if !known {
		return s.missing(wanted.verb, name)
	}
	if err := apply(wanted, unit); err != nil {
		return s.refused(wanted.verb, name, err)
	}
	return 0
}

func (s *shell) missing(verb, name string) int {
	switch verb {
	case "start":
		return s.fail(notInstalled, "Failed to start %s%s: Unit %s%s not found.", name, unitSuffix, name, unitSuffix)
	case "stop":
		return s.fail(notInstalled, "Failed to stop %s%s: Unit %s%s not loaded.", name, unitSuffix, name, unitSuffix)
	default:
		return s.fail(failure, "Failed to %s unit: Unit %s%s could not be found.", verb, name, unitSuffix)
	}
}

func (s *shell) refused(verb, name string, err error) int {
	if errors.Is(err, process.ErrMasked) {
		return s.fail(failure, "Failed to %s %s%s: Unit %s%s is masked.", verb, name, unitSuffix, name, unitSuffix)
	}
	return s.fail(failure, "Failed to %s %s%s: %v", verb, name, unitSuffix, err)
}

func apply(wanted call, unit Unit) error {
	switch wanted.verb {
	case "start":
		return unit.Start()
	case "stop":
		return unit.Stop()
	case "unmask":
		return unit.Unmask()
	case "mask":
		if err := unit.Mask(); err != nil || !wanted.now {
			return err
		}
		return unit.Stop()
	default:
		err := unit.Signal(wanted.signal, wanted.mainOnly)
		if errors.Is(err, process.ErrNotRunning) && !wanted.mainOnly {
			return nil // like systemctl: nothing to kill is no error
		}
		return err
	}
}

// view is a process in systemd's words.
type view struct {
	load, active, sub, file, result string
	mainPID                         int
	status                          process.Status
}

func (s *shell) view(name string) view {
	unit, known := s.unit(name)
	if !known {
		return view{load: "not-found", active: "inactive", sub: "dead", result: string(process.Success)}
	}
	status, err := unit.Status()
	if err != nil {
		return view{load: "error", active: "unknown", sub: "unknown", file: "enabled"}
	}
	seen := view{load: "loaded", file: "enabled", result: string(status.Result), mainPID: status.PID, status: status}
	seen.active, seen.sub = activity(status)
	if status.Masked {
		seen.load, seen.file = "masked", "masked"
	}
	if seen.result == "" {
		seen.result = string(process.Success)
	}
	return seen
}

// activity: a frozen process is active for systemd, which does not look at what a process does. A unit has ended when
// nothing of it is left, and one that was killed is failed even if the kill was asked for.
func activity(status process.Status) (active, sub string) {
	switch {
	case status.Stopping && status.PID != 0:
		return "deactivating", "stop-sigterm"
	case status.Stopping:
		return "deactivating", "final-sigkill"
	case status.PID != 0:
		return "active", "running"
	case status.Result == "" || status.Result == process.Success:
		return "inactive", "dead"
	default:
		return "failed", "failed"
	}
}

func (v view) properties(name string) [][2]string {
	code := 0
	if v.status.ExitCode != nil {
		code = max(*v.status.ExitCode, -*v.status.ExitCode)
	}
	return [][2]string{
		{"Id", name + unitSuffix},
		{"LoadState", v.load},
		{"ActiveState", v.active},
		{"SubState", v.sub},
		{"UnitFileState", v.file},
		{"MainPID", strconv.Itoa(v.mainPID)},
		{"ExecMainStatus", strconv.Itoa(code)},
		{"Result", v.result},
	}
}
