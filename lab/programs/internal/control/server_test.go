// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"platform.recovery/lab/internal/process"
	"platform.recovery/lab/internal/sshhost"
)

var oneSpawner = sync.OnceValues(process.NewSpawner)

// lab serves the interface on a real abstract socket.
type lab struct {
	t      *testing.T
	client *http.Client
	state  string
}

func newLab(t *testing.T) lab {
	t.Helper()
	spawner, err := oneSpawner()
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	processes := process.NewRegistry(spawner, state)
	socket := fmt.Sprintf("@platform-recovery-test-%d-%s", os.Getpid(), t.Name())
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ConnContext: RememberPeer, Handler: (&Server{
		Lab:       Lab{Name: "/a/clone", State: state, PID: os.Getpid()},
		Processes: processes,
		Hosts:     sshhost.NewRegistry(func(id string) (sshhost.Unit, error) { return processes.Find(id) }, spawner.Spawn),
		Shutdown:  processes.StopAll,
	}).Handler()}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		if err := processes.StopAll(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }
	return lab{t, &http.Client{Transport: &http.Transport{DialContext: dial}}, state}
}

// call returns the answer's status and body.
func (l lab) call(method, path, body string) (int, map[string]any) {
	l.t.Helper()
	request, err := http.NewRequest(method, "http://lab"+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	response, err := l.client.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	parsed := map[string]any{}
	if err := json.Unmarshal(raw, &parsed); err != nil {
		l.t.Fatalf("%s %s answered %s: %v", method, path, raw, err)
	}
	return response.StatusCode, parsed
}

func (l lab) definition(argv ...string) string {
	raw, err := json.Marshal(map[string]any{
		"argv": argv, "env": map[string]string{"A": "b"}, "cwd": l.state, "log": filepath.Join(l.state, "log"),
		"stop_signal": "TERM", "stop_seconds": 2,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return string(raw)
}

func (l lab) expect(status int, state, method, path, body string) map[string]any {
	l.t.Helper()
	got, answer := l.call(method, path, body)
	if got != status || (state != "" && answer["state"] != state) {
		l.t.Fatalf("%s %s: got %d %v, wanted %d %s", method, path, got, answer, status, state)
	}
	return answer
}

const postgres = "/v1/processes/us-west-2/postgresql/postgres"

func TestALifeThroughTheInterface(t *testing.T) {
	l := newLab(t)
	l.expect(200, "stopped", "PUT", postgres, l.definition("sleep", "60"))
	l.expect(200, "running", "POST", postgres+"/start", "")
	l.expect(200, "frozen", "POST", postgres+"/freeze", "")
	l.expect(200, "running", "POST", postgres+"/thaw", "")
	_, list := l.call("GET", "/v1/processes", "")
	entry, known := list["us-west-2/postgresql/postgres"].(map[string]any)
	if !known || entry["state"] != "running" || entry["resident_kib"].(float64) <= 0 {
		t.Errorf("the list: %v", list)
	}
	l.expect(200, "stopped", "POST", postgres+"/stop", "")
	l.expect(200, "running", "POST", postgres+"/start", "")
	killed := l.expect(200, "stopped", "POST", postgres+"/kill", "")
	if killed["exit_code"] != float64(-9) {
		t.Errorf("after the kill: %v", killed)
	}
	l.expect(200, "", "DELETE", postgres, "")
	l.expect(404, "", "GET", postgres, "")
}

func TestAnEscapedIDIsTheSame(t *testing.T) {
	l := newLab(t)
	l.expect(200, "stopped", "PUT", "/v1/processes/us-west-2%2Fdns%2Fcoredns", l.definition("sleep", "60"))
	l.expect(200, "running", "POST", "/v1/processes/us-west-2%2Fdns%2Fcoredns/start", "")
	l.expect(200, "running", "GET", "/v1/processes/us-west-2/dns/coredns", "")
}

func TestWhatIsRefused(t *testing.T) {
	l := newLab(t)
	l.expect(404, "", "POST", postgres+"/start", "")
	l.expect(400, "", "PUT", postgres, `{"argv":["true"],"cwd":"/","log":"/dev/null","unknown":1}`)
	l.expect(400, "", "PUT", postgres, `{"argv":[],"cwd":"/","log":"/dev/null"}`)
	l.expect(400, "", "PUT", "/v1/processes/a%20b", l.definition("true"))
	l.expect(200, "stopped", "PUT", postgres, l.definition("/no/such/program"))
	l.expect(422, "", "POST", postgres+"/start", "")
	l.expect(200, "stopped", "PUT", "/v1/processes/other", l.definition("sleep", "60"))
	l.expect(409, "", "POST", "/v1/processes/other/freeze", "")
	l.expect(400, "", "POST", "/v1/processes/other/dance", "")
	l.expect(200, "stopped", "POST", "/v1/processes/other/mask", "")
	refusal := l.expect(409, "", "POST", "/v1/processes/other/start", "")
	if !strings.Contains(refusal["error"].(string), "masked") {
		t.Errorf("the refusal does not say why: %v", refusal)
	}
	l.expect(200, "stopped", "POST", "/v1/processes/other/unmask", "")
	l.expect(200, "running", "POST", "/v1/processes/other/start", "")
	l.expect(409, "", "PUT", "/v1/processes/other", l.definition("sleep", "61"))
	l.expect(409, "", "DELETE", "/v1/processes/other", "")
}

func TestTheLabSaysWhoseItIs(t *testing.T) {
	l := newLab(t)
	if answer := l.expect(200, "", "GET", "/v1/lab", ""); answer["name"] != "/a/clone" || answer["state"] != l.state {
		t.Errorf("got %v", answer)
	}
}

func TestShutdownStopsEverything(t *testing.T) {
	l := newLab(t)
	l.expect(200, "stopped", "PUT", postgres, l.definition("sleep", "60"))
	l.expect(200, "running", "POST", postgres+"/start", "")
	l.expect(200, "", "POST", "/v1/shutdown", "")
	l.expect(200, "stopped", "GET", postgres, "")
	l.expect(409, "", "POST", postgres+"/start", "")
	l.expect(409, "", "PUT", "/v1/processes/other", l.definition("sleep", "60"))
}

func TestOthersAreKeptOut(t *testing.T) {
	for name, ctx := range map[string]context.Context{
		"another user": context.WithValue(t.Context(), peerKey{}, os.Getuid()+4321),
		"no socket":    t.Context(),
	} {
		recorder := httptest.NewRecorder()
		request := httptest.NewRequest("GET", "/v1/lab", nil).WithContext(ctx)
		(&Server{}).Handler().ServeHTTP(recorder, request)
		if recorder.Code != http.StatusForbidden {
			t.Errorf("%s: got %d", name, recorder.Code)
		}
	}
}
