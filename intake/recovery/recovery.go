// Package recovery knows who is owed a call: it folds events into the attempts of each caller, the times at which we and
// they reached one another, and from both the callbacks that must be.
//
// The rule is one sentence. A caller is owed a call on a line when there is a failed attempt which no later meeting
// covers: they were answered in any channel, we reached them, a grid worker met them, or a supervisor closed the matter
// with a reason. It looks at when things happened, never at when we heard of them, so events of different callers,
// channels and nodes may arrive in any order, and an end that is corrected later (a crash that turns out to have been
// an answered call) takes the debt away again.
//
// Person holds what is known of one caller; Settle says what must happen so that the callbacks agree with it: born,
// joined, cleared, visit. Ledger keeps all persons in memory and is fed with events (package books keeps them in
// tables instead). Episodes cuts a caller's attempts into episodes, for the figure "reached within five minutes of the
// first attempt".
//
// What it does not do: it calls nobody, holds no table, and waits for nothing, so it has no clock to wake it: a callback is
// overdue by comparing Due with now. Who has one in hand is in package books. Callers who hide their number are counted in
// package answerrate and are nobody here.
package recovery

import (
	"cmp"
	"slices"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// EpisodeGap is the silence that ends an episode.
const EpisodeGap = 24 * time.Hour

// NotFound is the result of a visit in which the grid worker met nobody: it clears nothing.
const NotFound = "not_found"

// Reasons in callback.cleared that no person has written.
const ReasonCorrected = "the end of the contact was corrected, nothing is owed"

// Config says how long and how often. Zero means the default.
type Config struct {
	Due      time.Duration // a callback is due this long after the first attempt; 4 h
	MaxTries int           // failed tries after which somebody goes and knocks; 3
	// Dialable says whether we can phone that number back; one that we cannot makes no callback. Nil: every caller whose token is known.
	Dialable func(pii.Phone) bool
}

// Usable says whether a caller can be called back.
func (c Config) Usable(caller intake.Token, number pii.Phone) bool {
	return caller != "" && (c.Dialable == nil || c.Dialable(number))
}

func (c Config) due() time.Duration { return cmp.Or(c.Due, 4*time.Hour) }
func (c Config) maxTries() int      { return cmp.Or(c.MaxTries, 3) }

// Attempt is one contact as far as it matters here.
type Attempt struct {
	Contact intake.ContactID
	Caller  intake.Token
	Line    intake.LineID
	Channel intake.Channel
	Arrived time.Time
	Ended   time.Time      // zero: open
	Outcome intake.Outcome // "" while open
	Reason  string
	Owed    bool      // its end leaves us owing a call, and we know whom to call
	Reached time.Time // when it was answered, unless the end takes that back; zero: it was not
}

// Reach is a moment after which nothing older is owed.
type Reach struct {
	At      time.Time
	By      string           // one of intake.Cleared…
	Line    intake.LineID    // a supervisor's closing counts for its line only; empty for the others
	Contact intake.ContactID // the contact, try or case in which it happened
	Attempt intake.AttemptID
	Case    intake.CaseID
	User    intake.UserID
	Reason  string
}

// Met says whether somebody really spoke with the caller, which a supervisor's closing does not claim.
func (r Reach) Met() bool { return r.By != intake.ClearedSupervisor }

// Covers says whether a is no longer owed because of r. Who was met after they began an attempt had what they wanted; a supervisor can
// close only what had ended when they looked.
func (r Reach) Covers(a Attempt) bool {
	if r.Met() {
		return !r.At.Before(a.Arrived)
	}
	return r.Line == a.Line && !a.Ended.IsZero() && !r.At.Before(a.Ended)
}

// Callback is the duty to reach a caller on account of one line, as long as it is not cleared.
type Callback struct {
	ID           intake.CallbackID
	Line         intake.LineID
	Cause        intake.Outcome // of the first attempt
	FirstAttempt time.Time
	Due          time.Time
	Contacts     []intake.ContactID
	Visit        bool // a grid worker was asked to go
}

// Try is one time that we tried to reach a caller on account of a line, and did not.
type Try struct {
	Attempt intake.AttemptID
	Line    intake.LineID
	At      time.Time
}

// Person is everything about one caller that bears on what we owe them.
type Person struct {
	Caller   intake.Token
	Attempts []Attempt  // at least those that no reach covers and those of the open callbacks; in any order
	Reaches  []Reach    // at least the latest of each kind and line, and those that answered Attempts stand for themselves; in any order
	Failed   []Try      // our tries in vain
	Open     []Callback // callbacks not cleared, at most one a line
}

// Effect is what must happen to a callback.
type Effect interface{ effect() }

type (
	// Born: a new callback.
	Born struct{ Callback Callback }
	// Joined: one more attempt; with an attempt that we heard of late the callback may have begun earlier than we thought.
	Joined struct {
		ID           intake.CallbackID
		Contact      intake.ContactID
		Cause        intake.Outcome
		FirstAttempt time.Time
		Due          time.Time
	}
	// Cleared: the duty has ended.
	Cleared struct {
		ID intake.CallbackID
		By Reach
	}
	// Visit: tried in vain often enough; ask a grid worker to go. Once for each callback.
	Visit struct {
		ID       intake.CallbackID
		Line     intake.LineID
		Tries    int
		Contacts []intake.ContactID
	}
)

func (Born) effect()    {}
func (Joined) effect()  {}
func (Cleared) effect() {}
func (Visit) effect()   {}

// Owed lists the attempts on that line which nothing covers, oldest first.
func (p *Person) Owed(line intake.LineID) []Attempt {
	var list []Attempt
	for _, a := range p.Attempts {
		if a.Line == line && a.Owed && p.covering(a) == nil {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, older)
	return list
}

func older(a, b Attempt) int {
	return cmp.Or(a.Arrived.Compare(b.Arrived), cmp.Compare(a.Contact, b.Contact))
}

// covering is the earliest reach that covers a; nil when none does.
func (p *Person) covering(a Attempt) *Reach {
	var best *Reach
	for _, r := range p.reaches() {
		if r.Covers(a) && (best == nil || r.At.Before(best.At)) {
			best = &r
		}
	}
	return best
}

// reaches are the given ones and those that lie in answered attempts.
func (p *Person) reaches() []Reach {
	list := slices.Clone(p.Reaches)
	for _, a := range p.Attempts {
		if !a.Reached.IsZero() {
			list = append(list, Reach{At: a.Reached, By: intake.ClearedResidentReached, Contact: a.Contact})
		}
	}
	return list
}

func (p *Person) lines() []intake.LineID {
	var list []intake.LineID
	for _, a := range p.Attempts {
		list = append(list, a.Line)
	}
	for _, c := range p.Open {
		list = append(list, c.Line)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Settle says what must happen so that the open callbacks agree with what is owed, and brings p.Open to that state. Settling
// again without news says nothing.
func (p *Person) Settle(cfg Config, newID func() intake.CallbackID) []Effect {
	var effects []Effect
	for _, line := range p.lines() {
		owed := p.Owed(line)
		i := slices.IndexFunc(p.Open, func(c Callback) bool { return c.Line == line })
		if i >= 0 && (len(owed) == 0 || owed[0].Arrived.After(p.Open[i].FirstAttempt)) {
			// Nothing is owed any more, or what this callback began with is not: what is owed since is another.
			effects = append(effects, Cleared{p.Open[i].ID, p.why(p.Open[i])})
			p.Open = slices.Delete(p.Open, i, i+1)
			i = -1
		}
		if len(owed) == 0 {
			continue
		}
		first, due := owed[0].Arrived, owed[0].Arrived.Add(cfg.due())
		if i < 0 {
			c := Callback{ID: newID(), Line: line, Cause: owed[0].Outcome, FirstAttempt: first, Due: due}
			for _, a := range owed {
				c.Contacts = append(c.Contacts, a.Contact)
			}
			p.Open = append(p.Open, c)
			i = len(p.Open) - 1
			effects = append(effects, Born{cloned(c)})
		}
		c := &p.Open[i]
		for _, a := range owed {
			if slices.Contains(c.Contacts, a.Contact) {
				continue
			}
			if first.Before(c.FirstAttempt) {
				c.FirstAttempt, c.Due, c.Cause = first, due, owed[0].Outcome
			}
			c.Contacts = append(c.Contacts, a.Contact)
			effects = append(effects, Joined{c.ID, a.Contact, a.Outcome, c.FirstAttempt, c.Due})
		}
		if tries := p.tries(*c); tries >= cfg.maxTries() && !c.Visit {
			c.Visit = true
			effects = append(effects, Visit{c.ID, line, tries, slices.Clone(c.Contacts)})
		}
	}
	return effects
}

func cloned(c Callback) Callback { c.Contacts = slices.Clone(c.Contacts); return c }

// tries counts those in vain since the callback's first attempt.
func (p *Person) tries(c Callback) int {
	n := 0
	for _, t := range p.Failed {
		if t.Line == c.Line && !t.At.Before(c.FirstAttempt) {
			n++
		}
	}
	return n
}

// why finds the reach that ended the callback: the earliest that covers the last of its attempts which a reach covers at all.
func (p *Person) why(c Callback) Reach {
	var best *Reach
	for _, a := range p.Attempts {
		if !slices.Contains(c.Contacts, a.Contact) {
			continue
		}
		if !a.Owed && !a.Reached.IsZero() { // the attempt itself turned out to have been answered
			if r := (Reach{At: a.Reached, By: intake.ClearedResidentReached, Contact: a.Contact}); best == nil || r.At.After(best.At) {
				best = &r
			}
			continue
		}
		if r := p.covering(a); r != nil && (best == nil || r.At.After(best.At)) {
			best = r
		}
	}
	if best == nil {
		return Reach{At: c.FirstAttempt, By: intake.ClearedSupervisor, Line: c.Line, Reason: ReasonCorrected}
	}
	return *best
}

// Episode is the attempts of one caller on one line that belong together.
type Episode struct {
	Attempts []Attempt // oldest first, at least one
	Reached  time.Time // when either side reached the other for the first time since the first attempt; zero: not yet
}

// First is the attempt that began it.
func (e *Episode) First() Attempt { return e.Attempts[0] }

// Episodes cuts the attempts of one caller on one line, given in any order, into episodes: a silence of EpisodeGap
// begins a new one. So does the first attempt on a later day by the office's clock if the caller has been reached since the
// episode began: somebody who phones every day would otherwise be one endless episode that no day's figure shows after the
// first. The moments at which the caller was met, on any line and in any channel, are given in any order.
func Episodes(attempts []Attempt, met []time.Time, office *time.Location) []Episode {
	attempts = slices.SortedFunc(slices.Values(attempts), older)
	met = slices.SortedFunc(slices.Values(met), time.Time.Compare)
	var list []Episode
	for i, a := range attempts {
		if i > 0 {
			e, last := &list[len(list)-1], attempts[i-1].Arrived
			news := a.Arrived.Sub(last) >= EpisodeGap ||
				!sameDay(a.Arrived, last, office) && !e.Reached.IsZero() && e.Reached.Before(a.Arrived)
			if !news {
				e.Attempts = append(e.Attempts, a)
				continue
			}
		}
		e := Episode{Attempts: []Attempt{a}}
		if k, _ := slices.BinarySearchFunc(met, a.Arrived, time.Time.Compare); k < len(met) {
			e.Reached = met[k]
		}
		list = append(list, e)
	}
	return list
}

func sameDay(a, b time.Time, office *time.Location) bool {
	ay, am, ad := a.In(office).Date()
	by, bm, bd := b.In(office).Date()
	return ay == by && am == bm && ad == bd
}
