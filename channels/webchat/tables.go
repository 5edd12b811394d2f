package webchat

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"yingda/channels"
	"yingda/channels/chat"
	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// row is chat.Record as its table keeps it, in clear.
type row struct {
	Key      string `json:"key"`
	Line     string `json:"line"`
	Origin   string `json:"origin,omitempty"`
	Dedupe   string `json:"dedupe,omitempty"`
	Token    string `json:"token,omitempty"`
	Known    string `json:"known,omitempty"`
	Number   string `json:"number,omitempty"`
	Name     string `json:"name,omitempty"`
	Arrived  int64  `json:"arrived"`
	Closed   bool   `json:"closed,omitempty"`
	First    int64  `json:"first,omitempty"`
	Spoke    int64  `json:"spoke,omitempty"`
	Ours     bool   `json:"ours,omitempty"`
	Messages int    `json:"messages,omitempty"`
	Answered int64  `json:"answered,omitempty"`
	Operator string `json:"operator,omitempty"`
	Offer    string `json:"offer,omitempty"`
	Replied  bool   `json:"replied,omitempty"`
	Ended    int64  `json:"ended,omitempty"`
	Outcome  string `json:"outcome,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Newest   uint64 `json:"newest"`
	Erased   bool   `json:"erased,omitempty"`

	Provisional bool        `json:"provisional,omitempty"`
	Trail       *chat.Trail `json:"trail,omitempty"` // nil in rows from before there were any
}

func rowOf(r chat.Record) row {
	return row{r.Key, string(r.Line), r.Origin, r.Dedupe, string(r.Token), r.Known, r.Number.Reveal(), r.Name.Reveal(), store.Millis(r.Arrived), r.Closed, store.Millis(r.First), store.Millis(r.Spoke),
		r.Ours, r.Messages, store.Millis(r.Answered), string(r.Operator), string(r.Offer), r.Replied, store.Millis(r.Ended), string(r.Outcome), r.Reason, uint64(r.Newest), r.Erased,
		r.Provisional, &r.Trail}
}

func (r row) record(id intake.ContactID) chat.Record {
	trail := chat.Trail{}
	if r.Trail != nil {
		trail = *r.Trail
	} else {
		n := intake.Sequence(r.Newest).Epoch()
		trail.Caller, trail.Spoke, trail.Ended = n, n, n
		if r.First != 0 {
			trail.First = n
		}
		if r.Answered != 0 {
			trail.Answered = n
		}
		trail.Held = []chat.Held{{Epoch: n, Known: true, Operator: intake.UserID(r.Operator), Offer: intake.OfferID(r.Offer), Replied: r.Replied}}
	}
	return chat.Record{Contact: id, Key: r.Key, Line: intake.LineID(r.Line), Origin: r.Origin, Dedupe: r.Dedupe, Token: intake.Token(r.Token), Known: r.Known, Number: pii.NewPhone(r.Number),
		Name: pii.NewName(r.Name), Arrived: store.Time(r.Arrived), Closed: r.Closed, First: store.Time(r.First), Spoke: store.Time(r.Spoke), Ours: r.Ours, Messages: r.Messages,
		Answered: store.Time(r.Answered), Operator: intake.UserID(r.Operator), Offer: intake.OfferID(r.Offer), Replied: r.Replied, Ended: store.Time(r.Ended),
		Outcome: intake.Outcome(r.Outcome), Reason: r.Reason, Newest: intake.Sequence(r.Newest), Erased: r.Erased,
		Provisional: r.Provisional, Trail: trail}
}

// Apply brings about the effect of records in the tables: the consumer of group "chat" runs it in the transaction that also keeps its position.
// What was applied before changes nothing. On an error nothing may be committed. In a replay messages that are missing come back.
func (s *Server) Apply(ctx context.Context, tx *store.Tx, records []stream.Record) error {
	for _, r := range records {
		if r.Err != nil || r.Event.Data == nil || r.Event.Contact() == "" {
			continue
		}
		if err := s.apply(ctx, tx, r.Event, r.Again); err != nil {
			return fmt.Errorf("webchat: apply %s: %w", r.Event.ID(), err)
		}
	}
	return nil
}

func (s *Server) apply(ctx context.Context, tx *store.Tx, e intake.Event, again bool) error {
	id := e.Contact()
	var rec chat.Record
	var raw string
	err := tx.QueryRowContext(ctx, "SELECT data FROM chats WHERE contact = ?", string(id)).Scan(&raw)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if d, ok := e.Data.(*intake.OfferedV1); !ok || d.Channel != intake.Chat || d.Imported != "" {
			return nil
		}
	case err != nil:
		return err
	default:
		var r row
		if err := json.Unmarshal([]byte(raw), &r); err != nil {
			return err
		}
		rec = r.record(id)
	}
	if !rec.Apply(e) {
		if m, ok := e.Data.(*intake.MessageV1); ok && again {
			_, err := message(ctx, tx, rec, e, m)
			return err
		}
		return nil
	}
	late := chat.Late{Record: rec}
	if m, ok := e.Data.(*intake.MessageV1); ok {
		if late.Message, err = message(ctx, tx, rec, e, m); err != nil {
			return err
		}
		s.logged(id, m.Number, e.Sequence)
	}
	if !again && e.Sequence.Epoch() < s.c.OthersBefore {
		s.late(late)
	}
	if _, ok := e.Data.(*intake.ErasedV1); ok {
		for _, q := range []string{"UPDATE chat_messages SET text = '', files = '[]' WHERE contact = ?", "UPDATE chat_files SET gone = 1, name = '' WHERE contact = ?"} {
			if _, err := tx.ExecContext(ctx, q, string(id)); err != nil {
				return err
			}
		}
		s.erased(id)
	}
	data, err := json.Marshal(rowOf(rec))
	if err != nil {
		return err
	}
	over := 0
	if rec.Outcome != "" {
		over = 1
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO chats (contact, dedupe, arrived, over, data) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (contact) DO UPDATE SET over = excluded.over, data = excluded.data`, string(id), rec.Dedupe, store.Millis(rec.Arrived), over, string(data))
	return err
}

// Empty takes away what the tables have from the stream, for a replay from its beginning, inside the transaction that moves the position back:
// conversations and messages. Files stay. No server may be running: whoever came back in the meantime would not be found.
func Empty(ctx context.Context, tx *store.Tx) error {
	for _, q := range []string{"DELETE FROM chat_messages", "DELETE FROM chats"} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("webchat: empty: %w", err)
		}
	}
	return nil
}

// message keeps what was written, and gives it as it stands there. A message that its writer sent again to the node that took over, since the one before died
// before it could say that it had it, is kept once: as the later has it.
func message(ctx context.Context, tx *store.Tx, rec chat.Record, e intake.Event, m *intake.MessageV1) (*channels.Message, error) {
	out := &channels.Message{Number: m.Number, Key: m.Dedupe, From: m.From, At: intake.Millis(e.Time), Text: e.Personal.Text}
	ids := []string{}
	for _, a := range m.Attachments {
		if _, err := tx.ExecContext(ctx, "UPDATE chat_files SET named = 1 WHERE id = ?", a.ID); err != nil {
			return nil, err
		}
		f, err := scanFile(tx.QueryRowContext(ctx, fileColumns+"id = ? AND gone = 0", a.ID))
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
		if err == nil {
			out.Files = append(out.Files, f)
		}
		ids = append(ids, a.ID)
	}
	if rec.Erased {
		ids, out.Text, out.Files = []string{}, pii.Text{}, nil
	}
	if len(rec.Trail.Earlier) > 0 && m.Dedupe != "" {
		var newest sql.NullInt64
		if err := tx.QueryRowContext(ctx, "SELECT MAX(number) FROM chat_messages WHERE contact = ? AND dedupe = ? AND sender = ?", string(rec.Contact), m.Dedupe, m.From).Scan(&newest); err != nil {
			return nil, err
		}
		if newest.Int64 > int64(m.Number) {
			return nil, nil
		}
		if newest.Valid {
			if _, err := tx.ExecContext(ctx, "DELETE FROM chat_messages WHERE contact = ? AND dedupe = ? AND sender = ? AND number < ?", string(rec.Contact), m.Dedupe, m.From, m.Number); err != nil {
				return nil, err
			}
		}
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO chat_messages (contact, number, at, sender, dedupe, text, files) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (contact, number) DO NOTHING`,
		string(rec.Contact), m.Number, store.Millis(e.Time), m.From, m.Dedupe, out.Text.Reveal(), string(list))
	return out, err
}

// record of a conversation as the tables have it; false when there is none.
func (s *Server) record(ctx context.Context, id intake.ContactID) (rec chat.Record, found bool, err error) {
	var raw string
	err = s.c.DB.QueryRow(ctx, "SELECT data FROM chats WHERE contact = ?", string(id)).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return rec, false, nil
	}
	var r row
	if err == nil {
		err = json.Unmarshal([]byte(raw), &r)
	}
	if err != nil {
		return rec, false, fmt.Errorf("webchat: %w", err)
	}
	return r.record(id), true, nil
}

// byDedupe finds the conversation that a start made.
func (s *Server) byDedupe(ctx context.Context, key string) (intake.ContactID, error) {
	var id string
	err := s.c.DB.QueryRow(ctx, "SELECT contact FROM chats WHERE dedupe = ?", key).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return intake.ContactID(id), err
}

// history reads the messages out of the tables.
func (s *Server) history(ctx context.Context, id intake.ContactID) ([]channels.Message, error) {
	files, err := s.filesOf(ctx, id)
	if err != nil {
		return nil, err
	}
	rows, err := s.c.DB.Query(ctx, "SELECT number, at, sender, dedupe, text, files FROM chat_messages WHERE contact = ? ORDER BY number", string(id))
	if err != nil {
		return nil, fmt.Errorf("webchat: %w", err)
	}
	defer rows.Close()
	var list []channels.Message
	for rows.Next() {
		var m channels.Message
		var at int64
		var text, raw string
		var ids []string
		if err := rows.Scan(&m.Number, &at, &m.From, &m.Key, &text, &raw); err != nil {
			return nil, fmt.Errorf("webchat: %w", err)
		}
		if err := json.Unmarshal([]byte(raw), &ids); err != nil {
			return nil, fmt.Errorf("webchat: %w", err)
		}
		m.At, m.Text = store.Time(at), pii.NewText(text)
		for _, id := range ids {
			if f, ok := files[id]; ok {
				m.Files = append(m.Files, f)
			}
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

func (s *Server) filesOf(ctx context.Context, id intake.ContactID) (map[string]channels.File, error) {
	rows, err := s.c.DB.Query(ctx, fileColumns+"contact = ? AND gone = 0", string(id))
	if err != nil {
		return nil, fmt.Errorf("webchat: %w", err)
	}
	defer rows.Close()
	m := map[string]channels.File{}
	for rows.Next() {
		f, err := scanFile(rows)
		if err != nil {
			return nil, fmt.Errorf("webchat: %w", err)
		}
		m[f.ID] = f
	}
	return m, rows.Err()
}

// Restore gives what the last run left open to the board (Config.Send), after Apply has caught up and before anybody connects. The contacts that it
// names are not interrupted: whoever ends what else was open leaves them out.
func (s *Server) Restore(ctx context.Context) ([]intake.ContactID, error) {
	rows, err := s.c.DB.Query(ctx, "SELECT contact, data FROM chats WHERE over = 0 ORDER BY arrived, contact")
	if err != nil {
		return nil, fmt.Errorf("webchat: %w", err)
	}
	var list []chat.Record
	for rows.Next() {
		var id, raw string
		var r row
		if err = rows.Scan(&id, &raw); err == nil {
			err = json.Unmarshal([]byte(raw), &r)
		}
		if err != nil {
			break
		}
		list = append(list, r.record(intake.ContactID(id)))
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("webchat: %w", err)
	}
	var ids []intake.ContactID
	for _, rec := range list {
		if err := s.revive(ctx, rec); err != nil {
			return ids, err
		}
		ids = append(ids, rec.Contact)
	}
	return ids, nil
}

// revive gives a conversation back to the board, with what was written in it to those who connect.
func (s *Server) revive(ctx context.Context, rec chat.Record) error {
	messages, err := s.history(ctx, rec.Contact)
	if err != nil {
		return err
	}
	keys := map[string]int{}
	for _, m := range messages {
		keys[chat.KeyOf(m.Number, m.Key)] = m.Number
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[rec.Contact] != nil {
		return nil
	}
	s.room(rec.Contact, rec.Dedupe).messages = messages
	in := rec.Restore(keys)
	in.Another = rec.Newest.Epoch() < s.c.OthersBefore
	s.c.Send(in)
	for _, l := range s.told[rec.Contact] { // while the tables were read: the board passes over what it knows
		s.c.Send(l.Late)
	}
	return nil
}

// told is what came late, and when we heard of it.
type told struct {
	chat.Late
	at time.Time
}

// late tells the board what another node had written. The tables may be being read for the conversation at this moment, and then its room
// will not have it from them: it is kept for a minute, to be told again.
func (s *Server) late(l chat.Late) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, now := l.Record.Contact, s.now()
	if now.Sub(s.tidied) > time.Minute {
		s.tidied = now
		for id, list := range s.told {
			if now.Sub(list[len(list)-1].at) > time.Minute {
				delete(s.told, id)
			}
		}
	}
	if s.rooms[id] != nil {
		s.c.Send(l)
		return
	}
	s.told[id] = append(s.told[id], told{l, now})
}

// live makes sure that the board knows a conversation, though it may be long over.
func (s *Server) live(ctx context.Context, id intake.ContactID) error {
	s.mu.Lock()
	known := s.rooms[id] != nil
	s.mu.Unlock()
	if known {
		return nil
	}
	rec, found, err := s.record(ctx, id)
	if err != nil {
		return err
	}
	if !found {
		return ErrToken
	}
	return s.revive(ctx, rec)
}

func ptr(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// Revive gives a conversation that is in the tables back to the board, when it does not know it: one that an earlier run had, of which the stream told later. ErrToken when the
// tables do not know it either.
func (s *Server) Revive(ctx context.Context, id intake.ContactID) error { return s.live(ctx, id) }
