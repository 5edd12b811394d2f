package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"yingda/intake"
	"yingda/intake/wire"
	"yingda/internal/app"
)

func versionCmd() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "say which version this is", Args: cobra.NoArgs, Run: func(cmd *cobra.Command, _ []string) {
		fmt.Fprintf(cmd.OutOrStdout(), "yingda %s %s %s/%s\n", app.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	}}
}

func schemaCmd() *cobra.Command {
	return &cobra.Command{Use: "schema [TYPE]", Short: "print the JSON Schema of an event type, or list the types", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				for _, t := range intake.Types() {
					fmt.Fprintln(cmd.OutOrStdout(), t)
				}
				return nil
			}
			raw, ok := wire.Schema(intake.Type(args[0]))
			if !ok {
				return fmt.Errorf("%w: %q is no event type; `yingda schema` lists them", errUsage, args[0])
			}
			_, err := cmd.OutOrStdout().Write(append(bytes.TrimSpace(raw), '\n'))
			return err
		}}
}

func configCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "the configuration"}
	cmd.AddCommand(
		&cobra.Command{Use: "check [FILE]", Short: "say what is wrong with a file", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			path, _ := cmd.Flags().GetString("config")
			if len(args) == 1 {
				path = args[0]
			}
			if _, err := app.Load(path, os.Environ(), nil); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "ok")
			return nil
		}},
		&cobra.Command{Use: "print", Short: "print what is in force, secrets left out", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configOf(cmd)
			if err != nil {
				return err
			}
			return app.Print(cmd.OutOrStdout(), c)
		}},
		&cobra.Command{Use: "sample", Short: "print the annotated sample file", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return app.Sample(cmd.OutOrStdout())
		}})
	return cmd
}

func doctorCmd() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "look at everything that a hotline needs, and say what to do where it is not right", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configOf(cmd)
			if err != nil {
				return err
			}
			return app.Doctor(cmd.Context(), c, logger(c), cmd.OutOrStdout())
		}}
}

// errDiffers makes the exit code 1 when an audit has found something; the report says what.
var errDiffers = errors.New("the books differ")

func auditCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "audit", Short: "compare stream, books, search and case book: offered = outcomes + open", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configOf(cmd)
			if err != nil {
				return err
			}
			r, asked, err := app.AuditServed(cmd.Context(), c)
			if err != nil {
				return err
			}
			if !asked {
				err := withStore(cmd, func(ctx context.Context, s *app.Store) (err error) {
					r, err = s.Audit(ctx)
					return err
				})
				if err != nil {
					return err
				}
			}
			return printAudit(cmd, r, asJSON)
		}}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printAudit(cmd *cobra.Command, r app.AuditReport, asJSON bool) error {
	if asJSON {
		if err := printJSON(cmd, r); err != nil {
			return err
		}
	} else if err := r.Print(cmd.OutOrStdout()); err != nil {
		return err
	}
	if !r.Clean {
		return errDiffers
	}
	return nil
}

func printJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// day reads 2026-11-24 (midnight in the office's time zone) or RFC 3339.
func day(c app.Config, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	loc, err := time.LoadLocation(c.Office.TimeZone)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.ParseInLocation(time.DateOnly, s, loc)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %q is no time: write 2026-11-24 or 2026-11-24T08:00:00+08:00", errUsage, s)
	}
	return t, nil
}

func exportCmd() *cobra.Command {
	var from, to string
	contacts := &cobra.Command{Use: "contacts", Short: "print contacts that arrived in [from, to) as JSON lines (docs/protocol.md)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error {
				a, err := day(s.Config, from)
				if err != nil {
					return err
				}
				b, err := day(s.Config, to)
				if err != nil {
					return err
				}
				return s.ExportContacts(ctx, a, b, cmd.OutOrStdout())
			})
		}}
	contacts.Flags().StringVar(&from, "from", "", "first moment: 2026-11-24 or RFC 3339")
	contacts.Flags().StringVar(&to, "to", "", "first moment no more: 2026-11-25 or RFC 3339")
	cmd := &cobra.Command{Use: "export", Short: "give out what is kept"}
	cmd.AddCommand(contacts)
	return cmd
}

func importCmd() *cobra.Command {
	events := &cobra.Command{Use: "events FILE", Short: "take CloudEvents as JSON lines into the stream (- is standard input)", Args: cobra.ExactArgs(1),
		Long: "Takes history from another system: CloudEvents, one a line, with personal in clear, each checked against its schema (yingda schema TYPE). " +
			"A bad line is reported with its number and left out; the good ones are taken. Running it again with the same file changes nothing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s *app.Store) error {
				var in io.Reader = cmd.InOrStdin()
				if args[0] != "-" {
					f, err := os.Open(args[0])
					if err != nil {
						return err
					}
					defer f.Close()
					in = f
				}
				r, err := s.ImportEvents(ctx, in, func(line int, what string) { fmt.Fprintf(cmd.ErrOrStderr(), "line %d: %s\n", line, what) })
				fmt.Fprintf(cmd.OutOrStdout(), "%d taken, %d were there already, %d refused\n", r.Taken, r.Known, r.Refused)
				if err == nil && r.Refused > 0 {
					err = errors.New("some lines were refused, see above")
				}
				return err
			})
		}}
	cmd := &cobra.Command{Use: "import", Short: "take in what others kept"}
	cmd.AddCommand(events)
	return cmd
}
