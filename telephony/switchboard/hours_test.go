package switchboard

import (
	"testing"
	"time"
)

// An office with working hours, a night shift on Friday, National Day off and the Saturday before it worked in its place (调休).
func office(t *testing.T) Hours {
	zone := time.FixedZone("CST", 8*3600)
	work := []Span{{8*60 + 30, 12 * 60}, {13 * 60, 17*60 + 30}}
	h := Hours{Zone: zone, Week: map[time.Weekday][]Span{}, Days: map[string][]Span{"2026-10-01": nil, "2026-10-02": nil, "2026-10-10": work}}
	for d := time.Monday; d <= time.Thursday; d++ {
		h.Week[d] = work
	}
	h.Week[time.Friday] = []Span{{8*60 + 30, day + 6*60}}
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	return h
}

func at(t *testing.T, s string) time.Time {
	v, err := time.ParseInLocation("2006-01-02 15:04", s, time.FixedZone("CST", 8*3600))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHours(t *testing.T) {
	h := office(t)
	for when, want := range map[string]bool{
		"2026-09-30 08:29": false, "2026-09-30 08:30": true, "2026-09-30 11:59": true, "2026-09-30 12:00": false, "2026-09-30 13:00": true, "2026-09-30 17:29": true, "2026-09-30 17:30": false, // a Wednesday
		"2026-10-01 10:00": false, "2026-10-02 23:00": false, "2026-10-03 05:00": false, // holidays; the second is a Friday and has no night shift
		"2026-10-09 23:59": true, "2026-10-10 05:59": true, "2026-10-10 06:00": false, // Friday's night ends on Saturday
		"2026-10-10 09:00": true, "2026-10-11 09:00": false, // a Saturday worked, a Sunday not
	} {
		if got := h.Open(at(t, when).UTC()); got != want {
			t.Errorf("open at %s: %t", when, got)
		}
	}
	for when, want := range map[string]string{"2026-09-30 12:30": "2026-09-30 13:00", "2026-09-30 18:00": "2026-10-05 08:30", "2026-10-10 07:00": "2026-10-10 08:30"} {
		if got := h.Next(at(t, when)); !got.Equal(at(t, want)) {
			t.Errorf("after %s open again at %s, want %s", when, got, want)
		}
	}
	if !h.Next(at(t, "2026-09-30 09:00")).IsZero() {
		t.Error("open, and open again later")
	}
	if never := (Hours{Week: map[time.Weekday][]Span{}}); never.Open(at(t, "2026-09-30 09:00")) || !never.Next(at(t, "2026-09-30 09:00")).IsZero() {
		t.Error("a week without hours is open")
	}
	if !(Hours{}).Open(at(t, "2026-10-01 03:00")) {
		t.Error("the zero value is closed")
	}
	if one := (Hours{Days: map[string][]Span{"2026-10-01": nil}}); one.Open(at(t, "2026-10-01 12:00")) || !one.Open(at(t, "2026-10-03 12:00")) {
		t.Error("open always but on one day is not so")
	}
}

func TestHoursThatCannotBe(t *testing.T) {
	for _, h := range []Hours{
		{Week: map[time.Weekday][]Span{8: nil}},
		{Week: map[time.Weekday][]Span{time.Monday: {{600, 600}}}},
		{Week: map[time.Weekday][]Span{time.Monday: {{-1, 600}}}},
		{Week: map[time.Weekday][]Span{time.Monday: {{1439, 2*day + 1}}}},
		{Days: map[string][]Span{"1 October": nil}},
		{Days: map[string][]Span{"2026-10-01": {{1500, 1600}}}},
	} {
		if h.Check() == nil {
			t.Errorf("%+v is taken", h)
		}
	}
}
