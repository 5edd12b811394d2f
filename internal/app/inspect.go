package app

import (
	"context"
	"net/netip"
	"time"

	"yingda/channels/webchat"
	"yingda/intake"
	"yingda/telephony/call"
	"yingda/telephony/switchboard"
)

// SIPAddr gives the addresses on which SIP is listened for.
func (a *App) SIPAddr() (udp, tcp netip.AddrPort) { return a.sip.Addr() }

// OperatorState is how the queue sees the operator with that login: idle, talking …; "" when it does not know them.
func (a *App) OperatorState(ctx context.Context, login string) string {
	u, err := a.users.ByLogin(ctx, login)
	if err != nil {
		return ""
	}
	seats, _, err := a.seats(ctx)
	if err != nil {
		return ""
	}
	for _, s := range seats {
		if s.Operator == u.ID {
			return string(s.State)
		}
	}
	return ""
}

// OnBreak sends an operator on a break, as their desk page does.
func (a *App) OnBreak(ctx context.Context, login, reason string) error {
	u, err := a.users.ByLogin(ctx, login)
	if err != nil {
		return err
	}
	return a.desks.say(ctx, u.ID, deskBreak, reason)
}

// Talking says whether the operator with that login talks on a call back.
func (a *App) Talking(ctx context.Context, login string) bool {
	u, err := a.users.ByLogin(ctx, login)
	if err != nil {
		return false
	}
	snap, err := look(ctx, a, func(now time.Time) switchboard.Snapshot { return a.board.Snapshot(now) })
	if err != nil {
		return false
	}
	for _, b := range snap.Backs {
		if b.Operator == u.ID && b.Stage == call.BackTalk {
			return true
		}
	}
	return false
}

// ChatFiles counts the files in a conversation.
func (a *App) ChatFiles(ctx context.Context, id intake.ContactID) (n int) {
	p, err := a.talks.Read(ctx, webchat.Staff{User: "inspect", SeeAny: true}, string(id), 0)
	if err != nil {
		return 0
	}
	for _, m := range p.Messages {
		n += len(m.Files)
	}
	return n
}

// ChatMessages counts the messages of a conversation.
func (a *App) ChatMessages(ctx context.Context, id intake.ContactID) int {
	p, err := a.talks.Read(ctx, webchat.Staff{User: "inspect", SeeAny: true}, string(id), 0)
	if err != nil {
		return 0
	}
	return len(p.Messages)
}

// Behind is how many positions the consumers have yet to read.
func (a *App) Behind(ctx context.Context) (n int64, err error) {
	ends, err := a.stream().Ends(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range a.readers {
		at, err := a.DB.Positions(ctx, c.name)
		if c.name == searchGroup {
			at, err = c.from(ctx)
		}
		if err != nil {
			return 0, err
		}
		n += reachedBy(inStream(a.stream(), at)).behind(reachedBy(ends))
	}
	return n, nil
}
