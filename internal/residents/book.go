package residents

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// Book keeps the cards. It may be used by many at once.
type Book struct {
	c Config

	mu      sync.RWMutex // guards what follows; nobody waits while holding it
	cards   map[string]Card
	byToken map[intake.Token][]string
	blocked map[blockKey]Blocked
	seen    mark // of the tables when they were read last
}

// mark changes with every change of the tables.
type mark struct{ cards, changed, blocked, blockedAt int64 }

type blockKey struct {
	token intake.Token
	line  intake.LineID
}

// stored is a card as JSON in clear, for the table only.
type stored struct {
	Name    string         `json:"name,omitempty"`
	Also    []string       `json:"also,omitempty"`
	Numbers []storedNumber `json:"numbers,omitempty"`
	Address string         `json:"address,omitempty"`
	Born    int            `json:"born,omitempty"`
	Notes   []string       `json:"notes,omitempty"`
	ActsFor []string       `json:"acts_for,omitempty"`
	By      intake.UserID  `json:"by,omitempty"`
}

type storedNumber struct {
	Token  intake.Token `json:"token,omitempty"` // only where the number itself is not known
	Number string       `json:"number,omitempty"`
	Note   string       `json:"note,omitempty"`
}

// New reads the cards into memory.
func New(ctx context.Context, c Config) (*Book, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	b := &Book{c: c, cards: map[string]Card{}, byToken: map[intake.Token][]string{}, blocked: map[blockKey]Blocked{}}
	return b, b.Reload(ctx)
}

// Reload reads the tables anew: for what another node has written.
func (b *Book) Reload(ctx context.Context) error {
	fresh := &Book{c: b.c, cards: map[string]Card{}, byToken: map[intake.Token][]string{}, blocked: map[blockKey]Blocked{}}
	seen, err := b.mark(ctx) // before the rest: what is written meanwhile is read again
	if err != nil {
		return err
	}
	if err := fresh.load(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cards, b.byToken, b.blocked, b.seen = fresh.cards, fresh.byToken, fresh.blocked, seen
	return nil
}

// Refresh reads the tables anew when another process has changed them, and says whether it has.
func (b *Book) Refresh(ctx context.Context) (bool, error) {
	now, err := b.mark(ctx)
	if err != nil {
		return false, err
	}
	b.mu.RLock()
	same := now == b.seen
	b.mu.RUnlock()
	if same {
		return false, nil
	}
	return true, b.Reload(ctx)
}

func (b *Book) mark(ctx context.Context) (m mark, err error) {
	err = b.c.Store.QueryRow(ctx, "SELECT (SELECT COUNT(*) FROM residents), (SELECT COALESCE(MAX(changed), 0) FROM residents), (SELECT COUNT(*) FROM blocked), (SELECT COALESCE(MAX(at), 0) FROM blocked)").
		Scan(&m.cards, &m.changed, &m.blocked, &m.blockedAt)
	if err != nil {
		return m, fmt.Errorf("residents: %w", err)
	}
	return m, nil
}

func (b *Book) load(ctx context.Context) error {
	rows, err := b.c.Store.Query(ctx, "SELECT id, data, grid, older, changed FROM residents")
	if err != nil {
		return fmt.Errorf("residents: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, data, grid string
		var older bool
		var changed int64
		if err := rows.Scan(&id, &data, &grid, &older, &changed); err != nil {
			return fmt.Errorf("residents: %w", err)
		}
		card, err := b.read(id, data)
		if err != nil {
			return err
		}
		card.Grid, card.Older, card.Changed = intake.GridID(grid), older, store.Time(changed)
		b.put(card)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("residents: %w", err)
	}
	return b.loadBlocked(ctx)
}

func (b *Book) loadBlocked(ctx context.Context) error {
	rows, err := b.c.Store.Query(ctx, "SELECT token, line, reason, until, by_who, at FROM blocked")
	if err != nil {
		return fmt.Errorf("residents: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var x Blocked
		var until, at int64
		if err := rows.Scan(&x.Token, &x.Line, &x.Reason, &until, &x.By, &at); err != nil {
			return fmt.Errorf("residents: %w", err)
		}
		x.Until, x.At = store.Time(until), store.Time(at)
		b.blocked[blockKey{x.Token, x.Line}] = x
	}
	return rows.Err()
}

func (b *Book) read(id, data string) (Card, error) {
	var s stored
	if err := json.Unmarshal([]byte(data), &s); err != nil {
		return Card{}, fmt.Errorf("residents: card %s cannot be read: %w", id, err)
	}
	c := Card{ID: id, Name: pii.NewName(s.Name), Address: pii.NewAddress(s.Address), Born: s.Born, Notes: s.Notes, ActsFor: s.ActsFor, By: s.By}
	for _, a := range s.Also {
		c.Also = append(c.Also, pii.NewName(a))
	}
	for _, n := range s.Numbers {
		number := Number{Token: n.Token, Number: pii.NewPhone(n.Number), Note: n.Note}
		if number.Token == "" {
			number.Token = b.c.Token(number.Number)
		}
		c.Numbers = append(c.Numbers, number)
	}
	return c, nil
}

func (s *stored) from(c Card) {
	s.Name, s.Address, s.Born, s.Notes, s.ActsFor, s.By = c.Name.Reveal(), c.Address.Reveal(), c.Born, c.Notes, c.ActsFor, c.By
	for _, a := range c.Also {
		s.Also = append(s.Also, a.Reveal())
	}
	for _, n := range c.Numbers {
		kept := storedNumber{Number: n.Number.Reveal(), Note: n.Note}
		if n.Number.IsZero() {
			kept.Token = n.Token
		}
		s.Numbers = append(s.Numbers, kept)
	}
}

// own is a card that shares nothing with c.
func (c Card) own() Card {
	c.Also, c.Numbers, c.Notes, c.ActsFor = slices.Clone(c.Also), slices.Clone(c.Numbers), slices.Clone(c.Notes), slices.Clone(c.ActsFor)
	return c
}

// put replaces a card in memory. The caller holds the lock, or is alone.
func (b *Book) put(c Card) {
	b.drop(c.ID)
	b.cards[c.ID] = c.own()
	for _, n := range c.Numbers {
		if n.Token != "" && !slices.Contains(b.byToken[n.Token], c.ID) {
			b.byToken[n.Token] = append(b.byToken[n.Token], c.ID)
		}
	}
}

func (b *Book) drop(id string) {
	for _, n := range b.cards[id].Numbers {
		b.byToken[n.Token] = slices.DeleteFunc(b.byToken[n.Token], func(x string) bool { return x == id })
	}
	delete(b.cards, id)
}

// Save writes a card, new when its id is empty, and gives it as it is kept.
func (b *Book) Save(ctx context.Context, c Card) (Card, error) {
	if c.ID == "" {
		c.ID = b.c.NewID()
	}
	c.Changed = intake.Millis(b.c.Now())
	c.Numbers = slices.Clone(c.Numbers)
	for i := range c.Numbers {
		if c.Numbers[i].Token == "" {
			c.Numbers[i].Token = b.c.Token(c.Numbers[i].Number)
		}
	}
	var s stored
	s.from(c)
	raw, err := json.Marshal(s)
	if err != nil {
		return c, err
	}
	err = b.c.Store.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO residents (id, data, grid, older, changed) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET data = excluded.data, grid = excluded.grid, older = excluded.older, changed = excluded.changed`,
			c.ID, string(raw), string(c.Grid), c.Older, store.Millis(c.Changed))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM resident_numbers WHERE resident = ?", c.ID); err != nil {
			return err
		}
		for _, n := range c.Numbers {
			if n.Token == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO resident_numbers (token, resident) VALUES (?, ?) ON CONFLICT DO NOTHING", string(n.Token), c.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("residents: %w", err)
	}
	b.mu.Lock()
	b.put(c)
	b.mu.Unlock()
	return c, nil
}

// Card gives one; ErrNoCard.
func (b *Book) Card(_ context.Context, id string) (Card, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	c, ok := b.cards[id]
	if !ok {
		return Card{}, fmt.Errorf("%w: %s", ErrNoCard, id)
	}
	return c.own(), nil
}

// ByToken gives the cards of everybody who uses a number, none for a number that nobody's card has.
func (b *Book) ByToken(_ context.Context, token intake.Token) ([]Card, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var list []Card
	for _, id := range b.byToken[token] {
		list = append(list, b.cards[id].own())
	}
	return list, nil
}

// Find lists cards by name.
func (b *Book) Find(_ context.Context, f Find) ([]Card, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	var list []Card
	for _, c := range b.cards {
		if (f.Grid == "" || c.Grid == f.Grid) && (!f.Older || c.Older) && (f.Name == "" || c.named(f.Name)) {
			list = append(list, c.own())
		}
	}
	slices.SortFunc(list, func(a, b Card) int { return strings.Compare(a.Name.Reveal()+a.ID, b.Name.Reveal()+b.ID) })
	return list[:min(limit, len(list))], nil
}

func (c Card) named(part string) bool {
	return strings.Contains(c.Name.Reveal(), part) || slices.ContainsFunc(c.Also, func(n pii.Name) bool { return strings.Contains(n.Reveal(), part) })
}

// Erase forgets a person's card.
func (b *Book) Erase(ctx context.Context, id string) error {
	err := b.c.Store.Tx(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM resident_numbers WHERE resident = ?", id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM residents WHERE id = ?", id)
		return err
	})
	if err != nil {
		return fmt.Errorf("residents: %w", err)
	}
	b.mu.Lock()
	b.drop(id)
	b.mu.Unlock()
	return nil
}

// Block puts a caller on a line's list, or on that of every line.
func (b *Book) Block(ctx context.Context, x Blocked) error {
	x.At = intake.Millis(b.c.Now())
	err := b.c.Store.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO blocked (token, line, reason, until, by_who, at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (token, line) DO UPDATE SET reason = excluded.reason, until = excluded.until, by_who = excluded.by_who, at = excluded.at`,
			string(x.Token), string(x.Line), x.Reason, store.Millis(x.Until), string(x.By), store.Millis(x.At))
		return err
	})
	if err != nil {
		return fmt.Errorf("residents: %w", err)
	}
	b.mu.Lock()
	b.blocked[blockKey{x.Token, x.Line}] = x
	b.mu.Unlock()
	return nil
}

// Unblock takes a caller off a line's list.
func (b *Book) Unblock(ctx context.Context, token intake.Token, line intake.LineID) error {
	err := b.c.Store.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM blocked WHERE token = ? AND line = ?", string(token), string(line))
		return err
	})
	if err != nil {
		return fmt.Errorf("residents: %w", err)
	}
	b.mu.Lock()
	delete(b.blocked, blockKey{token, line})
	b.mu.Unlock()
	return nil
}

// Blocked says whether a line does not take a caller now.
func (b *Book) Blocked(_ context.Context, token intake.Token, line intake.LineID, now time.Time) bool {
	if token == "" {
		return false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, l := range []intake.LineID{"", line} {
		if x, ok := b.blocked[blockKey{token, l}]; ok && (x.Until.IsZero() || now.Before(x.Until)) {
			return true
		}
	}
	return false
}

// BlockedCallers lists who is blocked, the newest first, those whose time is over too: they are taken off by Unblock only, so that
// the list tells what was.
func (b *Book) BlockedCallers(_ context.Context) ([]Blocked, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	list := make([]Blocked, 0, len(b.blocked))
	for _, x := range b.blocked {
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b Blocked) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Token, b.Token), cmp.Compare(a.Line, b.Line))
	})
	return list, nil
}
