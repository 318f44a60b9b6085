// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// fastInterval is how often readiness and startup are asked for until they succeed: what a lab measures must be
// recovery, not the period of a probe.
const (
	fastInterval = 50 * time.Millisecond
	// firstInterval is that of the first firstAsks, for programs that are ready within milliseconds.
	firstInterval = 10 * time.Millisecond
	firstAsks     = 10
)

// prober asks one probe of one container again and again.
type prober struct {
	probe *corev1.Probe
	check func(context.Context) error
	// fast asks at fastInterval until a success.
	fast bool
	// once ends the prober at its first success.
	once bool
	// turned hears of each result that has reached its threshold, again and again while it lasts.
	turned func(healthy bool)
	// failed hears of each failure that counts.
	failed func(err error)
}

// run probes until ctx ends.
func (p *prober) run(ctx context.Context) {
	if !p.sleep(ctx, p.firstDelay()) {
		return
	}
	// Fast asking begins at once; the periods whose failures count begin with it.
	state := probeState{countedAt: time.Now()}
	for {
		err := p.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		state.asked++
		p.judge(&state, err)
		if state.succeeded && p.once {
			return
		}
		if !p.sleep(ctx, p.interval(state)) {
			return
		}
	}
}

// probeState is what the thresholds are counted with.
type probeState struct {
	asked               int
	successes, failures int32
	succeeded           bool
	countedAt           time.Time
}

func (p *prober) judge(state *probeState, err error) {
	if err == nil {
		state.failures = 0
		state.successes++
		if state.successes >= atLeastOne(p.probe.SuccessThreshold, 1) {
			state.succeeded = true
			p.turned(true)
		}
		return
	}
	state.successes = 0
	// Fast asking must not use up the failures that a container has in its periods.
	now := time.Now()
	if p.fast && !state.succeeded && now.Sub(state.countedAt) < p.period() {
		return
	}
	state.countedAt = now
	state.failures++
	p.failed(err)
	if state.failures >= atLeastOne(p.probe.FailureThreshold, 3) {
		p.turned(false)
	}
}

func (p *prober) interval(state probeState) time.Duration {
	switch {
	case !p.fast || state.succeeded || state.successes > 0: // further successes that it takes are counted in periods
		return p.period()
	case state.asked <= firstAsks:
		return firstInterval
	}
	return fastInterval
}

// firstDelay gives a program that was just started one period before it is first asked whether it still lives.
func (p *prober) firstDelay() time.Duration {
	if p.fast || p.probe.InitialDelaySeconds > 0 {
		return seconds(p.probe.InitialDelaySeconds, 0)
	}
	return p.period()
}

func (p *prober) period() time.Duration { return seconds(p.probe.PeriodSeconds, 10) }

func (p *prober) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, seconds(p.probe.TimeoutSeconds, 1))
	defer cancel()
	return p.check(ctx)
}

func (p *prober) sleep(ctx context.Context, delay time.Duration) bool {
	if delay <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func seconds(value, fallback int32) time.Duration {
	return time.Duration(atLeastOne(value, fallback)) * time.Second
}

func atLeastOne(value, fallback int32) int32 {
	if value > 0 {
		return value
	}
	return fallback
}

// probeClient makes a connection per probe, as a real node does: one that was kept says little about the next. Nor does
// a node verify certificates: they are made out to a name, and it knows an address.
var probeClient = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

func checkHTTP(ctx context.Context, action *corev1.HTTPGetAction, container *corev1.Container, address string) error {
	endpoint, err := endpointOf(action.Host, action.Port, container, address)
	if err != nil {
		return err
	}
	scheme := strings.ToLower(cmp.Or(string(action.Scheme), "http"))
	url := fmt.Sprintf("%s://%s/%s", scheme, endpoint, strings.TrimPrefix(action.Path, "/"))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for _, header := range action.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
	}
	request.Host = cmp.Or(request.Header.Get("Host"), request.Host) // the client ignores it among the headers
	response, err := probeClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		return fmt.Errorf("HTTP probe failed with statuscode: %d: %s", response.StatusCode, strings.TrimSpace(string(said)))
	}
	return nil
}

func checkTCP(ctx context.Context, action *corev1.TCPSocketAction, container *corev1.Container, address string) error {
	endpoint, err := endpointOf(action.Host, action.Port, container, address)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return err
	}
	return conn.Close()
}

// endpointOf is the pod's own address, unless the probe names a host, and the container's port if the probe names one.
func endpointOf(host string, port intstr.IntOrString, container *corev1.Container, address string) (string, error) {
	if port.Type == intstr.String {
		at := slices.IndexFunc(container.Ports, func(known corev1.ContainerPort) bool { return known.Name == port.StrVal })
		if at < 0 {
			return "", fmt.Errorf("container %s has no port named %q", container.Name, port.StrVal)
		}
		port = intstr.FromInt32(container.Ports[at].ContainerPort)
	}
	return net.JoinHostPort(cmp.Or(host, address), port.String()), nil
}
