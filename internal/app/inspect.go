package app

import (
	"context"
	"net/netip"
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
