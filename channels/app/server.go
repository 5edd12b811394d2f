package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"yingda/channels/sealed"
	"yingda/intake"
	"yingda/internal/pii"
)

// Server is the door. It is safe for use by many at once.
type Server struct {
	config  Config
	slog    *slog.Logger
	mux     *http.ServeMux
	ctx     context.Context // of the goroutines, ended by Close
	stop    context.CancelFunc
	wg      sync.WaitGroup
	files   sealed.Dir
	clerk   *clerk
	courier *courier
	limits  limits
	tries   tries
	photos  chan struct{} // one picture is decoded at a time: each may take nearly 200 MB

	mu     sync.Mutex
	flying map[string]*flight // submissions under way, by the digest of their key
	closed bool
}

// flight is a submission under way. Those who come with the same key wait for it and then see what became of it.
type flight struct{ landed chan struct{} }

// hooks let the tests of this package make trouble.
type hooks struct {
	afterClaim func() error    // between claim and log: what a crash there would do
	backoff    []time.Duration // between tries of a webhook
	patience   time.Duration   // after which one that only fails is given up
	tls        *tls.Config     // trusts the receivers of webhooks in tests
}

// Patterns are those of http.ServeMux that are to lead to the Server. They are longer than "/api/v1/" of others and go before it.
func Patterns() []string {
	return []string{"/api/v1/submissions", "/api/v1/submissions/", "/api/v1/services", "/api/v1/openapi.json", "/api/v1/openapi.yaml", "/api/v1/docs", "/api/v1/docs.css", "/open311/"}
}

// New makes a Server ready and starts it.
func New(ctx context.Context, c Config) (*Server, error) {
	switch {
	case c.DB == nil || c.Log == nil || c.Users == nil:
		return nil, errors.New("app: tables, log and users are needed")
	case c.Dir == "" || c.Seal == nil:
		return nil, errors.New("app: a folder for attachments and their keys are needed")
	case c.Source == "" || c.Epoch == 0:
		return nil, errors.New("app: the source of the events and its epoch are needed")
	}
	if c.Switchboard == "" {
		c.Switchboard = "main"
	}
	if c.Line == "" {
		c.Line = "main"
	}
	if c.Lines == nil {
		c.Lines = func(l intake.LineID) bool { return l == c.Line }
	}
	if c.Caller == nil {
		c.Caller = func(pii.Phone) intake.Token { return "" }
	}
	if c.Services == nil {
		c.Services = func() []Service { return nil }
	}
	if c.KeysLast <= 0 {
		c.KeysLast = 72 * time.Hour
	}
	if c.Alarm == nil {
		c.Alarm = func(Alarm) {}
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("app: folder for attachments: %w", err)
	}
	s := &Server{config: c, slog: c.Logger, files: attachments(c), photos: make(chan struct{}, 1), flying: map[string]*flight{}}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.clerk = newClerk(s)
	s.courier = newCourier(s)
	s.limits.load = s.takenSince
	s.limits.zone = time.UTC
	s.routes()
	s.wg.Go(s.clerk.run)
	s.wg.Go(s.courier.run)
	s.wg.Go(s.sweep)
	return s, nil
}

// Close ends it: what is being written is written, webhooks that are not delivered stay in the table. Nobody may be in ServeHTTP or Submit any
// more who wants a good answer: they get ErrClosed.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		s.stop()
	}
	s.wg.Wait()
	return nil
}

// ServeHTTP answers under Patterns.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) now() time.Time { return intake.Millis(s.config.Now()) }

// sweepEvery is how often keys and files are looked through.
const sweepEvery = time.Hour

func (s *Server) sweep() {
	every := time.NewTicker(sweepEvery)
	defer every.Stop()
	for {
		if err := s.sweepOnce(s.ctx); err != nil && s.ctx.Err() == nil {
			s.slog.Error("submissions: old keys and files", "err", err)
		}
		select {
		case <-s.ctx.Done():
			return
		case <-every.C:
		}
	}
}
