package sip

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"

	"yingda/internal/pii"
)

var errUnclean = errors.New("sip: a value with CR, LF or NUL was to be written")

// dialog is one side of RFC 3261 §12: who talks with whom, under which names, along which way.
type dialog struct {
	call, ours, theirs string // Call-ID and the two tags
	local, remote      string // From and To of our requests, with brackets, without tag
	target             string // their Contact: where our requests go
	routes             []string
	seq                uint32 // our last CSeq
	seen               uint32 // their last CSeq
	source             netip.AddrPort
	transport          string // "UDP" or "TCP"
	phone              bool   // a registered phone: always by the address it registered from
	updates            bool   // the far side allows UPDATE
	user, password     string // for a challenge to our requests
}

// request writes a request within the dialog.
func (d *dialog) request(s *Server, method string, seq uint32, more ...string) (*sipgo.Request, error) {
	var b strings.Builder
	uri := d.target
	routes := d.routes
	if len(routes) > 0 && !strings.Contains(routes[0], ";lr") { // a strict router (RFC 3261 §12.2.1.1)
		uri = inBrackets(routes[0])
		routes = append(append([]string{}, routes[1:]...), "<"+d.target+">")
	}
	dest, transport := d.nextHop(s)
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", method, printable(uri))
	s.head(&b, transport, dest)
	for _, r := range routes {
		fmt.Fprintf(&b, "Route: %s\r\n", printable(r))
	}
	fmt.Fprintf(&b, "From: %s;tag=%s\r\nTo: %s", printable(d.local), d.ours, printable(d.remote))
	if d.theirs != "" {
		b.WriteString(";tag=" + printable(d.theirs))
	}
	fmt.Fprintf(&b, "\r\nCall-ID: %s\r\nCSeq: %d %s\r\n", printable(d.call), seq, method)
	if method != "ACK" && method != "BYE" {
		fmt.Fprintf(&b, "Contact: %s\r\n", s.contact(transport, dest))
	}
	return s.finish(&b, transport, dest, more...)
}

// nextHop is where the dialog's requests go. A phone is reached the way it registered, through whatever NAT; a trunk by its route set or Contact, unless
// that names a private address while it speaks from a public one.
func (d *dialog) nextHop(s *Server) (dest, transport string) {
	transport = d.transport
	if d.phone && d.source.IsValid() {
		return d.source.String(), transport
	}
	uri := d.target
	if len(d.routes) > 0 {
		uri = inBrackets(d.routes[0])
	}
	host, port, params := hostPort(uri)
	if t := uriParam(params, "transport"); t != "" && len(d.routes) == 0 {
		if t = strings.ToUpper(t); t == "TCP" || t == "UDP" {
			transport = t
		}
	}
	if transport == "TCP" && d.source.IsValid() && s.connected(d.source) {
		return d.source.String(), transport
	}
	if a, err := netip.ParseAddr(host); err == nil && d.source.IsValid() && private(a) && !private(d.source.Addr()) {
		return d.source.String(), d.transport
	}
	if host == "" && d.source.IsValid() {
		return d.source.String(), d.transport
	}
	if port == 0 {
		port = 5060
	}
	return joinHostPort(host, port), transport
}

func private(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified()
}

// head writes what begins each request of ours after the request line.
func (s *Server) head(b *strings.Builder, transport, dest string) {
	fmt.Fprintf(b, "Via: SIP/2.0/%s %s;branch=%s;rport\r\nMax-Forwards: 70\r\n", transport, s.sentBy(transport, dest), sipgo.GenerateBranchN(20))
}

// finish adds what ends each request, reads the text back and so makes sure that sipgo writes what we mean. more are whole header lines, and the
// body as the last one when it begins with an empty line.
func (s *Server) finish(b *strings.Builder, transport, dest string, more ...string) (*sipgo.Request, error) {
	body := ""
	for _, m := range more {
		if rest, ok := strings.CutPrefix(m, "\n"); ok {
			body = rest
			continue
		}
		if strings.ContainsAny(m, "\r\n\x00") {
			return nil, errUnclean
		}
		b.WriteString(m + "\r\n")
	}
	fmt.Fprintf(b, "User-Agent: %s\r\nContent-Length: %d\r\n\r\n", printable(s.cfg.Agent), len(body))
	b.WriteString(body)
	msg, err := sipgo.ParseMessage([]byte(b.String()))
	if err != nil {
		return nil, fmt.Errorf("sip: a request of ours cannot be read: %w", err)
	}
	req, ok := msg.(*sipgo.Request)
	if !ok {
		return nil, errors.New("sip: a request of ours is none")
	}
	req.SetTransport(transport)
	req.SetDestination(dest)
	if transport == "UDP" {
		req.Laddr = s.laddr
	}
	return req, nil
}

func body(sdp []byte) []string {
	return []string{"Content-Type: application/sdp", "\n" + string(sdp)}
}

// respond makes a response to a request. more are whole header lines, as for finish.
func (s *Server) response(req *sipgo.Request, status int, reason string, more ...string) *sipgo.Response {
	if reason = printable(reason); reason == "" {
		reason = reasonPhrase(status)
	}
	var content []byte
	for _, m := range more {
		if rest, ok := strings.CutPrefix(m, "\n"); ok {
			content = []byte(rest)
		}
	}
	res := sipgo.NewResponseFromRequest(req, status, reason, content)
	res.SipVersion = "SIP/2.0"
	for _, m := range more {
		if strings.HasPrefix(m, "\n") {
			continue
		}
		name, value, _ := strings.Cut(m, ":")
		res.AppendHeader(sipgo.NewHeader(printable(name), printable(strings.TrimSpace(value))))
	}
	res.AppendHeader(sipgo.NewHeader("Server", printable(s.cfg.Agent)))
	return res
}

// contact is our Contact towards dest.
func (s *Server) contact(transport, dest string) string {
	c := "<sip:yingda@" + s.sentBy(transport, dest)
	if transport == "TCP" {
		c += ";transport=tcp"
	}
	return c + ">"
}

// header gives a header's value, "" when there is none.
func header(m sipgo.Message, name string) string {
	for _, h := range m.GetHeaders(name) {
		return h.Value()
	}
	return ""
}

// headers gives all values of a header.
func headers(m sipgo.Message, name string) []string {
	var out []string
	for _, h := range m.GetHeaders(name) {
		out = append(out, h.Value())
	}
	return out
}

func fromTag(m sipgo.Message) string {
	if h := m.From(); h != nil {
		t, _ := h.Params.Get("tag")
		return t
	}
	return ""
}

func toTag(m sipgo.Message) string {
	if h := m.To(); h != nil {
		t, _ := h.Params.Get("tag")
		return t
	}
	return ""
}

// withoutTag takes the tag off a From or To, so that it can be used as the other side's name.
func withoutTag(value string) string {
	parts := split(value, ';')
	out := parts[0]
	for _, p := range parts[1:] {
		if k, _, _ := strings.Cut(p, "="); !strings.EqualFold(k, "tag") {
			out += ";" + p
		}
	}
	return out
}

func inBrackets(v string) string {
	if _, uri, ok := lastBracket(split(v, ';')[0]); ok {
		return uri
	}
	uri, _, _ := strings.Cut(v, ";")
	return strings.TrimSpace(uri)
}

// hostPort takes a SIP URI apart; port 0 when it has none.
func hostPort(uri string) (host string, port int, params string) {
	_, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return "", 0, ""
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, params, _ = strings.Cut(rest, ";")
	if strings.HasPrefix(rest, "[") {
		h, p, _ := strings.Cut(rest[1:], "]")
		n, _ := strconv.Atoi(strings.TrimPrefix(p, ":"))
		return h, n, params
	}
	h, p, _ := strings.Cut(rest, ":")
	n, _ := strconv.Atoi(p)
	return h, n, params
}

func uriParam(params, name string) string {
	for p := range strings.SplitSeq(params, ";") {
		if k, v, _ := strings.Cut(p, "="); strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

func joinHostPort(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

// userOf gives the user part of a URI, unescaped, without its parameters: the number in sip:+86…;phone-context=…@host and in tel:….
func userOf(uri string) string {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return ""
	}
	if !strings.EqualFold(scheme, "tel") {
		i := strings.LastIndexByte(rest, '@')
		if i < 0 {
			return ""
		}
		rest = rest[:i]
		rest, _, _ = strings.Cut(rest, ":")
	}
	rest, _, _ = strings.Cut(rest, ";")
	if un, err := url.PathUnescape(rest); err == nil {
		rest = un
	}
	return rest
}

// caller reads who calls: P-Asserted-Identity where the trunk is trusted, else From; and whether the number is hidden (RFC 3323, 3325).
func caller(req *sipgo.Request, trusted bool) (number pii.Phone, name pii.Name, withheld bool) {
	from := req.From()
	uri, display := from.Address.String(), from.DisplayName
	privacy := strings.ToLower(header(req, "Privacy"))
	if strings.Contains(privacy, "id") || strings.Contains(privacy, "user") || strings.Contains(privacy, "header") ||
		strings.EqualFold(from.Address.User, "anonymous") || strings.EqualFold(from.Address.Host, "anonymous.invalid") {
		return pii.Phone{}, pii.Name{}, true
	}
	if trusted {
		for _, v := range headers(req, "P-Asserted-Identity") {
			for _, one := range split(v, ',') {
				if n := pii.NewPhone(userOf(inBrackets(one))); !n.IsZero() {
					return n, pii.NewName(displayOf(one, display)), false
				}
			}
		}
	}
	number = pii.NewPhone(userOf(uri))
	return number, pii.NewName(displayOf("", display)), false
}

func displayOf(value, otherwise string) string {
	d, _, ok := lastBracket(value)
	d = strings.Trim(strings.TrimSpace(d), `"`)
	if !ok || d == "" {
		d = otherwise
	}
	return printable(unquote(d))
}

// q850 reads the cause out of Reason (RFC 3326); 0 when there is none.
func q850(m sipgo.Message) int {
	for _, v := range headers(m, "Reason") {
		for _, one := range split(v, ',') {
			parts := split(one, ';')
			if !strings.EqualFold(parts[0], "Q.850") {
				continue
			}
			if c, ok := param(one, "cause"); ok {
				if n, err := strconv.Atoi(c); err == nil && n > 0 && n < 128 {
					return n
				}
			}
		}
	}
	return 0
}

func reasonHeader(cause int) []string {
	if cause <= 0 || cause > 127 {
		return nil
	}
	return []string{fmt.Sprintf("Reason: Q.850;cause=%d", cause)}
}

// quoteName writes a display name as a quoted string.
func quoteName(s string) string {
	s = printable(s)
	if s == "" {
		return ""
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `" `
}
