package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"yingda/internal/app"
)

func promptsCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "prompts", Short: "prompt packs"}
	cmd.AddCommand(&cobra.Command{Use: "check [FOLDER]", Short: "check a prompt pack: level, clipping, completeness (none: the built-in one)", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := ""
			if len(args) == 1 {
				folder = args[0]
			}
			return app.CheckPrompts(folder, cmd.OutOrStdout())
		}})
	return cmd
}

func gridsCmd() *cobra.Command {
	var dry bool
	imp := &cobra.Command{Use: "import FILE…", Short: "read districts, streets, communities and grids from CSV and GeoJSON (UTF-8 or GBK)", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error { return s.ImportGrids(ctx, args, dry, cmd.OutOrStdout()) })
		}}
	imp.Flags().BoolVar(&dry, "dry-run", false, "say what would be taken and why each other row would not, and change nothing")
	cmd := &cobra.Command{Use: "grids", Short: "the registry of grids"}
	cmd.AddCommand(imp)
	return cmd
}

func rulesCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "rules", Short: "which grid or department a case goes to, and until when"}
	cmd.AddCommand(&cobra.Command{Use: "print", Short: "the rules in force, to begin one's own with", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configOf(cmd)
			if err != nil {
				return err
			}
			return app.PrintRules(c, cmd.OutOrStdout())
		}})
	cmd.AddCommand(&cobra.Command{Use: "check FILE", Short: "say what is wrong with a file of rules, line by line", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := configOf(cmd)
			if err != nil {
				return err
			}
			return app.CheckRules(c, args[0], cmd.OutOrStdout())
		}})
	return cmd
}

func searchCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "search", Short: "the index"}
	cmd.AddCommand(&cobra.Command{Use: "eval", Short: "measure search with the judged queries: recall@10, nDCG@10, zero hits, p95", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configOf(cmd)
			if err != nil {
				return err
			}
			return app.EvalSearch(cmd.Context(), c, logger(c), cmd.OutOrStdout())
		}})
	var o app.ReindexOptions
	again := &cobra.Command{Use: "reindex", Short: "build the index in Elasticsearch anew while people search and events come, then put it in place of the old one", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error { return s.Reindex(ctx, o, cmd.OutOrStdout()) })
		}}
	again.Flags().BoolVar(&o.Stream, "from-stream", false, "fill it from the stream's beginning and not from the documents of the old index")
	again.Flags().BoolVar(&o.Keep, "keep", false, "leave the old index, out of use, until the next reindex")
	cmd.AddCommand(again)
	return cmd
}

func backupCmd() *cobra.Command {
	return &cobra.Command{Use: "backup FILE.tar.gz", Short: "copy log, tables and recordings into one file while the program runs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error { return s.Backup(ctx, args[0], cmd.OutOrStdout()) })
		}}
}

func restoreCmd() *cobra.Command {
	return &cobra.Command{Use: "restore FILE.tar.gz", Short: "put a backup into an empty data folder and check it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := configOf(cmd)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			if err := app.Restore(cmd.Context(), c, logger(c), f, cmd.OutOrStdout()); err != nil {
				return fmt.Errorf("restore: %w", err)
			}
			return nil
		}}
}
