// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is a PostgreSQL of this test's own.
type server struct {
	port    int
	command *exec.Cmd
}

// startServer skips the test where there is no PostgreSQL to start.
func startServer(t *testing.T) *server {
	t.Helper()
	initdb := findProgram("initdb")
	if initdb == "" {
		t.Skip("no initdb in PATH or /usr/lib/postgresql: the tests with a real database need one")
	}
	folder := t.TempDir()
	data := filepath.Join(folder, "data")
	s := &server{port: freePort(t)}
	// Both programs refuse to run as root.
	owner := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		owner.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		for _, path := range []string{folder, filepath.Dir(folder)} {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(folder, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	setup := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
	setup.SysProcAttr, setup.Dir = owner, folder
	if said, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v %s", err, said)
	}
	s.command = exec.Command(filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	s.command.SysProcAttr, s.command.Dir = owner, folder
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.command.Process.Signal(syscall.SIGQUIT)
		_ = s.command.Wait()
	})
	return s
}

func findProgram(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	slices.Sort(found)
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// do runs statements as an administrator, waiting for a server that still starts.
func (s *server) do(t *testing.T, statements ...string) {
	t.Helper()
	address := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable", s.port)
	var err error
	for range 200 {
		var conn *pgx.Conn
		if conn, err = pgx.Connect(t.Context(), address); err == nil {
			for _, statement := range statements {
				if _, err := conn.Exec(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			_ = conn.Close(t.Context())
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal(err)
}

func (s *server) open(t *testing.T) *Database {
	t.Helper()
	s.do(t, `CREATE TABLE IF NOT EXISTS users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text UNIQUE NOT NULL,
		value text NOT NULL, created_at timestamptz NOT NULL DEFAULT now())`)
	database, err := OpenDatabase(context.Background(), Config{Service: "user-service", Database: DatabaseConfig{
		Host: "127.0.0.1", Port: uint16(s.port), Name: "postgres", User: "postgres", SSLMode: "disable", PoolSize: 4,
	}}, NewResolver(""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	return database
}

// bounded is the context of a request.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	t.Cleanup(cancel)
	return ctx
}

func TestRows(t *testing.T) {
	database := startServer(t).open(t)
	row, err := database.Insert(bounded(t), "a", "1")
	if err != nil || row.ID == 0 || row.Value != "1" || time.Since(row.CreatedAt) > time.Minute {
		t.Fatalf("got %+v, %v", row, err)
	}
	if _, err := database.Insert(bounded(t), "a", "2"); !errors.Is(err, errKnownKey) {
		t.Fatalf("known key: %v", err)
	}
	if again, err := database.Read(bounded(t), "a"); err != nil || again != row {
		t.Fatalf("read %+v, %v", again, err)
	}
	if _, err := database.Read(bounded(t), "b"); !errors.Is(err, errUnknownKey) {
		t.Fatalf("unknown key: %v", err)
	}
	identity, err := database.Identity(bounded(t))
	if err != nil || identity.SystemIdentifier == "" || identity.InRecovery || *identity.Timeline != 1 {
		t.Fatalf("identity %+v, %v", identity, err)
	}
}

func TestReadOnlyDatabaseIsSeenAndLeft(t *testing.T) {
	server := startServer(t)
	database := server.open(t)
	if err := database.Writable(bounded(t)); err != nil {
		t.Fatal(err)
	}
	server.do(t, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
	time.Sleep(200 * time.Millisecond)
	if _, err := database.Insert(bounded(t), "a", "1"); !errors.Is(err, errReadOnly) {
		t.Fatalf("write: %v", err)
	}
	if err := database.Writable(bounded(t)); !errors.Is(err, errReadOnly) {
		t.Fatalf("readiness: %v", err)
	}
	server.do(t, "SET default_transaction_read_only = off", "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
	time.Sleep(200 * time.Millisecond)
	if err := database.Writable(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

func TestCutConnectionsDoNotStick(t *testing.T) {
	server := startServer(t)
	database := server.open(t)
	if _, err := database.Insert(bounded(t), "a", "1"); err != nil {
		t.Fatal(err)
	}
	server.do(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'user-service'")
	// The first write may meet the cut connection, but is not tried again: it may have been committed.
	_, first := database.Insert(bounded(t), "b", "1")
	if _, err := database.Insert(bounded(t), "c", "1"); err != nil {
		t.Fatalf("after the cut: first %v, then %v", first, err)
	}
}

func TestFrozenDatabaseCostsABoundedTime(t *testing.T) {
	server := startServer(t)
	database := server.open(t)
	// The postmaster alone is frozen: it answers no new connection, as a frozen machine does not.
	if err := server.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.command.Process.Signal(syscall.SIGCONT) })
	database.pool.Reset()
	began := time.Now()
	_, err := database.Insert(bounded(t), "a", "1")
	if took := time.Since(began); err == nil || took > 1500*time.Millisecond {
		t.Fatalf("answered %v after %s", err, took)
	}
	if err := server.command.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(resetPause)
	if _, err := database.Insert(bounded(t), "b", "1"); err != nil {
		t.Fatalf("after the thaw: %v", err)
	}
}

func TestConsumedEventsAreRememberedOnce(t *testing.T) {
	server := startServer(t)
	database := server.open(t)
	server.do(t, `CREATE TABLE consumed_events (topic text, row_id bigint, key text, partition integer, "offset" bigint,
		deliveries bigint DEFAULT 1, first_at timestamptz DEFAULT now(), last_at timestamptz DEFAULT now(), PRIMARY KEY (topic, row_id, key))`)
	event := Event{Topic: "users", ID: 7, Key: "k", Partition: 1, Offset: 9}
	again := Event{Topic: "users", ID: 7, Key: "k", Partition: 1, Offset: 12}
	// After a loss the id 7 was given to another row.
	other := Event{Topic: "users", ID: 7, Key: "other", Partition: 0, Offset: 3}
	if err := database.Consume(bounded(t), []Event{event, again, other}); err != nil {
		t.Fatal(err)
	}
	if err := database.Consume(bounded(t), []Event{again}); err != nil {
		t.Fatal(err)
	}
	found, err := database.Consumed(bounded(t), "users", "k")
	if err != nil || found.Event != event || found.Deliveries != 3 {
		t.Fatalf("%+v, %v", found, err)
	}
	if found, err := database.Consumed(bounded(t), "users", "other"); err != nil || found.Deliveries != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	if _, err := database.Consumed(bounded(t), "tenants", "k"); !errors.Is(err, errUnknownKey) {
		t.Fatal(err)
	}
}
