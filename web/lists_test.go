package web

import (
	"context"
	"io"

	"yingda/intake"
	"yingda/internal/users"
	"yingda/routing"
)

type (
	ctxT    = context.Context
	writerT = io.Writer
)

func strs[T ~string](list []T) []string {
	s := make([]string, len(list))
	for i, x := range list {
		s[i] = string(x)
	}
	return s
}

// closedLists are the lists whose every member has a message.
func closedLists() map[string][]string {
	failed := strs(causes())
	act := make([]string, len(acts))
	for i, a := range acts {
		act[i] = a.act
	}
	nav := make([]string, len(links))
	for i, l := range links {
		nav[i] = l.key
	}
	seats := []string{"offline", "idle", "reserved", "ringing", "talking", "wrap_up", "break", "unreachable"}
	return map[string][]string{
		"outcome.": strs(intake.Outcomes()), "outcome.short.": append(failed, strs(intake.Outcomes())...), "channel.": strs(intake.Channels()), "contact.by.": strs(intake.Channels()),
		"flag.":   strs([]intake.Flag{intake.ShortAbandon, intake.QuickDrop, intake.OneWayAudio, intake.Unwritten, intake.SilentCaller}),
		"reason.": {intake.ReasonBlocked, intake.ReasonOverload, intake.ReasonBadSDP, intake.ReasonShutdown, intake.ReasonRestarted},
		"role.":   strs(users.Roles()), "state.": strs(routing.States()), "source.": {intake.FromOperator, intake.FromSubmission, intake.FromChat, intake.FromVisit, intake.FromPatrol},
		"act.": act, "nav.": nav, "seat.": seats, "me.state.": seats, "close.": CloseReasons(), "reveal.": RevealReasons(), "break.": BreakReasons(), "result.": results, "known.": knowns,
		"kind.": {"contact", "case", "callback"}, "list.part.": {"num", "den", "miss", "out"}, "list.state.": {"open", "waiting", "answered", "lost"}, "filter.age.": {"1h", "4h", "24h", "older"},
		"case.next.": {"dispatch", "close", "wait"}, "case.next.more.": {"dispatch", "close", "wait"}, "look.": {"number", "name", "address", "recording", "case"}, "theme.": {"auto", "light", "dark"},
		"trail.kind.": TrailKinds(), "channel.short.": strs(intake.Channels()), "export.list.": exportLists(), "export.what.": exportLists(), "export.filter.": exportKeys, "team.col.": teamColumns, "team.def.": teamColumns, "team.missed.": missedWhys(),
		"history.by.": {"day", "week", "month"}, "history.picture.": {"day", "week", "month"}, "history.span.": {"today", "7", "14", "month", "last", "90", "365"},
		"day.": {"0", "1", "2", "3", "4", "5", "6"}, "said.": {"calling", "taken", "released", "assigned", "closed", "visit", "case", "act", "line", "user", "password"},
	}
}
