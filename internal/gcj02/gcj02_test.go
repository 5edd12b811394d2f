package gcj02

import (
	"math"
	"testing"

	"yingda/intake"
)

// metres between two points near each other.
func metres(a, b intake.Place) float64 {
	const perDegree = 6371008.8 * math.Pi / 180
	return math.Hypot((a.Lat-b.Lat)*perDegree, (a.Lon-b.Lon)*perDegree*math.Cos(a.Lat*math.Pi/180))
}

func TestThereAndBack(t *testing.T) {
	// A pair that is published widely: 天安门 in both.
	if d := metres(To(intake.Place{Lat: 39.907333, Lon: 116.391083}), intake.Place{Lat: 39.908736, Lon: 116.397326}); d > 2 {
		t.Errorf("%.2f m beside", d)
	}
	worst, least := 0.0, math.Inf(1)
	for lat := 18.0; lat <= 53; lat += 0.7 {
		for lon := 74.0; lon <= 134; lon += 0.7 {
			p := intake.Place{Lat: lat, Lon: lon}
			there := To(p)
			worst = max(worst, metres(p, From(there)))
			least = min(least, metres(p, there))
		}
	}
	if worst > 0.001 || least < 1 {
		t.Errorf("the way back is up to %g m beside; the way there moves by at least %g m", worst, least)
	}
	if p := (intake.Place{Lat: 48.85, Lon: 2.35}); To(p) != p || From(p) != p {
		t.Error("Paris was moved")
	}
}

func FuzzFrom(f *testing.F) {
	f.Add(31.3, 120.6)
	f.Add(0.8293, 72.004)
	f.Fuzz(func(t *testing.T, lat, lon float64) {
		p := intake.Place{Lat: lat, Lon: lon}
		if q := From(p); !outside(p) && (math.IsNaN(q.Lat) || metres(p, q) > 5000) {
			t.Errorf("%v becomes %v", p, q)
		}
	})
}
