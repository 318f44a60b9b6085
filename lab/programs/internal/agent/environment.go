// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// environment is a container's variables in the order in which they were first set.
type environment struct {
	names  []string
	values map[string]string
}

func (e *environment) set(name, value string) {
	if _, known := e.values[name]; !known {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

// strings is the form in which a process takes it.
func (e *environment) strings() []string {
	list := make([]string, len(e.names))
	for i, name := range e.names {
		list[i] = name + "=" + e.values[name]
	}
	return list
}

// environmentResolver finds the values that one container's variables refer to.
type environmentResolver struct {
	configuration *configuration
	pod           *corev1.Pod
	podIP         string
	hostIP        string
}

// resolve sets what the container asks for on top of the given variables.
func (r *environmentResolver) resolve(ctx context.Context, container *corev1.Container, given [][2]string) (*environment, error) {
	env := &environment{values: map[string]string{}}
	for _, pair := range given {
		env.set(pair[0], pair[1])
	}
	for i := range container.EnvFrom {
		if err := r.takeAll(ctx, env, &container.EnvFrom[i]); err != nil {
			return nil, err
		}
	}
	for i := range container.Env {
		if err := r.take(ctx, env, &container.Env[i]); err != nil {
			return nil, err
		}
	}
	return env, nil
}

func (r *environmentResolver) takeAll(ctx context.Context, env *environment, source *corev1.EnvFromSource) error {
	values := map[string]string{}
	switch {
	case source.ConfigMapRef != nil:
		object, err := r.configuration.configMap(ctx, r.pod.Namespace, source.ConfigMapRef.Name)
		if err != nil {
			return forgive(err, source.ConfigMapRef.Optional)
		}
		values = object.Data
	case source.SecretRef != nil:
		object, err := r.configuration.secret(ctx, r.pod.Namespace, source.SecretRef.Name)
		if err != nil {
			return forgive(err, source.SecretRef.Optional)
		}
		for key, value := range object.Data {
			values[key] = string(value)
		}
	}
	for key, value := range values {
		env.set(source.Prefix+key, value)
	}
	return nil
}

func (r *environmentResolver) take(ctx context.Context, env *environment, variable *corev1.EnvVar) error {
	if variable.ValueFrom == nil {
		env.set(variable.Name, expand(variable.Value, env.values))
		return nil
	}
	value, found, err := r.refer(ctx, variable.ValueFrom)
	if found {
		env.set(variable.Name, value)
	}
	return err
}

// refer returns a referred value; found is false without an error where an optional one is missing.
func (r *environmentResolver) refer(ctx context.Context, source *corev1.EnvVarSource) (value string, found bool, err error) {
	switch {
	case source.ConfigMapKeyRef != nil:
		return r.configMapKey(ctx, source.ConfigMapKeyRef)
	case source.SecretKeyRef != nil:
		return r.secretKey(ctx, source.SecretKeyRef)
	case source.FieldRef != nil:
		value, err := r.field(source.FieldRef.FieldPath)
		return value, err == nil, err
	}
	return "", false, fmt.Errorf("a lab node resolves configMapKeyRef, secretKeyRef and fieldRef only")
}

func (r *environmentResolver) configMapKey(ctx context.Context, ref *corev1.ConfigMapKeySelector) (string, bool, error) {
	object, err := r.configuration.configMap(ctx, r.pod.Namespace, ref.Name)
	if err != nil {
		return "", false, forgive(err, ref.Optional)
	}
	if value, found := object.Data[ref.Key]; found {
		return value, true, nil
	}
	return "", false, missingKey("ConfigMap", r.pod.Namespace, ref.Name, ref.Key, ref.Optional)
}

func (r *environmentResolver) secretKey(ctx context.Context, ref *corev1.SecretKeySelector) (string, bool, error) {
	object, err := r.configuration.secret(ctx, r.pod.Namespace, ref.Name)
	if err != nil {
		return "", false, forgive(err, ref.Optional)
	}
	if value, found := object.Data[ref.Key]; found {
		return string(value), true, nil
	}
	return "", false, missingKey("Secret", r.pod.Namespace, ref.Name, ref.Key, ref.Optional)
}

func (r *environmentResolver) field(path string) (string, error) {
	switch path {
	case "metadata.name":
		return r.pod.Name, nil
	case "metadata.namespace":
		return r.pod.Namespace, nil
	case "metadata.uid":
		return string(r.pod.UID), nil
	case "status.podIP", "status.podIPs":
		return r.podIP, nil
	case "status.hostIP", "status.hostIPs":
		return r.hostIP, nil
	case "spec.nodeName":
		return r.pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return r.pod.Spec.ServiceAccountName, nil
	}
	if key, found := subscript(path, "metadata.labels"); found {
		return r.pod.Labels[key], nil
	}
	if key, found := subscript(path, "metadata.annotations"); found {
		return r.pod.Annotations[key], nil
	}
	return "", fmt.Errorf("fieldRef %q is not one that a lab node resolves", path)
}

// subscript returns KEY of field['KEY'].
func subscript(path, field string) (string, bool) {
	rest, found := strings.CutPrefix(path, field+"['")
	if !found {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

func forgive(err error, optional *bool) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func missingKey(kind, namespace, name, key string, optional *bool) error {
	if optional != nil && *optional {
		return nil
	}
	return fmt.Errorf("couldn't find key %s in %s %s/%s", key, kind, namespace, name)
}

// expand replaces $(NAME) by its value; $$(NAME) stays as $(NAME), and so does a name that is not set.
func expand(text string, values map[string]string) string {
	var out strings.Builder
	for {
		at := strings.IndexByte(text, '$')
		if at < 0 || at+1 == len(text) {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:at])
		text = text[at:]
		end := strings.IndexByte(text, ')')
		switch {
		case text[1] == '$':
			out.WriteByte('$')
			text = text[2:]
		case text[1] == '(' && end > 0:
			out.WriteString(valueOr(values, text[2:end], text[:end+1]))
			text = text[end+1:]
		default:
			out.WriteByte('$')
			text = text[1:]
		}
	}
}

func valueOr(values map[string]string, name, fallback string) string {
	if value, found := values[name]; found {
		return value
	}
	return fallback
}
