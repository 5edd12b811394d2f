package phonetest

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// media is what a description says of its audio.
type media struct {
	host    string
	port    int   // 0: none
	formats []int // payload types in order
	event   int   // payload type of telephone-event, −1: none
	dir     string
}

func parseSDP(sdp []byte) media {
	d := media{event: -1, dir: "sendrecv"}
	session, inAudio, other := "", false, false
	for l := range strings.Lines(string(sdp)) {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "m="):
			other = d.port != 0 || !strings.HasPrefix(l, "m=audio ")
			if f := strings.Fields(l[2:]); !other && len(f) >= 4 {
				inAudio = true
				d.port, _ = strconv.Atoi(f[1])
				for _, v := range f[3:] {
					if n, err := strconv.Atoi(v); err == nil && n >= 0 && n < 128 {
						d.formats = append(d.formats, n)
					}
				}
			}
		case other:
		case strings.HasPrefix(l, "c=IN IP4 "):
			if inAudio {
				d.host = l[9:]
			} else {
				session = l[9:]
			}
		case l == "a=sendonly" || l == "a=recvonly" || l == "a=inactive" || l == "a=sendrecv":
			d.dir = l[2:]
		case strings.HasPrefix(l, "a=rtpmap:"):
			pt, name, _ := strings.Cut(l[9:], " ")
			if n, err := strconv.Atoi(pt); err == nil && strings.EqualFold(name, "telephone-event/8000") && slices.Contains(d.formats, n) {
				d.event = n
			}
		}
	}
	if d.host == "" {
		d.host = session
	}
	if d.port < 0 || d.port > 65535 || net.ParseIP(d.host) == nil {
		d.port = 0
	}
	return d
}

// SDPAddress gives where a description wants its audio, and its first payload type.
func SDPAddress(sdp []byte) (host string, port, payload int) {
	d := parseSDP(sdp)
	if len(d.formats) > 0 {
		payload = d.formats[0]
	}
	return d.host, d.port, payload
}

// SDPDirection gives a description's direction.
func SDPDirection(sdp []byte) string { return parseSDP(sdp).dir }

// codecs are the payload types that we speak, in our order.
func (p *Phone) codecs() []int {
	switch p.cfg.Codec {
	case "PCMU":
		return []int{0}
	case "PCMA":
		return []int{8}
	}
	return []int{8, 0}
}

// codec is the first of a description's payload types that we speak; −1: none.
func (p *Phone) codec(d media) int {
	for _, f := range d.formats {
		if slices.Contains(p.codecs(), f) {
			return f
		}
	}
	return -1
}

// offerLocked writes our SDP; with an offer, the answer to it (RFC 3264 §6). c.mu is held.
func (c *Call) offerLocked(offer *media) []byte {
	port, host := 9, "127.0.0.1"
	if c.audio != nil {
		port, host = c.audio.Port(), c.audio.host()
	}
	formats, event, dir := c.p.codecs(), 101, c.dir
	if offer != nil {
		formats, event, dir = []int{c.p.codec(*offer)}, offer.event, mirror(offer.dir, c.dir)
	}
	c.version++
	var list, maps strings.Builder
	for _, f := range formats {
		fmt.Fprintf(&list, " %d", f)
		fmt.Fprintf(&maps, "a=rtpmap:%d %s/8000\r\n", f, map[int]string{0: "PCMU", 8: "PCMA"}[f])
	}
	if event >= 0 {
		fmt.Fprintf(&list, " %d", event)
		fmt.Fprintf(&maps, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", event, event)
	}
	return fmt.Appendf(nil, "v=0\r\no=phone 1 %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP%s\r\n%sa=ptime:20\r\na=%s\r\n",
		c.version, host, host, port, list.String(), maps.String(), dir)
}

// mirror is the direction we answer with: what the other side leaves us, of what we want.
func mirror(theirs, ours string) string {
	send := (theirs == "sendrecv" || theirs == "recvonly") && (ours == "sendrecv" || ours == "sendonly")
	receive := (theirs == "sendrecv" || theirs == "sendonly") && (ours == "sendrecv" || ours == "recvonly")
	switch {
	case send && receive:
		return "sendrecv"
	case send:
		return "sendonly"
	case receive:
		return "recvonly"
	}
	return "inactive"
}
