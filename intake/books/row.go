package books

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/recovery"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// row is a contact as its table has it.
type row struct {
	answerrate.Contact
	number pii.Phone
	name   pii.Name
	usable bool
}

const columns = `id, pkey, channel, line, switchboard, caller, withheld, known, origin, dedupe, sip_call_id, imported,
	arrived, queued, answered, operator, ended, outcome, reason, ended_by, q850, waited_ms, rang_ms, talked_ms, flags,
	provisional, twice, erased, newest, offered_seq, queued_seq, answered_seq, ended_seq, identified_seq, number, name, usable`

// upsert writes columns and what follows from them: owed, reached, places.
var upsert = func() string {
	names := strings.Split(strings.Join(strings.Fields(columns), ""), ",")
	names = append(names, "owed", "reached", "places")
	var set []string
	for _, n := range names[1:] {
		set = append(set, n+" = excluded."+n)
	}
	return "INSERT INTO contacts (" + strings.Join(names, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(names)-1) +
		") ON CONFLICT (id) DO UPDATE SET " + strings.Join(set, ", ")
}()

func (r *row) owes() bool { return r.usable && r.Owed() }

func (r *row) args(places int64) []any {
	return []any{string(r.ID), r.Key, string(r.Channel), string(r.Line), string(r.Switchboard), string(r.Caller), r.Withheld, r.Known, r.Origin, r.Dedupe,
		r.SIPCallID, r.Imported, store.Millis(r.Arrived), store.Millis(r.Queued), store.Millis(r.Answered), string(r.Operator), store.Millis(r.Ended),
		string(r.Outcome), r.Reason, string(r.By), r.Q850, r.WaitedMS, r.RangMS, r.TalkedMS, joinFlags(r.Flags), r.Provisional, r.Twice, r.Erased,
		int64(r.Newest), int64(r.OfferedSeq), int64(r.QueuedSeq), int64(r.AnsweredSeq), int64(r.EndedSeq), int64(r.IdentifiedSeq), r.number.Reveal(), r.name.Reveal(), r.usable,
		r.owes(), store.Millis(r.ReachedAt()), places}
}

type scanner interface{ Scan(...any) error }

// scan reads columns, and more behind them.
func (r *row) scan(s scanner, more ...any) error {
	var number, name, flags string
	var arrived, queued, answered, ended int64
	into := []any{&r.ID, &r.Key, &r.Channel, &r.Line, &r.Switchboard, &r.Caller, &r.Withheld, &r.Known, &r.Origin, &r.Dedupe,
		&r.SIPCallID, &r.Imported, &arrived, &queued, &answered, &r.Operator, &ended,
		&r.Outcome, &r.Reason, &r.By, &r.Q850, &r.WaitedMS, &r.RangMS, &r.TalkedMS, &flags, &r.Provisional, &r.Twice, &r.Erased,
		&r.Newest, &r.OfferedSeq, &r.QueuedSeq, &r.AnsweredSeq, &r.EndedSeq, &r.IdentifiedSeq, &number, &name, &r.usable}
	if err := s.Scan(append(into, more...)...); err != nil {
		return err
	}
	r.Arrived, r.Queued, r.Answered, r.Ended = store.Time(arrived), store.Time(queued), store.Time(answered), store.Time(ended)
	r.Flags = splitFlags(flags)
	r.number, r.name = pii.NewPhone(number), pii.NewName(name)
	return nil
}

func joinFlags(flags []intake.Flag) string {
	list := make([]string, len(flags))
	for i, f := range flags {
		list[i] = string(f)
	}
	return strings.Join(list, ",")
}

func splitFlags(s string) []intake.Flag {
	if s == "" {
		return nil
	}
	var list []intake.Flag
	for f := range strings.SplitSeq(s, ",") {
		list = append(list, intake.Flag(f))
	}
	return list
}

func (r *row) attempt() recovery.Attempt {
	return recovery.Attempt{Contact: r.ID, Caller: r.Caller, Line: r.Line, Channel: r.Channel, Arrived: r.Arrived, Ended: r.Ended,
		Outcome: r.Outcome, Reason: r.Reason, Owed: r.owes(), Reached: r.ReachedAt()}
}

// A contact's places hold its place in each definition, 4 bits each from below, then from bit 56 what became of it (0 open, else its number in the
// list of outcomes from 1, 31 for none of them) and at bit 61 whether it was offered: so every count is a grouping by one number.
const (
	outcomeBit = 56
	offeredBit = 61
	most       = outcomeBit / 4 // definitions of a kind
	noOutcome  = 31
)

// places packs them.
func (b *Books) places(c *answerrate.Contact) int64 {
	var packed int64
	for i, d := range b.contact {
		packed |= int64(d.Place(c)) << (4 * i)
	}
	if !c.Open() {
		code := int64(slices.Index(outcomes, c.Outcome) + 1)
		if code == 0 {
			code = noOutcome
		}
		packed |= code << outcomeBit
	}
	if c.OfferedSeq != 0 {
		packed |= 1 << offeredBit
	}
	return packed
}

var outcomes = intake.Outcomes()

// outcomeOf is what became of it: "" open, "unknown" for what is in no list.
func outcomeOf(packed int64) intake.Outcome {
	switch code := packed >> outcomeBit & 31; code {
	case 0:
		return ""
	case noOutcome:
		return "unknown"
	default:
		return outcomes[code-1]
	}
}

func offeredOf(packed int64) bool { return packed>>offeredBit&1 == 1 }

func (b *Books) casePlaces(k *answerrate.Case) int64 {
	var packed int64
	for i, d := range b.caller {
		packed |= int64(d.PlaceCase(k)) << (4 * i)
	}
	return packed
}

func unpack(packed int64, i int) answerrate.Place { return answerrate.Place(packed >> (4 * i) & 15) }

// place puts every row in its places anew when the definitions are not those of last time.
func (b *Books) place(ctx context.Context, fingerprint string) error {
	var have string
	err := b.db.QueryRow(ctx, "SELECT value FROM books_facts WHERE name = 'definitions'").Scan(&have)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if have == fingerprint {
		return nil
	}
	return b.db.Tx(ctx, func(tx *store.Tx) error {
		w := newWork(b, tx)
		defer w.close()
		contacts, err := w.rows(ctx, "")
		if err != nil {
			return err
		}
		for _, r := range contacts {
			if err := w.exec(ctx, "UPDATE contacts SET places = ? WHERE id = ?", b.places(&r.Contact), string(r.ID)); err != nil {
				return err
			}
		}
		cases, err := w.cases(ctx, "")
		if err != nil {
			return err
		}
		for _, k := range cases {
			if err := w.exec(ctx, "UPDATE episodes SET places = ? WHERE contact = ?", b.casePlaces(&k.Case), string(k.Contact)); err != nil {
				return err
			}
		}
		return w.fact(ctx, "definitions", fingerprint)
	})
}

// work is one transaction of the books, with its statements prepared once.
type work struct {
	*Books
	tx    *store.Tx
	made  map[string]*store.Stmt
	again *bool // whether a replay is under way; nil: not asked yet
}

func newWork(b *Books, tx *store.Tx) *work { return &work{b, tx, map[string]*store.Stmt{}, nil} }

func (w *work) close() {
	for _, s := range w.made {
		_ = s.Close()
	}
}

func (w *work) stmt(ctx context.Context, text string) (*store.Stmt, error) {
	if s := w.made[text]; s != nil {
		return s, nil
	}
	s, err := w.tx.Prepare(ctx, text)
	if err == nil {
		w.made[text] = s
	}
	return s, err
}

func (w *work) exec(ctx context.Context, text string, args ...any) error {
	_, err := w.count(ctx, text, args...)
	return err
}

func (w *work) count(ctx context.Context, text string, args ...any) (int64, error) {
	s, err := w.stmt(ctx, text)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// each calls f for every row of the answer.
func (w *work) each(ctx context.Context, f func(scanner) error, text string, args ...any) error {
	s, err := w.stmt(ctx, text)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return drain(rows, f)
}

func drain(rows *sql.Rows, f func(scanner) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// rows of contacts that where (with its keyword) chooses.
func (w *work) rows(ctx context.Context, where string, args ...any) ([]row, error) {
	var list []row
	err := w.each(ctx, func(s scanner) error {
		var r row
		if err := r.scan(s); err != nil {
			return err
		}
		list = append(list, r)
		return nil
	}, "SELECT "+columns+" FROM contacts "+where, args...)
	return list, err
}

// episode is a row of episodes.
type episode struct {
	answerrate.Case
	last     time.Time
	attempts int
}

func (w *work) cases(ctx context.Context, where string, args ...any) ([]episode, error) {
	var list []episode
	err := w.each(ctx, func(s scanner) error {
		var k episode
		var first, last, reached int64
		if err := s.Scan(&k.Contact, &k.Caller, &k.Line, &k.Channel, &first, &last, &k.attempts, &reached, &k.Outcome, &k.Reason); err != nil {
			return err
		}
		k.First, k.last, k.Reached = store.Time(first), store.Time(last), store.Time(reached)
		list = append(list, k)
		return nil
	}, "SELECT contact, caller, line, channel, first_at, last_at, attempts, reached, outcome, reason FROM episodes "+where, args...)
	return list, err
}

func (w *work) fact(ctx context.Context, name, value string) error {
	return w.exec(ctx, "INSERT INTO books_facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
}
