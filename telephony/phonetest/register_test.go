package phonetest

import (
	"crypto/sha256"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// registrar answers REGISTER by a script: a function gives the answer to the n-th one.
func registrar(t *testing.T, f func(n int, m *Message) *Message) (addr string, got chan *Message) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	got = make(chan *Message, 100)
	go func() {
		buf := make([]byte, 65536)
		for n := 0; ; n++ {
			k, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			m, err := ParseMessage(buf[:k])
			if err != nil {
				t.Error(err)
				return
			}
			if r := f(n, m); r != nil {
				_, _ = pc.WriteTo(r.Bytes(), from)
			}
			got <- m
		}
	}()
	return pc.LocalAddr().String(), got
}

// RFC 7616 §3.9.1, with its user, password and URI; the cnonce is ours, so the response is reckoned from its definition.
func TestDigest(t *testing.T) {
	challenges := []string{
		`Digest realm="x", nonce="n", algorithm=SHA-512-256`,
		`Basic realm="x"`,
		`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
		`Digest realm="x", nonce="n"`,
	}
	h := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	got := Digest(challenges, "Mufasa", "Circle of Life", "GET", "/dir/index.html")
	cnonce := ""
	for _, kv := range splitQuoted(strings.TrimPrefix(got, "Digest ")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(kv), "cnonce="); ok {
			cnonce = strings.Trim(v, `"`)
		}
	}
	response := h(h("Mufasa:http-auth@example.org:Circle of Life") + ":7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v:00000001:" + cnonce + ":auth:" + h("GET:/dir/index.html"))
	want := `Digest username="Mufasa", realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", algorithm=SHA-256, ` +
		`opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", qop=auth, nc=00000001, cnonce="` + cnonce + `", response="` + response + `"`
	if cnonce == "" || got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// RFC 2069, in the corrected form of its erratum 749: MD5 without qop.
	got = Digest([]string{`Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`}, "Mufasa", "CircleOfLife", "GET", "/dir/index.html")
	if !strings.HasSuffix(got, `response="1949323746fe6a43ef61f9606e7febea"`) {
		t.Error(got)
	}
	for _, c := range []string{challenges[0], `Digest realm="x", nonce="n", qop="auth-int"`, ""} {
		if got := Digest([]string{c}, "u", "p", "GET", "/"); got != "" {
			t.Errorf("%q answered with %q", c, got)
		}
	}
}

func TestRegister(t *testing.T) {
	addr, got := registrar(t, func(n int, m *Message) *Message {
		switch {
		case m.Get("Authorization") == "":
			return m.Response(401, "Unauthorized", "t").Add("WWW-Authenticate", `Digest realm="y", nonce="a,b", algorithm=MD5, qop="auth"`)
		case n == 1:
			return m.Response(401, "Unauthorized", "t").Add("WWW-Authenticate", `Digest realm="y", nonce="c", algorithm=MD5, qop="auth", stale=true`)
		case m.Get("Expires") == "600":
			return m.Response(423, "Interval Too Brief", "t").Add("Min-Expires", "900")
		case m.Get("Expires") == "0":
			return m.Response(200, "OK", "t")
		}
		return m.Response(200, "OK", "t").Add("Contact", m.Get("Contact")+";expires=1") // held for a second only: it comes again
	})
	p := open(t, Config{Server: addr, User: "1001", Password: "secret"})
	if err := p.Register(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := p.Register(soon(t)); err != nil { // a second one keeps nothing twice
		t.Fatal(err)
	}
	seq, call := 0, ""
	next := func() *Message {
		t.Helper()
		select {
		case m := <-got:
			if m.Seq() != seq+1 || call != "" && m.Get("Call-ID") != call {
				t.Fatal("CSeq", m.Seq(), "after", seq, "or another Call-ID")
			}
			seq, call = m.Seq(), m.Get("Call-ID")
			return m
		case <-time.After(20 * time.Second):
			t.Fatal("no REGISTER")
			return nil
		}
	}
	for range 7 { // 401, stale, 423, 200; then 401, 423, 200
		next()
	}
	if m := next(); m.Get("Expires") != "600" {
		t.Fatal(m)
	}
	if err := p.Shutdown(soon(t)); err != nil {
		t.Fatal(err)
	}
	last := ""
	for len(got) > 0 {
		last = next().Get("Expires")
	}
	if last != "0" {
		t.Fatalf("the last REGISTER expires in %s", last)
	}
}

func TestRegisterRefused(t *testing.T) {
	for status, want := range map[int]string{401: "401 though", 403: "403 Forbidden", 423: "423"} {
		addr, _ := registrar(t, func(n int, m *Message) *Message {
			return m.Response(status, map[int]string{403: "Forbidden"}[status], "t").Add("WWW-Authenticate", `Digest realm="y", nonce="c"`)
		})
		if err := open(t, Config{Server: addr}).Register(soon(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if err := open(t, Config{T1: time.Millisecond}).Register(soon(t)); err != ErrTimeout {
		t.Error(err)
	}
}

// An INVITE that is challenged goes again with the password and the next CSeq.
func TestCallChallenged(t *testing.T) {
	addr, got := registrar(t, func(n int, m *Message) *Message {
		switch {
		case m.Method() == "ACK":
			return nil
		case m.Get("Proxy-Authorization") == "":
			return m.Response(407, "Proxy Authentication Required", "t").Add("Proxy-Authenticate", `Digest realm="y", nonce="c", qop="auth"`)
		}
		return m.Response(403, "Forbidden", "t")
	})
	c, err := open(t, Config{Server: addr, Password: "secret"}).Call("1")
	if err != nil {
		t.Fatal(err)
	}
	ended(t, c, 403, "refused", "them")
	var seen []string
	for range 4 {
		seen = append(seen, (<-got).Get("CSeq"))
	}
	if s := fmt.Sprint(seen); s != "[1 INVITE 1 ACK 2 INVITE 2 ACK]" {
		t.Fatal(s)
	}
}
