package pii

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func FuzzPhone(f *testing.F) {
	for _, s := range []string{"13800005678", "+86 138 0000 5678", "008651255501234", "013800005678", "0512-5550-1234", "12345", "110", "*#", "+", "", "anonymous",
		"1\r\nX: y", "+860", "+86+86", "00860086138", "０１２３", "1(2)3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := NewPhone(s)
		clear := p.Reveal()
		if again := NewPhone(clear); again != p {
			t.Errorf("%q is %q and then %q", s, clear, again.Reveal())
		}
		if p.IsZero() != (clear == "") || len(clear) > 32 {
			t.Errorf("%q is %q", s, clear)
		}
		if strings.Trim(strings.TrimPrefix(clear, "+"), "0123456789*#") != "" {
			t.Errorf("%q has kept what is no part of a number: %q", s, clear)
		}
		n := p.National()
		if n.IsZero() != p.IsZero() {
			t.Errorf("%q is %q within the country", clear, n.Reveal())
		}
		for _, p := range []Phone{p, n} {
			masked(t, p, p.Reveal(), 4)
		}
	})
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"王小明", "王", "欧阳小明", "Li Lei", "枫桥社区 7 幢 302 室", "王村 7 幢 302 室 枫桥社区", "街道", "\xff\xfe村", " ", "彩香三村３幢"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, address, text := NewName(s), NewAddress(s), NewText(s)
		if NewName(name.Reveal()) != name || NewAddress(address.Reveal()) != address || text.Reveal() != s {
			t.Errorf("%q changes when it is read again", s)
		}
		if n := utf8.RuneCountInString(name.Reveal()); n > 2 && strings.Count(name.String(), "*") == 0 {
			t.Errorf("the name %q is shown as %s", s, name)
		}
		masked(t, name, "", 0)
		if !address.IsZero() {
			shown, hidden := strings.CutSuffix(address.String(), "***")
			if !hidden || !strings.HasPrefix(address.Reveal(), shown) || strings.ContainsFunc(shown, unicode.IsDigit) {
				t.Errorf("the address %q is shown as %s", s, address)
			}
		}
		masked(t, address, "", 0)
		if text.IsZero() != (text.String() == "") || !text.IsZero() && text.String() != fmt.Sprintf("(%d 字)", utf8.RuneCountInString(s)) {
			t.Errorf("the words %q are shown as %s", s, text)
		}
		masked(t, text, "", 0)
	})
}

// masked wants that all ways of printing v agree, and show no run of more than most digits of clear.
func masked(t *testing.T, v interface {
	fmt.Stringer
	json.Marshaler
	slog.LogValuer
}, clear string, most int) {
	t.Helper()
	want := v.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10s", "%T%[1]v"} {
		have := fmt.Sprintf(verb, v)
		if _, rest, ok := strings.Cut(have, fmt.Sprintf("%T", v)); ok && verb == "%T%[1]v" {
			have = rest
		}
		if have != want {
			t.Errorf("%s prints %q, String says %q", verb, have, want)
		}
	}
	if have := v.LogValue().String(); have != want {
		t.Errorf("the log has %q, String says %q", have, want)
	}
	raw, err := json.Marshal(v)
	var back string
	if err != nil || json.Unmarshal(raw, &back) != nil || utf8.ValidString(want) && back != want {
		t.Errorf("JSON has %s, String says %q, %v", raw, want, err)
	}
	for i := 0; i+most < len(clear); i++ {
		if run := clear[i : i+most+1]; !strings.Contains(run, "*") && strings.Contains(want, run) { // a * may have been dialled
			t.Errorf("%q shows %q", want, clear[i:i+most+1])
		}
	}
	if most > 0 && clear != "" && want == clear && !strings.Contains(clear, "*") {
		t.Errorf("%q is shown in clear", clear)
	}
}
