package chat

import (
	"time"

	"yingda/channels"
	"yingda/intake"
)

// Gap is how far apart the numbers of two writers of one conversation begin, unless a line lets a conversation have more messages than that: then it is the
// next multiple that holds them.
const Gap = 1000

// gapAfter is the number after which those of a new writer begin, when the newest that is known is n: beyond whatever the writer before may have given.
func gapAfter(n, most int) int {
	g := (max(most, Gap) + Gap - 1) / Gap * Gap
	return (n/g + 1) * g
}

// late: another writer's event has come that is older than what we know. What we did since stands.
func (t *talk) late(in Late) {
	r := &in.Record
	if in.Message != nil {
		t.lateMessage(*in.Message)
	}
	if !r.Answered.IsZero() && (t.answered.IsZero() || r.Answered.Before(t.answered)) {
		t.answered = r.Answered
		t.lost = t.lost || t.stage == Waiting
	}
	if !t.left && r.Token != "" {
		t.caller.Token, t.caller.Known, t.number, t.name = r.Token, r.Known, r.Number, r.Name
	}
	if r.Closed && t.stage == Quiet {
		t.outcome, t.active = intake.AfterHours, t.now
		t.enter(Closed)
	}
	if r.Outcome == "" || r.Provisional {
		return
	}
	if t.stage == Over { // provisionally, or it is our own end that came back
		t.outcome, t.reason = r.Outcome, r.Reason
		return
	}
	t.release(intake.ByResident)
	t.outcome, t.reason, t.warned = r.Outcome, r.Reason, false
	t.enter(Over)
}

func (t *talk) lateMessage(m channels.Message) {
	key := KeyOf(m.Number, m.Key)
	if _, known := t.keys[key]; known { // its writer has sent it again meanwhile, and it has a number of ours
		return
	}
	t.keys[key] = m.Number
	t.count++
	newest := m.Number > t.messages
	t.messages = max(t.messages, m.Number)
	if t.first.IsZero() || m.At.Before(t.first) {
		t.first = m.At
	}
	t.do(Deliver{Contact: t.id, Message: m, Late: true})
	switch {
	case !newest:
	case m.ByResident() && t.waits.IsZero():
		t.waits, t.patience = t.now, t.now
	case !m.ByResident() && t.stage == Open:
		t.waits, t.spoke = time.Time{}, t.now
	}
	if m.ByResident() && t.stage == Quiet {
		t.join(false)
	}
}
