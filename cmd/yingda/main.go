// Command yingda is the hotline: one binary, many verbs. `yingda serve` answers calls; `yingda demo` shows it to a newcomer;
// the others look after what is kept. `yingda help` lists them.
//
// Exit codes: 0 done; 1 it could not be done, or an audit found a difference (the reason is on standard error); 2 the
// command line or the configuration is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"yingda/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "yingda:", err)
		if errors.Is(err, app.ErrConfig) || errors.Is(err, app.ErrArgument) || errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

var errUsage = errors.New("usage")

func newRoot() *cobra.Command {
	root := &cobra.Command{Use: "yingda", Short: "应答: a public hotline on which nobody is lost", SilenceUsage: true, SilenceErrors: true}
	f := root.PersistentFlags()
	f.String("config", os.Getenv("YINGDA_CONFIG"), "YAML file (also YINGDA_CONFIG); none is needed")
	f.String("data", "", "folder in which everything is kept (also YINGDA_DATA; default ./data)")
	f.String("http", "", "address of the pages (http.listen)")
	f.String("sip", "", "address of SIP over UDP and TCP (sip.udp, sip.tcp)")
	f.String("log-level", "", "debug, info, warn or error (log.level)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(serveCmd(), demoCmd(), doctorCmd(), versionCmd(), schemaCmd(), configCmd(), auditCmd(), exportCmd(), importCmd(),
		dlqCmd(), replayCmd(), promptsCmd(), gridsCmd(), rulesCmd(), searchCmd(), tokenCmd(), userCmd(), linesCmd(), backupCmd(), restoreCmd(), tablesCmd(), streamCmd(), nodesCmd())
	strict(root)
	return root
}

// configOf reads the configuration that the flags of a command name.
func configOf(cmd *cobra.Command) (app.Config, error) {
	path, _ := cmd.Flags().GetString("config")
	set := map[string]any{}
	for flag, keys := range map[string][]string{"data": {"data"}, "http": {"http.listen"}, "sip": {"sip.udp", "sip.tcp"}, "log-level": {"log.level"}} {
		if v, _ := cmd.Flags().GetString(flag); v != "" {
			for _, k := range keys {
				set[k] = v
			}
		}
	}
	return app.Load(path, os.Environ(), set)
}

// logger writes to standard error, so that what a command prints can be piped.
func logger(c app.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(strings.ToUpper(c.Log.Level)))
	o := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// withStore runs f over what is kept, beside a running program or without one.
func withStore(cmd *cobra.Command, f func(ctx context.Context, s *app.Store) error) error {
	c, err := configOf(cmd)
	if err != nil {
		return err
	}
	s, err := app.OpenStore(cmd.Context(), c, app.StoreOptions{Logger: logger(c)})
	if err != nil {
		return err
	}
	return errors.Join(f(cmd.Context(), s), s.Close())
}
