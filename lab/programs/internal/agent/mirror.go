// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// watchRetry is how soon a broken watch is made again: until then the node is blind.
const watchRetry = 200 * time.Millisecond

var errWatchShort = errors.New("the API ended the watch at once")

// follower follows one kind of object over every loss of the watch. It is smaller than an informer, and back within
// watchRetry of the API instead of within half a minute.
type follower[T metav1.Object] struct {
	what     string
	selector string
	list     func(context.Context, metav1.ListOptions) ([]T, string, error)
	open     func(context.Context, metav1.ListOptions) (watch.Interface, error)
	// listed hears of the whole, changed of each difference from then on, lost of the time between.
	listed  func([]T)
	changed func(watch.EventType, T)
	lost    func()
}

func (f *follower[T]) run(ctx context.Context, log *slog.Logger) {
	for ctx.Err() == nil {
		version, err := f.synchronize(ctx)
		for err == nil && ctx.Err() == nil {
			version, err = f.watch(ctx, version)
		}
		f.lost()
		if ctx.Err() == nil {
			log.Warn(f.what+" not seen", "reason", err)
			pause(ctx, watchRetry)
		}
	}
}

func (f *follower[T]) synchronize(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	items, version, err := f.list(ctx, metav1.ListOptions{FieldSelector: f.selector})
	if err == nil {
		f.listed(items)
	}
	return version, err
}

// watch hands over the changes after version until the API ends the watch, as it does every few minutes, and returns
// the version to go on from.
func (f *follower[T]) watch(ctx context.Context, version string) (string, error) {
	lasts := int64(300)
	stream, err := f.open(ctx, metav1.ListOptions{
		FieldSelector: f.selector, ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &lasts,
	})
	if err != nil {
		return version, err
	}
	defer context.AfterFunc(ctx, stream.Stop)()
	defer stream.Stop()
	began := time.Now()
	for change := range stream.ResultChan() {
		object, known := change.Object.(T)
		if change.Type == watch.Error || !known {
			return version, fmt.Errorf("the watch ended: %v", change.Object)
		}
		version = object.GetResourceVersion()
		if change.Type != watch.Bookmark {
			f.changed(change.Type, object)
		}
	}
	// A server that ends watches at once must not be asked in a tight loop.
	if time.Since(began) < watchRetry {
		return version, errWatchShort
	}
	return version, nil
}

// mirror is the last known state of all objects of one kind.
type mirror[T metav1.Object] struct {
	mu      sync.Mutex
	objects map[string]T
	fresh   bool
}

func newMirror[T metav1.Object]() *mirror[T] {
	return &mirror[T]{objects: map[string]T{}}
}

// attach makes the mirror show what the follower sees.
func (m *mirror[T]) attach(f *follower[T]) *follower[T] {
	f.listed = m.replace
	f.changed = m.update
	f.lost = func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.fresh = false
	}
	return f
}

func (m *mirror[T]) replace(items []T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.objects)
	for _, item := range items {
		m.objects[item.GetNamespace()+"/"+item.GetName()] = item
	}
	m.fresh = true
}

func (m *mirror[T]) update(kind watch.EventType, item T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := item.GetNamespace() + "/" + item.GetName()
	if kind == watch.Deleted {
		delete(m.objects, key)
	} else {
		m.objects[key] = item
	}
}

// find returns an object that is known and known to be of now.
func (m *mirror[T]) find(namespace, name string) (object T, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	object, found = m.objects[namespace+"/"+name]
	return object, found && m.fresh
}

// pointers turns a list's items into what the rest handles.
func pointers[T any](items []T) []*T {
	list := make([]*T, len(items))
	for i := range items {
		list[i] = &items[i]
	}
	return list
}

func pause(ctx context.Context, delay time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(delay):
	}
}
