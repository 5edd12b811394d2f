package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/users"
)

// An export is a list as a file: CSV for programs, XLSX with a second sheet that says what the list is. What is masked on the screen is masked in
// it. It is written into the audit log before its first byte, and made row by row: a list of any length takes little memory.

// sheet is a table of an export. A value is a string, an int64, a time.Time or a time.Duration; nil is an empty cell.
type sheet struct {
	name    string
	columns []string // each has a name under "export.col." and a definition under "export.def."
	rows    iter.Seq2[[]any, error]
}

// export is a whole file.
type export struct {
	list   string // under "export.list."
	sheets []sheet
	notes  [][2]string // what else the sheet of explanations says
}

// exporters make each list's file.
var exporters = map[string]struct {
	deed users.Deed // of the page on which the list stands
	make func(*Server, context.Context, *visit) (export, error)
}{
	"contacts":   {users.SeeContacts, (*Server).exportContacts},
	"unreturned": {users.SeeUnreturned, (*Server).exportUnreturned},
	"cleared":    {users.SeeUnreturned, (*Server).exportCleared},
	"cases":      {users.SeeCases, (*Server).exportCases},
	"search":     {users.Search, (*Server).exportHits},
	"history":    {users.SeeHistory, (*Server).exportHistory},
	"team":       {users.SeeTeam, (*Server).exportTeam},
	"audit":      {users.SeeAudit, (*Server).exportTrail},
}

// exportLists names them, in the order of the main pages.
func exportLists() []string {
	return []string{"contacts", "unreturned", "cleared", "cases", "search", "history", "team", "audit"}
}

const (
	mostExports  = 2                // that are made at once: they must not take the tables from those who answer
	exportBudget = 15 * time.Minute // for one
)

func (s *Server) exportRoutes() {
	turn := make(chan struct{}, mostExports)
	s.add(route{pattern: "POST /export/{list}", deed: users.Export, do: func(v *visit) error {
		list := v.r.PathValue("list")
		e, ok := exporters[list]
		if !ok {
			return ErrNotFound
		}
		if !v.May(e.deed) {
			s.bare(v.w, v.r, http.StatusForbidden, "error.may_not")
			return nil
		}
		format := v.r.PostForm.Get("format")
		if format != "csv" && format != "xlsx" {
			return Refusal{v.T("export.format")}
		}
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		default:
			return Refusal{v.T("export.busy")}
		}
		ctx, cancel := context.WithTimeout(v.ctx(), exportBudget)
		defer cancel()
		x, err := e.make(s, ctx, v)
		if err != nil {
			return err
		}
		done := intake.ListExportedV1{Viewer: v.s.ID, List: list, Format: format, Filter: v.exportFilter().Encode()}
		if err := s.o.Trail.Exported(ctx, v.viewer(), done); err != nil {
			return fmt.Errorf("an export could not be written down, so it is not made: %w", err)
		}
		return s.sendExport(v, x, format)
	}})
}

// sendExport writes the file. An error before the first byte is a page; after it the connection is broken off, so that nobody takes half a list for
// a whole one.
func (s *Server) sendExport(v *visit, x export, format string) error {
	// The server has no time limit for answers; a reader that takes nothing for a minute has one here.
	out := &answerWriter{v: v, control: http.NewResponseController(v.w), name: v.exportName(x.list, format), format: format}
	var err error
	if format == "csv" {
		err = writeCSV(out, v, x.sheets[0])
	} else {
		err = writeXLSX(out, v, x)
	}
	switch {
	case err == nil:
		return nil
	case !out.begun:
		return err
	}
	if v.ctx().Err() == nil {
		s.c.Log.Error("an export was broken off", "list", x.list, "err", err)
	}
	panic(http.ErrAbortHandler)
}

// answerWriter sends the headers with the first byte, not before.
type answerWriter struct {
	v       *visit
	control *http.ResponseController
	name    string
	format  string
	begun   bool
}

func (w *answerWriter) Write(b []byte) (int, error) {
	if !w.begun {
		w.begun = true
		kind := "text/csv; charset=utf-8; header=present"
		if w.format == "xlsx" {
			kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
		}
		h := w.v.w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": w.name}))
	}
	_ = w.control.SetWriteDeadline(time.Now().Add(time.Minute)) // not every writer has one
	return w.v.w.Write(b)
}

var _ io.Writer = (*answerWriter)(nil)

func (v *visit) exportName(list, format string) string {
	return v.T("export.list."+list) + "-" + v.at(v.now).Format("20060102-1504") + "." + format
}

// exportAddress is where the list of this page is taken away from, narrowed as it is.
func (v *visit) exportAddress(list string) string {
	q := v.r.URL.Query()
	for _, k := range []string{"said", "after", "page", "saved"} {
		q.Del(k)
	}
	address := "/export/" + list
	if len(q) > 0 {
		address += "?" + q.Encode()
	}
	return address
}

// exportFilter is how the list was narrowed, for the audit log: what somebody searched for may be a name or a number, and is not in it.
func (v *visit) exportFilter() url.Values {
	out := url.Values{}
	for k, list := range v.exportQuery() {
		if slices.Contains(exportKeys, k) && list[0] != "" {
			out.Set(k, cut(plain(list[0]), 60))
		}
	}
	if out.Get("q") != "" {
		out.Set("q", "*")
	}
	return out
}

// exportQuery is the address, and for a search its form.
func (v *visit) exportQuery() url.Values {
	q := v.r.URL.Query()
	if v.r.PathValue("list") == "search" {
		q = url.Values{}
		for k, list := range v.r.PostForm {
			q[k] = list
		}
	}
	return q
}

// exportKeys are what lists are narrowed by, in the order in which the explanations tell them; each has a name under "export.filter.".
var exportKeys = []string{"from", "to", "by", "line", "channel", "state", "outcome", "figure", "part", "person", "operator", "missed", "flag", "clock", "cause", "grid", "age", "who", "kind", "source", "mine", "owed", "newest", "q"}

// filterWords tells how a list was narrowed.
func (v *visit) filterWords(q url.Values) string {
	var list []string
	for _, k := range exportKeys {
		value := q.Get(k)
		if value == "" {
			continue
		}
		switch k {
		case "from", "to":
			if t, err := time.Parse(time.RFC3339, value); err == nil {
				value = v.at(t).Format("2006-01-02 15:04")
			}
		case "channel":
			value = v.or("channel.", value)
		case "state":
			if value = v.or("list.state.", value); value == q.Get(k) {
				value = v.or("state.", value)
			}
		case "outcome", "cause":
			value = v.or("outcome.", value)
		case "part":
			value = v.or("list.part.", value)
		case "flag":
			value = v.or("flag.", value)
		case "age":
			value = v.or("filter.age.", value)
		case "by":
			value = v.or("history.by.", value)
		case "kind":
			if value = v.or("trail.kind.", value); value == q.Get(k) {
				value = v.or("kind.", value)
			}
		case "source":
			value = v.or("source.", value)
		case "who", "operator", "missed":
			if value == "nobody" {
				value = v.T("filter.nobody")
			} else {
				value = v.colleague(intake.UserID(value))
			}
		case "mine", "owed", "newest":
			value = v.T("yes")
		case "q":
			value = v.T("export.q")
		}
		list = append(list, v.T("export.filter."+k)+v.T("colon")+value)
	}
	if len(list) == 0 {
		return v.T("export.all")
	}
	return strings.Join(list, v.T("semicolon"))
}

// colleague is somebody's name, or their id when they are not known.
func (v *visit) colleague(id intake.UserID) string {
	u, err := v.srv.c.Users.ByID(v.ctx(), id)
	if err != nil {
		if !errors.Is(err, users.ErrUnknown) {
			v.srv.c.Log.Log(v.ctx(), slog.LevelWarn, "a colleague's name could not be read", "err", err)
		}
		return plain(string(id))
	}
	return plain(u.Name)
}

// mapped makes rows of an export of a list's.
func mapped[T any](list iter.Seq2[T, error], row func(T) []any) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		for x, err := range list {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(row(x), nil) {
				return
			}
		}
	}
}

// each gives what is in memory already.
func each[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}
