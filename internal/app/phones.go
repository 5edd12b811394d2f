package app

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/telephony"
	"yingda/telephony/media"
	"yingda/telephony/sip"
)

// registrations keeps operators' registered phones in the tables.
type registrations struct{ db *store.DB }

func (r registrations) Load() ([]sip.Binding, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	rows, err := r.db.Query(ctx, "SELECT sip_user, contact, operator, source, transport, expires, call_id, cseq, agent, node FROM registrations")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []sip.Binding
	for rows.Next() {
		var b sip.Binding
		var source, node string
		var expires, cseq int64
		if err := rows.Scan(&b.User, &b.Contact, &b.Operator, &source, &b.Transport, &expires, &b.CallID, &cseq, &b.Agent, &node); err != nil {
			return nil, err
		}
		if b.Source, err = netip.ParseAddrPort(source); err != nil {
			return nil, fmt.Errorf("registration of %s: %w", b.User, err)
		}
		if node != "" {
			if b.Node, err = netip.ParseAddrPort(node); err != nil {
				return nil, fmt.Errorf("registration of %s: %w", b.User, err)
			}
		}
		b.Expires, b.CSeq = store.Time(expires), uint32(cseq)
		list = append(list, b)
	}
	return list, rows.Err()
}

func (r registrations) Save(b sip.Binding) error {
	node := ""
	if b.Node.IsValid() {
		node = b.Node.String()
	}
	return r.tx(`INSERT INTO registrations (sip_user, contact, operator, source, transport, expires, call_id, cseq, agent, node) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (sip_user, contact) DO UPDATE SET operator = excluded.operator, source = excluded.source, transport = excluded.transport,
		expires = excluded.expires, call_id = excluded.call_id, cseq = excluded.cseq, agent = excluded.agent, node = excluded.node
		WHERE excluded.expires >= registrations.expires OR excluded.call_id = registrations.call_id`, // a machine that comes late must not undo what another wrote
		b.User, b.Contact, string(b.Operator), b.Source.String(), b.Transport, store.Millis(b.Expires), b.CallID, int64(b.CSeq), b.Agent, node)
}

func (r registrations) Delete(b sip.Binding) error {
	return r.tx("DELETE FROM registrations WHERE sip_user = ? AND contact = ?", b.User, b.Contact)
}

func (r registrations) tx(query string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return r.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

// audio lets the SIP edge drive the media plane: it translates words, nothing else.
type audio struct{ plane *media.Plane }

type audioLeg struct{ leg *media.Leg }

func (a audio) NewLeg(id telephony.LegID) (sip.MediaLeg, error) {
	l, err := a.plane.NewLeg(id)
	if err != nil {
		return nil, err
	}
	return audioLeg{l}, nil
}

func (a audio) Bridge(x, y sip.MediaLeg) error {
	a.plane.Bridge(x.(audioLeg).leg.ID(), y.(audioLeg).leg.ID())
	return nil
}

func (a audio) Unbridge(x, y sip.MediaLeg) {
	a.plane.Unbridge(x.(audioLeg).leg.ID(), y.(audioLeg).leg.ID())
}

func (a audio) Record(rec intake.RecordingID, contact intake.ContactID, resident, other sip.MediaLeg) error {
	var o telephony.LegID
	if other != nil {
		o = other.(audioLeg).leg.ID()
	}
	a.plane.Record(rec, contact, resident.(audioLeg).leg.ID(), o)
	return nil
}

func (a audio) StopRecord(rec intake.RecordingID) { a.plane.StopRecord(rec) }
func (a audio) Overloaded() bool                  { return a.plane.Overloaded() }

func (l audioLeg) Local() (rtp, rtcp netip.AddrPort) { return l.leg.Local() }
func (l audioLeg) Stop()                             { l.leg.Stop() }
func (l audioLeg) Digit(key string)                  { l.leg.Digit(key) }
func (l audioLeg) Close()                            { l.leg.Close() }
func (l audioLeg) Play(play telephony.PlayID, prompts []string, dialect string, loop bool, gain int) {
	l.leg.Play(play, prompts, dialect, loop, gain)
}

func (l audioLeg) SetRemote(r sip.MediaRemote) {
	event := max(r.Event, 0) // the plane's 0 is the SDP's "none"
	l.leg.SetRemote(media.Remote{RTP: r.RTP, RTCP: r.RTCP, Codec: media.Codec(r.Codec), PayloadType: r.Payload, EventType: event, EventIn: r.EventIn,
		PTime: r.PTime, Send: r.Send, Receive: r.Receive, Relatch: r.Relatch})
}

// facts tells the switchboard what the office knows of a caller, while the phone already rings at the trunk: from memory and
// one indexed row. What cannot be read in time is not known; the call does not wait for it.
func (a *App) facts(number pii.Phone, line intake.LineID) telephony.Facts {
	f := telephony.Facts{Token: a.token(number)}
	if f.Token == "" {
		return f
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	now := a.now()
	f.Blocked = a.residents.Blocked(ctx, f.Token, line, now)
	if cards, err := a.residents.ByToken(ctx, f.Token); err == nil && len(cards) > 0 {
		f.Known = cards[0].ID
		for _, c := range cards {
			f.Older = f.Older || c.Older
		}
	}
	if c, err := a.books.Caller(ctx, f.Token, now); err == nil {
		f.Failed, f.Callback, f.LastReached = c.Failed, c.Callback, c.LastReached
	} else {
		if last := a.unread.Load(); now.UnixMilli()-last >= time.Minute.Milliseconds() && a.unread.CompareAndSwap(last, now.UnixMilli()) { // at each call it would fill the log
			a.log.Warn("what we owe callers cannot be read; calls go on without it", "err", err)
		}
	}
	return f
}
