package app

import (
	"net/netip"
	"time"

	"yingda/intake"
	"yingda/intake/stream/kafka"
	"yingda/search/elastic"
)

// Config is everything that can be set, from one YAML file, YINGDA_… in the environment, and flags, the later over the
// earlier. Zero is never a surprise: Default says what each is when it is not set. The doc tags make the annotated sample.
type Config struct {
	Data    string        `koanf:"data" doc:"folder in which everything is kept: log, tables, index, recordings"`
	Office  OfficeConfig  `koanf:"office" doc:"whose hotline this is"`
	HTTP    HTTPConfig    `koanf:"http" doc:"pages and API"`
	SIP     SIPConfig     `koanf:"sip" doc:"telephony: where calls come in and operators' phones register"`
	Trunks  []Trunk       `koanf:"trunks" doc:"who may bring calls from outside, by address; with none, 127.0.0.0/8 counts as one"`
	Media   MediaConfig   `koanf:"media" doc:"audio: ports, recording, prompts"`
	Lines   []LineConfig  `koanf:"lines" doc:"the published numbers at the first start; afterwards they are kept in the ledger (yingda lines, or the page 号码台账), where they change without a restart"`
	Routing RoutingConfig `koanf:"routing" doc:"where cases go, and until when"`
	Public  PublicConfig  `koanf:"public" doc:"what people outside see and may do without an account"`
	Queue   QueueConfig   `koanf:"queue" doc:"how those who wait meet operators"`
	Books   BooksConfig   `koanf:"books" doc:"callbacks and the answer rate"`
	Log     LogConfig     `koanf:"log" doc:"what the program says about itself"`
	Tables  TablesConfig  `koanf:"tables" doc:"where cases, callbacks, operators and secrets are kept"`
	Stream  StreamConfig  `koanf:"stream" doc:"the event log"`
	Search  SearchConfig  `koanf:"search" doc:"where what can be searched is kept"`
	Cluster ClusterConfig `koanf:"cluster" doc:"several machines for one office; it needs tables.address and stream.kafka"`
}

// ClusterConfig of a machine that is one of several.
type ClusterConfig struct {
	Pages string        `koanf:"pages" doc:"URL at which the other machines reach the pages of this one, such as http://10.0.0.1:8080; empty: this machine is alone"`
	SIP   string        `koanf:"sip" doc:"address:port at which calls that reached another machine are sent on to this one, over UDP"`
	Peers []string      `koanf:"peers" doc:"addresses of the other machines: what they send on counts as from where they had it; nothing else may have these addresses"`
	Lease time.Duration `koanf:"lease" doc:"how long a machine that is not heard of keeps the switchboard"`
}

// Member says whether this machine is one of several.
func (c Config) Member() bool { return c.Cluster.Pages != "" }

// SearchConfig of the index.
type SearchConfig struct {
	Elastic elastic.Config `koanf:"elastic" doc:"Elasticsearch 8, for several machines; without addresses the index is a folder beside the log"`
	Mend    time.Duration  `koanf:"mend" doc:"how long the index in Elasticsearch may lack a shard (red) before it is built again from the stream; 0: never by itself"`
	Keep    time.Duration  `koanf:"keep" doc:"how long what has ended can still be found in Elasticsearch after its last change; 0: for ever. Stream and books keep it"`
}

// OfficeConfig names the office.
type OfficeConfig struct {
	Name        string `koanf:"name" doc:"shown on every page"`
	Node        string `koanf:"node" doc:"name of this machine in the events it writes; letters, digits, dash"`
	Switchboard string `koanf:"switchboard" doc:"name of the switchboard that this machine runs"`
	TimeZone    string `koanf:"time_zone" doc:"days and windows are cut in it (IANA name)"`
}

// HTTPConfig of pages and API.
type HTTPConfig struct {
	Listen  string `koanf:"listen" doc:"address and port; port 0 takes a free one"`
	TLSCert string `koanf:"tls_cert" doc:"PEM file; with tls_key the pages are served over https"`
	TLSKey  string `koanf:"tls_key" doc:"PEM file"`
}

// SIPConfig of the telephony edge.
type SIPConfig struct {
	UDP       string   `koanf:"udp" doc:"address and port for SIP over UDP; empty: none"`
	TCP       string   `koanf:"tcp" doc:"address and port for SIP over TCP; empty: none"`
	Advertise string   `koanf:"advertise" doc:"address that we put into Contact and SDP when it is not the one we listen on (behind NAT)"`
	Realm     string   `koanf:"realm" doc:"realm of operators' phones; changing it makes every phone's secret void"`
	Digests   []string `koanf:"digests" doc:"how phones prove their secret, in order of preference: MD5, SHA-256; many desk phones give up when SHA-256 is offered at all"`
	MaxCalls  int      `koanf:"max_calls" doc:"calls under way beyond which a new one gets 503 and is written down as refused"`
	Rate      float64  `koanf:"rate" doc:"INVITEs a second from one source beyond which they get 503"`
}

// Trunk is a source of calls.
type Trunk struct {
	Name     string   `koanf:"name" doc:"shown as the origin of a contact"`
	Allow    []string `koanf:"allow" doc:"addresses and networks it sends from"`
	MaxCalls int      `koanf:"max_calls" doc:"calls under way at once; 0: no limit of its own"`
	Rate     float64  `koanf:"rate" doc:"INVITEs a second; 0: no limit of its own"`
	Forward  bool     `koanf:"forward" doc:"it does not follow a 302: a machine that stands by passes its calls on itself"`
	Out      string   `koanf:"out" doc:"host:port to which calls back go; empty: this trunk takes none"`
	User     string   `koanf:"user" doc:"digest user when the trunk asks for one"`
	Password string   `koanf:"password" doc:"digest password" secret:"true"`
}

// MediaConfig of the audio plane.
type MediaConfig struct {
	Address string `koanf:"address" doc:"address for RTP; empty: that of sip.udp"`
	PortMin int    `koanf:"port_min" doc:"first RTP port (even)"`
	PortMax int    `koanf:"port_max" doc:"last RTP port"`
	Threads int    `koanf:"threads" doc:"media threads; 0: one a core"`
	Record  bool   `koanf:"record" doc:"record bridged calls in two channels"`
	Prompts string `koanf:"prompts" doc:"folder of a prompt pack that replaces the built-in one; missing prompts are taken from the built-in pack"`
}

// LineConfig is a line as the ledger keeps it.
type LineConfig struct {
	ID      string   `koanf:"id" doc:"key of the line, kept for ever"`
	Name    string   `koanf:"name" doc:"what people call it"`
	Numbers []string `koanf:"numbers" doc:"called numbers that reach it; * takes any that no other line has"`
	Number  string   `koanf:"number" doc:"the number as published"`
	Owner   string   `koanf:"owner" doc:"unit in charge"`
	Hours   string   `koanf:"hours" doc:"24h, or spans such as 'Mo-Fr 08:30-12:00,13:30-17:30; Sa 09:00-12:00'"`
}

// RoutingConfig of the cases.
type RoutingConfig struct {
	Rules string `koanf:"rules" doc:"file of the office's own rules (YAML or JSON), read again whenever it changes; empty: the set that comes with the program, see yingda rules print"`
}

// PublicConfig of the pages, the chat and the apps of people without an account.
type PublicConfig struct {
	Line    string   `koanf:"line" doc:"line to which what comes by pages and apps belongs; empty: the one that any called number reaches"`
	Urgent  string   `koanf:"urgent" doc:"what people in danger should do, on every page; empty: nothing is said"`
	Origins []string `koanf:"origins" doc:"other sites on which the chat widget may stand, such as https://www.example.gov.cn"`
	Private []string `koanf:"private" doc:"networks other than public ones to which webhooks to apps may go, such as 10.1.0.0/16"`
}

// QueueConfig of the queue.
type QueueConfig struct {
	Strategy string        `koanf:"strategy" doc:"longest_idle or fewest_calls"`
	RingTime time.Duration `koanf:"ring_time" doc:"how long an operator's phone rings before the next is asked"`
	WrapUp   time.Duration `koanf:"wrap_up" doc:"time for writing after a call"`
	Misses   int           `koanf:"misses" doc:"calls in a row an operator may let ring before a break with a notice"`
	MaxWait  time.Duration `koanf:"max_wait" doc:"how long a caller may wait before we give up and promise a call; 0: for ever"`
	Chats    int           `koanf:"chats" doc:"conversations an operator may have at once"`
	Beside   int           `koanf:"chats_beside_call" doc:"of these beside a call; 0: none is offered to somebody who talks"`
	MaxQueue int           `koanf:"max_queue" doc:"callers who may wait on one line; 0: no limit"`
}

// BooksConfig of the books.
type BooksConfig struct {
	Due          time.Duration `koanf:"due" doc:"a call back is due so long after the first attempt"`
	Tries        int           `koanf:"tries" doc:"failed tries after which a grid worker is asked to go"`
	ShortAbandon time.Duration `koanf:"short_abandon" doc:"a caller who leaves sooner is flagged and shown apart, never dropped"`
}

// LogConfig of slog.
type LogConfig struct {
	Level  string `koanf:"level" doc:"debug, info, warn or error"`
	Format string `koanf:"format" doc:"text or json"`
}

// TablesConfig says where the tables are.
type TablesConfig struct {
	Address string `koanf:"address" doc:"postgres://user:password@host/database, for an office on many machines; empty: an SQLite file in the data folder" secret:"true"`
}

// StreamConfig of the event log.
type StreamConfig struct {
	Limit   time.Duration `koanf:"limit" doc:"an event that takes longer to write than this waits in memory while the call goes on"`
	Memory  int           `koanf:"memory" doc:"events that may wait in memory while the disk does not write"`
	Ballast int64         `koanf:"ballast" doc:"bytes set aside on disk and given up when it fills; -1: none"`
	Budget  int64         `koanf:"budget" doc:"bytes of disk for events beside Kafka; an alarm stands from half of it on. Nothing is refused beyond it"`

	Keep  time.Duration  `koanf:"keep" doc:"how long events stay on this machine after Kafka has them; 0: for ever, so that the way back to one machine stays open"`
	Kafka kafka.Settings `koanf:"kafka" doc:"Kafka, to which every event is carried on and which is then what all read; without brokers there is none"`
}

// Default is what holds when nothing is set: `yingda serve` with no file at all works.
func Default() Config {
	return Config{
		Data:    "data",
		Office:  OfficeConfig{Name: "便民热线", Node: "n1", Switchboard: "main", TimeZone: "Asia/Shanghai"},
		HTTP:    HTTPConfig{Listen: "127.0.0.1:8080"},
		SIP:     SIPConfig{UDP: "127.0.0.1:5060", TCP: "127.0.0.1:5060", Realm: "yingda", Digests: []string{"MD5"}, MaxCalls: 1000, Rate: 200},
		Media:   MediaConfig{PortMin: 20000, PortMax: 29999, Record: true},
		Lines:   []LineConfig{{ID: "main", Name: "便民热线", Numbers: []string{"*"}, Number: "12345", Owner: "本单位", Hours: "24h"}},
		Public:  PublicConfig{Urgent: "有危险先打 110、119 或 120。"},
		Queue:   QueueConfig{Strategy: "longest_idle", RingTime: 20 * time.Second, WrapUp: 15 * time.Second, Misses: 3, MaxWait: 10 * time.Minute, MaxQueue: 200, Chats: 3, Beside: 1},
		Books:   BooksConfig{Due: 4 * time.Hour, Tries: 3, ShortAbandon: 5 * time.Second},
		Log:     LogConfig{Level: "info", Format: "text"},
		Stream:  StreamConfig{Limit: 500 * time.Millisecond, Memory: 200_000, Ballast: 64 << 20, Budget: 10 << 30, Kafka: noKafka()},
		Cluster: ClusterConfig{Peers: []string{}, Lease: 10 * time.Second},
		Search:  SearchConfig{Elastic: elastic.Config{Addresses: []string{}, Index: elastic.DefaultIndex, Shards: 1}, Mend: 5 * time.Minute},
	}
}

// noKafka is what holds of Kafka before somebody names a broker.
func noKafka() kafka.Settings {
	k := kafka.Default()
	k.Brokers = []string{}
	return k
}

// loopback is the trunk that stands when none is configured.
func loopback() Trunk { return Trunk{Name: "loopback", Allow: []string{"127.0.0.0/8"}} }

// trunks are those configured, or the loopback one.
func (c Config) trunks() []Trunk {
	if len(c.Trunks) == 0 {
		return []Trunk{loopback()}
	}
	return c.Trunks
}

// location is the office's time zone; Check has seen that it exists.
func (c Config) location() *time.Location {
	l, err := time.LoadLocation(c.Office.TimeZone)
	if err != nil {
		return time.UTC
	}
	return l
}

func (c Config) switchboard() intake.SwitchboardID { return intake.SwitchboardID(c.Office.Switchboard) }

// prefixes of a trunk; Check has seen that they can be read.
func (t Trunk) prefixes() []netip.Prefix {
	var list []netip.Prefix
	for _, s := range t.Allow {
		if p, err := parsePrefix(s); err == nil {
			list = append(list, p)
		}
	}
	return list
}
