// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// startKafka starts brokers that speak the protocol, in this process.
func startKafka(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append(options, kfake.NumBrokers(1), kfake.SeedTopics(3, "users", "tenants", "plugins", "ai_requests"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func eventsConfig(service string, cluster *kfake.Cluster) Config {
	return Config{Service: service, Events: EventsConfig{Brokers: cluster.ListenAddrs()}}
}

func openEvents(t *testing.T, config Config) *Events {
	t.Helper()
	events, err := OpenEvents(config, NewResolver(""), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.client.Close)
	return events
}

func TestEvents(t *testing.T) {
	events := openEvents(t, eventsConfig("user-service", startKafka(t)))
	if err := events.Writable(bounded(t)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range 30 {
		row := Row{ID: int64(i), Key: fmt.Sprint("k", i), CreatedAt: now.Add(time.Duration(i/3) * time.Millisecond)}
		if found, err := events.Find(bounded(t), row); found != nil || err != nil {
			t.Fatalf("before it was kept: %v, %v", found, err)
		}
		kept, err := events.Keep(bounded(t), row)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := events.Find(bounded(t), row); found != kept || err != nil {
			t.Fatalf("%v instead of %v, %v", found, kept, err)
		}
		// A row that got the id of a lost one is another row.
		if found, err := events.Find(bounded(t), Row{ID: 1000, Key: row.Key, CreatedAt: row.CreatedAt}); found != nil || err != nil {
			t.Fatalf("another row's: %v, %v", found, err)
		}
	}
}

func TestClosedTopicIsNotWritable(t *testing.T) {
	cluster := startKafka(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "a"),
		kfake.User("PLAIN", "reader", "r", kfake.ACL{
			Resource: kmsg.ACLResourceTypeTopic, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral,
			Operation: kmsg.ACLOperationRead, Allow: true,
		}))
	for user, writable := range map[string]bool{"admin": true, "reader": false} {
		config := eventsConfig("user-service", cluster)
		config.Events.User, config.Events.Password = user, user[:1]
		if err := openEvents(t, config).Writable(bounded(t)); (err == nil) != writable || err != nil && !errors.Is(err, errClosed) {
			t.Errorf("%s: %v", user, err)
		}
	}
}

func TestEventThatIsNotConfirmedIsAnError(t *testing.T) {
	cluster := startKafka(t)
	events := openEvents(t, eventsConfig("user-service", cluster))
	release := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-release })
		return nil, errors.New("closed"), true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := events.Keep(ctx, Row{ID: 1, Key: "k", CreatedAt: time.Now()})
	if took := time.Since(began); err == nil || took > time.Second {
		t.Fatalf("%v after %s", err, took)
	}
	close(release)
	eventually(t, func() bool {
		_, err := events.Keep(bounded(t), Row{ID: 2, Key: "k", CreatedAt: time.Now()})
		return err == nil
	})
}

func TestTopicThatIsNotThere(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	events := openEvents(t, eventsConfig("user-service", cluster))
	if err := events.Writable(bounded(t)); err == nil || !strings.Contains(err.Error(), "users") {
		t.Fatal(err)
	}
	if _, err := events.Keep(bounded(t), Row{Key: "k"}); err == nil {
		t.Fatal("it was published")
	}
}

// fakeMemory remembers events by what tells them apart, and can be out of order.
type fakeMemory struct {
	mu         sync.Mutex
	deliveries map[string]int
	broken     atomic.Bool
}

func (f *fakeMemory) Consume(_ context.Context, events []Event) error {
	if f.broken.Load() {
		return gone
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, event := range events {
		f.deliveries[fmt.Sprint(event.Topic, event.ID, event.Key)]++
	}
	return nil
}

func (f *fakeMemory) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.deliveries)
}

func TestConsumer(t *testing.T) {
	cluster := startKafka(t)
	var closed atomic.Bool
	memory := &fakeMemory{deliveries: map[string]int{}}
	stores := NewStores(map[string]Keeper{"event": openEvents(t, eventsConfig("ai-service", cluster))})
	consumer, err := OpenConsumer(eventsConfig("ai-service", cluster), NewResolver(""), memory, stores, quiet)
	if err != nil {
		t.Fatal(err)
	}
	consumer.writable = func() error {
		if closed.Load() {
			return gone
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { consumer.Run(ctx); close(ended) }()

	id := int64(0)
	publish := func(service string) {
		id++
		events := openEvents(t, eventsConfig(service, cluster))
		if _, err := events.Keep(bounded(t), Row{ID: id, Key: fmt.Sprint("k", id), CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	publish("user-service")
	publish("tenant-service")
	publish("plugin-service")
	publish("ai-service") // its own, which it knows
	eventually(t, func() bool { return memory.count() == 3 })

	// What cannot be remembered is not taken for consumed.
	memory.broken.Store(true)
	publish("user-service")
	eventually(t, func() bool { return groupMembers(t, cluster) == 0 })
	memory.broken.Store(false)
	eventually(t, func() bool { return memory.count() == 4 })

	// A region whose topics are closed leaves the group empty.
	closed.Store(true)
	eventually(t, func() bool { return groupMembers(t, cluster) == 0 })
	publish("tenant-service")
	closed.Store(false)
	eventually(t, func() bool { return memory.count() == 5 })
	cancel()
	<-ended
	if members := groupMembers(t, cluster); members != 0 {
		t.Fatalf("%d members are left", members)
	}
}

func groupMembers(t *testing.T, cluster *kfake.Cluster) int {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	request := kmsg.NewDescribeGroupsRequest()
	request.Groups = []string{consumerGroup}
	answer, err := request.RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	return len(answer.Groups[0].Members)
}
