// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Programs says which local program stands for which image; it is a flag of the form NAME=PATH, given once an image.
type Programs map[string]string

// String is the flag's printed form.
func (p Programs) String() string { return fmt.Sprint(map[string]string(p)) }

// Set adds one mapping.
func (p Programs) Set(text string) error {
	name, path, found := strings.Cut(text, "=")
	if !found || name == "" || !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not NAME=PATH with an absolute path", text)
	}
	p[name] = path
	return nil
}

// find returns the program of an image by the image's name without registry, tag and digest.
func (p Programs) find(image string) (string, error) {
	name, _, _ := strings.Cut(image, "@")
	name = name[strings.LastIndexByte(name, '/')+1:]
	name, _, _ = strings.Cut(name, ":")
	if path, found := p[name]; found {
		return path, nil
	}
	return "", fmt.Errorf("no program of this node stands for image %q", image)
}

// arguments is the command line of a container: the image's program, unless the container names a command.
func arguments(program string, container *corev1.Container, env *environment) ([]string, error) {
	argv := []string{program}
	if len(container.Command) > 0 {
		argv = expandAll(container.Command, env)
		// The image's program by its own name is the one of this node, wherever that lies.
		if argv[0] == filepath.Base(program) {
			argv[0] = program
		}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, err
	}
	argv[0] = path
	return append(argv, expandAll(container.Args, env)...), nil
}

func expandAll(words []string, env *environment) []string {
	expanded := make([]string, len(words))
	for i, word := range words {
		expanded[i] = expand(word, env.values)
	}
	return expanded
}
