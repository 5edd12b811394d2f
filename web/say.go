package web

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/a-h/templ"

	"yingda/intake"
)

// T says a message; Has whether there is one.
func (v *visit) T(key string, args ...any) string { return v.t.T(key, args...) }

// or is the message for a word of an open list, and the word itself where there is none.
func (v *visit) or(prefix, word string) string { return v.t.Or(prefix, plain(word)) }

func (v *visit) zh() bool { return v.t.Code == "zh-Hans" }

// pick takes the one of two languages that this person reads.
func (v *visit) pick(s Said) string {
	if v.zh() || s.EN == "" {
		return s.ZH
	}
	return s.EN
}

// Say is a message whose parts may be elements.
func (v *visit) Say(key string, args ...any) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		for _, p := range v.t.Split(key, args...) {
			if p.Arg < 0 {
				if _, err := io.WriteString(w, templ.EscapeString(p.Text)); err != nil {
					return err
				}
				continue
			}
			if p.Arg >= len(args) {
				continue
			}
			var err error
			switch a := args[p.Arg].(type) {
			case templ.Component:
				err = a.Render(ctx, w)
			case int, int64:
				_, err = fmt.Fprintf(w, `<b class="num">%d</b>`, a)
			default:
				_, err = io.WriteString(w, templ.EscapeString(fmt.Sprint(a)))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Times. All are shown in the office's zone.

func (v *visit) at(t time.Time) time.Time { return t.In(v.srv.c.Zone) }

// clock is 14:32:07, hm 14:32, iso for the datetime attribute.
func (v *visit) clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return v.at(t).Format("15:04:05")
}
func (v *visit) hm(t time.Time) string  { return v.at(t).Format("15:04") }
func (v *visit) iso(t time.Time) string { return v.at(t).Format("2006-01-02T15:04:05Z07:00") }

// day is 11 月 24 日, with the year when it is another.
func (v *visit) day(t time.Time) string {
	t, now := v.at(t), v.at(v.now)
	layout := "2 Jan"
	if v.zh() {
		layout = "1 月 2 日"
	}
	if t.Year() != now.Year() {
		layout = map[bool]string{true: "2006 年 1 月 2 日", false: "2 Jan 2006"}[v.zh()]
	}
	return t.Format(layout)
}

// when is 14:32 for today, 昨天 20:12, 明天 12:00, else the day before it.
func (v *visit) when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	switch v.daysAgo(t) {
	case 0:
		return v.hm(t)
	case 1:
		return v.T("time.yesterday") + " " + v.hm(t)
	case -1:
		return v.T("time.tomorrow") + " " + v.hm(t)
	}
	return v.day(t) + " " + v.hm(t)
}

func (v *visit) daysAgo(t time.Time) int {
	a, b := v.at(v.now), v.at(t)
	midnight := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }
	return int(midnight(a).Sub(midnight(b)) / (24 * time.Hour))
}

// weekday is 周二.
func (v *visit) weekday(t time.Time) string {
	return v.T("day." + strconv.Itoa(int(v.at(t).Weekday())))
}

// span is a length of time as one would say it: 18 小时 20 分, 6 分, 42 秒.
func (v *visit) span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return v.T("span.s", int(d/time.Second))
	case d < time.Hour:
		return v.T("span.m", int(d/time.Minute))
	case d < 48*time.Hour:
		h, m := int(d/time.Hour), int(d%time.Hour/time.Minute)
		if m == 0 {
			return v.T("span.h", h)
		}
		return v.T("span.hm", h, m)
	}
	days, h := int(d/(24*time.Hour)), int(d%(24*time.Hour)/time.Hour)
	if h == 0 {
		return v.T("span.d", days)
	}
	return v.T("span.dh", days, h)
}

// talk is 1 分 12 秒: short spans to the second.
func (v *visit) talk(d time.Duration) string {
	d = max(d, 0)
	if d < time.Minute {
		return v.T("span.s", int(d/time.Second))
	}
	if d >= time.Hour {
		return v.span(d)
	}
	return v.T("span.ms", int(d/time.Minute), int(d%time.Minute/time.Second))
}

// mmss is 0:42, 1:02:03.
func mmss(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// percent of a figure to one tenth, always cut, never rounded up: what misses its goal by a hair must not look as if it reached it.
func (f Figure) percent() string {
	if f.Den <= 0 {
		return "–"
	}
	mille := f.Num * 1000 / f.Den
	if mille == 1000 {
		return "100"
	}
	return fmt.Sprintf("%d.%d", mille/10, mille%10)
}

// People.

// called is how a list names a resident: as one would address them, else masked, else that we do not know them.
func (v *visit) called(p Person) string {
	switch {
	case p.Called != "":
		return plain(p.Called)
	case !p.Name.IsZero():
		return plain(p.Name.String())
	case p.Shared > 1:
		return v.T("person.shared", p.Shared)
	}
	return v.T("person.unknown")
}

// number is the masked number, or that it was withheld.
func (v *visit) number(p Person) string {
	if p.Number.IsZero() {
		return v.T("person.withheld")
	}
	return p.Number.String()
}

// plain drops what could turn a line around or hide in it: controls and the marks that change the direction of writing (ASVS 1.2.10).
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F, r == 0x061C, r == 0xFEFF:
			return -1
		}
		return r
	}, s)
}

// lines is plain for words in paragraphs.
func lines(s string) []string {
	list := strings.Split(strings.ReplaceAll(s, "\r", ""), "\n")
	for i := range list {
		list[i] = plain(list[i])
	}
	return list
}

// prose is plain with the ends of lines kept.
func prose(s string) string { return strings.Join(lines(s), "\n") }

// short is the last eight hex digits of an id, as people read it out: 8f3a-019c. (The first are the time, the same for a minute.)
func short(id intake.ContactID) string {
	s := strings.ReplaceAll(string(id), "-", "")
	if len(s) < 8 {
		return string(id)
	}
	return s[len(s)-8:len(s)-4] + "-" + s[len(s)-4:]
}

// Marks of a state: glyph and colour class.

func outcomeMark(o intake.Outcome) (glyph, class string) {
	switch {
	case o == "":
		return "g-doing", "doing"
	case o.Reached():
		return "g-done", "done"
	case o == intake.Fault || o == intake.Interrupted:
		return "g-fault", "late"
	case o == intake.Refused || o == intake.RejectedInvalid:
		return "g-wait", "quiet"
	}
	return "g-wait", "wait"
}

func caseMark(c CaseRow) (glyph, class string) {
	switch {
	case c.Late:
		return "g-late", "late"
	case c.State == "closed":
		return "g-done", "quiet"
	case c.State == "answered":
		return "g-done", "done"
	case c.State == "opened" || c.State == "returned":
		return "g-wait", "wait"
	}
	return "g-doing", "doing"
}

func seatMark(state string) string {
	switch state {
	case "talking":
		return "g-op-talk"
	case "ringing", "reserved":
		return "g-op-ring"
	case "wrap_up":
		return "g-op-wrap"
	case "break":
		return "g-op-break"
	}
	return "g-op-idle"
}

// gap is a full-width space, between two things on one line.
const gap = "\u3000"
