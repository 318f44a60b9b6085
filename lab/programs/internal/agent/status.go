// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podStatus is what the node tells the API of a pod. It is computed from the containers alone, so that it can be told
// again after any loss. before is what was told last; conditions keep its times while their status stays.
func podStatus(before *corev1.PodStatus, run *podRun, now time.Time) corev1.PodStatus {
	status := corev1.PodStatus{
		Phase:             phase(run),
		HostIP:            run.agent.options.Address,
		HostIPs:           []corev1.HostIP{{IP: run.agent.options.Address}},
		PodIP:             run.ip,
		PodIPs:            []corev1.PodIP{{IP: run.ip}},
		StartTime:         &metav1.Time{Time: run.startedAt},
		QOSClass:          before.QOSClass,
		ContainerStatuses: statuses(run.mains), InitContainerStatuses: statuses(run.inits),
	}
	status.Conditions = conditions(before.Conditions, &status, run, metav1.NewTime(now))
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

func conditions(
	before []corev1.PodCondition, status *corev1.PodStatus, run *podRun, now metav1.Time,
) []corev1.PodCondition {
	initialized := run.condition(corev1.PodInitialized, unready(run.inits), "ContainersNotInitialized")
	ready := run.condition(corev1.ContainersReady, unready(run.mains), "ContainersNotReady")
	if status.Phase == corev1.PodSucceeded || status.Phase == corev1.PodFailed {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "PodCompleted", ""
	}
	pod := ready
	pod.Type = corev1.PodReady
	scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}
	network := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue}
	list := []corev1.PodCondition{scheduled, network, initialized, ready, pod}
	for i := range list {
		list[i].LastTransitionTime = transition(before, &list[i], now)
	}
	return list
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

func transition(before []corev1.PodCondition, condition *corev1.PodCondition, now metav1.Time) metav1.Time {
	for i := range before {
		if before[i].Type == condition.Type && before[i].Status == condition.Status {
			return before[i].LastTransitionTime
		}
	}
	return now
}
