// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// configuration is the cluster's ConfigMaps and Secrets, followed as a real node follows those of its pods: two calls
// per start would cost a rollout a tenth of a second. What is not known yet is asked for.
type configuration struct {
	client     kubernetes.Interface
	configMaps *mirror[*corev1.ConfigMap]
	secrets    *mirror[*corev1.Secret]
}

func newConfiguration(client kubernetes.Interface) *configuration {
	return &configuration{
		client: client, configMaps: newMirror[*corev1.ConfigMap](), secrets: newMirror[*corev1.Secret](),
	}
}

func (c *configuration) follow(ctx context.Context, log *slog.Logger) {
	configMaps, secrets := c.client.CoreV1().ConfigMaps(""), c.client.CoreV1().Secrets("")
	go c.configMaps.attach(&follower[*corev1.ConfigMap]{
		what: "ConfigMaps", open: configMaps.Watch,
		list: func(ctx context.Context, options metav1.ListOptions) ([]*corev1.ConfigMap, string, error) {
			list, err := configMaps.List(ctx, options)
			if err != nil {
				return nil, "", err
			}
			return pointers(list.Items), list.ResourceVersion, nil
		},
	}).run(ctx, log)
	go c.secrets.attach(&follower[*corev1.Secret]{
		what: "Secrets", open: secrets.Watch,
		list: func(ctx context.Context, options metav1.ListOptions) ([]*corev1.Secret, string, error) {
			list, err := secrets.List(ctx, options)
			if err != nil {
				return nil, "", err
			}
			return pointers(list.Items), list.ResourceVersion, nil
		},
	}).run(ctx, log)
}

func (c *configuration) configMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	if known, found := c.configMaps.find(namespace, name); found {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	return c.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (c *configuration) secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	if known, found := c.secrets.find(namespace, name); found {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	return c.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}
