package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	door "yingda/channels/app"
	"yingda/web"
)

// openHTTP serves the pages, the API, and what machines ask: /livez, /readyz, /metrics.
func (a *App) openHTTP() error {
	c := a.Config
	a.web = web.New(web.Config{Office: c.Office.Name, Zone: c.location(), Secure: c.HTTP.TLSCert != "", Users: a.users, Log: a.log, Now: a.now}, a.office())
	a.metrics = a.newMetrics()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelError)}))
	for _, p := range door.Patterns() {
		mux.Handle(p, a.door)
	}
	mux.Handle("/chat/", a.talks.Residents())
	mux.Handle("/r/chat/files/", http.StripPrefix("/r", a.talks.Residents())) // the cookie of the page without a script is sent below /r/ only
	mux.Handle("/desk/chat/", a.talks.Desk())
	mux.Handle("/", a.web)
	if a.gate != nil { // it listens already, for whoever of the machines has the switchboard
		a.httpAt = a.gate.listener.Addr()
		a.gate.Serve(mux)
		return nil
	}
	listener, err := listenHTTP(c.HTTP)
	if err != nil {
		return err
	}
	a.httpAt = listener.Addr()
	a.http = newHTTPServer(mux, a.log)
	a.wg.Go(func() {
		if err := a.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.fail(fmt.Errorf("pages: %w", err))
		}
	})
	return nil
}

// URL of the pages.
func (a *App) URL() string { return pagesURL(a.httpAt, a.Config.HTTP.TLSCert != "") }

// Ready says what is not ready; nothing when everything is.
func (a *App) Ready(ctx context.Context) map[string]string {
	not := map[string]string{}
	if a.draining.Load() {
		not["calls"] = "the program is ending: no new calls"
	}
	if s := a.degraded.Load(); s != nil && s.Degraded {
		not["log"] = fmt.Sprintf("does not write since %s, %d events wait: %v", s.Since.UTC().Format(time.RFC3339), s.Waiting, s.Err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var one int
	if err := a.DB.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
		not["tables"] = err.Error()
	}
	if err := a.loop.Look(ctx, func(time.Time) {}); err != nil {
		not["switchboard"] = "does not answer: " + err.Error()
	}
	for _, r := range a.readers {
		if since := r.failing.Load(); since > 0 {
			not[r.name] = "fails since " + time.UnixMilli(since).UTC().Format(time.RFC3339)
			continue
		}
		lag, err := a.lag(ctx, r)
		if err != nil {
			not[r.name] = err.Error()
		} else if late := lagSeconds(a.now(), lag); late > 30 {
			not[r.name] = fmt.Sprintf("is %d events and %.0f s behind", lag.Records, late)
		}
	}
	return not
}

func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	not := a.Ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if len(not) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(not) == 0, "not_ready": not, "live_calls": a.Live(r.Context())})
}
