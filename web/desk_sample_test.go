package web

import (
	"context"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// around is what the desk knows of who is on the phone.
func (s *sample) around(d *DeskContact) {
	daughter := Person{Called: s.say("周女士"), Number: pii.NewPhone("13800005678")}
	d.Who = []WhoMayBe{{ID: "card-1", Person: d.Person, Home: d.Home}, {ID: "card-2", Person: daughter, Relation: s.say("女儿")}}
	d.Earlier = []ContactRow{{ID: "01928f3a-7c11-7000-8000-000000000009", Channel: intake.Phone, Arrived: s.now.AddDate(0, 0, -21), Outcome: intake.Answered}}
	d.Address, d.Alone = pii.NewAddress(s.say("梅苑小区 3 号楼 2 单元 301")), d.Silent
}

type sampleChats struct{ *sample }

const aChat = "01928f3a-7c11-7000-8000-0000000000a1"

func (s sampleChats) rows() []ChatRow {
	last := pii.NewText(s.say("请问居住证在哪办"))
	if n := len(s.talk); n > 0 {
		last = s.talk[n-1].Text
	}
	return []ChatRow{
		{Contact: "01928f3a-7c11-7000-8000-0000000000a2", State: "offered", Waits: s.now.Add(-12 * time.Second), Unread: 1, Last: pii.NewText(s.say("你好，有人吗"))},
		{Contact: aChat, Person: Person{Called: s.say("郑师傅")}, State: "open", Waits: s.now.Add(-34 * time.Second), Unread: 2, Last: last, Typing: true},
	}
}

func (s sampleChats) Mine(ctx context.Context, _ Viewer) ([]ChatRow, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty {
		return nil, nil
	}
	return s.rows(), nil
}

func (s sampleChats) One(ctx context.Context, _ Viewer, id intake.ContactID) (ChatPage, error) {
	if err := s.ready(ctx); err != nil {
		return ChatPage{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows() {
		if r.Contact != id {
			continue
		}
		p := ChatPage{ChatRow: r, Home: s.plate("梅苑", "05", "陆建平"), SeenUpTo: 3, To: []Staff{{"u-lin", s.say("林悦")}}, Number: true}
		p.Messages = append([]ChatMessage{
			{Seq: 1, At: s.now.Add(-3 * time.Minute), Side: "resident", Text: pii.NewText(s.say("你好\n请问居住证在哪办"))},
			{Seq: 2, At: s.now.Add(-2 * time.Minute), Side: "system", Text: pii.NewText("joined")},
			{Seq: 3, At: s.now.Add(-100 * time.Second), Side: "us", By: Staff{"u-xu", s.say("许航")}, Text: pii.NewText(s.say("您好，您住在哪个小区？"))},
			{Seq: 4, At: s.now.Add(-40 * time.Second), Side: "resident", Text: pii.NewText(s.say("梅苑")), File: &ChatFile{Name: s.say("房产证.pdf"), URL: "/desk/chat/files/" + aChat + "/01928f3a-7c11-7000-8000-0000000000f1", Bytes: 12345}},
			{Seq: 5, At: s.now.Add(-34 * time.Second), Side: "resident", Text: pii.NewText(s.say("请问居住证在哪办"))},
		}, s.talk...)
		return p, nil
	}
	return ChatPage{}, ErrNotFound
}

func (s sampleChats) Accept(_ context.Context, v Viewer, id intake.ContactID) error {
	return s.deed(v, "chat accept %s", id)
}
func (s sampleChats) Decline(_ context.Context, v Viewer, id intake.ContactID) error {
	return s.deed(v, "chat decline %s", id)
}
func (s sampleChats) Say(_ context.Context, v Viewer, id intake.ContactID, ref string, text pii.Text, files []string) error {
	s.mu.Lock()
	again := s.refs[ref]
	s.mu.Unlock()
	if again {
		return nil
	}
	if err := s.deed(v, "chat say %s %s%s", id, text.Reveal(), strings.Repeat(" +file", len(files))); err != nil {
		return err
	}
	s.set(func() {
		s.refs[ref] = true
		s.talk = append(s.talk, ChatMessage{Seq: uint64(6 + len(s.talk)), At: s.now, Side: "us", By: Staff{v.ID, v.Name}, Text: text})
	})
	return nil
}
func (s sampleChats) Seen(_ context.Context, v Viewer, id intake.ContactID, seq uint64) error {
	return s.deed(v, "chat seen %s %d", id, seq)
}
func (s sampleChats) HandOver(_ context.Context, v Viewer, id intake.ContactID, to intake.UserID, why string) error {
	return s.deed(v, "chat hand %s to %q: %s", id, to, why)
}
func (s sampleChats) End(_ context.Context, v Viewer, id intake.ContactID) error {
	return s.deed(v, "chat end %s", id)
}

type sampleWorker struct{ *sample }

const aVisit, aCase = "01928f3a-0000-7000-8000-0000000000c0", "01928f3a-0000-7000-8000-0000000000c1"

func (s sampleWorker) cases() []WorkerCase {
	rows := sampleCases(s).rows()
	minutes := func(n int) time.Time { return s.now.Add(-time.Duration(n) * time.Minute) }
	lin := Staff{"u-lin", s.say("林悦")}
	visit := WorkerCase{CaseRow: rows[0], Person: Person{Called: s.say("赵伯"), Notes: []string{s.say("老年")}}, Address: pii.NewAddress(s.say("河边新村 7 号 102")), Visit: true, Alone: true, First: minutes(1100),
		Theirs: []time.Time{minutes(1100), minutes(1060)}, Ours: []Try{{minutes(480), lin, intake.TryNoAnswer, 0}, {minutes(330), lin, intake.TryNoAnswer, 0}, {minutes(200), lin, intake.TryNoAnswer, 0}},
		Shown: "0512-5550-0100", Phone: !s.noSIP, Acts: []string{"met", "family_ok", "not_found", "trouble", "return", "ask_call"}}
	light := WorkerCase{CaseRow: rows[1], Person: Person{Called: s.say("王阿姨")}, Words: pii.NewText(s.say("三号楼二单元楼道灯不亮一个多礼拜了")), Address: pii.NewAddress(s.say("梅苑小区 3 号楼 2 单元")),
		Phone: !s.noSIP, Shown: "0512-5550-0100", Acts: []string{"answer", "note", "return", "ask_call"}, Notes: []WorkerNote{{minutes(30), s.say("林悦"), pii.NewText(s.say("她下午在家"))}}}
	back := WorkerCase{CaseRow: rows[2], Words: pii.NewText(s.say("车棚充电桩没电")), Acts: []string{"note"}}
	return []WorkerCase{visit, light, back}
}

func (s sampleWorker) Today(ctx context.Context, v Viewer) (WorkerDay, error) {
	if err := s.ready(ctx); err != nil {
		return WorkerDay{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := WorkerDay{AsOf: s.now, Grids: []Plate{s.plate("梅苑", "03", v.Name)}, Households: 412, Phone: !s.noSIP}
	if s.empty {
		return d, nil
	}
	c := s.cases()
	d.Visits, d.Mine, d.Others = c[:1], c[1:2], c[2:]
	return d, nil
}

func (s sampleWorker) One(ctx context.Context, _ Viewer, id intake.CaseID) (WorkerCase, error) {
	if err := s.ready(ctx); err != nil {
		return WorkerCase{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.cases() {
		if c.ID == id {
			return c, nil
		}
	}
	return WorkerCase{}, ErrNotFound
}

func (s sampleWorker) Do(_ context.Context, v Viewer, a WorkerAct) (WorkerDone, error) {
	s.mu.Lock()
	again := s.acts[a.ID]
	s.mu.Unlock()
	if again {
		return WorkerDone{a.Case, true}, nil
	}
	err := s.deed(v, "worker %s %s %s%s", a.Kind, a.Case, a.Text.Reveal(), a.Address.Reveal())
	if err == nil {
		s.set(func() { s.acts[a.ID] = true })
	}
	return WorkerDone{a.Case, false}, err
}

func (s sampleWorker) Call(_ context.Context, v Viewer, id intake.CaseID) error {
	s.mu.Lock()
	no := s.noSIP
	s.mu.Unlock()
	if no {
		return ErrNoPhone
	}
	return s.deed(v, "worker call %s", id)
}
