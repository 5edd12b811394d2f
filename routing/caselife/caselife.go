// Package caselife is the life of one case: what may be done to it now, and what is written when it is.
//
//	opened → closed at once (当场答复)
//	opened → dispatched → accepted → in progress → answered → closed
//	         dispatched, accepted, in progress → returned → dispatched again
//	answered, closed → reopened, which is dispatched again
//
// Contacts are attached, notes added, the deadline extended and the routing overruled on the way. Steps may be left out where
// people leave them out: who answers has accepted by that. What is not allowed is refused with a sentence for the
// person who tried, and nothing is written.
//
// Use: New for a case that is to be opened, Load for one that exists; Step with each input gives Write effects (the events, in
// order) or one Refuse. The case itself is the fold of those events: Fold is the only code that changes it, here and in
// everybody's audit.
//
// What it does not do: it finds no grid and asks no rule (Open brings both answers along), and it keeps nothing.
package caselife

import (
	"fmt"
	"slices"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/routing"
)

// Life is one case.
type Life struct {
	c    routing.Case
	told time.Time // the deadline that Wake has told of
}

// New is a case that does not exist yet; its first input is Open.
func New(id intake.CaseID) *Life { return &Life{c: routing.Case{ID: id}} }

// Load takes up a case that exists.
func Load(c routing.Case) *Life {
	c.Contacts = slices.Clone(c.Contacts)
	return &Life{c: c}
}

// Case is how it stands.
func (l *Life) Case() routing.Case {
	c := l.c
	c.Contacts = slices.Clone(c.Contacts)
	return c
}

// Deadline is when Wake has something to say: when the case is late. Zero: never.
func (l *Life) Deadline() time.Time {
	if !waits(l.c) || l.c.Deadline.IsZero() || l.told.Equal(l.c.Deadline) {
		return time.Time{}
	}
	return l.c.Deadline
}

// waits says whether somebody else than us has to do something.
func waits(c routing.Case) bool { return c.State.Open() && c.State != routing.Answered }

// Wake tells once for each deadline that it has passed.
func (l *Life) Wake(now time.Time) []routing.Effect {
	d := l.Deadline()
	if d.IsZero() || now.Before(d) {
		return nil
	}
	l.told = d
	return []routing.Effect{routing.Late{Deadline: d}}
}

// Step takes an input. Either every effect is a Write, which has happened, or there is one Refuse, and nothing has.
func (l *Life) Step(now time.Time, in routing.Input) []routing.Effect {
	effects := l.step(now, in)
	for _, e := range effects {
		if w, ok := e.(routing.Write); ok {
			Fold(&l.c, now, w.Data, w.Personal)
		}
	}
	return effects
}

func refuse(sentence string, args ...any) []routing.Effect {
	return []routing.Effect{routing.Refuse{Sentence: fmt.Sprintf(sentence, args...)}}
}

func write(data ...intake.Data) []routing.Effect {
	var list []routing.Effect
	for _, d := range data {
		list = append(list, routing.Write{Data: d})
	}
	return list
}

// Sentences that are said in several places.
const (
	notOpened = "这件工单还没有开"
	isClosed  = "这件工单已经结了；要接着办，先重新打开"
	noReason  = "请写明原因"
)

func (l *Life) step(now time.Time, in routing.Input) []routing.Effect {
	c := l.c
	if in, ok := in.(routing.Open); ok {
		return l.open(in)
	}
	if c.State == "" {
		return refuse(notOpened)
	}
	switch in := in.(type) {
	case routing.Attach:
		switch {
		case in.Contact == "":
			return refuse("没有说是哪一次来访")
		case slices.Contains(c.Contacts, in.Contact):
			return refuse("这次来访已经在这件工单里了")
		}
		return write(&intake.CaseAttachedV1{Contact: in.Contact, By: in.By}) // also to a closed one: who says the same later learns how it ended
	case routing.Note:
		if in.Text.IsZero() {
			return refuse("没有写内容")
		}
		return []routing.Effect{routing.Write{Data: &intake.CaseNotedV1{By: in.By}, Personal: intake.Personal{Text: in.Text}}}
	case routing.Reopen:
		switch {
		case c.State != routing.Closed && c.State != routing.Answered:
			return refuse("这件工单还没有结，不用重新打开")
		case in.Why == "" && in.Contact == "":
			return refuse(noReason)
		}
		return l.reopen(now, in)
	}
	if c.State == routing.Closed {
		return refuse(isClosed)
	}
	switch in := in.(type) {
	case routing.Route:
		switch {
		case in.Why == "":
			return refuse(noReason)
		case in.Grid == "" && in.Department == "":
			return refuse("没有说改派给谁")
		case in.Grid != "" && in.Department != "":
			return refuse("网格和部门只能选一个")
		case c.State == routing.Answered:
			return refuse("已经答复了；要改派，先重新打开")
		case in.Grid != "" && in.Grid == c.Grid && c.Department == "", in.Department != "" && in.Department == c.Department:
			return refuse("现在就是派给这里的")
		}
		r := &intake.CaseRoutedV1{Grid: in.Grid, Department: in.Department, FromGrid: c.Grid, FromDept: c.Department, Why: in.Why, Overruled: true, Confidence: 100, By: in.By}
		if in.Grid == "" {
			r.Grid, r.Confidence = c.Grid, c.Confidence // it stays where it is, a department sees to it
		}
		return write(r)
	case routing.Dispatch:
		to, ok := routed(c)
		switch {
		case !ok:
			return refuse("还没有定派给哪个网格或部门")
		case c.State == routing.Answered:
			return refuse("已经答复了；要再派，先重新打开")
		case c.State != routing.Opened && c.State != routing.Returned && c.Holder == to:
			return refuse("已经派给这里了")
		}
		return write(&intake.CaseDispatchedV1{To: string(to), By: in.By})
	case routing.Accept:
		switch c.State {
		case routing.Dispatched:
			return write(&intake.CaseAcceptedV1{By: in.By})
		case routing.Opened, routing.Returned:
			return refuse("还没有派出去，不能接")
		}
		return refuse("已经有人接下了")
	case routing.Start:
		switch c.State {
		case routing.Accepted:
			return write(&intake.CaseStartedV1{By: in.By})
		case routing.Dispatched:
			return write(&intake.CaseAcceptedV1{By: in.By}, &intake.CaseStartedV1{By: in.By})
		case routing.InProgress:
			return refuse("已经在办了")
		case routing.Answered:
			return refuse("已经答复了")
		}
		return refuse("还没有派出去，不能办")
	case routing.Return:
		switch {
		case in.Why == "":
			return refuse("退回要写明原因")
		case c.State == routing.Dispatched || c.State == routing.Accepted || c.State == routing.InProgress:
			return write(&intake.CaseReturnedV1{Why: in.Why, By: in.By})
		case c.State == routing.Returned:
			return refuse("已经退回了")
		case c.State == routing.Answered:
			return refuse("已经答复了，不能再退回")
		}
		return refuse("还没有派出去，不能退回")
	case routing.Extend:
		switch {
		case in.Why == "":
			return refuse("延期要写明原因")
		case c.Deadline.IsZero():
			return refuse("这件工单没有期限，不用延")
		case c.State == routing.Answered:
			return refuse("已经答复了，不用延期")
		case !in.Until.After(c.Deadline):
			return refuse("新的期限要比现在的晚")
		case !in.Until.After(now):
			return refuse("新的期限已经过了")
		}
		return write(&intake.CaseExtendedV1{Until: intake.Millis(in.Until), Why: in.Why, By: in.By})
	case routing.Answer:
		if in.Text.IsZero() {
			return refuse("请写明怎么答复的")
		}
		answered := routing.Write{Data: &intake.CaseAnsweredV1{By: in.By}, Personal: intake.Personal{Text: in.Text}}
		switch c.State {
		case routing.Dispatched: // who answers has taken it
			return append(write(&intake.CaseAcceptedV1{By: in.By}), answered)
		case routing.Accepted, routing.InProgress, routing.Answered: // a second answer mends the first
			return []routing.Effect{answered}
		}
		return refuse("还没有派出去，不能答复")
	case routing.Close:
		switch {
		case in.Result == "":
			return refuse("请选结果")
		case in.Known == "":
			return refuse("请选怎么知道的")
		}
		return write(&intake.CaseClosedV1{Result: in.Result, Known: in.Known, By: in.By})
	}
	panic(fmt.Sprintf("caselife: input %T", in))
}

// routed is whom a case goes to by its routing: its department if it has one, else its grid.
func routed(c routing.Case) (routing.Holder, bool) {
	switch {
	case c.Department != "":
		return routing.ToDepartment(c.Department), true
	case c.Grid != "":
		return routing.ToGrid(c.Grid), true
	}
	return "", false
}

func (l *Life) open(in routing.Open) []routing.Effect {
	switch {
	case l.c.State != "":
		return refuse("这件工单已经开过了")
	case in.Source == "":
		return refuse("没有说工单从哪里来")
	case in.Personal.Text.IsZero() && in.Callback == "" && in.Source != intake.FromSubmission: // a picture and a place are a submission too
		return refuse("请写下是什么事")
	}
	d, f := in.Decision, in.Found
	o := &intake.CaseOpenedV1{Source: in.Source, Contacts: slices.Clone(in.Contacts), Callback: in.Callback, Category: in.Category, Grid: f.Grid, Department: d.Department,
		Deadline: d.Deadline, Rule: d.Rule, Why: f.Plain, Confidence: f.Confidence, By: in.By}
	if !d.Deadline.IsZero() {
		o.Deadline = intake.Millis(d.Deadline)
	}
	if o.Category == "" {
		o.Category = d.Category
	}
	if d.Grid != "" {
		o.Grid, o.Confidence = d.Grid, 100
	}
	if o.Grid == "" && in.Grid != "" { // nothing was found, so nothing is overruled
		o.Grid, o.Why, o.Confidence = in.Grid, "由人选定", 100
	}
	effects := []routing.Effect{routing.Write{Data: o, Personal: in.Personal}}
	r := &intake.CaseRoutedV1{Grid: o.Grid, Department: o.Department, FromGrid: o.Grid, FromDept: o.Department, Why: "填单时改选", Overruled: true, Confidence: o.Confidence, By: in.By}
	if in.Grid != "" && in.Grid != o.Grid {
		r.Grid, r.Confidence = in.Grid, 100
	}
	switch in.Dept {
	case "":
	case routing.NoDepartment:
		r.Department = ""
	default:
		r.Department = in.Dept
	}
	if r.Grid != r.FromGrid || r.Department != r.FromDept {
		effects = append(effects, routing.Write{Data: r})
	}
	after := routing.Case{Grid: r.Grid, Department: r.Department}
	switch in.Next {
	case routing.NextWait:
	case routing.NextDispatch:
		to, ok := routed(after)
		if !ok {
			return refuse("还没有定派给哪个网格或部门")
		}
		effects = append(effects, routing.Write{Data: &intake.CaseDispatchedV1{To: string(to), By: in.By}})
	case routing.NextClose:
		if !in.Answer.IsZero() {
			effects = append(effects, routing.Write{Data: &intake.CaseAnsweredV1{By: in.By}, Personal: intake.Personal{Text: in.Answer}})
		}
		effects = append(effects, routing.Write{Data: &intake.CaseClosedV1{Result: or(in.Result, routing.Explained), Known: or(in.Known, routing.ResidentSaid), By: in.By}})
	default:
		return refuse("不认得下一步 %q", string(in.Next))
	}
	return effects
}

func or(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// again is how long who has it again gets when no deadline is given.
const again = 24 * time.Hour

// reopen sends it back to whoever had it, or to its routing when nobody had.
func (l *Life) reopen(now time.Time, in routing.Reopen) []routing.Effect {
	until := in.Deadline
	if !until.After(now) {
		until = now.Add(again)
	}
	effects := write(&intake.CaseReopenedV1{Contact: in.Contact, Why: or(in.Why, "居民又来反映"), By: in.By})
	if !l.c.Deadline.IsZero() && until.After(l.c.Deadline) {
		effects = append(effects, write(&intake.CaseExtendedV1{Until: intake.Millis(until), Why: "重新打开", By: in.By})...)
	}
	if to, ok := routed(l.c); ok {
		effects = append(effects, write(&intake.CaseDispatchedV1{To: string(to), By: in.By})...)
	}
	return effects
}

// Fold brings one event into a case. It asks nothing: what is written has happened. Sequence is left to the caller.
func Fold(c *routing.Case, at time.Time, data intake.Data, personal intake.Personal) {
	at = intake.Millis(at)
	c.Changed = at
	switch e := data.(type) {
	case *intake.CaseOpenedV1:
		c.State, c.Opened = routing.Opened, at
		c.Source, c.Contacts, c.Callback, c.Category = e.Source, slices.Clone(e.Contacts), e.Callback, e.Category
		c.Grid, c.Department, c.Deadline, c.Rule, c.Why, c.Confidence, c.By = e.Grid, e.Department, e.Deadline, e.Rule, e.Why, e.Confidence, e.By
		c.Words, c.Place, c.Address, c.Name, c.Phone = personal.Text, personal.Place, personal.Address, personal.Name, personal.Number
	case *intake.CaseAttachedV1:
		if !slices.Contains(c.Contacts, e.Contact) {
			c.Contacts = append(c.Contacts, e.Contact)
		}
	case *intake.CaseRoutedV1:
		c.Grid, c.Department, c.Confidence = e.Grid, e.Department, e.Confidence
		if e.Overruled {
			c.Overruled = true
		}
	case *intake.CaseDispatchedV1:
		c.State, c.Holder = routing.Dispatched, routing.Holder(e.To)
	case *intake.CaseAcceptedV1:
		c.State = routing.Accepted
	case *intake.CaseStartedV1:
		c.State = routing.InProgress
	case *intake.CaseReturnedV1:
		c.State = routing.Returned
		c.Returns++
	case *intake.CaseExtendedV1:
		c.Deadline = e.Until
		c.Extensions++
	case *intake.CaseAnsweredV1:
		c.State, c.Answer = routing.Answered, personal.Text
	case *intake.CaseClosedV1:
		c.State, c.Closed, c.Result, c.Known = routing.Closed, at, e.Result, e.Known
	case *intake.CaseReopenedV1:
		c.State, c.Closed, c.Result, c.Known = routing.Opened, time.Time{}, "", ""
		c.Reopened++
		if e.Contact != "" && !slices.Contains(c.Contacts, e.Contact) {
			c.Contacts = append(c.Contacts, e.Contact)
		}
	case *intake.CaseNotedV1:
	}
}

// Forget takes everything out of a case that names or describes a person.
func Forget(c *routing.Case) {
	c.Words, c.Answer, c.Address, c.Name, c.Phone, c.Place = pii.Text{}, pii.Text{}, pii.Address{}, pii.Name{}, pii.Phone{}, nil
}
