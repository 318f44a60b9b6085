// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"slices"
	"strings"
	"testing"
)

func TestEveryValueIsRequired(t *testing.T) {
	given := []string{
		"--kubeconfig=k", "--node=n", "--address=127.1.0.4", "--pod-cidr-base=127.1.100", "--state=s", "--resolver=127.1.0.53:5353",
	}
	if _, _, err := parse(given); err != nil {
		t.Fatal(err)
	}
	for i, argument := range given {
		name, _, _ := strings.Cut(argument, "=")
		if _, _, err := parse(slices.Delete(slices.Clone(given), i, i+1)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: got %v", name, err)
		}
	}
}
