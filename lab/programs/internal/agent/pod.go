// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	supervised "platform.recovery/lab/internal/process"
)

// apiRetry is how soon a call that the API did not answer is made again.
const apiRetry = 100 * time.Millisecond

// settleTime bounds how long news of a start waits for news of readiness.
const settleTime = 100 * time.Millisecond

// podRun is one pod on this node, from its first sight to the end of its processes.
type podRun struct {
	agent     *Agent
	pod       *corev1.Pod
	ip        string
	folder    string
	startedAt time.Time

	// ctx ends when the pod is told to end.
	ctx  context.Context
	end  context.CancelFunc
	news chan struct{}
	done chan struct{}

	removal sync.Once

	mu    sync.Mutex
	inits []*container
	mains []*container
	told  *corev1.PodStatus // what the API has, as far as this node knows
}

func newPodRun(agent *Agent, pod *corev1.Pod, ip string) *podRun {
	ctx, end := context.WithCancel(context.Background())
	run := &podRun{
		agent: agent, pod: pod, ip: ip, startedAt: time.Now(), ctx: ctx, end: end,
		folder: filepath.Join(agent.podsFolder(), pod.Namespace+"_"+pod.Name+"_"+string(pod.UID)),
		news:   make(chan struct{}, 1), done: make(chan struct{}), told: &pod.Status,
	}
	if pod.Status.StartTime != nil {
		run.startedAt = pod.Status.StartTime.Time
	}
	for i := range pod.Spec.InitContainers {
		run.inits = append(run.inits, newContainer(run, &pod.Spec.InitContainers[i], true, pod.Status.InitContainerStatuses))
	}
	for i := range pod.Spec.Containers {
		run.mains = append(run.mains, newContainer(run, &pod.Spec.Containers[i], false, pod.Status.ContainerStatuses))
	}
	return run
}

// run returns when the pod was told to end and none of its processes is left.
func (run *podRun) run() {
	defer close(run.done)
	if err := os.MkdirAll(run.folder, 0o755); err != nil {
		run.event(corev1.EventTypeWarning, "Failed", err.Error())
	}
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		run.report()
	}()
	if run.initialize() {
		run.runMains()
	}
	<-run.ctx.Done()
	<-reported
}

// initialize runs the init containers one after the other.
func (run *podRun) initialize() bool {
	for _, c := range run.inits {
		if !c.run(run.ctx) {
			return false
		}
	}
	return true
}

func (run *podRun) runMains() {
	var group sync.WaitGroup
	for _, c := range run.mains {
		group.Go(func() { c.run(run.ctx) })
	}
	group.Wait()
}

// terminate asks the processes to end and kills them after the grace time. A later call can only shorten it.
func (run *podRun) terminate(grace time.Duration) {
	first := run.ctx.Err() == nil
	run.end()
	run.mu.Lock()
	defer run.mu.Unlock()
	for _, c := range run.all() {
		process := c.process
		if process == nil {
			continue
		}
		if grace <= 0 {
			process.kill()
			continue
		}
		if first {
			run.event(corev1.EventTypeNormal, "Killing", "Stopping container "+c.spec.Name)
			process.terminate()
		}
		time.AfterFunc(grace, process.kill)
	}
}

func (run *podRun) all() []*container { return slices.Concat(run.inits, run.mains) }

// given is what every container finds in its environment.
func (run *podRun) given() [][2]string {
	return [][2]string{
		{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		{"HOME", run.folder},
		{"HOSTNAME", run.pod.Name},
		{"POD_IP", run.ip},
		{"LAB_RESOLVER", run.agent.options.Resolver},
		// Orphans of a pod whose agent was killed end with the agent's own.
		{supervised.TagVariable, os.Getenv(supervised.TagVariable)},
	}
}

// changed wakes the reporter; it never waits.
func (run *podRun) changed() {
	select {
	case run.news <- struct{}{}:
	default:
	}
}

func (run *podRun) event(kind, reason, message string) {
	run.agent.recorder.Event(run.pod, kind, reason, message)
}

// hear takes what the API has now. Others write there too: the control plane marks the pods of a silent node unready,
// and leaves it to the node to say when they are not.
func (run *podRun) hear(status *corev1.PodStatus) {
	run.mu.Lock()
	run.told = status
	run.mu.Unlock()
	run.changed()
}

// report tells the API whatever it has wrong until the pod is told to end: from then on only its disappearance counts.
func (run *podRun) report() {
	for {
		select {
		case <-run.ctx.Done():
			return
		case <-run.news:
		}
		run.agent.podsFile.changed()
		run.settle()
		run.mu.Lock()
		told := run.told
		status := podStatus(told, run, time.Now())
		run.mu.Unlock()
		if !run.send(told, status) {
			run.changed()
			pause(run.ctx, apiRetry)
			continue
		}
		run.mu.Lock()
		// What was heard meanwhile may be newer than the answer; it has woken this reporter again.
		if run.told == told {
			run.told = status
		}
		run.mu.Unlock()
	}
}

// settle waits a little while a container that was just started has a readiness probe to pass: most pass it within
// milliseconds, and one call to a busy API is sooner there than two.
func (run *podRun) settle() {
	deadline := time.NewTimer(settleTime)
	defer deadline.Stop()
	for run.starting() {
		select {
		case <-run.news:
		case <-deadline.C:
			return
		case <-run.ctx.Done():
			return
		}
	}
}

// starting tells whether only readiness is missing, and so recently that it may come any moment.
func (run *podRun) starting() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	starting := false
	for _, c := range run.mains {
		if c.process == nil {
			return false
		}
		starting = starting || !c.status.Ready && time.Since(c.process.startedAt) < settleTime
	}
	return starting
}

// send makes the API's status the wanted one by a patch of what differs. It tells whether the patch was needless, was
// taken or never will be, because the pod is gone or the API finds it wrong.
func (run *podRun) send(told, wanted *corev1.PodStatus) bool {
	patch, err := statusPatch(run.pod.UID, told, wanted)
	if err != nil {
		run.agent.log.Error("status does not encode", "pod", run.pod.Name, "reason", err)
		return true
	}
	if patch == nil {
		return true
	}
	pods := run.agent.client.CoreV1().Pods(run.pod.Namespace)
	ctx, cancel := context.WithTimeout(run.ctx, apiTimeout)
	defer cancel()
	_, err = pods.Patch(ctx, run.pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return true
	}
	if run.ctx.Err() == nil {
		run.agent.log.Warn("status not taken", "pod", run.pod.Name, "reason", err)
	}
	return apierrors.IsInvalid(err)
}

// statusPatch is nil if there is no difference. It is of this pod only, not of one that has taken its name.
func statusPatch(uid types.UID, told, wanted *corev1.PodStatus) ([]byte, error) {
	before, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(wanted)
	if err != nil {
		return nil, err
	}
	difference, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.PodStatus{})
	if err != nil || string(difference) == "{}" {
		return nil, err
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": json.RawMessage(difference)})
}

// remove makes the API forget the pod, which it does only on a node's word that nothing of it is left.
func (a *Agent) remove(ctx context.Context, pod *corev1.Pod) {
	now := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, apiTimeout)
		err := a.client.CoreV1().Pods(pod.Namespace).Delete(call, pod.Name, options)
		cancel()
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		a.log.Warn("pod not removed", "pod", pod.Name, "reason", err)
		pause(ctx, apiRetry)
	}
}
