package sip

import (
	"context"
	"log/slog"

	sipgo "github.com/emiago/sipgo/sip"
)

func init() {
	sipgo.UDPMTUSize = 65535                  // responses over 1,300 bytes would vanish silently
	sipgo.TransportBufferReadSize = 65535     // and requests over 32 KiB
	sipgo.SetDefaultLogger(slog.New(quiet{})) // for the corners of sipgo that take no logger
}

// quiet is the log of sipgo with the people taken out: it writes whole packets, request lines and headers into its messages at every level,
// so nothing passes but the sentence itself, and that only from warnings up. A nil next is slog's default at the time.
type quiet struct{ next slog.Handler }

func (q quiet) handler() slog.Handler {
	if q.next == nil {
		return slog.Default().Handler()
	}
	return q.next
}

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.handler().Enabled(ctx, slog.LevelDebug)
}

// Handle writes it as debug: what sipgo calls an error is a peer's, and ours are logged by us.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, slog.LevelDebug, "sipgo: "+r.Message, r.PC)
	return q.handler().Handle(ctx, out)
}

func (q quiet) WithAttrs([]slog.Attr) slog.Handler { return q }
func (q quiet) WithGroup(string) slog.Handler      { return q }
