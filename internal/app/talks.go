package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"yingda/channels"
	"yingda/channels/chat"
	"yingda/channels/webchat"
	"yingda/intake"
	"yingda/internal/lines"
	"yingda/internal/pii"
	"yingda/internal/users"
)

// openTalks opens the chat: conversations that the last run left open go on where they were.
func (a *App) openTalks(ctx context.Context) error {
	c := a.Config
	secret, err := a.DB.Secret(ctx, "chat", a.now())
	if err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	others := uint32(0)
	if a.lease != nil { // another machine may have had these conversations, and its last words may come late
		others = a.Epoch
	}
	a.talks, err = webchat.New(ctx, webchat.Config{OthersBefore: others, DB: a.DB, Dir: filepath.Join(c.Data, "chat-files"), Key: a.keys.attachment, Secret: secret, Send: func(in chat.Input) { a.loop.Send(in) },
		Now: a.now, NewID: newID, Line: a.talkLine, Caller: a.talkCaller, Origins: func() []string { return c.Public.Origins }, Staff: a.talkStaff,
		Named: a.publicName, AtDesk: a.desks.atDesk, Logger: a.log})
	if err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	if err := a.upToDate(ctx, a.talksConsumer()); err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	restored, err := a.talks.Restore(ctx)
	if err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	return a.endLostTalks(ctx, restored)
}

// talksConsumer keeps the conversations in tables, so that whoever comes back finds everything after the message they have.
func (a *App) talksConsumer() *consumer {
	return a.tables(webchat.Group, a.talks.Apply, a.changes.tell)
}

// endLostTalks ends the conversations that are open in the books and that the edge knows nothing of.
func (a *App) endLostTalks(ctx context.Context, restored []intake.ContactID) error {
	open, err := a.books.OpenContacts(ctx)
	if err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	now := a.now()
	var events []intake.Event
	for _, c := range open {
		if c.Channel != intake.Chat || !a.ours(c) || slices.Contains(restored, c.ID) {
			continue
		}
		events = append(events, intake.Event{Source: a.Source, Subject: c.ID.Subject(), Sequence: c.Newest.Next(a.Epoch), Time: intake.Millis(now), PartitionKey: c.Key,
			Data: &intake.EndedV1{Outcome: intake.Interrupted, Reason: intake.ReasonRestarted, By: intake.ByUs, WaitedMS: max(now.Sub(c.Arrived).Milliseconds(), 0), Provisional: true}})
	}
	if len(events) == 0 {
		return nil
	}
	return a.Log.Append(ctx, events...)
}

// talkLine is a line as the chat must know it; "" is the one for what comes by pages.
func (a *App) talkLine(id intake.LineID) (webchat.Line, bool) {
	l, ok := a.publicLine()
	if id != "" {
		l, ok = a.lineByID(id)
	}
	if !ok {
		return webchat.Line{}, false
	}
	now, hours := a.now(), a.hours(l)
	out := webchat.Line{ID: l.ID, Name: l.Name, Number: l.Number, Closed: !hours.Open(now)}
	if out.Closed {
		out.Next = hours.Next(now)
	}
	return out, true
}

func (a *App) lineByID(id intake.LineID) (lines.Line, bool) {
	if all := a.lines.Load(); all != nil {
		for _, l := range *all {
			if l.ID == id && !l.Retired {
				return l, true
			}
		}
	}
	return lines.Line{}, false
}

// talkCaller is what the office knows of a number that somebody left; without a token it cannot be called.
func (a *App) talkCaller(_ context.Context, n pii.Phone, line intake.LineID) channels.Caller {
	if !callable(n) {
		return channels.Caller{}
	}
	f := a.facts(n, line)
	return channels.Caller{Token: f.Token, Known: f.Known, Older: f.Older, Blocked: f.Blocked, Failed: f.Failed}
}

// talkStaff is who is signed in, by the cookie of the pages.
func (a *App) talkStaff(r *http.Request) (webchat.Staff, error) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	s, err := a.web.Who(ctx, r)
	if errors.Is(err, users.ErrNoSession) {
		return webchat.Staff{}, webchat.ErrNobody
	}
	if err != nil {
		return webchat.Staff{}, err
	}
	return staffOf(s.ID, s.Role), nil
}

func staffOf(id intake.UserID, role users.Role) webchat.Staff {
	return webchat.Staff{User: id, Desk: users.May(role, users.OwnDesk), SeeAny: users.May(role, users.SeeContacts)}
}

// publicName is what residents see of an operator: their name as colleagues know it.
func (a *App) publicName(id intake.UserID) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	u, err := a.users.ByID(ctx, id)
	if err != nil {
		return ""
	}
	return u.Name
}

// talkLines puts the ledger's lines in force for the chat.
func (a *App) talkLines(list []lines.Line) chat.SetLines {
	var set chat.SetLines
	c := a.Config
	for _, l := range list {
		if l.Retired || l.Switchboard != c.switchboard() {
			continue
		}
		s := chat.Settings{Ring: c.Queue.RingTime, Limit: l.MaxQueue}
		if l.MaxWaitS > 0 {
			s.MaxWait = seconds(l.MaxWaitS)
		} else if c.Queue.MaxWait > 0 {
			s.MaxWait = c.Queue.MaxWait
		}
		set.Lines = append(set.Lines, chat.Line{Line: l.Line, Settings: s})
	}
	if l, ok := a.publicLine(); ok {
		set.Default = l.ID
	}
	return set
}
