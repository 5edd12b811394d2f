package sip

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"yingda/telephony/phonetest"
)

var errTables = errors.New("the tables are away")

// registering sends REGISTERs by hand, with the answer to the challenge, and gives the final response.
type registering struct {
	p   *peer
	seq int
}

func (r *registering) send(to, user, contact string, expires int) *phonetest.Message {
	r.p.t.Helper()
	var last *phonetest.Message
	for range 2 {
		r.seq++
		m := r.p.request("REGISTER", "reg-"+user, r.seq).Set("To", "<sip:"+user+"@yingda>").Set("Contact", "<sip:"+user+"@"+contact+">").Add("Expires", fmt.Sprint(expires))
		m.Start = "REGISTER sip:yingda SIP/2.0"
		if last != nil {
			m.Add("Authorization", phonetest.Digest(last.All("WWW-Authenticate"), user, "secret-"+user, "REGISTER", "sip:yingda"))
		}
		r.p.sendTo(to, m)
		if last = r.p.next(20 * time.Second); last == nil {
			r.p.t.Fatal("no answer to REGISTER")
		}
		if last.Status() != 401 {
			break
		}
	}
	return last
}

// While accounts cannot be read, phones that are known go on registering with the password that is known; who was never seen is asked to come again.
// "No such user" is another thing.
func TestAccountsUnread(t *testing.T) {
	var fail error
	asked := 0
	virtual(t, func(c *Config) {
		c.Account = func(user string) (Account, error) {
			asked++
			if fail != nil {
				return Account{}, fail
			}
			return accounts(user)
		}
	}, func(t *testing.T, l *lab) {
		r := &registering{p: l.peer(t, "203.0.113.5:5060")}
		if res := r.send(edgeAddr, "1001", "a", 300); res.Status() != 200 {
			t.Fatal(res)
		}
		<-l.ops
		fail = errTables
		for range 20 { // longer than the registration would have lived
			time.Sleep(time.Minute)
			if res := r.send(edgeAddr, "1001", "a", 300); res.Status() != 200 {
				t.Fatal(res)
			}
		}
		if len(l.Bindings()) != 1 || len(l.ops) != 0 {
			t.Fatal("the phone was dropped")
		}
		before := asked
		for range 5 { // the tables are not asked for each
			if res := r.send(edgeAddr, "1001", "a", 300); res.Status() != 200 {
				t.Fatal(res)
			}
		}
		if asked > before+1 {
			t.Fatalf("asked %d times", asked-before)
		}
		// A wrong password is wrong all the same.
		m := r.p.request("REGISTER", "x", 1).Set("To", "<sip:1001@yingda>")
		r.p.sendTo(edgeAddr, m)
		c := r.p.want(401, "REGISTER")
		m = r.p.request("REGISTER", "x", 2).Set("To", "<sip:1001@yingda>").Add("Authorization", phonetest.Digest(c.All("WWW-Authenticate"), "1001", "wrong", "REGISTER", "sip:yingda"))
		r.p.sendTo(edgeAddr, m)
		r.p.want(401, "REGISTER")
		if res := r.send(edgeAddr, "1002", "b", 300); res.Status() != 503 || res.Get("Retry-After") == "" {
			t.Fatal(res)
		}
		// The tables are back.
		fail = nil
		time.Sleep(6 * time.Second)
		if res := r.send(edgeAddr, "1002", "b", 300); res.Status() != 200 {
			t.Fatal(res)
		}
		fail = ErrNoAccount
		if res := r.send(edgeAddr, "1001", "a", 300); res.Status() != 401 {
			t.Fatal(res)
		}
		fail = errTables // what is gone is not known any more
		if res := r.send(edgeAddr, "1001", "a", 300); res.Status() != 503 {
			t.Fatal(res)
		}
	})
}

// Tables that hang or fail cost a phone nothing; when they are back they get the newest of each phone, and only that.
func TestTablesHang(t *testing.T) {
	regs := &tables{}
	virtual(t, func(c *Config) { c.Registrations = regs }, func(t *testing.T, l *lab) {
		r := &registering{p: l.peer(t, "203.0.113.5:5060")}
		hang := make(chan struct{})
		regs.set(func(r *tables) { r.hang = hang })
		begin := time.Now()
		for i := range 10 {
			if res := r.send(edgeAddr, "1001", "a", 300+i); res.Status() != 200 {
				t.Fatal(res)
			}
			if res := r.send(edgeAddr, "1001", "b", 300*(i%2)); res.Status() != 200 { // comes and goes
				t.Fatal(res)
			}
		}
		if took := time.Since(begin); took > 100*time.Millisecond {
			t.Fatalf("the phones waited %v", took)
		}
		regs.set(func(r *tables) { r.hang, r.fail = nil, errTables })
		close(hang)
		time.Sleep(time.Minute)
		regs.set(func(r *tables) { r.fail, r.calls = nil, nil })
		time.Sleep(10 * time.Second)
		rows := regs.list()
		slices.SortFunc(rows, func(a, b Binding) int { return int(a.CSeq) - int(b.CSeq) })
		if len(rows) != 2 || rows[0].Contact != "sip:1001@a" || rows[1].Contact != "sip:1001@b" || !slices.Equal(l.Bindings(), rows) {
			t.Fatalf("%+v, registered %+v", rows, l.Bindings())
		}
		regs.set(func(r *tables) {
			if len(r.calls) != 2 {
				t.Errorf("written: %v", r.calls)
			}
		})
		// Unregistered while they are away.
		regs.set(func(r *tables) { r.fail = errTables })
		r.send(edgeAddr, "1001", "b", 0)
		time.Sleep(time.Minute)
		regs.set(func(r *tables) { r.fail = nil })
		time.Sleep(10 * time.Second)
		if rows := regs.list(); len(rows) != 1 || rows[0].Contact != "sip:1001@a" {
			t.Fatalf("%+v", rows)
		}
		// What was said a moment before the end is written.
		r.send(edgeAddr, "1001", "c", 300)
		_ = l.Close()
		if rows := regs.list(); len(rows) != 2 {
			t.Fatalf("%+v", rows)
		}
	})
}

// Tables that hang do not keep the hotline from starting, and what they hold is taken up when they answer.
func TestStartWithoutTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		hang := make(chan struct{})
		regs := &tables{hang: hang, fail: errTables, rows: map[string]Binding{"x": {User: "1001", Operator: "op-1001", Contact: "sip:1001@a", Expires: time.Now().Add(time.Hour)}}}
		begin := time.Now()
		e := newEdge(t, func(c *Config) { c.PacketConn, c.Registrations = w.open(edgeAddr), regs })
		if took := time.Since(begin); took > 2*time.Second {
			t.Fatal(took)
		}
		l := &lab{e, w}
		r := &registering{p: l.peer(t, "203.0.113.5:5060")}
		if res := r.send(edgeAddr, "1002", "b", 300); res.Status() != 200 {
			t.Fatal(res)
		}
		<-e.ops
		regs.set(func(r *tables) { r.hang = nil })
		close(hang)
		time.Sleep(10 * time.Second)
		regs.set(func(r *tables) { r.fail = nil })
		if got := <-e.ops; got != "op-1001 true registered" {
			t.Fatal(got)
		}
		if got := len(e.Bindings()); got != 2 {
			t.Fatal(got)
		}
	})
}

// The switchboard goes and comes back: what the other node wrote holds, and while it was there this one wrote nothing.
func TestBindingsFollowTheSwitchboard(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		r := &registering{p: p.peer(t, "203.0.113.5:5060")}
		for _, c := range []string{"a", "b"} {
			if res := r.send(addrA, "1001", c, 120); res.Status() != 200 {
				t.Fatal(res)
			}
		}
		<-p.a.ops
		synctest.Wait()
		p.has(addrB)
		<-p.b.ops
		if got := len(p.b.Bindings()); got != 2 {
			t.Fatal(got)
		}
		// Refreshed, gone and new at B, though the phone speaks with A.
		if res := r.send(addrA, "1001", "a", 3600); res.Status() != 200 {
			t.Fatal(res)
		}
		r.send(addrA, "1001", "b", 0)
		r.send(addrA, "1002", "c", 3600)
		<-p.b.ops
		synctest.Wait()
		p.regs.set(func(r *tables) { r.calls = nil })
		// A forgets its old bindings by itself, and deletes nothing.
		time.Sleep(3 * time.Minute)
		if got := <-p.a.ops; got != "op-1001 false expired" {
			t.Fatal(got)
		}
		p.regs.set(func(r *tables) {
			if len(r.calls) != 0 {
				t.Errorf("written: %v", r.calls)
			}
		})
		p.has(addrA)
		ops := []string{<-p.a.ops, <-p.a.ops}
		slices.Sort(ops)
		if !slices.Equal(ops, []string{"op-1001 true registered", "op-1002 true registered"}) {
			t.Fatal(ops)
		}
		var have []string
		for _, b := range p.a.Bindings() {
			have = append(have, b.Contact)
		}
		if !slices.Equal(have, []string{"sip:1001@a", "sip:1002@c"}) {
			t.Fatal(have)
		}
		// Quickly there and back again: what was unregistered meanwhile is gone.
		p.has(addrB)
		time.Sleep(5 * time.Second)
		r.send(addrB, "1002", "c", 0)
		synctest.Wait()
		p.has(addrA)
		if got := <-p.a.ops; got != "op-1002 false unregistered" {
			t.Fatal(got)
		}
	})
}

// A phone that registers with B in the very moment in which the switchboard comes to it is not lost to what the tables say.
func TestRegisterInTheMomentOfTakeover(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		phone := &registering{p: p.peer(t, "203.0.113.5:5060")}
		time.Sleep(500 * time.Millisecond) // between two looks of sip.keeper
		hang := make(chan struct{})
		p.regs.set(func(r *tables) { r.hang = hang })
		p.has(addrB)
		if res := phone.send(addrB, "1001", "a", 300); res.Status() != 200 {
			t.Fatal(res)
		}
		<-p.b.ops
		time.Sleep(3 * time.Second)
		p.regs.set(func(r *tables) { r.hang = nil })
		close(hang)
		time.Sleep(3 * time.Second)
		if len(p.b.Bindings()) != 1 || len(p.regs.list()) != 1 {
			t.Fatalf("%+v %+v", p.b.Bindings(), p.regs.list())
		}
	})
}
