package web

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/internal/users"
)

// The sample office's past, its team, its audit log and its whole lists.

type sampleHistory struct{ *sample }

func (s sampleHistory) Of(ctx context.Context, f HistoryFilter) (Past, error) {
	if err := s.ready(ctx); err != nil {
		return Past{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, f)
	p := Past{AsOf: s.now, From: f.From, To: f.To, Lines: []Choice{{Code: "12345", Name: s.say("便民热线")}, {Code: "pm", Name: s.say("物业投诉")}}}
	if p.To.After(s.now) {
		p.To = s.now
	}
	span := f.To.Sub(f.From)
	p.BeforeFrom, p.BeforeTo = f.From.Add(-span), p.To.Add(-span)
	if s.empty {
		return p, nil
	}
	next := func(t time.Time) time.Time {
		switch f.By {
		case "month":
			return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, shanghai)
		case "week":
			return t.AddDate(0, 0, 7-(int(t.Weekday())+6)%7)
		}
		return t.AddDate(0, 0, 1)
	}
	for from := f.From.In(shanghai); from.Before(f.To); from = next(from) {
		to := next(from)
		if to.After(f.To) {
			to = f.To
		}
		r := PastRow{From: from, To: to, Quarters: make([]HeatQuarter, 96)}
		days := int(to.Sub(from) / (24 * time.Hour))
		if f.By == "day" && to.After(s.now) {
			r.Quarters = r.Quarters[:59]
		}
		for q := range r.Quarters {
			busy := math.Exp(-math.Pow(float64(q-39), 2)/60) + .6*math.Exp(-math.Pow(float64(q-57), 2)/40)
			r.Quarters[q].Offered = days * int(1+13*busy)
			if (q*7+from.YearDay()*13)%31 == 0 || busy > .8 && (q+from.YearDay())%3 == 0 {
				r.Quarters[q].Lost = min(r.Quarters[q].Offered, days*(1+(q+from.YearDay())%4))
			}
			r.Offered += r.Quarters[q].Offered
			r.Lost += r.Quarters[q].Lost
		}
		p.Rows = append(p.Rows, r)
		p.Sum.Offered += int64(r.Offered)
		p.Sum.Lost += int64(r.Lost)
	}
	p.Sum.Open = 8
	p.Sum.Answered = p.Sum.Offered - p.Sum.Lost - p.Sum.Open
	p.Before = Sums{Offered: p.Sum.Offered - 40, Answered: p.Sum.Answered - 52, Lost: p.Sum.Lost + 12, Open: 0}
	rule := func(zh, en string) Said { return Said{s.say(zh), s.say(en)} }
	p.Figures = []PastFigure{
		{Figure{ID: "caller_reached", Name: Said{"首次来电 5 分钟内接通", "Reached within 5 minutes of the first attempt"}, Rule: rule("按人计。从第一次打来算起，之后由谁拨通都算；未满 5 分钟的不计，另列。", "Per person, from their first attempt."), Num: 2216, Den: 2431, Excluded: 3},
			Figure{ID: "caller_reached", Num: 2100, Den: 2398}},
		{Figure{ID: "strict", Name: Said{"接通率", "Answered"}, Rule: rule("接通的除以全部来访。", "Answered by offered."), Num: 2680, Den: 2812}, Figure{ID: "strict", Num: 2611, Den: 2752}},
		{Figure{ID: "within_15s", Name: Said{"15 秒内接听", "Answered within 15 seconds"}, Rule: rule("GB/T 33358：到达 15 秒内有人应答。", "GB/T 33358."), Num: 2497, Den: 2617}, Figure{ID: "within_15s"}},
	}
	p.Outcomes = []PastOutcome{{intake.AbandonedQueue, 61, 70}, {intake.AbandonedRinging, 30, 30}, {intake.TimeoutNoOperator, 21, 9}, {intake.Unattended, 9, 0}, {intake.Fault, 1, 4}}
	p.Split = []PastSplit{{Choice{Code: "12345", Name: s.say("便民热线")}, intake.Phone, Sums{2300, 2200, 92, 8}, Sums{2200, 2100, 100, 0}},
		{Choice{Code: "12345", Name: s.say("便民热线")}, intake.Chat, Sums{310, 290, 20, 0}, Sums{200, 180, 20, 0}}, {Choice{Code: "12345", Name: s.say("便民热线")}, intake.App, Sums{202, 202, 0, 0}, Sums{}}}
	return p, nil
}

type sampleTeam struct{ *sample }

func (s sampleTeam) Now(ctx context.Context) (TeamNow, error) {
	if err := s.ready(ctx); err != nil {
		return TeamNow{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := TeamNow{AsOf: s.now, Known: s.state != "unknown"}
	seat := func(id, name, state, reason string, ago time.Duration) Seat {
		return Seat{Staff: Staff{intake.UserID(id), s.say(name)}, State: state, Reason: reason, Since: s.now.Add(-ago), Phone: state != "offline" && state != "unreachable"}
	}
	n.Seats = []Seat{seat("u-fang", "方洁", "break", s.say("meal"), 11*time.Minute), seat("u-lin", "林悦", "talking", "", 42*time.Second), seat("u-qian", "钱宇", "unreachable", "", 3*time.Minute),
		seat("u-xu", "许航", "wrap_up", "", 25*time.Second), seat("u-zhao", "赵宁", "offline", "", 0)}
	n.Seats[1].With = []intake.ContactID{"01928f3a-7c11-7000-8000-000000000001"}
	if s.empty {
		return n, nil
	}
	wait := func(id string, ch intake.Channel, p Person, ago time.Duration, why string, rings Staff) Waits {
		return Waits{Contact: intake.ContactID(id), Channel: ch, LineID: "12345", Line: s.say("便民热线"), Person: p, Arrived: s.now.Add(-ago), Why: why, Rings: rings}
	}
	n.Waiting = []Waits{
		wait("01928f3a-7c11-7000-8000-000000000011", intake.Phone, s.person("孙奶奶", "051255501207", "听力弱"), 21*time.Second, "older_caller", Staff{"u-xu", "许航"}),
		wait("01928f3a-7c11-7000-8000-000000000012", intake.Phone, Person{Number: pii.NewPhone("17700006093")}, 42*time.Second, "calls_again", Staff{}),
		wait("01928f3a-7c11-7000-8000-000000000013", intake.Phone, Person{}, 9*time.Second, "", Staff{}),
		wait("01928f3a-7c11-7000-8000-000000000014", intake.Chat, s.person("何先生", "18600007715"), 95*time.Second, s.hurt, Staff{}),
	}
	return n, nil
}

func (s sampleTeam) Over(ctx context.Context, from, to time.Time) (TeamPast, error) {
	if err := s.ready(ctx); err != nil {
		return TeamPast{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, [2]time.Time{from, to})
	p := TeamPast{AsOf: s.now, From: from, To: to}
	if p.To.After(s.now) {
		p.To = s.now
	}
	if s.empty {
		return p, nil
	}
	p.Rows = []TeamRow{
		{Staff: Staff{"u-fang", s.say("方洁")}, Answered: 41, Calls: 33, Chats: 8, QuickDrops: 3, Rings: 47, Missed: 6, MissedWhy: map[string]int64{"no_answer": 4, "unreachable": 2}, Talked: 151 * time.Minute, Wrapped: 32 * time.Minute, OnBreak: 41 * time.Minute, AtDesk: 7 * time.Hour},
		{Staff: Staff{"u-lin", s.say("林悦")}, Answered: 58, Calls: 52, Chats: 6, Rings: 55, Missed: 0, MissedWhy: map[string]int64{}, Talked: 190 * time.Minute, Wrapped: 44 * time.Minute, OnBreak: 30 * time.Minute, AtDesk: 7*time.Hour + 20*time.Minute},
		{Staff: Staff{"u-zhao", s.say("赵宁")}, MissedWhy: map[string]int64{}},
	}
	return p, nil
}

type sampleTrail struct{ *sample }

func (s sampleTrail) rows() []TrailRow {
	zhou, gu, admin := Staff{"u-zhou", s.say("周敏")}, Staff{"u-gu", "顾审"}, Staff{"u-admin", "管理员"}
	contact := intake.ContactID("01928f3a-7c11-7000-8000-000000000002")
	return []TrailRow{
		{At: s.at("14:20:10"), Who: gu, Kind: "exported", What: "contacts", More: []Detail{{"format", "xlsx"}, {"filter", s.say("state=lost")}}},
		{At: s.at("14:02:00"), Who: zhou, Kind: "played", What: "recording", Contact: contact, More: []Detail{{"from_ms", "0"}, {"to_ms", "276000"}}},
		{At: s.at("13:26:00"), Who: zhou, Kind: "revealed", What: "number", Contact: contact, Reason: s.say("call_back: 约好再打")},
		{At: s.at("11:00:00"), Who: zhou, Kind: "callback", What: "closed", Reason: s.say("wrong_number")},
		{At: s.at("09:02:11"), Who: admin, Kind: "account", What: "changed", Of: s.say("林悦"), More: []Detail{{"role", "supervisor"}, {"before", "operator"}}},
		{At: s.at("09:01:00"), Who: admin, Kind: "line", What: "changed", Of: s.say("物业投诉")},
		{At: s.at("08:31:02"), Who: zhou, Kind: "signed", What: "in"},
		{At: s.at("08:30:50"), Who: zhou, Kind: "signed", What: "failed"},
		{At: s.at("03:00:00"), Kind: "grid", What: "imported", More: []Detail{{"version", s.say("2026-11")}, {"rows", "420"}, {"refused", "2"}}},
	}
}

func (s sampleTrail) List(ctx context.Context, f TrailFilter) (TrailPage, error) {
	if err := s.ready(ctx); err != nil {
		return TrailPage{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, f)
	p := TrailPage{AsOf: s.now, Staff: []Staff{{"u-gu", "顾审"}, {"u-zhou", s.say("周敏")}}}
	if s.empty {
		return p, nil
	}
	p.Rows, p.Next = s.rows(), "next"
	return p, nil
}

func (s sampleTrail) Exported(_ context.Context, v Viewer, e intake.ListExportedV1) error {
	return s.deed(v, "export %s %s %s", e.List, e.Format, e.Filter)
}

func (s sampleTrail) note(format string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unnoted != nil {
		return s.unnoted
	}
	s.noted = append(s.noted, fmt.Sprintf(format, args...))
	return nil
}

func (s sampleTrail) Signed(_ context.Context, e intake.AccountSignedV1) error {
	return s.note("signed %s %s %v", e.User, e.How, e.Wall)
}

func (s sampleTrail) Account(_ context.Context, e intake.AccountChangedV1) error {
	return s.note("account %s %s", e.What, e.Role)
}

func (s sampleTrail) AccountWith(e intake.AccountChangedV1) users.Also {
	return func(ctx context.Context, _ *store.Tx) error { return s.Account(ctx, e) }
}

type sampleLists struct{ *sample }

// many gives rows n times over, each changed by f.
func many[T any](s *sample, rows []T, f func(int, *T)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		times := 1
		if s.rows > 0 {
			times = (s.rows + len(rows) - 1) / max(len(rows), 1)
		}
		n := 0
		for range times {
			for _, r := range rows {
				if s.breakAt > 0 && n == s.breakAt {
					var none T
					yield(none, fmt.Errorf("the disk is gone at row %d", n))
					return
				}
				if f != nil {
					f(n, &r)
				}
				n++
				if !yield(r, nil) || s.rows > 0 && n == s.rows {
					return
				}
			}
		}
	}
}

func (s sampleLists) Contacts(_ context.Context, f ContactFilter) iter.Seq2[ContactRow, error] {
	return many(s.sample, sampleContacts(s).rows(), func(n int, c *ContactRow) {
		if n >= 5 {
			c.ID = intake.ContactID(fmt.Sprintf("01928f3a-7c11-7000-8000-%012d", n))
		}
	})
}

func (s sampleLists) Unreturned(context.Context, UnreturnedFilter) iter.Seq2[OwedPerson, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return many(s.sample, s.owed(), nil)
}

func (s sampleLists) Cleared(ctx context.Context, _, _ time.Time) iter.Seq2[Cleared, error] {
	o, _ := s.People(ctx, UnreturnedFilter{})
	return many(s.sample, o.Cleared, nil)
}

func (s sampleLists) Cases(context.Context, Viewer, CaseFilter) iter.Seq2[CaseRow, error] {
	return many(s.sample, sampleCases(s).rows(), nil)
}

func (s sampleLists) Trail(context.Context, TrailFilter) iter.Seq2[TrailRow, error] {
	return many(s.sample, sampleTrail(s).rows(), nil)
}

func (s sampleLists) Hits(ctx context.Context, v Viewer, q Query) iter.Seq2[Hit, error] {
	found, _ := s.Find(ctx, v, q)
	return many(s.sample, found.Hits, nil)
}
