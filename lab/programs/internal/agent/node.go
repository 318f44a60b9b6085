// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"encoding/json"
	"runtime"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

const (
	heartbeat    = 10 * time.Second
	leaseSeconds = 40
	kubeletPort  = 10250
)

// ClientConfig tunes a connection for a node: compact bodies, no throttle.
func ClientConfig(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.UserAgent = "lab-node-agent"
	return config
}

// register makes the node known, waiting for the API as long as it takes; false when ctx ended before.
func (a *Agent) register(ctx context.Context) bool {
	said := ""
	for ctx.Err() == nil {
		err := a.tryRegister(ctx)
		if err == nil {
			a.log.Info("registered", "node", a.options.Node)
			return true
		}
		if why := err.Error(); why != said {
			a.log.Warn("not registered yet", "node", a.options.Node, "reason", why)
			said = why
		}
		pause(ctx, watchRetry)
	}
	return false
}

func (a *Agent) tryRegister(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	_, err := a.client.CoreV1().Nodes().Create(ctx, a.node(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := a.renewLease(ctx); err != nil {
		return err
	}
	return a.patchNode(ctx)
}

// node describes a machine that is large enough never to be the reason why a pod waits.
func (a *Agent) node() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: a.options.Node, Labels: map[string]string{
			corev1.LabelHostname: a.options.Node, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
		}},
		Status: a.nodeStatus(nil),
	}
}

func (a *Agent) nodeStatus(before []corev1.NodeCondition) corev1.NodeStatus {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100"), corev1.ResourceMemory: resource.MustParse("64Gi"),
		corev1.ResourcePods: resource.MustParse("500"), corev1.ResourceEphemeralStorage: resource.MustParse("64Gi"),
	}
	return corev1.NodeStatus{
		Capacity: room, Allocatable: room, Conditions: nodeConditions(before, metav1.NewTime(time.Now())),
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: a.options.Address}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
		NodeInfo: corev1.NodeSystemInfo{
			OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH, OSImage: "local processes",
			ContainerRuntimeVersion: "process://1", KubeletVersion: "v1.35.4",
		},
	}
}

// nodeConditions keep their times of transition while their status stays what it was before.
func nodeConditions(before []corev1.NodeCondition, now metav1.Time) []corev1.NodeCondition {
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		wanted := corev1.NodeCondition{
			Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now,
		}
		for i := range before {
			if before[i].Type == kind && before[i].Status == status {
				wanted.LastTransitionTime = before[i].LastTransitionTime
			}
		}
		return wanted
	}
	return []corev1.NodeCondition{
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
		condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
	}
}

// beat keeps lease and status fresh; a node that the API has lost is registered again.
func (a *Agent) beat(ctx context.Context) {
	for {
		pause(ctx, heartbeat)
		if ctx.Err() != nil {
			return
		}
		if err := a.tryBeat(ctx); err != nil {
			a.log.Warn("heartbeat not taken", "reason", err)
			a.register(ctx)
		}
	}
}

func (a *Agent) tryBeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if err := a.renewLease(ctx); err != nil {
		return err
	}
	return a.patchNode(ctx)
}

func (a *Agent) renewLease(ctx context.Context) error {
	leases := a.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now, lasts := metav1.NewMicroTime(time.Now()), int32(leaseSeconds)
	spec := coordinationv1.LeaseSpec{HolderIdentity: &a.options.Node, LeaseDurationSeconds: &lasts, RenewTime: &now}
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return err
	}
	_, err = leases.Patch(ctx, a.options.Node, types.MergePatchType, patch, metav1.PatchOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: a.options.Node}, Spec: spec}
	_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	return err
}

// patchNode says the whole status again: an agent that was away finds its node marked as lost.
func (a *Agent) patchNode(ctx context.Context) error {
	nodes := a.client.CoreV1().Nodes()
	known, err := nodes.Get(ctx, a.options.Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"status": a.nodeStatus(known.Status.Conditions)})
	if err != nil {
		return err
	}
	_, err = nodes.Patch(ctx, a.options.Node, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
