package app

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/users"
	"yingda/web"
)

// person is somebody with an account, at a browser.
type person struct {
	t    *testing.T
	a    *App
	id   intake.UserID
	c    *http.Client
	csrf string
}

func signIn(t *testing.T, a *App, login string, role users.Role) *person {
	t.Helper()
	const chosen = "a-long-test-password"
	u, once, err := a.users.Create(t.Context(), users.Fresh{Login: login, Name: login, Role: role})
	if err == nil {
		err = a.users.ChangePassword(t.Context(), u.ID, once, chosen, "", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, a: a, id: u.ID, c: &http.Client{Jar: jar}}
	p.csrf = between(p.get("/sign-in"), `name="csrf" value="`, `"`)
	p.post("/sign-in", url.Values{"login": {login}, "password": {chosen}})
	p.csrf = between(p.get("/password"), `name="csrf" content="`, `"`)
	return p
}

func between(s, from, to string) string {
	_, rest, _ := strings.Cut(s, from)
	part, _, _ := strings.Cut(rest, to)
	return part
}

func (p *person) do(req *http.Request, err error) string {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := p.c.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 400 {
		p.t.Fatalf("%s %s: %d, %v\n%s", req.Method, req.URL, res.StatusCode, err, body)
	}
	return string(body)
}

func (p *person) get(path string) string {
	p.t.Helper()
	return p.do(http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.a.URL()+path, nil))
}

func (p *person) post(path string, f url.Values) string {
	p.t.Helper()
	f.Set("csrf", p.csrf)
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.a.URL()+path, strings.NewReader(f.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return p.do(req, err)
}

func (p *person) csv(list, query string) [][]string {
	p.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(p.post("/export/"+list+"?"+query, url.Values{"format": {"csv"}}), "\ufeff"))).ReadAll()
	if err != nil {
		p.t.Fatal(err)
	}
	return rows
}

// happens appends a contact that ends so; "" leaves it open.
func happens(t *testing.T, a *App, at time.Time, channel intake.Channel, outcome intake.Outcome, op intake.UserID) intake.ContactID {
	t.Helper()
	id := intake.ContactID(newID())
	seq := intake.NewSequence(a.Epoch, 1)
	var list []intake.Event
	say := func(after time.Duration, d intake.Data, who intake.Personal) {
		list = append(list, intake.Event{Source: a.Source, Subject: id.Subject(), Sequence: seq, Time: intake.Millis(at.Add(after)), PartitionKey: string(id), Data: d, Personal: who})
		seq = seq.Next(a.Epoch)
	}
	say(0, &intake.OfferedV1{Channel: channel, Line: "main", Switchboard: "main", Caller: intake.Token("t-" + string(id)), Dedupe: string(id)}, intake.Personal{Number: pii.NewPhone("13800005678")})
	if op != "" {
		say(time.Second, &intake.RangV1{Operator: op, Offer: intake.OfferID("o-" + string(id))}, intake.Personal{})
		if outcome.Reached() {
			say(2*time.Second, &intake.AnsweredV1{Operator: op, Offer: intake.OfferID("o-" + string(id))}, intake.Personal{})
		} else {
			say(2*time.Second, &intake.UnrangV1{Operator: op, Offer: intake.OfferID("o-" + string(id)), Why: "no_answer"}, intake.Personal{})
		}
	}
	if outcome != "" {
		say(9*time.Second, &intake.EndedV1{Outcome: outcome, WaitedMS: 2000, TalkedMS: 7000}, intake.Personal{})
	}
	if err := a.Log.Append(t.Context(), list...); err != nil {
		t.Fatal(err)
	}
	return id
}

// History, team, audit log and exports over real books: the same numbers everywhere, each with its list, and every look in the audit log.
func TestSupervisorsPages(t *testing.T) {
	a := serve(t, quiet(t), io.Discard)
	p := signIn(t, a, "zhou", users.Supervisor)
	day, _ := a.books.Today(a.now())
	at := func(days, hour, minute int) time.Time {
		return day.AddDate(0, 0, -days).Add(time.Duration(hour*60+minute) * time.Minute)
	}
	first := happens(t, a, at(1, 9, 20), intake.Phone, intake.AbandonedRinging, p.id)
	happens(t, a, at(1, 9, 25), intake.Phone, intake.Answered, p.id)
	happens(t, a, at(2, 9, 16), intake.Phone, intake.TimeoutNoOperator, "")
	happens(t, a, at(2, 15, 0), intake.Chat, intake.Replied, p.id)
	happens(t, a, at(4, 15, 0), intake.Chat, intake.Unattended, "")
	v := &view{App: a, names: staffNames{users: a.users, now: a.now}}
	ctx := t.Context()
	until(t, "the books have read it", func() bool {
		r, err := a.books.Rates(ctx, at(9, 0, 0), day, "", "")
		return err == nil && r.Offered == 5 && r.Open == 0
	})
	past, err := historyView{v}.Of(ctx, web.HistoryFilter{From: at(3, 0, 0), To: day, By: "day"})
	if err != nil {
		t.Fatal(err)
	}
	if past.Sum != (web.Sums{Offered: 4, Answered: 2, Lost: 2}) || past.Before != (web.Sums{Offered: 1, Lost: 1}) || len(past.Rows) != 3 {
		t.Errorf("%+v before %+v, %d rows", past.Sum, past.Before, len(past.Rows))
	}
	if r := past.Rows[2]; r.Quarters[37] != (web.HeatQuarter{Lost: 1, Offered: 2}) || r.Lost != 1 {
		t.Errorf("yesterday from 9:15: %+v of %+v", r.Quarters[37], r)
	}
	if len(past.Split) != 2 || past.Split[0].Channel != intake.Phone || past.Split[0].Now.Offered != 3 || past.Split[1].Was.Lost != 1 {
		t.Errorf("%+v", past.Split)
	}
	week, err := historyView{v}.Of(ctx, web.HistoryFilter{From: at(13, 0, 0), To: day, By: "week"})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range week.Rows {
		if i > 0 && r.From.In(a.books.Office()).Weekday() != time.Monday || i > 0 && !r.From.Equal(week.Rows[i-1].To) {
			t.Errorf("week %d is from %s to %s", i, r.From, r.To)
		}
	}
	list, err := contactsView{v}.List(ctx, web.ContactFilter{From: at(3, 0, 0), To: day, State: "lost", Clock: [2]int{555, 570}})
	if err != nil || len(list.Rows) != 2 || list.Rows[0].ID != first {
		t.Errorf("lost from 9:15 to 9:30: %+v, %v", list.Rows, err)
	}
	if list, err = (contactsView{v}).List(ctx, web.ContactFilter{Missed: p.id}); err != nil || len(list.Rows) != 1 || list.Rows[0].ID != first {
		t.Errorf("missed: %+v, %v", list.Rows, err)
	}
	team, err := teamView{v}.Over(ctx, at(3, 0, 0), day)
	if err != nil || len(team.Rows) != 1 {
		t.Fatal(team.Rows, err)
	}
	if r := team.Rows[0]; r.Answered != 2 || r.Calls != 1 || r.Chats != 1 || r.Rings != 3 || r.Missed != 1 || r.MissedWhy["no_answer"] != 1 || r.Talked != 14*time.Second || r.Name != "zhou" {
		t.Errorf("%+v", r)
	}
	now, err := teamView{v}.Now(ctx)
	if err != nil || !now.Known {
		t.Errorf("%+v, %v", now, err)
	}
	for _, page := range []string{"/history", "/history/table?by=week&from=2026-01-01", "/team", "/team/figures", "/audit", "/contacts?missed=" + string(p.id)} {
		p.get(page)
	}
	if rows := p.csv("contacts", "from="+at(9, 0, 0).Format(time.RFC3339)); len(rows) != 6 || strings.Contains(fmt.Sprint(rows), "13800005678") || !strings.Contains(fmt.Sprint(rows), "138****5678") {
		t.Errorf("%q", rows)
	}
	for _, list := range []string{"unreturned", "cleared", "cases", "team", "history", "search", "audit"} {
		p.csv(list, "")
	}
	p.post("/contacts/"+string(first)+"/reveal", url.Values{"reason": {"check"}})
	if _, err := a.ResetUser(ctx, "zhou"); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	until(t, "the audit log has it all", func() bool {
		page, err := trailView{v}.List(ctx, web.TrailFilter{Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		kinds = nil
		for _, r := range page.Rows {
			kinds = append(kinds, r.Kind+" "+r.What)
		}
		return slices.Contains(kinds, "account reset") && slices.Contains(kinds, "revealed number")
	})
	for _, want := range []string{"exported contacts", "exported unreturned", "exported cleared", "exported cases", "exported team", "exported history", "exported search", "exported audit", "signed in"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("the audit log lacks %q: %q", want, kinds)
		}
	}
}

// What happened is on the wall within 300 ms, from the append to the part that a browser gets.
func TestWallChangesSoon(t *testing.T) {
	a := serve(t, quiet(t), io.Discard)
	p := signIn(t, a, "zhou", users.Supervisor)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL()+"/live/wall", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	parts := make(chan string, 100)
	go func() {
		defer close(parts)
		var part strings.Builder
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			switch line := lines.Text(); {
			case line == "":
				select {
				case parts <- part.String():
				case <-ctx.Done():
					return
				}
				part.Reset()
			default:
				part.WriteString(line + "\n")
			}
		}
	}()
	shows := func(n int) {
		t.Helper()
		want := fmt.Sprintf(`">%d</a>`, n) // offered today
		limit := time.After(20 * time.Second)
		for {
			select {
			case part, ok := <-parts:
				if !ok {
					t.Fatal("the stream ended")
				}
				if strings.Contains(between(part, `class="sum"`, "＝"), want) {
					return
				}
			case <-limit:
				t.Fatalf("the wall never showed %d", n)
			}
		}
	}
	happens(t, a, a.now(), intake.Phone, "", "")
	shows(1)
	var took []time.Duration
	for n := 2; n < 22; n++ {
		began := time.Now()
		happens(t, a, a.now(), intake.Phone, "", "")
		shows(n)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("from the event to the wall: median %v, longest %v of %d", took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), len(took))
	if m := took[len(took)/2]; m > 300*time.Millisecond {
		t.Errorf("half of all changes took longer than %v to the wall", m)
	}
}
