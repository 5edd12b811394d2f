package search

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"yingda/intake"
	"yingda/internal/pii"
)

func analyzer(t testing.TB, c AnalyzerConfig) *Analyzer {
	t.Helper()
	a, err := NewAnalyzer(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTokens(t *testing.T) {
	a := analyzer(t, AnalyzerConfig{})
	test := func(field Field, text, want string) {
		t.Helper()
		var got []string
		for _, tok := range a.tokens(normalise(text, 1000)) {
			if tok.field == field && !slices.Contains(got, tok.text) {
				got = append(got, tok.text)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s of %q: %q, want %q", field, text, s, want)
		}
	}
	test(FieldWords, "路灯不亮了", "路灯 灯不 不亮 亮了")
	test(FieldWords, "路燈，不亮", "路灯 不亮")
	test(FieldWords, "灯", "灯")
	test(FieldWords, "ＷｉＦｉ坏了", "wifi 坏了")
	test(FieldWords, "5G信号4g", "5g 信号 4g")
	test(FieldWords, "b座12栋", "b 座 12 12栋 栋")
	test(FieldWords, "十二栋三号楼", "十二 二栋 栋三 三号 号楼 12栋 3号")
	test(FieldWords, "一百零五弄", "一百 百零 零五 五弄 105弄")
	test(FieldWords, "路\u200b灯\x00坏", "路灯 坏")
	test(FieldPhrase, "路灯不亮", "路灯不 灯不亮")
	test(FieldChars, "灯亮wifi", "灯 亮")
	test(FieldSound, "路灯", "lu-den")
	test(FieldSound, "路登", "lu-den")
	test(FieldSound, "重阳", "zon-yan con-yan")
	test(FieldSound, "黄花", "fan-fa")
	test(FieldNumber, "打0512-5550-1234找我", "051255501234 55501234 $1234")
	test(FieldNumber, "我电话138 0011 2233", "13800112233 $2233")
	test(FieldNumber, "幺三八零零幺幺二二三三", "13800112233 $2233")
	test(FieldNumber, "12345", "")
	test(FieldNumberPart, "5550-1234", "5550 5501 5012 0123 1234")
}

func TestFoldingByRegion(t *testing.T) {
	for _, c := range []struct{ region, x, y string }{
		{"", "牛", "刘"}, {"", "湖南", "福兰"}, {"", "是", "四"}, {"", "京", "金"},
		{"wu", "黄", "王"}, {"wu", "胡", "吴"}, {"northeast", "人", "银"},
	} {
		a := analyzer(t, AnalyzerConfig{Region: c.region})
		sound := func(s string) (all string) {
			for _, r := range s {
				first, _ := a.sounds.of(r)
				all += first + " "
			}
			return all
		}
		if sound(c.x) != sound(c.y) {
			t.Errorf("region %q: %s is %s, %s is %s", c.region, c.x, sound(c.x), c.y, sound(c.y))
		}
	}
	plain := analyzer(t, AnalyzerConfig{})
	if x, _ := plain.sounds.of('黄'); x == "wan" {
		t.Error("黄 is 王 where nobody says so")
	}
	if _, err := NewAnalyzer(AnalyzerConfig{Region: "mars"}); err == nil {
		t.Error("a region without a table is taken")
	}
	if analyzer(t, AnalyzerConfig{Region: "wu"}).Fingerprint() == plain.Fingerprint() {
		t.Error("two regions have one fingerprint")
	}
}

// terms that a plan looks for in a field, those of All joined with +.
func terms(p Plan, f Field) (list []string) {
	for _, c := range p.Concepts {
		for _, k := range c.Clauses {
			if k.Field == f && k.All {
				list = append(list, strings.Join(k.Terms, "+"))
			} else if k.Field == f {
				list = append(list, k.Terms...)
			}
		}
	}
	return list
}

func TestPlan(t *testing.T) {
	a := analyzer(t, AnalyzerConfig{Synonyms: [][]string{{"老船厂", "船厂家属院"}}})
	has := func(text string, f Field, want ...string) {
		t.Helper()
		got := terms(a.Plan(Query{Text: text}), f)
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%q looks in %s for %v, want %s", text, f, got, w)
			}
		}
	}
	hasNot := func(text string, f Field, unwanted ...string) {
		t.Helper()
		for _, w := range unwanted {
			if slices.Contains(terms(a.Plan(Query{Text: text}), f), w) {
				t.Errorf("%q looks in %s for %s", text, f, w)
			}
		}
	}
	has("街灯", FieldWords, "街灯", "路灯")
	has("路登坏了", FieldWords, "路灯", "坏了")
	has("老船厂的事", FieldWords, "船厂+厂家+家属+属院")
	has("喂你好我想反映一下路灯怎么不亮啊", FieldWords, "路灯", "不亮")
	hasNot("喂你好我想反映一下路灯怎么不亮啊", FieldWords, "你好", "反映", "怎么", "么不")
	has("你好", FieldWords, "你好") // nothing else was said
	has("灯", FieldChars, "灯")
	hasNot("路灯", FieldChars, "路", "灯")
	has("1234", FieldNumber, "$1234")
	hasNot("1204室", FieldNumber, "$1204")
	has("1204室", FieldWords, "1204室")
	has("0512-5550-1234", FieldNumber, "051255501234")
	hasNot("0512-5550-1234", FieldWords, "0512", "1234")
	has("张阿姨", FieldName, "^张")
	has("abc@host.example", FieldID, "abc@host.example")
	if p := a.Plan(Query{Text: "  *:*  "}); !p.Nothing || len(p.Concepts) > 0 {
		t.Errorf("*:* means %+v", p)
	}
	if p := a.Plan(Query{Text: " \n"}); p.Nothing || len(p.Concepts) > 0 {
		t.Errorf("no text means %+v", p)
	}
}

func FuzzPlan(f *testing.F) {
	for _, s := range []string{"", "路灯不亮", "路登", "張桂芳", "0512-5550-1234", "幺三八零零幺幺二二三三", "３号楼wifi", "*:*", "((((灯", "\x00\xff路", "二三十百千号", "张阿姨", "一字", "a@b.example", "\u0301\u200b灯", strings.Repeat("水管", 400)} {
		f.Add(s, s+"门口")
	}
	a := analyzer(f, AnalyzerConfig{})
	f.Fuzz(func(t *testing.T, text, words string) {
		p := a.Plan(Query{Text: text})
		if n := len(p.Concepts); n > 3*maxConcepts {
			t.Fatalf("%d concepts", n)
		}
		for _, c := range p.Concepts {
			if len(c.Clauses) == 0 || len(c.Clauses) > 3*maxWays {
				t.Fatalf("a concept of %d clauses", len(c.Clauses))
			}
			for _, k := range c.Clauses {
				if len(k.Terms) == 0 || k.Boost <= 0 {
					t.Fatalf("clause %+v", k)
				}
				check(t, k.Field, k.Terms)
			}
		}
		d := Document{ID: "contact/c", Kind: Contact, Words: []pii.Text{pii.NewText(words)}, Name: pii.NewName(text), Address: pii.NewAddress(words), Number: pii.NewPhone(text)}
		for name, list := range a.Fields(&d) {
			check(t, name, list)
		}
		lights, _ := a.Explain(p, &d)
		for _, h := range lights {
			for _, r := range h.Ranges {
				if r.From < 0 || r.From >= r.To || r.To > len(h.Text.Reveal()) {
					t.Fatalf("range %v of %q", r, h.Text.Reveal())
				}
			}
		}
	})
}

func check(t *testing.T, f Field, list []string) {
	t.Helper()
	for _, s := range list {
		if s == "" || len(s) > maxToken+4 || strings.ContainsAny(s, " \n\t\x00") || !utf8.ValidString(s) {
			t.Fatalf("token %q of %s", s, f)
		}
	}
}

func FuzzLoad(f *testing.F) {
	d := Document{ID: "case/c", Kind: Case, Sequence: 1, Words: []pii.Text{pii.NewText("路灯")}, Contacts: []intake.ContactID{"a"}}
	b, err := d.Stored()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"id":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Load(b)
		if err != nil {
			return
		}
		again, err := d.Stored()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(again); err != nil {
			t.Fatal(err)
		}
	})
}
