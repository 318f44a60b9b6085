// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package authority is a name server that answers from Route 53's hosted zones as Route 53 does: failover, weighted and multivalue
// record sets, aliases, and health checks that it makes itself. It follows the control plane and needs it only for news.
package authority

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// document is everything that the control plane knows, at one moment.
type document struct {
	Version int     `json:"version"`
	Zones   []zone  `json:"zones"`
	Checks  []check `json:"health_checks"`
}

type zone struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Records []record `json:"records"`
}

// record is a record set, in the words of Route 53's API.
type record struct {
	Name, Type, SetIdentifier, Failover, Region, HealthCheckId string //nolint:revive // the API's word
	TTL                                                        uint32
	ResourceRecords                                            []string
	Weight                                                     *int
	MultiValueAnswer                                           bool
	AliasTarget                                                *alias
}

type alias struct {
	HostedZoneId, DNSName string //nolint:revive // the API's word
	EvaluateTargetHealth  bool
}

// check is a health check, in the words of Route 53's API.
type check struct {
	Id, Type, IPAddress, FullyQualifiedDomainName, ResourcePath, SearchString string //nolint:revive // the API's word
	Port, RequestInterval, FailureThreshold, HealthThreshold                  int
	Inverted, Disabled                                                        bool
	ChildHealthChecks                                                         []string
}

func read(content []byte) (document, error) {
	var found document
	return found, json.Unmarshal(content, &found)
}

// mostValues is how many records a multivalue answer holds.
const mostValues = 8

// deepest is how many aliases and CNAMEs may lead from one to the next.
const deepest = 8

// view answers questions about one document.
type view struct {
	document
	records map[string]map[string][]record // by name, by type
	healthy func(id string) bool
	pick    func(below int) int
}

func newView(found document, healthy func(string) bool, pick func(int) int) *view {
	made := &view{document: found, records: map[string]map[string][]record{}, healthy: healthy, pick: pick}
	for _, each := range found.Zones {
		for _, one := range each.Records {
			if made.records[one.Name] == nil {
				made.records[one.Name] = map[string][]record{}
			}
			made.records[one.Name][one.Type] = append(made.records[one.Name][one.Type], one)
		}
	}
	return made
}

// zoneOf gives the zone that a name lies in, the longest one.
func (v *view) zoneOf(name string) (zone, bool) {
	var found zone
	for _, each := range v.Zones {
		if dns.IsSubDomain(each.Name, name) && len(each.Name) > len(found.Name) {
			found = each
		}
	}
	return found, found.Name != ""
}

// sets gives the record sets of a name, or of the wildcard that covers it; known tells whether the name exists at all.
func (v *view) sets(name, kind string) (found []record, known bool) {
	at, known := v.records[name]
	for parent := name; !known && strings.Contains(parent, "."); {
		_, parent, _ = strings.Cut(parent, ".")
		at, known = v.records["*."+parent]
	}
	if known {
		return at[kind], true
	}
	for other := range v.records {
		if strings.HasSuffix(other, "."+name) {
			return nil, true // it is a name because others lie below it
		}
	}
	return nil, false
}

// answer gives the records of a name, CNAMEs followed within our zones, and the code of the response.
func (v *view) answer(name, kind string) ([]dns.RR, int) {
	var found []dns.RR
	for range deepest {
		sets, known := v.sets(name, kind)
		if len(sets) > 0 {
			return append(found, v.chosen(name, sets, 0)...), dns.RcodeSuccess
		}
		links, _ := v.sets(name, "CNAME")
		if len(links) == 0 {
			if known || len(found) > 0 {
				return found, dns.RcodeSuccess
			}
			return nil, dns.RcodeNameError
		}
		next := v.chosen(name, links, 0)
		found = append(found, next...)
		if len(next) == 0 {
			return found, dns.RcodeSuccess
		}
		name = strings.ToLower(next[0].(*dns.CNAME).Target)
		if _, ours := v.zoneOf(name); !ours {
			return found, dns.RcodeSuccess
		}
	}
	return found, dns.RcodeServerFailure
}

// chosen gives the records of the sets that Route 53 would answer with, under the name that was asked for.
func (v *view) chosen(name string, sets []record, depth int) []dns.RR {
	if depth > deepest {
		return nil
	}
	var found []dns.RR
	for _, set := range v.choose(sets, depth) {
		if set.AliasTarget != nil {
			targets, _ := v.sets(set.AliasTarget.DNSName, set.Type)
			found = append(found, v.chosen(name, targets, depth+1)...)
			continue
		}
		for _, value := range set.ResourceRecords {
			made, err := dns.NewRR(name + " 0 IN " + set.Type + " " + value)
			if err != nil || made == nil {
				continue
			}
			made.Header().Ttl = set.TTL
			found = append(found, made)
		}
	}
	return found
}

// choose applies the routing policy of record sets with the same name and type. Where none is healthy Route 53 answers as if all were.
func (v *view) choose(sets []record, depth int) []record {
	good := slices.DeleteFunc(slices.Clone(sets), func(set record) bool { return !v.alive(set, depth) })
	switch first := sets[0]; {
	case first.Failover != "":
		for _, candidates := range [][]record{good, sets} {
			for _, role := range []string{"PRIMARY", "SECONDARY"} {
				if at := slices.IndexFunc(candidates, func(set record) bool { return set.Failover == role }); at >= 0 {
					return candidates[at : at+1]
				}
			}
		}
		return nil
	case first.Weight != nil:
		return v.weighted(good, sets)
	case first.MultiValueAnswer:
		if len(good) == 0 {
			good = sets
		}
		return good[:min(len(good), mostValues)]
	}
	return sets[:1]
}

// weighted draws one set. Sets of weight 0 are for when no other is healthy.
func (v *view) weighted(good, all []record) []record {
	zero := func(set record) bool { return *set.Weight == 0 }
	some := slices.DeleteFunc(slices.Clone(good), zero)
	if len(some) == 0 {
		some = slices.DeleteFunc(slices.Clone(good), func(set record) bool { return !zero(set) })
	}
	if len(some) == 0 {
		some = slices.DeleteFunc(slices.Clone(all), zero)
	}
	if len(some) == 0 {
		some = all
	}
	total := 0
	for _, set := range some {
		total += *set.Weight
	}
	if total == 0 {
		at := v.pick(len(some))
		return some[at : at+1]
	}
	drawn := v.pick(total)
	for at, set := range some {
		if drawn -= *set.Weight; drawn < 0 {
			return some[at : at+1]
		}
	}
	return some[:1]
}

// alive tells whether a set may be answered with: by its own health check, and for an alias by what it leads to.
func (v *view) alive(set record, depth int) bool {
	if set.HealthCheckId != "" && !v.healthy(set.HealthCheckId) {
		return false
	}
	if set.AliasTarget == nil || !set.AliasTarget.EvaluateTargetHealth || depth > deepest {
		return true
	}
	targets, _ := v.sets(set.AliasTarget.DNSName, set.Type)
	return slices.ContainsFunc(targets, func(target record) bool { return v.alive(target, depth+1) })
}
