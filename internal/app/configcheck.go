package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"yingda/internal/lines"
	"yingda/internal/store"
)

// Problem is one thing that is wrong with the configuration: at which key, what, and what would be right.
type Problem struct {
	Key  string // dotted, as in the file: "trunks.0.allow"
	What string
}

// problems collects them; check reads like a list of rules.
type problems []Problem

func (p *problems) want(ok bool, key, format string, args ...any) {
	if !ok {
		*p = append(*p, Problem{key, fmt.Sprintf(format, args...)})
	}
}

// check says everything that is wrong, not only the first thing.
func (c Config) check() []Problem {
	var p problems
	p.want(c.Data != "", "data", "is empty: name a folder, for instance /var/lib/yingda")
	_, err := time.LoadLocation(c.Office.TimeZone)
	p.want(err == nil && c.Office.TimeZone != "", "office.time_zone", "%q is no time zone: write an IANA name such as Asia/Shanghai", c.Office.TimeZone)
	p.want(isWord(c.Office.Node), "office.node", "%q: letters, digits and dashes only, for instance n1", c.Office.Node)
	p.want(isWord(c.Office.Switchboard), "office.switchboard", "%q: letters, digits and dashes only, for instance main", c.Office.Switchboard)
	p.want(isListen(c.HTTP.Listen), "http.listen", "%q is no address and port: write for instance 127.0.0.1:8080", c.HTTP.Listen)
	p.want((c.HTTP.TLSCert == "") == (c.HTTP.TLSKey == ""), "http.tls_cert", "tls_cert and tls_key go together: set both or neither")
	p.want(c.SIP.UDP == "" || isListen(c.SIP.UDP), "sip.udp", "%q is no address and port: write for instance 192.0.2.10:5060, or leave it empty for none", c.SIP.UDP)
	p.want(c.SIP.TCP == "" || isListen(c.SIP.TCP), "sip.tcp", "%q is no address and port: write for instance 192.0.2.10:5060, or leave it empty for none", c.SIP.TCP)
	p.want(c.SIP.UDP != "" || c.SIP.TCP != "", "sip.udp", "sip.udp and sip.tcp are both empty: no call could come in")
	p.want(c.SIP.Realm != "" && !strings.ContainsAny(c.SIP.Realm, "\"\r\n"), "sip.realm", "%q: a word without quotes", c.SIP.Realm)
	p.want(len(c.SIP.Digests) > 0, "sip.digests", "is empty: no phone could register; write [MD5], or [SHA-256, MD5]")
	for _, d := range c.SIP.Digests {
		p.want(d == "MD5" || d == "SHA-256", "sip.digests", "%q: MD5 or SHA-256", d)
	}
	p.want(c.SIP.MaxCalls > 0, "sip.max_calls", "%d: at least 1", c.SIP.MaxCalls)
	p.want(c.SIP.Rate > 0, "sip.rate", "%v: more than 0", c.SIP.Rate)
	if c.SIP.Advertise != "" {
		_, err := netip.ParseAddr(c.SIP.Advertise)
		p.want(err == nil, "sip.advertise", "%q is no IP address", c.SIP.Advertise)
	}
	c.checkTrunks(&p)
	if len(c.Search.Elastic.Addresses) > 0 {
		err := c.Search.Elastic.Check()
		p.want(err == nil, "search.elastic", "%v", err)
	}
	p.want(c.Search.Mend == 0 || c.Search.Mend >= 10*time.Second, "search.mend", "%v: 0, or at least 10 s", c.Search.Mend)
	p.want(c.Search.Keep == 0 || c.Search.Keep >= 24*time.Hour, "search.keep", "%v: 0 (for ever), or at least a day (24h)", c.Search.Keep)
	if c.Media.Address != "" {
		_, err := netip.ParseAddr(c.Media.Address)
		p.want(err == nil, "media.address", "%q is no IP address", c.Media.Address)
	}
	p.want(c.Media.PortMin >= 1024 && c.Media.PortMin%2 == 0, "media.port_min", "%d: an even port from 1024 up", c.Media.PortMin)
	p.want(c.Media.PortMax <= 65535 && c.Media.PortMax >= c.Media.PortMin+3, "media.port_max", "%d: at most 65535 and at least port_min + 3", c.Media.PortMax)
	p.want(c.Media.Threads >= 0 && c.Media.Threads <= 256, "media.threads", "%d: 0 to 256", c.Media.Threads)
	c.checkLines(&p)
	if c.Routing.Rules != "" {
		_, err := readRules(c.Routing.Rules, c.location())
		p.want(err == nil, "routing.rules", "%v", err)
	}
	for i, o := range c.Public.Origins {
		u, err := url.Parse(o)
		p.want(err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Path == "" && u.RawQuery == "", fmt.Sprintf("public.origins.%d", i),
			"%q is no origin: write scheme and host only, for instance https://www.example.gov.cn", o)
	}
	for i, n := range c.Public.Private {
		_, err := netip.ParsePrefix(n)
		p.want(err == nil, fmt.Sprintf("public.private.%d", i), "%q is no network: write for instance 10.1.0.0/16", n)
	}
	p.want(c.Queue.Strategy == "longest_idle" || c.Queue.Strategy == "fewest_calls", "queue.strategy", "%q: longest_idle or fewest_calls", c.Queue.Strategy)
	p.want(c.Queue.RingTime >= 5*time.Second && c.Queue.RingTime <= 2*time.Minute, "queue.ring_time", "%s: 5s to 2m", c.Queue.RingTime)
	p.want(c.Queue.WrapUp >= 0 && c.Queue.WrapUp <= time.Hour, "queue.wrap_up", "%s: 0s to 1h", c.Queue.WrapUp)
	p.want(c.Queue.Misses >= 1, "queue.misses", "%d: at least 1", c.Queue.Misses)
	p.want(c.Queue.MaxWait >= 0, "queue.max_wait", "%s: 0s (for ever) or more", c.Queue.MaxWait)
	p.want(c.Queue.Chats >= 0 && c.Queue.Chats <= 20, "queue.chats", "%d: 0 (an office without chat) to 20", c.Queue.Chats)
	p.want(c.Queue.Beside >= 0 && c.Queue.Beside <= c.Queue.Chats, "queue.chats_beside_call", "%d: 0 to queue.chats", c.Queue.Beside)
	p.want(c.Queue.MaxQueue >= 0, "queue.max_queue", "%d: 0 (no limit) or more", c.Queue.MaxQueue)
	p.want(c.Books.Due > 0, "books.due", "%s: more than 0", c.Books.Due)
	p.want(c.Books.Tries >= 1, "books.tries", "%d: at least 1", c.Books.Tries)
	p.want(c.Books.ShortAbandon >= 0, "books.short_abandon", "%s: 0s or more", c.Books.ShortAbandon)
	p.want(oneOf(c.Log.Level, "debug", "info", "warn", "error"), "log.level", "%q: debug, info, warn or error", c.Log.Level)
	p.want(oneOf(c.Log.Format, "text", "json"), "log.format", "%q: text or json", c.Log.Format)
	if len(c.Stream.Kafka.Brokers) > 0 {
		err := c.Stream.Kafka.Check()
		p.want(err == nil, "stream.kafka", "%v", err)
	}
	p.want(c.Tables.Address == "" || store.IsPostgres(c.Tables.Address), "tables.address", "is no address of a PostgreSQL database: write postgres://user:password@host/database, or leave it empty for an SQLite file")
	p.cluster(c)
	p.want(c.Stream.Limit >= 10*time.Millisecond, "stream.limit", "%s: at least 10ms", c.Stream.Limit)
	p.want(c.Stream.Memory >= 1000, "stream.memory", "%d: at least 1000", c.Stream.Memory)
	return p
}

func (c Config) checkTrunks(p *problems) {
	names := map[string]bool{}
	for i, t := range c.Trunks {
		key := fmt.Sprintf("trunks.%d.", i)
		p.want(isWord(t.Name), key+"name", "%q: letters, digits and dashes only", t.Name)
		p.want(!names[t.Name], key+"name", "%q is there twice", t.Name)
		names[t.Name] = true
		p.want(len(t.Allow) > 0, key+"allow", "is empty: name at least one address or network, for instance 192.0.2.0/24")
		for _, a := range t.Allow {
			_, err := parsePrefix(a)
			p.want(err == nil, key+"allow", "%q is no address or network: write for instance 192.0.2.7 or 192.0.2.0/24", a)
		}
		p.want(t.Out == "" || isListen(t.Out), key+"out", "%q is no host:port", t.Out)
		p.want(t.MaxCalls >= 0, key+"max_calls", "%d: 0 (no limit) or more", t.MaxCalls)
		p.want(t.Rate >= 0, key+"rate", "%v: 0 (no limit) or more", t.Rate)
	}
}

func (c Config) checkLines(p *problems) {
	ids := map[string]bool{}
	for i, l := range c.Lines {
		key := fmt.Sprintf("lines.%d.", i)
		p.want(isWord(l.ID), key+"id", "%q: letters, digits and dashes only", l.ID)
		p.want(!ids[l.ID], key+"id", "%q is there twice", l.ID)
		ids[l.ID] = true
		p.want(l.Name != "", key+"name", "is empty: what do people call this line?")
		p.want(len(l.Numbers) > 0, key+"numbers", "is empty: which called numbers reach it? * takes any")
		_, err := lines.ParseHours(l.Hours)
		p.want(err == nil, key+"hours", "%v", err)
	}
}

func oneOf(s string, list ...string) bool {
	for _, l := range list {
		if s == l {
			return true
		}
	}
	return false
}

func isWord(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}

func isListen(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return false
	}
	return host == "" || !strings.ContainsAny(host, " /")
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// ErrConfig is what Load wraps: the configuration cannot be used as it is.
var ErrConfig = errors.New("configuration")

func (p *problems) cluster(c Config) {
	p.want(c.Stream.Keep >= 0, "stream.keep", "%s: 0s (for ever) or more", c.Stream.Keep)
	if !c.Member() {
		p.want(c.Cluster.SIP == "" && len(c.Cluster.Peers) == 0, "cluster.pages", "is empty though cluster.sip or cluster.peers is set: a machine that is one of several needs all three")
		return
	}
	u, err := url.Parse(c.Cluster.Pages)
	p.want(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && strings.Trim(u.Path, "/") == "", "cluster.pages", "%q: write for instance http://10.0.0.1:8080", c.Cluster.Pages)
	at, err := netip.ParseAddrPort(c.Cluster.SIP)
	p.want(err == nil && at.Port() != 0 && !at.Addr().IsUnspecified(), "cluster.sip", "%q is no address and port at which another machine reaches this one: write for instance 10.0.0.1:5060", c.Cluster.SIP)
	for i, peer := range c.Cluster.Peers {
		_, err := parsePrefix(peer)
		p.want(err == nil, fmt.Sprintf("cluster.peers.%d", i), "%q is no address or network: write for instance 10.0.0.2", peer)
	}
	p.want(c.Cluster.Lease >= 3*time.Second && c.Cluster.Lease <= time.Minute, "cluster.lease", "%s: 3s to 1m", c.Cluster.Lease)
	p.want(store.IsPostgres(c.Tables.Address), "tables.address", "several machines (cluster.pages is set) share their tables: write postgres://user:password@host/database")
	p.want(len(c.Stream.Kafka.Brokers) > 0, "stream.kafka.brokers", "several machines (cluster.pages is set) share their stream: name the brokers")
	p.want(c.SIP.UDP != "", "sip.udp", "is empty: machines send calls on to one another over UDP")
}
