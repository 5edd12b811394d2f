package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"yingda/internal/app"
)

// What an office needs that goes from one machine to many, or back: docs/many-machines.md.

func tablesCmd() *cobra.Command {
	var to string
	cp := &cobra.Command{Use: "copy --to ADDRESS", Short: "copy all tables into an empty database: postgres://user:password@host/name, or the path of an SQLite file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configOf(cmd)
			if err != nil {
				return err
			}
			return app.CopyTables(cmd.Context(), c, to, cmd.OutOrStdout())
		}}
	cp.Flags().StringVar(&to, "to", "", "where to")
	_ = cp.MarkFlagRequired("to")
	cmd := &cobra.Command{Use: "tables", Short: "cases, callbacks, operators and secrets"}
	cmd.AddCommand(cp)
	return cmd
}

func streamCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "stream", Short: "the event log"}
	cmd.AddCommand(&cobra.Command{Use: "fetch", Short: "write into this machine's log every event of Kafka that it does not have, to go on alone", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error {
				unread := 0
				n, err := s.FetchStream(ctx, func(partition int32, position int64, err error) {
					unread++
					cmd.PrintErrf("partition %d, position %d cannot be read: %v\n", partition, position, err)
				})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d events of Kafka are in this machine's log, %d could not be read\n", n, unread)
				return err
			})
		}})
	return cmd
}

func nodesCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "nodes", Short: "the machines of an office that has several: who has the switchboard, who was heard of when, who owes events", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error {
				r, err := s.Nodes(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, r)
				}
				return r.Print(cmd.OutOrStdout())
			})
		}}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
