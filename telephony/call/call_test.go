package call

import (
	"testing"
	"time"

	"yingda/intake"
	"yingda/telephony"
)

func TestPointsOfPriority(t *testing.T) {
	now := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		facts     telephony.Facts
		emergency bool
		points    int
		why       string
	}{
		{},
		{facts: telephony.Facts{Older: true}, points: PointsOlder, why: "older_caller"},
		{facts: telephony.Facts{Failed: ago(9 * time.Minute)}, points: PointsAgain, why: "calls_again"},
		{facts: telephony.Facts{Failed: ago(11 * time.Minute)}},
		{facts: telephony.Facts{Failed: ago(time.Hour), Callback: "b"}, points: PointsOwed, why: "callback_due"},
		{facts: telephony.Facts{Failed: ago(time.Minute), Callback: "b", Older: true}, points: PointsAgain + PointsOlder + PointsOwed, why: "calls_again"},
		{facts: telephony.Facts{Older: true}, emergency: true, points: PointsEmergency + PointsOlder, why: "emergency"},
	} {
		if n, why := points(c.facts, c.emergency, now, 0); n != c.points || why != c.why {
			t.Errorf("%+v: %d points for %q, want %d for %q", c.facts, n, why, c.points, c.why)
		}
	}
	if n, _ := points(telephony.Facts{Failed: ago(11 * time.Minute)}, false, now, 15*time.Minute); n != PointsAgain {
		t.Error("a line's own limit for calling again is not kept")
	}
}

// A call that hears of something out of its time says nothing, whatever it is.
func TestOverIsOver(t *testing.T) {
	now := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	c := New(Config{Switchboard: "main", Source: "yingda/test", Epoch: 1, Open: true, NewLeg: func() telephony.LegID { return "leg" }, NewRecording: func() intake.RecordingID { return "rec" }})
	c.Step(now, telephony.Invited{Leg: "r", Contact: "c", Line: "12345", Audio: true})
	c.Step(now, telephony.Written{Contact: "c"})
	c.Step(now, telephony.Ended{Leg: "r", By: intake.ByResident})
	if !c.Done() || c.Stage() != Over {
		t.Fatalf("not over: %s", c.Stage())
	}
	for _, in := range []telephony.Input{telephony.Written{Contact: "c"}, telephony.Accepted{Leg: "r"}, telephony.Ringing{Leg: "leg"}, telephony.Ended{Leg: "r"}, telephony.Held{Leg: "r"}, telephony.Resumed{Leg: "r"},
		telephony.Digit{Leg: "r", Key: "1"}, telephony.Played{Leg: "r", Play: 1}, telephony.Heard{Leg: "r"}, telephony.Quiet{Leg: "r", Seconds: 8}, telephony.MediaLost{Leg: "r", Seconds: 500},
		telephony.Recorded{Recording: "rec"}, telephony.Drain{}, Placed{}, Full{}, Withdrawn{}} {
		if out := c.Step(now, in); len(out) > 0 {
			t.Errorf("%T after the end: %+v", in, out)
		}
	}
	if out := c.Wake(now.Add(time.Hour)); len(out) > 0 || !c.Deadline().IsZero() {
		t.Errorf("woken after the end: %+v", out)
	}
	if out := c.Break(now); len(out) > 0 {
		t.Errorf("broken after the end: %+v", out)
	}
}
