// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podStatus is what the node tells the API of a pod. It is computed from the containers alone, so that it can be told
// again after any loss. told is what the API has: what is not the node's own in it stays, such as others' conditions.
func podStatus(told *corev1.PodStatus, run *podRun, now time.Time) *corev1.PodStatus {
	status := told.DeepCopy()
	status.Phase, status.Reason, status.Message = phase(run), "", ""
	status.HostIP, status.HostIPs = run.agent.options.Address, []corev1.HostIP{{IP: run.agent.options.Address}}
	status.PodIP, status.PodIPs = run.ip, []corev1.PodIP{{IP: run.ip}}
	status.StartTime = &metav1.Time{Time: run.startedAt}
	status.ContainerStatuses, status.InitContainerStatuses = statuses(run.mains), statuses(run.inits)
	for _, condition := range conditions(status.Phase, run) {
		status.Conditions = withCondition(status.Conditions, condition, metav1.NewTime(now))
	}
	return status
}

func statuses(containers []*container) []corev1.ContainerStatus {
	list := make([]corev1.ContainerStatus, len(containers))
	for i, c := range containers {
		c.status.DeepCopyInto(&list[i])
	}
	return list
}

// phase follows the rules of a real node: a pod runs as soon as every container has been started once, and has an
// outcome when all of them have ended for good.
func phase(run *podRun) corev1.PodPhase {
	for _, c := range run.inits {
		if c.finished && c.status.State.Terminated.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	ended, failed, begun := 0, 0, 0
	for _, c := range run.mains {
		if c.status.State.Waiting == nil || c.status.RestartCount > 0 || c.status.LastTerminationState.Terminated != nil {
			begun++
		}
		if c.finished {
			ended++
			if c.status.State.Terminated.ExitCode != 0 {
				failed++
			}
		}
	}
	switch {
	case ended == len(run.mains) && failed > 0:
		return corev1.PodFailed
	case ended == len(run.mains):
		return corev1.PodSucceeded
	case begun < len(run.mains):
		return corev1.PodPending
	}
	return corev1.PodRunning
}

func conditions(phase corev1.PodPhase, run *podRun) []corev1.PodCondition {
	initialized := run.condition(corev1.PodInitialized, unready(run.inits), "ContainersNotInitialized")
	ready := run.condition(corev1.ContainersReady, unready(run.mains), "ContainersNotReady")
	if phase == corev1.PodSucceeded || phase == corev1.PodFailed {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "PodCompleted", ""
	}
	pod := ready
	pod.Type = corev1.PodReady
	scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}
	network := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue}
	return []corev1.PodCondition{scheduled, network, initialized, ready, pod}
}

func (run *podRun) condition(kind corev1.PodConditionType, unready []string, reason string) corev1.PodCondition {
	if len(unready) == 0 {
		return corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue}
	}
	return corev1.PodCondition{
		Type: kind, Status: corev1.ConditionFalse, Reason: reason,
		Message: fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " ")),
	}
}

func unready(containers []*container) []string {
	var names []string
	for _, c := range containers {
		if !c.status.Ready {
			names = append(names, c.spec.Name)
		}
	}
	return names
}

// withCondition changes or adds one condition; its time of transition stays while its status does.
func withCondition(list []corev1.PodCondition, wanted corev1.PodCondition, now metav1.Time) []corev1.PodCondition {
	at := slices.IndexFunc(list, func(known corev1.PodCondition) bool { return known.Type == wanted.Type })
	if at < 0 {
		wanted.LastTransitionTime = now
		return append(list, wanted)
	}
	if list[at].Status != wanted.Status {
		list[at].LastTransitionTime = now
	}
	list[at].Status, list[at].Reason, list[at].Message = wanted.Status, wanted.Reason, wanted.Message
	return list
}
