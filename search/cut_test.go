package search_test

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"yingda/internal/pii"
	"yingda/search"
	"yingda/search/searchtest"
)

// An index is full of documents that were cut as they are cut today. When this fails, documents are cut in another way: raise analysisVersion, so that every
// office's index is known to be old, and put the new sum here. (Another judged set has another sum too.)
func TestDocumentsAreCutAsThoseThatIndexesHold(t *testing.T) {
	for region, want := range map[string]string{"": "e9daf36319073404", "wu": "c1019bb2b947adfb"} {
		a, err := search.NewAnalyzer(search.AnalyzerConfig{Region: region})
		if err != nil {
			t.Fatal(err)
		}
		h := fnv.New64a()
		var room search.Scratch
		for _, d := range cutDocuments(t) {
			f := a.Fields(&d)
			for name, list := range a.FieldsIn(&room, &d) { // which was used for others before
				if !slices.Equal(list, f[name]) {
					t.Fatalf("%s of %s: %q, and in a room of the caller's %q", name, d.ID, f[name], list)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(f)) {
				_, _ = fmt.Fprintf(h, "%s %q\n", name, f[name])
			}
		}
		if sum := fmt.Sprintf("%016x", h.Sum64()); sum != want {
			t.Errorf("region %q: the sum of all tokens is %s, want %s", region, sum, want)
		}
	}
}

// Fields stand in Elasticsearch as words between spaces, and what is a space there is not quite what it is here.
func TestNoTokenHoldsASpace(t *testing.T) {
	a, err := search.NewAnalyzer(search.AnalyzerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	odd := "A\x1fb \u00a0c\u2028d\u3000e\x00"
	d := search.Document{ID: "contact/c1", SIPCallID: odd, Words: []pii.Text{pii.NewText(odd)}, Name: pii.NewName(odd), Address: pii.NewAddress(odd), Category: odd}
	f := a.Fields(&d)
	for name, list := range f {
		for _, token := range list {
			if strings.ContainsFunc(token, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
				t.Errorf("%s holds %q", name, token)
			}
		}
	}
	if !slices.Contains(f[search.FieldID], "abcde") {
		t.Errorf("ids %q", f[search.FieldID])
	}
}

// cutDocuments are those of the judged set, and texts that are like nothing in it.
func cutDocuments(t testing.TB) []search.Document {
	t.Helper()
	set, err := searchtest.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	var list []search.Document
	for _, it := range set.Items {
		var d search.Document
		for _, e := range it.Events() {
			search.Apply(&d, e)
		}
		list = append(list, d)
	}
	strange := []string{"１２栋３号　ＷＩＦＩ 4G 信号差", "幺三八零零零零五六七八", "0512-5550-1234 转 8", "重庆的银行行长说不行", "臺灣來電話說電梯壞了", "㐀㐁𠀀𠀁 生僻字", "a\u0301bc é Straße ΣΑΣ",
		"\u200b零\u200d宽\ufeff", "b座三单元二〇二室 一百零五号楼 十二路车", "۱۲۳ １٣ 漢字kanji漢", "\xff坏\xfe的\xc0字", "号", "7", "　", "!!!", "İstanbul K\u212a",
		strings.Repeat("天天停水", 300), strings.Repeat("1380000", 9), "<b>&\"\\\u2028", "（0512）5550.1234·9", "二三十户人家三千四百零一", "AB12CD34ef 5G信号12", "张阿姨 李Li雷"}
	for i, s := range strange {
		list = append(list, search.Document{ID: "contact/c1", Words: []pii.Text{pii.NewText(s), pii.NewText("又说一遍" + s)}, Address: pii.NewAddress(s), Name: pii.NewName(s), Category: s,
			SIPCallID: s, Number: pii.NewPhone(fmt.Sprintf("+86512555012%02d", i%100))})
	}
	return list
}

func BenchmarkFields(b *testing.B) {
	a, err := search.NewAnalyzer(search.AnalyzerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	list := cutDocuments(b)[:300]
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		a.Fields(&list[i%len(list)])
		i++
	}
}

func BenchmarkStored(b *testing.B) {
	list := cutDocuments(b)[:300]
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := list[i%len(list)].Stored(); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
