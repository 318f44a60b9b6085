// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	consumerService = "ai-service"
	consumerGroup   = consumerService
	mostPolled      = 100
	// consumePause is how long a consumer that cannot work waits before it looks again.
	consumePause = time.Second
	// lookEvery is how long a consumer waits for events before it asks again whether it still should.
	lookEvery = time.Second
	leaveIn   = 300 * time.Millisecond
	// A member that is killed is missed for this long; its successor waits for its partitions.
	sessionTimeout = 6 * time.Second
)

// memory is where a consumer remembers what it has consumed.
type memory interface {
	Consume(ctx context.Context, events []Event) error
}

// Consumer takes the events of the other services, each at least once, and remembers each once.
//
// It is a member of its group only while this region's topics take writes. The other region's group must be empty for
// MirrorMaker to carry the offsets over, and a region that was fenced must not consume what it should not have.
type Consumer struct {
	options  []kgo.Opt
	memory   memory
	writable func() error
	log      *slog.Logger
}

// OpenConsumer prepares the consumer of a service; nil if it consumes nothing.
func OpenConsumer(config Config, resolver *Resolver, memory memory, stores *Stores, log *slog.Logger) (*Consumer, error) {
	events, publishes := stores.writable["event"]
	if config.Service != consumerService || !publishes {
		return nil, nil
	}
	options, err := kafkaOptions(config, resolver, log)
	return &Consumer{options: options, memory: memory, writable: events.Ready, log: log}, err
}

// topicsOfOthers are the tables of all services but the consuming one.
func topicsOfOthers() []string {
	var topics []string
	for service, table := range tables {
		if service != consumerService {
			topics = append(topics, table)
		}
	}
	slices.Sort(topics)
	return topics
}

// Run consumes until ctx ends. Whatever goes wrong, it leaves the group and begins again where the group stands.
func (c *Consumer) Run(ctx context.Context) {
	last := ""
	for ctx.Err() == nil {
		err := c.writable()
		if err == nil {
			err = c.consume(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if said := reason(err); said != last {
			c.log.Warn("not consuming", "reason", said)
			last = said
		}
		select {
		case <-ctx.Done():
		case <-time.After(consumePause):
		}
	}
}

// consume is a member of the group until something goes wrong or ctx ends.
func (c *Consumer) consume(ctx context.Context) error {
	client, err := kgo.NewClient(append(slices.Clone(c.options),
		kgo.ConsumerGroup(consumerGroup),
		kgo.ConsumeTopics(topicsOfOthers()...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(time.Second),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxBytes(1<<20),
	)...)
	if err != nil {
		return err
	}
	defer leave(client)
	c.log.Info("consuming", "group", consumerGroup)
	for {
		if err := c.step(ctx, client); err != nil {
			return err
		}
		if err := c.writable(); err != nil {
			return err
		}
	}
}

func leave(client *kgo.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveIn)
	defer cancel()
	client.AllowRebalance()
	_ = client.LeaveGroupContext(ctx)
	client.CloseAllowingRebalance()
}

// step takes some events, remembers them and only then says so to the group.
func (c *Consumer) step(ctx context.Context, client *kgo.Client) error {
	defer client.AllowRebalance()
	waiting, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	fetched := client.PollRecords(waiting, mostPolled)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, problem := range fetched.Errors() {
		if !errors.Is(problem.Err, context.DeadlineExceeded) {
			return fmt.Errorf("topic %s: %w", problem.Topic, problem.Err)
		}
	}
	records := fetched.Records()
	if len(records) == 0 {
		return nil
	}
	working, done := context.WithTimeout(ctx, requestTimeout)
	defer done()
	if err := c.memory.Consume(working, eventsOf(records)); err != nil {
		return fmt.Errorf("what was consumed cannot be remembered: %w", err)
	}
	return client.CommitRecords(working, records...)
}

// eventsOf reads what the records say. One that says nothing has the id 0: it is remembered as well, not skipped silently.
func eventsOf(records []*kgo.Record) []Event {
	events := make([]Event, len(records))
	for i, record := range records {
		var told body
		_ = json.Unmarshal(record.Value, &told)
		events[i] = Event{record.Topic, told.ID, string(record.Key), record.Partition, record.Offset}
	}
	return events
}
