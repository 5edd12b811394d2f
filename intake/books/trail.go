package books

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/store"
)

// What an Act is.
const (
	ActRevealed = "revealed"
	ActPlayed   = "played"
	ActExported = "exported"
	ActSigned   = "signed"
	ActAccount  = "account"
	ActLine     = "line"
	ActCallback = "callback" // a supervisor closed it without anybody having been reached
	ActErased   = "erased"
	ActGrid     = "grid"
)

// Act is an entry of the audit log: what somebody looked at, took away or changed.
type Act struct {
	ID      string // of the event
	At      time.Time
	Who     intake.UserID // "": the program itself, or the command line
	Kind    string        // one of Act…
	What    string        // what exactly: a field, how somebody signed in, what happened to an account
	Contact intake.ContactID
	Of      intake.Subject    // what it was done to: a contact, a recording, an account, a line, a list
	More    map[string]string // in what way
	Reason  string
}

// ActCursor marks a place in the audit log.
type ActCursor struct {
	At time.Time
	ID string
}

// ActFilter chooses. The zero value takes all, newest first.
type ActFilter struct {
	From, To time.Time
	Who      intake.UserID
	Kind     string
	Oldest   bool
	Limit    int // 0: 100
	After    ActCursor
}

// Acts gives a page of the audit log.
func (b *Books) Acts(ctx context.Context, f ActFilter) ([]Act, error) {
	var c cond
	c.span("at", f.From, f.To)
	if f.Who != "" {
		c.and("who = ?", string(f.Who))
	}
	if f.Kind != "" {
		c.and("kind = ?", f.Kind)
	}
	order, beyond := " ORDER BY at DESC, id DESC", "<"
	if f.Oldest {
		order, beyond = " ORDER BY at, id", ">"
	}
	if f.After.ID != "" {
		at := store.Millis(f.After.At)
		c.and("(at "+beyond+"= ? AND (at "+beyond+" ? OR id "+beyond+" ?))", at, at, f.After.ID)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	var list []Act
	err := b.each(ctx, func(s scanner) error {
		var a Act
		var at int64
		var more string
		if err := s.Scan(&a.ID, &at, &a.Who, &a.Kind, &a.What, &a.Contact, &a.Of, &more, &a.Reason); err != nil {
			return err
		}
		a.At = store.Time(at)
		if more != "" {
			if err := json.Unmarshal([]byte(more), &a.More); err != nil {
				return fmt.Errorf("act %s: %w", a.ID, err)
			}
		}
		list = append(list, a)
		return nil
	}, "SELECT id, at, who, kind, what, contact, subject, more, reason FROM trail"+c.where()+order+" LIMIT ?", append(slices.Clone(c.args), limit)...)
	return list, err
}

// act writes down what an event says that somebody did, if it says so.
func (w *work) act(ctx context.Context, e intake.Event) error {
	a := Act{ID: e.ID(), At: e.Time, Of: e.Subject, More: map[string]string{}}
	more := func(name, value string) {
		if value != "" {
			a.More[name] = value
		}
	}
	switch d := e.Data.(type) {
	case *intake.PersonRevealedV1:
		a.Kind, a.Who, a.What, a.Of, a.Reason = ActRevealed, d.Viewer, d.Field, d.What, d.Reason
		if d.What.Kind() == "contact" {
			a.Contact = intake.ContactID(d.What.ID())
		}
	case *intake.RecordingPlayedV1:
		a.Kind, a.Who, a.What, a.Of = ActPlayed, d.Viewer, "recording", intake.Subject("recording/"+string(d.Recording))
		a.Contact = intake.ContactID(e.PartitionKey) // a look is written down under the contact that it is at
		more("from_ms", fmt.Sprint(d.FromMS))
		more("to_ms", fmt.Sprint(d.ToMS))
	case *intake.ListExportedV1:
		a.Kind, a.Who, a.What, a.Of = ActExported, d.Viewer, d.List, intake.Subject("list/"+d.List)
		more("format", d.Format)
		more("filter", d.Filter)
	case *intake.AccountSignedV1:
		a.Kind, a.Who, a.What, a.Of = ActSigned, d.User, d.How, intake.Subject("account/"+string(d.User))
		if d.Wall {
			more("wall", "yes")
		}
	case *intake.AccountChangedV1:
		a.Kind, a.Who, a.What, a.Of = ActAccount, d.By, d.What, intake.Subject("account/"+string(d.User))
		if d.User == "" {
			a.Of = intake.Subject("token/" + d.Token)
		}
		more("role", d.Role)
		more("before", d.Before)
	case *intake.LineChangedV1:
		a.Kind, a.Who, a.What = ActLine, d.By, "changed"
		more("name", d.Line.Name)
	case *intake.GridImportedV1:
		a.Kind, a.What = ActGrid, "imported"
		more("version", d.Version)
		more("rows", fmt.Sprint(d.Rows))
		more("refused", fmt.Sprint(d.Refused))
	case *intake.ErasedV1:
		a.Kind, a.Who, a.What, a.Contact, a.Reason = ActErased, d.By, "erased", e.Contact(), d.Ground
	case *intake.CallbackClearedV1:
		if d.By != intake.ClearedSupervisor || d.User == "" {
			return nil
		}
		a.Kind, a.Who, a.What, a.Contact, a.Reason = ActCallback, d.User, "closed", d.Contact, d.Reason
	default:
		return nil
	}
	text := ""
	if len(a.More) > 0 {
		raw, err := json.Marshal(a.More)
		if err != nil {
			return err
		}
		text = string(raw)
	}
	return w.exec(ctx, `INSERT INTO trail (id, at, who, kind, what, contact, subject, more, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		a.ID, store.Millis(a.At), string(a.Who), a.Kind, a.What, string(a.Contact), string(a.Of), text, strings.TrimSpace(a.Reason))
}
