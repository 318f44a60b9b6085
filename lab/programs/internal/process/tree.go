// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// TagVariable marks every process that descends from a supervised one. A descendant that outlives its parent is
// handed to the supervisor by the kernel and would otherwise be lost to its tree.
const TagVariable = "LAB_PROCESS"

// entry is what /proc/<pid>/stat says about one process.
type entry struct {
	pid, parent int
	state       byte
	residentKiB int64
}

func (e entry) halted() bool { return e.state == 'T' || e.state == 't' || e.ended() }

func (e entry) ended() bool { return e.state == 'Z' || e.state == 'X' }

// processTable is one reading of /proc.
type processTable struct {
	entries  map[int]entry
	children map[int][]int
}

func readProcesses() (processTable, error) {
	table := processTable{entries: map[int]entry{}, children: map[int][]int{}}
	pids, err := readPIDs()
	if err != nil {
		return table, err
	}
	for _, pid := range pids {
		found, err := readEntry(pid)
		if err != nil {
			continue // it ended between the two reads
		}
		table.entries[pid] = found
		table.children[found.parent] = append(table.children[found.parent], pid)
	}
	return table, nil
}

func readPIDs() ([]int, error) {
	folder, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	pids := []int{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

func readEntry(pid int) (entry, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return entry{}, err
	}
	return parseStat(pid, raw)
}

// parseStat reads from behind the program's name, which may itself hold spaces and parentheses.
func parseStat(pid int, raw []byte) (entry, error) {
	const state, parent, residentPages = 0, 1, 21
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) <= residentPages {
		return entry{}, fmt.Errorf("process %d: short stat line", pid)
	}
	parentPID, err := strconv.Atoi(fields[parent])
	if err != nil {
		return entry{}, fmt.Errorf("process %d: %w", pid, err)
	}
	pages, err := strconv.ParseInt(fields[residentPages], 10, 64)
	if err != nil {
		return entry{}, fmt.Errorf("process %d: %w", pid, err)
	}
	kib := pages * int64(os.Getpagesize()) / 1024
	return entry{pid: pid, parent: parentPID, state: fields[state][0], residentKiB: kib}, nil
}

// tree lists the living processes below root (root first, parents before children) and the orphans that are owned.
// Sessions and groups would not do: PostgreSQL's backends each start a session of their own.
func (t processTable) tree(root int, owned func(pid int) bool) []entry {
	queue := []int{}
	if root != 0 {
		queue = append(queue, root)
	}
	for _, pid := range t.children[os.Getpid()] {
		if pid != root && owned(pid) {
			queue = append(queue, pid)
		}
	}
	members := []entry{}
	for len(queue) > 0 {
		pid := queue[0]
		queue = append(queue[1:], t.children[pid]...)
		if found, known := t.entries[pid]; known && !found.ended() {
			members = append(members, found)
		}
	}
	return members
}

// variable reads a variable of another process's environment.
func variable(pid int, name string) (value string, found bool) {
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return "", false
	}
	for pair := range strings.SplitSeq(string(environment), "\x00") {
		if value, found := strings.CutPrefix(pair, name+"="); found {
			return value, true
		}
	}
	return "", false
}

// EndMarked kills the processes whose environment holds a value of a variable until none is left.
func EndMarked(name, value string) error {
	deadline := time.Now().Add(settleTimeout)
	for {
		pids, err := readPIDs()
		if err != nil {
			return err
		}
		marked := []int{}
		for _, pid := range pids {
			if found, tagged := variable(pid, name); tagged && found == value {
				marked = append(marked, pid)
				_ = syscall.Kill(pid, syscall.SIGKILL) // it ended between the two, or is still there the next time
			}
		}
		if len(marked) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v outlived SIGKILL for %s", marked, settleTimeout)
		}
		time.Sleep(settleInterval)
	}
}

// writesTo tells whether a process's output or its errors go to a file.
func writesTo(pid int, file os.FileInfo) bool {
	for _, descriptor := range []int{1, 2} {
		found, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, descriptor))
		if err == nil && os.SameFile(found, file) {
			return true
		}
	}
	return false
}

// proportionalKiB counts memory shared between processes once, each taking its part (PSS).
func proportionalKiB(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, found := strings.CutPrefix(line, "Pss:"); found {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib
		}
	}
	return 0
}
