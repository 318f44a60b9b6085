// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

type peerKey struct{}

// RememberPeer is an http.Server's ConnContext: an abstract socket has no file mode that could guard it.
func RememberPeer(ctx context.Context, connection net.Conn) context.Context {
	uid, err := peerUID(connection)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

func peerUID(connection net.Conn) (int, error) {
	socket, ok := connection.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	var asked error
	err = raw.Control(func(descriptor uintptr) {
		credentials, asked = unix.GetsockoptUcred(int(descriptor), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, asked); err != nil {
		return 0, err
	}
	return int(credentials.Uid), nil
}

func ownerOnly(next http.Handler) http.Handler {
	allowed := []int{0, os.Getuid()}
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		uid, known := request.Context().Value(peerKey{}).(int)
		if !known || !slices.Contains(allowed, uid) {
			write(response, http.StatusForbidden, map[string]string{"error": "this lab belongs to another user"})
			return
		}
		next.ServeHTTP(response, request)
	})
}
