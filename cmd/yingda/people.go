package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"yingda/internal/app"
)

func tokenCmd() *cobra.Command {
	var role, name string
	var days int
	var key app.AppKey
	create := &cobra.Command{Use: "create --role ROLE", Short: "make an API token; it is shown once", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if role == "" {
			return fmt.Errorf("%w: whose rights shall it have? --role auditor, supervisor or administrator", errUsage)
		}
		return withStore(cmd, func(ctx context.Context, s *app.Store) error {
			if role == "app" {
				secret, hook, err := s.MakeAppToken(ctx, name, time.Duration(days)*24*time.Hour, key)
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), secret)
				if hook != "" {
					fmt.Fprintln(cmd.ErrOrStderr(), "The webhook is signed with this secret, shown only here:")
					fmt.Fprintln(cmd.OutOrStdout(), hook)
				}
				return nil
			}
			secret, err := s.MakeToken(ctx, name, role, time.Duration(days)*24*time.Hour)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), secret)
			return nil
		})
	}}
	create.Flags().StringVar(&role, "role", "", "auditor, supervisor, administrator …; app: hands in submissions")
	create.Flags().StringVar(&name, "name", "command line", "what it is for")
	create.Flags().IntVar(&days, "days", 365, "how long it is good for")
	create.Flags().IntVar(&key.PerMinute, "per-minute", 0, "app: submissions a minute; 0: 600")
	create.Flags().IntVar(&key.PerDay, "per-day", 0, "app: submissions a day; 0: 100000")
	create.Flags().StringVar((*string)(&key.Line), "line", "", "app: key of the line its submissions belong to; empty: the first")
	create.Flags().StringVar(&key.Webhook, "webhook", "", "app: URL that is told when a submission moves on")
	cmd := &cobra.Command{Use: "token", Short: "API tokens"}
	cmd.AddCommand(create)
	return cmd
}

func userCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "accounts of those who work here"}
	var role, name string
	var grids []string
	create := &cobra.Command{Use: "create LOGIN", Short: "make an account; its one-time password is shown once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error {
				password, err := s.CreateUser(ctx, args[0], name, role, grids)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", args[0], password)
				return nil
			})
		}}
	create.Flags().StringVar(&role, "role", "operator", "operator, supervisor, gridworker, auditor or administrator")
	create.Flags().StringVar(&name, "name", "", "the person's name, as colleagues see it")
	create.Flags().StringSliceVar(&grids, "grid", nil, "a grid worker's grids")
	one := func(use, short string, f func(ctx context.Context, s *app.Store, login string) (string, error)) *cobra.Command {
		return &cobra.Command{Use: use + " LOGIN", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error {
				out, err := f(ctx, s, args[0])
				if err == nil && out != "" {
					fmt.Fprintln(cmd.OutOrStdout(), out)
				}
				return err
			})
		}}
	}
	cmd.AddCommand(create,
		&cobra.Command{Use: "list", Short: "list accounts", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error { return s.ListUsers(ctx, cmd.OutOrStdout()) })
		}},
		one("passwd", "give an account a new one-time password", (func(ctx context.Context, s *app.Store, login string) (string, error) { return s.ResetUser(ctx, login) })),
		one("disable", "close an account; its sessions end at once", func(ctx context.Context, s *app.Store, login string) (string, error) {
			return "", s.DisableUser(ctx, login)
		}),
		one("enable", "open an account again", func(ctx context.Context, s *app.Store, login string) (string, error) {
			return "", s.EnableUser(ctx, login)
		}),
		one("phone", "make new SIP credentials for the phone of an operator or a grid worker; shown once", func(ctx context.Context, s *app.Store, login string) (string, error) {
			return s.NewPhone(ctx, login)
		}))
	return cmd
}

func linesCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "lines", Short: "the ledger of published numbers; changes are in force for the next call"}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "print the lines as JSON, one a line", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error {
				list, err := s.Lines(ctx)
				if err != nil {
					return err
				}
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetEscapeHTML(false)
				for _, l := range list {
					if err := e.Encode(l); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		&cobra.Command{Use: "set ID KEY=VALUE…", Short: "make or change a line: name=… numbers=1,2 hours='Mo-Fr 08:30-17:30' number=… max_wait_s=… (keys as `lines list` prints them)",
			Args: cobra.MinimumNArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
				set := map[string]string{}
				for _, a := range args[1:] {
					k, v, ok := strings.Cut(a, "=")
					if !ok {
						return fmt.Errorf("%w: %q is not KEY=VALUE", errUsage, a)
					}
					set[k] = v
				}
				return withStore(cmd, func(ctx context.Context, s *app.Store) error {
					line, err := s.SetLine(ctx, args[0], set)
					if err != nil {
						return err
					}
					return json.NewEncoder(os.Stdout).Encode(line)
				})
			}})
	return cmd
}
