package answerrate

import (
	"fmt"
	"math"
	"time"

	"yingda/intake"
)

// Params are the numbers in the standing definitions that an office may choose. Zero means the default.
type Params struct {
	Level       time.Duration // the x of the service level; 20 s
	LevelTarget int           // its y in per mille; 800
	Within      time.Duration // a caller is to be reached within this of the first attempt; 5 min
}

// Standard is the standing set of definitions, the headline first.
func Standard(p Params) []Definition {
	if p.Level == 0 {
		p.Level = 20 * time.Second
	}
	if p.LevelTarget == 0 {
		p.LevelTarget = 800
	}
	if p.Within == 0 {
		p.Within = 5 * time.Minute
	}
	within, level := p.Within.Milliseconds(), p.Level.Milliseconds()
	minutes, seconds := short(p.Within, "分钟", "秒"), short(p.Level, "分钟", "秒")
	enMinutes, enSeconds := short(p.Within, " minutes", " seconds"), short(p.Level, " minutes", " seconds")

	list := []Definition{
		{
			ID: "caller_reached", Unit: PerCaller, Headline: true, Ripe: p.Within,
			Name:        Words{"首次来电 " + minutes + "内接通", "Reached within" + enSpace(enMinutes) + " of the first attempt"},
			Denominator: When{{live, known}},
			Exclusions:  []Exclusion{blockedOut},
			Numerator:   When{{atMost(ReachMS, within)}},
			Missed: []Exclusion{
				{ID: "later", Name: Words{"后来联系上", "reached later"}, When: When{{atLeast(ReachMS, 0)}}},
				{ID: "not_yet", Name: Words{"还没有", "not yet"}, When: nil},
			},
			Words: Words{"按人计。从第一次打来算起，之后由谁拨通都算；未满 " + minutes + "的不计，另列。不显示号码的来电另有一个数。",
				"Per person, from their first attempt; it does not matter who reached whom, or in which channel. Those whose" + enSpace(enMinutes) + " are not over yet are not counted and shown apart; callers who hide their number have a figure of their own."},
		},
		{
			ID: "withheld_reached", Unit: PerContact,
			Name:        Words{"不显示号码的来电 " + minutes + "内接通", "Withheld callers answered within" + enSpace(enMinutes)},
			Denominator: When{{live, yes(CallerKnown).not()}},
			Exclusions:  []Exclusion{waitingOut, blockedOut},
			Numerator:   When{{yes(Served), atMost(AnswerMS, within)}},
			Words: Words{"不知道是谁，没法回拨，所以按通计：来电起 " + minutes + "内有人接。还在等的不计。",
				"We cannot tell who it was nor call back, so each attempt counts: answered within" + enSpace(enMinutes) + " of arrival. Those still waiting are not counted."},
		},
		{
			ID: "strict", Unit: PerContact,
			Name:        Words{"接通率（全部来电）", "Answered of all offered"},
			Denominator: When{{live}},
			Exclusions:  []Exclusion{waitingOut},
			Numerator:   When{{yes(Served)}},
			Words: Words{"有人接起（聊天为有人回复）÷ 全部打来的，含非工作时间、排队前挂断、被拒、占满。还在等的不计，另列。",
				"Answered by a person (in chats: replied to) of everything offered, after hours, refused and left in the greeting included. Those still waiting are not counted and shown apart."},
		},
		{
			ID: "within_15s", Unit: PerContact, Target: 950, Rolling: 24 * time.Hour,
			Name:        Words{"15 秒内接听，连续 24 小时", "Answered within 15 seconds, over 24 hours"},
			Denominator: When{{voice}},
			Exclusions:  []Exclusion{waitingOut},
			Numerator:   When{{yes(Served), atMost(AnswerMS, 15_000)}},
			Words: Words{"GB/T 33358：任意连续 24 小时内，来电起 15 秒内有人接听的不少于 95 %。从来电到达算起，含提示语；分母是全部来电。还在等的不计。",
				"GB/T 33358: over any continuous 24 hours at least 95 % are answered by a person within 15 seconds. Counted from arrival, prompts included, of all calls offered. Those still waiting are not counted."},
		},
	}
	for _, v := range []struct {
		id, zh, en string
		clock      Field
		short      bool
		wordsZH    string
		wordsEN    string
	}{
		{"level_offered_arrival", "全部来电，从到达算", "of all, from arrival", AnswerMS, false, "分母是全部来电；从来电到达算起", "of all calls; the clock starts at arrival"},
		{"level_noshort_arrival", "去掉速挂，从到达算", "without short abandons, from arrival", AnswerMS, true, "分母去掉很快挂断的；从来电到达算起", "short abandons left out; the clock starts at arrival"},
		{"level_offered_queue", "全部来电，从排队算", "of all, from the queue", QueueMS, false, "分母是全部来电；从进入排队算起", "of all calls; the clock starts on joining the queue"},
		{"level_noshort_queue", "去掉速挂，从排队算", "without short abandons, from the queue", QueueMS, true, "分母去掉很快挂断的；从进入排队算起", "short abandons left out; the clock starts on joining the queue"},
	} {
		d := Definition{
			ID: v.id, Unit: PerContact, Target: p.LevelTarget,
			Name:        Words{fmt.Sprintf("服务水平 %s（%s）", seconds, v.zh), fmt.Sprintf("Service level%s (%s)", enSpace(enSeconds), v.en)},
			Denominator: When{{voice}},
			Exclusions:  []Exclusion{waitingOut},
			Numerator:   When{{yes(Served), atMost(v.clock, level)}},
			Words: Words{fmt.Sprintf("%s内有人接听的 ÷ 来电；%s。还在等的不计。", seconds, v.wordsZH),
				fmt.Sprintf("Answered by a person within%s; %s. Those still waiting are not counted.", enSpace(enSeconds), v.wordsEN)},
		}
		if v.short {
			d.Exclusions = append(d.Exclusions, shortOut)
		}
		list = append(list, d)
	}
	return append(list,
		Definition{
			ID: "asr", Unit: PerContact,
			Name:        Words{"应答占用比 ASR", "Answer-seizure ratio (ASR)"},
			Denominator: When{{voice}},
			Exclusions:  []Exclusion{waitingOut},
			Numerator:   When{{yes(Bridged)}},
			Words: Words{"ITU-T E.425：有人应答的占用 ÷ 全部占用。接起后没声音、我方中断的也算应答；机器应答不算。",
				"ITU-T E.425: seizures answered by a person of all seizures. A call that was answered and then had no audio or broke counts; a machine that answers does not."},
		},
		Definition{
			ID: "ner", Unit: PerContact,
			Name:        Words{"网络有效率 NER", "Network effectiveness ratio (NER)"},
			Denominator: When{{voice}},
			Exclusions:  []Exclusion{waitingOut},
			Numerator: When{
				{words(OutcomeIs, intake.Refused, intake.RejectedInvalid, intake.Fault, intake.Interrupted).not()},
				{words(OutcomeIs, intake.Refused), {Field: Reason, Words: []string{intake.ReasonBlocked}}},
			},
			Words: Words{"ITU-T E.425：网络和系统送到位的（接通、占线、没人接、对方拒绝）÷ 全部占用；只有过载、坏请求、故障、中断算没送到。",
				"ITU-T E.425: seizures that network and system delivered (answered, busy, no answer, rejected by the user) of all seizures; overload, bad requests, faults and crashes are what is missing."},
		},
		Definition{
			ID: "short_abandon", Unit: PerContact,
			Name:        Words{"速挂", "Short abandons"},
			Denominator: When{{voice}},
			Exclusions:  []Exclusion{waitingOut},
			Numerator:   When{{yes(IsShort)}},
			Words: Words{"很快就挂断的来电 ÷ 全部来电。照样计入其他各数，这里另列。",
				"Calls that left within the line's short limit, of all calls. They count in the other figures as they are and are shown here besides."},
		},
		Definition{
			ID: "quick_drop", Unit: PerContact,
			Name:        Words{"接起 10 秒内我方断开", "Dropped by us within 10 seconds"},
			Denominator: When{{voice, yes(Bridged)}},
			Numerator:   When{{yes(IsQuickDrop)}},
			Words: Words{"有人接起、10 秒内由我方断开的 ÷ 有人接起的。",
				"Calls answered and ended by our side within 10 seconds, of calls answered by a person."},
		},
	)
}

// Channels in which somebody waits for a person, and those in which one speaks.
var (
	live  = words(Channel, intake.Phone, intake.WebCall, intake.Chat, intake.WeChat)
	voice = words(Channel, intake.Phone, intake.WebCall)
	known = yes(CallerKnown)

	waitingOut = Exclusion{ID: "waiting", Name: Words{"还在等", "still waiting"}, When: When{{yes(Waiting)}}}
	shortOut   = Exclusion{ID: "short_abandon", Name: Words{"速挂", "short abandons"}, When: When{{yes(IsShort), yes(Bridged).not()}}}
	blockedOut = Exclusion{ID: "blocked", Name: Words{"线路黑名单", "blocked callers"},
		When: When{{words(OutcomeIs, intake.Refused), {Field: Reason, Words: []string{intake.ReasonBlocked}}}}}
)

func yes(f Field) Test               { return Test{Field: f, From: 1, To: 1} }
func atMost(f Field, ms int64) Test  { return Test{Field: f, From: 0, To: ms} }
func atLeast(f Field, ms int64) Test { return Test{Field: f, From: ms, To: math.MaxInt64} }
func (t Test) not() Test             { t.Not = true; return t }
func words[T ~string](f Field, list ...T) Test {
	t := Test{Field: f}
	for _, w := range list {
		t.Words = append(t.Words, string(w))
	}
	return t
}

func short(d time.Duration, minutes, seconds string) string {
	gap := ""
	if minutes[0] != ' ' {
		gap = " "
	}
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d%s%s", d/time.Minute, gap, minutes)
	}
	return fmt.Sprintf("%d%s%s", d/time.Second, gap, seconds)
}

func enSpace(s string) string { return " " + s }
