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
		"aborted": {"kill -ABRT $$", Failed, -6},
		"ended":   {"kill -TERM $$", Stopped, -15},
		"no pipe": {"kill -PIPE $$", Stopped, -13},
	} {
		t.Run(name, func(t *testing.T) {
			found := define(t, newRegistry(t), wanted.script)
			must(t, found.Start())
			await(t, "the end", func() bool { return status(t, found).State != Running })
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
	await(t, "the end of all", func() bool { return gone(pids) && status(t, found).State == Failed })
}

func TestAnOrphanWithoutEnvironmentIsKnownByItsLog(t *testing.T) {
	registry := newRegistry(t)
	stranger, err := registry.Define("stranger", Definition{
		Argv: []string{"/bin/sh", "-c", `(setsid env -i sleep 60 &); sleep 60 & wait`}, Folder: "/", Log: filepath.Join(t.TempDir(), "log"),
	})
	must(t, err)
	must(t, stranger.Start())
	await(t, "the stranger's tree", func() bool { return len(status(t, stranger).PIDs) == 3 })
	found := start(t, registry, `(setsid env -i sleep 60 &); sleep 60 & wait`, 3)
	pids := status(t, found).PIDs
	must(t, syscall.Kill(found.run().root(), syscall.SIGKILL))
	await(t, "the end of all", func() bool { return gone(pids) && status(t, found).State == Failed })
	if got := status(t, stranger); got.State != Running || len(got.PIDs) != 3 {
		t.Errorf("it took a stranger with it: %+v", got)
	}
}

// lingering kills the main process and keeps its run from being declared over until the returned function is called.
func lingering(t *testing.T, found *Process) (release func()) {
	t.Helper()
	current := found.run()
	current.acting.RLock()
	must(t, syscall.Kill(current.pid, syscall.SIGKILL))
	await(t, "the main process's end", func() bool { return current.root() == 0 })
	return current.acting.RUnlock
}

func answer(do func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- do() }()
	return result
}

func none(t *testing.T, result <-chan error, what string) {
	t.Helper()
	select {
	case err := <-result:
		t.Fatalf("%s: %v", what, err)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestAProcessHasNotEndedBeforeItsLeftovers(t *testing.T) {
	for name, end := range map[string]func(*Process) error{"stop": (*Process).Stop, "kill": (*Process).Kill} {
		t.Run(name, func(t *testing.T) {
			found := start(t, newRegistry(t), "sleep 60 & wait", 2)
			found.defined.StopSeconds = 5
			release := lingering(t, found)
			if got := status(t, found); got.State != Running || !got.Stopping || got.PID != 0 {
				t.Errorf("with leftovers: %+v", got)
			}
			ended := answer(func() error { return end(found) })
			none(t, ended, "it did not wait for the leftovers")
			release()
			must(t, <-ended)
			if got := status(t, found); got.State != Failed || got.Stopping || got.Result != BySignal {
				t.Errorf("an end that was asked for too late: %+v", got)
			}
		})
	}
}

func TestLeftoversAreListed(t *testing.T) {
	found := start(t, newRegistry(t), "sleep 60 & wait", 2)
	must(t, found.Kill())
	orphan, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "60"}, &syscall.ProcAttr{Env: found.defined.environment(found.id)})
	must(t, err)
	if got := status(t, found).PIDs; !slices.Equal(got, []int{orphan}) {
		t.Errorf("listed %v, wanted %d", got, orphan)
	}
	must(t, syscall.Kill(orphan, syscall.SIGKILL))
}

func TestWhatOutlivesTheEndIsAFailureAndSaid(t *testing.T) {
	found := define(t, newRegistry(t), "")
	found.last = &run{id: found.id, ended: make(chan struct{}), exited: true, asked: true, result: Success}
	survived := errors.New("one process outlived it")
	found.last.finish(survived)
	if got := status(t, found); got.State != Failed || got.Result != ByTimeout {
		t.Errorf("got %+v", got)
	}
	if err := found.Stop(); !errors.Is(err, survived) {
		t.Errorf("stop said %v", err)
	}
	if err := found.Kill(); !errors.Is(err, survived) {
		t.Errorf("kill said %v", err)
	}
	found.last = noRun(found.id, "")
}

func TestAStaleOrderDoesNotHitTheNextRun(t *testing.T) {
	found := start(t, newRegistry(t), "sleep 60 & wait", 2)
	former := found.run()
	must(t, found.Kill())
	must(t, found.Start())
	await(t, "the next run", func() bool { return len(status(t, found).PIDs) == 2 })
	before := status(t, found)
	must(t, former.kill())
	must(t, former.stop(syscall.SIGTERM, time.Second))
	if err := former.freeze(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("froze the run before: %v", err)
	}
	if after := status(t, found); after.State != Running || after.Stopping || !slices.Equal(after.PIDs, before.PIDs) {
		t.Errorf("%+v became %+v", before, after)
	}
}

func TestAMaskDuringTheWaitForLeftoversPreventsTheStart(t *testing.T) {
	found := start(t, newRegistry(t), "sleep 60 & wait", 2)
	release := lingering(t, found)
	started := answer(found.Start)
	none(t, started, "it did not wait for the leftovers")
	must(t, <-answer(found.Mask))
	release()
	if err := <-started; !errors.Is(err, ErrMasked) {
		t.Errorf("got %v", err)
	}
	if got := status(t, found); got.PID != 0 {
		t.Errorf("a masked process was started: %+v", got)
	}
}

func TestAMaskWaitsForASpawningSoThatAKillAfterItHits(t *testing.T) {
	found := define(t, newRegistry(t), "sleep 60 & wait")
	found.spawner.mutex.Lock()
	started := answer(found.Start)
	await(t, "the start's turn", func() bool {
		free := found.starting.TryLock()
		if free {
			found.starting.Unlock()
		}
		return !free
	})
	masked := answer(found.Mask)
	none(t, masked, "the mask overtook a start")
	found.spawner.mutex.Unlock()
	must(t, <-masked)
	must(t, found.Kill())
	must(t, <-started)
	if got := status(t, found); got.PID != 0 || got.ExitCode == nil {
		t.Errorf("after mask and kill: %+v", got)
	}
}

func TestAMaskThatCannotBeReadCounts(t *testing.T) {
	found := define(t, newRegistry(t), "sleep 60")
	must(t, os.WriteFile(string(found.masks), nil, 0o600)) // where the folder should be
	if err := found.Start(); !errors.Is(err, ErrMasked) {
		t.Errorf("got %v", err)
	}
}

func TestNothingStartsOnceTheLabEnds(t *testing.T) {
	registry := newRegistry(t)
	found := start(t, registry, "sleep 60 & wait", 2)
	must(t, registry.StopAll())
	if err := found.Start(); !errors.Is(err, ErrClosing) {
		t.Errorf("started: %v", err)
	}
	if _, err := registry.Define("new", found.defined); !errors.Is(err, ErrClosing) {
		t.Errorf("defined: %v", err)
	}
}

func TestWhatWasRemovedIsNotStartedByWhoFoundItBefore(t *testing.T) {
	registry := newRegistry(t)
	found := start(t, registry, "sleep 60 & wait", 2)
	if err := registry.Remove(found.id); !errors.Is(err, ErrRunning) {
		t.Errorf("removed a running process: %v", err)
	}
	must(t, found.Kill())
	must(t, registry.Remove(found.id))
	if err := found.Start(); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestTheRegistryAnswersDuringAStart(t *testing.T) {
	registry := newRegistry(t)
	found := define(t, registry, "sleep 60 & wait")
	definition := found.defined
	found.starting.Lock()
	defined := answer(func() error { _, err := registry.Define(found.id, definition); return err })
	none(t, defined, "it was defined anew during a start")
	_, err := registry.Find(found.id)
	must(t, err)
	found.starting.Unlock()
	must(t, <-defined)
}

func TestSignalsByNameAndNumber(t *testing.T) {
	for text, wanted := range map[string]syscall.Signal{"KILL": 9, "sigterm": 15, "9": 9, "64": 64} {
		if got, err := ParseSignal(text); err != nil || got != wanted {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "NOPE", "0", "-9", "65"} {
		if got, err := ParseSignal(text); err == nil {
			t.Errorf("%s: %d", text, got)
		}
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
	await(t, "the end", func() bool { return status(t, found).State != Running })
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
	for name, change := range map[string]func(*Definition){
		"argv":         func(d *Definition) { d.Argv = nil },
		"cwd":          func(d *Definition) { d.Folder = "relative" },
		"log":          func(d *Definition) { d.Log = "" },
		"stop_signal":  func(d *Definition) { d.StopSignal = "NOPE" },
		"stop_seconds": func(d *Definition) { d.StopSeconds = -1 },
	} {
		broken := valid
		change(&broken)
		if err := broken.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	must(t, valid.Check())
}
