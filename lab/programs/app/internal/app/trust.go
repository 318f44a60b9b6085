// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
)

// isPEM tells a certificate itself, as a ConfigMap carries it, from the path of one.
func isPEM(certificate string) bool { return strings.HasPrefix(certificate, "-----BEGIN") }

// rootsFrom reads the certificates to trust: themselves, or the path of a file with them. None: nil.
func rootsFrom(certificate string) (*x509.CertPool, error) {
	if certificate == "" {
		return nil, nil
	}
	content := []byte(certificate)
	if !isPEM(certificate) {
		var err error
		if content, err = os.ReadFile(certificate); err != nil {
			return nil, err
		}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content) {
		return nil, errors.New("it holds no certificate")
	}
	return roots, nil
}

// dialer connects by the resolver's answers, by TLS where there are roots to trust.
func dialer(resolver *Resolver, roots *x509.CertPool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, target string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		conn, err := resolver.Dial(ctx, network, target)
		if err != nil || roots == nil {
			return conn, err
		}
		host, _, _ := net.SplitHostPort(target)
		secured := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12})
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secured, nil
	}
}
