// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
	testcore "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
)

// lab is an agent on a cluster that is only remembered.
type lab struct {
	*testing.T
	agent  *Agent
	client *fake.Clientset
	stop   func()
}

func startLab(t *testing.T, state string, client *fake.Clientset) *lab {
	t.Helper()
	recorder := record.NewFakeRecorder(1000)
	agent, err := New(Options{
		Node: "node", Address: "127.250.0.4", PodBase: "127.250.100", State: state, Resolver: "127.250.0.53:5353",
		Programs: Programs{"shell": "/bin/sh"},
	}, client, recorder, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	l := &lab{T: t, agent: agent, client: client, stop: func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil
	}}
	t.Cleanup(l.stop)
	// The remembered cluster tells a watch nothing of what was before it.
	l.until("the agent watches", func() bool {
		watched := map[string]bool{}
		for _, action := range client.Actions() {
			if action.GetVerb() == "watch" {
				watched[action.GetResource().Resource] = true
			}
		}
		return len(watched) == 3
	})
	return l
}

func (l *lab) until(what string, holds func() bool) {
	l.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	l.Fatalf("not within 10 s: %s", what)
}

func (l *lab) run(name, script string, change func(*corev1.Pod)) {
	l.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "production", UID: types.UID(name), Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{NodeName: "node", RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{{
			Name: "c", Image: "shell:1", Args: []string{"-c", script},
		}}},
	}
	if change != nil {
		change(pod)
	}
	if _, err := l.client.CoreV1().Pods("production").Create(l.Context(), pod, metav1.CreateOptions{}); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) pod(name string) *corev1.Pod {
	pod, err := l.client.CoreV1().Pods("production").Get(l.Context(), name, metav1.GetOptions{})
	if err != nil {
		return &corev1.Pod{}
	}
	return pod
}

func (l *lab) container(name string) corev1.ContainerStatus {
	if list := l.pod(name).Status.ContainerStatuses; len(list) > 0 {
		return list[0]
	}
	return corev1.ContainerStatus{}
}

func (l *lab) ready(name string) bool {
	for _, condition := range l.pod(name).Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (l *lab) waits(name string) string {
	if waiting := l.container(name).State.Waiting; waiting != nil {
		return waiting.Reason
	}
	return ""
}

func (l *lab) log(name, query string) string {
	recorder := httptest.NewRecorder()
	path := fmt.Sprintf("/containerLogs/production/%s/c?%s", name, query)
	l.agent.kubeletHandler().ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
	return recorder.Body.String()
}

func (l *lab) delete(name string, grace int64) {
	l.Helper()
	pod := l.pod(name)
	now := metav1.Now()
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &now, &grace
	if _, err := l.client.CoreV1().Pods("production").Update(l.Context(), pod, metav1.UpdateOptions{}); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) gone(name string) bool {
	_, err := l.client.CoreV1().Pods("production").Get(l.Context(), name, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

func (l *lab) pid(name string) int {
	l.Helper()
	var pid int
	if _, err := fmt.Sscanf(l.container(name).ContainerID, "process://%d", &pid); err != nil {
		l.Fatal(err)
	}
	return pid
}

// alive does not count what has ended and waits to be reaped by whoever adopts orphans here.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestNodeIsRegisteredWithItsLease(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	node, err := l.client.CoreV1().Nodes().Get(t.Context(), "node", metav1.GetOptions{})
	if err != nil || node.Status.DaemonEndpoints.KubeletEndpoint.Port != kubeletPort {
		t.Fatalf("node %+v, %v", node, err)
	}
	lease, err := l.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(t.Context(), "node", metav1.GetOptions{})
	if err != nil || *lease.Spec.HolderIdentity != "node" || time.Since(lease.Spec.RenewTime.Time) > time.Minute {
		t.Fatalf("lease %+v, %v", lease, err)
	}
}

func TestAPodRunsAndEndsGracefully(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	l.run("web", "trap 'echo asked; exit 0' TERM; echo on $POD_IP; while true; do sleep 0.02; done", nil)
	l.until("the pod is ready", func() bool { return l.ready("web") })
	pod := l.pod("web")
	if pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP != "127.250.100.1" || pod.Status.HostIP != "127.250.0.4" {
		t.Fatalf("status %+v", pod.Status)
	}
	l.until("the log is there", func() bool { return l.log("web", "tailLines=1") == "on 127.250.100.1\n" })
	l.until("the pod is listed for faults", func() bool {
		text, err := os.ReadFile(filepath.Join(l.agent.options.State, "pods.json"))
		return err == nil && strings.Contains(string(text), fmt.Sprintf(`"pid": %d`, l.pid("web")))
	})
	pid := l.pid("web")
	l.delete("web", 5)
	l.until("the pod is gone", func() bool { return l.gone("web") })
	if alive(pid) {
		t.Fatal("its process lives on")
	}
}

func TestAStubbornPodIsKilledAfterItsGraceTime(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	l.run("stubborn", "trap '' TERM; echo up; while true; do sleep 0.05; done", nil)
	l.until("it ignores SIGTERM", func() bool { return l.log("stubborn", "") == "up\n" && l.ready("stubborn") })
	began := time.Now()
	l.delete("stubborn", 1)
	l.until("the pod is gone", func() bool { return l.gone("stubborn") })
	if took := time.Since(began); took < time.Second || took > 3*time.Second {
		t.Fatalf("took %s", took)
	}
}

func TestACrashLoopBacksOffAndKeepsTheLogBefore(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	l.run("crash", `n=$(cat n 2>/dev/null || echo 0); echo run $n; echo $((n + 1)) > n; exit 3`, nil)
	l.until("it crashed twice", func() bool { return l.container("crash").RestartCount == 1 && l.waits("crash") == "CrashLoopBackOff" })
	last := l.container("crash").LastTerminationState.Terminated
	if last == nil || last.ExitCode != 3 || l.pod("crash").Status.Phase != corev1.PodRunning {
		t.Fatalf("status %+v", l.pod("crash").Status)
	}
	if now, before := l.log("crash", ""), l.log("crash", "previous=true"); now != "run 1\n" || before != "run 0\n" {
		t.Fatalf("logs %q, before %q", now, before)
	}
}

func TestWhatCannotStartSaysWhyAndIsTriedAgain(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	l.run("image", "true", func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "other:1" })
	l.run("config", "echo $P; sleep 60", func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "P", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "later"}, Key: "p"}}}}
	})
	l.until("the image is unknown", func() bool { return l.waits("image") == "ErrImagePull" })
	l.until("the Secret is missing", func() bool { return l.waits("config") == "CreateContainerConfigError" })
	if phase := l.pod("config").Status.Phase; phase != corev1.PodPending {
		t.Fatalf("phase %s", phase)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "later", Namespace: "production"}, Data: map[string][]byte{"p": []byte("now")}}
	if _, err := l.client.CoreV1().Secrets("production").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	l.until("it runs with the Secret", func() bool { return l.log("config", "") == "now\n" })
}

func TestProbesDecideOnReadinessAndRestarts(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	probe := func(file string) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: corev1.ProbeHandler{
			Exec: &corev1.ExecAction{Command: []string{"/bin/sh", "-c", "test -e " + file}}}}
	}
	l.run("probed", "touch alive; sleep 0.3; touch ready; sleep 0.5; rm alive; sleep 60", func(pod *corev1.Pod) {
		pod.Spec.Containers[0].ReadinessProbe, pod.Spec.Containers[0].LivenessProbe = probe("ready"), probe("alive")
	})
	l.until("it is running but not ready", func() bool { return l.container("probed").State.Running != nil && !l.ready("probed") })
	l.until("it is ready", func() bool { return l.ready("probed") })
	l.until("it was restarted", func() bool { return l.container("probed").RestartCount == 1 })
	if last := l.container("probed").LastTerminationState.Terminated; last == nil || last.ExitCode == 0 {
		t.Fatalf("last state %+v", last)
	}
}

func TestTCPProbeByPortName(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	l.run("closed", "sleep 60", func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
		pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
			TCPSocket: &corev1.TCPSocketAction{Host: "127.250.0.4", Port: intstr.FromString("http")}}}
	})
	l.run("open", "sleep 60", func(pod *corev1.Pod) {
		pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
			TCPSocket: &corev1.TCPSocketAction{Host: "127.250.0.4", Port: intstr.FromInt32(kubeletPort)}}}
	})
	l.until("the open port makes it ready", func() bool { return l.ready("open") })
	l.until("the other one runs", func() bool { return l.container("closed").State.Running != nil })
	if l.ready("closed") {
		t.Fatal("ready without an open port")
	}
}

func TestInitContainersComeFirstAndPodsComplete(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	job := func(initial string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Spec.RestartPolicy = corev1.RestartPolicyNever
			pod.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "shell", Args: []string{"-c", initial}}}
		}
	}
	l.run("good", "cat made", job("echo made > made"))
	l.run("bad", "true", job("exit 1"))
	l.until("one succeeds", func() bool { return l.pod("good").Status.Phase == corev1.PodSucceeded })
	l.until("one fails", func() bool { return l.pod("bad").Status.Phase == corev1.PodFailed })
	if text := l.log("good", ""); text != "made\n" {
		t.Fatalf("log %q", text)
	}
}

func TestTheNextAgentGoesOn(t *testing.T) {
	state, client := t.TempDir(), fake.NewClientset()
	first := startLab(t, state, client)
	first.run("web", "echo hello; exec sleep 60", nil)
	first.until("the pod is ready and has spoken", func() bool { return first.ready("web") && first.log("web", "") != "" })
	pid := first.pid("web")
	first.stop()
	if alive(pid) {
		t.Fatal("the process outlives its agent")
	}
	client.ClearActions()
	second := startLab(t, state, client)
	second.until("the pod runs again", func() bool { return second.container("web").RestartCount == 1 && second.ready("web") })
	if again := second.pod("web").Status.PodIP; again != "127.250.100.1" {
		t.Fatalf("address %s", again)
	}
	if before := second.log("web", "previous=true"); before != "hello\n" {
		t.Fatalf("log before %q", before)
	}
}

func TestForcedDeletionKillsAtOnce(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	l.run("web", "trap '' TERM; while true; do sleep 0.05; done", nil)
	l.until("the pod is ready", func() bool { return l.ready("web") })
	pid := l.pid("web")
	if err := l.client.CoreV1().Pods("production").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	l.until("the process is gone", func() bool { return !alive(pid) })
}

func TestASetsidDescendantEndsWithItsContainer(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	l.run("web", "setsid sleep 60 & echo $!; exec sleep 60", nil)
	child := func(query string) (pid int) {
		_, _ = fmt.Sscanf(l.log("web", query), "%d", &pid)
		return pid
	}
	l.until("it has started another session", func() bool { return l.ready("web") && child("") != 0 })
	first := child("")
	if err := syscall.Kill(l.pid("web"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := 0
	l.until("it runs again and has started another", func() bool {
		second = child("")
		return l.container("web").RestartCount == 1 && l.ready("web") && second != 0 && second != first
	})
	if alive(first) || !alive(second) {
		t.Fatal("the restart left the first run's descendant, or took the second's")
	}
	l.delete("web", 1)
	l.until("the pod is gone", func() bool { return l.gone("web") })
	if alive(second) {
		t.Fatal("it lives on")
	}
}

// patches counts what the node has told of its pods.
func (l *lab) patches() (count int) {
	for _, action := range l.client.Actions() {
		if action.GetVerb() == "patch" && action.GetResource().Resource == "pods" {
			count++
		}
	}
	return count
}

func TestAPodThatTheControlPlaneMarkedUnreadyIsSaidToBeReady(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	l.run("web", "sleep 60", nil)
	l.until("the pod is ready", func() bool { return l.ready("web") })
	time.Sleep(200 * time.Millisecond)
	before := l.patches()
	pod := l.pod("web").DeepCopy()
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == corev1.PodReady {
			pod.Status.Conditions[i].Status, pod.Status.Conditions[i].Reason = corev1.ConditionFalse, "NodeStatusUnknown"
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: "example.org/other", Status: corev1.ConditionTrue})
	if _, err := l.client.CoreV1().Pods("production").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	l.until("the pod is ready again", func() bool { return l.ready("web") })
	time.Sleep(200 * time.Millisecond)
	if count := l.patches() - before; count != 1 {
		t.Errorf("%d patches", count)
	}
	conditions := l.pod("web").Status.Conditions
	if last := conditions[len(conditions)-1]; last.Type != "example.org/other" || last.Status != corev1.ConditionTrue {
		t.Errorf("another's condition is now %+v", last)
	}
	for _, condition := range conditions {
		if condition.Reason != "" {
			t.Errorf("%s keeps the reason %s", condition.Type, condition.Reason)
		}
	}
}

func TestAStatusThatIsFoundInvalidIsNotToldForEver(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("patch", "pods", func(testcore.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), "web", nil)
	})
	l := startLab(t, t.TempDir(), client)
	l.run("web", "sleep 60", nil)
	l.until("it is told", func() bool { return l.patches() > 0 })
	time.Sleep(5 * apiRetry)
	if count := l.patches(); count > 2 {
		t.Errorf("told %d times", count)
	}
}

func TestTheNextAgentRunsNothingTwiceThatItsPolicyDoesNot(t *testing.T) {
	state, client := t.TempDir(), fake.NewClientset()
	first := startLab(t, state, client)
	note := "echo x >> $POD_NAME.$C; "
	policy := func(policy corev1.RestartPolicy) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Spec.RestartPolicy = policy
			other := pod.Spec.Containers[0].DeepCopy()
			other.Name, other.Args[1] = "other", note+"sleep 60"
			pod.Spec.Containers = append(pod.Spec.Containers, *other)
			for i := range pod.Spec.Containers {
				pod.Spec.Containers[i].Env = []corev1.EnvVar{
					{Name: "POD_NAME", Value: pod.Name}, {Name: "C", Value: pod.Spec.Containers[i].Name},
				}
			}
		}
	}
	first.run("never", note, policy(corev1.RestartPolicyNever))
	first.run("failure", note, policy(corev1.RestartPolicyOnFailure))
	for _, name := range []string{"never", "failure"} {
		first.until(name+" has half completed", func() bool {
			list := first.pod(name).Status.ContainerStatuses
			return len(list) == 2 && list[0].State.Terminated != nil && list[1].State.Running != nil
		})
	}
	first.stop()
	client.ClearActions()
	second := startLab(t, state, client)
	second.until("the one has failed", func() bool { return second.pod("never").Status.Phase == corev1.PodFailed })
	second.until("the other goes on", func() bool {
		list := second.pod("failure").Status.ContainerStatuses
		return list[1].RestartCount == 1 && list[1].State.Running != nil && list[0].State.Terminated != nil && list[0].RestartCount == 0
	})
	ran := map[string]int{}
	files, _ := filepath.Glob(filepath.Join(state, "pods", "*", "*.*"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		ran[filepath.Base(file)] = strings.Count(string(text), "x\n")
	}
	for file, wanted := range map[string]int{"never.c": 1, "never.other": 1, "failure.c": 1, "failure.other": 2} {
		if ran[file] != wanted {
			t.Errorf("%s ran %d times, wanted %d", file, ran[file], wanted)
		}
	}
}

func TestAPodWithoutAFreeAddressIsStartedWhenThereIsOne(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	l.run("first", "sleep 60", nil)
	l.until("it runs", func() bool { return l.ready("first") })
	l.agent.mu.Lock()
	for index := range thirdNumbers * fourthNumbers {
		l.agent.addresses.taken[l.agent.addresses.at(index)] = true
	}
	l.agent.mu.Unlock()
	waiting := func() int {
		l.agent.mu.Lock()
		defer l.agent.mu.Unlock()
		return len(l.agent.waiting)
	}
	l.run("second", "sleep 60", nil)
	l.run("given up", "sleep 60", nil)
	l.until("two wait", func() bool { return waiting() == 2 })
	if err := l.client.CoreV1().Pods("production").Delete(t.Context(), "given up", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	l.until("one waits", func() bool { return waiting() == 1 })
	l.delete("first", 0)
	l.until("the other has its address", func() bool { return l.ready("second") && l.pod("second").Status.PodIP == "127.250.100.1" })
}

func TestAFailedStartupProbeIsNamed(t *testing.T) {
	l := startLab(t, t.TempDir(), fake.NewClientset())
	began := time.Now()
	l.run("web", "sleep 60", func(pod *corev1.Pod) {
		pod.Spec.Containers[0].StartupProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: corev1.ProbeHandler{
			Exec: &corev1.ExecAction{Command: []string{"/bin/false"}}}}
	})
	for {
		select {
		case event := <-l.agent.recorder.(*record.FakeRecorder).Events:
			if !strings.Contains(event, "Killing") {
				continue
			}
			if !strings.Contains(event, "failed its startup probe") || time.Since(began) < time.Second {
				t.Errorf("after %s: %s", time.Since(began), event)
			}
			return
		case <-time.After(10 * time.Second):
			t.Fatal("it was not given up")
		}
	}
}

func TestTheNodeSaysWhyItIsNotRegistered(t *testing.T) {
	client := fake.NewClientset()
	reasons := []string{"first", "first", "first", "second", ""}
	client.PrependReactor("create", "nodes", func(testcore.Action) (bool, runtime.Object, error) {
		reason := reasons[0]
		reasons = reasons[1:]
		return reason != "", nil, errors.New(reason)
	})
	var said bytes.Buffer
	agent, err := New(Options{Node: "node", Address: "127.250.0.4", PodBase: "127.250.100"}, client, nil, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	agent.register(t.Context())
	if text := said.String(); strings.Count(text, "reason=first") != 1 || strings.Count(text, "reason=second") != 1 {
		t.Errorf("said %s", text)
	}
}
