package grid

import (
	"cmp"
	"math"
	"slices"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/planar"

	"yingda/intake"
)

// metersPerDegree of latitude, and of longitude at the equator (WGS-84, mean).
const metersPerDegree = 111_195.0

// scale turns degrees around a latitude into meters, good to a few parts in a thousand over a district.
func scale(lat float64) (x, y float64) {
	return metersPerDegree * math.Cos(lat*math.Pi/180), metersPerDegree
}

// Distance between two places in meters, for distances within a city.
func Distance(a, b intake.Place) float64 {
	sx, sy := scale((a.Lat + b.Lat) / 2)
	return math.Hypot((a.Lon-b.Lon)*sx, (a.Lat-b.Lat)*sy)
}

// toSegment is the distance in meters from p to the line from a to b.
func toSegment(p, a, b orb.Point, sx, sy float64) float64 {
	ax, ay := (a[0]-p[0])*sx, (a[1]-p[1])*sy
	bx, by := (b[0]-p[0])*sx, (b[1]-p[1])*sy
	dx, dy := bx-ax, by-ay
	l := dx*dx + dy*dy
	if l == 0 {
		return math.Hypot(ax, ay)
	}
	t := max(0, min(1, -(ax*dx+ay*dy)/l))
	return math.Hypot(ax+t*dx, ay+t*dy)
}

// toBorder is the distance in meters from p to the nearest line of mp's border.
func toBorder(mp orb.MultiPolygon, p orb.Point) float64 {
	sx, sy := scale(p[1])
	best := math.Inf(1)
	for _, poly := range mp {
		for _, ring := range poly {
			for i := 1; i < len(ring); i++ {
				best = min(best, toSegment(p, ring[i-1], ring[i], sx, sy))
			}
		}
	}
	return best
}

// inside says whether p lies in mp; on the border counts as in, of holes too.
func inside(mp orb.MultiPolygon, p orb.Point) bool { return planar.MultiPolygonContains(mp, p) }

// interior gives a point well inside mp: the middle of the longest piece that lines of latitude cut out of it.
func interior(mp orb.MultiPolygon) (orb.Point, bool) {
	var best orb.Point
	width := 0.0
	b := mp.Bound()
	for _, f := range []float64{0.5, 0.37, 0.63, 0.21, 0.79, 0.07, 0.93} {
		y := b.Min[1] + (b.Max[1]-b.Min[1])*f
		var xs []float64
		for _, poly := range mp {
			for _, ring := range poly {
				for i := 1; i < len(ring); i++ {
					p, q := ring[i-1], ring[i]
					if (p[1] > y) != (q[1] > y) {
						xs = append(xs, p[0]+(q[0]-p[0])*(y-p[1])/(q[1]-p[1]))
					}
				}
			}
		}
		slices.Sort(xs)
		for i := 1; i < len(xs); i += 2 {
			if w := xs[i] - xs[i-1]; w > width {
				best, width = orb.Point{(xs[i] + xs[i-1]) / 2, y}, w
			}
		}
		if width > 0 {
			return best, true
		}
	}
	return best, false
}

// edge is one line of a border.
type edge struct {
	a, b orb.Point
	ring int // counted over all rings of the polygon
	at   int // its place in the ring
	of   int // number of edges of the ring
}

func (e edge) minX() float64 { return min(e.a[0], e.b[0]) }
func (e edge) maxX() float64 { return max(e.a[0], e.b[0]) }
func (e edge) minY() float64 { return min(e.a[1], e.b[1]) }
func (e edge) maxY() float64 { return max(e.a[1], e.b[1]) }

func edges(poly orb.Polygon) []edge {
	var list []edge
	for r, ring := range poly {
		for i := 1; i < len(ring); i++ {
			list = append(list, edge{ring[i-1], ring[i], r, i - 1, len(ring) - 1})
		}
	}
	return list
}

// side is positive when c lies left of the line from a to b, zero on it.
func side(a, b, c orb.Point) float64 {
	return (b[0]-a[0])*(c[1]-a[1]) - (b[1]-a[1])*(c[0]-a[0])
}

// cross says whether the lines e and f have a point in common, and whether they cross there properly (each end of one on another side
// of the other).
func cross(e, f edge) (touch, proper bool) {
	if e.maxX() < f.minX() || f.maxX() < e.minX() || e.maxY() < f.minY() || f.maxY() < e.minY() {
		return false, false
	}
	s1, s2 := side(e.a, e.b, f.a), side(e.a, e.b, f.b)
	s3, s4 := side(f.a, f.b, e.a), side(f.a, f.b, e.b)
	if s1*s2 < 0 && s3*s4 < 0 {
		return true, true
	}
	on := func(s float64, a, b, c orb.Point) bool {
		return s == 0 && min(a[0], b[0]) <= c[0] && c[0] <= max(a[0], b[0]) && min(a[1], b[1]) <= c[1] && c[1] <= max(a[1], b[1])
	}
	return on(s1, e.a, e.b, f.a) || on(s2, e.a, e.b, f.b) || on(s3, f.a, f.b, e.a) || on(s4, f.a, f.b, e.b), false
}

// crossing finds a place where a polygon's border crosses or touches itself in a way that leaves unclear what is inside. Holes may
// touch the outer ring in a point.
func crossing(poly orb.Polygon) (orb.Point, bool) {
	list := edges(poly)
	slices.SortFunc(list, func(a, b edge) int { return cmp.Compare(a.minX(), b.minX()) })
	for i, e := range list {
		for _, f := range list[i+1:] {
			if f.minX() > e.maxX() {
				break
			}
			touch, proper := cross(e, f)
			if !touch {
				continue
			}
			if proper {
				return f.a, true
			}
			if e.ring != f.ring {
				continue
			}
			gap := (f.at - e.at + e.of) % e.of
			switch gap {
			case 1: // e then f: they share e.b; anything more is a spike
				if back(e.a, e.b, f.b) {
					return e.b, true
				}
			case e.of - 1:
				if back(f.a, f.b, e.b) {
					return f.b, true
				}
			default:
				return f.a, true
			}
		}
	}
	return orb.Point{}, false
}

// back says whether the way from a to b to c turns right round upon itself.
func back(a, b, c orb.Point) bool {
	return side(a, b, c) == 0 && (a[0]-b[0])*(c[0]-b[0])+(a[1]-b[1])*(c[1]-b[1]) > 0
}

// overlaps finds a point that lies deeper than tolerance (meters) in both a and b. Borders that were drawn twice and
// differ by less are neighbours, not overlaps.
func overlaps(a, b orb.MultiPolygon, tolerance float64) (orb.Point, bool) {
	if !a.Bound().Intersects(b.Bound()) {
		return orb.Point{}, false
	}
	deep := func(p orb.Point, in orb.MultiPolygon) bool { return inside(in, p) && toBorder(in, p) > tolerance }
	for _, pair := range [][2]orb.MultiPolygon{{a, b}, {b, a}} {
		if p, ok := interior(pair[0]); ok && deep(p, pair[0]) && deep(p, pair[1]) {
			return p, true
		}
		// Where the border of one runs through the other, some piece of it between two crossings lies inside.
		bound := pair[1].Bound()
		var others []edge
		for _, poly := range pair[1] {
			others = append(others, edges(poly)...)
		}
		for _, poly := range pair[0] {
			for _, e := range edges(poly) {
				if e.maxX() < bound.Min[0] || e.minX() > bound.Max[0] || e.maxY() < bound.Min[1] || e.minY() > bound.Max[1] {
					continue
				}
				cuts := []float64{0, 1}
				for _, f := range others {
					if touch, _ := cross(e, f); touch {
						cuts = append(cuts, along(e, f)...)
					}
				}
				slices.Sort(cuts)
				for i := 1; i < len(cuts); i++ {
					t := (cuts[i] + cuts[i-1]) / 2
					p := orb.Point{e.a[0] + (e.b[0]-e.a[0])*t, e.a[1] + (e.b[1]-e.a[1])*t}
					if cuts[i] > cuts[i-1] && deep(p, pair[1]) {
						return p, true
					}
				}
			}
		}
	}
	return orb.Point{}, false
}

// along gives where on e, from 0 at its beginning to 1 at its end, f meets it.
func along(e, f edge) []float64 {
	d := (e.b[0]-e.a[0])*(f.b[1]-f.a[1]) - (e.b[1]-e.a[1])*(f.b[0]-f.a[0])
	if d != 0 {
		t := ((f.a[0]-e.a[0])*(f.b[1]-f.a[1]) - (f.a[1]-e.a[1])*(f.b[0]-f.a[0])) / d
		return []float64{max(0, min(1, t))}
	}
	project := func(p orb.Point) float64 {
		dx, dy := e.b[0]-e.a[0], e.b[1]-e.a[1]
		l := dx*dx + dy*dy
		if l == 0 {
			return 0
		}
		return max(0, min(1, ((p[0]-e.a[0])*dx+(p[1]-e.a[1])*dy)/l))
	}
	return []float64{project(f.a), project(f.b)}
}
