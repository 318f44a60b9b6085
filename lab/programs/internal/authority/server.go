// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package authority

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	followTime = 10 * time.Second // longer than the feed waits for news
	retryTime  = 200 * time.Millisecond
	reportTime = time.Second
)

// Config is what a name server is told from outside.
type Config struct{ Listen, Feed, State string }

type server struct {
	Config
	log      *slog.Logger
	checkers *checkers
	view     atomic.Pointer[view]
	news     chan struct{} // a health check has changed its mind
}

// Run answers until it is told to end.
func Run(ctx context.Context, config Config, log *slog.Logger) error {
	made := &server{Config: config, log: log, news: make(chan struct{}, 1)}
	made.checkers = newCheckers(func() {
		select {
		case made.news <- struct{}{}:
		default:
		}
	})
	if content, err := os.ReadFile(config.State); err == nil {
		if found, err := read(content); err == nil {
			made.take(ctx, found)
		}
	}
	failed := make(chan error, 2)
	for _, network := range []string{"udp", "tcp"} {
		listener := &dns.Server{Addr: config.Listen, Net: network, Handler: made}
		go func() { failed <- listener.ListenAndServe() }()
		defer func() { _ = listener.Shutdown() }()
	}
	go made.follow(ctx)
	go made.report(ctx)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// take makes a document the one that is answered from.
func (s *server) take(ctx context.Context, found document) {
	s.checkers.follow(ctx, found.Checks)
	s.view.Store(newView(found, s.checkers.status, rand.IntN))
}

// follow asks the control plane for news, for ever. While it is away all goes on with what is known.
func (s *server) follow(ctx context.Context) {
	version := 0
	for ctx.Err() == nil {
		content, err := s.fetch(ctx, version)
		var found document
		if err == nil {
			found, err = read(content)
		}
		if err != nil {
			pause(ctx, retryTime)
			continue
		}
		if found.Version != version {
			version = found.Version
			s.take(ctx, found)
			s.keep(content)
		}
	}
}

func (s *server) fetch(ctx context.Context, after int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	return call(ctx, http.MethodGet, fmt.Sprintf("%s/lab/route53?after=%d", s.Feed, after), nil)
}

func (s *server) keep(content []byte) {
	part := s.State + ".part"
	if err := os.WriteFile(part, content, 0o600); err == nil {
		err = os.Rename(part, s.State)
		if err != nil {
			s.log.Warn("the zones could not be kept", "reason", err)
		}
	}
}

// report tells the control plane what our checks say, as Route 53's checkers do.
func (s *server) report(ctx context.Context) {
	host, _, _ := net.SplitHostPort(s.Listen)
	place := s.Feed + "/lab/health?place=" + url.QueryEscape(host)
	for ctx.Err() == nil {
		content, _ := json.Marshal(s.checkers.all())
		short, cancel := context.WithTimeout(ctx, reportTime)
		_, _ = call(short, http.MethodPost, place, content)
		cancel()
		select {
		case <-ctx.Done():
		case <-s.news:
		case <-time.After(reportTime):
		}
	}
}

func call(ctx context.Context, method, place string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, place, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", place, response.Status)
	}
	return io.ReadAll(response.Body)
}

func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// ServeDNS answers one query.
func (s *server) ServeDNS(writer dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg).SetReply(query)
	view := s.view.Load()
	if len(query.Question) != 1 || query.Opcode != dns.OpcodeQuery || view == nil {
		answer.Rcode = dns.RcodeServerFailure
		_ = writer.WriteMsg(answer)
		return
	}
	question := query.Question[0]
	name := strings.ToLower(question.Name)
	zone, ours := view.zoneOf(name)
	if !ours || question.Qclass != dns.ClassINET {
		answer.Rcode = dns.RcodeRefused
		_ = writer.WriteMsg(answer)
		return
	}
	answer.Authoritative = true
	answer.Answer, answer.Rcode = view.answer(name, dns.TypeToString[question.Qtype])
	if len(answer.Answer) == 0 {
		if sets, _ := view.sets(zone.Name, "SOA"); len(sets) > 0 {
			answer.Ns = view.chosen(zone.Name, sets, 0)
		}
	}
	size := dns.MinMsgSize
	if options := query.IsEdns0(); options != nil {
		size = int(options.UDPSize())
		answer.SetEdns0(options.UDPSize(), false)
	}
	if _, overUDP := writer.RemoteAddr().(*net.UDPAddr); overUDP {
		answer.Truncate(size)
	}
	_ = writer.WriteMsg(answer)
}
