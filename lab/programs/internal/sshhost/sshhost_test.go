// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package sshhost

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"platform.recovery/lab/internal/process"
)

var oneSpawner = sync.OnceValues(process.NewSpawner)

const id = "us-west-2/postgresql/postgres"

// machine is a host with one unit, postgresql, and a client that may log in.
type machine struct {
	t         *testing.T
	address   string
	hosts     *Registry
	processes *process.Registry
	config    *ssh.ClientConfig
	key       *pem.Block
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	spawner, err := oneSpawner()
	must(t, err)
	folder := t.TempDir()
	processes := process.NewRegistry(spawner, folder)
	_, err = processes.Define(id, process.Definition{
		Argv: []string{"/bin/sh", "-c", "sleep 60 & wait"}, Folder: folder, Log: filepath.Join(folder, "log"),
		StopSignal: "TERM", StopSeconds: 0.2,
	})
	must(t, err)
	hosts := NewRegistry(func(id string) (Unit, error) { return processes.Find(id) }, spawner.Spawn)
	definition := Definition{
		Listen: "127.0.0.1:0", User: "postgres", Units: map[string]string{"postgresql": id},
		Environment:        map[string]string{"PATH": "/usr/bin:/bin", "HOME": folder},
		HostKeyFile:        filepath.Join(folder, "host_key"),
		AuthorizedKeysFile: filepath.Join(folder, "authorized_keys"),
	}
	key := newKey(t)
	signer := writeKeys(t, definition, key)
	must(t, hosts.Open("us-west-2/postgresql", definition))
	t.Cleanup(func() {
		_ = hosts.Close("us-west-2/postgresql")
		if err := processes.StopAll(); err != nil {
			t.Error(err)
		}
	})
	return &machine{
		t: t, hosts: hosts, processes: processes, key: key,
		address: hosts.open["us-west-2/postgresql"].listener.Addr().String(),
		config: &ssh.ClientConfig{
			User: "postgres", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
			HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 5 * time.Second,
		},
	}
}

func writeKeys(t *testing.T, definition Definition, key *pem.Block) ssh.Signer {
	t.Helper()
	must(t, os.WriteFile(definition.HostKeyFile, pem.EncodeToMemory(newKey(t)), 0o600))
	signer := newSigner(t, key)
	line := "# who may log in\n" + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	must(t, os.WriteFile(definition.AuthorizedKeysFile, []byte(line), 0o600))
	return signer
}

func newKey(t *testing.T) *pem.Block {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(key, "test")
	must(t, err)
	return block
}

func newSigner(t *testing.T, key *pem.Block) ssh.Signer {
	t.Helper()
	signer, err := ssh.ParsePrivateKey(pem.EncodeToMemory(key))
	must(t, err)
	return signer
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run executes one line over a connection of its own.
func (m *machine) run(line string) (code int, output, problems string) {
	m.t.Helper()
	client, err := ssh.Dial("tcp", m.address, m.config)
	must(m.t, err)
	defer client.Close()
	session, err := client.NewSession()
	must(m.t, err)
	var out, bad bytes.Buffer
	session.Stdout, session.Stderr = &out, &bad
	err = session.Run(line)
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return exit.ExitStatus(), out.String(), bad.String()
	}
	must(m.t, err)
	return 0, out.String(), bad.String()
}

func (m *machine) expect(line string, code int, output string) {
	m.t.Helper()
	got, out, bad := m.run(line)
	if got != code || out != output {
		m.t.Errorf("%s\ngot    %d %q (%q)\nwanted %d %q", line, got, out, bad, code, output)
	}
}

// script sends a script over a connection of its own.
func (m *machine) script(line, text string) (code int, output, problems string) {
	m.t.Helper()
	client, err := ssh.Dial("tcp", m.address, m.config)
	must(m.t, err)
	defer client.Close()
	session, err := client.NewSession()
	must(m.t, err)
	var out, bad bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = strings.NewReader(text), &out, &bad
	err = session.Run(line)
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return exit.ExitStatus(), out.String(), bad.String()
	}
	must(m.t, err)
	return 0, out.String(), bad.String()
}

func TestAScriptRunsInARealShell(t *testing.T) {
	m := newMachine(t)
	for _, line := range []string{"sh -s", "sudo -n -u postgres sh -s"} {
		code, out, bad := m.script(line, "x=$(echo a | tr a b)\necho \"$x $PATH\"\necho no >&2\nexit 7\n")
		if code != 7 || out != "b /usr/bin:/bin\n" || bad != "no\n" {
			t.Errorf("%s: got %d %q %q", line, code, out, bad)
		}
	}
	if code, _, _ := m.script("sh -s", "kill -TERM $$\n"); code != 128+int(syscall.SIGTERM) {
		t.Errorf("got %d for a script that a signal ended", code)
	}
	m.expect("sh -c true", 2, "")
}

func TestAScriptOutlivesItsConnectionAndNotItsHost(t *testing.T) {
	m := newMachine(t)
	client, err := ssh.Dial("tcp", m.address, m.config)
	must(t, err)
	session, err := client.NewSession()
	must(t, err)
	file := filepath.Join(t.TempDir(), "alive")
	session.Stdin = strings.NewReader("(while :; do date >>" + file + "; sleep 0.01; done) >/dev/null 2>&1 &\nwait\n")
	must(t, session.Start("sh -s"))
	size := func() int64 {
		seen, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return seen.Size()
	}
	grows := func(within time.Duration) bool {
		before := size()
		for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if size() > before {
				return true
			}
		}
		return false
	}
	if !grows(30 * time.Second) {
		t.Fatal("the script does not run")
	}
	client.Close()
	if !grows(30 * time.Second) {
		t.Error("the script ended with its connection")
	}
	m.hosts.CloseAll()
	for deadline := time.Now().Add(30 * time.Second); grows(300 * time.Millisecond); {
		if time.Now().After(deadline) {
			t.Fatal("the script outlived its host")
		}
	}
}

func TestAUnitsLife(t *testing.T) {
	m := newMachine(t)
	m.expect("systemctl is-active postgresql", 3, "inactive\n")
	m.expect("sudo -n systemctl start postgresql.service", 0, "")
	m.expect("systemctl is-active postgresql.service", 0, "active\n")
	m.expect("systemctl is-active --quiet postgresql", 0, "")
	m.expect("systemctl stop postgresql", 0, "")
	m.expect("systemctl is-active postgresql", 3, "inactive\n")
	m.expect("systemctl is-enabled postgresql", 0, "enabled\n")
}

func TestShow(t *testing.T) {
	m := newMachine(t)
	m.expect("systemctl start postgresql", 0, "")
	found, err := m.processes.Find(id)
	must(t, err)
	status, err := found.Status()
	must(t, err)
	m.expect("systemctl show -p ActiveState,SubState,MainPID,UnitFileState postgresql", 0,
		fmt.Sprintf("ActiveState=active\nSubState=running\nUnitFileState=enabled\nMainPID=%d\n", status.PID))
	m.expect("systemctl show --property=LoadState --value postgresql", 0, "loaded\n")
	m.expect("systemctl show -pActiveState -p LoadState nothing", 0, "LoadState=not-found\nActiveState=inactive\n")
}

func TestMaskNowStopsAndKeepsStopped(t *testing.T) {
	m := newMachine(t)
	m.expect("systemctl start postgresql", 0, "")
	m.expect("sudo systemctl mask --now postgresql", 0, "")
	m.expect("systemctl is-enabled postgresql", 1, "masked\n")
	code, _, bad := m.run("systemctl start postgresql")
	if code != 1 || !strings.Contains(bad, "Unit postgresql.service is masked.") {
		t.Errorf("got %d %q", code, bad)
	}
	m.expect("systemctl show -p LoadState,UnitFileState postgresql", 0, "LoadState=masked\nUnitFileState=masked\n")
	m.expect("systemctl unmask postgresql && systemctl start postgresql; systemctl is-active postgresql", 0, "active\n")
}

func TestAFrozenUnitCanBeKilledAndStopped(t *testing.T) {
	m := newMachine(t)
	found, err := m.processes.Find(id)
	must(t, err)
	for line, active := range map[string]string{
		"systemctl kill -s SIGKILL postgresql": "failed\n",
		"systemctl kill -s 9 postgresql":       "failed\n",
		"systemctl stop postgresql":            "failed\n",
	} {
		m.expect("systemctl start postgresql", 0, "")
		must(t, found.Freeze())
		m.expect("systemctl is-active postgresql", 0, "active\n")
		m.expect(line, 0, "")
		m.expect("systemctl is-active postgresql", 3, active)
	}
	m.expect("systemctl kill -s SIGKILL postgresql", 0, "")
}

func TestExitCodesOfWhatDoesNotExist(t *testing.T) {
	m := newMachine(t)
	m.expect("systemctl is-active nothing", 4, "inactive\n")
	m.expect("systemctl start nothing", 5, "")
	m.expect("systemctl stop nothing", 5, "")
	m.expect("systemctl is-enabled nothing", 1, "")
	m.expect("systemctl dance postgresql", 1, "")
	m.expect("systemctl stop --wrong postgresql", 1, "")
	m.expect("rm -rf x", 127, "")
	m.expect("systemctl is-active postgresql | cat", 2, "")
	m.expect("systemctl is-active 'postgresql", 2, "")
}

func TestCommandsAreJoined(t *testing.T) {
	m := newMachine(t)
	m.expect("systemctl is-active postgresql && systemctl start postgresql", 3, "inactive\n")
	m.expect("systemctl is-active postgresql; systemctl is-enabled postgresql", 0, "inactive\nenabled\n")
	m.expect("true && true;\ntrue", 0, "")
	m.expect("&& true", 2, "")
}

func TestTheExitCodeComesBeforeTheEndOfTheOutput(t *testing.T) {
	m := newMachine(t)
	client, err := ssh.Dial("tcp", m.address, m.config)
	must(t, err)
	defer client.Close()
	for range 50 {
		channel, requests, err := client.OpenChannel("session", nil)
		must(t, err)
		_, err = channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"true"}))
		must(t, err)
		_, err = io.ReadAll(channel)
		must(t, err)
		select {
		case request := <-requests:
			if request == nil || request.Type != "exit-status" {
				t.Fatalf("got %+v", request)
			}
		default:
			t.Fatal("the output ended before the exit code was there")
		}
		channel.Close()
	}
}

// TestTheRealClientOnAKeptConnection asks as the fence does: one connection for many sessions, nothing to say in them.
func TestTheRealClientOnAKeptConnection(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("no ssh client is installed here")
	}
	m := newMachine(t)
	folder, err := os.MkdirTemp("", "ssh") // a socket's path must be short
	must(t, err)
	defer os.RemoveAll(folder)
	identity := filepath.Join(folder, "key")
	must(t, os.WriteFile(identity, pem.EncodeToMemory(m.key), 0o600))
	host, port, err := net.SplitHostPort(m.address)
	must(t, err)
	run := func(words ...string) ([]byte, error) {
		words = append([]string{
			"-F", "none", "-p", port, "-l", "postgres", "-i", identity, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ControlMaster=auto",
			"-o", "ControlPath=" + filepath.Join(folder, "c"), "-o", "ControlPersist=30",
		}, words...)
		return exec.Command("ssh", words...).Output() // its stdin is /dev/null
	}
	defer func() { _, _ = run("-O", "exit", host) }()
	for count := range 50 {
		output, err := run(host, "systemctl show -p ActiveState postgresql")
		if err != nil || string(output) != "ActiveState=inactive\n" {
			t.Fatalf("call %d: %q, %v", count, output, err)
		}
	}
}

// flaky is a listener that fails before it works.
type flaky struct {
	net.Listener
	failures atomic.Int32
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures.Add(-1) >= 0 {
		return nil, syscall.EMFILE
	}
	return f.Listener.Accept()
}

func TestAHostOutlivesTooManyOpenFiles(t *testing.T) {
	m := newMachine(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	troubled := &flaky{Listener: listener}
	troubled.failures.Store(2)
	opened := m.hosts.open["us-west-2/postgresql"]
	again := &host{
		definition: opened.definition, find: opened.find, config: opened.config, listener: troubled, open: map[net.Conn]struct{}{},
		scripts: opened.scripts,
	}
	go again.accept()
	defer again.close()
	client, err := ssh.Dial("tcp", listener.Addr().String(), m.config)
	must(t, err)
	client.Close()
}

func TestAUnitEndsWithTheLastOfItsProcesses(t *testing.T) {
	for wanted, status := range map[string]process.Status{
		"active running":             {PID: 1},
		"deactivating stop-sigterm":  {PID: 1, Stopping: true},
		"deactivating final-sigkill": {Stopping: true, Result: process.BySignal},
		"failed failed":              {Result: process.BySignal},
		"inactive dead":              {Result: process.Success},
	} {
		if active, sub := activity(status); active+" "+sub != wanted {
			t.Errorf("%+v: got %s %s, wanted %s", status, active, sub, wanted)
		}
	}
}

func TestAllHostsAreLostAtOnce(t *testing.T) {
	m := newMachine(t)
	m.hosts.CloseAll()
	if _, err := ssh.Dial("tcp", m.address, m.config); err == nil {
		t.Error("a lost host let somebody in")
	}
}

func TestWhoMayLogIn(t *testing.T) {
	m := newMachine(t)
	stranger, other := *m.config, *m.config
	stranger.Auth = []ssh.AuthMethod{ssh.PublicKeys(newSigner(t, newKey(t)))}
	other.User = "root"
	for name, config := range map[string]*ssh.ClientConfig{"an unknown key": &stranger, "another user": &other} {
		if client, err := ssh.Dial("tcp", m.address, config); err == nil {
			client.Close()
			t.Errorf("%s was let in", name)
		}
	}
}

func TestALostHostCutsItsConnections(t *testing.T) {
	m := newMachine(t)
	client, err := ssh.Dial("tcp", m.address, m.config)
	must(t, err)
	defer client.Close()
	must(t, m.hosts.Close("us-west-2/postgresql"))
	if err := client.Wait(); err == nil {
		t.Error("the connection ended without an error")
	}
	if _, err := ssh.Dial("tcp", m.address, m.config); err == nil {
		t.Error("a lost host let somebody in")
	}
	if err := m.hosts.Close("us-west-2/postgresql"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
}
