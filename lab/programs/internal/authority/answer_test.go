// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package authority

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const zones = `{"version": 1, "zones": [{"id": "Z", "name": "lab.example.", "records": [
 {"Name": "lab.example.", "Type": "SOA", "TTL": 5, "ResourceRecords": ["ns.lab.example. host.lab.example. 1 2 3 4 5"]},
 {"Name": "plain.lab.example.", "Type": "A", "TTL": 7, "ResourceRecords": ["127.1.0.1", "127.1.0.2"]},
 {"Name": "*.wild.lab.example.", "Type": "A", "TTL": 7, "ResourceRecords": ["127.1.0.9"]},
 {"Name": "app.lab.example.", "Type": "A", "TTL": 5, "ResourceRecords": ["127.1.0.1"], "SetIdentifier": "w", "Failover": "PRIMARY", "HealthCheckId": "west"},
 {"Name": "app.lab.example.", "Type": "A", "TTL": 5, "ResourceRecords": ["127.2.0.1"], "SetIdentifier": "e", "Failover": "SECONDARY", "HealthCheckId": "east"},
 {"Name": "share.lab.example.", "Type": "A", "TTL": 5, "ResourceRecords": ["127.1.0.1"], "SetIdentifier": "w", "Weight": 100, "HealthCheckId": "west"},
 {"Name": "share.lab.example.", "Type": "A", "TTL": 5, "ResourceRecords": ["127.2.0.1"], "SetIdentifier": "e", "Weight": 0, "HealthCheckId": "east"},
 {"Name": "alias.lab.example.", "Type": "A", "AliasTarget": {"HostedZoneId": "Z", "DNSName": "app.lab.example.", "EvaluateTargetHealth": true}},
 {"Name": "named.lab.example.", "Type": "CNAME", "TTL": 9, "ResourceRecords": ["app.lab.example."]}
]}], "health_checks": []}`

func viewed(t *testing.T, ill ...string) *view {
	t.Helper()
	found, err := read([]byte(zones))
	if err != nil {
		t.Fatal(err)
	}
	return newView(found, func(id string) bool { return !slices.Contains(ill, id) }, func(int) int { return 0 })
}

func TestAnswers(t *testing.T) {
	tests := map[string]struct {
		name, kind string
		ill        []string
		want       string
		code       int
	}{
		"a simple set gives all its values":         {"plain", "A", nil, "127.1.0.1 127.1.0.2", 0},
		"a wildcard":                                {"any.wild", "A", nil, "127.1.0.9", 0},
		"no such type":                              {"plain", "AAAA", nil, "", 0},
		"a name that only others lie below":         {"wild", "A", nil, "", 0},
		"no such name":                              {"none", "A", nil, "", dns.RcodeNameError},
		"the primary while it is healthy":           {"app", "A", nil, "127.1.0.1", 0},
		"the secondary when the primary is not":     {"app", "A", []string{"west"}, "127.2.0.1", 0},
		"the primary when neither is":               {"app", "A", []string{"west", "east"}, "127.1.0.1", 0},
		"a weight of 0 while another is healthy":    {"share", "A", nil, "127.1.0.1", 0},
		"a weight of 0 when no other is healthy":    {"share", "A", []string{"west"}, "127.2.0.1", 0},
		"weights when none is healthy":              {"share", "A", []string{"west", "east"}, "127.1.0.1", 0},
		"an alias follows the health of its target": {"alias", "A", []string{"west"}, "127.2.0.1", 0},
		"a CNAME is followed within our zones":      {"named", "A", []string{"west"}, "app.lab.example. 127.2.0.1", 0},
	}
	for title, test := range tests {
		t.Run(title, func(t *testing.T) {
			found, code := viewed(t, test.ill...).answer(test.name+".lab.example.", test.kind)
			var got []string
			for _, each := range found {
				got = append(got, dns.Field(each, 1))
			}
			if strings.Join(got, " ") != test.want || code != test.code {
				t.Errorf("got %v, code %d; want %s, code %d", got, code, test.want, test.code)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	tests := map[string]struct {
		check check
		said  map[string]bool
		want  bool
	}{
		"nothing said yet":        {check{Type: "HTTP"}, nil, true},
		"it failed":               {check{Type: "HTTP"}, map[string]bool{"x": false}, false},
		"it failed, inverted":     {check{Type: "HTTP", Inverted: true}, map[string]bool{"x": false}, true},
		"disabled is healthy":     {check{Type: "HTTP", Disabled: true}, map[string]bool{"x": false}, true},
		"disabled and inverted":   {check{Type: "HTTP", Disabled: true, Inverted: true}, nil, false},
		"one child of two":        {check{Type: "CALCULATED", HealthThreshold: 2, ChildHealthChecks: []string{"a", "b"}}, map[string]bool{"a": false}, false},
		"one child of one or two": {check{Type: "CALCULATED", HealthThreshold: 1, ChildHealthChecks: []string{"a", "b"}}, map[string]bool{"a": false}, true},
	}
	for title, test := range tests {
		t.Run(title, func(t *testing.T) {
			made := newCheckers(func() {})
			test.check.Id = "x"
			made.checks = map[string]check{"x": test.check, "a": {Id: "a", Type: "TCP"}, "b": {Id: "b", Type: "TCP"}}
			for id, good := range test.said {
				made.healthy[id] = good
			}
			if got := made.status("x"); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
