// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package process

import "time"

// timeFormat is the project's: RFC 3339, UTC, milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z"

// FormatTime writes a moment the way all of the project's records do.
func FormatTime(moment time.Time) string { return moment.UTC().Format(timeFormat) }

// Status describes a process and its tree at one moment.
type Status struct {
	State           State  `json:"state"`
	PID             int    `json:"pid"`
	PIDs            []int  `json:"pids"`
	ExitCode        *int   `json:"exit_code"` // negative: the signal that ended it
	Result          Result `json:"result"`
	StartedAt       string `json:"started_at"`
	Stopping        bool   `json:"stopping"`
	Masked          bool   `json:"masked"`
	ResidentKiB     int64  `json:"resident_kib"`
	ProportionalKiB *int64 `json:"proportional_kib,omitempty"`
}

// Status reads the process's state from the kernel, so that a freeze by anybody shows.
func (p *Process) Status() (Status, error) {
	table, err := readProcesses()
	if err != nil {
		return Status{}, err
	}
	return p.statusIn(table, false), nil
}

func (p *Process) statusIn(table processTable, proportional bool) Status {
	p.mutex.Lock()
	status := Status{PID: p.pid, ExitCode: p.exitCode, Result: p.result, Stopping: p.stopping}
	if !p.started.IsZero() {
		status.StartedAt = FormatTime(p.started)
	}
	asked := p.asked
	p.mutex.Unlock()
	status.Masked = p.masks.has(p.id)
	status.State = stateOf(status, asked, table)
	status.PIDs = []int{}
	members := []entry{}
	if status.PID != 0 {
		members = table.tree(status.PID, p.id)
	}
	for _, member := range members {
		status.PIDs = append(status.PIDs, member.pid)
		status.ResidentKiB += member.residentKiB
	}
	if proportional {
		status.ProportionalKiB = sumProportional(members)
	}
	return status
}

func stateOf(status Status, asked bool, table processTable) State {
	switch {
	case status.PID != 0 && table.entries[status.PID].state == 'T':
		return Frozen
	case status.PID != 0:
		return Running
	case status.Result == ByStart || !asked && status.Result != Success && status.Result != "":
		return Failed
	default:
		return Stopped
	}
}

func sumProportional(members []entry) *int64 {
	var sum int64
	for _, member := range members {
		sum += proportionalKiB(member.pid)
	}
	return &sum
}
