// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const redisPassword = "a password"

// startRedis starts a primary or a replica of another port.
func startRedis(t *testing.T, primary int) int {
	t.Helper()
	port := freePort(t)
	words := []string{program(t, "redis-server"), "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "",
		"--dir", t.TempDir(), "--requirepass", redisPassword, "--masterauth", redisPassword, "--repl-diskless-sync-delay", "0"}
	if primary != 0 {
		words = append(words, "--replicaof", "127.0.0.1 "+strconv.Itoa(primary))
	}
	run(t, port, nil, words...)
	return port
}

func redisClient(t *testing.T, port int) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: local(port), Password: redisPassword, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// openSessions starts a primary, its replica and a sentinel, and gives the ports of the three.
func openSessions(t *testing.T) (*Sessions, int, int, int) {
	t.Helper()
	primary := startRedis(t, 0)
	replica := startRedis(t, primary)
	// Before the sentinel looks: it looks again only after ten seconds.
	follower := redisClient(t, replica)
	eventually(t, func() bool {
		return strings.Contains(follower.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	sentinel := freePort(t)
	path := filepath.Join(t.TempDir(), "sentinel.conf")
	settings := fmt.Sprintf("port %d\nbind 127.0.0.1\nrequirepass %q\nsentinel monitor m 127.0.0.1 %d 1\nsentinel auth-pass m %q\n",
		sentinel, redisPassword, primary, redisPassword)
	if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, sentinel, nil, program(t, "redis-server"), path, "--sentinel")
	client := redis.NewSentinelClient(&redis.Options{Addr: local(sentinel), Password: redisPassword})
	t.Cleanup(func() { _ = client.Close() })
	eventually(t, func() bool {
		replicas, err := client.Replicas(t.Context(), "m").Result()
		return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})
	sessions, err := OpenSessions(SessionsConfig{Sentinels: []string{local(sentinel)}, Master: "m", Password: redisPassword}, NewResolver(""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sessions.client.Close() })
	return sessions, primary, replica, sentinel
}

func TestSessions(t *testing.T) {
	sessions, _, replica, sentinel := openSessions(t)
	row := Row{ID: 7, Key: "k"}
	if err := sessions.Writable(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if found, err := sessions.Find(bounded(t), row); found != nil || err != nil {
		t.Fatalf("before it was kept: %v, %v", found, err)
	}
	kept, err := sessions.Keep(bounded(t), row)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := sessions.Find(bounded(t), row); found != kept || err != nil {
		t.Fatalf("%v, %v", found, err)
	}

	follower := redisClient(t, replica)
	eventually(t, func() bool { return follower.Get(t.Context(), "session:k").Err() == nil })

	// A replica becomes primary: the sessions go on there, with what is in them.
	follow := redis.NewSentinelClient(&redis.Options{Addr: local(sentinel), Password: redisPassword})
	defer follow.Close()
	if err := follow.Failover(t.Context(), "m").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		_, err := sessions.Keep(bounded(t), Row{ID: 8, Key: "after"})
		return err == nil && follower.Get(t.Context(), "session:after").Err() == nil &&
			follower.Do(t.Context(), "role").Val().([]any)[0] == "master"
	})
	if found, err := sessions.Find(bounded(t), row); found != kept || err != nil {
		t.Fatalf("after the failover: %v, %v", found, err)
	}
}

func TestAPrimaryThatTakesNoWritesIsNotWritable(t *testing.T) {
	sessions, primary, _, _ := openSessions(t)
	if err := sessions.Writable(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := redisClient(t, primary).ConfigSet(t.Context(), "min-replicas-to-write", "2").Err(); err != nil {
		t.Fatal(err)
	}
	if err := sessions.Writable(bounded(t)); err == nil {
		t.Fatal("it is called writable")
	}
}

func TestAFrozenRedisCostsABoundedTime(t *testing.T) {
	port := freePort(t)
	command := run(t, port, nil, program(t, "redis-server"), "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "")
	sessions, err := OpenSessions(SessionsConfig{Sentinels: []string{local(port)}, Master: "m"}, NewResolver(""))
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = sessions.Keep(bounded(t), Row{Key: "k"})
	if took := time.Since(began); err == nil || took > requestTimeout+100*time.Millisecond {
		t.Fatalf("%v after %s", err, took)
	}
}
