package app

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

// claim is a row of app_submissions.
type claim struct {
	contact  intake.ContactID
	key      string
	body     string
	receipt  string // without its space
	code     string
	drawn    bool
	token    string
	origin   string
	line     intake.LineID
	category string
	outcome  intake.Outcome
	reason   string
	epoch    uint32
	at       time.Time
	seen     bool
	state    State
	caseID   intake.CaseID
	changed  time.Time
	photos   int
	said     said
	erased   bool
}

// given is the claim as the receipt of whoever handed it in.
func (c claim) given(replayed bool) Receipt {
	return Receipt{Number: grouped(c.receipt), Code: c.code, Drawn: c.drawn, Contact: c.contact, At: c.at, Replayed: replayed}
}

const claimColumns = `SELECT s.contact, COALESCE(s.key, ''), s.body, COALESCE(s.receipt, ''), s.code, s.token, s.origin, s.line, s.category, s.outcome, s.reason, s.epoch, s.at, s.seen, s.state,
	s.case_id, s.changed, s.photos, s.data FROM app_submissions s `

func scanClaim(scan func(...any) error, more ...any) (claim, error) {
	var c claim
	var at, changed int64
	var raw string
	err := scan(append([]any{&c.contact, &c.key, &c.body, &c.receipt, &c.code, &c.token, &c.origin, &c.line, &c.category, &c.outcome, &c.reason, &c.epoch, &at, &c.seen, &c.state,
		&c.caseID, &changed, &c.photos, &raw}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return c, ErrNotFound
	}
	if err != nil {
		return c, err
	}
	c.at, c.changed, c.erased = store.Time(at), store.Time(changed), raw == ""
	if raw != "" {
		if err := json.Unmarshal([]byte(raw), &c.said); err != nil {
			return c, fmt.Errorf("submission %s: %w", c.contact, err)
		}
	}
	c.drawn = len(c.said.Number) < 4
	return c, nil
}

// claimOf looks a claim up by its key.
func (s *Server) claimOf(ctx context.Context, key string) (claim, error) {
	return scanClaim(s.config.DB.QueryRow(ctx, claimColumns+"WHERE s.key = ? AND s.at >= ?", key, store.Millis(s.now().Add(-s.config.KeysLast))).Scan)
}

// clerk writes claims. What gathers while one transaction runs goes with the next, so that a busy minute costs few fsyncs.
//
// The goroutine: "clerk", owned by the Server, ends with its context after answering whoever waits.
type clerk struct {
	s    *Server
	desk chan *slip
}

// slip is a claim on its way to the clerk.
type slip struct {
	claim claim
	raw   string
	done  chan error // takes one answer; then claim is the one that holds
}

// mostClaims are written in one transaction.
const mostClaims = 500

func newClerk(s *Server) *clerk { return &clerk{s, make(chan *slip, 4*mostClaims)} }

// write makes a claim durable and gives the one that holds: its own, or the one that had the key before. When ctx ends first the claim may be
// written all the same; whoever comes again with the key finds out.
func (c *clerk) write(ctx context.Context, mine claim) (claim, error) {
	raw, err := mine.said.marshal()
	if err != nil {
		return claim{}, err
	}
	mine.photos = len(mine.said.Attachments)
	p := &slip{mine, raw, make(chan error, 1)}
	select {
	case c.desk <- p:
	case <-ctx.Done():
		return claim{}, ctx.Err()
	case <-c.s.ctx.Done():
		return claim{}, ErrClosed
	}
	select {
	case err := <-p.done:
		return p.claim, err
	case <-ctx.Done():
		return claim{}, ctx.Err()
	case <-c.s.ctx.Done():
		select {
		case err := <-p.done:
			return p.claim, err
		case <-time.After(5 * time.Second): // laid down after the clerk had gone
			return claim{}, ErrClosed
		}
	}
}

func (c *clerk) run() {
	for {
		select {
		case p := <-c.desk:
			c.transact(c.gather(p))
		case <-c.s.ctx.Done():
			for {
				select {
				case p := <-c.desk:
					c.transact(c.gather(p))
				default:
					return
				}
			}
		}
	}
}

func (c *clerk) gather(first *slip) []*slip {
	batch := []*slip{first}
	for len(batch) < mostClaims {
		select {
		case p := <-c.desk:
			batch = append(batch, p)
		default:
			return batch
		}
	}
	return batch
}

// transact writes a batch in one transaction; when that fails, each by itself, so that one cannot take the others with it. The tables have one writer, and whoever
// opens a thousand cases holds it for a while: waiting is better than sending people away.
func (c *clerk) transact(batch []*slip) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.s.ctx), 40*time.Second)
	defer cancel()
	held := make([]claim, len(batch))
	err := c.s.config.DB.Tx(ctx, func(tx *store.Tx) (err error) {
		insert, err := tx.Prepare(ctx, insertClaim)
		if err != nil {
			return err
		}
		defer insert.Close()
		for i, p := range batch {
			if held[i], err = c.put(ctx, tx, insert, p.claim, p.raw); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && len(batch) > 1 && ctx.Err() == nil {
		for i := range batch {
			c.transact(batch[i : i+1])
		}
		return
	}
	for i, p := range batch {
		if err == nil {
			p.claim = held[i]
		}
		p.done <- err
	}
}

const insertClaim = `INSERT INTO app_submissions (contact, key, body, receipt, code, token, origin, line, category, outcome, reason, epoch, at, state, changed, photos, data)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

// put writes one claim. Where its key is taken, the claim that has it is given, unless that has expired.
func (c *clerk) put(ctx context.Context, tx *store.Tx, insert *store.Stmt, mine claim, raw string) (claim, error) {
	for range 50 {
		var receipt any
		if mine.receipt != "" {
			receipt = mine.receipt
		}
		done, err := insert.ExecContext(ctx, string(mine.contact), mine.key, mine.body, receipt, mine.code, mine.token, mine.origin, string(mine.line), mine.category,
			string(mine.outcome), mine.reason, mine.epoch, store.Millis(mine.at), string(mine.state), store.Millis(mine.changed), mine.photos, raw)
		if err != nil {
			return claim{}, err
		}
		if n, err := done.RowsAffected(); err != nil || n == 1 {
			return mine, err
		}
		have, err := scanClaim(tx.QueryRowContext(ctx, claimColumns+"WHERE s.key = ?", mine.key).Scan)
		switch {
		case err == nil && have.at.Before(mine.at.Add(-c.s.config.KeysLast)):
			if _, err := tx.ExecContext(ctx, "UPDATE app_submissions SET key = NULL WHERE contact = ?", string(have.contact)); err != nil {
				return claim{}, err
			}
		case err == nil:
			return have, nil
		case errors.Is(err, ErrNotFound):
			mine.receipt = drawReceipt() // that number is somebody else's
		default:
			return claim{}, err
		}
	}
	return claim{}, errors.New("app: no receipt number is free")
}

// receiptsLast is how long the status of a submission can be asked for by its receipt. Then the number may be drawn again.
const receiptsLast = 2 * 365 * 24 * time.Hour

// sweepOnce forgets keys and receipts that have expired, webhooks that were delivered long ago, and files that nothing names.
func (s *Server) sweepOnce(ctx context.Context) error {
	now := s.now()
	err := s.config.DB.Tx(ctx, func(tx *store.Tx) error {
		for _, q := range []struct {
			text string
			arg  time.Time
		}{
			{"UPDATE app_submissions SET key = NULL WHERE key IS NOT NULL AND at < ?", now.Add(-s.config.KeysLast)},
			{"UPDATE app_submissions SET receipt = NULL WHERE receipt IS NOT NULL AND at < ?", now.Add(-receiptsLast)},
			{"DELETE FROM app_hooks WHERE state <> 0 AND done < ?", now.Add(-30 * 24 * time.Hour)},
		} {
			if _, err := tx.ExecContext(ctx, q.text, store.Millis(q.arg)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(s.finish(ctx, now.Add(-time.Minute)), s.orphans(ctx, now.Add(-24*time.Hour)))
}

// finish appends the events of claims made before then that nobody has read from the stream yet: a crash, or a disk that did not write, came between, and
// whoever sent them may never ask again. What the log has already it passes over.
func (s *Server) finish(ctx context.Context, before time.Time) error {
	rows, err := s.config.DB.Query(ctx, claimColumns+"WHERE s.seen = 0 AND s.at < ? AND s.data <> '' ORDER BY s.at LIMIT 1000", store.Millis(before))
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []claim
	for rows.Next() {
		c, err := scanClaim(rows.Scan)
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, c := range list {
		if err := s.append(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// takenSince counts what a token has handed in since t.
func (s *Server) takenSince(ctx context.Context, token string, t time.Time) (int, error) {
	var n int
	err := s.config.DB.QueryRow(ctx, "SELECT COUNT(*) FROM app_submissions WHERE token = ? AND at >= ?", token, store.Millis(t)).Scan(&n)
	return n, err
}

// marks gives n question marks for a list in SQL.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }
