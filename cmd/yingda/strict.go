package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// strict makes a wrong word or number of words on the command line a usage error, also where cobra would only print its help.
func strict(cmd *cobra.Command) {
	check := cmd.Args
	if !cmd.Runnable() {
		check = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q is no command; `%s help` lists them", args[0], cmd.CommandPath())
			}
			return nil
		}
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return nil
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}
