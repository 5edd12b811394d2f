package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"yingda/bench/rig"
	"yingda/internal/demo"
	"yingda/telephony/phonetest"
)

// office is a running server with its phones on, and a supervisor who is signed in.
type office struct {
	*rig.Server
	token  string
	phones []*phonetest.Phone
	client *http.Client
	next   int // number of the next caller

	mu   sync.Mutex
	rung map[string]time.Time // caller's number → when an operator's phone was rung for it
}

func open(ctx context.Context, s *rig.Server, seats []rig.Seat, token string) (*office, error) {
	o := &office{Server: s, token: token, rung: map[string]time.Time{}}
	for _, d := range seats {
		p, err := phonetest.New(phonetest.Config{Server: s.SIP, User: d.User, Password: d.Secret, Keep: time.Second, OnCall: o.pickUp})
		if err != nil {
			return nil, err
		}
		o.phones = append(o.phones, p)
		if err := p.Register(ctx); err != nil {
			return nil, err
		}
	}
	client, err := demo.SignIn(ctx, "http://"+s.HTTP, "zhoumin", demo.Password)
	o.client = client
	return o, err
}

func (o *office) close() {
	for _, p := range o.phones {
		p.Close()
	}
}

// openNow is how many contacts are open, on the wallboard.
var openNow = regexp.MustCompile(`class="k-open">[^<]*<a [^>]*>(\d+)</a>`)

func (o *office) get(path string) (string, error) {
	r, err := o.client.Get("http://" + o.HTTP + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// pickUp notes when an operator's phone was rung and for whom, and answers at once.
func (o *office) pickUp(c *phonetest.Call) {
	o.mu.Lock()
	o.rung[rig.CallerOf(c.Inv.Get("From"))] = time.Now()
	o.mu.Unlock()
	c.Ring()
	c.Answer()
	<-c.Ended()
}

func (o *office) rang(number string) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rung[number]
}

// caller is a number that nobody had before in this run.
func (o *office) caller() string {
	o.next++
	return fmt.Sprintf("05125550%04d", o.next%10000)
}

type measured struct {
	calls        int
	ring, search []float64 // ms
}

// call phones, talks for hold and hangs up. It gives the Call-ID, when it was rung and when the BYE went.
func (o *office) call(ctx context.Context, number string, hold time.Duration) (id string, ring time.Duration, bye time.Time, err error) {
	p, err := phonetest.New(phonetest.Config{Server: o.SIP, User: number, Keep: time.Second})
	if err != nil {
		return "", 0, bye, err
	}
	defer p.Close()
	began := time.Now()
	c, err := p.Call("12345")
	if err != nil {
		return "", 0, bye, err
	}
	for limit := began.Add(20 * time.Second); o.rang(number).IsZero(); {
		if time.Now().After(limit) {
			return "", 0, bye, errors.New("no phone rang within 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
	ring = o.rang(number).Sub(began)
	time.Sleep(hold)
	bye = time.Now()
	c.Hangup()
	return c.ID, ring, bye, ctx.Err()
}

// load phones at a steady rate; every tenth caller is then looked for until search has the contact with its outcome.
func (o *office) load(ctx context.Context, j job) (measured, error) {
	m := measured{calls: j.calls}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var fault error
	tick := time.NewTicker(time.Duration(float64(time.Second) / j.rate))
	defer tick.Stop()
	for i := range j.calls {
		<-tick.C
		number := o.caller()
		wg.Go(func() {
			id, ring, bye, err := o.call(ctx, number, 3*time.Second)
			var found time.Duration
			if err == nil && i%10 == 0 {
				found, err = o.searchable(ctx, id, number, bye)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				fault = err
				return
			}
			m.ring = append(m.ring, rig.Milliseconds(ring))
			if found > 0 {
				m.search = append(m.search, rig.Milliseconds(found))
			}
		})
	}
	wg.Wait()
	return m, fault
}

// searchable waits until the search page has the contact among those that were answered.
func (o *office) searchable(ctx context.Context, callID, number string, bye time.Time) (time.Duration, error) {
	for time.Since(bye) < 20*time.Second {
		page, err := o.get("/search?outcome=answered&q=" + number)
		if err != nil {
			return 0, err
		}
		took := time.Since(bye)
		id, err := o.contact(ctx, callID, bye)
		if err != nil {
			return 0, err
		}
		if id != "" && strings.Contains(page, id) {
			return took, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 0, errors.New("not found by search within 20 s")
}

// contact is the id of the call's contact, as an auditor reads it; "" while there is none.
func (o *office) contact(ctx context.Context, callID string, bye time.Time) (string, error) {
	from := url.QueryEscape(bye.Add(-time.Minute).UTC().Format(time.RFC3339))
	after := ""
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.HTTP+"/api/v1/contacts?limit=1000&from="+from+after, nil)
		if err != nil {
			return "", err
		}
		req.Header.Set("Authorization", "Bearer "+o.token)
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		var page struct {
			Contacts []struct {
				ID   string `json:"id"`
				Call string `json:"sip_call_id"`
			} `json:"contacts"`
			Next string `json:"next"`
		}
		err = json.NewDecoder(r.Body).Decode(&page)
		_ = r.Body.Close()
		if err != nil {
			return "", err
		}
		for _, c := range page.Contacts {
			if c.Call == callID {
				return c.ID, nil
			}
		}
		if page.Next == "" {
			return "", nil
		}
		after = "&after=" + url.QueryEscape(page.Next)
	}
}

// wall makes calls one after the other and measures how long after the BYE the wallboard's stream has sent the next part.
func (o *office) wall(ctx context.Context, probes int) ([]float64, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.HTTP+"/live/wall", nil)
	if err != nil {
		return nil, err
	}
	r, err := o.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	parts := make(chan string, 100)
	go func() {
		defer close(parts)
		lines := bufio.NewScanner(r.Body)
		lines.Buffer(nil, 4<<20)
		part, text := false, strings.Builder{}
		for lines.Scan() {
			switch line := lines.Text(); {
			case line == "event: part":
				part = true
			case line == "":
				if part {
					parts <- text.String()
				}
				part = false
				text.Reset()
			case part:
				text.WriteString(line)
			}
		}
	}()
	var list []float64
	for range probes {
		_, _, bye, err := o.call(ctx, o.caller(), 1500*time.Millisecond)
		if err != nil {
			return nil, err
		}
		for drained := false; !drained; {
			select {
			case p, ok := <-parts:
				if !ok {
					return nil, errors.New("the wall's stream ended")
				}
				if m := openNow.FindStringSubmatch(p); m == nil || m[1] != "0" { // a part from before the BYE counts one that is open
					continue
				}
				list = append(list, rig.Milliseconds(time.Since(bye)))
				drained = true
			case <-time.After(5 * time.Second):
				return nil, errors.New("the wall did not change within 5 s of the BYE")
			}
		}
	}
	return list, nil
}
