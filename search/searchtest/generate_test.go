package searchtest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/corpus.jsonl and testdata/judged.jsonl anew from the hand-written parts")

// matter is a thing that people call about.
type matter struct {
	key, department, category string
	tellings                  []string
}

// place is where.
type place struct {
	key, grid     string
	called, spots []string
}

type person struct {
	name, number, place string
	matters             []string
}

// what people wrap a complaint in, and what they end it with.
var (
	openers = []string{"喂，你好，", "同志啊，", "我想反映一下，", "麻烦你们，", "哎呀，", "小姑娘，我跟你讲，", "我年纪大了讲不清楚，", "上次也打过电话的，", "不好意思又来烦你们，",
		"那个，就是说，", "喂喂，听得见伐，", "我是老住户了，", "伲搭这里，", "我帮我妈问的，", "师傅，", "我耳朵不大好，你慢点讲，", "请问，", "跟你们讲个事，"}
	clerks  = []string{"来电人反映：", "居民来电称", "市民反映", "诉求人说，", "该居民第二次来电：", "其女儿代为反映：", "口述：", "网格员转述："}
	closers = []string{"，你们管不管的", "，派个人来看看吧", "，好几天了", "，谢谢你们啊", "，我腿脚不好走不来", "，打了几次电话都没下文", "，老人小孩都不方便", "，希望尽快处理", "，我等你们回音",
		"，邻居们都有意见", "，真的没办法了", "，拜托拜托", "，居委会讲不归他们管", "，再不来要出人命的", "，我就这点要求"}
	times = []string{"昨天晚上", "今朝早上", "前天", "上个礼拜", "早上六点", "国庆节以后", "大前天", "下半天", "落雨那天", "从礼拜一"}
	given = []string{"国庆", "美华", "春生", "丽萍", "阿福", "雪珍", "文彬", "菊香", "大毛", "小红", "永康", "爱珍", "林生", "素琴", "海根", "妙英", "金妹", "国强", "慧敏", "宝根"}
	names = []string{"赵", "顾", "蒋", "汤", "陶", "杜", "范", "潘", "龚", "谢", "邹", "严", "费", "丁", "屈", "尤", "戴", "唐", "计", "薛"}
)

func part(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

func matters(t *testing.T) []matter {
	var list []matter
	for _, line := range part(t, "matters.txt") {
		f := strings.Fields(line)
		switch f[0] {
		case "=":
			list = append(list, matter{key: f[1], department: f[2], category: f[3]})
		case "-":
			m := &list[len(list)-1]
			m.tellings = append(m.tellings, strings.TrimSpace(line[1:]))
		default:
			t.Fatalf("matters.txt: %s", line)
		}
	}
	return list
}

func places(t *testing.T) []place {
	var list []place
	for _, line := range part(t, "places.txt") {
		f := strings.Split(line, "|")
		head := strings.Fields(f[0])
		list = append(list, place{head[0], head[1], strings.Fields(f[1]), strings.Fields(f[2])})
	}
	return list
}

func people(t *testing.T) []person {
	var list []person
	for _, line := range part(t, "people.txt") {
		f := strings.Fields(line)
		list = append(list, person{f[0], f[1], f[2], f[3:]})
	}
	return list
}

// maker composes items; the same seed gives the same ones.
type maker struct {
	*rand.Rand
	items []Item
	clock time.Time
}

func one[T any](m *maker, list []T) T { return list[m.IntN(len(list))] }

func (m *maker) spot(p place) string {
	s := one(m, p.spots)
	for strings.Contains(s, "{n}") {
		s = strings.Replace(s, "{n}", strconv.Itoa(1+m.IntN(28)), 1)
	}
	return s
}

// add tells one matter at one place.
func (m *maker) add(mt matter, telling int, p place, who person) {
	spot := m.spot(p)
	said := one(m, p.called)
	where := said
	if m.IntN(2) == 0 {
		where = p.called[0] + spot
	}
	text := strings.ReplaceAll(strings.ReplaceAll(mt.tellings[telling], "{p}", where), "{t}", one(m, times))
	if m.IntN(5) < 2 {
		text += one(m, closers)
	}
	m.clock = m.clock.Add(time.Duration(20+m.IntN(60)) * time.Minute)
	it := Item{ID: fmt.Sprintf("01920000-%04x-7000-8000-%012x", len(m.items), m.Uint64()&(1<<48-1)), At: m.clock, Line: "12345",
		Matter: mt.key, Telling: telling + 1, Place: p.key, Grid: p.grid, Name: who.name, Number: who.number}
	if m.IntN(3) > 0 {
		it.Address = p.called[0] + spot
	}
	switch r := m.IntN(20); {
	case r < 12:
		it.Kind, it.Department, it.Operator = "case", mt.department, fmt.Sprintf("op-%d", 1+m.IntN(8))
		if m.IntN(2) == 0 {
			it.Category = mt.category
		}
		if m.IntN(2) == 0 {
			text = one(m, clerks) + text
		} else if m.IntN(3) == 0 {
			text = one(m, openers) + text
		}
		it.Words = []string{text}
		if m.IntN(4) == 0 {
			it.Words = append(it.Words, one(m, []string{"已电话联系，约明天上门", "现场看过，等材料", "联系不上，再打", "老人说不急"}))
		}
	case r < 17:
		it.Kind, it.Channel = "contact", one(m, []string{"app", "sms", "wechat"})
		if m.IntN(3) == 0 {
			text = one(m, openers) + text
		}
		it.Words, it.Outcome = []string{text}, "accepted"
	default:
		it.Kind, it.Channel, it.Outcome = "contact", "chat", one(m, []string{"replied", "unattended"})
		it.Words = []string{one(m, openers) + "在吗"}
		it.Words = append(it.Words, strings.FieldsFunc(text, func(r rune) bool { return r == '，' })...)
		it.Name = ""
	}
	m.items = append(m.items, it)
}

func (m *maker) stranger() person {
	p := person{name: one(m, names) + one(m, given)}
	if m.IntN(2) == 0 {
		p.number = fmt.Sprintf("13800%06d", 300000+m.IntN(99999))
	} else {
		p.number = fmt.Sprintf("05125550%04d", 8000+m.IntN(900))
	}
	return p
}

func corpus(t *testing.T) []Item {
	m := &maker{Rand: rand.New(rand.NewPCG(12345, 2026)), clock: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)}
	ms, ps := matters(t), places(t)
	for _, mt := range ms {
		for i := range mt.tellings {
			n := 1
			if i%2 == 0 {
				n = 2 // every second telling is heard at two places
			}
			for range n {
				m.add(mt, i, one(m, ps), m.stranger())
			}
		}
	}
	for _, who := range people(t) {
		at := ps[slices.IndexFunc(ps, func(p place) bool { return p.key == who.place })]
		for _, key := range who.matters {
			i := slices.IndexFunc(ms, func(mt matter) bool { return mt.key == key })
			if i < 0 {
				t.Fatalf("people.txt: no matter %s", key)
			}
			m.add(ms[i], m.IntN(len(ms[i].tellings)), at, who)
		}
		m.phone(who)
	}
	for range 50 {
		m.phone(m.stranger())
	}
	return m.items
}

// phone is a call of which nothing was written down.
func (m *maker) phone(who person) {
	m.clock = m.clock.Add(time.Duration(5+m.IntN(30)) * time.Minute)
	m.items = append(m.items, Item{ID: fmt.Sprintf("01920000-%04x-7000-8000-%012x", len(m.items), m.Uint64()&(1<<48-1)), Kind: "contact", Channel: "phone",
		Line: "12345", At: m.clock, Name: who.name, Number: who.number, Operator: "op-1",
		Outcome: one(m, []string{"answered", "answered", "abandoned_queue", "abandoned_ringing", "abandoned_greeting"})})
}

// judge gives every query its documents by what they are about, never by what an index finds.
func judge(t *testing.T, items []Item) []Judged {
	known := map[string]int{}
	for _, m := range matters(t) {
		known[m.key] = len(m.tellings)
	}
	var list []Judged
	for _, line := range part(t, "queries.txt") {
		f := strings.Split(line, "|")
		if len(f) != 3 {
			t.Fatalf("queries.txt: %s", line)
		}
		j := Judged{Class: strings.TrimSpace(f[0]), Query: strings.TrimSpace(f[1]), Grades: map[string]int{}}
		j.Unseen = j.Class == "复核"
		want := map[string]string{}
		for _, w := range strings.Fields(f[2]) {
			k, v, _ := strings.Cut(w, "=")
			want[k] = v
		}
		for _, grade := range []string{"1", "2"} {
			checkTellings(t, line, known, want[grade])
		}
		for _, it := range items {
			if grade := grade(want, it); grade > 0 {
				j.Grades[it.ID] = grade
			}
		}
		if len(j.Grades) == 0 {
			t.Errorf("queries.txt: nothing is relevant to: %s", line)
		}
		list = append(list, j)
	}
	return list
}

// grade says how much an item is what a query wants.
func grade(want map[string]string, it Item) int {
	says := func(test func(words string) bool) bool { return slices.ContainsFunc(it.Words, test) }
	right := false
	switch {
	case want["place"] != "" && want["place"] != it.Place:
	case want["name"] != "":
		right = want["name"] == it.Name
	case want["number"] != "":
		right = want["number"] == it.Number
	case want["address"] != "":
		right = it.Address == want["address"] || says(func(w string) bool { return standsIn(w, want["address"]) })
	case want["says"] != "":
		right = says(func(w string) bool { return strings.Contains(strings.ToLower(w), strings.ToLower(want["says"])) })
	case meant(want["2"], it):
		right = true
	case meant(want["1"], it):
		return 1
	}
	if right {
		return 2
	}
	return 0
}

// meant says whether an item is among matters with their tellings: "路灯:123;停电".
func meant(list string, it Item) bool {
	for m := range strings.SplitSeq(list, ";") {
		key, tellings, some := strings.Cut(m, ":")
		if key != "" && key == it.Matter && (!some || strings.Contains(tellings, strconv.Itoa(it.Telling))) {
			return true
		}
	}
	return false
}

func checkTellings(t *testing.T, line string, known map[string]int, list string) {
	t.Helper()
	for m := range strings.SplitSeq(list, ";") {
		key, tellings, _ := strings.Cut(m, ":")
		if list != "" && known[key] == 0 {
			t.Fatalf("queries.txt: %s: no matter %s", line, key)
		}
		for _, n := range tellings {
			if int(n-'0') < 1 || int(n-'0') > known[key] {
				t.Fatalf("queries.txt: %s: %s has no telling %c", line, key, n)
			}
		}
	}
}

// standsIn says whether an address stands in a text, and not 12栋 in 112栋 or 3栋 in 3栋2单元.
func standsIn(text, address string) bool {
	_, rest, ok := strings.Cut(text, address)
	return ok && (rest == "" || rest[0] > '9' || rest[0] < '0')
}

func TestCorpusIsWhatItsPartsMake(t *testing.T) {
	items := corpus(t)
	var docs, judged bytes.Buffer
	for _, it := range items {
		writeLine(t, &docs, it)
	}
	for _, j := range judge(t, items) {
		writeLine(t, &judged, j)
	}
	for name, want := range map[string][]byte{"corpus.jsonl": docs.Bytes(), "judged.jsonl": judged.Bytes()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not what its parts make (%v); run go test ./search/searchtest -run Corpus -update", name, err)
		}
	}
}

func writeLine(t *testing.T, b *bytes.Buffer, v any) {
	t.Helper()
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
}
