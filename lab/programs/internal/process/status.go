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
	current := p.run()
	status := current.status(table)
	status.Masked = p.masks.has(p.id)
	status.PIDs = []int{}
	members := table.tree(status.PID, current.owns)
	for _, member := range members {
		status.PIDs = append(status.PIDs, member.pid)
		status.ResidentKiB += member.residentKiB
	}
	if proportional {
		status.ProportionalKiB = sumProportional(members)
	}
	return status
}

func (r *run) status(table processTable) Status {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	status := Status{ExitCode: r.exitCode, Result: r.result, Stopping: r.stopping}
	if !r.started.IsZero() {
		status.StartedAt = FormatTime(r.started)
	}
	if !r.exited {
		status.PID = r.pid
	}
	switch failed := r.result != Success && r.result != ""; {
	case table.entries[status.PID].state == 'T':
		status.State = Frozen
	case !r.over():
		status.State = Running
	case r.trouble != nil || failed && !r.asked:
		status.State = Failed
	default:
		status.State = Stopped
	}
	return status
}

func sumProportional(members []entry) *int64 {
	var sum int64
	for _, member := range members {
		sum += proportionalKiB(member.pid)
	}
	return &sum
}
