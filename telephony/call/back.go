package call

import (
	"time"

	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/ivr"
)

const (
	deskRing = 20 * time.Second // how long the desk phone of whoever calls back rings
	backRing = 45 * time.Second // how long the resident's does
	slack    = 10 * time.Second // beyond a ring time
	whoLimit = 10 * time.Second // for saying who calls, should nobody tell us that it has been said
)

// Back is somebody at a desk who calls a resident back, or a grid worker who calls through the hotline. Their own phone rings first, then the resident's.
type Back struct {
	cfg   Config
	in    telephony.CallBack
	now   time.Time
	out   []telephony.Effect
	stage BackStage
	since time.Time

	desk, resident telephony.LegID // live legs, "" when there is none
	engaged        bool
	deadline       time.Time
	forgotten      bool
	rangAt         time.Time
	talkAt         time.Time
	recording      intake.RecordingID
	recorded       intake.RecordingID
}

// NewBack makes one that its first input, CallBack, begins.
func NewBack(c Config) *Back { return &Back{cfg: c} }

// Step takes what happened.
func (b *Back) Step(now time.Time, in telephony.Input) []telephony.Effect {
	b.now, b.out = now, nil
	switch in := in.(type) {
	case telephony.CallBack:
		b.in = in
		b.enter(Asking)
		if in.Apart {
			b.ask()
			return b.out
		}
		b.do(Engage{Operator: in.Operator})
	case Engaged:
		b.ask()
	case EngageRefused:
		b.over("")
	case telephony.Ringing:
		if in.Leg == b.resident {
			b.rangAt = now
		}
	case telephony.Answered:
		b.answered(in.Leg)
	case telephony.Played:
		if b.stage == Saying && in.Leg == b.resident {
			b.talk()
		}
	case telephony.Failed:
		b.failed(in)
	case telephony.Ended:
		b.ended(in)
	}
	return b.out
}

// Wake does what has become due. Phones have their own ring time-outs; ours are for an edge that forgets to tell.
func (b *Back) Wake(now time.Time) []telephony.Effect {
	b.now, b.out = now, nil
	if b.deadline.IsZero() || b.deadline.After(now) {
		return nil
	}
	b.deadline = time.Time{}
	switch b.stage {
	case Operator:
		b.over("")
	case Resident:
		b.over(intake.TryNoAnswer)
	case Saying:
		b.talk()
	case BackOver:
		b.forgotten = true
	}
	return b.out
}

// Deadline is when it wants to be woken; zero for never.
func (b *Back) Deadline() time.Time { return b.deadline }

// Done says that nothing of it is left.
func (b *Back) Done() bool {
	return b.stage == BackOver && (b.forgotten || b.desk == "" && b.resident == "")
}

// Over says that it has ended and only the ends of its legs are still to come.
func (b *Back) Over() bool { return b.stage == BackOver }

func (b *Back) do(e ...telephony.Effect) { b.out = append(b.out, e...) }
func (b *Back) enter(s BackStage)        { b.stage, b.since = s, b.now }

// ask rings the desk phone.
func (b *Back) ask() {
	if b.stage != Asking {
		return
	}
	from := b.in.Number
	if b.in.Apart {
		from = b.cfg.Shown
	}
	b.engaged = !b.in.Apart
	b.desk = b.cfg.NewLeg()
	b.enter(Operator)
	b.deadline = b.now.Add(deskRing + slack)
	b.do(telephony.Dial{Leg: b.desk, Operator: b.in.Operator, From: from, Line: b.in.Line, Timeout: deskRing,
		Header: map[string]string{"X-Yingda-Callback": string(b.in.Callback)}})
}

func (b *Back) answered(leg telephony.LegID) {
	switch {
	case leg == b.desk && b.stage == Operator:
		b.resident = b.cfg.NewLeg()
		b.enter(Resident)
		ring := b.cfg.CallBackRing
		if ring <= 0 {
			ring = backRing
		}
		b.deadline = b.now.Add(ring + slack)
		b.do(telephony.Play{Leg: b.desk, Play: 1, Prompts: []string{ivr.Ringback}, Loop: true},
			telephony.Dial{Leg: b.resident, Number: b.in.Number, From: b.cfg.Shown, Line: b.in.Line, Timeout: ring})
	case leg == b.resident && b.stage == Resident:
		if b.cfg.SayWho && b.cfg.Number != "" {
			b.enter(Saying)
			b.deadline = b.now.Add(whoLimit)
			prompts := append([]string{ivr.CallbackWho}, ivr.Digits(b.cfg.Number)...)
			b.do(telephony.Play{Leg: b.resident, Play: 1, Prompts: append(prompts, ivr.CallbackWhoEnd), Dialect: b.cfg.Dialect},
				telephony.Play{Leg: b.desk, Play: 2, Prompts: []string{ivr.ConnectTone}})
			return
		}
		b.talk()
	case leg == b.desk && b.stage == BackOver, leg == b.resident && b.stage == BackOver:
		b.do(telephony.Hangup{Leg: leg}) // it crossed our hanging up
	}
}

// talk lets them hear each other.
func (b *Back) talk() {
	b.talkAt, b.deadline = b.now, time.Time{}
	b.enter(BackTalk)
	b.do(telephony.Stop{Leg: b.desk}, telephony.Bridge{A: b.resident, B: b.desk})
	if !b.cfg.NoRecording && b.in.Case == "" { // what no contact and no callback names, nobody could ask for
		b.recording = b.cfg.NewRecording()
		b.recorded = b.recording
		b.do(telephony.Record{Recording: b.recording, Resident: b.resident, Other: b.desk})
	}
}

// failed: a phone was not taken. That the desk's was not says nothing of the resident.
func (b *Back) failed(in telephony.Failed) {
	switch in.Leg {
	case "":
	case b.desk:
		b.desk = ""
		b.over("")
	case b.resident:
		b.resident = ""
		b.over(result(in.Why))
	}
}

func result(why string) string {
	switch why {
	case "no_answer":
		return intake.TryNoAnswer
	case "busy":
		return intake.TryBusy
	case "declined":
		return intake.TryRefused
	default:
		return intake.TryFailed
	}
}

func (b *Back) ended(in telephony.Ended) {
	switch in.Leg {
	case "":
		return
	case b.desk:
		b.desk = ""
	case b.resident:
		b.resident = ""
		if b.stage == Resident { // ended before it was taken, and not told as Failed
			b.over(intake.TryFailed)
		}
	default:
		return
	}
	switch b.stage {
	case BackTalk:
		b.over(intake.TryReached)
	case Saying: // the resident took it and was gone, or the desk was: they have not spoken
		b.over(intake.TryFailed)
	default: // the desk hung up before anybody was reached
		b.over("")
	}
}

// over ends what is left and says once how it went: "" when nobody's phone of the resident rang to its end, so that it is no try.
func (b *Back) over(result string) {
	if b.stage == BackOver {
		return
	}
	talked := b.stage == BackTalk
	b.enter(BackOver)
	if b.recording != "" {
		b.do(telephony.StopRecord{Recording: b.recording})
		b.recording = ""
	}
	b.deadline = time.Time{}
	if b.desk != "" || b.resident != "" {
		b.deadline = b.now.Add(lingerLegs)
	}
	for _, leg := range []telephony.LegID{b.desk, b.resident} {
		if leg != "" {
			b.do(telephony.Hangup{Leg: leg, Q850: 16})
		}
	}
	if b.engaged {
		b.do(Disengage{Operator: b.in.Operator, Talked: talked})
	}
	t := telephony.Tried{Attempt: b.in.Attempt, Callback: b.in.Callback, Operator: b.in.Operator, Case: b.in.Case, Result: result}
	switch {
	case talked:
		t.Seconds, t.Recording = int64(b.now.Sub(b.talkAt)/time.Second), b.recorded
	case !b.rangAt.IsZero():
		t.Seconds = int64(b.now.Sub(b.rangAt) / time.Second)
	}
	b.do(t)
}

// Break ends it: its machine panicked.
func (b *Back) Break(now time.Time) []telephony.Effect {
	b.now, b.out = now, nil
	b.over(intake.TryFailed)
	return b.out
}

// Stage and Since, for the board; Order is what was asked for.
func (b *Back) Stage() (BackStage, time.Time) { return b.stage, b.since }
func (b *Back) Order() telephony.CallBack     { return b.in }
