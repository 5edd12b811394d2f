package web

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/internal/store/storetest"
	"yingda/internal/users"
)

var shanghai = time.FixedZone("Asia/Shanghai", 8*3600)

// noon is when the sample office is looked at: 24 November 2026, 14:32:07.
var noon = time.Date(2026, 11, 24, 14, 32, 7, 0, shanghai)

// sample is an office with the same figures as the drawings. A test changes what it needs.
type sample struct {
	mu      sync.Mutex
	now     time.Time
	done    []string // deeds, in order
	fail    error    // of everything that is read
	refuse  error    // of every deed
	hang    chan struct{}
	empty   bool
	stale   time.Duration
	hurt    string // put into every text
	alarms  []Alarm
	people  int // how many are owed; -1: as drawn
	listen  map[chan struct{}]bool
	state   string // of the desk
	asked   []any
	talk    []ChatMessage
	refs    map[string]bool
	acts    map[string]bool // of the grid worker's phone
	noSIP   bool            // the grid worker's phone is not on the hotline
	like    bool            // there are like cases
	dept    bool            // the rule names a department
	outside *town

	rows    int          // so many rows in every list of an export; 0: as drawn
	prefix  string       // put before every text
	waiting atomic.Int32 // how many hang
	breakAt int          // the row of an export at which reading fails; 0: none
	noted   []string     // in the audit log, of accounts
	unnoted error        // of noting it
}

func newSample() *sample {
	return &sample{now: noon, people: -1, listen: map[chan struct{}]bool{}, state: "talking", refs: map[string]bool{}, acts: map[string]bool{}, like: true, dept: true}
}

func (s *sample) office() Office {
	return Office{Board: s, Unreturned: s, Contacts: sampleContacts{s}, Search: s, Cases: sampleCases{s}, Lines: sampleLines{s}, Desk: s,
		Callbacks: sampleCallbacks{s}, CaseDeeds: sampleCaseDeeds{s}, Reveals: s, Recordings: s, Ledger: sampleLedger{s}, Live: s,
		History: sampleHistory{s}, Team: sampleTeam{s}, Trail: sampleTrail{s}, Lists: sampleLists{s}, Chats: sampleChats{s}, Worker: sampleWorker{s},
		Residents: s.town(), ResidentChats: sampleTalks{s.town()}}
}

func (s *sample) ready(ctx context.Context) error {
	if s.hang != nil {
		s.waiting.Add(1)
		select {
		case <-s.hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail
}

func (s *sample) deed(v Viewer, format string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.done = append(s.done, v.Name+" "+fmt.Sprintf(format, args...))
	return nil
}

func (s *sample) deeds() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.done...)
}

func (s *sample) set(f func()) {
	s.mu.Lock()
	f()
	for c := range s.listen {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	s.mu.Unlock()
}

func (s *sample) Changed() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	s.listen[c] = true
	s.mu.Unlock()
	return c, func() { s.mu.Lock(); delete(s.listen, c); s.mu.Unlock() }
}

func (s *sample) say(words string) string { return s.prefix + words + s.hurt }

func (s *sample) at(clock string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04:05", "2026-11-24 "+clock, shanghai)
	if err != nil {
		panic(err)
	}
	return t
}

func (s *sample) midnight() time.Time { return s.at("00:00:00") }

func (s *sample) person(called, number string, notes ...string) Person {
	for i := range notes {
		notes[i] = s.say(notes[i])
	}
	return Person{Called: s.say(called), Number: pii.NewPhone(number), Notes: notes}
}

func (s *sample) plate(place, number, worker string) Plate {
	return Plate{ID: intake.GridID(place + number), Place: s.say(place), Number: number, Worker: s.say(worker)}
}

func (s *sample) Now(ctx context.Context) (Wall, error) {
	if err := s.ready(ctx); err != nil {
		return Wall{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := Wall{Office: "梅溪街道便民热线", AsOf: s.now.Add(-s.stale), Day: s.midnight(), DayEnd: s.midnight().AddDate(0, 0, 1), Goal: 950, Balanced: true}
	if s.empty {
		w.Last, w.LastOK, w.Tested, w.Lines, w.Passed = s.midnight().Add(-73*time.Minute), true, s.at("14:31:00"), 3, 3
		return w, nil
	}
	rule := Said{"按人计。从第一次打来算起，之后由谁拨通都算；未满 5 分钟的不计，另列。", "Per person, from their first attempt."}
	w.Reached = Figure{ID: "caller_reached", Name: Said{"首次来电 5 分钟内接通", "Reached within 5 minutes of the first attempt"}, Rule: rule, Num: 216, Den: 231, Excluded: 3}
	w.Yesterday = Figure{Num: 918, Den: 1000}
	w.LaterReached, w.NotYet, w.Waiting, w.LongestWait, w.LongestToday = 9, 6, 3, 42*time.Second, 96*time.Second
	w.Seats = []Seats{{"talking", 5}, {"ringing", 1}, {"wrap_up", 2}, {"break", 1}, {"idle", 0}}
	w.Within15 = Figure{ID: "within_15s", Name: Said{"15 秒内接听，连续 24 小时", "Answered within 15 seconds, over 24 hours"}, Rule: rule, Num: 497, Den: 517}
	for i := range 97 {
		x := float64(i) / 96
		m := 955 + 12*math.Sin(9*x) - 32*math.Exp(-(x-.4)*(x-.4)/.006)
		w.Roll = append(w.Roll, RollPoint{At: s.now.Add(time.Duration(i-96) * 15 * time.Minute), Num: int64(m), Den: 1000})
	}
	w.Ages = []Age{{15 * time.Minute, 2, 0}, {time.Hour, 2, 0}, {4 * time.Hour, 2, 0}, {24 * time.Hour, 1, 1}, {0, 0, 0}}
	w.Overdue, w.DueSoon, w.Calling = 1, 4, 2
	w.Offered, w.Answered, w.Lost, w.Open = 287, 258, 21, 8
	w.Channels = []ChannelSum{{intake.Phone, 262, 236, 18, 8}, {intake.Chat, 15, 12, 3, 0}, {intake.App, 10, 10, 0, 0}}
	w.Queues = []ChannelSum{{Channel: intake.Phone, Open: 2}, {Channel: intake.Chat, Open: 1}}
	w.Why = []Count{{intake.AbandonedQueue, 7}, {intake.AbandonedRinging, 5}, {intake.TimeoutNoOperator, 4}, {intake.CallbackPromised, 2}, {intake.AfterHours, 2}, {intake.Fault, 1}}
	for q := range 59 {
		x := float64(q)
		n := Quarter{At: w.Day.Add(time.Duration(q) * 15 * time.Minute), Answered: int(14*math.Exp(-(x-39)*(x-39)/60) + 7*math.Exp(-(x-57)*(x-57)/40) + .6 + .5*math.Sin(x*2))}
		switch q {
		case 7, 27, 37, 42, 44, 48, 50, 54:
			n.Lost = 1
		case 38, 40, 49:
			n.Lost = 2
		case 39:
			n.Lost = 3
		case 56, 57, 58:
			n.Open = q - 55
		}
		w.Quarters = append(w.Quarters, n)
	}
	w.Alarms = s.alarms
	if s.hurt != "" {
		w.Alarms = []Alarm{{"x" + s.hurt, s.now}}
	}
	return w, nil
}

func (s *sample) owed() []OwedPerson {
	minutes := func(n float64) time.Time { return s.now.Add(-time.Duration(n * float64(time.Minute))) }
	lin, xu := Staff{"u-lin", "林悦"}, Staff{"u-xu", "许航"}
	try := func(at time.Time) Try { return Try{at, lin, intake.TryNoAnswer, 40 * time.Second} }
	list := []OwedPerson{
		{Callback: "cb-1", Contact: "0192-8f3a-1", Person: s.person("赵伯", "051255503316"), First: minutes(1100), Due: minutes(120), Theirs: []time.Time{minutes(1100), minutes(1060)},
			Ours: []Try{try(minutes(480)), try(minutes(330)), try(minutes(200))}, Cause: intake.AfterHours, Line: s.say("便民热线"), Grid: s.plate("柳荫", "07", "沈志强"), Visit: true},
		{Callback: "cb-2", Contact: "0192-8f3a-2", Person: s.person("王阿姨", "13800005678", "老年"), First: minutes(231), Due: minutes(-9), Theirs: []time.Time{minutes(231), minutes(217), minutes(160)},
			Ours: []Try{try(minutes(142))}, Cause: intake.AbandonedQueue, Line: s.say("便民热线"), Grid: s.plate("梅苑", "03", "陆建平")},
		{Callback: "cb-3", Contact: "0192-8f3a-3", Person: Person{Number: pii.NewPhone("051255508842"), Shared: 2}, First: minutes(146), Due: minutes(-4), Theirs: []time.Time{minutes(146), minutes(100)},
			Ours: []Try{try(minutes(50))}, Cause: intake.TimeoutNoOperator, Line: s.say("便民热线"), Grid: s.plate("河东", "11", "吴春燕")},
		{Callback: "cb-4", Contact: "0192-8f3a-4", Person: s.person("郑师傅", "13900000427"), First: minutes(58), Due: minutes(-18), Theirs: []time.Time{minutes(58)},
			Ours: []Try{try(minutes(30))}, Cause: intake.AbandonedQueue, Line: s.say("物业投诉"), Grid: s.plate("梅苑", "05", "陆建平"), Holder: lin},
		{Callback: "cb-5", Contact: "0192-8f3a-5", Person: Person{Name: pii.NewName(s.hurt), Number: pii.NewPhone("17700006093")}, First: minutes(41), Due: minutes(-28), Theirs: []time.Time{minutes(41), minutes(35)},
			Cause: intake.AbandonedRinging, Line: s.say("便民热线")},
		{Callback: "cb-6", Contact: "0192-8f3a-6", Person: s.person("孙奶奶", "051255501207", "听力弱"), First: minutes(9), Due: minutes(-20), Theirs: []time.Time{minutes(9)}, Ours: []Try{try(minutes(.4))},
			Cause: intake.CallbackPromised, Line: s.say("便民热线"), Grid: s.plate("柳荫", "06", "沈志强"), Holder: lin, Calling: minutes(.35)},
		{Callback: "cb-7", Contact: "0192-8f3a-7", Person: s.person("何先生", "18600007715"), First: minutes(6), Due: minutes(-24), Theirs: []time.Time{minutes(6)}, Ours: []Try{try(minutes(.8))},
			Cause: intake.AbandonedRinging, Line: s.say("物业投诉"), Grid: s.plate("河东", "12", "吴春燕"), Holder: xu, Calling: minutes(.8)},
	}
	if s.people >= 0 {
		list = list[:min(s.people, len(list))]
	}
	return list
}

func (s *sample) People(ctx context.Context, f UnreturnedFilter) (Owed, error) {
	if err := s.ready(ctx); err != nil {
		return Owed{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, f)
	o := Owed{AsOf: s.now, LostToday: 21, LostPeople: 15, ClearedTotal: 9, Operators: []Staff{{"u-lin", "林悦"}, {"u-xu", "许航"}},
		Lines: []Choice{{Code: "12345", Name: s.say("便民热线")}, {Code: "pm", Name: s.say("物业投诉")}}, Grids: []Choice{{"MY03", s.say("梅苑 03"), "梅苑社区"}, {"LY07", "柳荫 07", "柳荫社区"}}}
	o.Cleared = []Cleared{
		{At: s.at("14:05:00"), Contact: "0192-8f3a-8", Person: s.person("周伯伯", "051255502290"), By: intake.ClearedResidentReached, Who: Staff{"u-xu", "许航"}},
		{At: s.at("13:37:00"), Contact: "0192-8f3a-9", Person: s.person("吕女士", "15800003341"), By: intake.ClearedWeReached, Tries: 2, Who: Staff{"u-lin", "林悦"}},
		{At: s.at("11:52:00"), Contact: "0192-8f3a-a", Person: s.person("黄爷爷", "051255507753"), By: intake.ClearedVisit, Who: Staff{"u-lu", "陆建平"}},
		{At: s.at("10:20:00"), Contact: "0192-8f3a-b", Person: s.person("", ""), By: intake.ClearedSupervisor, Who: Staff{"u-zhou", s.say("周敏")}, Reason: s.say("test_call")},
	}
	if s.empty {
		return o, nil
	}
	all := s.owed()
	o.Total = len(all)
	for _, p := range all {
		switch {
		case !p.Calling.IsZero():
			o.Calling++
		case s.now.After(p.Due):
			o.Overdue++
		default:
			o.Waiting++
		}
		if (f.Cause == "" || f.Cause == p.Cause) && (f.Line == "" || (f.Line == "pm") == strings.HasPrefix(p.Line, "物业")) {
			o.People = append(o.People, p)
		}
	}
	return o, nil
}

func (s *sample) Heat(ctx context.Context, days int) (Heat, error) {
	if err := s.ready(ctx); err != nil {
		return Heat{}, err
	}
	var h Heat
	for d := range days {
		day := HeatDay{Day: s.midnight().AddDate(0, 0, d-days+1), Offered: 380 + 13*d%97}
		n := 96
		if d == days-1 {
			n = 59
		}
		for q := range n {
			x := HeatQuarter{Offered: 6}
			if (q*7+d*13)%31 == 0 || ((q == 37 || q == 38 || q == 49) && d%2 == 0) {
				x.Lost = 1 + (q+d)%5
			}
			day.Lost += x.Lost
			day.Quarters = append(day.Quarters, x)
		}
		h.Days = append(h.Days, day)
	}
	return h, nil
}

type sampleContacts struct{ *sample }

func (s sampleContacts) rows() []ContactRow {
	xu := Staff{"u-xu", s.say("许航")}
	row := func(id, clock string, p Person, o intake.Outcome, waited, talked time.Duration, op Staff) ContactRow {
		r := ContactRow{ID: intake.ContactID(id), Channel: intake.Phone, Line: s.say("便民热线"), Person: p, Arrived: s.at(clock), Outcome: o, Waited: waited, Talked: talked, Operator: op}
		if o != "" {
			r.Ended = r.Arrived.Add(waited + talked)
		}
		return r
	}
	list := []ContactRow{
		row("01928f3a-7c11-7000-8000-000000000001", "14:31:40", s.person("孙奶奶", "051255501207"), "", 27*time.Second, 0, Staff{}),
		row("01928f3a-7c11-7000-8000-000000000002", "13:20:44", s.person("王阿姨", "13800005678", "老年"), intake.Answered, 14*time.Second, 276*time.Second, xu),
		row("01928f3a-7c11-7000-8000-000000000003", "12:17:03", Person{Number: pii.NewPhone("17700006093")}, intake.AbandonedRinging, 31*time.Second, 0, Staff{}),
		row("01928f3a-7c11-7000-8000-000000000004", "11:02:19", Person{}, intake.Silent, 9*time.Second, 12*time.Second, xu),
		row("01928f3a-7c11-7000-8000-000000000005", "09:40:00", s.person("何先生", "18600007715"), intake.Fault, time.Second, 0, Staff{}),
	}
	list[1].Case, list[1].CaseNo = "01928f3a-0000-7000-8000-0000000000c1", s.say("W-2026-04817")
	list[2].Callback, list[2].Flags = true, []intake.Flag{intake.ShortAbandon}
	list[4].Imported = s.say("旧系统")
	return list
}

func (s sampleContacts) List(ctx context.Context, f ContactFilter) (ContactList, error) {
	if err := s.ready(ctx); err != nil {
		return ContactList{}, err
	}
	s.mu.Lock()
	s.asked = append(s.asked, f)
	s.mu.Unlock()
	l := ContactList{AsOf: s.now, Total: 21, Lines: []Choice{{Code: "12345", Name: s.say("便民热线")}}}
	if s.empty {
		l.Total = 0
		return l, nil
	}
	l.Rows, l.Next = s.rows(), "next"
	if f.Figure != "" {
		w, _ := s.Now(ctx)
		l.Figure = &w.Reached
	}
	return l, nil
}

func (s sampleContacts) One(ctx context.Context, v Viewer, id intake.ContactID) (ContactPage, error) {
	if err := s.ready(ctx); err != nil {
		return ContactPage{}, err
	}
	if id == "none" {
		return ContactPage{}, ErrNotFound
	}
	rows := s.rows()
	c := ContactPage{ContactRow: rows[1], AsOf: s.now, LineNumber: "0512-5550-0100", SIPCallID: s.say("7f0c2a@gw1"), Home: s.plate("梅苑", "03", "陆建平"), OthersAll: 6}
	c.ID = id
	c.Person.Shared = 1
	if s.hurt != "" {
		c.Words, c.Reason = pii.NewText(s.hurt), s.hurt
	}
	at := func(clock, side, what string, good bool, args ...string) Moment {
		return Moment{At: s.at(clock), Side: side, What: what, Args: args, Good: good}
	}
	more := func(m Moment, what string, args ...string) Moment { m.More, m.MoreA = what, args; return m }
	first := more(at("10:41:07", "resident", "called_left", false, "72s"), "seats", "9", "9")
	first.Of = "01928f3a-7c11-7000-8000-000000000003"
	c.Timeline = []Moment{first,
		more(at("10:42:19", "system", "callback_born", false), "callback_due", "2026-11-24T14:41:00+08:00"),
		more(at("10:55:30", "resident", "called_again_left", false, "48s"), "callback_joined"),
		more(at("12:10:02", "us", "tried_no_answer", false, s.say("林悦"), "40s"), "nth", "1"),
		at("13:20:44", "resident", "called_again", false),
		more(at("13:20:45", "system", "priority", false), "position", "1"),
		more(at("13:20:58", "us", "answered", true, s.say("许航"), "276s"), "from_first", "9591s"),
		more(at("13:26:10", "us", "case_opened", true, s.say("许航"), "W-2026-04817"), s.say("楼道灯，派给陆建平")),
	}
	c.Cases = sampleCases(s).rows()[1:2]
	c.BackDone = &Cleared{At: s.at("13:20:58"), By: intake.ClearedResidentReached, Who: Staff{"u-xu", "许航"}}
	c.Others = []ContactRow{{ID: "01928f3a-7c11-7000-8000-000000000009", Channel: intake.App, Arrived: s.now.AddDate(0, 0, -21), Outcome: intake.Accepted}, {ID: "01928f3a-7c11-7000-8000-00000000000a", Channel: intake.Phone, Arrived: s.now.AddDate(0, 0, -67), Outcome: intake.Answered}}
	c.Looks = []Look{{s.at("13:26:00"), Staff{"u-xu", "许航"}, "case", ""}, {s.at("14:02:00"), Staff{"u-zhou", "周敏"}, "recording", "check" + s.hurt}}
	c.Recording = Recording{ID: "rec-1", Length: 276 * time.Second, Channels: 2, Peaks: make([][]float32, 2)}
	for i := range 230 {
		x := float64(i)
		a, b := .02, .02
		if int(x/37)%2 == 0 {
			a = .3 + .6*math.Abs(math.Sin(x*1.7)*math.Cos(x*.31))
		} else {
			b = .3 + .6*math.Abs(math.Sin(x*2.3)*math.Cos(x*.17))
		}
		c.Recording.Peaks[0], c.Recording.Peaks[1] = append(c.Recording.Peaks[0], float32(a)), append(c.Recording.Peaks[1], float32(b))
	}
	switch id {
	case "silent":
		c.Recording, c.Outcome, c.Operator, c.Talked = Recording{}, intake.AbandonedGreeting, Staff{}, 0
		c.Cases, c.BackDone, c.Timeline = nil, nil, c.Timeline[:2]
		p := s.owed()[1]
		c.Back = &p
	case "missing":
		c.Recording.Missing = "not_here"
	}
	return c, nil
}

func (s *sample) Number(_ context.Context, v Viewer, id intake.ContactID, reason string) (pii.Phone, error) {
	return pii.NewPhone("13800005678"), s.deed(v, "reveal %s %s", id, reason)
}

// tone is a WAV file of one second, two channels.
func tone() []byte {
	const rate = 8000
	var b bytes.Buffer
	b.WriteString("RIFF")
	_ = binary.Write(&b, binary.LittleEndian, uint32(36+rate*4))
	b.WriteString("WAVEfmt ")
	_ = binary.Write(&b, binary.LittleEndian, uint32(16))
	for _, x := range []any{uint16(1), uint16(2), uint32(rate), uint32(rate * 4), uint16(4), uint16(16)} {
		_ = binary.Write(&b, binary.LittleEndian, x)
	}
	b.WriteString("data")
	_ = binary.Write(&b, binary.LittleEndian, uint32(rate*4))
	for i := range rate {
		x := int16(4000 * math.Sin(float64(i)*2*math.Pi*440/rate))
		_ = binary.Write(&b, binary.LittleEndian, []int16{x, x / 2})
	}
	return b.Bytes()
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func (s *sample) Open(ctx context.Context, _ Viewer, id intake.ContactID) (RecordingFile, error) {
	if id == "silent" {
		return RecordingFile{}, ErrNotFound
	}
	return RecordingFile{ReadSeekCloser: nopCloser{bytes.NewReader(tone())}, ID: "rec-1", Length: time.Second, Made: noon}, s.ready(ctx)
}

func (s *sample) Played(_ context.Context, v Viewer, id intake.ContactID, rec intake.RecordingID, from, to time.Duration) error {
	return s.deed(v, "played %s %s %s–%s", id, rec, from, to)
}

func (s *sample) Find(ctx context.Context, _ Viewer, q Query) (Found, error) {
	if err := s.ready(ctx); err != nil {
		return Found{}, err
	}
	s.mu.Lock()
	s.asked = append(s.asked, q)
	s.mu.Unlock()
	f := Found{Took: 3 * time.Millisecond, Lines: []Choice{{Code: "12345", Name: s.say("便民热线")}}, Grids: []Choice{{"MY03", s.say("梅苑 03"), "梅苑社区"}}}
	if s.empty {
		return f, nil
	}
	f.Total, f.More = 2, true
	f.Hits = []Hit{
		{Kind: "case", ID: "01928f3a-0000-7000-8000-0000000000c1", Title: s.say("W-2026-04817 楼道灯"), State: "in_progress", At: s.at("13:26:10"), Grid: s.plate("梅苑", "03", ""), Why: []string{s.say("原话")},
			Pieces: [][]Piece{{{"三号楼二单元", ""}, {s.say("楼道灯不亮"), "原话"}, {s.say("一个多礼拜了"), ""}}}},
		{Kind: "contact", ID: "01928f3a-7c11-7000-8000-000000000002", Person: s.person("王阿姨", "13800005678"), Channel: intake.Phone, Line: s.say("便民热线"), Outcome: intake.Answered, At: s.at("13:20:44"), Why: []string{"同音"},
			Pieces: [][]Piece{{{"说是", ""}, {"楼到灯", "同音"}, {"坏了", ""}}}},
	}
	return f, nil
}

type sampleCases struct{ *sample }

func (s sampleCases) rows() []CaseRow {
	day := 24 * time.Hour
	return []CaseRow{
		{ID: "01928f3a-0000-7000-8000-0000000000c0", Number: "W-2026-04790", State: "dispatched", Title: s.say("去看看赵伯：电话 3 次没找到人"), Category: s.say("上门"), Grid: s.plate("柳荫", "07", "沈志强"), Opened: s.now.Add(-20 * time.Hour), Deadline: s.now.Add(-2 * time.Hour), Late: true, Source: intake.FromVisit, People: 2},
		{ID: "01928f3a-0000-7000-8000-0000000000c1", Number: s.say("W-2026-04817"), State: "in_progress", Title: s.say("三号楼二单元楼道灯不亮一周"), Category: s.say("公共照明"), Grid: s.plate("梅苑", "03", "陆建平"), Opened: s.now.Add(-time.Hour), Deadline: s.now.Add(day), Source: intake.FromOperator, People: 2},
		{ID: "01928f3a-0000-7000-8000-0000000000c2", Number: "W-2026-04801", State: "returned", Title: s.say("车棚充电桩没电"), Category: s.say("充电"), Department: s.say("街道城管科"), Opened: s.now.Add(-2 * day), Deadline: s.now.Add(2 * day), Source: intake.FromOperator, Secret: true},
		{ID: "01928f3a-0000-7000-8000-0000000000c3", Number: "W-2026-04700", State: "closed", Title: s.say("井盖松动"), Category: s.say("道路"), Grid: s.plate("河东", "11", "吴春燕"), Opened: s.now.Add(-5 * day), Closed: s.now.Add(-4 * day), Source: intake.FromPatrol},
	}
}

func (s sampleCases) List(ctx context.Context, v Viewer, f CaseFilter) (CaseList, error) {
	if err := s.ready(ctx); err != nil {
		return CaseList{}, err
	}
	l := CaseList{AsOf: s.now}
	if s.empty {
		return l, nil
	}
	l.Open, l.Overdue, l.Rows = 3, 1, s.rows()
	l.Grids = []GridLoad{{s.plate("柳荫", "07", "沈志强"), 1, 1}, {s.plate("梅苑", "03", "陆建平"), 4, 0}, {s.plate("河东", "11", "吴春燕"), 2, 0}}
	return l, nil
}

func (s sampleCases) One(ctx context.Context, v Viewer, id intake.CaseID) (CasePage, error) {
	if err := s.ready(ctx); err != nil {
		return CasePage{}, err
	}
	if id == "none" {
		return CasePage{}, ErrNotFound
	}
	c := CasePage{CaseRow: s.rows()[1], AsOf: s.now, Words: pii.NewText(s.say("三号楼二单元楼道灯不亮一个多礼拜了，\n晚上下楼看不见，腿脚不好怕摔")), Address: pii.NewAddress(s.say("梅苑小区 3 号楼 2 单元")),
		Person: s.person("王阿姨", "13800005678", "老年"), Why: s.say("按地址找到"), Confidence: 92, Rule: s.say("公共照明 24 小时"), Contacts: sampleContacts(s).rows()[1:2],
		Acts: []string{"answer", "note", "return", "extend", "route", "close", "accept"}, Grids: []Choice{{"MY03", s.say("梅苑 03"), "梅苑社区"}}, Depts: []Choice{{Code: "cg", Name: s.say("街道城管科")}}}
	c.ID = id
	if id == "secret" {
		c.Secret = true
	}
	c.Life = []Moment{
		{At: s.at("13:26:10"), Side: "us", What: "case_opened", Args: []string{s.say("许航"), "W-2026-04817"}},
		{At: s.at("13:26:11"), Side: "system", What: "case_dispatched", Args: []string{s.say("梅苑 03 陆建平")}},
		{At: s.at("13:40:00"), Side: "us", What: "case_accepted", Args: []string{"陆建平"}},
	}
	if s.hurt != "" {
		c.Answer, c.Result, c.Known = pii.NewText(s.hurt), s.hurt, s.hurt
	}
	return c, nil
}

func (s sampleCases) Propose(ctx context.Context, v Viewer, id intake.ContactID, n NewCase) (Proposal, error) {
	if err := s.ready(ctx); err != nil {
		return Proposal{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Proposal{Why: s.say("还不知道地点")}
	if s.dept {
		p.Department, p.DeptCode = s.say("街道物管科"), "wg"
	}
	if s.like && !n.Words.IsZero() {
		rows := s.rows()
		p.Similar = []SameMatter{{rows[1], s.say("同一网格")}, {rows[3], s.say("相距 80 米")}}
	}
	if n.Address.IsZero() {
		return p, nil
	}
	q := Proposal{Grid: s.plate("梅苑", "03", "陆建平"), Why: s.say("按地址"), Confidence: 92, Others: []Plate{s.plate("梅苑", "05", "")}, Department: s.say("街道物管科"), Deadline: s.now.Add(22 * time.Hour), Rule: s.say("公共照明 24 小时"), DeptCode: p.DeptCode, Similar: p.Similar}
	q.Department = p.Department
	return q, nil
}

func (s sampleCases) Form(ctx context.Context) (CaseForm, error) {
	return CaseForm{Categories: []Choice{{"light", s.say("公共照明"), "公用设施"}, {"water", "供水", "公用设施"}}, Grids: []Choice{{"MY03", "梅苑 03", "梅苑社区"}, {"MY05", "梅苑 05", "梅苑社区"}}, Depts: []Choice{{Code: "wg", Name: "街道物管科"}}}, s.ready(ctx)
}

type sampleCaseDeeds struct{ *sample }

func (s sampleCaseDeeds) Open(_ context.Context, v Viewer, id intake.ContactID, n NewCase) (intake.CaseID, error) {
	return "01928f3a-0000-7000-8000-0000000000c1", s.deed(v, "open case on %s: %s at %s, %s %s %s %s", id, n.Words.Reveal(), n.Address.Reveal(), n.Category, n.Grid, n.Dept, n.Next)
}

func (s sampleCaseDeeds) Do(_ context.Context, v Viewer, id intake.CaseID, a CaseAct) error {
	return s.deed(v, "%s %s %s%s %s %s%s %s", a.Act, id, a.Text.Reveal(), a.Why, a.Grid, a.Dept, a.Result, a.Known)
}

func (s sampleCaseDeeds) Attach(_ context.Context, v Viewer, id intake.ContactID, to intake.CaseID, words pii.Text) error {
	return s.deed(v, "attach %s to %s: %s", id, to, words.Reveal())
}

type sampleCallbacks struct{ *sample }

func (s sampleCallbacks) Call(_ context.Context, v Viewer, id intake.CallbackID) error {
	return s.deed(v, "call %s", id)
}
func (s sampleCallbacks) Take(_ context.Context, v Viewer, id intake.CallbackID) error {
	return s.deed(v, "take %s", id)
}
func (s sampleCallbacks) Release(_ context.Context, v Viewer, id intake.CallbackID) error {
	return s.deed(v, "release %s", id)
}
func (s sampleCallbacks) Assign(_ context.Context, v Viewer, id intake.CallbackID, to intake.UserID) error {
	return s.deed(v, "assign %s %s", id, to)
}
func (s sampleCallbacks) Close(_ context.Context, v Viewer, id intake.CallbackID, reason, words string) error {
	return s.deed(v, "close %s %s %s", id, reason, words)
}
func (s sampleCallbacks) Visit(_ context.Context, v Viewer, id intake.CallbackID, words string) error {
	return s.deed(v, "visit %s %s", id, words)
}

type sampleLines struct{ *sample }

func (s sampleLines) rows() []LineRow {
	return []LineRow{
		{Line: intake.Line{ID: "12345", Name: s.say("便民热线"), Number: s.say("0512-5550-0100"), Switchboard: "main", Owner: s.say("街道办事处")}, Numbers: []string{"*"}, Hours: "24h", OpenNow: true, Today: 287, TodayLost: 21, Notice: true, Tested: s.at("14:31:00"), TestOK: true},
		{Line: intake.Line{ID: "pm", Name: s.say("物业投诉"), Number: "0512-5550-0131", Switchboard: "main", Owner: s.say("物管科")}, Numbers: []string{"05125550131"}, Hours: "Mo-Fr 08:30-12:00,13:30-17:30; Sa 09:00-12:00", OpensAt: s.now.Add(18 * time.Hour), Today: 12, MaxWait: 5 * time.Minute},
	}
}

func (s sampleLines) List(ctx context.Context) ([]LineRow, error) {
	if s.empty {
		return nil, s.ready(ctx)
	}
	return s.rows(), s.ready(ctx)
}

func (s sampleLines) One(ctx context.Context, id intake.LineID) (LineRow, error) {
	for _, l := range s.rows() {
		if l.ID == id {
			return l, s.ready(ctx)
		}
	}
	return LineRow{}, ErrNotFound
}

func (s sampleLines) Save(_ context.Context, v Viewer, l LineRow, isNew bool) error {
	if l.Hours == "wrong" {
		return FieldError{"hours", "看不懂这个时段" + s.hurt}
	}
	return s.deed(v, "save line %s %s %v %s %s", l.ID, l.Name, l.Numbers, l.Hours, l.MaxWait)
}

func (s *sample) Signed(_ context.Context, v Viewer, in bool) error {
	return s.deed(v, "signed %v", in)
}

func (s *sample) Mine(ctx context.Context, v Viewer) (MyDesk, error) {
	if err := s.ready(ctx); err != nil {
		return MyDesk{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := MyDesk{AsOf: s.now, State: s.state, Since: s.now.Add(-128 * time.Second), Phone: true, SIPUser: "xuhang", Answered: 31, Waiting: 3, Longest: 42 * time.Second,
		Seats: []Seats{{"talking", 5}, {"ringing", 1}, {"wrap_up", 2}, {"break", 1}}}
	if s.empty {
		d.State, d.Phone, d.Since = "idle", false, s.now.Add(-5*time.Second)
		return d, nil
	}
	all := s.owed()
	d.Due, d.Cases = all[3:5], sampleCases{s}.rows()[2:3]
	if s.state != "idle" && s.state != "break" {
		w := all[1]
		d.Now = &DeskContact{Contact: "01928f3a-7c11-7000-8000-000000000002", Person: s.person("王阿姨", "13800005678", "老年", "听力弱，说慢一点"), Line: s.say("便民热线"), Home: s.plate("梅苑", "03", "陆建平"),
			Arrived: s.now.Add(-142 * time.Second), Waited: 14 * time.Second, Theirs: w.Theirs, Ours: w.Ours, First: w.First, Cases: sampleCases{s}.rows()[1:2], Silent: s.state == "talking" && s.stale > 0}
		s.around(d.Now)
	}
	if s.state == "break" {
		d.Reason = "meal"
	}
	return d, nil
}

func (s *sample) Break(_ context.Context, v Viewer, reason string) error {
	return s.deed(v, "break %s", reason)
}
func (s *sample) Ready(_ context.Context, v Viewer) error { return s.deed(v, "ready") }

type sampleLedger struct{ *sample }

func (s sampleLedger) entry() Entry {
	ended, answered, o, call, op := Stamp(s.at("13:25:34")), Stamp(s.at("13:20:58")), intake.Answered, "7f0c2a@gw1", intake.UserID("u-xu")
	return Entry{ID: "01928f3a-7c11-7000-8000-000000000002", Channel: intake.Phone, Line: "12345", ArrivedAt: Stamp(s.at("13:20:44")), EndedAt: &ended, Outcome: &o, SIPCallID: &call, AnsweredAt: &answered, Operator: &op}
}

func (s sampleLedger) List(ctx context.Context, f LedgerFilter) ([]Entry, string, error) {
	s.mu.Lock()
	s.asked = append(s.asked, f)
	s.mu.Unlock()
	if f.After == "bad" {
		return nil, "", ErrCursor
	}
	if s.empty {
		return nil, "", s.ready(ctx)
	}
	return []Entry{s.entry(), {ID: "open", Channel: intake.Chat, Line: "pm", ArrivedAt: Stamp(s.now)}}, "cursor", s.ready(ctx)
}

func (s sampleLedger) One(ctx context.Context, id intake.ContactID) (Entry, error) {
	if id == "none" {
		return Entry{}, ErrNotFound
	}
	return s.entry(), s.ready(ctx)
}

func (s sampleLedger) Books(ctx context.Context, f LedgerFilter) (Books, error) {
	line := f.Line
	return Books{From: Stamp(s.midnight()), To: Stamp(s.now), Line: &line, AsOf: Stamp(s.now), Offered: 287, Open: 8, Outcomes: map[intake.Outcome]int64{intake.Answered: 258, intake.AbandonedQueue: 21}, Balanced: true,
		Rates: []Rate{{"caller_reached", "首次来电 5 分钟内接通", 216, 231}}}, s.ready(ctx)
}

// house is the sample office with its server, its accounts and browsers.
type house struct {
	*testing.T
	*sample
	srv  *Server
	http *httptest.Server
	book *users.Book
	who  map[users.Role]users.User
	logs *bytes.Buffer
}

const secret = "a long way home"

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, sample: newSample(), who: map[users.Role]users.User{}, logs: &bytes.Buffer{}}
	db, err := store.Open(t.Context(), storetest.Address(t, filepath.Join(t.TempDir(), "y.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	clock := func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now }
	h.book = users.New(db, users.Config{Params: users.Params{Memory: 64, Time: 1, Lanes: 1}, Now: clock})
	var mu sync.Mutex
	h.srv = New(Config{Office: "梅溪街道便民热线", Zone: shanghai, Users: h.book, Now: clock, Log: slog.New(slog.NewJSONHandler(locked{&mu, h.logs}, nil))}, h.office())
	h.http = httptest.NewServer(h.srv)
	t.Cleanup(func() { h.srv.Close(); h.http.Close() })
	names := map[users.Role]string{users.Operator: "许航", users.Supervisor: "周敏", users.GridWorker: "陆建平", users.Auditor: "顾审", users.Administrator: "管理员"}
	for _, r := range users.Roles() {
		u, one, err := h.book.Create(t.Context(), users.Fresh{Login: string(r), Name: names[r], Role: r})
		if err == nil {
			err = h.book.ChangePassword(t.Context(), u.ID, one, secret, "", "")
		}
		if err != nil {
			t.Fatal(err)
		}
		h.who[r] = u
	}
	return h
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.w.Write(b) }

// browser is somebody at a machine.
type browser struct {
	*house
	c    *http.Client
	csrf string
}

func (h *house) stranger() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.Fatal(err)
	}
	return &browser{house: h, c: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as signs somebody of that role in, over HTTP.
func (h *house) as(r users.Role) *browser {
	h.Helper()
	b := h.stranger()
	b.in(string(r), secret, "")
	page := b.get("/password").body
	_, rest, ok := strings.Cut(page, `name="csrf" content="`)
	if !ok {
		h.Fatalf("%s is not signed in: %s", r, page)
	}
	b.csrf, _, _ = strings.Cut(rest, `"`)
	return b
}

func (b *browser) in(login, password, wall string) answer {
	b.Helper()
	_, rest, _ := strings.Cut(b.get("/sign-in").body, `name="csrf" value="`)
	token, _, _ := strings.Cut(rest, `"`)
	return b.post("/sign-in", url.Values{"login": {login}, "password": {password}, "csrf": {token}, "wall": {wall}})
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path string, body io.Reader, header ...string) answer {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, b.http.URL+path, body)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		b.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(raw)}
}

func (b *browser) get(path string, header ...string) answer {
	b.Helper()
	return b.do("GET", path, nil, header...)
}

// post sends a form as our own pages do.
func (b *browser) post(path string, f url.Values, header ...string) answer {
	b.Helper()
	if f == nil {
		f = url.Values{}
	}
	if b.csrf != "" && !f.Has("csrf") {
		f.Set("csrf", b.csrf)
	}
	return b.do("POST", path, strings.NewReader(f.Encode()), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}
