package books

import (
	"context"
	"fmt"

	"yingda/intake"
	"yingda/internal/store"
)

// Group is the name under which Apply reads the stream; its positions and the marks of a replay are kept under it.
const Group = "books"

// Empty takes away what the books have from the stream, for a replay from its beginning, inside the transaction that moves the position back. What stays is what
// the stream only tells of, since it was done here: callbacks, in whose hand they are and whom they are about, our own tries, and the closings of
// supervisors.
//
// While a replay is under way (store.Tx.BeginReplay) nobody's callbacks are settled: what is read again of a day long ago would otherwise make anew what was
// cleared the day after. Whoever reads calls CaughtUp at its end.
func Empty(ctx context.Context, tx *store.Tx) error {
	for _, q := range []string{
		"DELETE FROM contacts", "DELETE FROM contact_offers", "DELETE FROM contact_cases", "DELETE FROM callers", "DELETE FROM episodes", "DELETE FROM visits",
		"DELETE FROM foreign_callbacks", "DELETE FROM timeline", "DELETE FROM recordings", "DELETE FROM looks", "DELETE FROM trail", "DELETE FROM operator_states",
		`DELETE FROM reaches WHERE NOT (key LIKE 'callback/%' AND substr(key, 10) IN (SELECT id FROM callbacks)
			OR key LIKE 'attempt/%' AND substr(key, 9) IN (SELECT attempt FROM callback_tries WHERE callback <> ''))`,
		"DELETE FROM callback_tries WHERE callback = ''",
	} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("books: empty: %w", err)
		}
	}
	return nil
}

// CaughtUp ends a replay, inside the transaction that brought the last of it: callbacks and people agree again with what is in the books. When they were in
// order before, nothing changes and nothing is told.
func (b *Books) CaughtUp(ctx context.Context, tx *store.Tx) error {
	w := newWork(b, tx)
	defer w.close()
	for _, step := range []func(context.Context) error{w.forgetAgain, w.callersAgain, w.settleAll} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("books: end of a replay: %w", err)
		}
	}
	return nil
}

// rereading says whether a replay of the books is under way.
func (w *work) rereading(ctx context.Context) (bool, error) {
	if w.again == nil {
		m, err := w.tx.Replay(ctx, Group)
		if err != nil {
			return false, err
		}
		again := len(m) > 0
		w.again = &again
	}
	return *w.again, nil
}

// names gives a column of text.
func (w *work) names(ctx context.Context, query string) (list []string, err error) {
	err = w.each(ctx, func(s scanner) error {
		var name string
		if err := s.Scan(&name); err != nil {
			return err
		}
		list = append(list, name)
		return nil
	}, query)
	return list, err
}

// forgetAgain forgets in callbacks what contacts that were erased had told them.
func (w *work) forgetAgain(ctx context.Context) error {
	list, err := w.names(ctx, "SELECT DISTINCT k.callback FROM callback_contacts k JOIN contacts c ON c.id = k.contact WHERE c.erased = 1 ORDER BY 1")
	if err != nil {
		return err
	}
	for _, id := range list {
		if err := w.eraseCallback(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// callersAgain makes the rows of callers that are missing, or that were begun anew in the middle.
func (w *work) callersAgain(ctx context.Context) error {
	wrong, err := w.names(ctx, `SELECT c.caller FROM contacts c WHERE c.caller <> '' AND c.offered_seq > 0 GROUP BY c.caller
		HAVING COUNT(*) <> COALESCE((SELECT contacts FROM callers WHERE token = c.caller), 0) ORDER BY 1`)
	if err != nil {
		return err
	}
	for _, token := range wrong {
		number, name, known, err := w.personOf(ctx, "caller = ?", token)
		if err != nil {
			return err
		}
		if err := w.exec(ctx, "DELETE FROM callers WHERE token = ?", token); err != nil {
			return err
		}
		if err := w.exec(ctx, `INSERT INTO callers (token, number, name, known, first_at, last_at, contacts)
			SELECT caller, ?, ?, ?, MIN(arrived), MAX(arrived), COUNT(*) FROM contacts WHERE caller = ? AND offered_seq > 0 GROUP BY caller`, number, name, known, token); err != nil {
			return err
		}
	}
	return nil
}

// settleAll settles everybody of whom something may be owed: those with an open callback, and those with an unanswered contact after which nobody reached them.
// Of all others there is nothing to settle.
func (w *work) settleAll(ctx context.Context) error {
	list, err := w.names(ctx, `SELECT caller FROM callbacks WHERE cleared_by = '' AND caller <> ''
		UNION SELECT c.caller FROM contacts c WHERE c.owed = 1 AND c.caller <> ''
			AND NOT EXISTS (SELECT 1 FROM contacts r WHERE r.caller = c.caller AND r.reached >= c.arrived AND r.reached > 0)
			AND NOT EXISTS (SELECT 1 FROM reaches r WHERE r.caller = c.caller AND r.at >= c.arrived AND r.how <> 'supervisor')
		ORDER BY 1`)
	if err != nil {
		return err
	}
	for _, caller := range list {
		if err := w.settle(ctx, intake.Token(caller)); err != nil {
			return err
		}
	}
	return nil
}
