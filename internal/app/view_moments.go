package app

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/routing/casebook"
	"yingda/web"
)

// story is everything that happened under one contact's page: its own events one by one, other attempts of the same episode
// in one line each, and what we did about them.
type story struct {
	*view
	ctx  context.Context
	list []web.Moment
}

func (s *story) add(at time.Time, side, what string, args ...string) *web.Moment {
	s.list = append(s.list, web.Moment{At: at, Side: side, What: what, Args: args})
	return &s.list[len(s.list)-1]
}

// args that the pages turn into words: a length of time, a moment, a key of the message files.
func span(d time.Duration) string    { return d.Round(time.Second).String() }
func moment(t time.Time) string      { return t.UTC().Format(time.RFC3339) }
func key(prefix, name string) string { return "@" + prefix + "." + name }

func (s *story) who(id intake.UserID) string { return s.staff(s.ctx, id).Name }

// own tells this contact's events.
func (s *story) own(events []intake.Event, again bool) {
	var answered time.Time
	var end *intake.EndedV1
	for _, e := range events {
		if d, ok := e.Data.(*intake.EndedV1); ok {
			end = d
		}
	}
	for _, e := range events {
		switch d := e.Data.(type) {
		case *intake.OfferedV1:
			what := "called"
			switch {
			case d.Channel == intake.Chat:
				what = "chatted"
			case d.Channel != intake.Phone && d.Channel != intake.WebCall:
				what = "wrote"
			case again:
				what = "called_again"
			}
			s.add(e.Time, "resident", what)
		case *intake.WaitingV1:
			s.waiting(e.Time, d)
		case *intake.ChoseV1:
			if d.Choice == "callback" {
				s.add(e.Time, "resident", "promised")
			} else {
				s.add(e.Time, "resident", "pressed", d.Key)
			}
		case *intake.RangV1:
			s.add(e.Time, "us", "rang", s.who(d.Operator))
		case *intake.UnrangV1:
			if d.Why != "resident_left" {
				m := s.add(e.Time, "us", "unrang", s.who(d.Operator))
				m.More, m.MoreA = "why", []string{key("why", d.Why)}
			}
		case *intake.AnsweredV1:
			answered = e.Time
			m := s.add(e.Time, "us", "answered_now", s.who(d.Operator))
			if end != nil && end.TalkedMS > 0 {
				m.What, m.Args = "answered", []string{s.who(d.Operator), span(millis(end.TalkedMS))}
			}
			m.Good = true
		case *intake.HeldV1:
			s.add(e.Time, "us", "held", s.by(d.By))
		case *intake.ResumedV1:
			s.add(e.Time, "us", "resumed", s.by(d.By))
		case *intake.MovedV1:
			s.add(e.Time, "us", "moved", s.who(d.By), d.To)
		case *intake.SilentV1:
			s.add(e.Time, "system", "silent")
		case *intake.RecordedV1:
			if d.Failed {
				s.add(e.Time, "system", "unrecorded")
			} else {
				s.add(e.Time, "system", "recorded", span(millis(d.Millis)))
			}
		case *intake.EndedV1:
			s.end(e.Time, d, !answered.IsZero())
		}
	}
}

func (s *story) waiting(at time.Time, d *intake.WaitingV1) {
	m := s.add(at, "system", "waiting", strconv.Itoa(d.Ahead))
	switch d.Why {
	case "older_caller":
		m.What, m.Args = "older", nil
	case "calls_again", "callback_due":
		m.What, m.Args = "priority", nil
	default:
		return
	}
	m.More, m.MoreA = "position", []string{strconv.Itoa(d.Ahead + 1)}
}

func (s *story) end(at time.Time, d *intake.EndedV1, answered bool) {
	switch {
	case answered:
		side := "us"
		if d.By == intake.ByResident {
			side = "resident"
		}
		s.add(at, side, "left")
	case d.Outcome == intake.Voicemail:
		s.add(at, "resident", "voicemail", span(millis(d.TalkedMS)))
	case d.By == intake.ByResident:
		s.add(at, "resident", "ended", key("outcome", string(d.Outcome)))
	default:
		s.add(at, "system", "ended", key("outcome", string(d.Outcome)))
	}
}

func (s *story) by(who string) string {
	if who == "resident" {
		return "居民"
	}
	return s.who(intake.UserID(who))
}

// other tells another attempt of the episode in one line.
func (s *story) other(id intake.ContactID, at time.Time, outcome intake.Outcome, waited time.Duration, again bool) {
	what := "called"
	if again {
		what = "called_again"
	}
	var m *web.Moment
	switch outcome {
	case intake.AbandonedGreeting, intake.AbandonedQueue, intake.AbandonedRinging:
		m = s.add(at, "resident", what+"_left", span(waited))
	case "":
		m = s.add(at, "resident", what)
	default:
		m = s.add(at, "resident", what+"_outcome", key("outcome", string(outcome)))
		m.Good = outcome.Reached()
	}
	m.Of = id
}

// callback tells what we did about it.
func (s *story) callback(events []intake.Event) {
	tries := 0
	for _, e := range events {
		switch d := e.Data.(type) {
		case *intake.CallbackBornV1:
			m := s.add(e.Time, "system", "callback_born")
			m.More, m.MoreA = "callback_due", []string{moment(d.Due)}
		case *intake.CallbackJoinedV1:
			s.add(e.Time, "system", "callback_joined")
		case *intake.CallbackTakenV1:
			s.add(e.Time, "us", "callback_taken", s.who(d.Operator))
		case *intake.CallbackReleasedV1:
			s.add(e.Time, "us", "callback_released", s.who(d.Operator))
		case *intake.CallbackTriedV1:
			tries++
			m := s.add(e.Time, "us", "tried_"+d.Result, s.who(d.Operator), span(time.Duration(d.Seconds)*time.Second))
			m.Good = d.Result == intake.TryReached
			m.More, m.MoreA = "nth", []string{strconv.Itoa(tries)}
		case *intake.CallbackVisitV1:
			s.add(e.Time, "system", "callback_visit", strconv.Itoa(d.Tries))
		case *intake.CallbackClearedV1:
			m := s.add(e.Time, "system", "callback_cleared")
			m.More, m.MoreA = "why", []string{key("cleared", d.By)}
		}
	}
}

// cases tells that cases were opened.
func (s *story) cases(number string, by intake.UserID, at time.Time) {
	if by == "" {
		s.add(at, "system", "case_opened_by_itself", number)
		return
	}
	m := s.add(at, "us", "case_opened", s.who(by), number)
	m.Good = true
}

func (s *story) told() []web.Moment {
	sort.SliceStable(s.list, func(i, j int) bool { return s.list[i].At.Before(s.list[j].At) })
	return s.list
}

// caseMoment is one step of a case's life.
func (v *view) caseMoment(ctx context.Context, st casebook.Step) web.Moment {
	m := web.Moment{At: st.At, Side: "us"}
	name := func(id intake.UserID) string { return v.staff(ctx, id).Name }
	set := func(what string, args ...string) { m.What, m.Args = what, args }
	words := func(t pii.Text) {
		if !t.IsZero() {
			m.More, m.MoreA = "words", []string{starDigits(t.Reveal())}
		}
	}
	why := func(s string) {
		if s != "" {
			m.More, m.MoreA = "why", []string{s}
		}
	}
	switch d := st.Data.(type) {
	case *intake.CaseOpenedV1:
		if d.By == "" {
			m.Side = "system"
			set("case_opened_by_itself", "")
		} else {
			set("case_opened", name(d.By), "")
		}
	case *intake.CaseAttachedV1:
		m.Of = d.Contact
		m.Side = "resident"
		set("case_attached")
	case *intake.CaseRoutedV1:
		to := v.department(d.Department) // a case routed to a department keeps its grid
		if to == "" {
			p := v.plate(d.Grid)
			to = p.Place + " " + p.Number
		}
		set("case_routed", to)
		why(d.Why)
	case *intake.CaseDispatchedV1:
		set("case_dispatched", v.holder(d.To))
	case *intake.CaseAcceptedV1:
		set("case_accepted", name(d.By))
	case *intake.CaseStartedV1:
		set("case_started", name(d.By))
	case *intake.CaseReturnedV1:
		set("case_returned", name(d.By))
		why(d.Why)
	case *intake.CaseExtendedV1:
		set("case_extended", moment(d.Until))
		why(d.Why)
	case *intake.CaseAnsweredV1:
		set("case_answered", name(d.By))
		words(st.Text)
		m.Good = true
	case *intake.CaseClosedV1:
		set("case_closed", name(d.By), key("result", d.Result))
		m.Good = true
	case *intake.CaseReopenedV1:
		set("case_reopened", name(d.By))
		why(d.Why)
	case *intake.CaseNotedV1:
		set("case_noted", name(d.By))
		words(st.Text)
	case *intake.ErasedV1:
		m.Side = "system"
		set("case_erased")
	default:
		set(fmt.Sprint(st.Data.EventType()))
	}
	return m
}

// holder names whom a case was sent to.
func (v *view) holder(to string) string {
	switch kind, code := intake.Subject(to).Kind(), intake.Subject(to).ID(); kind {
	case "grid":
		p := v.plate(intake.GridID(code))
		return p.Place + " " + p.Number
	case "department":
		return v.department(code)
	}
	return to
}

// decode reads timeline rows; what cannot be opened any more is told without its words.
func (s *Store) decode(raw [][]byte) []intake.Event {
	var list []intake.Event
	for _, r := range raw {
		if e, err := s.codec.Decode(r); err == nil {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b intake.Event) int { return a.Time.Compare(b.Time) })
	return list
}
