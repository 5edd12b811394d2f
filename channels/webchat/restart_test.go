package webchat

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"yingda/channels/chat"
	"yingda/intake"
)

const childDir = "YINGDA_TEST_CHAT_DIR"

// TestChild is no test: it is the server that TestKilled kills.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	o := open(t, dir, chat.Settings{MaxMessages: 1e5}, Limits{Messages: 1e6, Frames: 1000, Outbox: 1e5})
	o.signIn("anna", 5)
	fmt.Printf("\nat %s\n", o.http.URL)
	select {}
}

// child starts a server of its own process over the folder.
func child(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if at, ok := strings.CutPrefix(lines.Text(), "at "); ok {
			return at, kill
		}
	}
	t.Fatal("the server has not started")
	return "", nil
}

// A server that is killed (kill -9) in mid-chat, four times, with messages of both sides on their way, loses none that was ticked, doubles none that is sent again,
// and interrupts nothing.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	url, kill := child(t, dir)
	connect := func(token string, mine *side, theirs *side) (b, desk *browser) {
		b = dial(t, url, "/chat/ws", nil)
		_ = b.send(In{T: UpHello, Token: token, After: mine.safe})
		desk = dial(t, url, "/desk/chat/ws", map[string][]string{"X-Operator": {"anna"}})
		_ = desk.send(In{T: UpHello, Have: map[string]int{theirs.contact: theirs.safe}})
		return b, desk
	}
	mine, theirs := newSide(false), newSide(true)
	b, desk := connect("", mine, theirs)
	_ = b.send(In{T: UpStart, Key: key(), Ref: "s"})
	token := b.next(t, DownStarted).Token
	mine.say(b, "first")
	offer := desk.next(t, DownOffer)
	mine.contact, theirs.contact = offer.Contact, offer.Contact
	_ = desk.send(In{T: UpAccept, Ref: "a", Contact: offer.Contact, Offer: offer.Offer})
	desk.next(t, DownDone)
	theirs.say(desk, "hello") // what makes it hers for ever: an offer that is only accepted is asked again after a crash
	for len(theirs.outbox) > 0 {
		theirs.hear(t, desk, 1)
	}
	for round := range 4 {
		stop := time.After(time.Duration(20+rand.IntN(120)) * time.Millisecond)
		killed := make(chan struct{})
		go func() { <-stop; kill(); close(killed) }()
		for i := 0; ; i++ {
			select {
			case <-killed:
			default:
				mine.say(b, fmt.Sprintf("r%d-%d", round, i))
				theirs.say(desk, fmt.Sprintf("a%d-%d", round, i))
				for len(b.in) > 0 {
					mine.take(<-b.in)
				}
				if i < 200 {
					continue
				}
				<-killed
			}
			break
		}
		mine.drain(b)
		theirs.drain(desk)
		url, kill = child(t, dir)
		b, desk = connect(token, mine, theirs)
		mine.again(b)
		theirs.again(desk)
	}
	total := len(mine.said) + len(theirs.said)
	defer func() {
		if t.Failed() {
			t.Logf("%d in all; resident: %d have, %d safe, %d without a tick, refused %v; desk: %d have, %d safe, %d without a tick, refused %v", total,
				len(mine.have), mine.safe, len(mine.outbox), mine.refused, len(theirs.have), theirs.safe, len(theirs.outbox), theirs.refused)
		}
	}()
	for len(mine.outbox) > 0 || len(mine.have) < total {
		mine.hear(t, b, 1)
	}
	for len(theirs.outbox) > 0 || len(theirs.have) < total {
		theirs.hear(t, desk, 1)
	}
	if len(mine.refused)+len(theirs.refused) > 0 {
		t.Errorf("refused: %v %v", mine.refused, theirs.refused)
	}
	t.Logf("%d messages over four kills", total)
	kill()
	o := open(t, dir, chat.Settings{}, Limits{})
	defer o.close()
	check(t, o, mine.contact, mine, theirs)
	types := typesOf(o.events(t), mine.contact)
	if slices.Contains(types, "ended") || types[0] != "offered" {
		t.Errorf("the conversation was interrupted: %v", types)
	}
	p, err := o.server.History(context.Background(), token, 0)
	if err != nil || p.State.Stage != "open" || len(p.Messages) != total {
		t.Errorf("%+v, %d of %d messages, %v", p.State, len(p.Messages), total, err)
	}
}

// The program ends and starts again in mid-chat: browsers are told to come back, who waited keeps waiting, who was with an operator still is, and a resident who does not
// come back has left silently.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	set := chat.Settings{LeaveAfter: 700 * time.Millisecond}
	o := open(t, dir, set, Limits{})
	o.signIn("anna", 1)
	desk := o.desk(t, "anna", nil)
	b, token := o.resident(t)
	contact := o.taken(t, desk, b)
	_ = desk.send(In{T: UpSay, Contact: contact, Key: "a1", Text: "您好"})
	b.until(t, "reply", func(o Out) bool { return o.T == DownMessage && o.N == 2 })
	waiting, second := o.resident(t) // anna takes one at a time
	_ = waiting.send(In{T: UpSay, Key: "w1", Text: "我也等"})
	waiting.next(t, DownTick)
	left, third := o.resident(t)
	_ = left.send(In{T: UpSay, Key: "l1", Text: "算了"})
	left.next(t, DownTick)
	ended := make(chan int, 1)
	go func() { ended <- int(b.ended(t)) }()
	o.close()
	if code := <-ended; code != 1012 {
		t.Errorf("told to come back with %d", code)
	}
	o = open(t, dir, set, Limits{})
	defer o.close()
	back := dial(t, o.http.URL, "/chat/ws", nil)
	_ = back.send(In{T: UpHello, Token: token, After: 1})
	w := back.next(t, DownWelcome)
	m := back.next(t, DownMessage)
	if m.N != 2 || m.Text != "您好" || w.State == nil || w.State.Stage != "open" || w.State.Operator != "坐席 a" {
		t.Errorf("%+v %+v", w.State, m.Message)
	}
	again := dial(t, o.http.URL, "/chat/ws", nil)
	_ = again.send(In{T: UpHello, Token: second, After: 1})
	if w := again.next(t, DownWelcome); w.State == nil || w.State.Stage != "waiting" {
		t.Errorf("%+v", w.State)
	}
	d := o.desk(t, "anna", map[string]int{contact: 1})
	d.until(t, "what she had", func(o Out) bool { return o.T == DownMessage && o.Contact == contact && o.N == 2 })
	o.signIn("anna", 2)
	offer := d.next(t, DownOffer) // the one who waited longest
	_ = d.send(In{T: UpAccept, Contact: offer.Contact, Offer: offer.Offer, Ref: "x"})
	again.until(t, "taken", func(o Out) bool { return o.T == DownState && o.State.Stage == "open" })
	wait(t, "the third has left silently", func() bool {
		p, err := o.server.page2(third)
		return err == nil && p.State.Outcome == string(intake.LeftSilently)
	})
	// A desk that is gone for long is told; this one is loaded again in time.
	d.drop()
	o.desk(t, "anna", nil)
	if v, _ := o.atDesk.Load(intake.UserID("anna")); v != true {
		t.Error("anna is at her desk, and the queue was told otherwise")
	}
}

// page2 looks without being there.
func (s *Server) page2(token string) (Page, error) {
	id, err := s.contact(token)
	if err != nil {
		return Page{}, err
	}
	p, _, err := s.page(context.Background(), id, "", 0)
	return p, err
}

// 500 open conversations, one message after the other in each: from the resident's send to the desk's having it, log and tables included.
func BenchmarkFiveHundred(b *testing.B) {
	o := open(b, b.TempDir(), chat.Settings{ReplyWithin: -1}, Limits{PerAddress: 10_000, Starts: 1e6, Messages: 1e6, Frames: 1e6})
	defer o.close()
	const chats, desks = 500, 50
	var all []*browser
	arrived := make(map[string]chan time.Time, chats)
	var mu sync.Mutex
	for n := range desks {
		op := fmt.Sprintf("op%02d", n)
		d := o.desk(b, op, nil)
		o.signIn(intake.UserID(op), chats/desks)
		go func() {
			for x := range d.in {
				switch x.T {
				case DownOffer:
					_ = d.send(In{T: UpAccept, Contact: x.Contact, Offer: x.Offer, Ref: "a"})
				case DownMessage:
					mu.Lock()
					c := arrived[x.Text]
					delete(arrived, x.Text)
					mu.Unlock()
					if c != nil {
						c <- time.Now()
					}
				}
			}
		}()
	}
	for range chats {
		r, _ := o.resident(b)
		_ = r.send(In{T: UpSay, Key: "first", Text: "x"})
		r.next(b, DownTick)
		all = append(all, r)
	}
	wait(b, "all are open", func() bool {
		o.server.mu.Lock()
		defer o.server.mu.Unlock()
		n := 0
		for _, r := range o.server.rooms {
			if r.view.Stage == chat.Open {
				n++
			}
		}
		return n == chats
	})
	for _, r := range all {
		go func() {
			for range r.in {
			}
		}()
	}
	var took []time.Duration
	b.ResetTimer()
	// 100 messages a second in all, as 500 people who write every five seconds.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var wg sync.WaitGroup
	for n := range b.N {
		<-tick.C
		wg.Go(func() {
			text := fmt.Sprint("m", n)
			c := make(chan time.Time, 1)
			mu.Lock()
			arrived[text] = c
			mu.Unlock()
			began := time.Now()
			if err := all[n%chats].send(In{T: UpSay, Key: text, Text: text}); err != nil {
				b.Error(err)
				return
			}
			select {
			case at := <-c:
				mu.Lock()
				took = append(took, at.Sub(began))
				mu.Unlock()
			case <-time.After(20 * time.Second):
				b.Error("a message did not arrive")
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	if len(took) > 0 {
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
	}
}
