// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

const (
	// mostBuffered is what may wait for a broker that is away: more would only be refused later.
	mostBuffered = 256
	kafkaTimeout = time.Second
	// fetchBytes is far more than the events that are published while one request is answered.
	fetchBytes = 256 << 10
	// mayWrite is the bit of "WRITE" in what a broker says that a user may do with a topic.
	mayWrite = int32(1 << kmsg.ACLOperationWrite)
	// notTold is what stands there if the broker does not say.
	notTold = int32(-1 << 31)
)

var errNoEvent = errors.New("the topic has no such event")

// Event says where the event of a row is.
type Event struct {
	Topic     string `json:"topic"`
	ID        int64  `json:"id"`
	Key       string `json:"key"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// body is what a record's value says; its key is the row's key.
type body struct {
	ID        int64     `json:"id"`
	Key       string    `json:"key"`
	CreatedAt time.Time `json:"created_at"`
}

// Events publishes an event a row, in the topic that has the name of the service's table.
type Events struct {
	client *kgo.Client
	topic  string
}

// OpenEvents prepares the client; nothing is connected yet.
func OpenEvents(config Config, resolver *Resolver, log *slog.Logger) (*Events, error) {
	options, err := kafkaOptions(config, resolver, log)
	if err != nil {
		return nil, err
	}
	// Idempotent, as is the client's default: what it sends again after a lost answer is there once.
	client, err := kgo.NewClient(append(options,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(mostBuffered),
		kgo.RecordDeliveryTimeout(requestTimeout),
		kgo.ProduceRequestTimeout(kafkaTimeout),
	)...)
	return &Events{client: client, topic: config.Table()}, err
}

// kafkaOptions are those of every client of the brokers, publishing or consuming.
func kafkaOptions(config Config, resolver *Resolver, log *slog.Logger) ([]kgo.Opt, error) {
	c := config.Events
	roots, err := rootsFrom(c.CA)
	if err != nil {
		return nil, fmt.Errorf("EVENTS_CA: %w", err)
	}
	options := []kgo.Opt{
		kgo.ClientID(config.Service),
		kgo.SeedBrokers(c.Brokers...),
		kgo.Dialer(dialer(resolver, roots)),
		kgo.RetryTimeout(kafkaTimeout),
		kgo.RequestTimeoutOverhead(kafkaTimeout),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.MetadataMaxAge(10 * time.Second),
		kgo.WithLogger(kafkaLog{log}),
	}
	if c.User != "" {
		// One only: a broker closes the connection of a client that begins with a mechanism which it does not know.
		options = append(options, kgo.SASL(plain.Auth{User: c.User, Pass: c.Password}.AsMechanism()))
	}
	return options, nil
}

// Keep publishes the event of a row. An error leaves open whether it is published: a record that is under way cannot be
// called back.
func (e *Events) Keep(ctx context.Context, row Row) (any, error) {
	value, err := json.Marshal(body{row.ID, row.Key, row.CreatedAt})
	if err != nil {
		return nil, err
	}
	type outcome struct {
		record *kgo.Record
		err    error
	}
	done := make(chan outcome, 1)
	// The row's own time: by it the event is found again.
	record := &kgo.Record{Topic: e.topic, Key: []byte(row.Key), Value: value, Timestamp: row.CreatedAt}
	e.client.TryProduce(ctx, record, func(record *kgo.Record, err error) { done <- outcome{record, err} })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case o := <-done:
		return Event{e.topic, row.ID, row.Key, o.record.Partition, o.record.Offset}, o.err
	}
}

// Writable asks the broker whether the topic has leaders and this user may write to it. A record that is there only to try
// would be one that all consumers and the other region get.
func (e *Events) Writable(ctx context.Context) error {
	topic, err := e.metadata(ctx)
	if err != nil {
		return err
	}
	for _, partition := range topic.Partitions {
		if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
			return fmt.Errorf("partition %d of %s: %w", partition.Partition, e.topic, err)
		}
	}
	if may := topic.AuthorizedOperations; may != notTold && may&mayWrite == 0 {
		return fmt.Errorf("topic %s: this user may not write to it: %w", e.topic, errClosed)
	}
	return nil
}

func (e *Events) metadata(ctx context.Context) (kmsg.MetadataResponseTopic, error) {
	request := kmsg.NewMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr(e.topic)}}
	request.IncludeTopicAuthorizedOperations = true
	answer, err := request.RequestWith(ctx, e.client)
	if err != nil {
		return kmsg.MetadataResponseTopic{}, err
	}
	if len(answer.Topics) != 1 {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("topic %s: the broker told nothing of it", e.topic)
	}
	if err := kerr.ErrorForCode(answer.Topics[0].ErrorCode); err != nil {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("topic %s: %w", e.topic, err)
	}
	return answer.Topics[0], nil
}

// Find reads the event of a row from the topic: from the first record as young as the row on.
func (e *Events) Find(ctx context.Context, row Row) (any, error) {
	topic, err := e.metadata(ctx)
	if err != nil {
		return nil, err
	}
	record := &kgo.Record{Key: []byte(row.Key)}
	// The same choice as the producer makes, and every Kafka client for a record with a key.
	number := kgo.StickyKeyPartitioner(nil).ForTopic(e.topic).Partition(record, len(topic.Partitions))
	for _, partition := range topic.Partitions {
		if int(partition.Partition) == number {
			event, err := e.search(ctx, topic, partition, row)
			if errors.Is(err, errNoEvent) {
				return nil, nil
			}
			return event, err
		}
	}
	return nil, fmt.Errorf("topic %s has no partition %d", e.topic, number)
}

func (e *Events) search(ctx context.Context, topic kmsg.MetadataResponseTopic, at kmsg.MetadataResponseTopicPartition, row Row) (Event, error) {
	offset, err := e.firstSince(ctx, at.Partition, row.CreatedAt)
	for err == nil {
		var records []*kgo.Record
		var end int64
		if records, end, err = e.fetch(ctx, topic, at, offset); err != nil {
			break
		}
		for _, record := range records {
			var told body
			if json.Unmarshal(record.Value, &told) == nil && string(record.Key) == row.Key && told.ID == row.ID {
				return Event{e.topic, row.ID, row.Key, record.Partition, record.Offset}, nil
			}
			offset = record.Offset + 1
		}
		if len(records) == 0 || offset >= end {
			return Event{}, errNoEvent
		}
	}
	return Event{}, err
}

// firstSince gives the offset of the first record that is not older than a moment.
func (e *Events) firstSince(ctx context.Context, partition int32, moment time.Time) (int64, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = partition, moment.UnixMilli()
	request.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: e.topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
	answer, err := request.RequestWith(ctx, e.client)
	if err != nil {
		return 0, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("topic %s: the broker told no offsets", e.topic)
	}
	found := answer.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return 0, err
	}
	if found.Offset < 0 {
		return 0, errNoEvent
	}
	return found.Offset, nil
}

// fetch reads what follows an offset, and says where the partition ends.
func (e *Events) fetch(ctx context.Context, topic kmsg.MetadataResponseTopic, at kmsg.MetadataResponseTopicPartition, offset int64) ([]*kgo.Record, int64, error) {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = at.Partition, offset, fetchBytes
	request := kmsg.NewPtrFetchRequest()
	// By name for old brokers, by id for new ones. The session is none: the next request is of another partition.
	request.Topics = []kmsg.FetchRequestTopic{{Topic: e.topic, TopicID: topic.TopicID, Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	request.ReplicaID, request.MaxBytes, request.SessionEpoch = -1, fetchBytes, -1
	answer, err := e.client.Broker(int(at.Leader)).RetriableRequest(ctx, request)
	if err != nil {
		return nil, 0, err
	}
	fetched, known := answer.(*kmsg.FetchResponse)
	if !known || len(fetched.Topics) != 1 || len(fetched.Topics[0].Partitions) != 1 {
		return nil, 0, fmt.Errorf("topic %s: the broker told no records", e.topic)
	}
	found := &fetched.Topics[0].Partitions[0]
	records, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Topic: e.topic, Partition: at.Partition, Offset: offset,
	}, found, kgo.DefaultDecompressor(), nil)
	return records.Records, found.HighWatermark, records.Err
}

// kafkaLog lets through what an operator would want to know of the client.
type kafkaLog struct{ log *slog.Logger }

func (kafkaLog) Level() kgo.LogLevel { return kgo.LogLevelError }

func (l kafkaLog) Log(_ kgo.LogLevel, message string, fields ...any) { l.log.Warn(message, fields...) }
