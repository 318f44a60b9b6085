// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command lab-node-agent is a node of a lab's cluster that runs pods as local processes.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"

	"platform.recovery/lab/internal/agent"
)

func main() {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(30 << 20)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(log); err != nil {
		log.Error("cannot serve as a node", "reason", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	options, kubeconfig, err := parse(os.Args[1:])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(agent.ClientConfig(config))
	if err != nil {
		return err
	}
	events := record.NewBroadcaster()
	events.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: client.CoreV1().Events("")})
	recorder := events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: options.Node})
	node, err := agent.New(options, client, recorder, log)
	if err != nil {
		return err
	}
	return node.Run(ctx)
}

func parse(arguments []string) (agent.Options, string, error) {
	options := agent.Options{Programs: agent.Programs{}}
	flags := flag.NewFlagSet("lab-node-agent", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the region's cluster")
	flags.StringVar(&options.Node, "node", "", "name of the node")
	flags.StringVar(&options.Address, "address", "", "address of the node (127.R.0.4)")
	flags.StringVar(&options.PodBase, "pod-cidr-base", "", "leading three numbers of the first pod address (127.R.100)")
	flags.StringVar(&options.State, "state", "", "folder of the agent and its pods")
	flags.StringVar(&options.Resolver, "resolver", "", "address and port of the region's DNS (127.R.0.53:5353)")
	flags.Var(options.Programs, "program", "NAME=PATH: the program that stands for image NAME, once an image")
	if err := flags.Parse(arguments); err != nil {
		return options, "", err
	}
	for name, value := range map[string]string{
		"--kubeconfig": *kubeconfig, "--node": options.Node, "--address": options.Address,
		"--pod-cidr-base": options.PodBase, "--state": options.State, "--resolver": options.Resolver,
	} {
		if value == "" {
			return options, "", fmt.Errorf("%s is missing", name)
		}
	}
	state, err := filepath.Abs(options.State)
	options.State = state
	return options, *kubeconfig, err
}
