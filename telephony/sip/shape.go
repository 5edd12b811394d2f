package sip

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
)

// maxMessage is the longest message that is read, headers and body.
const maxMessage = 65535 - 200 // what sipgo will write over UDP

// Limits of the header section. Real messages have some 30 lines and 2 KiB; what is far beyond only costs us time.
const (
	maxHeaders = 16 << 10
	maxLines   = 400 // continuation lines count too
)

// field is one header line, unfolded: continuation lines joined by one space.
type field struct {
	name  string // long form, as RFC 3261 writes it when it is one we know; else as it came
	key   string // lower case, long form
	value string // trimmed
}

// shape is a message taken apart no further than into its lines. It is the guard's own reading, lenient where the world is,
// so that an answer can be given to what sipgo's parser refuses.
type shape struct {
	method, uri, version string // a request
	status               int    // a response, else 0
	reason               string
	fields               []field
	body                 []byte
	length               int    // Content-Length, −1 when there is none
	fault                string // what is wrong with it, "" when nothing
	code                 int    // the answer to the fault: 400, 416, 501, 505
	fatal                bool   // the end of the message cannot be known: a stream must be closed
	noAnswer             bool   // wrong in a way that leaves nothing to answer to
}

var longNames = map[string]string{
	"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition", "e": "Content-Encoding", "f": "From", "i": "Call-ID",
	"j": "Reject-Contact", "k": "Supported", "l": "Content-Length", "m": "Contact", "n": "Identity-Info", "o": "Event", "r": "Refer-To", "s": "Subject",
	"t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
	"via": "Via", "from": "From", "to": "To", "call-id": "Call-ID", "cseq": "CSeq", "contact": "Contact", "max-forwards": "Max-Forwards",
	"content-length": "Content-Length", "content-type": "Content-Type", "route": "Route", "record-route": "Record-Route", "expires": "Expires",
	"require": "Require", "proxy-require": "Proxy-Require", "supported": "Supported", "session-expires": "Session-Expires", "min-se": "Min-SE",
	"authorization": "Authorization", "proxy-authorization": "Proxy-Authorization", "www-authenticate": "WWW-Authenticate",
	"proxy-authenticate": "Proxy-Authenticate", "content-encoding": "Content-Encoding", "content-disposition": "Content-Disposition",
	"user-agent": "User-Agent", "allow": "Allow", "reason": "Reason", "privacy": "Privacy", "p-asserted-identity": "P-Asserted-Identity",
	"subject": "Subject", "accept": "Accept", "unsupported": "Unsupported", "retry-after": "Retry-After",
}

// single lists the headers that a message may have once only, with one value (RFC 3261 table 2 and §7.3.1).
var single = map[string]bool{"from": true, "to": true, "call-id": true, "cseq": true, "max-forwards": true, "content-length": true,
	"content-type": true, "expires": true, "session-expires": true, "min-se": true, "subject": true, "content-disposition": true}

// known lists the methods we have heard of; another one is answered with 501, one of these that we do not serve with 405.
var known = map[string]bool{"INVITE": true, "ACK": true, "CANCEL": true, "BYE": true, "OPTIONS": true, "REGISTER": true, "INFO": true,
	"UPDATE": true, "PRACK": true, "SUBSCRIBE": true, "NOTIFY": true, "REFER": true, "MESSAGE": true, "PUBLISH": true}

func (m *shape) fail(code int, format string, args ...any) {
	if m.fault == "" {
		m.fault, m.code = fmt.Sprintf(format, args...), code
	}
}

// get gives the first value of a header by its lower-case long name.
func (m *shape) get(key string) (string, bool) {
	for _, f := range m.fields {
		if f.key == key {
			return f.value, true
		}
	}
	return "", false
}

// cut takes the start line and header lines of data apart and gives what follows the empty line. complete is false when the empty line
// has not come. Lines may end in CRLF or LF alone.
func cut(data []byte) (start string, fields []field, rest []byte, bad string, complete bool) {
	line, rest, ok := nextLine(data)
	if !ok {
		return string(line), nil, nil, "no line end", false
	}
	start = string(line)
	begin := len(rest)
	for n := 0; ; n++ {
		line, next, ok := nextLine(rest)
		if !ok {
			return start, fields, nil, bad, false
		}
		rest = next
		if len(line) == 0 {
			return start, fields, rest, bad, true
		}
		if n >= maxLines || begin-len(rest) > maxHeaders {
			return start, fields, nil, "too many headers", false
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(fields) == 0 {
				bad = "continuation of nothing"
				continue
			}
			if more := strings.Trim(string(line), " \t"); more != "" {
				last := &fields[len(fields)-1]
				last.value = strings.TrimLeft(last.value+" "+more, " ")
			}
			continue
		}
		name, value, ok := strings.Cut(string(line), ":")
		name = strings.TrimRight(name, " \t")
		if !ok || !isToken(name) {
			bad = "a line that is no header"
			continue
		}
		key := strings.ToLower(name)
		if long, ok := longNames[key]; ok {
			name, key = long, strings.ToLower(long)
		}
		fields = append(fields, field{name, key, strings.Trim(value, " \t")})
	}
}

func nextLine(data []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(data, '\n')
	if i < 0 {
		return data, nil, false
	}
	return bytes.TrimSuffix(data[:i], []byte{'\r'}), data[i+1:], true
}

// readShape takes a message apart and judges it (RFC 3261 §7, §8.2, §18.3). stream says that it came over TCP and data is exactly what
// Content-Length said. nil means that it is no SIP at all: noise that gets no answer.
func readShape(data []byte, stream bool) *shape {
	start, fields, rest, bad, complete := cut(data)
	m := &shape{fields: fields, body: rest, length: -1}
	if !m.startLine(start) {
		return nil
	}
	if bad != "" {
		m.fail(400, "%s", bad)
	}
	if !complete {
		m.fail(400, "no empty line after the headers")
		m.fatal = true
	}
	if m.method != "" {
		m.judgeStart()
	}
	if bytes.IndexByte(data[:len(data)-len(rest)], 0) >= 0 { // legal within a quoted string (RFC 3261 §25.1), and never meant well
		m.fail(400, "NUL in a header")
	}
	for _, f := range fields {
		if strings.IndexByte(f.value, '\r') >= 0 {
			m.fail(400, "CR in %s", f.name)
		}
	}
	m.judgeFields()
	m.judgeLength(stream)
	return m
}

func (m *shape) startLine(line string) bool {
	if v, rest, ok := strings.Cut(line, " "); ok && len(v) >= 5 && strings.EqualFold(v[:4], "SIP/") {
		code, reason, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(code)
		if err != nil || len(code) != 3 || n < 100 || n > 699 {
			m.noAnswer = true
			m.fail(400, "status %q", code)
			n = 999
		}
		m.version, m.status, m.reason = v, n, reason
		return true
	}
	i := strings.LastIndex(strings.TrimRight(line, " \t"), " ")
	j := strings.IndexByte(line, ' ')
	if j <= 0 || i <= 0 || !isToken(line[:j]) {
		return false
	}
	m.method, m.version = line[:j], line[i+1:]
	if len(m.version) < 4 || !strings.EqualFold(m.version[:4], "SIP/") {
		return false
	}
	if i > j {
		m.uri = line[j+1 : i]
	}
	return true
}

func (m *shape) judgeStart() {
	switch {
	case m.version != strings.TrimRight(m.version, " \t"):
		m.fail(400, "white space after the version")
	case !strings.EqualFold(m.version, "SIP/2.0"):
		m.fail(505, "version %s", m.version)
	case !known[m.method]:
		m.fail(501, "method not known")
	case m.uri == "" || strings.ContainsAny(m.uri, " \t"):
		m.fail(400, "request URI")
	}
	if m.fault != "" {
		return
	}
	scheme, rest, ok := strings.Cut(m.uri, ":")
	switch lower := strings.ToLower(scheme); {
	case !ok || strings.ContainsAny(m.uri, "<>\"") || !isScheme(scheme):
		m.fail(400, "request URI")
	case lower == "tel" && rest != "":
	case lower != "sip" && lower != "sips":
		m.fail(416, "scheme")
	case strings.Contains(rest[strings.LastIndexByte(rest, '@')+1:], "?"):
		// Headers must not stand in a request URI (RFC 3261 §19.1.1); an attacker's Route in one is not to be obeyed, so it is refused.
		m.fail(400, "headers in the request URI")
	default:
		if !goodHost(rest) {
			m.fail(400, "host of the request URI")
		}
	}
}

// judgeFields looks at the headers that everything else rests upon.
func (m *shape) judgeFields() {
	seen := map[string]int{}
	for i := range m.fields {
		f := &m.fields[i]
		seen[f.key]++
		if single[f.key] && seen[f.key] > 1 {
			if f.key == "content-length" {
				m.fatal = true
			}
			m.fail(400, "%s more than once", f.name)
		}
		switch f.key {
		case "via":
			v, err := plainVia(f.value)
			if err != nil {
				m.fail(400, "Via")
				continue
			}
			f.value = v
		case "from", "to":
			v, err := plainAddress(f.value)
			if err != nil {
				m.fail(400, "%s: %v", f.name, err)
				continue
			}
			f.value = v
		case "contact", "route", "record-route":
			if f.key == "contact" && f.value == "*" {
				continue
			}
			parts := split(f.value, ',')
			for k, p := range parts {
				v, err := plainAddress(p)
				if err != nil || f.key != "contact" && !strings.Contains(v, "<") {
					m.fail(400, "%s: %v", f.name, err)
					continue
				}
				if f.key == "contact" && !strings.Contains(p, "<") && strings.Contains(p, "?") {
					m.fail(400, "Contact with headers outside of brackets")
				}
				if e, ok := param(v, "expires"); ok {
					if n, err := strconv.ParseUint(e, 10, 64); err == nil && n > 1<<32-1 {
						m.fail(400, "expires too large")
					}
				}
				parts[k] = v
			}
			f.value = strings.Join(parts, ", ")
		case "cseq":
			number, method, _ := strings.Cut(f.value, " ")
			method = strings.Trim(method, " \t")
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil || n >= 1<<31 || !isToken(method) {
				m.fail(400, "CSeq")
				continue
			}
			f.value = strconv.FormatUint(n, 10) + " " + method
			if m.method != "" && method != m.method {
				m.fail(400, "CSeq is of another method")
			}
		case "max-forwards":
			n, err := strconv.ParseUint(f.value, 10, 64)
			if err != nil || n > 255 {
				m.fail(400, "Max-Forwards")
				continue
			}
			f.value = strconv.FormatUint(n, 10)
		case "expires":
			n, err := strconv.ParseUint(f.value, 10, 64)
			if err == nil && n > 1<<32-1 {
				m.fail(400, "Expires too large")
			}
		case "call-id":
			if f.value == "" || strings.ContainsAny(f.value, " \t") || len(f.value) > 512 {
				m.fail(400, "Call-ID")
			}
		}
	}
	for _, key := range []string{"via", "from", "to", "call-id", "cseq"} {
		if seen[key] == 0 {
			m.fail(400, "no %s", longNames[key])
		}
	}
}

func (m *shape) judgeLength(stream bool) {
	for _, f := range m.fields {
		if f.key != "content-length" {
			continue
		}
		n, err := strconv.ParseUint(f.value, 10, 31)
		if err != nil {
			m.fail(400, "Content-Length")
			m.fatal = true
			return
		}
		m.length = int(n)
	}
	switch {
	case m.length > len(m.body):
		m.fail(400, "the body is shorter than Content-Length")
		m.fatal = m.fatal || stream
	case m.length >= 0:
		m.body = m.body[:m.length] // RFC 3261 §18.3: what follows in the datagram is not ours
	case stream:
		m.fail(400, "no Content-Length on a stream")
		m.fatal = true
	}
}

// answerable says whether there is enough to answer to: a Via to send it back to, and the Call-ID or CSeq to know it by.
func (m *shape) answerable() bool {
	if m.status != 0 || m.noAnswer || m.method == "ACK" {
		return false
	}
	_, via := m.get("via")
	_, call := m.get("call-id")
	_, cseq := m.get("cseq")
	return via && (call || cseq)
}

// plain writes the message in the one form that sipgo reads without a mistake: long names, unfolded, no space around separators, one
// Via to a line, exact Content-Length. A request's top Via gets received when it came from elsewhere (RFC 3261 §18.2.1), a From without a
// tag (RFC 2543) one of ours, which the wrapped sockets take out again.
func (m *shape) plain(source netip.Addr) []byte {
	var b bytes.Buffer
	b.Grow(512 + len(m.body))
	if m.status != 0 {
		fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", m.status, printable(m.reason))
	} else {
		fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", m.method, m.uri)
	}
	call, _ := m.get("call-id")
	top := true
	for _, f := range m.fields {
		switch f.key {
		case "content-length":
			continue
		case "via":
			for _, v := range split(f.value, ',') {
				if top && m.status == 0 {
					v = received(v, source)
				}
				top = false
				line(&b, "Via", v)
			}
			continue
		case "from":
			if _, ok := param(f.value, "tag"); !ok && m.status == 0 {
				f.value = bracketed(f.value) + ";tag=" + oldTag(call)
			}
		case "to":
			// A BYE from us to such a phone has our tag for it in To; its answer comes without.
			if _, ok := param(f.value, "tag"); !ok && m.status != 0 && m.status != 100 && strings.HasPrefix(call, ownCall) {
				f.value = bracketed(f.value) + ";tag=" + oldTag(call)
			}
		}
		line(&b, f.name, f.value)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(m.body))
	b.Write(m.body)
	return b.Bytes()
}

func line(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	b.WriteString(": ")
	b.WriteString(value)
	b.WriteString("\r\n")
}

// oldTagPrefix begins the tags that we give to a side that has none (RFC 2543). They are the same for each message of a call, and never leave us.
const oldTagPrefix = "y2543."

func oldTag(call string) string {
	h := fnv.New64a()
	h.Write([]byte(call))
	return oldTagPrefix + strconv.FormatUint(h.Sum64(), 16)
}

// withoutOldTags takes those tags out of a message that leaves.
func withoutOldTags(data []byte) []byte {
	mark := []byte(";tag=" + oldTagPrefix)
	if !bytes.Contains(data, mark) {
		return data
	}
	var out []byte
	for {
		i := bytes.Index(data, mark)
		if i < 0 {
			return append(out, data...)
		}
		out = append(out, data[:i]...)
		data = data[i+len(mark):]
		for len(data) > 0 && (data[0] >= '0' && data[0] <= '9' || data[0] >= 'a' && data[0] <= 'f') {
			data = data[1:]
		}
	}
}

func received(via string, source netip.Addr) string {
	if !source.IsValid() {
		return via
	}
	host := viaHost(via)
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap() == source.Unmap() {
		return via
	}
	if _, ok := param(via, "received"); ok {
		return via // from a proxy that was honest, or a lie about the way to itself
	}
	return via + ";received=" + source.Unmap().String()
}

// viaHost gives the sent-by host of a plain Via.
func viaHost(via string) string {
	_, sentBy, _ := strings.Cut(via, " ")
	sentBy, _, _ = strings.Cut(sentBy, ";")
	if strings.HasPrefix(sentBy, "[") {
		host, _, _ := strings.Cut(sentBy[1:], "]")
		return host
	}
	host, _, _ := strings.Cut(sentBy, ":")
	return host
}

// plainVia takes the space out of one or more Via values: "SIP / 2.0 / UDP host : 5060 ; branch = x" becomes "SIP/2.0/UDP host:5060;branch=x".
func plainVia(s string) (string, error) {
	var out []string
	for _, v := range split(s, ',') {
		p := strings.SplitN(v, "/", 3)
		if len(p) != 3 {
			return "", fmt.Errorf("no protocol")
		}
		rest := strings.Trim(p[2], " \t")
		i := strings.IndexAny(rest, " \t")
		if i <= 0 {
			return "", fmt.Errorf("no host")
		}
		name, version, transport := strings.Trim(p[0], " \t"), strings.Trim(p[1], " \t"), rest[:i]
		parts := split(rest[i:], ';')
		host := strings.ReplaceAll(strings.ReplaceAll(parts[0], " ", ""), "\t", "")
		if !isToken(name) || !isToken(version) || !isToken(transport) || host == "" || strings.ContainsAny(host, "\"<>@;,") {
			return "", fmt.Errorf("bad")
		}
		if h, port, ok := strings.Cut(host, ":"); ok && !strings.HasPrefix(host, "[") {
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || h == "" {
				return "", fmt.Errorf("bad port")
			}
		}
		params, err := plainParams(parts[1:])
		if err != nil {
			return "", err
		}
		out = append(out, name+"/"+version+"/"+transport+" "+host+params)
	}
	if len(out) == 0 {
		return "", fmt.Errorf("empty")
	}
	return strings.Join(out, ", "), nil
}

// plainAddress checks one name-addr or addr-spec with its parameters and takes the space out between them (RFC 3261 §20.10).
func plainAddress(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("empty")
	}
	parts := split(s, ';') // not within <> or quotes
	head := strings.Trim(parts[0], " \t")
	if !strings.Contains(head, "<") {
		if strings.ContainsAny(head, "\" \t>") || !strings.Contains(head, ":") {
			return "", fmt.Errorf("address")
		}
		if len(split(s, ',')) > 1 {
			return "", fmt.Errorf("more than one")
		}
		params, err := plainParams(parts[1:])
		return head + params, err
	}
	display, uri, ok := lastBracket(head)
	if !ok {
		return "", fmt.Errorf("brackets")
	}
	display = strings.Trim(display, " \t")
	if strings.HasPrefix(display, "\"") {
		if len(display) < 2 || !closedQuote(display) {
			return "", fmt.Errorf("quotes")
		}
	} else {
		for word := range strings.FieldsSeq(display) {
			if !isText(word) {
				return "", fmt.Errorf("display name")
			}
		}
	}
	if uri == "" || strings.ContainsAny(uri, " \t\"<>") || !strings.Contains(uri, ":") {
		return "", fmt.Errorf("address")
	}
	params, err := plainParams(parts[1:])
	if err != nil {
		return "", err
	}
	if display != "" {
		display += " "
	}
	return display + "<" + uri + ">" + params, nil
}

// lastBracket parts `"a <b" <uri>` into the display name and the URI.
func lastBracket(s string) (display, uri string, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '<' && !quoted:
			rest := s[i+1:]
			j := strings.IndexByte(rest, '>')
			if j < 0 || strings.Trim(rest[j+1:], " \t") != "" {
				return "", "", false
			}
			return s[:i], rest[:j], true
		}
	}
	return "", "", false
}

func closedQuote(s string) bool {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i == len(s)-1
		}
	}
	return false
}

// bracketed puts the brackets in which an address must stand before a parameter can be added to it.
func bracketed(s string) string {
	if strings.Contains(s, "<") {
		return s
	}
	uri, params, found := strings.Cut(s, ";")
	if found {
		return "<" + uri + ">;" + params
	}
	return "<" + uri + ">"
}

func plainParams(parts []string) (string, error) {
	var b strings.Builder
	for _, p := range parts {
		p = strings.Trim(p, " \t")
		if p == "" {
			continue
		}
		name, value, has := strings.Cut(p, "=")
		name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
		if !isToken(name) {
			return "", fmt.Errorf("parameter")
		}
		b.WriteByte(';')
		b.WriteString(strings.ToLower(name))
		if !has {
			continue
		}
		switch {
		case strings.HasPrefix(value, "\""):
			if len(value) < 2 || !closedQuote(value) {
				return "", fmt.Errorf("quotes")
			}
		case value == "" || strings.ContainsAny(value, " \t\"<>"):
			return "", fmt.Errorf("parameter value")
		}
		b.WriteByte('=')
		b.WriteString(value)
	}
	return b.String(), nil
}

// param finds a parameter of a plain header value, outside of brackets.
func param(value, name string) (string, bool) {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		value = value[i+1:]
	}
	for i, p := range split(value, ';') {
		if i == 0 {
			continue
		}
		k, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.Trim(k, " \t"), name) {
			return strings.Trim(v, " \t"), true
		}
	}
	return "", false
}

// split parts s at sep where that stands neither in quotes nor in brackets.
func split(s string, sep byte) []string {
	var out []string
	quoted, depth, from := false, 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			depth++
		case c == '>':
			depth--
		case c == sep && depth <= 0:
			out = append(out, strings.Trim(s[from:i], " \t"))
			from = i + 1
		}
	}
	return append(out, strings.Trim(s[min(from, len(s)):], " \t"))
}

func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-.!%*_+`'~", c) >= 0 {
			continue
		}
		return false
	}
	return true
}

// isText is a token, or a word of another script: gateways write Chinese names without quotes.
func isText(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x80 && !isToken(s[i:i+1]) && c != '/' && c != '(' && c != ')' && c != ':' && c != '=' {
			return false
		}
	}
	return true
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.') {
			continue
		}
		return false
	}
	return s != ""
}

// goodHost looks at what follows the scheme of a SIP URI: the host must be there and of the right characters, the port a number.
func goodHost(rest string) bool {
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	rest, _, _ = strings.Cut(rest, ";")
	host, port, hasPort := rest, "", false
	if strings.HasPrefix(rest, "[") {
		i := strings.IndexByte(rest, ']')
		if i < 0 {
			return false
		}
		if _, err := netip.ParseAddr(rest[1:i]); err != nil {
			return false
		}
		host = "ip6"
		port, hasPort = strings.CutPrefix(rest[i+1:], ":")
	} else {
		host, port, hasPort = strings.Cut(rest, ":")
	}
	if hasPort {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	for i := 0; i < len(host); i++ {
		c := host[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' {
			continue
		}
		return false
	}
	return host != ""
}

// printable drops what must not stand in a line that we write: CR, LF, NUL and the other controls.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// ownCall begins each Call-ID that we make.
const ownCall = "y-"
