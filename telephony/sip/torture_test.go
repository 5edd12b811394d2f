package sip

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yingda/telephony"
	"yingda/telephony/phonetest"
)

// torture is what RFC 4475 asks of each of its messages, and what we answer. 480 is the machine's answer to an INVITE that was let
// through; none: a response, or something to which no answer can be given.
var torture = []struct {
	name, want string
	answers    []int // none: silence
	more       []int // over TCP, where what follows in dblreq is a message of its own
}{
	{name: "wsinv", want: "accept: its To has a tag of a dialog that we do not know", answers: []int{481}},
	{name: "intmeth", want: "accept or 501, 405", answers: []int{501}},
	{name: "esc01", want: "accept", answers: []int{480}},
	{name: "escnull", want: "accept", answers: []int{401}},
	{name: "esc02", want: "method is not REGISTER", answers: []int{501}},
	{name: "lwsdisp", want: "accept", answers: []int{200}},
	{name: "longreq", want: "accept", answers: []int{480}},
	{name: "dblreq", want: "the first is used, over UDP the rest is not", answers: []int{401}, more: []int{400}}, // its SDP has a line "m =video"
	{name: "semiuri", want: "accept", answers: []int{200}},
	{name: "transports", want: "accept", answers: []int{200}},
	{name: "mpart01", want: "accept or 405", answers: []int{405}},
	{name: "unreason", want: "a response"},
	{name: "noreason", want: "a response"},
	{name: "badinv01", want: "400", answers: []int{400}},
	{name: "clerr", want: "400", answers: []int{400}},
	{name: "ncl", want: "400", answers: []int{400}},
	{name: "scalar02", want: "400", answers: []int{400}},
	{name: "scalarlg", want: "dropped"},
	{name: "quotbal", want: "400", answers: []int{400}},
	{name: "ltgtruri", want: "400", answers: []int{400}},
	{name: "lwsruri", want: "400", answers: []int{400}},
	{name: "lwsstart", want: "400", answers: []int{400}},
	{name: "trws", want: "400", answers: []int{400}},
	{name: "escruri", want: "400 or ignore", answers: []int{400}},
	{name: "baddate", want: "ignore or 400", answers: []int{480}},
	{name: "regbadct", want: "400", answers: []int{400}},
	{name: "badaspec", want: "400 or tolerate", answers: []int{400}},
	{name: "baddn", want: "400 or tolerate", answers: []int{400, 200}},
	{name: "badvers", want: "505", answers: []int{505}},
	{name: "mismatch01", want: "400", answers: []int{400}},
	{name: "mismatch02", want: "501 or 400", answers: []int{501}},
	{name: "bigcode", want: "dropped"},
	{name: "badbranch", want: "400 or cope", answers: []int{200}},
	{name: "insuf", want: "400", answers: []int{400}},
	{name: "unkscm", want: "416", answers: []int{416}},
	{name: "novelsc", want: "416", answers: []int{416}},
	{name: "unksm2", want: "the registrar decides", answers: []int{401}},
	{name: "bext01", want: "420", answers: []int{420}},
	{name: "invut", want: "415", answers: []int{415}},
	{name: "regaut01", want: "401", answers: []int{401}},
	{name: "multi01", want: "400", answers: []int{400}},
	{name: "mcl01", want: "400", answers: []int{400}},
	{name: "bcast", want: "dropped"},
	{name: "zeromf", want: "accept", answers: []int{200}},
	{name: "cparam01", want: "accept", answers: []int{401}},
	{name: "cparam02", want: "accept", answers: []int{401}},
	{name: "regescrt", want: "accept", answers: []int{401}},
	{name: "sdp01", want: "406", answers: []int{406}},
	{name: "inv2543", want: "accept", answers: []int{480}},
	{name: "test", want: "no Via: nothing can be answered"},
}

func tortureFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "torture", name+".dat"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const healthCall = "health-"

func healthCheck(host string, n int) []byte {
	return fmt.Appendf(nil, "OPTIONS sip:yingda@example.org SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKh%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:a@example.org>;tag=1\r\nTo: <sip:yingda@example.org>\r\nCall-ID: %s%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", host, n, healthCall, n)
}

// refuseAll answers each INVITE with 480, as a machine would that takes none.
func refuseAll(in telephony.Input) []telephony.Effect {
	if inv, ok := in.(telephony.Invited); ok {
		return []telephony.Effect{telephony.Refuse{Leg: inv.Leg, Status: 480}}
	}
	return nil
}

// Every message of RFC 4475 gets the answer that the RFC asks for, and the server is well afterwards. The wire is in memory, since the
// messages want their answers at port 5060 of their Via.
func TestTortureUDP(t *testing.T) {
	right := 0
	for i, c := range torture {
		w := newWire()
		e := newEdge(t, func(c *Config) {
			c.PacketConn = w.open("198.51.100.1:5060")
			c.Trunks = []Trunk{{Name: "test", Addresses: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}
		})
		e.react(refuseAll)
		// Each Via names its own port: listen on all that occur. Answers without rport go there.
		ports := map[string]*wirePort{}
		for _, p := range []string{"5060", "5050", "5070", "9090"} {
			ports[p] = w.open("192.0.2.7:" + p)
		}
		from := ports["5060"]
		send := func(b []byte) {
			_, _ = from.WriteTo(b, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("198.51.100.1:5060")))
		}
		send(tortureFile(t, c.name))
		send(healthCheck("192.0.2.7:5060", i))
		got := []int{}
		healthy, deadline := false, time.After(5*time.Second)
		for !healthy || len(got) < len(distinct(c.answers)) {
			var m *phonetest.Message
			var err error
			select {
			case p := <-ports["5060"].in:
				m, err = phonetest.ParseMessage(p.data)
			case p := <-ports["5050"].in:
				m, err = phonetest.ParseMessage(p.data)
			case p := <-ports["5070"].in:
				m, err = phonetest.ParseMessage(p.data)
			case p := <-ports["9090"].in:
				m, err = phonetest.ParseMessage(p.data)
			case <-deadline:
				t.Errorf("%s: answered %v, healthy %v; want %v (%s)", c.name, got, healthy, c.answers, c.want)
				healthy = true
				got = make([]int, 9)
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			switch {
			case strings.HasPrefix(m.Get("Call-ID"), healthCall):
				healthy = m.Status() == 200
			case m.Status() >= 200:
				got = append(got, m.Status())
			}
		}
		if !good(c.answers, got) {
			t.Errorf("%s: answered %v, want %v (%s)", c.name, got, c.answers, c.want)
		} else {
			right++
		}
		_ = e.Close()
	}
	t.Logf("%d of %d messages answered as RFC 4475 wants", right, len(torture))
}

// distinct: where several answers are right, one of them is enough.
func distinct(answers []int) []int {
	if len(answers) > 1 {
		return answers[:1]
	}
	return answers
}

func good(want, got []int) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	return len(got) == 1 && slices.Contains(want, got[0])
}

// The same over TCP, where a message that spoils the framing may cost the connection, but not its answer, and not the server.
func TestTortureTCP(t *testing.T) {
	for i, c := range torture {
		t.Run(c.name, func(t *testing.T) {
			e := newEdge(t, nil)
			e.react(refuseAll)
			_, tcp := e.Addr()
			conn, err := net.Dial("tcp", tcp.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			data := tortureFile(t, c.name)
			if !strings.Contains(strings.ToLower(string(data)), "\r\nl:") && !strings.Contains(strings.ToLower(string(data)), "content-length") {
				data = []byte(strings.Replace(string(data), "\r\nCSeq:", fmt.Sprintf("\r\nContent-Length: %d\r\nCSeq:", len(data)-strings.Index(string(data), "\r\n\r\n")-4), 1))
			}
			if _, err := conn.Write(data); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			want := append(slices.Clone(distinct(c.answers)), c.more...)
			if c.name == "clerr" {
				_ = conn.(*net.TCPConn).CloseWrite() // it waits for a body that does not come
				want = nil
			}
			r := bufio.NewReader(conn)
			for range want {
				m, err := next(r)
				if err != nil {
					t.Fatalf("no answer: %v; want %v (%s)", err, want, c.want)
				}
				if !slices.Contains(append(slices.Clone(c.answers), c.more...), m.Status()) {
					t.Fatalf("answered %s, want %v (%s)", m.Start, want, c.want)
				}
			}
			fresh, err := net.Dial("tcp", tcp.String())
			if err != nil {
				t.Fatal(err)
			}
			defer fresh.Close()
			_, _ = fresh.Write(healthCheck("127.0.0.1:5060", i))
			_ = fresh.SetReadDeadline(time.Now().Add(5 * time.Second))
			if m, err := next(bufio.NewReader(fresh)); err != nil || m.Status() != 200 {
				t.Fatalf("health: %v %v", m, err)
			}
		})
	}
}

// next reads the next final response.
func next(r *bufio.Reader) (*phonetest.Message, error) {
	for {
		m, err := phonetest.ReadMessage(r)
		if err != nil || m.Status() >= 200 {
			return m, err
		}
	}
}
