// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// runningPod is what faults on pods need to know.
type runningPod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	IP        string `json:"ip"`
	PID       int    `json:"pid"`
}

// podsFile keeps the list of running pods in a file that readers always find whole.
type podsFile struct {
	path string
	list func() []runningPod
	news chan struct{}
}

func newPodsFile(path string, list func() []runningPod) *podsFile {
	return &podsFile{path: path, list: list, news: make(chan struct{}, 1)}
}

// changed wakes the writer; it never waits.
func (f *podsFile) changed() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// keep writes the file at each change until ctx ends.
func (f *podsFile) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.news:
			// A list that cannot be written now is written at the next change; pods do not depend on it.
			_ = f.write()
		}
	}
}

func (f *podsFile) write() error {
	text, err := json.MarshalIndent(f.list(), "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(f.path+".new", f.path)
}

// list is the pods whose first container runs now.
func (a *Agent) list() []runningPod {
	a.mu.Lock()
	defer a.mu.Unlock()
	pods := []runningPod{}
	for _, run := range a.runs {
		run.mu.Lock()
		if process := run.mains[0].process; process != nil {
			pods = append(pods, runningPod{
				Namespace: run.pod.Namespace, Name: run.pod.Name, UID: string(run.pod.UID), IP: run.ip, PID: process.pid,
			})
		}
		run.mu.Unlock()
	}
	slices.SortFunc(pods, func(a, b runningPod) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
	return pods
}
