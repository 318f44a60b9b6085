// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"time"
)

// serveLogs answers what the API server asks a node for: logs. The returned channel holds the end of the server.
func (a *Agent) serveLogs(ctx context.Context) (<-chan error, error) {
	certificate, err := selfSigned(net.ParseIP(a.options.Address))
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(a.options.Address, strconv.Itoa(kubeletPort)))
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Handler: a.kubeletHandler(), ReadHeaderTimeout: apiTimeout,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{certificate}},
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("logs are not served any more", "reason", err)
		}
	}()
	go func() {
		<-ctx.Done()
		ended <- server.Close()
	}()
	return ended, nil
}

func (a *Agent) kubeletHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", a.getLogs)
	return mux
}

func (a *Agent) getLogs(w http.ResponseWriter, r *http.Request) {
	run, c := a.find(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
	if c == nil {
		http.Error(w, "no such container on this node", http.StatusNotFound)
		return
	}
	query := r.URL.Query()
	path := logPath(run.folder, c.spec.Name)
	if query.Get("previous") == "true" {
		path = previousLogPath(run.folder, c.spec.Name)
	}
	tail, err := strconv.ParseInt(query.Get("tailLines"), 10, 64)
	if err != nil {
		tail = -1
	}
	end, err := readLog(path, tail, w)
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "container "+c.spec.Name+" has no such log", http.StatusBadRequest)
		return
	}
	if err == nil && query.Get("follow") == "true" {
		a.stream(w, r, run, path, end)
	}
}

// stream follows a log to the end of the pod; the connection ends with the handler.
func (a *Agent) stream(w http.ResponseWriter, r *http.Request, run *podRun, path string, end int64) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(run.ctx, func() {
		<-run.done
		pause(ctx, 2*followEvery)
		cancel()
	})()
	flush := http.NewResponseController(w).Flush
	_ = flush()
	if err := followLog(ctx, path, end, w, func() { _ = flush() }); err != nil {
		a.log.Warn("log not followed", "path", path, "reason", err)
	}
}

func (a *Agent) find(namespace, name, containerName string) (*podRun, *container) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, run := range a.runs {
		if run.pod.Namespace != namespace || run.pod.Name != name {
			continue
		}
		for _, c := range run.all() {
			if c.spec.Name == containerName {
				return run, c
			}
		}
	}
	return nil, nil
}

// selfSigned makes a certificate of this start's own: nobody is asked to trust it beyond the loopback network.
func selfSigned(address net.IP) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), IPAddresses: []net.IP{address},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
