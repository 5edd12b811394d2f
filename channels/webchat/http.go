package webchat

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"yingda/channels"
	"yingda/intake"
)

// Cookie is the name of the cookie in which pages without a script keep the token; package web sets it.
const Cookie = "yingda-chat"

// Residents is the door for residents' browsers, to be mounted under /chat/: GET ws, POST files, GET files/<id>. The token is in the Authorization header
// (Bearer) or the cookie; a cookie counts for requests of our own pages only.
func (s *Server) Residents() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if !s.Allow(origin, r.Host) {
			s.refused("origin")
			fail(w, http.StatusForbidden, "origin", "这个网站没有开通在线对话。")
			return
		}
		if origin != "" {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", origin)
			h.Add("Vary", "Origin")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			h.Set("Access-Control-Allow-Methods", "GET, POST")
		}
		rest := below(r.URL.Path, "/chat/")
		switch {
		case r.Method == http.MethodOptions:
			w.WriteHeader(http.StatusNoContent)
		case r.Method == http.MethodGet && rest == "ws":
			s.serve(w, r, Staff{})
		case r.Method == http.MethodPost && rest == "files":
			token := s.bearer(r)
			s.takeFile(w, r, func(name string, body io.Reader) (File, error) { return s.Upload(r.Context(), token, name, body) })
		case r.Method == http.MethodGet && strings.HasPrefix(rest, "files/"):
			f, raw, err := s.OpenFile(r.Context(), s.bearer(r), strings.TrimPrefix(rest, "files/"))
			giveFile(w, f, raw, err)
		default:
			http.NotFound(w, r)
		}
	})
}

// Desk is the door for operators' desks, to be mounted under /desk/chat/: GET ws, POST files/<contact>, GET files/<contact>/<id>.
func (s *Server) Desk() http.Handler {
	inside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		staff, err := Staff{}, ErrNobody
		if s.c.Staff != nil {
			staff, err = s.c.Staff(r)
		}
		if err != nil && !errors.Is(err, ErrNobody) {
			fail(w, http.StatusServiceUnavailable, "later", sentences["later"])
			return
		}
		if err != nil || staff.User == "" {
			fail(w, http.StatusUnauthorized, "sign_in", "请先登录。")
			return
		}
		rest := below(r.URL.Path, "/desk/chat/")
		part := strings.Split(rest, "/")
		switch {
		case r.Method == http.MethodGet && rest == "ws":
			s.serve(w, r, staff)
		case r.Method == http.MethodPost && len(part) == 2 && part[0] == "files":
			id := intake.ContactID(part[1])
			if !staff.Desk || !s.has(staff.User, id) {
				fail(w, http.StatusForbidden, "not_yours", sentences["not_yours"])
				return
			}
			s.takeFile(w, r, func(name string, body io.Reader) (File, error) {
				f, err := s.upload(r.Context(), id, string(staff.User), name, body)
				return shownFile(f), err
			})
		case r.Method == http.MethodGet && len(part) == 3 && part[0] == "files":
			id := intake.ContactID(part[1])
			if !staff.SeeAny && !s.concerned(staff.User, id) {
				fail(w, http.StatusForbidden, "forbidden", sentences["forbidden"])
				return
			}
			f, raw, err := s.read(r.Context(), id, part[2])
			giveFile(w, shownFile(f), raw, err)
		default:
			http.NotFound(w, r)
		}
	})
	guard := http.NewCrossOriginProtection().Handler(inside)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A WebSocket is opened by GET, which the guard lets pass; another site's page must not open one with the operator's cookie.
		if origin := r.Header.Get("Origin"); origin != "" && !sameHost(origin, r.Host) {
			s.refused("origin")
			fail(w, http.StatusForbidden, "origin", sentences["forbidden"])
			return
		}
		guard.ServeHTTP(w, r)
	})
}

func sameHost(origin, host string) bool {
	_, rest, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(rest, host)
}

// below gives the path below the mount; the mount may have been stripped already.
func below(path, mount string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, mount), "/")
}

// bearer is the token of a request.
func (s *Server) bearer(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(token)
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return ""
	}
	if origin := r.Header.Get("Origin"); origin != "" && !sameHost(origin, r.Host) {
		return ""
	}
	if c, err := r.Cookie(Cookie); err == nil {
		return c.Value
	}
	return ""
}

// asNamed undoes what browsers make of these three in the name of a file (WHATWG HTML, multipart/form-data).
var asNamed = strings.NewReplacer("%22", `"`, "%0A", " ", "%0D", " ")

// takeFile reads a file out of a request: the body as it is, or the first file of a form.
func (s *Server) takeFile(w http.ResponseWriter, r *http.Request, keep func(name string, body io.Reader) (File, error)) {
	if r.ContentLength > s.limits.FileBytes+64<<10 {
		w.Header().Set("Connection", "close")
		fail(w, http.StatusRequestEntityTooLarge, "file", sentences["file"])
		return
	}
	name := ""
	var body io.Reader = http.MaxBytesReader(w, r.Body, s.limits.FileBytes+64<<10)
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "multipart/form-data" {
		r.Body = io.NopCloser(body)
		form, err := r.MultipartReader()
		if err != nil {
			fail(w, http.StatusBadRequest, "file", sentences["file"])
			return
		}
		for {
			part, err := form.NextPart()
			if err != nil {
				fail(w, http.StatusBadRequest, "file", sentences["file"])
				return
			}
			if part.FileName() != "" {
				body, name = part, asNamed.Replace(part.FileName())
				break
			}
		}
	}
	f, err := keep(name, body)
	if err != nil {
		failErr(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(f)
}

// giveFile sends one: pictures may be shown, everything else is only ever downloaded; nothing is guessed about it and nothing in it runs.
func giveFile(w http.ResponseWriter, f File, raw []byte, err error) {
	if err != nil {
		failErr(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.Type)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "private, max-age=3600")
	how := "attachment"
	if (channels.File{Type: f.Type}).Picture() {
		how = "inline"
	}
	name := f.Name
	if name == "" {
		name = f.ID + endings[f.Type]
	}
	h.Set("Content-Disposition", mime.FormatMediaType(how, map[string]string{"filename": name}))
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	_, _ = w.Write(raw)
}

// failErr answers with the status that fits an error of this package.
func failErr(w http.ResponseWriter, err error) {
	status, code := http.StatusServiceUnavailable, codeOf(err)
	for _, c := range []struct {
		err    error
		status int
	}{{ErrToken, 401}, {ErrForbidden, 403}, {ErrNotYours, 403}, {ErrOver, 409}, {ErrTooMany, 429}, {ErrFile, 422}, {ErrText, 422}, {ErrKey, 422}, {ErrNumber, 422}} {
		if errors.Is(err, c.err) {
			status = c.status
			break
		}
	}
	fail(w, status, code, sentences[code])
}

func fail(w http.ResponseWriter, status int, code, say string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "say": say})
}

func sortRooms(list []*room) {
	slices.SortFunc(list, func(a, b *room) int {
		if c := a.view.Arrived.Compare(b.view.Arrived); c != 0 {
			return c
		}
		return strings.Compare(string(a.id), string(b.id))
	})
}
