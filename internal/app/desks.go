package app

import (
	"context"
	"sync"
	"time"

	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/store"
	"yingda/internal/users"
)

// desks knows what operators said of themselves (in, out, on a break), what the network says of their phones, and whose desk is open in a
// browser, and tells the queue. A phone that registers brings its operator in unless they signed out: an office of two needs no desk to take
// calls (docs/decisions/0003). An open desk brings them in for conversations; without a phone they take only those.
type desks struct {
	app *App

	turn sync.Mutex // one operator is told to the queue at a time, as things stand then

	mu    sync.Mutex
	phone map[intake.UserID]bool     // registered and answering
	desk  map[intake.UserID]bool     // open in a browser
	known map[intake.UserID]bool     // the queue was told of them
	back  map[intake.UserID]backDone // whom they called back last
}

const (
	deskIn    = "in"
	deskOut   = "out"
	deskBreak = "break"
)

func newDesks(a *App) *desks {
	return &desks{app: a, phone: map[intake.UserID]bool{}, desk: map[intake.UserID]bool{}, known: map[intake.UserID]bool{}, back: map[intake.UserID]backDone{}}
}

// phoneChanged is told by the SIP edge; it must not block, so the tables are asked on a goroutine of its own.
func (d *desks) phoneChanged(op intake.UserID, reachable bool, why string) {
	d.mu.Lock()
	d.phone[op] = reachable
	known, desk := d.known[op], d.desk[op]
	d.mu.Unlock()
	switch {
	case desk || !known: // what they may be offered changes, not only whether their phone is there
		d.app.wg.Go(func() { d.bringIn(op) })
	case reachable:
		d.app.loop.Send(queue.Reachable{Operator: op})
	default:
		d.app.loop.Send(queue.Unreachable{Operator: op, Why: why})
	}
	d.app.changes.tell()
}

// atDesk is told by the chat's edge when an operator's first desk is opened and when the last has been gone for a while.
func (d *desks) atDesk(op intake.UserID, there bool) {
	d.mu.Lock()
	d.desk[op] = there
	d.mu.Unlock()
	d.app.wg.Go(func() { d.bringIn(op) })
	d.app.changes.tell()
}

// bringIn tells the queue how it stands with an operator: what they last said of themselves, and what they can be offered.
func (d *desks) bringIn(op intake.UserID) {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.mu.Lock()
	phone, desk, known := d.phone[op], d.desk[op], d.known[op]
	d.mu.Unlock()
	if !phone && !desk && !known {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	u, err := d.app.users.ByID(ctx, op)
	if err != nil || u.Disabled || !users.May(u.Role, users.OwnDesk) {
		return
	}
	state, reason := d.said(ctx, op)
	if state == deskOut {
		return
	}
	d.signIn(op)
	if state == deskBreak && !known {
		d.app.loop.Send(queue.Break{Operator: op, Reason: reason})
	}
	d.mu.Lock()
	d.known[op] = true
	d.mu.Unlock()
}

// signIn tells the queue what an operator can be offered.
func (d *desks) signIn(op intake.UserID) {
	d.mu.Lock()
	phone, desk := d.phone[op], d.desk[op]
	d.mu.Unlock()
	can := queue.Capacity{NoCalls: !phone && desk}
	if desk {
		can.Chats = d.app.Config.Queue.Chats
	}
	send := d.app.loop.Send
	send(queue.SignedIn{Operator: op, Capacity: can, Reachable: phone || desk})
	if phone || desk {
		send(queue.Reachable{Operator: op})
	} else {
		send(queue.Unreachable{Operator: op, Why: "no phone and no desk"})
	}
}

// backDone is a call back that is over.
type backDone struct {
	callback intake.CallbackID
	at       time.Time
}

// calledBack keeps whom an operator called back last: it is what they write up next.
func (d *desks) calledBack(op intake.UserID, id intake.CallbackID, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.back[op] = backDone{id, at}
}

func (d *desks) lastBack(op intake.UserID) backDone {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.back[op]
}

// answers is told with each registration whether the phone's owner still answers those who call: an operator who has become a grid worker keeps a
// phone to call out by, and is rung no more.
func (d *desks) answers(op intake.UserID, may bool) {
	d.mu.Lock()
	leave := d.known[op] && !may
	if leave {
		delete(d.known, op)
	}
	d.mu.Unlock()
	if leave {
		d.app.loop.Send(queue.SignedOut{Operator: op})
	}
}

func (d *desks) reachable(op intake.UserID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.phone[op]
}

// open says whether an operator's desk is open in a browser.
func (d *desks) open(op intake.UserID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.desk[op]
}

// said is what the operator last said of themselves; in, if nothing.
func (d *desks) said(ctx context.Context, op intake.UserID) (state, reason string) {
	state = deskIn
	_ = d.app.DB.QueryRow(ctx, "SELECT state, reason FROM desks WHERE operator = ?", string(op)).Scan(&state, &reason)
	return state, reason
}

// say writes down what an operator says of themselves and tells the queue.
func (d *desks) say(ctx context.Context, op intake.UserID, state, reason string) error {
	now := d.app.now()
	err := d.app.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO desks (operator, state, reason, changed) VALUES (?, ?, ?, ?)
			ON CONFLICT (operator) DO UPDATE SET state = excluded.state, reason = excluded.reason, changed = excluded.changed`,
			string(op), state, reason, store.Millis(now))
		return err
	})
	if err != nil {
		return err
	}
	send := d.app.loop.Send
	d.turn.Lock()
	defer d.turn.Unlock()
	switch state {
	case deskOut:
		send(queue.SignedOut{Operator: op})
	case deskBreak:
		d.signIn(op)
		send(queue.Break{Operator: op, Reason: reason})
	default:
		d.signIn(op)
		send(queue.Back{Operator: op})
		send(queue.WrapUpDone{Operator: op})
	}
	return nil
}

// changed writes operator.state. On the loop's goroutine.
func (d *desks) changed(now time.Time, e queue.StateChanged) {
	a := d.app
	if a.elsewhere.Load() != nil {
		return // what operators do is seen where the switchboard is now
	}
	subject := e.Operator.Subject()
	a.writer.write([]intake.Event{{Source: a.Source, Subject: subject, Sequence: a.seq.next(subject, a.Epoch), Time: intake.Millis(now),
		PartitionKey: string(subject), Data: &intake.OperatorStateV1{State: string(e.State), Before: string(e.Before), Reason: e.Reason}}}, nil)
}

// seats looks at the operators as the queue sees them.
func (a *App) seats(ctx context.Context) ([]queue.Seat, []queue.Waiter, error) {
	snap, err := look(ctx, a, func(time.Time) queue.Snapshot { return a.queue.Snapshot() })
	return snap.Operators, snap.Waiting, err
}
