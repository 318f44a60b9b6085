// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package agent is the lab's node: it runs the pods that a cluster binds to it as local processes.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
)

const (
	// apiTimeout bounds each call, so that a frozen API costs seconds and not the life of the agent.
	apiTimeout = 5 * time.Second
	// shutdownGrace bounds the grace time of pods when the agent itself ends.
	shutdownGrace = 2 * time.Second
)

// Options is what an agent is told at its start.
type Options struct {
	Node     string
	Address  string
	PodBase  string
	State    string
	Resolver string
	Programs Programs
}

// Agent is one node of a cluster.
type Agent struct {
	options  Options
	client   kubernetes.Interface
	recorder record.EventRecorder
	log      *slog.Logger
	spawner  *spawner
	podsFile *podsFile

	configuration *configuration

	ending atomic.Bool

	mu        sync.Mutex
	addresses *addresses
	runs      map[types.UID]*podRun
	waiting   map[types.UID]*corev1.Pod // for an address
}

// New prepares an agent; client's calls must not be throttled, or rollouts are measured by the throttle.
func New(options Options, client kubernetes.Interface, recorder record.EventRecorder, log *slog.Logger) (*Agent, error) {
	addresses, err := newAddresses(options.PodBase)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(options.Address); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("address is %q, expected one of the loopback network: logs are served without asking who reads them", options.Address)
	}
	a := &Agent{
		options: options, client: client, recorder: recorder, log: log, spawner: newSpawner(),
		addresses: addresses, runs: map[types.UID]*podRun{}, waiting: map[types.UID]*corev1.Pod{},
	}
	a.configuration = newConfiguration(client)
	a.podsFile = newPodsFile(filepath.Join(options.State, "pods.json"), a.list)
	return a, nil
}

// Run serves as a node until ctx ends, then ends all pods' processes. The pods stay bound: the next agent with the
// same name starts them again.
func (a *Agent) Run(ctx context.Context) error {
	if err := os.MkdirAll(a.podsFolder(), 0o755); err != nil {
		return err
	}
	served, err := a.serveLogs(ctx)
	if err != nil {
		return err
	}
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		a.podsFile.keep(ctx)
	}()
	a.podsFile.changed()
	if a.register(ctx) {
		go a.beat(ctx)
		a.configuration.follow(ctx, a.log)
		a.follow(ctx)
	}
	a.stopAll()
	<-kept
	return <-served
}

// follow keeps the pods of this node as the API has them.
func (a *Agent) follow(ctx context.Context) {
	pods := a.client.CoreV1().Pods("")
	f := &follower[*corev1.Pod]{
		what: "Pods", selector: fields.OneTermEqualSelector("spec.nodeName", a.options.Node).String(), open: pods.Watch,
		list: func(ctx context.Context, options metav1.ListOptions) ([]*corev1.Pod, string, error) {
			list, err := pods.List(ctx, options)
			if err != nil {
				return nil, "", err
			}
			return pointers(list.Items), list.ResourceVersion, nil
		},
		listed: a.takeOver, lost: func() {},
		changed: func(kind watch.EventType, pod *corev1.Pod) {
			if kind == watch.Deleted {
				a.gone(pod)
			} else {
				a.seen(pod)
			}
		},
	}
	f.run(ctx, a.log)
}

// takeOver brings the node to the whole list; what is not in it any more is ended.
func (a *Agent) takeOver(pods []*corev1.Pod) {
	// Pods that have an address get it again before new ones can take it.
	slices.SortStableFunc(pods, func(x, y *corev1.Pod) int { return strings.Compare(y.Status.PodIP, x.Status.PodIP) })
	listed := map[types.UID]bool{}
	for _, pod := range pods {
		listed[pod.UID] = true
		a.seen(pod)
	}
	a.forget(listed)
}

// forget ends the pods that are not listed and removes the folders that none of the others owns.
func (a *Agent) forget(listed map[types.UID]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	owned := map[string]bool{}
	for uid, run := range a.runs {
		owned[run.folder] = true
		if !listed[uid] {
			run.terminate(0)
		}
	}
	maps.DeleteFunc(a.waiting, func(uid types.UID, _ *corev1.Pod) bool { return !listed[uid] })
	folders, err := filepath.Glob(filepath.Join(a.podsFolder(), "*"))
	if err != nil {
		return
	}
	for _, folder := range folders {
		if !owned[folder] {
			a.clear(folder)
		}
	}
}

// seen brings one pod to what the API says of it.
func (a *Agent) seen(pod *corev1.Pod) {
	if pod.Spec.NodeName != a.options.Node {
		return
	}
	run := a.lookUp(pod)
	ending := pod.DeletionTimestamp != nil
	switch {
	case run == nil && ending:
		go a.remove(context.Background(), pod)
	case run == nil && !over(pod):
		a.begin(pod)
	case run != nil && ending:
		run.terminate(grace(pod))
		a.removeAfter(run, pod)
	case run != nil:
		run.hear(&pod.Status)
	}
}

// lookUp returns the pod's run, nil if it has none. What is known of a pod that waits is out of date by now.
func (a *Agent) lookUp(pod *corev1.Pod) *podRun {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, pod.UID)
	return a.runs[pod.UID]
}

func over(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func (a *Agent) begin(pod *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.start(pod)
}

// start lends the pod an address and runs it; the caller holds the mutex.
func (a *Agent) start(pod *corev1.Pod) {
	ip, err := a.addresses.take(pod.Status.PodIP)
	if err != nil {
		a.log.Error("pod not started yet", "pod", pod.Name, "reason", err)
		a.waiting[pod.UID] = pod
		return
	}
	run := newPodRun(a, pod, ip)
	a.runs[pod.UID] = run
	go func() {
		run.run()
		// The next agent shows the log of this one's last run as the previous one.
		if !a.ending.Load() {
			a.clear(run.folder)
		}
		a.release(run)
		a.podsFile.changed()
	}()
}

// release forgets a run that has ended and gives its address to a pod that waits for one.
func (a *Agent) release(run *podRun) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.runs, run.pod.UID)
	a.addresses.free(run.ip)
	for uid, pod := range a.waiting {
		if !a.ending.Load() {
			delete(a.waiting, uid)
			a.start(pod)
		}
		return
	}
}

// removeAfter makes the API forget the pod once its processes have ended; one waiter per pod is enough.
func (a *Agent) removeAfter(run *podRun, pod *corev1.Pod) {
	run.removal.Do(func() {
		go func() {
			<-run.done
			a.remove(context.Background(), pod)
		}()
	})
}

// gone ends a pod that was deleted by force: nobody waits for its grace time.
func (a *Agent) gone(pod *corev1.Pod) {
	if run := a.lookUp(pod); run != nil {
		run.terminate(0)
	}
}

func (a *Agent) podsFolder() string { return filepath.Join(a.options.State, "pods") }

func (a *Agent) clear(folder string) {
	if err := os.RemoveAll(folder); err != nil {
		a.log.Warn("folder not removed", "folder", folder, "reason", err)
	}
}

func (a *Agent) stopAll() {
	a.ending.Store(true)
	a.mu.Lock()
	runs := make([]*podRun, 0, len(a.runs))
	for _, run := range a.runs {
		runs = append(runs, run)
	}
	a.mu.Unlock()
	for _, run := range runs {
		run.terminate(min(grace(run.pod), shutdownGrace))
	}
	for _, run := range runs {
		<-run.done
	}
}
