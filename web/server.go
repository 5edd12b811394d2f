package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"yingda/internal/users"
	"yingda/web/assets"
	"yingda/web/words"
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
	Slow   time.Duration    // a part that takes longer is sent after its skeleton; 0: 400 ms
	// From gives the address that a request came from, for throttling sign-ins; nil: the peer's. Behind a proxy the wiring takes it
	// from a header that only the proxy can set.
	From   func(*http.Request) string
	Limits Limits // of what people without an account may ask for
}

const (
	maxBody = 64 << 10 // of any form
	maxPath = 4 << 10
)

// Server is an http.Handler: all pages, the API under /api/v1/, assets under /assets/.
type Server struct {
	c       Config
	o       Office
	routes  []route
	handler http.Handler
	stop    chan struct{}
	once    sync.Once

	mu      sync.Mutex
	saved   Owed // the last whole list of unreturned callers that could be read
	savedAt time.Time
	heat    Heat
	heatAt  time.Time
	front   Front // the last that could be read

	limits  *limiter
	uploads chan struct{} // one for each letter that is being read
}

// route is one way in. Exactly one of deed, anyone, signedIn says who may.
type route struct {
	pattern  string
	deed     users.Deed
	anyone   bool  // also without a session
	signedIn bool  // with any session, be it that of a wall
	api      bool  // bearer token or session; errors are problem+json
	quiet    bool  // asked for by the page itself, not by a person
	body     int64 // bytes of a request's body that are read; 0: maxBody
	do       func(*visit) error
}

// New makes the pages and the API. The caller mounts it at the root and calls Close before shutting the HTTP server down.
func New(c Config, o Office) *Server {
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Stale <= 0 {
		c.Stale = 10 * time.Second
	}
	if c.Slow <= 0 {
		c.Slow = 400 * time.Millisecond
	}
	if c.From == nil {
		c.From = func(r *http.Request) string {
			host, _, err := net.SplitHostPort(r.RemoteAddr)
			if err != nil {
				return r.RemoteAddr
			}
			return host
		}
	}
	c.Limits = c.Limits.full()
	s := &Server{c: c, o: o, stop: make(chan struct{}), limits: newLimiter(100_000), uploads: make(chan struct{}, uploads)}
	s.accountRoutes()
	s.residentRoutes()
	s.boardRoutes()
	s.unreturnedRoutes()
	s.contactRoutes()
	s.searchRoutes()
	s.caseRoutes()
	s.lineRoutes()
	s.userRoutes()
	s.deskRoutes()
	s.workerRoutes()
	s.historyRoutes()
	s.teamRoutes()
	s.auditRoutes()
	s.exportRoutes()
	s.apiRoutes()

	mux := http.NewServeMux()
	for _, r := range s.routes {
		mux.Handle(r.pattern, s.guard(r))
	}
	mux.Handle("GET /assets/", assets.Handler())
	mux.Handle("/", http.HandlerFunc(s.nowhere))
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.bare(w, r, http.StatusForbidden, "error.cross")
	}))
	s.handler = s.harden(cross.Handler(mux))
	return s
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close ends all live pages, so that the HTTP server can shut down.
func (s *Server) Close() { s.once.Do(func() { close(s.stop) }) }

func (s *Server) add(r route) { s.routes = append(s.routes, r) }

// policy lets a page use what comes from here and nothing else: no inline script or style, no frame around it.
const policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// harden is around everything: headers, and a last resort for panics.
func (s *Server) harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Cache-Control", "no-store") // pages hold what concerns people; assets set their own
		if s.c.Secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if len(r.URL.Path)+len(r.URL.RawQuery) > maxPath {
			s.bare(w, r, http.StatusRequestURITooLong, "error.long")
			return
		}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // the value itself, as net/http has it
				panic(p)
			}
			s.c.Log.Error("a page panicked", "method", r.Method, "panic", p)
			s.bare(w, r, http.StatusInternalServerError, "error.fault")
		}()
		next.ServeHTTP(w, r)
	})
}

// visit is one request of one person. Templates take their words and times from it.
type visit struct {
	w   http.ResponseWriter
	r   *http.Request
	srv *Server
	t   *words.Tongue
	s   users.Session
	tok *users.Token // instead of a session: a program
	now time.Time

	secret string // of the session
	nav    string // which of the main pages this is
	live   string // address of the stream, "" when the page does not change
	theme  string // "", "dark", "light"
}

func (s *Server) visit(w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{w: w, r: r, srv: s, t: words.Chinese, now: s.c.Now()}
	if c, err := r.Cookie("lang"); err == nil {
		v.t = words.Of(c.Value)
	}
	if c, err := r.Cookie("theme"); err == nil && (c.Value == "dark" || c.Value == "light") {
		v.theme = c.Value
	}
	return v
}

const bearer = "Bearer "

// guard lets a request through to its route, or says why not.
func (s *Server) guard(rt route) http.Handler {
	if rt.body == 0 {
		rt.body = maxBody
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, rt.body)
		v := s.visit(w, r)
		if auth := r.Header.Get("Authorization"); rt.api && auth != "" {
			t, err := s.c.Users.Token(r.Context(), strings.TrimPrefix(auth, bearer))
			if err != nil || !strings.HasPrefix(auth, bearer) {
				s.refuse(v, rt, http.StatusUnauthorized, err)
				return
			}
			v.tok = &t
			if !t.May(rt.deed) {
				s.refuse(v, rt, http.StatusForbidden, nil)
				return
			}
			s.answer(v, rt, rt.do(v))
			return
		}
		if c, err := r.Cookie(s.cookieName()); err == nil {
			session, err := s.c.Users.Session(r.Context(), c.Value, rt.quiet)
			switch {
			case err == nil:
				v.s, v.secret = session, c.Value
			case !errors.Is(err, users.ErrNoSession):
				s.answer(v, rt, err)
				return
			}
		}
		switch {
		case rt.anyone:
		case v.s.ID == "":
			s.refuse(v, rt, http.StatusUnauthorized, nil)
			return
		case rt.signedIn:
		case v.s.MustChange && !v.s.Wall && rt.deed != users.OwnAccount && !rt.api && users.May(v.s.Role, rt.deed):
			v.to("/password")
			return
		case !v.s.May(rt.deed):
			s.refuse(v, rt, http.StatusForbidden, nil)
			return
		}
		if r.Method == http.MethodPost {
			if err := r.ParseForm(); err != nil {
				s.bare(w, r, http.StatusRequestEntityTooLarge, "error.large")
				return
			}
			if !rt.anyone && !sameToken(v.s.CSRF, r) {
				s.bare(w, r, http.StatusForbidden, "error.csrf")
				return
			}
		}
		s.answer(v, rt, rt.do(v))
	})
}

// Who is signed in, by the request's cookie: for what is served beside the pages, such as a WebSocket. Looking keeps no session alive. users.ErrNoSession
// says nobody, another error that it cannot be known now.
func (s *Server) Who(ctx context.Context, r *http.Request) (users.Session, error) {
	c, err := r.Cookie(s.cookieName())
	if err != nil {
		return users.Session{}, users.ErrNoSession
	}
	session, err := s.c.Users.Session(ctx, c.Value, true)
	if err == nil && (session.ID == "" || session.Wall || session.MustChange) {
		err = users.ErrNoSession
	}
	return session, err
}

// viewer is who acts, as an Office wants it.
func (v *visit) viewer() Viewer {
	return Viewer{ID: v.s.ID, Name: v.s.Name, Role: v.s.Role, Grids: v.s.Grids}
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// May is asked by templates: what may not be done has no button.
func (v *visit) May(d users.Deed) bool { return v.s.May(d) }

// to sends the browser to another of our pages.
func (v *visit) to(path string) { http.Redirect(v.w, v.r, path, http.StatusSeeOther) }

// back sends the browser to the page that a deed was done on, with a word about it (a key under "said.").
func (v *visit) back(path, said string) error {
	mark := "?"
	if strings.Contains(path, "?") {
		mark = "&"
	}
	v.to(path + mark + "said=" + said)
	return nil
}

// local is a path on this server that a form named, else fallback: never another server's.
func local(path, fallback string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return fallback
	}
	return path
}

func (s *Server) cookieName() string {
	if s.c.Secure {
		return "__Host-yingda"
	}
	return "yingda"
}

func (s *Server) setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	seconds := int(age / time.Second)
	if value == "" {
		seconds = -1
	}
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, Secure: s.c.Secure, SameSite: http.SameSiteLaxMode})
}

// refuse says that somebody may not: a browser is sent to sign in, a program told how to.
func (s *Server) refuse(v *visit, rt route, status int, err error) {
	if err != nil && !errors.Is(err, users.ErrNoToken) {
		s.answer(v, rt, err)
		return
	}
	if rt.api {
		if status == http.StatusUnauthorized {
			v.w.Header().Set("WWW-Authenticate", `Bearer realm="yingda"`)
			problem(v.w, status, "not signed in", "Send the header Authorization: Bearer ydt_… with a token that is valid; an administrator makes one with: yingda token create --role auditor")
			return
		}
		problem(v.w, status, "not allowed", "The role of this token may not read the API; it takes auditor, supervisor or administrator.")
		return
	}
	if status == http.StatusUnauthorized && v.r.Method == http.MethodGet && v.r.Header.Get("X-Part") == "" && !strings.HasPrefix(v.r.URL.Path, "/live/") {
		v.to("/sign-in?next=" + queryEscape(v.r.URL.RequestURI()))
		return
	}
	if status == http.StatusUnauthorized {
		s.bare(v.w, v.r, status, "error.session")
		return
	}
	s.bare(v.w, v.r, status, "error.may_not")
}

// answer writes what a route returned as an error; nil has written its answer itself.
func (s *Server) answer(v *visit, rt route, err error) {
	if err == nil || v.ctx().Err() != nil {
		return
	}
	status, key := http.StatusServiceUnavailable, "error.fault"
	var refusal Refusal
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, users.ErrUnknown):
		status, key = http.StatusNotFound, "error.not_found"
	case errors.Is(err, ErrGone):
		status, key = http.StatusConflict, "error.gone"
	case errors.Is(err, ErrBusy):
		status, key = http.StatusConflict, "error.busy"
	case errors.Is(err, ErrNoPhone):
		status, key = http.StatusConflict, "error.no_phone"
	case errors.Is(err, ErrOnCall):
		status, key = http.StatusConflict, "error.on_call"
	case errors.As(err, &refusal):
		status = http.StatusConflict
	case errors.Is(err, ErrCursor):
	default:
		s.c.Log.Error("a request failed", "route", rt.pattern, "err", err)
	}
	if rt.api {
		switch {
		case errors.Is(err, ErrCursor):
			problem(v.w, http.StatusBadRequest, "bad parameter", "after is no cursor of ours; take it from next of the page before, or leave it out to begin.")
		case status == http.StatusNotFound:
			problem(v.w, status, "not found", "There is no such contact. Take ids from GET /api/v1/contacts.")
		default:
			problem(v.w, status, "cannot read now", "Calls are taken as always. Try again in some seconds.")
		}
		return
	}
	s.say(v, status, key, refusal.Sentence)
}
