package web

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yingda/web/words"
)

func TestDrawingEscapes(t *testing.T) {
	d := &drawing{}
	d.text(0, 0, "start", `<b>&`)
	var b strings.Builder
	if err := d.draw("x", 1, 1, `"><b>`).Render(t.Context(), &b); err != nil || strings.Contains(b.String(), "<b>") {
		t.Errorf("%s %v", b.String(), err)
	}
}

// What drawings say: a change of them is seen here first.
func TestDrawings(t *testing.T) {
	h := newHouse(t)
	v := &visit{srv: h.srv, t: words.Chinese, now: noon}
	p := h.owed()
	w, _ := h.Now(t.Context())
	heat, _ := h.Heat(t.Context(), 3)
	busy := w
	busy.Quarters = append([]Quarter(nil), w.Quarters...)
	busy.Quarters[40].Lost, busy.Quarters[40].Answered = 30, 200
	for name, c := range map[string]interface {
		Render(ctxT, writerT) error
	}{
		"callline": v.callLine(p[0].First, noon, p[0].Theirs, p[0].Ours, time.Time{}, 236), "callline-many": v.callLine(noon.Add(-time.Hour), noon, slices.Repeat([]time.Time{noon}, 40), nil, noon, 236),
		"callline-now": v.callLine(noon, noon, []time.Time{noon}, []Try{{At: noon, Result: "reached"}}, noon, 236),
		"heat":         v.heat(heat), "heat-none": v.heat(Heat{}), "roll": v.roll(w.Roll[:9], 950), "roll-none": v.roll(nil, 950), "strip": v.strip(w), "strip-busy": v.strip(busy), "strip-none": v.strip(Wall{}),
	} {
		var b strings.Builder
		if err := c.Render(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(b.String(), "><", ">\n<") + "\n"
		if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") {
			t.Errorf("%s is not a number", name)
		}
		file := filepath.Join("testdata", name+".svg")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil || got != string(want) {
			t.Errorf("%s is not as in %s (%v); go test -update writes it anew", name, file, err)
		}
	}
}

func TestPercent(t *testing.T) {
	test := func(num, den int64, want string) {
		t.Helper()
		if got := (Figure{Num: num, Den: den}).percent(); got != want {
			t.Errorf("%d / %d is %s, want %s", num, den, got, want)
		}
	}
	test(216, 231, "93.5")
	test(0, 0, "–")
	test(0, 5, "0.0")
	test(5, 5, "100")
	test(9999, 10000, "99.9") // never 100 while one is missing
	test(9499, 10000, "94.9") // never 95.0
}

func TestSpans(t *testing.T) {
	h := newHouse(t)
	v := &visit{srv: h.srv, t: words.Chinese, now: noon}
	en := &visit{srv: h.srv, t: words.English, now: noon}
	test := func(d time.Duration, zh, english string) {
		t.Helper()
		if a, b := v.span(d), en.span(d); a != zh || b != english {
			t.Errorf("%s: %q, %q", d, a, b)
		}
	}
	test(-time.Second, "0 秒", "0 s")
	test(42*time.Second, "42 秒", "42 s")
	test(6*time.Minute, "6 分", "6 min")
	test(18*time.Hour+20*time.Minute, "18 小时 20 分", "18 h 20 min")
	test(2*time.Hour, "2 小时", "2 h")
	test(49*time.Hour, "2 天 1 小时", "2 days 1 h")
	when := func(at time.Time, zh, english string) {
		t.Helper()
		if a, b := v.when(at), en.when(at); a != zh || b != english {
			t.Errorf("%s: %q, %q", at, a, b)
		}
	}
	when(noon.UTC(), "14:32", "14:32")
	when(noon.Add(-15*time.Hour), "昨天 23:32", "yesterday 23:32")
	when(noon.Add(10*time.Hour), "明天 00:32", "tomorrow 00:32")
	when(noon.AddDate(-1, 0, 0), "2025 年 11 月 24 日 14:32", "24 Nov 2025 14:32")
	if got := v.moment("called_left", []string{"72s"}); got != "打来，等了 1 分 12 秒，自己挂了" {
		t.Error(got)
	}
	if got := v.moment("called_outcome", []string{"@outcome.fault"}); got != "打来：系统出错" {
		t.Error(got)
	}
}
