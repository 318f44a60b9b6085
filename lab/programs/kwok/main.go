// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command kwok pretends to be nodes and pods. Beside what it does elsewhere it prints the stages without which it
// would not start, so that the lab needs nothing but the program.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	nodeheartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kwok:", err)
		os.Exit(1)
	}
}

func run() error {
	// Flags of every subcommand pass by here first; only the global ones are known yet.
	global := pflag.NewFlagSet("global", pflag.ContinueOnError)
	global.ParseErrorsAllowlist.UnknownFlags = true
	global.Usage = func() {}
	ctx, _ := log.InitFlags(signals.SetupSignalContext(), global)
	ctx, err := config.InitFlags(ctx, global)
	if err != nil {
		return err
	}
	command := kwok.NewCommand(ctx)
	command.PersistentFlags().AddFlagSet(global)
	command.AddCommand(stages())
	return command.ExecuteContext(ctx)
}

func stages() *cobra.Command {
	return &cobra.Command{
		Use:   "stages",
		Short: "Print the stages with which nodes and pods get ready at once",
		Args:  cobra.NoArgs,
		Run: func(command *cobra.Command, _ []string) {
			fmt.Fprintln(command.OutOrStdout(), strings.Join([]string{
				nodefast.DefaultNodeInit,
				nodeheartbeat.DefaultNodeHeartbeat,
				podfast.DefaultPodReady,
				podfast.DefaultPodComplete,
				podfast.DefaultPodDelete,
			}, "\n---\n"))
		},
	}
}
