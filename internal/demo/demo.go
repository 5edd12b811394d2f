// Package demo shows yingda to a newcomer: an invented street with ten communities, thirty days of history, and robots that
// phone over real SIP on loopback.
//
// Run prepares a data folder once (accounts, grids, residents' cards, history), starts the program and lets the robots phone
// until the context ends. The robots are plain SIP phones (package phonetest): operators' desk phones that register and
// answer, callers of several tempers, and the residents' own phones that are rung when somebody calls back. They know
// nothing of the server's insides.
//
// Others chat and hand matters in, and answer the chats, as browsers and apps do.
//
// Goroutines: "desk" one an operator, "town" one for residents' phones, "callers" one, and one a call; all end with the context.
//
// What it does not do: nothing here is used by a real office; every person and number is invented.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/app"
	"yingda/internal/pii"
	"yingda/internal/residents"
	"yingda/internal/users"
	"yingda/routing"
	"yingda/routing/casebook"
	"yingda/routing/grid/griddemo"
)

// Password of the demo's accounts. It is printed, and the pages are on loopback.
const Password = "yingda-demo-1"

// people of the demo's office.
var staff = []struct {
	login, name string
	role        users.Role
}{
	{"zhoumin", "周敏", users.Supervisor},
	{"linyue", "林悦", users.Operator},
	{"xuhang", "许航", users.Operator},
	{"gujing", "顾静", users.Operator},
	{"shenyi", "沈怡", users.Operator},
	{"lujianping", "陆建平", users.GridWorker},
	{"shenji", "审计", users.Auditor},
}

const residentsKnown = 160

// Run prepares what is not there yet, starts the program and its robots, and returns when ctx ends.
func Run(ctx context.Context, c app.Config, log *slog.Logger, out io.Writer) error {
	c.Office.Name = "梅溪街道便民热线"
	folk, err := newTown(c.SIP.UDP)
	if err != nil {
		return err
	}
	defer folk.close()
	c.Trunks = []app.Trunk{{Name: "town", Allow: []string{"127.0.0.0/8"}, Out: folk.addr()}}
	c.Lines = []app.LineConfig{{ID: "main", Name: "便民热线", Numbers: []string{"*", "12345"}, Number: "0512-5550-0100", Owner: "梅溪街道", Hours: "24h"},
		{ID: "property", Name: "物业投诉", Numbers: []string{"055500200", "51255500200"}, Number: "0512-5550-0200", Owner: "梅溪街道城管办", Hours: "24h"}}
	if c.Queue.WrapUp > 6*time.Second {
		c.Queue.WrapUp = 6 * time.Second // robots write quickly
	}
	cast, err := prepare(ctx, c, historyDays, log, out)
	if err != nil {
		return err
	}
	a, err := app.Start(ctx, c, app.Options{Logger: log})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n  应答 yingda: %s\n\n", a.URL())
	fmt.Fprintf(out, "  班长   zhoumin      密码 %s   现在 · 没联系上 · 搜索\n", Password)
	fmt.Fprintf(out, "  坐席   linyue       密码 %s   自己的话机由机器人接\n", Password)
	fmt.Fprintf(out, "  网格员 lujianping   密码 %s\n", Password)
	fmt.Fprintf(out, "  审计   shenji       密码 %s\n", Password)
	fmt.Fprintf(out, "  管理员 admin        密码 %s\n\n  Robots phone now; Ctrl-C ends it.\n\n", Password)
	robots := newRobots(a, cast, log)
	run, stop := context.WithCancel(ctx)
	robots.start(run)
	var fault error
	select {
	case <-ctx.Done():
	case fault = <-a.Failed():
	}
	stop()
	robots.wait()
	end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(fault, a.Stop(end))
}

// cast is who plays: callers, the desk phones of operators, and an app.
type cast struct {
	callers  []Caller
	desks    []desk
	places   []string // addresses that the gazetteer knows
	appToken string
}

type desk struct{ login, user, secret string }

// Prepare fills an empty data folder with the demo's office and as many days of its history, for whoever wants to measure or test on them.
func Prepare(ctx context.Context, c app.Config, days int, log *slog.Logger, out io.Writer) error {
	_, err := prepare(ctx, c, days, log, out)
	return err
}

// prepare fills an empty folder; in one that was prepared it makes the desk phones new secrets only.
func prepare(ctx context.Context, c app.Config, days int, log *slog.Logger, out io.Writer) (cast, error) {
	c.Stream.Limit = max(c.Stream.Limit, time.Minute) // nobody waits for it
	s, err := app.OpenStore(ctx, c, app.StoreOptions{Logger: log})
	if err != nil {
		return cast{}, err
	}
	k, err := fill(ctx, s, days, out)
	return k, errors.Join(err, s.Close())
}

func fill(ctx context.Context, s *app.Store, days int, out io.Writer) (cast, error) {
	rng := rand.New(rand.NewPCG(2026, 11))
	k := cast{callers: callers(rng, 700)}
	have, err := s.Users().List(ctx)
	if err != nil {
		return k, err
	}
	if k.appToken, _, err = s.MakeAppToken(ctx, "随手拍", 30*24*time.Hour, app.AppKey{}); err != nil {
		return k, err
	}
	for _, g := range griddemo.Grids() {
		k.places = append(k.places, fmt.Sprintf("%s %d 幢", g.Estate, g.From))
	}
	fresh := len(have) == 0
	if fresh {
		fmt.Fprintln(out, "First time: inventing a street and", days, "days of calls …")
		if err := fillOffice(ctx, s, rng, k.callers); err != nil {
			return k, err
		}
	}
	var ids []intake.UserID
	for _, p := range staff {
		if p.role != users.Operator {
			continue
		}
		u, err := s.Users().ByLogin(ctx, p.login)
		if err != nil {
			return k, err
		}
		both, err := s.NewPhone(ctx, p.login)
		if err != nil {
			return k, err
		}
		user, secret, _ := strings.Cut(both, " ")
		k.desks = append(k.desks, desk{p.login, user, secret})
		ids = append(ids, u.ID)
	}
	if fresh {
		if err := fillHistory(ctx, s, rng, days, k.callers, ids); err != nil {
			return k, err
		}
	}
	return k, nil
}

// fillOffice makes accounts, grids and residents' cards.
func fillOffice(ctx context.Context, s *app.Store, rng *rand.Rand, people []Caller) error {
	first, err := s.Users().First(ctx)
	if err != nil {
		return err
	}
	if err := choose(ctx, s, "admin", first); err != nil {
		return err
	}
	registry := griddemo.Registry("2026-11", time.Now().AddDate(0, -1, 0))
	grids := registry.Grids()
	for _, p := range staff {
		f := users.Fresh{Login: p.login, Name: p.name, Role: p.role}
		if p.role == users.GridWorker {
			for _, g := range grids[:12] {
				f.Grids = append(f.Grids, g.ID())
			}
		}
		_, password, err := s.Users().Create(ctx, f)
		if err != nil {
			return err
		}
		if err := choose(ctx, s, p.login, password); err != nil {
			return err
		}
	}
	if err := s.Cases().SaveRegistry(ctx, registry, 0, ""); err != nil {
		return err
	}
	titles := []string{"阿姨", "伯伯", "奶奶", "师傅", "老师"}
	for i, p := range people[:residentsKnown] {
		g := grids[rng.IntN(len(grids))]
		card := residents.Card{Name: p.Name, Also: []pii.Name{pii.NewName(string([]rune(p.Name.Reveal())[:1]) + titles[rng.IntN(len(titles))])},
			Numbers: []residents.Number{{Number: p.Number}}, Grid: g.ID(), Older: p.Older,
			Address: pii.NewAddress(fmt.Sprintf("%s %d 幢 %d 室", strings.Fields(g.Name)[0], 1+rng.IntN(30), 101+100*rng.IntN(6)))}
		if i%9 == 0 {
			card.Notes = []string{"听力弱"}
		}
		if _, err := s.Residents().Save(ctx, card); err != nil {
			return err
		}
	}
	return nil
}

// choose gives an account the demo's password instead of its one-time one.
func choose(ctx context.Context, s *app.Store, login, oneTime string) error {
	u, err := s.Users().ByLogin(ctx, login)
	if err != nil {
		return err
	}
	return s.Users().ChangePassword(ctx, u.ID, oneTime, Password, "demo", "")
}

// fillHistory puts some days of calls into the stream, and cases on some of them.
func fillHistory(ctx context.Context, s *app.Store, rng *rand.Rand, days int, people []Caller, ids []intake.UserID) error {
	zone, err := time.LoadLocation(s.Config.Office.TimeZone)
	if err != nil {
		return err
	}
	h := &history{rng: rng, zone: zone, now: time.Now().In(zone), line: "main", board: intake.SwitchboardID(s.Config.Office.Switchboard), source: "demo-history",
		token: s.Token, people: people, staff: ids}
	events := h.run(days)
	for len(events) > 0 {
		n := min(2000, len(events))
		if err := s.Log.Append(ctx, events[:n]...); err != nil {
			return err
		}
		events = events[n:]
	}
	return fillCases(ctx, s, rng, h)
}

// matters that residents call about, as an operator writes them down.
var matters = []struct{ category, words string }{
	{"", "楼道灯坏了一个礼拜，晚上上楼看不见"}, {"", "三号楼下水道堵了，污水往外冒"}, {"", "小区门口井盖松动，电瓶车过去要摔跤"}, {"", "楼上半夜装修，老人睡不着"},
	{"", "垃圾桶三天没人收，味道很大"}, {"", "问高龄津贴怎么办，腿脚不便能不能上门"}, {"", "电梯总是停在五楼，关过人"}, {"", "自来水发黄，已经两天"}, {"", "路边大树枝快要断了"},
	{"", "养老金认证手机上不会弄"}, {"", "流浪狗在幼儿园门口转"}, {"", "楼下烧烤店油烟熏得开不了窗"}, {"", "公交站牌被撞歪了"}, {"", "物业停车乱收费"}, {"", "煤气味道重，怕漏气"}, {"", "健身器材断了，小孩在上面玩"},
}

func fillCases(ctx context.Context, s *app.Store, rng *rand.Rand, h *history) error {
	cards := map[intake.Token]residents.Card{}
	for _, p := range h.people[:residentsKnown] {
		t := s.Token(p.Number)
		if list, err := s.Residents().ByToken(ctx, t); err == nil && len(list) == 1 {
			cards[t] = list[0]
		}
	}
	var known []answeredCall // by somebody whose home we know: the grid is found by it
	for _, c := range h.answered {
		if _, ok := cards[c.caller]; ok {
			known = append(known, c)
		}
	}
	for i := range min(90, len(known)) {
		c := known[rng.IntN(len(known))]
		if i%8 == 0 { // and a few of strangers
			c = h.answered[rng.IntN(len(h.answered))]
		}
		m := matters[rng.IntN(len(matters))]
		card := cards[c.caller]
		next := routing.NextDispatch
		if rng.IntN(3) == 0 {
			next = routing.NextClose
		}
		_, err := s.Cases().Open(ctx, casebook.OpenCase{Key: "demo/" + string(c.id), Source: intake.FromOperator, Contacts: []intake.ContactID{c.id}, Caller: c.caller, Partition: string(c.caller),
			Channel: intake.Phone, Line: h.line, Category: m.category, Words: pii.NewText(m.words), Address: card.Address, Home: card.Grid, Older: card.Older, By: c.operator, Next: next})
		if err != nil {
			return err
		}
	}
	return nil
}
