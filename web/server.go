package web

import (
	"log/slog"
	"net/http"
	"time"

	"yingda/internal/users"
)

// Config of a Server.
type Config struct {
	Office string         // name of the hotline, shown on every page: 梅溪街道便民热线
	Zone   *time.Location // in which times are shown and days are cut; nil: UTC
	Secure bool           // reached over HTTPS only: cookies say so
	Users  *users.Book
	Log    *slog.Logger     // nil: slog.Default
	Now    func() time.Time // nil: time.Now
	Stale  time.Duration    // books older than that are not shown as now; 0: 10 s
}

// New makes the pages and the API.
func New(c Config, o Office) *Server { panic("not yet") }

// Server is an http.Handler: all pages, the API under /api/v1/, assets under /assets/.
type Server struct{}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("not yet") }

// Close ends all live pages, so that the HTTP server can shut down.
func (s *Server) Close() {}
