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

// desks knows what operators said of themselves (in, out, on a break) and what the network says of their phones, and tells
// the queue. A phone that registers brings its operator in unless they signed out: an office of two needs no desk to take calls
// (docs/decisions/0003).
type desks struct {
	app *App

	mu    sync.Mutex
	phone map[intake.UserID]bool // registered and answering
	known map[intake.UserID]bool // the queue was told of them
}

const (
	deskIn    = "in"
	deskOut   = "out"
	deskBreak = "break"
)

func newDesks(a *App) *desks {
	return &desks{app: a, phone: map[intake.UserID]bool{}, known: map[intake.UserID]bool{}}
}

// phoneChanged is told by the SIP edge; it must not block, so the tables are asked on a goroutine of its own when an operator is new.
func (d *desks) phoneChanged(op intake.UserID, reachable bool, why string) {
	d.mu.Lock()
	d.phone[op] = reachable
	first := !d.known[op] && reachable
	if first {
		d.known[op] = true
	}
	d.mu.Unlock()
	if reachable {
		d.app.loop.Send(queue.Reachable{Operator: op})
	} else {
		d.app.loop.Send(queue.Unreachable{Operator: op, Why: why})
	}
	if first {
		d.app.wg.Go(func() { d.bringIn(op) })
	}
	d.app.changes.tell()
}

// bringIn tells the queue what the operator last said of themselves.
func (d *desks) bringIn(op intake.UserID) {
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
	d.app.loop.Send(queue.SignedIn{Operator: op, Reachable: d.reachable(op)})
	if state == deskBreak {
		d.app.loop.Send(queue.Break{Operator: op, Reason: reason})
	}
}

func (d *desks) reachable(op intake.UserID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.phone[op]
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
	switch state {
	case deskOut:
		send(queue.SignedOut{Operator: op})
	case deskBreak:
		send(queue.SignedIn{Operator: op, Reachable: d.reachable(op)})
		send(queue.Break{Operator: op, Reason: reason})
	default:
		send(queue.SignedIn{Operator: op, Reachable: d.reachable(op)})
		send(queue.Back{Operator: op})
		send(queue.WrapUpDone{Operator: op})
	}
	return nil
}

// changed writes operator.state. On the loop's goroutine.
func (d *desks) changed(now time.Time, e queue.StateChanged) {
	a := d.app
	subject := e.Operator.Subject()
	a.writer.write([]intake.Event{{Source: a.Source, Subject: subject, Sequence: a.seq.next(subject, a.Epoch), Time: intake.Millis(now),
		PartitionKey: string(subject), Data: &intake.OperatorStateV1{State: string(e.State), Before: string(e.Before), Reason: e.Reason}}}, "")
}

// seats looks at the operators as the queue sees them.
func (a *App) seats(ctx context.Context) ([]queue.Seat, []queue.Waiter, error) {
	snap, err := look(ctx, a, func(time.Time) queue.Snapshot { return a.queue.Snapshot() })
	return snap.Operators, snap.Waiting, err
}
