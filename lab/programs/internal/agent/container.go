// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	supervised "platform.recovery/lab/internal/process"
)

// containerVariable marks all that a container starts, whatever group or session it makes for itself.
const containerVariable = "LAB_CONTAINER"

// configRetry is how soon a container with a missing ConfigMap or Secret looks for it again.
const configRetry = 500 * time.Millisecond

// startError is why a container could not be started, in the words of a real node.
type startError struct {
	reason string
	err    error
}

func (e *startError) Error() string { return e.err.Error() }

// container runs one container of a pod again and again, as its restart policy says. Its fields from status on are
// guarded by the pod's mutex.
type container struct {
	pod    *podRun
	spec   *corev1.Container
	isInit bool

	status   corev1.ContainerStatus
	process  *process
	env      *environment
	finished bool
	// failing says that the container is being ended because a probe has given it up.
	failing bool
}

func newContainer(pod *podRun, spec *corev1.Container, isInit bool, before []corev1.ContainerStatus) *container {
	c := &container{pod: pod, spec: spec, isInit: isInit, status: corev1.ContainerStatus{
		Name: spec.Name, Image: spec.Image, Started: new(bool), State: waiting("ContainerCreating", ""),
	}}
	for i := range before {
		if before[i].Name == spec.Name {
			c.inherit(&before[i])
		}
	}
	return c
}

// inherit counts on from what an agent before this one has reported: its processes died with it. What the policy does
// not run again has ended for good.
func (c *container) inherit(before *corev1.ContainerStatus) {
	c.status.RestartCount, c.status.LastTerminationState = before.RestartCount, before.LastTerminationState
	ended := before.State.Terminated
	if running := before.State.Running; running != nil {
		ended = &corev1.ContainerStateTerminated{
			ExitCode: 137, Signal: 9, Reason: "Error", Message: "the node agent ended", ContainerID: before.ContainerID,
			StartedAt: running.StartedAt, FinishedAt: metav1.Now(),
		}
	}
	state := corev1.ContainerState{Terminated: ended}
	switch {
	case ended == nil: // it waited
	case c.restarts(ended.ExitCode):
		c.status.RestartCount++
		c.status.LastTerminationState = state
	default:
		c.status.ContainerID, c.status.State = before.ContainerID, state
		c.conclude(ended.ExitCode)
	}
}

// run returns when the container has ended for good or ctx has. It tells whether the last run was a success.
func (c *container) run(ctx context.Context) bool {
	if c.finished { // before this agent
		c.pod.changed()
		return c.status.State.Terminated.ExitCode == 0
	}
	var restarts, pulls backoff
	for {
		process, err := c.start(ctx)
		if err != nil {
			if !c.await(ctx, c.retryDelay(err, &pulls)) {
				return false
			}
			continue
		}
		c.supervise(ctx, process)
		if ctx.Err() != nil {
			return false
		}
		if !c.restarts(process.code) {
			return c.finish(process.code)
		}
		if !c.awaitRestart(ctx, restarts.next(process.endedAt.Sub(process.startedAt))) {
			return false
		}
	}
}

func (c *container) retryDelay(err error, pulls *backoff) time.Duration {
	var problem *startError
	if errors.As(err, &problem) && problem.reason == "ErrImagePull" {
		return max(pulls.next(0), firstDelay)
	}
	return configRetry
}

// start resolves what the container asks for and starts its process.
func (c *container) start(ctx context.Context) (*process, error) {
	process, env, err := c.spawn(ctx)
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	defer c.pod.changed()
	if err != nil {
		c.refused(err)
		return nil, err
	}
	c.process, c.env, c.failing = process, env, false
	started := c.spec.StartupProbe == nil
	c.status.Started = &started
	c.status.Ready = started && c.spec.ReadinessProbe == nil
	c.status.ContainerID = fmt.Sprintf("process://%d", process.pid)
	c.status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(process.startedAt)}}
	// A pod that was told to end while this process was being started has sent its signals already.
	if ctx.Err() != nil {
		process.kill()
	}
	c.pod.event(corev1.EventTypeNormal, "Started", "Started container "+c.spec.Name)
	return process, nil
}

func (c *container) spawn(ctx context.Context) (*process, *environment, error) {
	program, err := c.pod.agent.options.Programs.find(c.spec.Image)
	if err != nil {
		return nil, nil, &startError{"ErrImagePull", err}
	}
	resolver := environmentResolver{c.pod.agent.configuration, c.pod.pod, c.pod.ip, c.pod.agent.options.Address}
	env, err := resolver.resolve(ctx, c.spec, append(c.pod.given(), [2]string{containerVariable, c.tag()}))
	if err != nil {
		return nil, nil, &startError{"CreateContainerConfigError", err}
	}
	argv, err := arguments(program, c.spec, env)
	if err != nil {
		return nil, nil, &startError{"RunContainerError", err}
	}
	log, err := openLog(c.pod.folder, c.spec.Name)
	if err != nil {
		return nil, nil, &startError{"RunContainerError", err}
	}
	process, err := c.pod.agent.spawner.start(argv, env.strings(), c.pod.folder, log)
	if err != nil {
		log.close()
		return nil, nil, &startError{"RunContainerError", err}
	}
	go func() {
		<-process.done
		log.close()
	}()
	return process, env, nil
}

// refused shows why the container waits; the caller holds the pod's mutex.
func (c *container) refused(err error) {
	reason := "RunContainerError"
	var problem *startError
	if errors.As(err, &problem) {
		reason = problem.reason
	}
	if now := c.status.State.Waiting; now == nil || now.Reason != reason || now.Message != err.Error() {
		c.pod.event(corev1.EventTypeWarning, "Failed", reason+": "+err.Error())
	}
	c.status.State = waiting(reason, err.Error())
}

// supervise probes the process until it has ended and shows how it ended.
func (c *container) supervise(ctx context.Context, process *process) {
	probing, stopProbing := context.WithCancel(ctx)
	c.startProbes(probing, process)
	<-process.done
	stopProbing()
	c.endDescendants()
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	defer c.pod.changed()
	c.process = nil
	c.status.Ready, c.status.Started = false, new(bool)
	c.status.State = corev1.ContainerState{Terminated: c.ended(process)}
}

// endDescendants ends what has left the process's group, as the end of a real container would: it may hold the port that
// the next run needs.
func (c *container) endDescendants() {
	if err := supervised.EndMarked(containerVariable, c.tag()); err != nil {
		c.pod.agent.log.Warn("container not ended", "pod", c.pod.pod.Name, "reason", err)
	}
}

func (c *container) tag() string { return string(c.pod.pod.UID) + "/" + c.spec.Name }

func (c *container) ended(process *process) *corev1.ContainerStateTerminated {
	reason := "Error"
	if process.code == 0 {
		reason = "Completed"
	}
	return &corev1.ContainerStateTerminated{
		ExitCode: process.code, Signal: process.signal, Reason: reason, ContainerID: c.status.ContainerID,
		StartedAt: metav1.NewTime(process.startedAt), FinishedAt: metav1.NewTime(process.endedAt),
	}
}

// restarts tells whether the policy starts the container again. A failed init container of a pod that restarts
// Always is tried again, a successful one never.
func (c *container) restarts(code int32) bool {
	switch c.pod.pod.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	}
	return !c.isInit || code != 0
}

func (c *container) finish(code int32) bool {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	c.conclude(code)
	c.pod.changed()
	return code == 0
}

// conclude leaves the container as it ended last.
func (c *container) conclude(code int32) {
	c.finished = true
	c.status.Ready = c.isInit && code == 0
}

// awaitRestart waits out the back-off and counts the restart.
func (c *container) awaitRestart(ctx context.Context, delay time.Duration) bool {
	c.pod.mu.Lock()
	c.status.LastTerminationState = c.status.State
	if delay > 0 {
		message := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", delay, c.spec.Name, c.pod.pod.Name)
		c.status.State = waiting("CrashLoopBackOff", message)
		c.pod.event(corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container "+c.spec.Name)
		c.pod.changed()
	}
	c.pod.mu.Unlock()
	if !c.await(ctx, delay) {
		return false
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	c.status.RestartCount++
	return true
}

func (c *container) await(ctx context.Context, delay time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(delay):
		return true
	}
}

// startProbes begins with the startup probe alone if there is one: until it succeeds the others have no say.
func (c *container) startProbes(ctx context.Context, current *process) {
	rest := func() {
		c.startProbe(ctx, "Readiness", c.spec.ReadinessProbe, func(healthy bool) { c.turnReady(current, healthy) })
		c.startProbe(ctx, "Liveness", c.spec.LivenessProbe, func(healthy bool) {
			if !healthy {
				c.fail(current, "liveness")
			}
		})
	}
	if c.spec.StartupProbe == nil {
		rest()
		return
	}
	c.startProbe(ctx, "Startup", c.spec.StartupProbe, func(healthy bool) {
		if !healthy {
			c.fail(current, "startup")
			return
		}
		c.turnStarted(current)
		rest()
	})
}

func (c *container) startProbe(ctx context.Context, kind string, probe *corev1.Probe, turned func(healthy bool)) {
	if probe == nil {
		return
	}
	p := &prober{
		probe: probe, check: c.checker(probe), fast: kind != "Liveness", once: kind == "Startup", turned: turned,
		failed: func(err error) {
			c.pod.event(corev1.EventTypeWarning, "Unhealthy", kind+" probe failed: "+err.Error())
		},
	}
	go p.run(ctx)
}

func (c *container) checker(probe *corev1.Probe) func(context.Context) error {
	switch {
	case probe.HTTPGet != nil:
		return func(ctx context.Context) error { return checkHTTP(ctx, probe.HTTPGet, c.spec, c.pod.ip) }
	case probe.TCPSocket != nil:
		return func(ctx context.Context) error { return checkTCP(ctx, probe.TCPSocket, c.spec, c.pod.ip) }
	case probe.Exec != nil:
		return func(ctx context.Context) error { return c.checkExec(ctx, probe.Exec.Command) }
	}
	return func(context.Context) error {
		return errors.New("a lab node probes by httpGet, tcpSocket and exec only")
	}
}

// checkExec runs a command with the container's environment; what it says is part of its failure.
func (c *container) checkExec(ctx context.Context, command []string) error {
	c.pod.mu.Lock()
	env := c.env
	c.pod.mu.Unlock()
	argv, err := arguments("", &corev1.Container{Command: command}, env)
	if err != nil {
		return err
	}
	said := &strings.Builder{}
	process, err := c.pod.agent.spawner.start(argv, env.strings(), c.pod.folder, said)
	if err != nil {
		return err
	}
	select {
	case <-process.done:
	case <-ctx.Done():
		process.kill()
		<-process.done
		return ctx.Err()
	}
	if process.code != 0 {
		return fmt.Errorf("command ended with %d: %.200s", process.code, strings.TrimSpace(said.String()))
	}
	return nil
}

func (c *container) turnStarted(process *process) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.process != process {
		return
	}
	started := true
	c.status.Started = &started
	c.status.Ready = c.spec.ReadinessProbe == nil
	c.pod.changed()
}

func (c *container) turnReady(process *process, healthy bool) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.process == process && c.status.Ready != healthy {
		c.status.Ready = healthy
		c.pod.changed()
	}
}

// fail ends a process that a probe has given up.
func (c *container) fail(process *process, probe string) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.process != process || c.failing {
		return
	}
	c.failing = true
	c.pod.event(corev1.EventTypeNormal, "Killing", "Container "+c.spec.Name+" failed its "+probe+" probe, will be restarted")
	go process.stop(grace(c.pod.pod))
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// grace is how long the pod's processes have between being asked to end and being killed.
func grace(pod *corev1.Pod) time.Duration {
	if given := pod.DeletionGracePeriodSeconds; given != nil {
		return time.Duration(*given) * time.Second
	}
	if given := pod.Spec.TerminationGracePeriodSeconds; given != nil {
		return time.Duration(*given) * time.Second
	}
	return 30 * time.Second
}
