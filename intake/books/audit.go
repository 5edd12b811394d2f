package books

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/recovery"
	"yingda/internal/store"
)

// Balance is one line and channel of the books.
type Balance struct {
	answerrate.Where
	Counts   answerrate.Counts
	Balanced bool
	Contacts []intake.ContactID // why not: never offered, ended twice, ended with an outcome that is none
}

// Balance compares offered with Σ outcomes + open, on every line and channel.
func (b *Books) Balance(ctx context.Context) ([]Balance, error) {
	var list []Balance
	of := func(w answerrate.Where) *Balance {
		i := slices.IndexFunc(list, func(x Balance) bool { return x.Where == w })
		if i < 0 {
			i = len(list)
			list = append(list, Balance{Where: w, Counts: answerrate.Counts{Outcomes: map[intake.Outcome]int64{}}})
		}
		return &list[i]
	}
	unknown := false
	if err := b.each(ctx, func(s scanner) error {
		var w answerrate.Where
		var packed, n int64
		if err := s.Scan(&w.Line, &w.Channel, &packed, &n); err != nil {
			return err
		}
		x := of(w)
		if offeredOf(packed) {
			x.Counts.Offered += n
		}
		outcome := outcomeOf(packed)
		if outcome == "" {
			x.Counts.Open += n
		} else {
			x.Counts.Outcomes[outcome] += n
			unknown = unknown || !outcome.Valid()
		}
		return nil
	}, "SELECT line, channel, places, COUNT(*) FROM contacts GROUP BY line, channel, places ORDER BY line, channel"); err != nil {
		return nil, err
	}
	odd, args := "offered_seq = 0 OR twice = 1", []any(nil)
	if unknown {
		var valid string
		valid, args = in("outcome", append(intake.Outcomes(), ""))
		odd += " OR NOT (" + valid + ")"
	}
	if err := b.each(ctx, func(s scanner) error {
		var w answerrate.Where
		var id intake.ContactID
		if err := s.Scan(&w.Line, &w.Channel, &id); err != nil {
			return err
		}
		x := of(w)
		x.Contacts = append(x.Contacts, id)
		return nil
	}, "SELECT line, channel, id FROM contacts WHERE "+odd+" ORDER BY line, channel, id", args...); err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Balanced = list[i].Counts.Balanced() && len(list[i].Contacts) == 0
	}
	return list, nil
}

// Mismatch is something in which the tables differ from the events.
type Mismatch struct {
	Subject intake.Subject // a contact, a callback, or "person/<token>" for one who is owed a call
	What    string
}

// Compare holds the tables against what the events say when they are folded anew: book and ledger have been given every event up to
// the books' position, from the stream. An empty list means that they agree.
func (b *Books) Compare(ctx context.Context, book *answerrate.Book, ledger *recovery.Ledger) ([]Mismatch, error) {
	var list []Mismatch
	seen := map[intake.ContactID]bool{}
	for c, err := range b.Contacts(ctx, Filter{Oldest: true}) {
		if err != nil {
			return nil, err
		}
		seen[c.ID] = true
		want := book.Contact(c.ID)
		if want == nil {
			list = append(list, Mismatch{c.ID.Subject(), "is in the books, not in the stream"})
			continue
		}
		if what := differs(&c.Contact, want); what != "" {
			list = append(list, Mismatch{c.ID.Subject(), what})
		}
	}
	for _, c := range book.Contacts() {
		if !seen[c.ID] {
			list = append(list, Mismatch{c.ID.Subject(), "is in the stream, not in the books"})
		}
	}
	type who struct {
		caller intake.Token
		line   intake.LineID
	}
	owed := map[who]Callback{}
	open, err := b.Unreturned(ctx, UnreturnedFilter{})
	if err != nil {
		return nil, err
	}
	for _, c := range open {
		owed[who{c.Caller, c.Line}] = c
	}
	for _, d := range ledger.Owed() {
		w := who{d.Caller, d.Line}
		c, ok := owed[w]
		delete(owed, w)
		switch {
		case !ok:
			list = append(list, Mismatch{intake.Subject("person/" + string(d.Caller)), fmt.Sprintf("is owed a call on line %s and has no callback", d.Line)})
		case !c.FirstAttempt.Equal(d.Attempts[0].Arrived):
			list = append(list, Mismatch{c.ID.Subject(), "says another first attempt than the stream"})
		}
	}
	for _, c := range owed {
		list = append(list, Mismatch{c.ID.Subject(), "is open, and by the stream nothing is owed"})
	}
	slices.SortFunc(list, func(x, y Mismatch) int { return cmp.Compare(x.Subject, y.Subject) })
	return list, nil
}

func differs(have, want *answerrate.Contact) string {
	for _, f := range []struct {
		name       string
		have, want any
	}{
		{"line", have.Line, want.Line},
		{"channel", have.Channel, want.Channel},
		{"caller", have.Caller, want.Caller},
		{"arrival", store.Millis(have.Arrived), store.Millis(want.Arrived)},
		{"answer", store.Millis(have.Answered), store.Millis(want.Answered)},
		{"operator", have.Operator, want.Operator},
		{"end", store.Millis(have.Ended), store.Millis(want.Ended)},
		{"outcome", have.Outcome, want.Outcome},
		{"reason", have.Reason, want.Reason},
		{"newest event", have.Newest, want.Newest},
	} {
		if f.have != f.want {
			return fmt.Sprintf("%s: the books say %v, the stream %v", f.name, f.have, f.want)
		}
	}
	return ""
}
