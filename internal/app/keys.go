package app

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"yingda/intake"
	"yingda/internal/store"
)

// keys gives the secrets of the months out of the vault and remembers them: an event is sealed without asking the database. It
// makes next month's in good time, so that a database that is away at midnight stops nothing. What is destroyed it forgets: at once when
// this process destroys it, at the next refresh when another does.
type keys struct {
	db  *store.DB
	now func() time.Time

	mu     sync.Mutex
	months map[string][]byte
	gone   map[string]bool
}

const monthSecret = "month/" // and the month: its secret's name in the vault

func newKeys(db *store.DB, now func() time.Time) *keys {
	k := &keys{db: db, now: now, months: map[string][]byte{}, gone: map[string]bool{}}
	db.OnDestroy(k.forget)
	return k
}

// forget drops a secret that has been destroyed. The bytes go too, though a key that was made of them may be in use for a moment.
func (k *keys) forget(name string) {
	month, ok := strings.CutPrefix(name, monthSecret)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone[month] = true
	clear(k.months[month])
	delete(k.months, month)
}

// refresh forgets what another process has destroyed.
func (k *keys) refresh(ctx context.Context) error {
	names, err := k.db.Destroyed(ctx)
	for _, n := range names {
		k.forget(n)
	}
	return err
}

// Month gives the secret of a month ("2006-01"), made when there is none.
func (k *keys) Month(month string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s, ok := k.months[month]; ok {
		return bytes.Clone(s), nil
	}
	if k.gone[month] {
		return nil, store.ErrDestroyed
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := k.db.Secret(ctx, monthSecret+month, k.now())
	switch {
	case err == nil:
		k.months[month] = s
		return bytes.Clone(s), nil // ours is wiped when it is forgotten
	case errors.Is(err, store.ErrDestroyed):
		k.gone[month] = true
		return nil, err
	default:
		return nil, fmt.Errorf("%w: %w", intake.ErrLater, err)
	}
}

// ahead makes this month's and the next month's secret.
func (k *keys) ahead() error {
	t := k.now().UTC()
	first := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	_, err := k.Month(first.Format("2006-01"))
	_, err2 := k.Month(first.AddDate(0, 1, 0).Format("2006-01"))
	return errors.Join(err, err2)
}

// recording gives the key of a recording, from the secret of the month in which it began: destroying that destroys the recording.
func (k *keys) recording(id intake.RecordingID, started time.Time) ([]byte, error) {
	secret, err := k.Month(started.UTC().Format("2006-01"))
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, secret, nil, "recording/"+string(id), 32)
}
