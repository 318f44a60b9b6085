// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"strings"
	"testing"
)

func TestConfigFrom(t *testing.T) {
	good := map[string]string{"SERVICE_NAME": "ai-service", "DB_HOST": "db", "POD_IP": "127.1.100.1", "DEPENDS_ON": "a, b"}
	for name, test := range map[string]struct {
		change map[string]string
		wanted string
	}{
		"complete":        {nil, ""},
		"unknown service": {map[string]string{"SERVICE_NAME": "x"}, "expected one of ai-service"},
		"no database":     {map[string]string{"DB_HOST": ""}, "DB_HOST is empty"},
		"port":            {map[string]string{"DB_PORT": "x"}, "DB_PORT"},
		"pool":            {map[string]string{"DB_POOL_SIZE": "0"}, "DB_POOL_SIZE"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ConfigFrom(func(key string) string {
				if value, changed := test.change[key]; changed {
					return value
				}
				return good[key]
			})
			if (err == nil) != (test.wanted == "") || err != nil && !strings.Contains(err.Error(), test.wanted) {
				t.Fatalf("got %v, wanted %q", err, test.wanted)
			}
		})
	}
	config, _ := ConfigFrom(func(key string) string { return good[key] })
	if config.Listen != "127.1.100.1:8080" || config.Table() != "ai_requests" || len(config.Dependencies) != 2 || config.Database.Port != 5432 {
		t.Fatalf("wrong defaults: %+v", config)
	}
}

func TestConnectionStringKeepsOddNames(t *testing.T) {
	settings, err := poolSettings(Config{Service: "user-service", Database: DatabaseConfig{
		Host: "h", Port: 1, Name: `we'ird\db`, User: "u x", Password: `p'w\ `, PoolSize: 1,
	}}, NewResolver(""))
	if err != nil {
		t.Fatal(err)
	}
	conn := settings.ConnConfig
	if conn.Database != `we'ird\db` || conn.User != "u x" || conn.Password != `p'w\ ` {
		t.Fatalf("database %q, user %q", conn.Database, conn.User)
	}
}
