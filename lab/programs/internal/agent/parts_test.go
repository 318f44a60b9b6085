// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
)

func TestAddressesGoRound(t *testing.T) {
	pool, err := newAddresses("127.1.100")
	if err != nil {
		t.Fatal(err)
	}
	first, _ := pool.take("")
	pool.free(first)
	second, _ := pool.take("")
	again, _ := pool.take("127.1.100.9")
	after, _ := pool.take("")
	if got := []string{first, second, again, after}; !slices.Equal(got, []string{"127.1.100.1", "127.1.100.2", "127.1.100.9", "127.1.100.10"}) {
		t.Fatalf("got %v", got)
	}
	stranger, _ := pool.take("127.2.100.1")
	if stranger != "127.1.100.11" {
		t.Fatalf("lent a stranger's address: %s", stranger)
	}
	for range thirdNumbers*fourthNumbers - 4 {
		if _, err := pool.take(""); err != nil {
			t.Fatal(err)
		}
	}
	if address, err := pool.take(""); err == nil {
		t.Fatalf("lent %s twice", address)
	}
}

func TestAddressBaseIsChecked(t *testing.T) {
	for _, base := range []string{"", "127.1", "127.1.100.1", "10.1.100", "127.x.100"} {
		if _, err := newAddresses(base); err == nil {
			t.Errorf("%q was taken", base)
		}
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	var got []time.Duration
	for range 8 {
		got = append(got, b.next(time.Second)/time.Second)
	}
	if !slices.Equal(got, []time.Duration{0, 1, 2, 4, 8, 16, 30, 30}) {
		t.Fatalf("got %v", got)
	}
	if delay := b.next(goodRun); delay != 0 {
		t.Fatalf("after a good run: %s", delay)
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"A": "1", "B": "2"}
	for text, wanted := range map[string]string{
		"":            "",
		"plain":       "plain",
		"$(A)-$(B)":   "1-2",
		"$$(A)":       "$(A)",
		"$(UNKNOWN)":  "$(UNKNOWN)",
		"$A $":        "$A $",
		"$(A":         "$(A",
		"x$(A)$(A)y)": "x11y)",
	} {
		if got := expand(text, values); got != wanted {
			t.Errorf("%q: got %q, wanted %q", text, got, wanted)
		}
	}
}

func resolverFor(objects ...*corev1.Secret) environmentResolver {
	client := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "config", Namespace: "production"}, Data: map[string]string{"A": "from config"},
	})
	for _, object := range objects {
		_ = client.Tracker().Add(object)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: "production", Labels: map[string]string{"app": "x"}}}
	pod.Spec.NodeName = "node"
	return environmentResolver{newConfiguration(client), pod, "127.1.100.1", "127.1.0.4"}
}

func TestEnvironment(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "secret", Namespace: "production"}, Data: map[string][]byte{"p": []byte("w")}}
	yes := true
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	container := &corev1.Container{
		EnvFrom: []corev1.EnvFromSource{
			{Prefix: "C_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "config"}}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Optional: &yes}},
		},
		Env: []corev1.EnvVar{
			{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "secret"}, Key: "p"}}},
			{Name: "MISSING", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "config"}, Key: "z", Optional: &yes}}},
			{Name: "IP", ValueFrom: field("status.podIP")},
			{Name: "NODE", ValueFrom: field("spec.nodeName")},
			{Name: "APP", ValueFrom: field("metadata.labels['app']")},
			{Name: "URL", Value: "http://$(IP)/$(GIVEN)/$(LATER)"},
			{Name: "LATER", Value: "x"},
		},
	}
	resolver := resolverFor(secret)
	env, err := resolver.resolve(t.Context(), container, [][2]string{{"GIVEN", "g"}})
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{"GIVEN=g", "C_A=from config", "PASSWORD=w", "IP=127.1.100.1", "NODE=node", "APP=x",
		"URL=http://127.1.100.1/g/$(LATER)", "LATER=x"}
	if got := env.strings(); !slices.Equal(got, wanted) {
		t.Fatalf("got %q", got)
	}
}

func TestEnvironmentNamesWhatIsMissing(t *testing.T) {
	resolver := resolverFor()
	for name, source := range map[string]*corev1.EnvVarSource{
		`secrets "none" not found`: {SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Key: "p"}},
		"couldn't find key z in ConfigMap production/config": {ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "config"}, Key: "z"}},
		`fieldRef "status.x"`:   {FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.x"}},
		"a lab node resolves c": {ResourceFieldRef: &corev1.ResourceFieldSelector{}},
	} {
		_, err := resolver.resolve(t.Context(), &corev1.Container{Env: []corev1.EnvVar{{Name: "X", ValueFrom: source}}}, nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, wanted %q", err, name)
		}
	}
}

func TestProgramsFindByTheImagesName(t *testing.T) {
	programs := Programs{}
	for _, text := range []string{"x", "=y", "x=relative"} {
		if programs.Set(text) == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if err := programs.Set("lab-app=/bin/true"); err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"lab-app", "lab-app:1", "registry:5000/team/lab-app:1", "lab-app@sha256:0"} {
		if path, err := programs.find(image); err != nil || path != "/bin/true" {
			t.Errorf("%s: %s, %v", image, path, err)
		}
	}
	if _, err := programs.find("other:1"); err == nil {
		t.Error("an unknown image was found")
	}
}

func TestArguments(t *testing.T) {
	env := &environment{values: map[string]string{"N": "5"}}
	for name, test := range map[string]struct {
		container corev1.Container
		wanted    []string
	}{
		"program":          {corev1.Container{Args: []string{"-n", "$(N)"}}, []string{"/bin/cat", "-n", "5"}},
		"program by name":  {corev1.Container{Command: []string{"cat"}, Args: []string{"x"}}, []string{"/bin/cat", "x"}},
		"another, by path": {corev1.Container{Command: []string{"/bin/echo", "$(N)"}}, []string{"/bin/echo", "5"}},
	} {
		if got, err := arguments("/bin/cat", &test.container, env); err != nil || !slices.Equal(got, test.wanted) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if _, err := arguments("/bin/cat", &corev1.Container{Command: []string{"/no/such"}}, env); err == nil {
		t.Error("a missing command was taken")
	}
}

// probing runs a prober whose n-th answer is that of answers, and notes when it asked and what it said.
func probing(t *testing.T, probe corev1.Probe, fast bool, lasts time.Duration, healthy func(at time.Duration) bool) (asked, turned, failed []time.Duration, results []bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		began := time.Now()
		p := &prober{
			probe: &probe, fast: fast,
			check: func(context.Context) error {
				asked = append(asked, time.Since(began))
				if healthy(time.Since(began)) {
					return nil
				}
				return errors.New("no")
			},
			turned: func(healthy bool) {
				if len(results) == 0 || results[len(results)-1] != healthy {
					turned, results = append(turned, time.Since(began)), append(results, healthy)
				}
			},
			failed: func(error) { failed = append(failed, time.Since(began)) },
		}
		p.run(ctx)
	})
	return asked, turned, failed, results
}

func TestReadinessIsAskedFastUntilItsFirstSuccess(t *testing.T) {
	probe := corev1.Probe{PeriodSeconds: 1, FailureThreshold: 2}
	asked, turned, failed, results := probing(t, probe, true, 4*time.Second, func(at time.Duration) bool {
		return at >= 290*time.Millisecond && at < 2*time.Second
	})
	// Ten asks 10 ms apart, then every 50 ms; ready at 300 ms; from then on every second, two failures make it unready.
	if asked[1] != 10*time.Millisecond || asked[11]-asked[10] != 50*time.Millisecond {
		t.Fatalf("asked at %v", asked)
	}
	if !slices.Equal(results, []bool{true, false}) || turned[0] != 300*time.Millisecond || turned[1] != 3300*time.Millisecond {
		t.Fatalf("turned %v at %v", results, turned)
	}
	if !slices.Equal(failed, []time.Duration{2300 * time.Millisecond, 3300 * time.Millisecond}) {
		t.Fatalf("counted failures at %v", failed)
	}
}

func TestAFailureAtOnceDoesNotCount(t *testing.T) {
	probe := corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1}
	_, turned, _, results := probing(t, probe, true, 1500*time.Millisecond, func(time.Duration) bool { return false })
	if !slices.Equal(results, []bool{false}) || turned[0] < time.Second {
		t.Fatalf("turned %v at %v", results, turned)
	}
}

func TestFurtherSuccessesAreCountedInPeriods(t *testing.T) {
	probe := corev1.Probe{PeriodSeconds: 1, SuccessThreshold: 3}
	_, turned, _, results := probing(t, probe, true, 4*time.Second, func(at time.Duration) bool { return at >= 50*time.Millisecond })
	if !slices.Equal(results, []bool{true}) || turned[0] != 2050*time.Millisecond {
		t.Fatalf("turned %v at %v", results, turned)
	}
}

func TestLivenessWaitsForAPeriodAndForItsThreshold(t *testing.T) {
	probe := corev1.Probe{PeriodSeconds: 5, FailureThreshold: 3}
	asked, turned, _, results := probing(t, probe, false, 21*time.Second, func(at time.Duration) bool { return at < 6*time.Second })
	if asked[0] != 5*time.Second || !slices.Equal(results, []bool{true, false}) || turned[1] != 20*time.Second {
		t.Fatalf("asked at %v, turned %v at %v", asked, results, turned)
	}
}

func TestHTTPProbe(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/nowhere", http.StatusFound)
		case r.URL.String() != "/healthz?full" || r.Host != "name.example" || r.Header.Get("X-Probe") != "yes":
			http.Error(w, "asked "+r.Host+r.URL.String(), http.StatusNotFound)
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	port := func(server *httptest.Server) intstr.IntOrString {
		return intstr.FromInt32(int32(server.Listener.Addr().(*net.TCPAddr).Port))
	}
	container := &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: port(plain).IntVal}}}
	headers := []corev1.HTTPHeader{{Name: "host", Value: "name.example"}, {Name: "X-Probe", Value: "yes"}}
	for name, test := range map[string]struct {
		action corev1.HTTPGetAction
		wanted string
	}{
		"good":          {corev1.HTTPGetAction{Path: "/healthz?full", Port: port(plain), HTTPHeaders: headers}, ""},
		"named port":    {corev1.HTTPGetAction{Path: "healthz?full", Port: intstr.FromString("web"), HTTPHeaders: headers}, ""},
		"self-signed":   {corev1.HTTPGetAction{Path: "/healthz?full", Port: port(secure), Scheme: "HTTPS", HTTPHeaders: headers}, ""},
		"a redirect":    {corev1.HTTPGetAction{Path: "/moved", Port: port(plain)}, ""},
		"bad":           {corev1.HTTPGetAction{Path: "/x", Port: port(plain)}, "statuscode: 404: asked 127.0.0.1"},
		"unknown port":  {corev1.HTTPGetAction{Port: intstr.FromString("other")}, `container c has no port named "other"`},
		"another place": {corev1.HTTPGetAction{Host: "127.250.0.9", Port: port(plain)}, "127.250.0.9"},
	} {
		err := checkHTTP(t.Context(), &test.action, container, "127.0.0.1")
		if (err == nil) != (test.wanted == "") || err != nil && !strings.Contains(err.Error(), test.wanted) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAProbeOfTheRunBeforeHasNoSay(t *testing.T) {
	run := &podRun{news: make(chan struct{}, 1), pod: &corev1.Pod{}}
	c := newContainer(run, &corev1.Container{Name: "c"}, false, nil)
	c.process = &process{}
	c.turnStarted(&process{})
	if *c.status.Started || c.status.Ready {
		t.Error("it started the next run")
	}
	c.turnStarted(c.process)
	if !*c.status.Started || !c.status.Ready {
		t.Error("its own run did not start")
	}
}

func TestConditionsOfANodeKeepTheirTimes(t *testing.T) {
	then, now := metav1.Unix(1000, 0), metav1.Unix(2000, 0)
	before := nodeConditions(nil, then)
	before[3].Status = corev1.ConditionUnknown
	after := nodeConditions(before, now)
	if after[0].LastTransitionTime != then || after[0].LastHeartbeatTime != now || after[3].LastTransitionTime != now {
		t.Errorf("got %+v", after)
	}
}

// requireDeadline is an API that answers nothing and notes which calls might wait for ever.
type requireDeadline struct{ without []string }

func (r *requireDeadline) RoundTrip(request *http.Request) (*http.Response, error) {
	if _, limited := request.Context().Deadline(); !limited {
		r.without = append(r.without, request.URL.Path)
	}
	return nil, errors.New("no answer")
}

func TestConfigurationIsNotAskedForWithoutEnd(t *testing.T) {
	transport := &requireDeadline{}
	configuration := newConfiguration(kubernetes.NewForConfigOrDie(&rest.Config{Transport: transport}))
	_, err1 := configuration.configMap(context.Background(), "production", "c")
	_, err2 := configuration.secret(context.Background(), "production", "s")
	if err1 == nil || err2 == nil || len(transport.without) > 0 {
		t.Errorf("%v, %v, without deadline: %v", err1, err2, transport.without)
	}
}

func TestLogIsBoundedAndKeepsTheRunBefore(t *testing.T) {
	folder := t.TempDir()
	line := []byte(strings.Repeat("x", 99) + "\n")
	log, err := openLog(folder, "c")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * logLimit / len(line) {
		_, _ = log.Write(line)
	}
	log.close()
	parts, _ := filepath.Glob(filepath.Join(folder, "*"))
	total := int64(0)
	for _, part := range parts {
		info, _ := os.Stat(part)
		total += info.Size()
	}
	if len(parts) != 2 || total > 2*logLimit {
		t.Fatalf("%d bytes in %v", total, parts)
	}
	if log, err = openLog(folder, "c"); err != nil {
		t.Fatal(err)
	}
	_, _ = log.Write([]byte("new\n"))
	log.close()
	var now, before bytes.Buffer
	_, err1 := readLog(logPath(folder, "c"), -1, &now)
	_, err2 := readLog(previousLogPath(folder, "c"), 2, &before)
	if err1 != nil || err2 != nil || now.String() != "new\n" || before.String() != string(line)+string(line) {
		t.Fatalf("%v %v: now %q, before %d bytes", err1, err2, now.String(), before.Len())
	}
}

func TestLastLines(t *testing.T) {
	for _, test := range []struct {
		text   string
		count  int64
		wanted string
	}{
		{"a\nb\nc\n", 1, "c\n"}, {"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc\n", 9, "a\nb\nc\n"}, {"a\nb\nc", 1, "c"},
		{"a\n", 0, ""}, {"", 3, ""}, {"a\nb\n", -1, "a\nb\n"}, {"\nb\n", 1, "b\n"},
	} {
		if got := string(lastLines([]byte(test.text), test.count)); got != test.wanted {
			t.Errorf("%q, %d: got %q", test.text, test.count, got)
		}
	}
}
