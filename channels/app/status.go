package app

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// Status says how a submission stands. receipt is written with or without its space; last4 is Receipt.Code. Errors: ErrNotFound for a wrong
// receipt and for wrong digits alike, ErrTooOften after ten wrong tries an hour for one number, whether there is such a receipt or not.
func (s *Server) Status(ctx context.Context, receipt, last4 string) (Status, error) {
	number, ok := parseReceipt(receipt)
	code, ok4 := digits(last4, 4)
	if !ok || !ok4 {
		return Status{}, ErrNotFound // no such number was ever given out
	}
	now := s.now()
	if s.tries.full("receipt/"+number, mostTries, now) {
		return Status{}, ErrTooOften
	}
	c, err := scanClaim(s.config.DB.QueryRow(ctx, claimColumns+"WHERE s.receipt = ? AND s.at >= ?", number, store.Millis(now.Add(-receiptsLast))).Scan)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Status{}, err
	}
	if subtle.ConstantTimeCompare([]byte(c.code), []byte(code)) != 1 {
		s.tries.wrong("receipt/"+number, now)
		return Status{}, ErrNotFound
	}
	return s.status(ctx, c)
}

// Lookup gives the contact of a receipt number, for the people who work here; ErrNotFound.
func (s *Server) Lookup(ctx context.Context, receipt string) (intake.ContactID, error) {
	number, ok := parseReceipt(receipt)
	if !ok {
		return "", ErrNotFound
	}
	c, err := scanClaim(s.config.DB.QueryRow(ctx, claimColumns+"WHERE s.receipt = ?", number).Scan)
	return c.contact, err
}

// status puts together what is known of a claim.
func (s *Server) status(ctx context.Context, c claim) (Status, error) {
	st := Status{Number: grouped(c.receipt), Contact: c.contact, State: c.state, At: c.at, Changed: c.changed, Case: c.caseID, Category: c.category, Photos: c.photos}
	if c.caseID != "" {
		k, err := caseOf(ctx, s.config.DB.QueryRow(ctx, caseColumns+"WHERE id = ?", string(c.caseID)).Scan)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return Status{}, err
		}
		st.Grid, st.Department, st.Deadline, st.Result = k.grid, k.department, k.deadline, k.result
		if k.state == Closed {
			st.Answer = pii.NewText(k.answer)
		}
		if s.config.CaseNumber != nil {
			if st.CaseNumber, err = s.config.CaseNumber(ctx, c.caseID); err != nil {
				return Status{}, err
			}
		}
	}
	var err error
	st.Steps, err = s.steps(ctx, c)
	return st, err
}

func (s *Server) steps(ctx context.Context, c claim) ([]Step, error) {
	list := []Step{{string(Received), c.at}}
	if c.outcome != intake.Accepted {
		list[0].What = string(Rejected)
	}
	rows, err := s.config.DB.Query(ctx, "SELECT what, at FROM app_steps WHERE contact = ? ORDER BY at, subject, sequence", string(c.contact))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var st Step
		var at int64
		if err := rows.Scan(&st.What, &at); err != nil {
			return nil, err
		}
		st.At = store.Time(at)
		list = append(list, st)
	}
	return list, rows.Err()
}
