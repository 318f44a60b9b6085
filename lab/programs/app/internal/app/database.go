// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	connectTimeout = time.Second
	// pingTimeout bounds the check of a connection that was idle, so that a dead one leaves time for a fresh one.
	pingTimeout = 300 * time.Millisecond
	// resetPause keeps a database that refuses every write from costing a new connection per request.
	resetPause = 200 * time.Millisecond
)

// Answers that callers tell apart; any other error means that the database cannot be used now.
var (
	errKnownKey   = errors.New("the key is already taken")
	errUnknownKey = errors.New("no row has this key")
	errReadOnly   = errors.New("the database is read-only")
)

// Row is one row of a service's table.
type Row struct {
	ID         int64
	Key, Value string
	CreatedAt  time.Time
}

// with adds to what is answered of a row what other stores have of it.
func (r Row) with(places map[string]any) map[string]any {
	said := map[string]any{"id": r.ID, "key": r.Key, "value": r.Value, "created_at": r.CreatedAt}
	maps.Copy(said, places)
	return said
}

// Identity says which database answered.
type Identity struct {
	Host             string `json:"host"`
	Address          string `json:"address"`
	SystemIdentifier string `json:"system_identifier"`
	InRecovery       bool   `json:"in_recovery"`
	Timeline         *int64 `json:"timeline"`
}

// Database is the service's table behind a pool that never keeps a connection it has reason to distrust.
type Database struct {
	pool      *pgxpool.Pool
	host      string
	insert    string
	read      string
	lastReset atomic.Int64
}

// OpenDatabase prepares the pool; connections are made in the background, so a dead database delays nothing.
func OpenDatabase(ctx context.Context, config Config, resolver *Resolver) (*Database, error) {
	settings, err := poolSettings(config, resolver)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, err
	}
	columns := "id, key, value, created_at"
	return &Database{
		pool:   pool,
		host:   config.Database.Host,
		insert: fmt.Sprintf("INSERT INTO %s (key, value) VALUES ($1, $2) RETURNING %s", config.Table(), columns),
		read:   fmt.Sprintf("SELECT %s FROM %s WHERE key = $1", columns, config.Table()),
	}, nil
}

func poolSettings(config Config, resolver *Resolver) (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig(connectionString(config.Database))
	if err != nil {
		return nil, err
	}
	if err := trust(settings.ConnConfig, config.Database.SSLRootCert); err != nil {
		return nil, err
	}
	settings.MaxConns, settings.MinConns = config.Database.PoolSize, 1
	settings.MaxConnIdleTime = 10 * time.Second
	settings.HealthCheckPeriod = time.Second
	settings.PingTimeout = pingTimeout

	conn := settings.ConnConfig
	// Set here and not in the connection string: a string that does not parse is printed in the error.
	conn.Password = config.Database.Password
	conn.ConnectTimeout = connectTimeout
	conn.LookupFunc = resolver.Lookup
	conn.DialFunc = (&net.Dialer{KeepAlive: 5 * time.Second}).DialContext
	// One round trip without a prepared statement: it survives a pooler and a promoted standby alike.
	conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn.RuntimeParams["application_name"] = config.Service
	conn.RuntimeParams["statement_timeout"] = "1000"
	return settings, nil
}

func connectionString(d DatabaseConfig) string {
	parts := []string{
		"host=" + quote(d.Host), "port=" + strconv.Itoa(int(d.Port)), "dbname=" + quote(d.Name), "user=" + quote(d.User),
	}
	if d.SSLMode != "" {
		parts = append(parts, "sslmode="+quote(d.SSLMode))
	}
	if d.SSLRootCert != "" && !isPEM(d.SSLRootCert) {
		parts = append(parts, "sslrootcert="+quote(d.SSLRootCert))
	}
	return strings.Join(parts, " ")
}

// trust makes every TLS connection trust the given certificate alone.
func trust(conn *pgx.ConnConfig, certificate string) error {
	if !isPEM(certificate) {
		return nil
	}
	roots, err := rootsFrom(certificate)
	if err != nil {
		return fmt.Errorf("DB_SSLROOTCERT: %w", err)
	}
	if conn.TLSConfig != nil {
		conn.TLSConfig.RootCAs = roots
	}
	for _, fallback := range conn.Fallbacks {
		if fallback.TLSConfig != nil {
			fallback.TLSConfig.RootCAs = roots
		}
	}
	return nil
}

func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// Insert adds a row and returns it only once the server has said that it is committed. Nothing is tried twice:
// after a lost answer nobody knows whether the first try was committed.
func (d *Database) Insert(ctx context.Context, key, value string) (Row, error) {
	return d.row(ctx, d.insert, key, value)
}

// Read returns the row of a key.
func (d *Database) Read(ctx context.Context, key string) (Row, error) {
	return d.row(ctx, d.read, key)
}

func (d *Database) row(ctx context.Context, query string, arguments ...any) (Row, error) {
	var row Row
	err := d.pool.QueryRow(ctx, query, arguments...).Scan(&row.ID, &row.Key, &row.Value, &row.CreatedAt)
	row.CreatedAt = row.CreatedAt.UTC()
	return row, d.judged(err)
}

// Writable fails unless the database answers and takes writes.
func (d *Database) Writable(ctx context.Context) error {
	var readOnly bool
	// Shown as "on" both in recovery and where read-only is the default for new transactions.
	err := d.pool.QueryRow(ctx, "SELECT current_setting('transaction_read_only') = 'on'").Scan(&readOnly)
	if err == nil && readOnly {
		d.reset()
		return errReadOnly
	}
	return d.judged(err)
}

// consumeStatement keeps one line an event, however often it comes. The key is part of what tells events apart: after
// the loss of a row its id may be given to another one.
const consumeStatement = `
INSERT INTO consumed_events (topic, row_id, key, partition, "offset") VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (topic, row_id, key) DO UPDATE SET deliveries = consumed_events.deliveries + 1, last_at = now()`

// Consume remembers that events were consumed, all of them or none.
func (d *Database) Consume(ctx context.Context, events []Event) error {
	var batch pgx.Batch
	for _, event := range events {
		batch.Queue(consumeStatement, event.Topic, event.ID, event.Key, event.Partition, event.Offset)
	}
	return d.judged(pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error { return tx.SendBatch(ctx, &batch).Close() }))
}

// Consumed is what is remembered of an event.
type Consumed struct {
	Event
	Deliveries int64     `json:"deliveries"`
	FirstAt    time.Time `json:"first_at"`
	LastAt     time.Time `json:"last_at"`
}

const consumedQuery = `
SELECT row_id, partition, "offset", deliveries, first_at, last_at FROM consumed_events
WHERE topic = $1 AND key = $2 ORDER BY row_id DESC LIMIT 1`

// Consumed returns what is remembered of the newest event of a key.
func (d *Database) Consumed(ctx context.Context, topic, key string) (Consumed, error) {
	found := Consumed{Event: Event{Topic: topic, Key: key}}
	err := d.pool.QueryRow(ctx, consumedQuery, topic, key).Scan(
		&found.ID, &found.Partition, &found.Offset, &found.Deliveries, &found.FirstAt, &found.LastAt)
	found.FirstAt, found.LastAt = found.FirstAt.UTC(), found.LastAt.UTC()
	return found, d.judged(err)
}

const identityQuery = `
SELECT (SELECT system_identifier::text FROM pg_control_system()), pg_is_in_recovery(),
       coalesce(host(inet_server_addr()), ''),
       CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END`

// Identity asks the database who it is.
func (d *Database) Identity(ctx context.Context) (Identity, error) {
	identity := Identity{Host: d.host}
	var timeline *string
	err := d.pool.QueryRow(ctx, identityQuery).Scan(
		&identity.SystemIdentifier, &identity.InRecovery, &identity.Address, &timeline)
	if err != nil || timeline == nil {
		return identity, d.judged(err)
	}
	// The control file still names the old timeline after a promotion; the name of a WAL file does not.
	number, err := strconv.ParseInt(*timeline, 16, 64)
	identity.Timeline = &number
	return identity, err
}

// Close gives up all connections.
func (d *Database) Close() { d.pool.Close() }

// judged turns a driver's error into one of ours, and empties the pool when the error tells of more than this
// one statement: the other connections lead to the same dead or demoted server.
func (d *Database) judged(err error) error {
	var answer *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrNoRows):
		return errUnknownKey
	case !errors.As(err, &answer):
		d.reset()
		return err
	case answer.Code == "23505":
		return errKnownKey
	case answer.Code == "25006":
		d.reset()
		return errReadOnly
	case isServerGone(answer.Code):
		d.reset()
	}
	return err
}

// isServerGone knows the codes for a broken connection (08) and a server that ends, crashes or starts (57P).
func isServerGone(code string) bool {
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57P")
}

func (d *Database) reset() {
	now, last := time.Now().UnixNano(), d.lastReset.Load()
	if now-last > int64(resetPause) && d.lastReset.CompareAndSwap(last, now) {
		d.pool.Reset()
	}
}
