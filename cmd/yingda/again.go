package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"yingda/internal/app"
)

// letterJSON is a letter as --json prints it (docs/protocol.md).
type letterJSON struct {
	ID        string    `json:"id"`
	Consumer  string    `json:"consumer"`
	Source    string    `json:"source"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
	Attempts  int       `json:"attempts"`
	Reason    string    `json:"reason"`
	Size      int       `json:"size"`
	Sealed    *bool     `json:"sealed,omitempty"` // whether the bytes are an event in which what is personal is sealed
	Bytes     []byte    `json:"bytes,omitempty"`  // base64
}

func letterOf(l app.Letter) letterJSON {
	return letterJSON{ID: l.ID, Consumer: l.Consumer, Source: l.Source, Partition: l.Partition, Offset: l.Offset, Time: l.Time, Attempts: l.Attempts, Reason: l.Reason, Size: l.Size}
}

// withLetters runs f over the dead letters, beside a running program or without one.
func withLetters(cmd *cobra.Command, f func(ctx context.Context, dead app.DeadLetters) error) error {
	return withStore(cmd, func(ctx context.Context, s *app.Store) error {
		dead, err := s.DeadLetters(ctx)
		if err != nil {
			return err
		}
		return f(ctx, dead)
	})
}

func dlqCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "dlq", Short: "events that a consumer could not use and put aside, until a person decides"}
	var asJSON, bytes bool
	list := &cobra.Command{Use: "list", Short: "all of them, oldest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return withLetters(cmd, func(ctx context.Context, dead app.DeadLetters) error {
			letters, err := dead.List(ctx)
			if err != nil {
				return err
			}
			return printLetters(cmd.OutOrStdout(), letters, asJSON)
		})
	}}
	show := &cobra.Command{Use: "show ID", Short: "one of them with its bytes as they are kept: what is personal in an event is sealed, and stays so", Args: cobra.ExactArgs(1),
		Long: "Prints a letter and the original bytes. What is personal in an event is sealed in them, and this command never opens it. Bytes that are no event of ours " +
			"are not sealed by us either, so they are only printed with --bytes.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withLetters(cmd, func(ctx context.Context, dead app.DeadLetters) error {
				l, err := dead.Get(ctx, args[0])
				if err != nil {
					return err
				}
				return printLetter(cmd.OutOrStdout(), l, bytes, asJSON)
			})
		}}
	for _, c := range []*cobra.Command{list, show} {
		c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	}
	show.Flags().BoolVar(&bytes, "bytes", false, "print bytes that are no event of ours, too")
	each := func(use, short, done string, f func(ctx context.Context, dead app.DeadLetters, id string) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.MinimumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return withLetters(cmd, func(ctx context.Context, dead app.DeadLetters) error {
				var errs []error
				for _, id := range args {
					if err := f(ctx, dead, id); err != nil {
						errs = append(errs, fmt.Errorf("%s: %w", id, err))
					} else {
						fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", id, done)
					}
				}
				return errors.Join(errs...)
			})
		}}
	}
	retry := each("retry ID…", "let the bytes be tried once more; a letter that is refused again stays, with the new reason", "tried again, and no letter any more",
		func(ctx context.Context, dead app.DeadLetters, id string) error { return dead.Retry(ctx, id) })
	drop := each("drop ID…", "forget a letter: its consumer goes without that event for good", "dropped",
		func(ctx context.Context, dead app.DeadLetters, id string) error {
			if _, err := dead.Get(ctx, id); err != nil { // a typing error is said
				return err
			}
			return dead.Drop(ctx, id)
		})
	cmd.AddCommand(list, show, retry, drop)
	return cmd
}

func printLetters(w io.Writer, letters []app.Letter, asJSON bool) error {
	if asJSON {
		list := make([]letterJSON, len(letters))
		for i, l := range letters {
			list[i] = letterOf(l)
		}
		return indented(w, list)
	}
	if len(letters) == 0 {
		_, err := fmt.Fprintln(w, "nothing was put aside")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPUT ASIDE\tTRIED\tBYTES\tREASON")
	for _, l := range letters {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", l.ID, l.Time.Format(time.RFC3339), l.Attempts, l.Size, l.Reason)
	}
	return t.Flush()
}

func printLetter(w io.Writer, l app.Letter, all, asJSON bool) error {
	sealed := app.Sealed(l.Raw)
	if asJSON {
		j := letterOf(l)
		j.Sealed = &sealed
		if sealed || all {
			j.Bytes = l.Raw
		}
		return indented(w, j)
	}
	fmt.Fprintf(w, "id        %s\nconsumer  %s\nwhere     %s, partition %d, position %d\nput aside %s\ntried     %d\nreason    %s\nbytes     %d\n\n",
		l.ID, l.Consumer, l.Source, l.Partition, l.Offset, l.Time.Format(time.RFC3339), l.Attempts, l.Reason, len(l.Raw))
	var err error
	switch {
	case sealed:
		_, err = fmt.Fprintf(w, "As they are kept; what is personal in them is sealed:\n%s\n", l.Raw)
	case all:
		_, err = fmt.Fprintf(w, "No event of ours, so nothing in them is sealed by us:\n%q\n", l.Raw)
	default:
		_, err = fmt.Fprintln(w, "They are no event of ours, so nothing in them is sealed by us. --bytes prints them.")
	}
	return err
}

func indented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func replayCmd() *cobra.Command {
	var o app.ReplayOptions
	var from string
	cmd := &cobra.Command{Use: "replay --consumer NAME --from TIME", Short: "let books, search, cases, chat or app read the stream again: what they lack comes back", Args: cobra.NoArgs,
		Long: "Lets a consumer read the stream again, from what it took at a time or from its beginning. What is there stays as it is, what is missing comes back, and nothing leaves the " +
			"house a second time. It works beside a running program, while calls go on, and without one: then the next start reads on. With --empty what the consumer has from the stream " +
			"is taken away first (docs/protocol.md says what that is).",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Consumer == "" || from == "" {
				return fmt.Errorf("%w: say which --consumer (books, search, cases, chat, app) and --from when (beginning, or 2026-11-24, or RFC 3339)", errUsage)
			}
			return withStore(cmd, func(ctx context.Context, s *app.Store) (err error) {
				if from != "beginning" {
					if o.From, err = day(s.Config, from); err != nil {
						return err
					}
				}
				return s.Replay(ctx, o, cmd.OutOrStdout())
			})
		}}
	cmd.Flags().StringVar(&o.Consumer, "consumer", "", "books, search, cases, chat or app")
	cmd.Flags().StringVar(&from, "from", "", "beginning, or 2026-11-24 (midnight at the office), or RFC 3339")
	cmd.Flags().BoolVar(&o.Empty, "empty", false, "take away first what it has from the stream; with --from beginning only")
	return cmd
}
