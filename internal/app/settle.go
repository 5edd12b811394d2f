package app

import (
	"context"
	"errors"
	"time"

	"yingda/channels/webchat"
	"yingda/intake"
	"yingda/intake/books"
)

// patience is how long a start waits for Kafka before calls are taken, in all: a hotline answers first, within 15 s of the death of the machine that had the switchboard,
// of which its lease takes ten. What was left open and is not known by then is ended when it is.
const patience = 3 * time.Second

// upToDate brings a consumer to the end of the stream before calls are taken. Of this machine's own log it must succeed. Kafka may be away: then it is tried for a
// while, and the rest comes later.
func (a *App) upToDate(ctx context.Context, c *consumer) error {
	if a.kafka == nil {
		return c.catchUp(ctx)
	}
	began := time.Now()
	if a.waits.IsZero() {
		a.waits = began.Add(patience)
	}
	ctx, cancel := context.WithDeadline(ctx, a.waits)
	defer cancel()
	err := a.carried(ctx)
	if err == nil {
		err = c.catchUp(ctx)
	}
	if err != nil {
		a.log.Warn("the stream cannot be read to its end now; calls are taken all the same", "consumer", c.name, "waited", time.Since(began).Round(time.Millisecond), "err", err)
	}
	return nil
}

// carried waits until everything in this machine's log is in Kafka.
func (a *App) carried(ctx context.Context) error {
	for {
		lag, err := a.outbox.relay.Lag(ctx)
		if err != nil || lag.Records == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// ours says whether a contact is one of this switchboard's. What came by pages and apps is of whoever has the lines.
func (s *Store) ours(c books.OpenContact) bool {
	return c.Switchboard == "" || c.Switchboard == s.Config.switchboard()
}

// suspects are contacts that seemed to have been left open at the last look.
type suspects map[intake.ContactID]intake.Sequence

// endLeftOpen ends what a run before this one left open and the start did not know of, because it came later: from Kafka, or from the disk of a machine that is
// back. Twice in a row it must look so, since its own end may be on the way. A conversation goes on instead.
func (a *App) endLeftOpen(ctx context.Context, before suspects) (suspects, error) {
	open, err := a.books.OpenContacts(ctx)
	if err != nil {
		return before, err
	}
	now := suspects{}
	var over []books.OpenContact
	for _, c := range open {
		if !a.ours(c) || c.Newest.Epoch() >= a.Epoch {
			continue
		}
		if seq, twice := before[c.ID]; !twice || seq != c.Newest {
			now[c.ID] = c.Newest
			continue
		}
		if c.Channel == intake.Chat {
			err := a.talks.Revive(ctx, c.ID)
			if err == nil {
				continue
			}
			if !errors.Is(err, webchat.ErrToken) {
				return now, err
			}
		}
		over = append(over, c)
	}
	if len(over) == 0 {
		return now, nil
	}
	a.log.Warn("contacts that an earlier run left open came to be known; they are now interrupted, and their callers are owed a call", "count", len(over))
	return now, a.Log.Append(ctx, a.endedFor(a.now(), over)...)
}
