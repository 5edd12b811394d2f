package recovery

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"yingda/intake"
)

// Ledger keeps every caller in memory, by events alone. It is what an audit compares the tables with.
type Ledger struct {
	cfg      Config
	newID    func() intake.CallbackID
	persons  map[intake.Token]*Person
	contacts map[intake.ContactID]*fold
	reaches  map[string]bool // by what they happened in, so that an event that comes again adds nothing
	tries    map[intake.AttemptID]bool
	born     map[intake.CallbackID]*duty
	visits   map[intake.CaseID]*visit
}

// fold is a contact while its events come in.
type fold struct {
	Attempt
	offered, answered, ended intake.Sequence
	identified               intake.Sequence // of the number left later that stands; 0: none was
	answeredAt               time.Time
	provisional              bool
	owed, usable             bool
	waited                   time.Duration
}

type duty struct {
	caller intake.Token
	line   intake.LineID
	closed []Reach // by supervisors, before we heard that it was born
	failed []Try   // likewise
}

type visit struct {
	callback intake.CallbackID
	closed   time.Time
	result   string
	by       intake.UserID
}

// NewLedger is empty. Callbacks that it finds to be born get their ids from newID.
func NewLedger(cfg Config, newID func() intake.CallbackID) *Ledger {
	return &Ledger{cfg: cfg, newID: newID, persons: map[intake.Token]*Person{}, contacts: map[intake.ContactID]*fold{},
		reaches: map[string]bool{}, tries: map[intake.AttemptID]bool{}, born: map[intake.CallbackID]*duty{}, visits: map[intake.CaseID]*visit{}}
}

// Step folds an event and says what must happen to the caller's callbacks. Events may come again and in any order.
func (l *Ledger) Step(e intake.Event) []Effect {
	caller := intake.Token("")
	switch e.Subject.Kind() {
	case "contact":
		return l.contact(e)
	case "callback":
		caller = l.callback(e)
	case "case":
		caller = l.visit(e)
	}
	if caller == "" {
		return nil
	}
	return l.person(caller).Settle(l.cfg, l.newID)
}

// Owed lists who is owed what now, by caller and line.
func (l *Ledger) Owed() []Debt {
	var list []Debt
	for _, p := range l.persons {
		for _, line := range p.lines() {
			if owed := p.Owed(line); len(owed) > 0 {
				list = append(list, Debt{p.Caller, line, owed})
			}
		}
	}
	slices.SortFunc(list, func(a, b Debt) int { return cmp.Or(cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Line, b.Line)) })
	return list
}

// Debt is what one caller is owed on account of one line.
type Debt struct {
	Caller   intake.Token
	Line     intake.LineID
	Attempts []Attempt // oldest first
}

// Person of that token, as it stands; nil when we never heard of them.
func (l *Ledger) Person(t intake.Token) *Person { return l.persons[t] }

// Callers lists them.
func (l *Ledger) Callers() []intake.Token { return slices.Sorted(maps.Keys(l.persons)) }

func (l *Ledger) person(t intake.Token) *Person {
	p := l.persons[t]
	if p == nil {
		p = &Person{Caller: t}
		l.persons[t] = p
	}
	return p
}

func (l *Ledger) contact(e intake.Event) []Effect {
	f := l.contacts[e.Contact()]
	if f == nil {
		f = &fold{Attempt: Attempt{Contact: e.Contact()}}
		l.contacts[e.Contact()] = f
	}
	before := f.Caller
	if !f.apply(e, l.cfg) || f.offered == 0 {
		return nil
	}
	var effects []Effect
	if old := l.persons[before]; before != "" && before != f.Caller && old != nil { // it turns out to be somebody else's
		old.Attempts = slices.DeleteFunc(old.Attempts, func(a Attempt) bool { return a.Contact == f.Contact })
		effects = old.Settle(l.cfg, l.newID)
	}
	if f.Caller == "" {
		return effects
	}
	p := l.person(f.Caller)
	i := slices.IndexFunc(p.Attempts, func(a Attempt) bool { return a.Contact == f.Contact })
	if i < 0 {
		p.Attempts = append(p.Attempts, f.Attempt)
	} else {
		p.Attempts[i] = f.Attempt
	}
	return append(effects, p.Settle(l.cfg, l.newID)...)
}

// apply folds one event of the contact; false when it says nothing that matters here.
func (f *fold) apply(e intake.Event, cfg Config) bool {
	at := intake.Millis(e.Time)
	first := func(have intake.Sequence) bool { return have == 0 || e.Sequence < have }
	switch d := e.Data.(type) {
	case *intake.OfferedV1:
		if first(f.offered) {
			f.offered, f.Line, f.Channel, f.Arrived = e.Sequence, d.Line, d.Channel, at
			if f.identified == 0 {
				f.Caller, f.usable = d.Caller, cfg.Usable(d.Caller, e.Personal.Number)
			}
		}
	case *intake.IdentifiedV1:
		if e.Sequence < f.identified {
			return false
		}
		f.identified, f.Caller, f.usable = e.Sequence, d.Caller, cfg.Usable(d.Caller, e.Personal.Number)
	case *intake.AnsweredV1:
		if first(f.answered) {
			f.answered, f.answeredAt = e.Sequence, at
		}
	case *intake.EndedV1:
		proper := f.ended != 0 && !f.provisional
		if proper && d.Provisional || proper == !d.Provisional && e.Sequence < f.ended {
			return false // a proper end stands against a provisional one, and among equals the later
		}
		f.ended, f.provisional, f.Ended, f.Outcome, f.Reason, f.owed = e.Sequence, d.Provisional, at, d.Outcome, d.Reason, d.Owed()
		f.waited = time.Duration(d.WaitedMS) * time.Millisecond
	default:
		return false
	}
	f.Owed = f.owed && f.usable
	f.Reached = time.Time{}
	if f.Outcome == "" || f.Outcome.Reached() {
		f.Reached = f.answeredAt
		if f.answeredAt.IsZero() && (f.Outcome == intake.Answered || f.Outcome == intake.Replied) {
			f.Reached = f.Arrived.Add(f.waited) // history that has only the end
		}
	}
	return true
}

func (l *Ledger) callback(e intake.Event) intake.Token {
	id, caller := intake.CallbackID(e.Subject.ID()), intake.Token(e.PartitionKey)
	d := l.born[id]
	if d == nil {
		d = &duty{caller: caller}
		l.born[id] = d
	}
	switch data := e.Data.(type) {
	case *intake.CallbackBornV1:
		d.line = data.Line
		for _, r := range d.closed {
			r.Line = d.line
			l.reach(caller, e.ID()+"/"+r.At.String(), r)
		}
		for _, t := range d.failed {
			t.Line = d.line
			l.person(caller).Failed = append(l.person(caller).Failed, t)
		}
		d.closed, d.failed = nil, nil
		for id, v := range l.visits {
			l.visited(id, v)
		}
	case *intake.CallbackTriedV1:
		if data.Result == intake.TryReached {
			l.reach(caller, "attempt/"+string(data.Attempt), TriedReach(e.Time, data))
		} else if !l.tries[data.Attempt] {
			l.tries[data.Attempt] = true
			t := Try{data.Attempt, d.line, intake.Millis(e.Time)}
			if d.line == "" {
				d.failed = append(d.failed, t)
				return ""
			}
			l.person(caller).Failed = append(l.person(caller).Failed, t)
		}
	case *intake.CallbackClearedV1:
		if data.By != intake.ClearedSupervisor || data.Reason == ReasonCorrected {
			return "" // the others tell of a reach that has an event of its own
		}
		r := Reach{At: intake.Millis(e.Time), By: intake.ClearedSupervisor, Line: d.line, User: data.User, Reason: data.Reason}
		if d.line == "" {
			d.closed = append(d.closed, r)
			return ""
		}
		l.reach(caller, e.ID(), r)
	default:
		return ""
	}
	return caller
}

// TriedReach is the reach in a try that reached the caller: it began when they answered.
func TriedReach(at time.Time, d *intake.CallbackTriedV1) Reach {
	return Reach{At: intake.Millis(at.Add(-time.Duration(max(d.Seconds, 0)) * time.Second)), By: intake.ClearedWeReached, Attempt: d.Attempt, User: d.Operator}
}

func (l *Ledger) visit(e intake.Event) intake.Token {
	id := intake.CaseID(e.Subject.ID())
	v := l.visits[id]
	if v == nil {
		v = &visit{}
		l.visits[id] = v
	}
	switch d := e.Data.(type) {
	case *intake.CaseOpenedV1:
		if d.Source != intake.FromVisit {
			return ""
		}
		v.callback = d.Callback
	case *intake.CaseClosedV1:
		v.closed, v.result, v.by = intake.Millis(e.Time), d.Result, d.By
	default:
		return ""
	}
	return l.visited(id, v)
}

// visited notes the reach of a visit once all is known of it, and says of whom.
func (l *Ledger) visited(id intake.CaseID, v *visit) intake.Token {
	d := l.born[v.callback]
	if v.callback == "" || v.closed.IsZero() || v.result == NotFound || d == nil || d.line == "" {
		return ""
	}
	l.reach(d.caller, "case/"+string(id), Reach{At: v.closed, By: intake.ClearedVisit, Case: id, User: v.by})
	return d.caller
}

func (l *Ledger) reach(caller intake.Token, key string, r Reach) {
	if l.reaches[key] {
		return
	}
	l.reaches[key] = true
	p := l.person(caller)
	p.Reaches = append(p.Reaches, r)
}
