// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package process

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var oneSpawner = sync.OnceValues(NewSpawner)

func newRegistry(t *testing.T) *Registry {
	t.Helper()
	spawner, err := oneSpawner()
	if err != nil {
		t.Fatal(err)
	}
	registry := NewRegistry(spawner, t.TempDir())
	t.Cleanup(func() {
		for _, found := range registry.all() {
			if err := found.Kill(); err != nil {
				t.Error(err)
			}
		}
	})
	return registry
}

func define(t *testing.T, registry *Registry, script string) *Process {
	t.Helper()
	folder := t.TempDir()
	found, err := registry.Define("region/server/"+strings.ReplaceAll(t.Name(), "/", "."), Definition{
		Argv: []string{"/bin/sh", "-c", script}, Folder: folder, Log: filepath.Join(folder, "log"),
		StopSignal: "TERM", StopSeconds: 0.3,
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func start(t *testing.T, registry *Registry, script string, members int) *Process {
	t.Helper()
	found := define(t, registry, script)
	must(t, found.Start())
	await(t, "the tree's size", func() bool { return len(status(t, found).PIDs) == members })
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func status(t *testing.T, found *Process) Status {
	t.Helper()
	got, err := found.Status()
	must(t, err)
	return got
}

func await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for range 400 {
		if reached() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("not reached within 2 s: %s", what)
}

func gone(pids []int) bool {
	return !slices.ContainsFunc(pids, func(pid int) bool {
		found, err := readEntry(pid)
		return err == nil && !found.ended()
	})
}

// severalSessions is a tree like PostgreSQL's: each child has a session of its own and a child below it.
const severalSessions = `for n in 1 2 3; do setsid sh -c 'sleep 60 & wait' & done; wait`

func TestKillEndsATreeOfSeveralSessions(t *testing.T) {
	found := start(t, newRegistry(t), severalSessions, 7)
	pids := status(t, found).PIDs
	must(t, found.Kill())
	if !gone(pids) {
		t.Error("members outlived the kill")
	}
	got := status(t, found)
	if got.State != Stopped || got.Result != BySignal || *got.ExitCode != -9 {
		t.Errorf("after a kill that was asked for: %+v", got)
	}
}

func TestFreezeHaltsEveryMemberAndThawLetsThemGoOn(t *testing.T) {
	found := start(t, newRegistry(t), severalSessions, 7)
	must(t, found.Freeze())
	for _, pid := range status(t, found).PIDs {
		if member, err := readEntry(pid); err != nil || member.state != 'T' {
			t.Errorf("member %d is %c after the freeze (%v)", pid, member.state, err)
		}
	}
	if got := status(t, found).State; got != Frozen {
		t.Errorf("state is %s, wanted frozen", got)
	}
	must(t, found.Thaw())
	await(t, "running again", func() bool { return status(t, found).State == Running })
}

func TestFreezeCatchesATreeThatForksAllTheTime(t *testing.T) {
	found := define(t, newRegistry(t), `fork() { while :; do (sleep 0.05 &) ; done; }; fork & fork`)
	must(t, found.Start())
	await(t, "a grown tree", func() bool { return len(status(t, found).PIDs) > 10 })
	must(t, found.Freeze())
	before := status(t, found).PIDs
	time.Sleep(50 * time.Millisecond)
	after := status(t, found).PIDs
	slices.Sort(before)
	slices.Sort(after)
	if !slices.Equal(before, after) {
		t.Errorf("a frozen tree changed from %v to %v", before, after)
	}
	must(t, found.Kill())
	if !gone(after) {
		t.Error("members outlived the kill")
	}
}

func TestKillEndsAFrozenTree(t *testing.T) {
	found := start(t, newRegistry(t), severalSessions, 7)
	must(t, found.Freeze())
	pids := status(t, found).PIDs
	must(t, found.Kill())
	if !gone(pids) {
		t.Error("members outlived the kill")
	}
}

func TestStopIsPoliteFirst(t *testing.T) {
	found := start(t, newRegistry(t), `trap 'exit 0' TERM; sleep 60 & wait`, 2)
	pids := status(t, found).PIDs
	must(t, found.Stop())
	got := status(t, found)
	if got.State != Stopped || got.Result != Success || *got.ExitCode != 0 {
		t.Errorf("after a polite stop: %+v", got)
	}
	if !gone(pids) {
		t.Error("what the process left behind goes on")
	}
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	for name, before := range map[string]func(*Process) error{
		"deaf":   func(*Process) error { return nil },
		"frozen": (*Process).Freeze,
	} {
		t.Run(name, func(t *testing.T) {
			found := start(t, newRegistry(t), `trap '' TERM; sleep 60 & wait`, 2)
			must(t, before(found))
			began := time.Now()
			must(t, found.Stop())
			if waited := time.Since(began); waited < 300*time.Millisecond || waited > 2*time.Second {
				t.Errorf("the kill came after %s, wanted 0.3 s", waited)
			}
			if got := status(t, found); got.State != Stopped || got.Result != ByTimeout {
				t.Errorf("after the timeout: %+v", got)
			}
		})
	}
}

func TestStateAfterAnEndNobodyAskedFor(t *testing.T) {
	for name, wanted := range map[string]struct {
		script string
		state  State
		code   int
	}{
		"success": {"exit 0", Stopped, 0},
		"failure": {"exit 3", Failed, 3},
		"killed":  {"kill -KILL $$", Failed, -9},
		"ended":   {"kill -TERM $$", Failed, -15},
	} {
		t.Run(name, func(t *testing.T) {
			found := define(t, newRegistry(t), wanted.script)
			must(t, found.Start())
			await(t, "the end", func() bool { return status(t, found).PID == 0 })
			if got := status(t, found); got.State != wanted.state || *got.ExitCode != wanted.code {
				t.Errorf("got %s and %d, wanted %+v", got.State, *got.ExitCode, wanted)
			}
		})
	}
}

func TestAnOrphanBelongsToItsTreeAndEndsWithIt(t *testing.T) {
	found := start(t, newRegistry(t), `(setsid sleep 60 &); sleep 60 & wait`, 3)
	pids := status(t, found).PIDs
	must(t, syscall.Kill(status(t, found).PID, syscall.SIGKILL))
	await(t, "the end of all", func() bool { return gone(pids) })
	if got := status(t, found).State; got != Failed {
		t.Errorf("state is %s, wanted failed", got)
	}
}

func TestMaskRefusesStartsAndOutlivesTheSupervisor(t *testing.T) {
	registry := newRegistry(t)
	found := define(t, registry, "sleep 60")
	must(t, found.Mask())
	if err := found.Start(); !errors.Is(err, ErrMasked) {
		t.Fatalf("started a masked process: %v", err)
	}
	next := &Registry{spawner: registry.spawner, masks: registry.masks, known: map[string]*Process{}}
	again := define(t, next, "sleep 60")
	if err := again.Start(); !errors.Is(err, ErrMasked) {
		t.Fatalf("the mask was forgotten: %v", err)
	}
	must(t, again.Unmask())
	must(t, again.Start())
	must(t, again.Kill())
}

func TestStartOnARunningProcessDoesNothing(t *testing.T) {
	found := start(t, newRegistry(t), "sleep 60 & wait", 2)
	before := status(t, found).PID
	must(t, found.Start())
	if got := status(t, found).PID; got != before {
		t.Errorf("process %d was replaced by %d", before, got)
	}
}

func TestStartThatCannotWorkSaysWhy(t *testing.T) {
	registry := newRegistry(t)
	found, err := registry.Define("broken", Definition{Argv: []string{"/no/such/program"}, Folder: "/", Log: "/dev/null"})
	must(t, err)
	if err := found.Start(); !errors.Is(err, ErrSpawn) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if got := status(t, found).State; got != Failed {
		t.Errorf("state is %s, wanted failed", got)
	}
}

func TestARunningProcessKeepsItsDefinition(t *testing.T) {
	registry := newRegistry(t)
	found := start(t, registry, "sleep 60 & wait", 2)
	_, err := registry.Define(found.id, found.defined)
	must(t, err)
	other := found.defined
	other.StopSignal = "INT"
	if _, err := registry.Define(found.id, other); !errors.Is(err, ErrRunning) {
		t.Errorf("got %v", err)
	}
}

func TestAChildSeesOnlyItsOwnEnvironmentAndAppendsToItsLog(t *testing.T) {
	t.Setenv("LAB_SECRET_OF_THE_SUPERVISOR", "leaked")
	found := define(t, newRegistry(t), "env")
	found.defined.Environment = map[string]string{"GIVEN": "value"}
	must(t, os.WriteFile(found.defined.Log, []byte("before\n"), 0o600))
	must(t, found.Start())
	await(t, "the end", func() bool { return status(t, found).PID == 0 })
	log, err := os.ReadFile(found.defined.Log)
	must(t, err)
	text := string(log)
	if !strings.HasPrefix(text, "before\n") || !strings.Contains(text, "GIVEN=value\n") {
		t.Errorf("log: %q", text)
	}
	if strings.Contains(text, "leaked") {
		t.Error("the supervisor's environment leaked")
	}
}

func TestStopAllEndsTheLastStartedFirst(t *testing.T) {
	registry := newRegistry(t)
	folder := t.TempDir()
	order := filepath.Join(folder, "order")
	for _, name := range []string{"first", "second", "third"} {
		found, err := registry.Define(name, Definition{
			Argv:   []string{"/bin/sh", "-c", "trap 'echo " + name + " >> order; exit 0' TERM; echo up > " + name + "; while :; do sleep 0.01; done"},
			Folder: folder, Log: filepath.Join(folder, "log"),
		})
		must(t, err)
		must(t, found.Start())
		await(t, "the trap", func() bool { _, err := os.Stat(filepath.Join(folder, name)); return err == nil })
	}
	must(t, registry.StopAll())
	got, err := os.ReadFile(order)
	must(t, err)
	if string(got) != "third\nsecond\nfirst\n" {
		t.Errorf("stopped in the order %q", got)
	}
}

func TestMemoryOfATreeIsSummed(t *testing.T) {
	registry := newRegistry(t)
	found := start(t, registry, "sleep 60 & wait", 2)
	list, err := registry.List(true)
	must(t, err)
	got := list[found.id]
	if got.ResidentKiB <= 0 || got.ProportionalKiB == nil || *got.ProportionalKiB <= 0 {
		t.Errorf("resident %d, proportional %v", got.ResidentKiB, got.ProportionalKiB)
	}
	if *got.ProportionalKiB > got.ResidentKiB {
		t.Errorf("the proportional part %d exceeds %d", *got.ProportionalKiB, got.ResidentKiB)
	}
}

func TestParseStat(t *testing.T) {
	line := "7 (a (b) c) S 3 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 1000 5 0 0"
	got, err := parseStat(7, []byte(line))
	must(t, err)
	if got.parent != 3 || got.state != 'S' || got.residentKiB != 5*int64(os.Getpagesize())/1024 {
		t.Errorf("got %+v", got)
	}
	if _, err := parseStat(7, []byte("7 (short) S "+strconv.Itoa(3))); err == nil {
		t.Error("a short line was accepted")
	}
}

func TestDefinitionsThatCannotWork(t *testing.T) {
	valid := Definition{Argv: []string{"true"}, Folder: "/", Log: "/dev/null"}
	no := false
	for name, change := range map[string]func(*Definition){
		"argv":             func(d *Definition) { d.Argv = nil },
		"cwd":              func(d *Definition) { d.Folder = "relative" },
		"log":              func(d *Definition) { d.Log = "" },
		"stop_signal":      func(d *Definition) { d.StopSignal = "NOPE" },
		"stop_seconds":     func(d *Definition) { d.StopSeconds = -1 },
		"restart":          func(d *Definition) { d.Restart = "always" },
		"kill_signal_tree": func(d *Definition) { d.KillTree = &no },
	} {
		broken := valid
		change(&broken)
		if err := broken.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	must(t, valid.Check())
}
