// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package readypods

import (
	"context"
	"slices"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// cluster is the newest known picture of the services and pods; while the API server is away it stays as it was.
type cluster struct {
	services, pods cache.Store
	following      []*cache.Reflector
}

func newCluster(config *rest.Config, namespace string) (*cluster, error) {
	config.AcceptContentTypes, config.ContentType = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	api, err := client.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	made := emptyCluster()
	made.following = []*cache.Reflector{
		reflector(api, "services", namespace, &core.Service{}, made.services),
		reflector(api, "pods", namespace, &core.Pod{}, made.pods),
	}
	return made, nil
}

func emptyCluster() *cluster {
	return &cluster{services: cache.NewStore(cache.MetaNamespaceKeyFunc), pods: cache.NewStore(cache.MetaNamespaceKeyFunc)}
}

func reflector(api *client.CoreV1Client, resource, namespace string, kind runtime.Object, store cache.Store) *cache.Reflector {
	source := cache.NewListWatchFromClient(api.RESTClient(), resource, namespace, fields.Everything())
	return cache.NewReflectorWithOptions(source, kind, store, cache.ReflectorOptions{Name: resource, Clock: impatientClock{}})
}

// impatientClock keeps waits short: after an outage of the API server a reflector would otherwise stay away for up
// to half a minute, and the lab would measure that.
type impatientClock struct{ clock.RealClock }

const longestWait = 500 * time.Millisecond

func (c impatientClock) NewTimer(wait time.Duration) clock.Timer {
	return c.RealClock.NewTimer(min(wait, longestWait))
}

func (c *cluster) follow(ctx context.Context) {
	for _, each := range c.following {
		go each.RunWithContext(ctx)
	}
}

func (c *cluster) synced() bool {
	return !slices.ContainsFunc(c.following, func(each *cache.Reflector) bool {
		return each.LastSyncResourceVersion() == ""
	})
}

// readyAddresses lists the service's ready pods; known is false if there is no such service.
func (c *cluster) readyAddresses(namespace, service string) (addresses []string, known bool) {
	found, known, err := c.services.GetByKey(namespace + "/" + service)
	if err != nil || !known {
		return nil, false
	}
	wanted := found.(*core.Service).Spec.Selector
	if len(wanted) == 0 {
		return nil, true // a service without a selector chooses no pod, not every pod
	}
	selector := labels.SelectorFromSet(wanted)
	for _, item := range c.pods.List() {
		pod := item.(*core.Pod)
		if pod.Namespace == namespace && serves(pod) && selector.Matches(labels.Set(pod.Labels)) {
			addresses = append(addresses, pod.Status.PodIP)
		}
	}
	slices.Sort(addresses)
	return addresses, true
}

// serves leaves out terminating pods, as endpoints do: they finish what they have and take nothing new.
func serves(pod *core.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Status.PodIP == "" {
		return false
	}
	return slices.ContainsFunc(pod.Status.Conditions, func(condition core.PodCondition) bool {
		return condition.Type == core.PodReady && condition.Status == core.ConditionTrue
	})
}
