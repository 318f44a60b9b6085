// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package authority

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	connectTime  = 4 * time.Second
	answerTime   = 2 * time.Second
	searchedSize = 5120 // how much of an answer Route 53 searches for a string
)

// checkers makes the health checks of the newest document, each in a loop of its own.
type checkers struct {
	mutex   sync.Mutex
	checks  map[string]check
	healthy map[string]bool // by what its own checks say, before Disabled and Inverted
	checked map[string]time.Time
	cancel  map[string]context.CancelFunc
	changed func()
}

func newCheckers(changed func()) *checkers {
	return &checkers{
		checks: map[string]check{}, healthy: map[string]bool{}, checked: map[string]time.Time{},
		cancel: map[string]context.CancelFunc{}, changed: changed,
	}
}

// follow starts the checks that are new or were changed, and ends those that are gone.
func (c *checkers) follow(ctx context.Context, wanted []check) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	before := c.checks
	c.checks = map[string]check{}
	for _, one := range wanted {
		c.checks[one.Id] = one
		old, known := before[one.Id]
		if known && probed(old) == probed(one) {
			continue
		}
		c.stop(one.Id)
		if probed(one) != "" {
			own, cancel := context.WithCancel(ctx)
			c.cancel[one.Id] = cancel
			go c.loop(own, one)
		}
	}
	for id := range before {
		if _, still := c.checks[id]; !still {
			c.stop(id)
			delete(c.healthy, id)
			delete(c.checked, id)
		}
	}
}

func (c *checkers) stop(id string) {
	if cancel, runs := c.cancel[id]; runs {
		cancel()
		delete(c.cancel, id)
	}
}

// probed is all of a check that its probe depends on; empty where nothing is probed.
func probed(one check) string {
	if one.Disabled || (!strings.HasPrefix(one.Type, "HTTP") && one.Type != "TCP") {
		return ""
	}
	host := one.IPAddress
	if host == "" {
		host = one.FullyQualifiedDomainName
	}
	numbers := []string{strconv.Itoa(one.Port), strconv.Itoa(one.RequestInterval), strconv.Itoa(one.FailureThreshold)}
	return strings.Join(append(numbers, one.Type, host, one.FullyQualifiedDomainName, one.ResourcePath, one.SearchString), " ")
}

// loop probes until it is told to end. A check changes its mind after as many equal answers as its threshold asks for.
func (c *checkers) loop(ctx context.Context, one check) {
	pace := time.NewTicker(time.Duration(max(one.RequestInterval, 1)) * time.Second)
	defer pace.Stop()
	same, last := 0, false
	for first := true; ; first = false {
		begun := time.Now()
		good := probe(ctx, one)
		if ctx.Err() != nil {
			return
		}
		c.note(one.Id, begun)
		if good != last || first {
			same = 0
		}
		same, last = same+1, good
		if same >= max(one.FailureThreshold, 1) {
			c.set(one.Id, good)
		}
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
	}
}

func (c *checkers) note(id string, begun time.Time) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.checked[id] = begun
}

func (c *checkers) set(id string, good bool) {
	c.mutex.Lock()
	before, known := c.healthy[id]
	c.healthy[id] = good
	c.mutex.Unlock()
	if !known || before != good {
		c.changed()
	}
}

// status tells whether Route 53 would take a check for healthy. One that has said nothing yet is.
func (c *checkers) status(id string) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.judge(id, 0)
}

func (c *checkers) judge(id string, depth int) bool {
	one, known := c.checks[id]
	if !known || depth > deepest {
		return true
	}
	good := true
	if said, any := c.healthy[id]; any && !one.Disabled {
		good = said
	}
	if one.Type == "CALCULATED" && !one.Disabled {
		healthy := 0
		for _, child := range one.ChildHealthChecks {
			if c.judge(child, depth+1) {
				healthy++
			}
		}
		good = healthy >= one.HealthThreshold
	}
	return good != one.Inverted
}

// word is what is said of a check: its status, and the Unix time of the newest probe that it rests on, 0 where there was none.
type word struct {
	Healthy bool  `json:"healthy"`
	Checked int64 `json:"checked"`
}

// all gives the status of every check.
func (c *checkers) all() map[string]word {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	found := map[string]word{}
	for id := range c.checks {
		said := word{Healthy: c.judge(id, 0)}
		if at, any := c.checked[id]; any {
			said.Checked = at.Unix()
		}
		found[id] = said
	}
	return found
}

func probe(ctx context.Context, one check) bool {
	host := one.IPAddress
	if host == "" {
		host = one.FullyQualifiedDomainName
	}
	place := net.JoinHostPort(host, strconv.Itoa(one.Port))
	dialer := &net.Dialer{Timeout: connectTime}
	if one.Type == "TCP" {
		connection, err := dialer.DialContext(ctx, "tcp", place)
		if err == nil {
			_ = connection.Close()
		}
		return err == nil
	}
	return probeHTTP(ctx, one, place, dialer)
}

func probeHTTP(ctx context.Context, one check, place string, dialer *net.Dialer) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTime+answerTime)
	defer cancel()
	scheme := "http"
	if strings.HasPrefix(one.Type, "HTTPS") {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+place+"/"+strings.TrimPrefix(one.ResourcePath, "/"), nil)
	if err != nil {
		return false
	}
	if one.FullyQualifiedDomainName != "" {
		request.Host = one.FullyQualifiedDomainName
	}
	request.Header.Set("User-Agent", "Amazon-Route53-Health-Check-Service (lab)")
	transport := &http.Transport{
		DialContext: dialer.DialContext, DisableKeepAlives: true,
		// Route 53 does not look at the certificate either.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: one.FullyQualifiedDomainName}, //nolint:gosec
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return false
	}
	if !strings.HasSuffix(one.Type, "_STR_MATCH") {
		return true
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, searchedSize))
	return err == nil && strings.Contains(string(body), one.SearchString)
}
