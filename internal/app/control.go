package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// controlSocket is where the command line asks the process that serves for what only that can see: the index is open in one
// process. Whoever may read the folder may ask.
func controlSocket(data string) string { return filepath.Join(data, "control.sock") }

// openControl answers the command line on a socket in the data folder.
func (a *App) openControl() error {
	path := controlSocket(a.Config.Data)
	_ = os.Remove(path) // the lock says that nobody else serves from here
	l, err := net.Listen("unix", path)
	if err != nil {
		// A path that is too long for a socket must not keep a hotline from answering.
		a.log.Warn("the command line cannot ask this process", "err", err)
		return nil
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /audit", func(w http.ResponseWriter, r *http.Request) {
		report, err := a.Audit(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(report)
	})
	a.control = l
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	a.wg.Go(func() { _ = s.Serve(l) })
	return nil
}

// AuditServed asks the process that serves from the folder for its audit; false when there is none to ask.
func AuditServed(ctx context.Context, c Config) (r AuditReport, asked bool, err error) {
	if !Served(c.Data) {
		return r, false, nil
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", controlSocket(c.Data))
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://control/audit", nil)
	if err != nil {
		return r, false, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return r, false, nil // starting or ending just now: look ourselves
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return r, true, fmt.Errorf("the program that serves could not audit: %s", resp.Status)
	}
	return r, true, json.NewDecoder(resp.Body).Decode(&r)
}
