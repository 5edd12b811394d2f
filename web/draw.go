package web

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/a-h/templ"
)

// drawing is an SVG in the making. Only numbers and fixed words go into it; what it is called is escaped.
type drawing struct{ strings.Builder }

func (d *drawing) f(format string, args ...any) { fmt.Fprintf(&d.Builder, format, args...) }

func (d *drawing) text(x, y float64, anchor, s string) {
	d.f(`<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, templ.EscapeString(s))
}

// draw wraps it up: role img with a sentence that says the same.
func (d *drawing) draw(class string, w, h float64, sentence string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, out io.Writer) error {
		_, err := fmt.Fprintf(out, `<svg class="%s" viewBox="0 0 %g %g" width="%g" height="%g" role="img" aria-label="%s">%s</svg>`,
			class, w, h, w, h, templ.EscapeString(sentence), d.String())
		return err
	})
}

// callLine is the 问答线: what they did stands above, what we did below, left to right in time from the first attempt to now.
func (v *visit) callLine(first, now time.Time, theirs []time.Time, ours []Try, answered time.Time, w float64) templ.Component {
	const base, pad, gap = 21.0, 8.0, 13.0
	d := &drawing{}
	d.f(`<path class="cl-base" d="M0 %.1fH%.0f"/>`, base, w)
	width := now.Sub(first)
	x := func(t time.Time) float64 {
		if width <= 0 {
			return pad
		}
		return pad + (w-2*pad)*math.Max(0, math.Min(1, float64(t.Sub(first))/float64(width)))
	}
	last := math.Inf(-1)
	spread := func(at float64, n int) float64 { // marks do not hide each other while there is room
		at = math.Max(at, last+math.Min(gap, (w-2*pad)/float64(max(n, 1))))
		at = math.Min(at, w-pad)
		last = at
		return at
	}
	for _, t := range theirs {
		at, class := spread(x(t), len(theirs)), "wait"
		if !answered.IsZero() && !t.Before(answered) {
			class = "done"
		}
		d.f(`<path class="cl-stem %s" d="M%.1f %.1fV11"/><circle class="cl-dot %s" cx="%.1f" cy="7" r="3.5"/>`, class, at, base, class, at)
	}
	last = math.Inf(-1)
	reached := 0
	for _, t := range ours {
		at, class, fill := spread(x(t.At), len(ours)), "doing", ""
		if t.Result == "reached" {
			class, fill = "done", " ok"
			reached++
		}
		d.f(`<path class="cl-stem %s" d="M%.1f %.1fV31"/><rect class="cl-dot %s%s" x="%.1f" y="31.5" width="7" height="7"/>`, class, at, base, class, fill, at-3.5)
	}
	d.text(0, 57, "start", v.when(first))
	d.text(w, 57, "end", v.T("time.now"))
	sentence := v.T("draw.callline", v.when(first), len(theirs), len(ours))
	if reached > 0 || !answered.IsZero() {
		sentence += v.T("draw.callline.reached")
	}
	return d.draw("callline", w, 58, sentence)
}

// heat is lost contacts of some days by quarter of an hour; the size of a square says it too, so it survives a grey printer.
func (v *visit) heat(h Heat) templ.Component {
	const left, cell, row, w = 96.0, 12.0, 21.0, 1374.0
	d := &drawing{}
	for hour := 0; hour <= 24; hour += 2 {
		anchor := "middle"
		switch hour {
		case 0:
			anchor = "start"
		case 24:
			anchor = "end"
		}
		d.text(left+float64(hour)*4*cell, 14, anchor, fmt.Sprintf("%d:00", hour))
	}
	d.text(w, 14, "end", v.T("heat.sum"))
	total := 0
	for i, day := range h.Days {
		y := 39 + row*float64(i)
		class := ""
		if wd := v.at(day.Day).Weekday(); day.Holiday || wd == time.Saturday || wd == time.Sunday {
			class = ` class="we"`
		}
		d.f(`<text x="0" y="%.0f"%s>%s</text><path class="row" d="M%.0f %.1fH%.0f"/>`, y, class,
			templ.EscapeString(v.at(day.Day).Format("1/2")+" "+v.weekday(day.Day)), left, y+5.5, left+96*cell)
		for q, n := range day.Quarters {
			if n.Lost <= 0 {
				continue
			}
			step, size := 1, 5.0
			switch {
			case n.Lost >= 5:
				step, size = 4, 11.5
			case n.Lost >= 3:
				step, size = 3, 9.5
			case n.Lost == 2:
				step, size = 2, 7.5
			}
			d.f(`<rect class="h%d" x="%.1f" y="%.1f" width="%g" height="%g"/>`, step, left+cell*float64(q)+(cell-size)/2, y-4.5-size/2, size, size)
		}
		if n := len(day.Quarters); n < 96 {
			d.f(`<rect class="future" x="%.0f" y="%.0f" width="%.0f" height="16"/>`, left+cell*float64(n), y-13, cell*float64(96-n))
		}
		d.text(w, y, "end", fmt.Sprintf("%d / %d", day.Lost, day.Offered))
		total += day.Lost
	}
	return d.draw("heat", w, 40+row*float64(len(h.Days)), v.T("draw.heat", len(h.Days), total))
}

// roll is a rate over the last day, with the goal; what lies below the goal is filled.
func (v *visit) roll(points []RollPoint, goal int) templ.Component {
	const w, h, right, top, bottom = 596.0, 152.0, 520.0, 28.0, 122.0
	d := &drawing{}
	low, now := 1000, -1
	mille := func(p RollPoint) int { return int(p.Num * 1000 / p.Den) }
	var known []RollPoint
	for _, p := range points {
		if p.Den > 0 {
			known = append(known, p)
			low = min(low, mille(p))
			now = mille(p)
		}
	}
	floor := min(low, goal-30) - 10
	y := func(m int) float64 { return top + (bottom-top)*float64(1000-m)/float64(1000-floor) }
	goalY := y(goal)
	d.f(`<path class="goal" d="M0 %.1fH%.0f"/>`, goalY, right)
	if n := len(known); n > 1 {
		from, width := known[0].At, known[n-1].At.Sub(known[0].At)
		var line, below strings.Builder
		var x float64
		for i, p := range known {
			x = right * float64(p.At.Sub(from)) / float64(max(width, 1))
			letter := "L"
			if i == 0 {
				letter = "M"
			}
			fmt.Fprintf(&line, "%s%.1f %.1f", letter, x, y(mille(p)))
			fmt.Fprintf(&below, "%s%.1f %.1f", letter, x, math.Max(y(mille(p)), goalY))
		}
		d.f(`<path class="below" d="%sL%.1f %.1fL0 %.1fZ"/><path class="line" d="%s"/>`, below.String(), right, goalY, goalY, line.String())
		d.f(`<circle class="end" cx="%.1f" cy="%.1f" r="7"/>`, x, y(now))
		d.text(0, h-4, "start", v.when(from))
		d.text(right, h-4, "end", v.T("time.now"))
	}
	d.text(536, goalY+9, "start", fmt.Sprintf("%d %%", goal/10))
	return d.draw("roll", w, h, v.T("draw.roll", tenth(low), tenth(now)))
}

func tenth(mille int) string {
	if mille < 0 {
		return "–"
	}
	return fmt.Sprintf("%d.%d %%", mille/10, mille%10)
}

// strip is the day by quarters of an hour: answered upwards in bars, lost downwards in rings, what goes on still dashed on top.
func (v *visit) strip(w Wall) templ.Component {
	const width, base = 1808.0, 122.0
	d := &drawing{}
	n := max(1, int(w.DayEnd.Sub(w.Day)/(15*time.Minute)))
	pitch := width / float64(n)
	tallest, deepest, answered, lost := 1, 1, 0, 0
	for _, q := range w.Quarters {
		tallest, deepest = max(tallest, q.Answered+q.Open), max(deepest, q.Lost)
		answered, lost = answered+q.Answered, lost+q.Lost
	}
	unit, step := math.Min(6.7, 106/float64(tallest)), math.Min(13, 39/float64(deepest))
	nowX := math.Min(width, width*float64(w.AsOf.Sub(w.Day))/float64(max(w.DayEnd.Sub(w.Day), 1)))
	d.f(`<rect class="future" x="%.1f" y="0" width="%.1f" height="160"/>`, nowX, width-nowX)
	for _, q := range w.Quarters {
		x := width*float64(q.At.Sub(w.Day))/float64(max(w.DayEnd.Sub(w.Day), 1)) + 2.5
		up, open := unit*float64(q.Answered), unit*float64(q.Open)
		if q.Answered > 0 {
			d.f(`<rect class="ans" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x, base-2-up, pitch-5, up)
		}
		if q.Open > 0 {
			d.f(`<rect class="open" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x+1, base-4-up-open, pitch-7, math.Max(open, 3))
		}
		for i := range q.Lost {
			if step >= 6 {
				d.f(`<circle class="lostdot" cx="%.1f" cy="%.1f" r="%.1f"/>`, x+pitch/2-2.5, base+10+step*float64(i), math.Min(4.5, step/2-.8))
			}
		}
		if step < 6 && q.Lost > 0 {
			d.f(`<rect class="lostbar" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x, base+5, pitch-5, step*float64(q.Lost))
		}
	}
	d.f(`<path class="base" d="M0 %.0fH%.0f"/>`, base, width)
	for hour := 0; hour <= 24; hour += 3 {
		day := v.at(w.Day)
		x := width * float64(time.Date(day.Year(), day.Month(), day.Day(), hour, 0, 0, 0, day.Location()).Sub(w.Day)) / float64(max(w.DayEnd.Sub(w.Day), 1))
		anchor := "middle"
		switch hour {
		case 0:
			anchor = "start"
		case 24:
			anchor = "end"
		}
		d.f(`<path class="tick" d="M%.1f 118v8"/>`, x)
		d.text(x, 191, anchor, fmt.Sprintf("%d:00", hour))
	}
	d.f(`<path class="now" d="M%.1f 0V160"/>`, nowX)
	return d.draw("strip", width, 196, v.T("draw.strip", answered, lost))
}

// wave is a recording in two channels, the resident above, the operator below.
func (v *visit) wave(peaks [][]float32) templ.Component {
	d := &drawing{}
	d.text(0, 36, "start", v.T("wave.resident"))
	d.text(0, 88, "start", v.T("wave.operator"))
	for ch, class := range []string{"res", "op"} {
		if ch >= len(peaks) || len(peaks[ch]) == 0 {
			continue
		}
		d.f(`<path class="wv %s" transform="translate(64 %d)" d="`, class, 31+52*ch)
		step := 920 / float64(len(peaks[ch]))
		for i, p := range peaks[ch] {
			half := math.Max(.35, 13*math.Min(1, math.Abs(float64(p))))
			d.f("M%.1f %.1fv%.1f", float64(i)*step, -half, 2*half)
		}
		d.f(`"/>`)
	}
	d.f(`<path class="wv-rule" d="M64 57H984"/><path class="wv-at" data-hand d="M64 4V108"/>`)
	return templ.ComponentFunc(func(_ context.Context, out io.Writer) error {
		_, err := fmt.Fprintf(out, `<svg class="ct-wave" viewBox="0 0 1000 112" aria-hidden="true">%s</svg>`, d.String())
		return err
	})
}
