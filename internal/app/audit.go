package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/recovery"
	"yingda/intake/stream"
	"yingda/routing/casebook"
	"yingda/search"
	"yingda/search/bleve"
	"yingda/search/elastic"
)

// AuditReport says whether stream, books, index and case book agree.
type AuditReport struct {
	Clean        bool           `json:"clean"`
	AsOf         time.Time      `json:"as_of"`         // time of the newest event in the stream
	Events       int64          `json:"events"`        // in the stream
	SearchBehind int64          `json:"search_behind"` // positions that the index has yet to read; it is then not compared. −1: another program has it open
	Behind       int64          `json:"behind"`        // events that the books have yet to read; they are left out of the comparison
	Offered      int64          `json:"offered"`
	Open         int64          `json:"open"`
	Unwritten    int64          `json:"unwritten"` // contacts that went on although the disk did not take them in time
	Lines        []AuditLine    `json:"lines"`
	Owed         []NodeReport   `json:"owed"` // machines with events on their disk that are not in the stream: late, not lost
	Findings     []AuditFinding `json:"findings"`
}

// AuditLine is the balance of one line and channel: offered = Σ outcomes + open.
type AuditLine struct {
	Line     intake.LineID            `json:"line"`
	Channel  intake.Channel           `json:"channel"`
	Offered  int64                    `json:"offered"`
	Open     int64                    `json:"open"`
	Outcomes map[intake.Outcome]int64 `json:"outcomes"`
	Balanced bool                     `json:"balanced"`
}

// AuditFinding is one difference.
type AuditFinding struct {
	Where string `json:"where"` // stream, books, search, casebook
	ID    string `json:"id"`
	What  string `json:"what"`
}

// Audit folds the whole stream anew, in memory, and holds books, index and case book against it. It works beside a running
// program: what the books have not read yet is left out and said; when they read on meanwhile, it begins again.
func (s *Store) Audit(ctx context.Context) (r AuditReport, err error) {
	if err := s.OpenStream(ctx, nil); err != nil {
		return r, err
	}
	for range 20 {
		var moved bool
		if r, moved, err = s.audit(ctx); err != nil || !moved || r.Clean {
			return r, err
		}
	}
	return r, err
}

// audit says too whether the books moved while it looked.
func (s *Store) audit(ctx context.Context) (r AuditReport, moved bool, err error) {
	r = AuditReport{Findings: []AuditFinding{}, Lines: []AuditLine{}, Owed: []NodeReport{}}
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return r, false, err
	}
	for _, n := range nodes.Nodes {
		if n.Owed > 0 || n.Silent && n.Role != "standby" {
			r.Owed = append(r.Owed, n)
		}
	}
	upTo, err := s.booksAt(ctx)
	if err != nil {
		return r, false, err
	}
	book := answerrate.NewBook()
	ledger := recovery.NewLedger(recovery.Config{Due: s.Config.Books.Due, MaxTries: s.Config.Books.Tries}, func() intake.CallbackID { return intake.CallbackID(newID()) })
	if err := s.foldStream(ctx, upTo, &r, book, ledger); err != nil {
		return r, false, err
	}
	for _, c := range book.Contacts() {
		if slices.Contains(c.Flags, intake.Unwritten) {
			r.Unwritten++
		}
	}
	differ, err := s.books.Compare(ctx, book, ledger)
	if err != nil {
		return r, false, err
	}
	for _, d := range differ {
		r.find("books", string(d.Subject), "%s", d.What)
	}
	balance, err := s.books.Balance(ctx)
	if err != nil {
		return r, false, err
	}
	for _, b := range balance {
		r.Lines = append(r.Lines, AuditLine{b.Line, b.Channel, b.Counts.Offered, b.Counts.Open, b.Counts.Outcomes, b.Balanced})
		r.Offered += b.Counts.Offered
		r.Open += b.Counts.Open
		if !b.Balanced {
			r.find("books", string(b.Line)+"/"+string(b.Channel), "offered %d is not the sum of the outcomes and %d open", b.Counts.Offered, b.Counts.Open)
		}
		for _, id := range b.Contacts {
			r.find("books", string(id), "was never offered, ended twice, or ended in no known way")
		}
	}
	if err := s.auditSearch(ctx, &r, book, upTo); err != nil {
		return r, false, fmt.Errorf("index: %w", err)
	}
	cases, err := s.cases.Audit(ctx)
	if err != nil {
		return r, false, err
	}
	if err := s.auditNamed(ctx, &r, book, cases.Named); err != nil {
		return r, false, err
	}
	for _, f := range cases.Findings {
		id := string(f.Case)
		if id == "" {
			id = string(f.Contact)
		}
		r.find("casebook", id, "%s", f.What)
	}
	r.Clean = len(r.Findings) == 0
	now, err := s.booksAt(ctx)
	return r, !maps.Equal(now, upTo), err
}

// reached is how far a reader has come in each partition; none where it has not begun.
type reached map[int32]int64

// booksAt is how far the books have read the stream.
func (s *Store) booksAt(ctx context.Context) (reached, error) {
	at, err := s.DB.Positions(ctx, booksGroup)
	return reachedBy(inStream(s.stream(), at)), err
}

func reachedBy(list []stream.Position) reached {
	m := reached{}
	for _, p := range list {
		m[p.Partition] = p.Offset
	}
	return m
}

// has says whether a record is behind the reader.
func (m reached) has(p stream.Position) bool {
	at, ok := m[p.Partition]
	return ok && p.Offset <= at
}

// behind is how many positions m lacks of what other has.
func (m reached) behind(other reached) (n int64) {
	for p, o := range other {
		at, ok := m[p]
		if !ok {
			at = -1
		}
		n += max(o-at, 0)
	}
	return n
}

func (r *AuditReport) find(where, id, what string, args ...any) {
	r.Findings = append(r.Findings, AuditFinding{where, id, fmt.Sprintf(what, args...)})
}

// foldStream reads the stream up to where the books are, and counts what is beyond.
func (s *Store) foldStream(ctx context.Context, upTo reached, r *AuditReport, book *answerrate.Book, ledger *recovery.Ledger) error {
	last := map[writing]intake.Sequence{}
	return readAll(ctx, s.stream(), "audit", func(rec stream.Record) error {
		r.Events++
		if rec.Event.Time.After(r.AsOf) {
			r.AsOf = rec.Event.Time
		}
		switch {
		case rec.Err != nil:
			r.find("stream", fmt.Sprintf("%d/%d", rec.Partition, rec.Offset), "cannot be read: %v", rec.Err)
		case !upTo.has(rec.Position):
			r.Behind++
		default:
			s.foldOne(rec, r, book, ledger, last)
		}
		return nil
	})
}

func (s *Store) foldOne(rec stream.Record, r *AuditReport, book *answerrate.Book, ledger *recovery.Ledger, last map[writing]intake.Sequence) {
	e := rec.Event
	w := writing{e.Subject, e.Sequence.Epoch()}
	if before, ok := last[w]; ok && e.Sequence > before+1 && e.Subject.Kind() == "contact" {
		r.find("stream", e.ID(), "events are missing before it: the last was %s", before)
	}
	last[w] = max(last[w], e.Sequence)
	book.Apply(e)
	ledger.Step(e)
}

// writing is what one writer says of a subject: that comes in order and without a gap, be it before or after what another writer says.
type writing struct {
	subject intake.Subject
	epoch   uint32
}

// auditSearch holds the index against the stream: every contact has its document unless it may have left the index, and no document is of nobody.
func (s *Store) auditSearch(ctx context.Context, r *AuditReport, book *answerrate.Book, upTo reached) error {
	x := s.index
	if x == nil {
		dir := filepath.Join(s.Config.Data, "index")
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil // nothing has been served from here yet
		}
		opened, err := bleve.Open(dir, bleve.Config{Logger: s.slog})
		if errors.Is(err, bleve.ErrHeld) { // by the program that serves; it can be asked (AuditServed)
			r.SearchBehind = -1
			return nil
		}
		if err != nil {
			return err
		}
		defer opened.Close()
		x = opened
	}
	at, err := x.Position(ctx)
	if err != nil {
		return err
	}
	positions := make([]stream.Position, len(at))
	for i, p := range at {
		positions[i] = stream.Position(p)
	}
	read := reachedBy(inStream(s.stream(), positions))
	if behind := read.behind(upTo); behind > 0 { // it has yet to read what the books have; what it lacks is late, not lost
		r.SearchBehind = behind
		return nil
	}
	left, err := s.mayHaveLeft(ctx, x)
	if err != nil {
		return err
	}
	gone := 0
	ahead := upTo.behind(read) > 0 // what a document has and the books have not may have come late, without a higher sequence
	for _, c := range book.Contacts() {
		doc, ok, err := x.Get(ctx, c.ID.Subject())
		if err != nil {
			return err
		}
		switch {
		case !ok && left(c):
			gone++
		case !ok:
			r.find("search", string(c.ID), "has no document")
		case !doc.Erased && doc.Outcome != c.Outcome && doc.Sequence <= c.Newest && !(ahead && doc.Trail.Late > 0):
			r.find("search", string(c.ID), "the document says %q, the stream %q", doc.Outcome, c.Outcome)
		}
	}
	n, err := x.Count(ctx, search.Query{Kinds: []search.Kind{search.Contact}})
	if err != nil {
		return err
	}
	if have := len(book.Contacts()) - gone; maps.Equal(read, upTo) && n != have {
		r.find("search", "count", "%d documents of contacts, %d contacts in the stream that should have one", n, have)
	}
	return nil
}

// mayHaveLeft says of which contacts the index in Elasticsearch need not have a document any more: those that ended longer ago than search.keep, and those of a month that was destroyed.
// The embedded index keeps everything.
func (s *Store) mayHaveLeft(ctx context.Context, x search.Index) (func(*answerrate.Contact) bool, error) {
	if _, ok := x.(*elastic.Index); !ok {
		return func(*answerrate.Contact) bool { return false }, nil
	}
	names, err := s.DB.Destroyed(ctx)
	if err != nil {
		return nil, err
	}
	keep, now := s.Config.Search.Keep, s.now()
	return func(c *answerrate.Contact) bool {
		if c.Ended.IsZero() {
			return false
		}
		return keep > 0 && c.Ended.Before(now.Add(-keep)) || slices.Contains(names, monthSecret+c.Arrived.UTC().Format("2006-01"))
	}, nil
}

// auditNamed holds the contacts that cases name against the stream: a case may not name one that nobody has offered. What the books have not
// read yet is looked up in the stream itself.
func (s *Store) auditNamed(ctx context.Context, r *AuditReport, book *answerrate.Book, named []casebook.Named) error {
	offered := map[intake.ContactID]bool{}
	for _, c := range book.Contacts() {
		offered[c.ID] = true
	}
	var unknown []casebook.Named
	for _, n := range named {
		if !offered[n.Contact] {
			unknown = append(unknown, n)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	if err := readAll(ctx, s.stream(), "audit", func(rec stream.Record) error { offered[rec.Event.Contact()] = true; return nil }); err != nil {
		return err
	}
	for _, n := range unknown {
		if !offered[n.Contact] {
			r.find("casebook", string(n.Contact), "case %s names this contact, which is in no book", n.Case)
		}
	}
	return nil
}

// Print says it for a person.
func (r AuditReport) Print(w io.Writer) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	say("%d events in the stream; the books have read all but %d\n", r.Events, r.Behind)
	for _, l := range r.Lines {
		mark := "balanced"
		if !l.Balanced {
			mark = "NOT BALANCED"
		}
		say("%s %s: offered %d = outcomes %d + open %d  %s\n", l.Line, l.Channel, l.Offered, l.Offered-l.Open, l.Open, mark)
	}
	if r.Unwritten > 0 {
		say("%d contacts went on although the disk did not take them in time; they are in the books\n", r.Unwritten)
	}
	for _, n := range r.Owed {
		if n.Owed == 0 {
			say("%s is silent since %s and had the switchboard: what it had not sent is late until its disk is back\n", n.Name, n.Seen.Format(time.RFC3339))
			continue
		}
		say("%s owes the stream %d events since %s: late, not lost\n", n.Name, n.Owed, n.Oldest.Format(time.RFC3339))
	}
	for _, f := range r.Findings {
		say("%s %s: %s\n", f.Where, f.ID, f.What)
	}
	if r.Clean {
		say("clean\n")
	} else {
		say("%d findings\n", len(r.Findings))
	}
	return errors.Join(errs...)
}
