// Package lines keeps the ledger (台账) of published numbers: who owns each, its hours, what it promises.
//
// Use: New over the office's tables, Seed it with what the configuration names at the first start, All to read it. A change by
// Save is one transaction with its event line.changed; Version grows with each, so that a running program sees a change made by
// another process (the command line) within a second, puts the new lines in force, and touches no live call.
//
// What it does not do: it answers no call and knows no telephone; the wiring makes switchboard lines of these.
package lines

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/store"
)

// Line is a row of the ledger. Durations are whole seconds in JSON ("max_wait_s"); zero takes the default of the office.
type Line struct {
	intake.Line
	Numbers      []string `json:"numbers"` // called numbers that reach it; "*" takes any that no other line has
	Hours        string   `json:"hours"`   // as ParseHours reads it
	Dialect      string   `json:"dialect,omitempty"`
	Early        bool     `json:"early,omitempty"`  // 183 with audio until a person is there
	Notice       bool     `json:"recording_notice"` // say that the call is recorded
	NoRecording  bool     `json:"no_recording,omitempty"`
	NoMessages   bool     `json:"no_messages,omitempty"` // no voicemail when closed
	MaxWaitS     int      `json:"max_wait_s,omitempty"`
	MaxQueue     int      `json:"max_queue,omitempty"`
	RingS        int      `json:"ring_s,omitempty"`
	ShortAbandon int      `json:"short_abandon_s,omitempty"`
	FirstSaidS   int      `json:"first_said_s,omitempty"`  // first sentence to one who waits; 0: 20
	FirstOfferS  int      `json:"first_offer_s,omitempty"` // the call back is offered after that long; 0: 60
	Shown        string   `json:"shown,omitempty"`         // number that residents see when called back; empty: Number
	Retired      bool     `json:"retired,omitempty"`
}

// ErrUnknown is what Get gives for a line that is not in the ledger.
var ErrUnknown = errors.New("lines: no such line")

// Check says what is wrong with a line, all of it; nil when nothing is.
func (l Line) Check() error {
	var wrong []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	want(l.ID != "" && !strings.ContainsAny(string(l.ID), " /\t\r\n"), "id %q: a word without spaces or slashes", l.ID)
	want(l.Name != "", "name is empty: what do people call this line?")
	want(len(l.Numbers) > 0, "numbers is empty: which called numbers reach it? * takes any")
	want(l.Switchboard != "", "switchboard is empty")
	_, err := ParseHours(l.Hours)
	want(err == nil, "hours: %v", err)
	want(l.MaxWaitS >= 0 && l.MaxQueue >= 0 && l.RingS >= 0 && l.ShortAbandon >= 0 && l.FirstSaidS >= 0 && l.FirstOfferS >= 0, "a limit is negative")
	want(l.RingS == 0 || l.RingS >= 5 && l.RingS <= 120, "ring_s %d: 5 to 120", l.RingS)
	if len(wrong) > 0 {
		return fmt.Errorf("line %s: %s", l.ID, strings.Join(wrong, "; "))
	}
	return nil
}

// Ledger is the ledger.
type Ledger struct {
	db     *store.DB
	source string
	epoch  uint32
}

// New makes a ledger over db. Source and epoch are those of the events it writes.
func New(db *store.DB, source string, epoch uint32) *Ledger { return &Ledger{db, source, epoch} }

// All gives every line, by id.
func (l *Ledger) All(ctx context.Context) ([]Line, error) {
	rows, err := l.db.Query(ctx, "SELECT data FROM lines ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Line
	for rows.Next() {
		var raw string
		if err := rows.Scan(&raw); err != nil {
			return nil, err
		}
		var line Line
		if err := json.Unmarshal([]byte(raw), &line); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		list = append(list, line)
	}
	return list, rows.Err()
}

// Get gives one line.
func (l *Ledger) Get(ctx context.Context, id intake.LineID) (Line, error) {
	var raw string
	err := l.db.QueryRow(ctx, "SELECT data FROM lines WHERE id = ?", string(id)).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return Line{}, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	if err != nil {
		return Line{}, err
	}
	var line Line
	return line, json.Unmarshal([]byte(raw), &line)
}

// Version grows with every change.
func (l *Ledger) Version(ctx context.Context) (int64, error) {
	var v sql.NullInt64
	err := l.db.QueryRow(ctx, "SELECT SUM(sequence % 4294967296) + COUNT(*) FROM lines").Scan(&v)
	return v.Int64, err
}

// Save puts a line into the ledger, new or in place of the one with its id.
func (l *Ledger) Save(ctx context.Context, now time.Time, by intake.UserID, line Line) error {
	if err := line.Check(); err != nil {
		return err
	}
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	return l.db.Tx(ctx, func(tx *store.Tx) error {
		if err := l.numbersFree(ctx, tx, line); err != nil {
			return err
		}
		var have int64
		err := tx.QueryRowContext(ctx, "SELECT sequence FROM lines WHERE id = ?", string(line.ID)).Scan(&have)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		// The count goes on across epochs: Version sums it, and the number must grow for readers all the same.
		seq := intake.NewSequence(max(l.epoch, intake.Sequence(have).Epoch()), intake.Sequence(have).Count()+1)
		_, err = tx.ExecContext(ctx, `INSERT INTO lines (id, data, sequence, changed) VALUES (?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET data = excluded.data, sequence = excluded.sequence, changed = excluded.changed`,
			string(line.ID), string(raw), int64(seq), store.Millis(now))
		if err != nil {
			return err
		}
		subject := intake.Subject("line/" + string(line.ID))
		return tx.Emit(ctx, intake.Event{Source: l.source, Subject: subject, Sequence: seq, Time: intake.Millis(now),
			PartitionKey: string(subject), Data: &intake.LineChangedV1{Line: line.Line, By: by}})
	})
}

// numbersFree refuses a called number that two lines would claim.
func (l *Ledger) numbersFree(ctx context.Context, tx *store.Tx, line Line) error {
	if line.Retired {
		return nil
	}
	rows, err := tx.QueryContext(ctx, "SELECT data FROM lines WHERE id <> ?", string(line.ID))
	if err != nil {
		return err
	}
	defer rows.Close()
	taken := map[string]intake.LineID{}
	for rows.Next() {
		var raw string
		var other Line
		if err := rows.Scan(&raw); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(raw), &other); err != nil {
			return err
		}
		for _, n := range other.Numbers {
			if !other.Retired {
				taken[n] = other.ID
			}
		}
	}
	for _, n := range line.Numbers {
		if by, ok := taken[n]; ok {
			return fmt.Errorf("line %s: number %s belongs to line %s already: take it from there first", line.ID, n, by)
		}
	}
	return rows.Err()
}

// Seed saves the lines whose ids the ledger does not have yet.
func (l *Ledger) Seed(ctx context.Context, now time.Time, seed []Line) error {
	have, err := l.All(ctx)
	if err != nil || len(have) > 0 {
		return err // a ledger in use is not touched by a file
	}
	for _, line := range seed {
		if err := l.Save(ctx, now, "", line); err != nil {
			return err
		}
	}
	return nil
}

// Find gives the line of a switchboard that a called number reaches: the one that names it, else the one with *. Lines of other
// switchboards are not reached from it.
func Find(list []Line, board intake.SwitchboardID, number string) (Line, bool) {
	var any *Line
	for i := range list {
		if list[i].Retired || list[i].Switchboard != board {
			continue
		}
		for _, n := range list[i].Numbers {
			switch n {
			case number:
				return list[i], true
			case "*":
				any = &list[i]
			}
		}
	}
	if any != nil {
		return *any, true
	}
	return Line{}, false
}
