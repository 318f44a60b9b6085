// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package readypods

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func pod(name, app, address string, ready bool) *core.Pod {
	status := core.ConditionFalse
	if ready {
		status = core.ConditionTrue
	}
	return &core.Pod{
		ObjectMeta: meta.ObjectMeta{Namespace: "production", Name: name, Labels: map[string]string{"app": app}},
		Status: core.PodStatus{
			PodIP:      address,
			Conditions: []core.PodCondition{{Type: core.PodReady, Status: status}},
		},
	}
}

func service(name string, selector map[string]string) *core.Service {
	return &core.Service{
		ObjectMeta: meta.ObjectMeta{Namespace: "production", Name: name},
		Spec:       core.ServiceSpec{Selector: selector},
	}
}

func newHandler(t *testing.T) *handler {
	t.Helper()
	known := emptyCluster()
	leaving := pod("leaving", "user", "127.1.100.4", true)
	leaving.DeletionTimestamp = &meta.Time{Time: time.Now()}
	elsewhere := pod("elsewhere", "user", "127.1.100.5", true)
	elsewhere.Namespace = "staging"
	for _, item := range []*core.Pod{
		pod("b", "user", "127.1.100.2", true), pod("a", "user", "127.1.100.1", true),
		pod("unready", "user", "127.1.100.3", false), leaving, elsewhere,
		pod("starting", "user", "", true), pod("other", "tenant", "127.1.100.6", false),
	} {
		if err := known.pods.Add(item); err != nil {
			t.Fatal(err)
		}
	}
	for _, item := range []*core.Service{
		service("user-service", map[string]string{"app": "user"}),
		service("tenant-service", map[string]string{"app": "tenant"}),
		service("bare", nil),
	} {
		if err := known.services.Add(item); err != nil {
			t.Fatal(err)
		}
	}
	return &handler{zones: []string{"cluster.local."}, cluster: known}
}

// recorder keeps the answer.
type recorder struct {
	test.ResponseWriter
	answer *dns.Msg
}

func (r *recorder) WriteMsg(answer *dns.Msg) error {
	r.answer = answer
	return nil
}

func TestAnswers(t *testing.T) {
	for name, wanted := range map[string]struct {
		query     string
		kind      uint16
		code      int
		addresses []string
	}{
		"ready pods only":       {"user-service.production.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"127.1.100.1", "127.1.100.2"}},
		"any case":              {"User-Service.Production.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"127.1.100.1", "127.1.100.2"}},
		"no IPv6":               {"user-service.production.svc.cluster.local.", dns.TypeAAAA, dns.RcodeSuccess, nil},
		"nobody ready":          {"tenant-service.production.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, nil},
		"no selector":           {"bare.production.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, nil},
		"unknown service":       {"nothing.production.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
		"unknown namespace":     {"user-service.nowhere.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
		"another kind of name":  {"a.pod.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
		"the zone has no hosts": {"cluster.local.", dns.TypeA, dns.RcodeSuccess, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := &recorder{}
			if _, err := newHandler(t).ServeDNS(t.Context(), got, new(dns.Msg).SetQuestion(wanted.query, wanted.kind)); err != nil {
				t.Fatal(err)
			}
			addresses := []string{}
			for _, record := range got.answer.Answer {
				addresses = append(addresses, record.(*dns.A).A.String())
				if record.Header().Ttl != 0 {
					t.Errorf("the answer may be cached for %d s", record.Header().Ttl)
				}
			}
			if got.answer.Rcode != wanted.code || !slices.Equal(addresses, append([]string{}, wanted.addresses...)) {
				t.Errorf("got %s %v", dns.RcodeToString[got.answer.Rcode], addresses)
			}
			if len(addresses) == 0 && len(got.answer.Ns) != 1 {
				t.Error("an empty answer without an authority")
			}
		})
	}
}

func TestAnotherZoneIsPassedOn(t *testing.T) {
	code, err := newHandler(t).ServeDNS(t.Context(), &recorder{}, new(dns.Msg).SetQuestion("example.org.", dns.TypeA))
	if code != dns.RcodeServerFailure || err == nil {
		t.Errorf("got %d, %v", code, err)
	}
}

func TestBeforeTheFirstListNothingIsClaimed(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	known, err := newCluster(&rest.Config{Host: refusing.URL}, "production")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	known.follow(ctx)
	<-ctx.Done()
	unready := &handler{zones: []string{"cluster.local."}, cluster: known}
	question := new(dns.Msg).SetQuestion("user-service.production.svc.cluster.local.", dns.TypeA)
	if code, err := unready.ServeDNS(t.Context(), &recorder{}, question); code != dns.RcodeServerFailure || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
}

func TestConfiguration(t *testing.T) {
	for text, problem := range map[string]string{
		"readypods cluster.local {\nkubeconfig /k\nnamespace n\n}": "",
		"readypods":                  "kubeconfig is missing",
		"readypods {\nkubeconfig\n}": "Wrong argument count",
		"readypods {\nkubeconfig /k\nunknown value\n}": `unknown property "unknown"`,
	} {
		got, err := parse(caddy.NewTestController("dns", text))
		switch {
		case problem == "" && (err != nil || got.kubeconfig != "/k" || got.namespace != "n" || !slices.Equal(got.zones, []string{"cluster.local."})):
			t.Errorf("%q: got %+v, %v", text, got, err)
		case problem != "" && (err == nil || !strings.Contains(err.Error(), problem)):
			t.Errorf("%q: got %v", text, err)
		}
	}
}
