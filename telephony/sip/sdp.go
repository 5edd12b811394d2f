package sip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a session description that is read.
const (
	maxSDP      = 16 << 10
	maxSections = 8
	maxAttrs    = 64 // of one section
	maxFormats  = 32
)

// Errors of reading SDP and of finding something in it that we can speak.
var (
	errSDP      = errors.New("sip: the session description cannot be read")
	errNoCodec  = errors.New("sip: no codec in common")
	errNoAudio  = errors.New("sip: no audio in the session description")
	errTooLarge = errors.New("sip: the session description is too large")
)

// direction of audio as the writer of a description sees it (RFC 4566 §6).
type direction struct{ send, receive bool }

func (d direction) String() string {
	switch d {
	case direction{true, true}:
		return "sendrecv"
	case direction{true, false}:
		return "sendonly"
	case direction{false, true}:
		return "recvonly"
	}
	return "inactive"
}

func parseDirection(s string) (direction, bool) {
	for _, d := range []direction{{true, true}, {true, false}, {false, true}, {false, false}} {
		if s == d.String() {
			return d, true
		}
	}
	return direction{}, false
}

// session is a description that has been read.
type session struct {
	sections []section
}

// section is one m= line with what belongs to it.
type section struct {
	kind    string // audio, video, text …
	port    int
	proto   string
	formats []string
	maps    map[string]string // payload type → "PCMA/8000"
	fmtp    map[string]string
	address netip.Addr
	rtcp    netip.AddrPort
	dir     direction
	ptime   time.Duration
}

// parseSDP reads what we need of a description (RFC 4566, RFC 3264) and passes over the rest.
func parseSDP(data []byte) (*session, error) {
	if len(data) > maxSDP {
		return nil, errTooLarge
	}
	var s session
	var address netip.Addr
	var cur *section
	both := direction{true, true}
	attrs, version := 0, false
	for raw := range strings.Lines(string(data)) {
		l := strings.TrimRight(raw, "\r\n")
		if l == "" {
			continue
		}
		if len(l) < 2 || l[1] != '=' {
			return nil, errSDP
		}
		value := strings.TrimSpace(l[2:])
		switch l[0] {
		case 'v':
			if value != "0" {
				return nil, errSDP
			}
			version = true
		case 'c':
			a, err := parseConnection(value)
			if err != nil {
				return nil, err
			}
			if cur != nil {
				cur.address = a
			} else {
				address = a
			}
		case 'm':
			if len(s.sections) == maxSections {
				return nil, errTooLarge
			}
			m, err := parseSection(value)
			if err != nil {
				return nil, err
			}
			m.address, m.dir = address, both
			s.sections = append(s.sections, m)
			cur = &s.sections[len(s.sections)-1]
			attrs = 0
		case 'a':
			if attrs++; attrs > maxAttrs {
				return nil, errTooLarge
			}
			if d, ok := parseDirection(value); ok {
				if cur != nil {
					cur.dir = d
				} else {
					both = d
				}
				continue
			}
			if cur != nil {
				cur.attribute(value)
			}
		}
	}
	if !version {
		return nil, errSDP
	}
	return &s, nil
}

func parseConnection(v string) (netip.Addr, error) {
	p := strings.Fields(v)
	if len(p) != 3 || p[0] != "IN" {
		return netip.Addr{}, errSDP
	}
	host, _, _ := strings.Cut(p[2], "/")
	a, err := netip.ParseAddr(host)
	if err != nil || a.IsMulticast() || a.Zone() != "" {
		// A name would have to be looked up while the resident waits, at the wish of whoever wrote it.
		return netip.Addr{}, errSDP
	}
	return a.Unmap(), nil
}

func parseSection(v string) (section, error) {
	p := strings.Fields(v)
	if len(p) < 4 || len(p) > 3+maxFormats {
		return section{}, errSDP
	}
	for _, w := range p { // what is not ours we write back in refusing it
		if strings.IndexFunc(w, func(r rune) bool { return r <= ' ' || r >= 0x7f }) >= 0 {
			return section{}, errSDP
		}
	}
	port, _, _ := strings.Cut(p[1], "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return section{}, errSDP
	}
	return section{kind: strings.ToLower(p[0]), port: int(n), proto: p[2], formats: p[3:], maps: map[string]string{}, fmtp: map[string]string{}}, nil
}

func (m *section) attribute(v string) {
	name, rest, _ := strings.Cut(v, ":")
	rest = strings.TrimSpace(rest)
	switch name {
	case "rtpmap":
		if pt, enc, ok := strings.Cut(rest, " "); ok {
			m.maps[pt] = strings.ToUpper(strings.TrimSpace(enc))
		}
	case "fmtp":
		if pt, par, ok := strings.Cut(rest, " "); ok {
			m.fmtp[pt] = par
		}
	case "ptime":
		if n, err := strconv.Atoi(rest); err == nil && n >= 10 && n <= 60 {
			m.ptime = time.Duration(n) * time.Millisecond
		}
	case "rtcp": // RFC 3605
		p := strings.Fields(rest)
		if len(p) == 0 {
			return
		}
		n, err := strconv.ParseUint(p[0], 10, 16)
		if err != nil || n == 0 {
			return
		}
		a := m.address
		if len(p) == 4 {
			if b, err := netip.ParseAddr(p[3]); err == nil && !b.IsMulticast() {
				a = b.Unmap()
			}
		}
		m.rtcp = netip.AddrPortFrom(a, uint16(n))
	}
}

// static are the payload types whose meaning needs no rtpmap (RFC 3551).
var static = map[string]string{"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000"}

func (m *section) encoding(format string) string {
	if e, ok := m.maps[format]; ok {
		return strings.TrimSuffix(e, "/1")
	}
	return static[format]
}

// plainAudio says that it is audio that we can carry: RTP without encryption.
func (m *section) plainAudio() bool {
	return m.kind == "audio" && m.port != 0 && (m.proto == "RTP/AVP" || m.proto == "RTP/AVPF") && m.address.IsValid()
}

// agreed is what two sides have settled upon, and what our next description says.
type agreed struct {
	index   int    // of the audio section
	codec   string // PCMA, PCMU, G722
	payload int    // number of codec, as the far side uses it; we use the same
	event   int    // number of telephone-event, −1: none
	remote  section
	all     []section // every section of the description, for those that ours must answer to
}

// choose finds the audio section and the codec we prefer in it. codecs is our order.
func (s *session) choose(codecs []string) (agreed, error) {
	found := false
	for i := range s.sections {
		m := &s.sections[i]
		if !m.plainAudio() {
			continue
		}
		found = true
		for _, c := range codecs {
			for _, f := range m.formats {
				pt, err := strconv.ParseUint(f, 10, 7)
				if err != nil || m.encoding(f) != c+"/8000" {
					continue
				}
				a := agreed{index: i, codec: c, payload: int(pt), event: -1, remote: *m, all: s.sections}
				for _, e := range m.formats {
					if n, err := strconv.ParseUint(e, 10, 7); err == nil && m.encoding(e) == "TELEPHONE-EVENT/8000" && int(n) != a.payload {
						a.event = int(n)
						break
					}
				}
				return a, nil
			}
		}
	}
	if found {
		return agreed{}, errNoCodec
	}
	return agreed{}, errNoAudio
}

// held says that the far side does not want to hear us: a hold in the new or the old way (RFC 3264 §8.4).
func (a agreed) held() bool { return !a.remote.dir.receive || a.remote.address.IsUnspecified() }

// toMedia puts it into the words of the media plane.
func (a agreed) toMedia(relatch bool, eventIn int) MediaRemote {
	m := a.remote
	rtcp := m.rtcp
	if !rtcp.IsValid() && m.port < 65535 {
		rtcp = netip.AddrPortFrom(m.address, uint16(m.port+1))
	}
	ptime := m.ptime
	if ptime == 0 {
		ptime = 20 * time.Millisecond
	}
	return MediaRemote{RTP: netip.AddrPortFrom(m.address, uint16(m.port)), RTCP: rtcp, Codec: a.codec, Payload: a.payload, Event: a.event, EventIn: eventIn,
		PTime: ptime, Send: !a.held(), Receive: m.dir.send, Relatch: relatch}
}

// local is our side of a leg's description: the same session id for ever, a version that grows when the words change (RFC 3264 §8).
type local struct {
	id, version uint64
	last        string
	rtp, rtcp   netip.AddrPort
}

const ownEvent = 101 // our number for telephone-event when we offer

var payloads = map[string]int{"PCMU": 0, "PCMA": 8, "G722": 9}

// offer writes a description that lets the far side choose among codecs. After an answer it keeps what was agreed first.
func (l *local) offer(codecs []string, now *agreed, dir direction) []byte {
	event := ownEvent
	var b strings.Builder
	var after []section
	if now != nil {
		// The numbers once agreed keep their meaning for the whole session (RFC 3264 §8.3.2).
		codecs = append([]string{now.codec}, slices.DeleteFunc(slices.Clone(codecs), func(c string) bool { return c == now.codec })...)
		if now.event >= 0 {
			event = now.event
		}
		for i := range now.all[:now.index] {
			refuse(&b, &now.all[i])
		}
		after = now.all[now.index+1:]
	}
	var formats []int
	var maps strings.Builder
	for _, c := range codecs {
		pt, ok := payloads[c]
		if !ok {
			continue
		}
		if now != nil && c == now.codec {
			pt = now.payload
		}
		if slices.Contains(formats, pt) || pt == event {
			continue
		}
		formats = append(formats, pt)
		fmt.Fprintf(&maps, "a=rtpmap:%d %s/8000\r\n", pt, c)
	}
	l.audio(&b, formats, maps.String(), event, 20*time.Millisecond, dir)
	for i := range after {
		refuse(&b, &after[i])
	}
	return l.wrap(b.String())
}

// refuse writes a section with port 0.
func refuse(b *strings.Builder, m *section) {
	fmt.Fprintf(b, "m=%s 0 %s %s\r\n", printable(m.kind), printable(m.proto), printable(strings.Join(m.formats, " ")))
}

// answer writes the answer to an offer: the chosen codec in its section, all else refused with port 0 (RFC 3264 §6).
func (l *local) answer(offer *session, a agreed, dir direction) []byte {
	var b strings.Builder
	for i := range offer.sections {
		m := &offer.sections[i]
		if i != a.index {
			refuse(&b, m)
			continue
		}
		ptime := a.remote.ptime
		if ptime == 0 {
			ptime = 20 * time.Millisecond
		}
		maps := fmt.Sprintf("a=rtpmap:%d %s/8000\r\n", a.payload, a.codec)
		l.audio(&b, []int{a.payload}, maps, a.event, ptime, dir)
	}
	return l.wrap(b.String())
}

func (l *local) audio(b *strings.Builder, formats []int, maps string, event int, ptime time.Duration, dir direction) {
	fmt.Fprintf(b, "m=audio %d RTP/AVP", l.rtp.Port())
	for _, f := range formats {
		fmt.Fprintf(b, " %d", f)
	}
	if event >= 0 {
		fmt.Fprintf(b, " %d", event)
		maps += fmt.Sprintf("a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", event, event)
	}
	b.WriteString("\r\n" + maps)
	fmt.Fprintf(b, "a=ptime:%d\r\n", ptime.Milliseconds())
	if l.rtcp.IsValid() && l.rtcp.Port() != l.rtp.Port()+1 {
		fmt.Fprintf(b, "a=rtcp:%d\r\n", l.rtcp.Port())
	}
	b.WriteString("a=" + dir.String() + "\r\n")
}

func (l *local) wrap(sections string) []byte {
	if sections != l.last {
		l.version++
		l.last = sections
	}
	kind := "IP4"
	if l.rtp.Addr().Is6() && !l.rtp.Addr().Is4In6() {
		kind = "IP6"
	}
	host := l.rtp.Addr().Unmap().String()
	return fmt.Appendf(nil, "v=0\r\no=yingda %d %d IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n%s", l.id, l.version, kind, host, kind, host, sections)
}

// answering is the direction that answers an offer of the far side, when we ourselves are willing to do both (RFC 3264 §6.1).
func answering(offer section) direction {
	d := direction{send: offer.dir.receive, receive: offer.dir.send}
	if offer.address.IsUnspecified() {
		d.send = false
	}
	return d
}

// bodySDP takes the description out of a body, also where a gateway has packed it with others (RFC 2046 multipart).
func bodySDP(contentType string, body []byte) []byte {
	kind, params, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if kind == "application/sdp" || kind == "" {
		return body
	}
	if !strings.HasPrefix(kind, "multipart/") || len(body) > maxSDP {
		return nil
	}
	boundary := ""
	for p := range strings.SplitSeq(params, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok && strings.EqualFold(k, "boundary") {
			boundary = strings.Trim(v, `"`)
		}
	}
	if boundary == "" {
		return nil
	}
	for i, part := range strings.Split("\r\n"+string(body), "\r\n--"+boundary) {
		if i == 0 || strings.HasPrefix(part, "--") {
			continue
		}
		head, rest, ok := strings.Cut(part, "\r\n\r\n")
		if ok && strings.Contains(strings.ToLower(head), "application/sdp") {
			return []byte(rest)
		}
	}
	return nil
}
