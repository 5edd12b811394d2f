// Package phonetest is a scripted SIP phone: it registers, calls, rings, answers, holds, presses keys, speaks a tone and listens for
// one, over UDP or TCP on a real network or one in memory.
//
//	p, err := phonetest.New(phonetest.Config{Server: "127.0.0.1:5060", User: "1001", Password: "…"})
//	err = p.Register(ctx)
//	c, err := p.Call("12345")
//	<-c.Answered(); c.Audio().Tone(440); … ; c.Hangup(); <-c.Ended()
//	p.Close()
//
// It is written on its own, without the server's SIP code and without a SIP library, so that a mistake of the one is not
// the other's too. Tests use it, and the robots of the demonstration are such phones: all goroutines and sockets end with Close.
//
// It answers, and speaks within a call, to where the other side last spoke from, not to what Contact says; the request URI is
// what Contact says. Two phones can call each other without a server between them.
//
// Goroutines: one reads the socket; one for each request that waits for its answer; one for each final response that waits for its ACK; one
// for each call that was cancelled; two for a call's audio; one keeps the registration alive; one for each OnCall. All end with
// Close.
//
// What it does not do: it knows no proxy, no TLS, no SRTP, and forgives little: a server that answers wrongly is to be seen.
package phonetest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Header is one header line.
type Header struct{ Name, Value string }

// Message is a SIP message as text: a start line, header lines in order, a body.
type Message struct {
	Start   string
	Headers []Header
	Body    []byte

	from net.Addr // where it came from over UDP, else nil
}

var compact = map[string]string{"v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "l": "Content-Length", "c": "Content-Type",
	"k": "Supported", "x": "Session-Expires"}

// ParseMessage reads one whole message.
func ParseMessage(data []byte) (*Message, error) {
	head, body, ok := strings.Cut(string(data), "\r\n\r\n")
	if !ok {
		return nil, fmt.Errorf("phonetest: no empty line after the headers")
	}
	lines := strings.Split(head, "\r\n")
	m := &Message{Start: lines[0], Body: []byte(body)}
	for _, l := range lines[1:] {
		if n := len(m.Headers); n > 0 && l != "" && (l[0] == ' ' || l[0] == '\t') { // folded (RFC 3261 §7.3.1)
			m.Headers[n-1].Value += " " + strings.TrimSpace(l)
			continue
		}
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			return nil, fmt.Errorf("phonetest: header line without a colon")
		}
		name = strings.TrimSpace(name)
		if long, ok := compact[strings.ToLower(name)]; ok {
			name = long
		}
		m.Headers = append(m.Headers, Header{name, strings.TrimSpace(value)})
	}
	if n, err := strconv.Atoi(m.Get("Content-Length")); err == nil && n >= 0 && n <= len(m.Body) {
		m.Body = m.Body[:n]
	}
	return m, nil
}

// Get gives a header's first value, "" when there is none.
func (m *Message) Get(name string) string {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// All gives all values of a header.
func (m *Message) All(name string) []string {
	var out []string
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			out = append(out, h.Value)
		}
	}
	return out
}

// Add appends a header line.
func (m *Message) Add(name, value string) *Message {
	m.Headers = append(m.Headers, Header{name, value})
	return m
}

// Set replaces a header's first line, or appends one.
func (m *Message) Set(name, value string) *Message {
	for i := range m.Headers {
		if strings.EqualFold(m.Headers[i].Name, name) {
			m.Headers[i].Value = value
			return m
		}
	}
	return m.Add(name, value)
}

// Bytes writes the message with its right Content-Length.
func (m *Message) Bytes() []byte {
	var b strings.Builder
	b.WriteString(m.Start + "\r\n")
	for _, h := range m.Headers {
		if !strings.EqualFold(h.Name, "Content-Length") {
			b.WriteString(h.Name + ": " + h.Value + "\r\n")
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(m.Body))
	b.Write(m.Body)
	return []byte(b.String())
}

// Status is the status of a response, 0 for a request.
func (m *Message) Status() int {
	if !strings.HasPrefix(m.Start, "SIP/2.0 ") || len(m.Start) < 11 {
		return 0
	}
	n, _ := strconv.Atoi(m.Start[8:11])
	return n
}

// Method is that of a request, or of the request that a response answers.
func (m *Message) Method() string {
	if m.Status() != 0 {
		_, method, _ := strings.Cut(m.Get("CSeq"), " ")
		return strings.TrimSpace(method)
	}
	method, _, _ := strings.Cut(m.Start, " ")
	return method
}

// URI is the request URI.
func (m *Message) URI() string {
	p := strings.Split(m.Start, " ")
	if len(p) != 3 {
		return ""
	}
	return p[1]
}

// Seq is the number in CSeq.
func (m *Message) Seq() int {
	n, _, _ := strings.Cut(m.Get("CSeq"), " ")
	v, _ := strconv.Atoi(n)
	return v
}

// Branch is that of the top Via.
func (m *Message) Branch() string { return Param(m.Get("Via"), "branch") }

// Tag is the tag of a From or To header.
func (m *Message) Tag(header string) string { return Param(m.Get(header), "tag") }

// Param gives a parameter of a header value.
func Param(value, name string) string {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		value = value[i+1:]
	}
	for _, p := range strings.Split(value, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return ""
}

// Bare gives the URI of a header value.
func Bare(value string) string {
	if i := strings.IndexByte(value, '<'); i >= 0 {
		value = value[i+1:]
		if j := strings.IndexByte(value, '>'); j >= 0 {
			return value[:j]
		}
	}
	uri, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(uri)
}

// Response begins the response to a request: Via, From, To (with tag, if it has none yet), Call-ID and CSeq taken over.
func (m *Message) Response(status int, reason, tag string) *Message {
	r := &Message{Start: fmt.Sprintf("SIP/2.0 %d %s", status, reason)}
	for _, h := range m.Headers {
		switch strings.ToLower(h.Name) {
		case "via", "from", "call-id", "cseq", "record-route":
			r.Headers = append(r.Headers, h)
		case "to":
			if tag != "" && status > 100 && Param(h.Value, "tag") == "" {
				h.Value += ";tag=" + tag
			}
			r.Headers = append(r.Headers, h)
		}
	}
	return r
}
