package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"yingda/internal/app"
	"yingda/internal/demo"
)

func serveCmd() *cobra.Command {
	var grace time.Duration
	cmd := &cobra.Command{Use: "serve", Short: "answer calls", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := configOf(cmd)
		if err != nil {
			return err
		}
		if len(c.Stream.Kafka.Brokers) > 0 && os.Getenv("GOGC") == "" {
			debug.SetGCPercent(400) // a city's machine has memory, and much to read; an office's small one keeps what it has
		}
		if c.Member() {
			m, err := app.Join(cmd.Context(), c, app.Options{Logger: logger(c)})
			if err != nil {
				return err
			}
			if a := m.App(); a != nil {
				if err := a.FirstAccount(cmd.Context(), os.Stdout); err != nil {
					return errors.Join(err, m.Stop(cmd.Context()))
				}
			}
			return waitAndStop(cmd.Context(), m, grace)
		}
		a, err := app.Start(cmd.Context(), c, app.Options{Logger: logger(c)})
		if err != nil {
			return err
		}
		if err := a.FirstAccount(cmd.Context(), os.Stdout); err != nil {
			return errors.Join(err, a.Stop(cmd.Context()))
		}
		return waitAndStop(cmd.Context(), a, grace)
	}}
	cmd.Flags().DurationVar(&grace, "grace", 10*time.Minute, "how long live calls may go on after SIGTERM; a second signal ends them")
	return cmd
}

// running is an App, or a Member of several machines.
type running interface {
	Failed() <-chan error
	Stop(ctx context.Context) error
}

// waitAndStop serves until a signal or a fatal fault, then lets live calls end.
func waitAndStop(ctx context.Context, a running, grace time.Duration) error {
	var fault error
	select {
	case <-ctx.Done():
	case fault = <-a.Failed():
		grace = 5 * time.Second
	}
	stop, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		<-again
		cancel()
	}()
	return errors.Join(fault, a.Stop(stop))
}

func demoCmd() *cobra.Command {
	var fresh bool
	cmd := &cobra.Command{Use: "demo", Short: "show it: an invented district, 30 days of history, robots that phone", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configOf(cmd)
			if err != nil {
				return err
			}
			if d, _ := cmd.Flags().GetString("data"); d == "" && os.Getenv("YINGDA_DATA") == "" {
				c.Data = "data/demo"
			}
			if fresh {
				if app.Served(c.Data) {
					return fmt.Errorf("%w (%s)", app.ErrServed, c.Data)
				}
				if err := os.RemoveAll(c.Data); err != nil {
					return err
				}
			}
			return demo.Run(cmd.Context(), c, logger(c), os.Stdout)
		}}
	cmd.Flags().BoolVar(&fresh, "fresh", false, "begin anew: what an earlier demo left is removed")
	return cmd
}
