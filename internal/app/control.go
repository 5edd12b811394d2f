package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
)

// controlSocket is where the command line asks the process that serves for what only that can do: the index is open in one
// process, and the consumers run in one. Whoever may read the folder may ask.
func controlSocket(data string) string { return filepath.Join(data, "control.sock") }

// openControl answers the command line on a socket in the data folder.
func (a *App) openControl(run context.Context) error {
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
	mux.HandleFunc("GET /audit", answered(func(r *http.Request) (any, error) { return a.Audit(r.Context()) }))
	mux.HandleFunc("POST /dlq/retry", answered(func(r *http.Request) (any, error) {
		return nil, a.deadLetters().Retry(r.Context(), r.FormValue("id"))
	}))
	mux.HandleFunc("POST /replay/search", answered(func(r *http.Request) (any, error) {
		o := ReplayOptions{Consumer: "search", Empty: r.FormValue("empty") == "true"}
		if from := r.FormValue("from"); from != "" {
			var err error
			if o.From, err = time.Parse(time.RFC3339Nano, from); err != nil {
				return nil, err
			}
		}
		var said strings.Builder
		err := a.reread(r.Context(), a.index, o, &said)
		return said.String(), err
	}))
	a.control = l
	// What it is asked for ends with the program, and with whoever asks.
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return run }}
	a.wg.Go(func() { _ = s.Serve(l) })
	return nil
}

// answered gives what f returns as JSON; of its error the sentence, and which of the few that a caller can act on it is.
func answered(f func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		if err != nil {
			status := http.StatusInternalServerError
			for s, e := range controlErrors {
				if errors.Is(err, e) {
					status = s
				}
			}
			http.Error(w, err.Error(), status)
			return
		}
		_ = json.NewEncoder(w).Encode(v)
	}
}

var controlErrors = map[int]error{http.StatusNotFound: stream.ErrNoLetter, http.StatusUnprocessableEntity: intake.ErrInvalid}

// saidError is an error of the program that was asked.
type saidError struct {
	text string
	is   error
}

func (e saidError) Error() string { return e.text }
func (e saidError) Unwrap() error { return e.is }

// askServed asks the process that serves from the folder; ErrNotServed when there is none.
func askServed(ctx context.Context, c Config, method, path string, form map[string]string, into any) error {
	if !Served(c.Data) {
		return ErrNotServed
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", controlSocket(c.Data))
	}}}
	values := url.Values{}
	for k, v := range form {
		values.Set(k, v)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, strings.NewReader(values.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return ErrNotServed // starting or ending just now
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("the program that serves: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return saidError{strings.TrimSpace(string(body)), controlErrors[resp.StatusCode]}
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(bytes.NewReader(body)).Decode(into)
}

// AuditServed asks the process that serves from the folder for its audit; false when there is none to ask.
func AuditServed(ctx context.Context, c Config) (r AuditReport, asked bool, err error) {
	err = askServed(ctx, c, http.MethodGet, "/audit", nil, &r)
	if errors.Is(err, ErrNotServed) { // then we look ourselves
		return r, false, nil
	}
	if err != nil {
		err = fmt.Errorf("the program that serves could not audit: %w", err)
	}
	return r, true, err
}
