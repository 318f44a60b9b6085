// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package sshhost is the remote shell of the lab's hosts: an SSH server on which systemctl governs supervised
// processes, so that fencing goes the same way as on a real host.
package sshhost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	handshakeTimeout = 10 * time.Second
	acceptPause      = 50 * time.Millisecond
)

// Definition says where a host listens, who may log in and which unit is which process.
type Definition struct {
	Listen             string            `json:"listen"`
	HostKeyFile        string            `json:"host_key_file"`
	AuthorizedKeysFile string            `json:"authorized_keys_file"`
	User               string            `json:"user"` // who may log in; anybody with an authorized key if empty
	Units              map[string]string `json:"units"`
	Environment        map[string]string `json:"environment"` // of scripts
}

// host is one listening server.
type host struct {
	definition Definition
	find       Finder
	config     *ssh.ServerConfig
	listener   net.Listener
	mutex      sync.Mutex
	open       map[net.Conn]struct{}
	closed     bool
	scripts    *scripts
}

func openHost(definition Definition, find Finder, spawn Spawn) (*host, error) {
	opened := &host{definition: definition, find: find, open: map[net.Conn]struct{}{}}
	opened.scripts = &scripts{spawn: spawn, environment: definition.Environment, running: map[int]struct{}{}}
	if err := opened.configure(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", definition.Listen)
	if err != nil {
		return nil, err
	}
	opened.listener = listener
	go opened.accept()
	return opened, nil
}

func (h *host) configure() error {
	raw, err := os.ReadFile(h.definition.HostKeyFile)
	if err != nil {
		return fmt.Errorf("host key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(raw)
	if err != nil {
		return fmt.Errorf("host key %s: %w", h.definition.HostKeyFile, err)
	}
	if _, err := os.Stat(h.definition.AuthorizedKeysFile); err != nil {
		return fmt.Errorf("authorized keys: %w", err)
	}
	h.config = &ssh.ServerConfig{
		// The cheapest exchange first: a fence is on the path of the outage.
		Config:            ssh.Config{KeyExchanges: []string{ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256}},
		PublicKeyCallback: h.authorize,
	}
	h.config.AddHostKey(key)
	return nil
}

// authorize reads the file on every login, so that keys can be changed under a running host.
func (h *host) authorize(connection ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
	if h.definition.User != "" && connection.User() != h.definition.User {
		return nil, fmt.Errorf("user %q may not log in", connection.User())
	}
	rest, err := os.ReadFile(h.definition.AuthorizedKeysFile)
	if err != nil {
		return nil, err
	}
	for len(rest) > 0 {
		var allowed ssh.PublicKey
		allowed, _, _, rest, err = ssh.ParseAuthorizedKey(rest)
		if err != nil {
			break // nothing but comments is left
		}
		if bytes.Equal(allowed.Marshal(), offered.Marshal()) {
			return &ssh.Permissions{}, nil
		}
	}
	return nil, errors.New("the key is not authorized")
}

func (h *host) accept() {
	for {
		connection, err := h.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Such as too many open files: that passes, and a host without its entrance could not be fenced.
			slog.Warn("a connection was not accepted", "listen", h.definition.Listen, "reason", err)
			time.Sleep(acceptPause)
			continue
		}
		if !h.enter(connection) {
			connection.Close()
			return
		}
		go h.serve(connection)
	}
}

func (h *host) enter(connection net.Conn) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if !h.closed {
		h.open[connection] = struct{}{}
	}
	return !h.closed
}

func (h *host) leave(connection net.Conn) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.open, connection)
	connection.Close()
}

func (h *host) close() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.closed = true
	h.listener.Close()
	for connection := range h.open {
		connection.Close()
	}
	h.scripts.end()
}

func (h *host) serve(connection net.Conn) {
	defer h.leave(connection)
	_ = connection.SetDeadline(time.Now().Add(handshakeTimeout))
	_, channels, requests, err := ssh.NewServerConn(connection, h.config)
	if err != nil {
		return // a scan, a wrong key or a client that left
	}
	_ = connection.SetDeadline(time.Time{})
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go h.session(channel, requests)
	}
}

// session runs one command. Variables of the client are accepted and ignored, a shell or terminal is refused.
func (h *host) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for request := range requests {
		switch request.Type {
		case "exec":
			var command struct{ Text string }
			valid := ssh.Unmarshal(request.Payload, &command) == nil
			_ = request.Reply(valid, nil)
			if !valid {
				return
			}
			go ssh.DiscardRequests(requests)
			code := h.run(command.Text, channel, channel, channel.Stderr())
			// The code comes first: a client that has nothing more to say closes the session at our end of output.
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
			_ = channel.CloseWrite()
			return
		default:
			_ = request.Reply(request.Type == "env", nil)
		}
	}
}

func (h *host) run(line string, input io.Reader, output, problems io.Writer) int {
	shell := shell{
		units: h.definition.Units, find: h.find, scripts: h.scripts, input: input, output: output, problems: problems,
	}
	return shell.run(line)
}
