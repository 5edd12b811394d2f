package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// gate is the door for pages of a machine that is one of several: they are served here while the switchboard is here, and fetched from where it is otherwise. So an
// address of the office works whichever machine it names.
//
// Goroutine: net/http's; it ends with Close.
type gate struct {
	listener net.Listener
	server   *http.Server
	tls      bool
	pass     string // by which the machines of an office know what one sends on for somebody
	own      atomic.Pointer[http.Handler]
	owner    func() string
	proxy    *httputil.ReverseProxy
	office   string
	number   string
	log      *slog.Logger
}

// Headers between the machines of an office. They are taken off everything that comes from elsewhere.
const (
	passHeader   = "X-Yingda-Pass"
	clientHeader = "X-Yingda-Client"
)

func openGate(c Config, secret []byte, owner func() string, log *slog.Logger, fail func(error)) (*gate, error) {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("pages"))
	g := &gate{pass: hex.EncodeToString(mac.Sum(nil)), owner: owner, log: log, office: c.Office.Name, tls: c.HTTP.TLSCert != ""}
	if len(c.Lines) > 0 {
		g.number = c.Lines[0].Number
	}
	g.proxy = &httputil.ReverseProxy{Rewrite: g.rewrite, ErrorHandler: g.away, FlushInterval: -1, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, ResponseHeaderTimeout: 30 * time.Second, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}}
	var err error
	if g.listener, err = listenHTTP(c.HTTP); err != nil {
		return nil, err
	}
	g.server = newHTTPServer(g, log)
	go func() {
		if err := g.server.Serve(g.listener); !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("pages: %w", err))
		}
	}()
	return g, nil
}

// Serve makes h what is served here; nil: pages are fetched from the machine that has the switchboard.
func (g *gate) Serve(h http.Handler) {
	if h == nil {
		g.own.Store(nil)
		return
	}
	g.own.Store(&h)
}

// URL of the pages.
func (g *gate) URL() string { return pagesURL(g.listener.Addr(), g.tls) }

// Close ends it.
func (g *gate) Close(ctx context.Context) error {
	err := g.server.Shutdown(ctx)
	if err != nil { // streams of events never end by themselves
		err = g.server.Close()
	}
	return err
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sentOn := hmac.Equal([]byte(r.Header.Get(passHeader)), []byte(g.pass))
	if client := r.Header.Get(clientHeader); sentOn && client != "" {
		r.RemoteAddr = client
	}
	r.Header.Del(passHeader)
	r.Header.Del(clientHeader)
	if own := g.own.Load(); own != nil {
		(*own).ServeHTTP(w, r)
		return
	}
	switch {
	case r.URL.Path == "/livez":
		_, _ = w.Write([]byte("ok\n"))
	case r.URL.Path == "/readyz":
		g.ready(w)
	case sentOn: // who sent it here believes that we have the switchboard: never back and forth
		g.away(w, r, errors.New("sent here, and the switchboard is not here"))
	case g.owner() == "":
		g.away(w, r, errors.New("nobody is known to have the switchboard"))
	default:
		g.proxy.ServeHTTP(w, r)
	}
}

func (g *gate) rewrite(r *httputil.ProxyRequest) {
	to, err := url.Parse(g.owner())
	if err != nil || to.Host == "" {
		return // the request goes nowhere, and away says so
	}
	r.SetURL(to)
	r.Out.Host = r.In.Host // cookies, origins and links stay those of the address that people use
	r.Out.Header.Set(passHeader, g.pass)
	r.Out.Header.Set(clientHeader, r.In.RemoteAddr)
}

// away is what people see for the seconds in which nobody has the switchboard.
func (g *gate) away(w http.ResponseWriter, r *http.Request, err error) {
	g.log.Debug("a page could not be fetched", "path", r.URL.Path, "err", err)
	w.Header().Set("Retry-After", "3")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = fmt.Fprintf(w, `<!doctype html><html lang="zh-CN"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="3"><title>%[1]s</title>
<h1>正在切换，请稍候</h1><p>页面几秒后自动打开。急事请直接打电话 <a href="tel:%[2]s">%[2]s</a>。</p><p lang="en">Switching over. This page opens by itself in a few seconds.</p></html>`,
		html.EscapeString(g.office), html.EscapeString(g.number))
}

func (g *gate) ready(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	at := g.owner()
	if at == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"ready":false,"role":"standby","not_ready":{"switchboard":"nobody is known to have it"}}` + "\n"))
		return
	}
	_, _ = w.Write([]byte(`{"ready":true,"role":"standby"}` + "\n"))
}

// listenHTTP opens the door for pages.
func listenHTTP(c HTTPConfig) (net.Listener, error) {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	if c.TLSCert == "" {
		return listener, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pages: %w", err), listener.Close())
	}
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}), nil
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}

func pagesURL(at net.Addr, secure bool) string {
	if secure {
		return "https://" + at.String()
	}
	return "http://" + at.String()
}
