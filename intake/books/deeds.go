package books

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/recovery"
	"yingda/internal/store"
)

// hand is what a deed must know of a callback.
type hand struct {
	caller  intake.Token
	line    intake.LineID
	holder  intake.UserID
	cleared bool
}

// deed runs f on a callback in one transaction.
func (b *Books) deed(ctx context.Context, id intake.CallbackID, f func(w *work, h hand) error) error {
	return b.db.Tx(ctx, func(tx *store.Tx) error {
		w := newWork(b, tx)
		defer w.close()
		var h hand
		var by string
		err := tx.QueryRowContext(ctx, "SELECT caller, line, in_hand, cleared_by FROM callbacks WHERE id = ?", string(id)).Scan(&h.caller, &h.line, &h.holder, &by)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: callback %s", ErrNotFound, id)
		}
		if err != nil {
			return err
		}
		h.cleared = by != ""
		return f(w, h)
	})
}

// TakeCallback puts a callback into user's hand. Taking what one has already is fine. ErrNotFound, ErrCleared, ErrInHand (an *InHandError).
func (b *Books) TakeCallback(ctx context.Context, id intake.CallbackID, user intake.UserID) error {
	return b.deed(ctx, id, func(w *work, h hand) error {
		switch {
		case user == "":
			return fmt.Errorf("%w: nobody takes callback %s", ErrInvalid, id)
		case h.cleared:
			return ErrCleared
		case h.holder == user:
			return nil
		case h.holder != "":
			return &InHandError{h.holder}
		}
		return w.give(ctx, id, user, "")
	})
}

// AssignCallback puts a callback into user's hand on the word of by, whoever had it before. ErrNotFound, ErrCleared.
func (b *Books) AssignCallback(ctx context.Context, id intake.CallbackID, user, by intake.UserID) error {
	return b.deed(ctx, id, func(w *work, h hand) error {
		switch {
		case user == "":
			return fmt.Errorf("%w: callback %s is given to nobody", ErrInvalid, id)
		case h.cleared:
			return ErrCleared
		case h.holder == user:
			return nil
		case h.holder != "":
			if err := w.release(ctx, id, h.holder); err != nil {
				return err
			}
		}
		return w.give(ctx, id, user, by)
	})
}

// ReleaseCallback gives a callback back, so that others can take it. Giving back what nobody has is fine. ErrNotFound, ErrNotYours (it is in
// somebody else's hand).
func (b *Books) ReleaseCallback(ctx context.Context, id intake.CallbackID, user intake.UserID) error {
	return b.deed(ctx, id, func(w *work, h hand) error {
		switch h.holder {
		case "":
			return nil
		case user:
			return w.release(ctx, id, user)
		}
		return ErrNotYours
	})
}

// CloseCallback ends the duty without anybody having been reached: a supervisor's act, with a reason for the record.
// ErrNotFound, ErrCleared, ErrNoReason.
func (b *Books) CloseCallback(ctx context.Context, id intake.CallbackID, user intake.UserID, reason string) error {
	reason = strings.TrimSpace(reason)
	if reason == "" {
		return ErrNoReason
	}
	if user == "" {
		return fmt.Errorf("%w: nobody closes callback %s", ErrInvalid, id)
	}
	return b.deed(ctx, id, func(w *work, h hand) error {
		if h.cleared {
			return ErrCleared
		}
		return w.reach(ctx, h.caller, "callback/"+string(id), recovery.Reach{At: w.now(), By: intake.ClearedSupervisor, Line: h.line, User: user, Reason: reason})
	})
}

// Tried notes a try that is over: Seconds is what was talked, or how long it rang. One that reached the caller clears all of
// their callbacks; after one that did not it is in nobody's hand, and the last of MaxTries asks for a visit. The same
// attempt again changes nothing; a try of a callback that was cleared meanwhile is kept. ErrNotFound, ErrInvalid.
func (b *Books) Tried(ctx context.Context, id intake.CallbackID, try intake.CallbackTriedV1) error {
	if try.Attempt == "" || try.Seconds < 0 || !slices.Contains([]string{intake.TryReached, intake.TryNoAnswer, intake.TryBusy, intake.TryRefused, intake.TryFailed}, try.Result) {
		return fmt.Errorf("%w: a try needs an id, seconds and a result", ErrInvalid)
	}
	return b.deed(ctx, id, func(w *work, h hand) error {
		again := false
		if err := w.each(ctx, func(scanner) error { again = true; return nil }, "SELECT 1 FROM callback_tries WHERE attempt = ?", string(try.Attempt)); err != nil || again {
			return err
		}
		now := w.now()
		if err := w.emit(ctx, id, now, &try, false); err != nil {
			return err
		}
		if !h.cleared && h.holder != "" && try.Result != intake.TryReached {
			if err := w.release(ctx, id, h.holder); err != nil {
				return err
			}
		}
		return w.tried(ctx, id, h.caller, h.line, now, &try)
	})
}

func (w *work) give(ctx context.Context, id intake.CallbackID, user, by intake.UserID) error {
	now := w.now()
	if err := w.exec(ctx, "UPDATE callbacks SET in_hand = ?, taken = ?, given_by = ? WHERE id = ?", string(user), store.Millis(now), string(by), string(id)); err != nil {
		return err
	}
	return w.emit(ctx, id, now, &intake.CallbackTakenV1{Operator: user}, false)
}

func (w *work) release(ctx context.Context, id intake.CallbackID, holder intake.UserID) error {
	if err := w.exec(ctx, "UPDATE callbacks SET in_hand = '', taken = 0, given_by = '' WHERE id = ?", string(id)); err != nil {
		return err
	}
	return w.emit(ctx, id, w.now(), &intake.CallbackReleasedV1{Operator: holder}, false)
}

// Wake gives back what has been in somebody's hand for longer than Config.Hold without a try, and says when it wants to be called
// next; zero when nothing is in hand.
func (b *Books) Wake(ctx context.Context, now time.Time) (next time.Time, err error) {
	type held struct {
		id     intake.CallbackID
		holder intake.UserID
		taken  time.Time
	}
	err = b.db.Tx(ctx, func(tx *store.Tx) error {
		w := newWork(b, tx)
		defer w.close()
		var list []held
		if err := w.each(ctx, func(s scanner) error {
			var h held
			var taken int64
			if err := s.Scan(&h.id, &h.holder, &taken); err != nil {
				return err
			}
			h.taken = store.Time(taken)
			list = append(list, h)
			return nil
		}, "SELECT id, in_hand, taken FROM callbacks WHERE cleared_by = '' AND in_hand <> '' ORDER BY taken, id"); err != nil {
			return err
		}
		for _, h := range list {
			if until := h.taken.Add(b.cfg.Hold); until.After(now) {
				next = until
				return nil
			}
			if err := w.release(ctx, h.id, h.holder); err != nil {
				return err
			}
		}
		return nil
	})
	return next, err
}
