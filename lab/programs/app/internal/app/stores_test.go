// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
	gone  = errors.New("gone")
)

// fakeKeeper answers as it is told.
type fakeKeeper struct{ writable, keep, find error }

func (f fakeKeeper) Keep(_ context.Context, row Row) (any, error) { return Event{ID: row.ID}, f.keep }
func (f fakeKeeper) Find(_ context.Context, row Row) (any, error) { return nil, f.find }
func (f fakeKeeper) Writable(context.Context) error               { return f.writable }

func serverWith(rows store, keepers map[string]Keeper) *Server {
	return NewServer("user-service", rows, NewStores(keepers), func(context.Context) error { return nil }, quiet)
}

func TestWritesAndStores(t *testing.T) {
	for name, test := range map[string]struct {
		event    fakeKeeper
		status   int
		inserted int
		said     string
	}{
		"all well":               {fakeKeeper{}, 201, 1, `"event":{`},
		"known to be down":       {fakeKeeper{writable: gone}, 503, 0, "nothing was written"},
		"down after the commit":  {fakeKeeper{keep: gone}, 503, 1, "row 7 is in the database, but its event was not confirmed: gone"},
		"reading does not count": {fakeKeeper{find: gone}, 201, 1, `"session":{`},
	} {
		t.Run(name, func(t *testing.T) {
			rows := &fakeRows{}
			server := serverWith(rows, map[string]Keeper{"event": test.event, "session": fakeKeeper{}})
			got := ask(server.Handler(), "POST", "/v1/user-service/rows", `{"key":"k","value":"v"}`)
			if got.Code != test.status || rows.inserted != test.inserted || !strings.Contains(got.Body.String(), test.said) {
				t.Fatalf("got %d after %d inserts: %s", got.Code, rows.inserted, got.Body)
			}
		})
	}
}

func TestReadSaysWhatEachStoreHas(t *testing.T) {
	server := serverWith(&fakeRows{}, map[string]Keeper{"event": fakeKeeper{find: gone}, "session": fakeKeeper{}})
	got := ask(server.Handler(), "GET", "/v1/user-service/rows/k", "")
	var row map[string]any
	if err := json.Unmarshal(got.Body.Bytes(), &row); err != nil || got.Code != 200 {
		t.Fatalf("got %d %s", got.Code, got.Body)
	}
	session, told := row["session"]
	if event, _ := row["event"].(map[string]any); event["error"] != "gone" || !told || session != nil {
		t.Fatalf("got %s", got.Body)
	}
}

func TestAStoreThatIsNotWritableIsUnready(t *testing.T) {
	server := serverWith(&fakeRows{}, map[string]Keeper{"file": fakeKeeper{writable: gone}})
	if got := ask(server.Handler(), "GET", "/readyz", ""); got.Code != 503 || !strings.Contains(got.Body.String(), "file") {
		t.Fatalf("ready: %d %s", got.Code, got.Body)
	}
	got := ask(server.Handler(), "GET", "/v1/user-service/healthz", "")
	if got.Code != 200 || !strings.Contains(got.Body.String(), `"file":{"closed":false,"reason":"the store of each row's file is not writable: gone","writable":false}`) {
		t.Fatalf("health: %d %s", got.Code, got.Body)
	}
}

func TestAStoreThatIsClosedRefusesWritesOnly(t *testing.T) {
	rows := &fakeRows{}
	server := serverWith(rows, map[string]Keeper{"event": fakeKeeper{writable: fmt.Errorf("topic: %w", errClosed)}})
	if got := ask(server.Handler(), "GET", "/readyz", ""); got.Code != 200 {
		t.Fatalf("ready: %d %s", got.Code, got.Body)
	}
	if got := ask(server.Handler(), "POST", "/v1/user-service/rows", `{"key":"k","value":"v"}`); got.Code != 503 || rows.inserted != 0 {
		t.Fatalf("write: %d %s after %d inserts", got.Code, got.Body, rows.inserted)
	}
	if got := ask(server.Handler(), "GET", "/v1/user-service/healthz", ""); !strings.Contains(got.Body.String(), `"closed":true`) {
		t.Fatalf("health: %s", got.Body)
	}
}

func TestServiceUsesItsStores(t *testing.T) {
	for service, wanted := range map[string]string{
		"user-service": "event session", "tenant-service": "event", "plugin-service": "event file", "ai-service": "event file",
	} {
		stores, err := OpenStores(Config{
			Service:  service,
			Sessions: SessionsConfig{Sentinels: []string{"127.0.0.1:1"}, Master: "m"},
			Events:   EventsConfig{Brokers: []string{"127.0.0.1:1"}},
			Files:    FilesConfig{Endpoint: "http://127.0.0.1:1", Bucket: "files"},
		}, NewResolver(""), quiet)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(sorted(stores.keepers), " "); got != wanted {
			t.Errorf("%s uses %s", service, got)
		}
		began := time.Now()
		if err := stores.Writable(); err == nil || time.Since(began) > time.Second {
			t.Errorf("%s: %v after %s", service, err, time.Since(began))
		}
	}
	none, err := OpenStores(Config{Service: "user-service"}, NewResolver(""), quiet)
	if err != nil || len(none.keepers) != 0 || none.Writable() != nil {
		t.Fatalf("%v, %v", none, err)
	}
}

// program finds one in the PATH or among those that the lab keeps, or skips the test.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	cache := os.Getenv("RECOVERY_LAB_CACHE")
	if cache == "" {
		cache = "/var/cache/platform-recovery"
	}
	for _, pattern := range []string{"programs/" + name + "-*/" + name, "debian/*/usr/bin/" + name} {
		if found, _ := filepath.Glob(filepath.Join(cache, pattern)); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	t.Skipf("no %s in PATH or among the lab's programs: the tests with a real one need it", name)
	return ""
}

// run starts a program of this test's own and ends it with the test; it listens on port when run returns.
func run(t *testing.T, port int, environment []string, words ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command(words[0], words[1:]...)
	command.Env = append(os.Environ(), environment...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if root, _, unpacked := strings.Cut(words[0], "/usr/bin/"); unpacked && root != "" {
		command.Env = append(command.Env, "LD_LIBRARY_PATH="+root+"/usr/lib/x86_64-linux-gnu:"+root+"/lib/x86_64-linux-gnu")
	}
	var said strings.Builder
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGCONT)
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", local(port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return command
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// eventually waits for something to become true.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be")
		}
	}
}

func sorted(keepers map[string]Keeper) []string {
	var names []string
	for _, name := range []string{"event", "file", "session"} {
		if _, there := keepers[name]; there {
			names = append(names, name)
		}
	}
	return names
}
