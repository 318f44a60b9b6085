// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// tables names where each service keeps its rows; a service that is not here does not exist.
var tables = map[string]string{
	"user-service":   "users",
	"tenant-service": "tenants",
	"plugin-service": "plugins",
	"ai-service":     "ai_requests",
}

// Config is everything that one instance is told from outside, through its environment.
type Config struct {
	Service      string
	Listen       string
	Resolver     string
	Namespace    string
	Dependencies []string
	Database     DatabaseConfig
	Sessions     SessionsConfig
	Events       EventsConfig
	Files        FilesConfig
}

// DatabaseConfig says which database to write to, and as whom.
type DatabaseConfig struct {
	Host, Name, User, Password string
	SSLMode, SSLRootCert       string
	Port                       uint16
	PoolSize                   int32
}

// SessionsConfig says which sentinels know where sessions are kept. Without any, none are kept.
type SessionsConfig struct {
	Sentinels            []string
	Master, Password, CA string
}

// EventsConfig says to which brokers events go. Without any, none are published and none consumed.
type EventsConfig struct {
	Brokers            []string
	User, Password, CA string
}

// FilesConfig says where files are kept. Without an endpoint, none are.
type FilesConfig struct {
	Endpoint, Bucket, AccessKey, SecretKey, CA string
}

// Table is the service's own table.
func (c Config) Table() string { return tables[c.Service] }

// ConfigFrom reads the configuration with getenv and names the first variable that is missing or wrong.
func ConfigFrom(getenv func(string) string) (Config, error) {
	c := Config{
		Service:      getenv("SERVICE_NAME"),
		Resolver:     getenv("LAB_RESOLVER"),
		Namespace:    or(getenv("POD_NAMESPACE"), "production"),
		Listen:       or(getenv("LISTEN"), net.JoinHostPort(or(getenv("POD_IP"), "127.0.0.1"), "8080")),
		Dependencies: fields(getenv("DEPENDS_ON")),
		Database: DatabaseConfig{
			Host:        getenv("DB_HOST"),
			Name:        or(getenv("DB_NAME"), "platform_db"),
			User:        getenv("DB_USER"),
			Password:    getenv("DB_PASSWORD"),
			SSLMode:     getenv("DB_SSLMODE"),
			SSLRootCert: getenv("DB_SSLROOTCERT"),
		},
		Sessions: SessionsConfig{
			Sentinels: fields(getenv("SESSIONS_SENTINELS")),
			Master:    getenv("SESSIONS_MASTER"),
			Password:  getenv("SESSIONS_PASSWORD"),
			CA:        getenv("SESSIONS_CA"),
		},
		Events: EventsConfig{
			Brokers:  fields(getenv("EVENTS_BROKERS")),
			User:     getenv("EVENTS_USER"),
			Password: getenv("EVENTS_PASSWORD"),
			CA:       getenv("EVENTS_CA"),
		},
		Files: FilesConfig{
			Endpoint:  getenv("FILES_ENDPOINT"),
			Bucket:    getenv("FILES_BUCKET"),
			AccessKey: getenv("FILES_ACCESS_KEY"),
			SecretKey: getenv("FILES_SECRET_KEY"),
			CA:        getenv("FILES_CA"),
		},
	}
	if c.Table() == "" {
		return c, fmt.Errorf("SERVICE_NAME is %q, expected one of %s", c.Service, strings.Join(services(), ", "))
	}
	if c.Database.Host == "" {
		return c, fmt.Errorf("DB_HOST is empty, expected the database's host name")
	}
	if len(c.Sessions.Sentinels) > 0 && c.Sessions.Master == "" {
		return c, fmt.Errorf("SESSIONS_MASTER is empty, expected the name by which the sentinels know the primary")
	}
	if c.Files.Endpoint != "" && c.Files.Bucket == "" {
		return c, fmt.Errorf("FILES_BUCKET is empty, expected the bucket that keeps the files at FILES_ENDPOINT")
	}
	return c, c.Database.numbers(getenv)
}

// numbers reads the two numeric variables; their defaults suit eight small pods on one database.
func (d *DatabaseConfig) numbers(getenv func(string) string) error {
	port, err := strconv.ParseUint(or(getenv("DB_PORT"), "5432"), 10, 16)
	if err != nil || port == 0 {
		return fmt.Errorf("DB_PORT is %q, expected a port number", getenv("DB_PORT"))
	}
	size, err := strconv.ParseInt(or(getenv("DB_POOL_SIZE"), "4"), 10, 16)
	if err != nil || size < 1 {
		return fmt.Errorf("DB_POOL_SIZE is %q, expected a number above 0", getenv("DB_POOL_SIZE"))
	}
	d.Port, d.PoolSize = uint16(port), int32(size)
	return nil
}

func services() []string {
	names := make([]string, 0, len(tables))
	for name := range tables {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func or(value, fallback string) string {
	if value != "" {
		return value
	}
	return fallback
}

// fields splits a list on commas and blanks.
func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
