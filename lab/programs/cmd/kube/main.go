// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command kube holds a region's Kubernetes control plane: one program with one subcommand per server,
// because linking their shared packages once saves minutes of building and 150 MB of disk.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// A server is made only when it is asked for: the commands of the API server and of the scheduler each take the
// process's one signal handler as they are made, and the second to do so panics.
func server(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllermanager.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	}
	return nil
}

func main() {
	var command *cobra.Command
	if len(os.Args) > 1 {
		command = server(os.Args[1])
	}
	if command == nil {
		fmt.Fprintln(os.Stderr, "usage: kube kube-apiserver|kube-controller-manager|kube-scheduler [FLAG ...]")
		os.Exit(2)
	}
	root := &cobra.Command{Use: "kube", Short: "Kubernetes control plane of one region"}
	root.AddCommand(command)
	os.Exit(cli.Run(root))
}
