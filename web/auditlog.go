package web

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"yingda/intake"
	"yingda/internal/users"
)

func (s *Server) auditRoutes() {
	s.page(page{
		path: "/audit", deed: users.SeeAudit, nav: "audit",
		title: func(v *visit) string { return v.T("trail.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			f := v.trailFilter()
			p, err := s.o.Trail.List(ctx, f)
			return "", trailPage(v, p, f), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
}

const trailRows = 50

func (v *visit) trailFilter() TrailFilter {
	q := v.r.URL.Query()
	f := TrailFilter{Who: intake.UserID(q.Get("who")), Kind: q.Get("kind"), After: q.Get("after"), Limit: trailRows}
	if !slices.Contains(TrailKinds(), f.Kind) {
		f.Kind = ""
	}
	f.From, f.To = v.window(q)
	return f
}

// did says an entry in a few words: 看了号码, 导出「来访」.
func (v *visit) did(r TrailRow) string {
	key := "trail.what." + r.Kind + "." + r.What
	switch {
	case r.Kind == "exported":
		return v.T("trail.what.exported", v.or("export.list.", r.What))
	case v.t.Has(key):
		return v.T(key)
	}
	return v.T("trail.kind."+r.Kind) + v.T("colon") + plain(r.What)
}

// manner says in what way: the parts of an entry as words.
func (v *visit) manner(r TrailRow) string {
	var list []string
	for _, m := range r.More {
		text := m.Value
		switch m.Name {
		case "from_ms", "to_ms":
			ms, _ := strconv.ParseInt(m.Value, 10, 64)
			text = mmss(time.Duration(ms) * time.Millisecond)
			if ms < 0 {
				text = v.T("trail.end")
			}
		case "role", "before":
			text = v.or("role.", m.Value)
		case "wall":
			text = ""
		case "filter":
			if q, err := url.ParseQuery(m.Value); err == nil {
				text = v.filterWords(q)
			}
		case "format":
			text = strings.ToUpper(m.Value)
		}
		if name := v.T("trail.more." + m.Name); text != "" {
			list = append(list, name+" "+plain(text))
		} else {
			list = append(list, name)
		}
	}
	return strings.Join(list, v.T("comma"))
}

// why are the words that somebody gave: a reason of our list is said as the list has it.
func (v *visit) why(reason string) string {
	head, words, _ := strings.Cut(reason, ": ")
	for _, prefix := range []string{"reveal.", "close."} {
		if v.t.Has(prefix + head) {
			if words == "" {
				return v.T(prefix + head)
			}
			return v.T(prefix+head) + v.T("colon") + plain(words)
		}
	}
	return plain(reason)
}
