package grid

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/paulmach/orb"

	"yingda/intake"
	"yingda/routing"
)

const (
	onBorder = 0.5 // meters: nearer than this to a border a place is on it
	nearBy   = 50  // meters: a place outside of all grids belongs to one that is not farther away
	sure     = 30  // per cent: below it no grid is named, only candidates
	most     = 20  // candidates that are listed
)

// Find says in which grid something is. Coordinates count most, then the address of the matter, then the caller's home:
// who phones mostly speaks of where they live, but not always. What speaks against the answer lowers its confidence
// and stands among the candidates; what agrees raises it.
func (r *Registry) Find(q routing.Asked) routing.Found {
	var place, address routing.Found
	if q.Place != nil {
		place = r.At(*q.Place)
	}
	if !q.Address.IsZero() {
		address = r.Address(q.Address.Reveal())
	}
	home, atHome := r.Grid(q.Home)
	switch {
	case place.Grid != "":
		f := place
		if address.Grid != "" && address.Grid != f.Grid && address.Confidence >= 50 && !has(f.Candidates, address.Grid) {
			f.Confidence = min(f.Confidence, 70)
			f.Why += "，但地址说的是别处"
			f.Candidates = append(slices.Clone(f.Candidates), address.Candidates[0])
			f.Candidates[0].Confidence = f.Confidence
		} else if address.Grid == f.Grid {
			f.Confidence = max(f.Confidence, 99)
		}
		return f
	case len(address.Candidates) > 0:
		if atHome && has(address.Candidates, home.ID()) && address.Confidence < 90 {
			why := address.Why + "，取来电人登记地址所在的一个"
			f := routing.Found{Grid: home.ID(), How: routing.ByAddress, Why: why, Plain: "按地址，取来电人登记地址所在的一个", Confidence: max(address.Confidence, 80)}
			f.Candidates = []routing.Candidate{{Grid: home.ID(), Why: why, Confidence: f.Confidence}}
			for _, c := range address.Candidates {
				if c.Grid != home.ID() {
					f.Candidates = append(f.Candidates, c)
				}
			}
			return r.placed(f)
		}
		return address
	case atHome:
		confidence, why := 70, "按来电人登记地址"
		if !q.Address.IsZero() || q.Place != nil {
			confidence, why = 50, "说的地方没找到，按来电人登记地址"
		}
		return r.placed(routing.Found{Grid: home.ID(), How: routing.ByCard, Why: why, Plain: why, Confidence: confidence,
			Candidates: []routing.Candidate{{Grid: home.ID(), Why: why, Confidence: confidence}}})
	case address.Community != "":
		return address
	}
	why := "没有说在哪里"
	switch {
	case q.Place != nil:
		why = "坐标不在任何网格里"
	case !q.Address.IsZero():
		why = "地址里没有认得的地名"
	}
	return routing.Found{Why: why, Plain: why}
}

func has(list []routing.Candidate, g intake.GridID) bool {
	return slices.ContainsFunc(list, func(c routing.Candidate) bool { return c.Grid == g })
}

// placed fills in the community that the grid or all candidates lie in.
func (r *Registry) placed(f routing.Found) routing.Found {
	if f.Grid != "" {
		f.Community = r.areas[string(f.Grid)].Parent
		return f
	}
	for i, c := range f.Candidates {
		in := r.areas[string(c.Grid)].Parent
		if i == 0 {
			f.Community = in
		} else if f.Community != in {
			f.Community = ""
			break
		}
	}
	return f
}

// At finds the grid of a point. On a border, or within half a meter of it, the lowest code wins; outside of all, the nearest
// grid within 50 m.
func (r *Registry) At(place intake.Place) routing.Found {
	p := orb.Point{place.Lon, place.Lat}
	if !(place.Lat >= -90 && place.Lat <= 90 && place.Lon >= -180 && place.Lon <= 180) {
		return routing.Found{Why: "坐标不对", Plain: "坐标不对"}
	}
	sx, sy := scale(place.Lat)
	// Mostly a single box holds the point and the point is well inside; then nothing else is looked at.
	only, boxes := -1, 0
	mx, my := onBorder/max(sx, 1), onBorder/sy
	r.tree.Search([2]float64{p[0] - mx, p[1] - my}, [2]float64{p[0] + mx, p[1] + my}, func(_, _ [2]float64, i int) bool {
		boxes++
		only = i
		return true
	})
	if boxes == 1 && inside(r.shapes[only].mp, p) && toBorder(r.shapes[only].mp, p) > onBorder {
		return r.within(r.shapes[only].code)
	}
	type near struct {
		code     string
		distance float64 // 0: inside
		border   bool
	}
	var list []near
	mx, my = nearBy/max(sx, 1), nearBy/sy
	r.tree.Search([2]float64{p[0] - mx, p[1] - my}, [2]float64{p[0] + mx, p[1] + my}, func(_, _ [2]float64, i int) bool {
		s := r.shapes[i]
		d := toBorder(s.mp, p)
		n := near{s.code, d, d <= onBorder}
		if inside(s.mp, p) {
			n.distance = 0
		}
		if n.distance == 0 || d <= nearBy {
			list = append(list, n)
		}
		return true
	})
	held := slices.DeleteFunc(slices.Clone(list), func(n near) bool { return n.distance > 0 && !n.border })
	slices.SortFunc(held, func(a, b near) int { return cmp.Compare(a.code, b.code) })
	switch len(held) {
	case 1:
		return r.within(held[0].code)
	case 0:
		if len(list) == 0 {
			return routing.Found{Why: "坐标不在任何网格里", Plain: "坐标不在任何网格里"}
		}
		slices.SortFunc(list, func(a, b near) int {
			return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.code, b.code))
		})
		why := fmt.Sprintf("按坐标，在网格边界外 %.0f 米", max(1, list[0].distance))
		f := routing.Found{Grid: intake.GridID(list[0].code), How: routing.ByPlace, Why: why, Plain: why, Confidence: 70}
		for i, n := range list {
			c := routing.Candidate{Grid: intake.GridID(n.code), Why: fmt.Sprintf("相距 %.0f 米", max(1, n.distance)), Confidence: 70}
			if i > 0 {
				c.Confidence = 30 / i
			}
			f.Candidates = append(f.Candidates, c)
		}
		return r.placed(f)
	}
	// Overlaps below the tolerance of the import, and borders: the same answer whoever asks.
	why := "按坐标，在几个网格的边界上，取编码最小的"
	f := routing.Found{Grid: intake.GridID(held[0].code), How: routing.ByPlace, Why: why, Plain: why, Confidence: 60}
	for i, n := range held {
		c := routing.Candidate{Grid: intake.GridID(n.code), Why: "在边界上", Confidence: 60}
		if i > 0 {
			c.Confidence = 40 / (len(held) - 1)
		}
		f.Candidates = append(f.Candidates, c)
	}
	return r.placed(f)
}

func (r *Registry) within(code string) routing.Found {
	id := intake.GridID(code)
	return routing.Found{Grid: id, Community: r.areas[code].Parent, How: routing.ByPlace, Why: "按坐标", Plain: "按坐标", Confidence: 95,
		Candidates: []routing.Candidate{{Grid: id, Why: "按坐标", Confidence: 95}}}
}

// reading is what one name in an address says: grids, each with how well it fits.
type reading struct {
	grids map[intake.GridID]int
	why   string
}

// Address finds the grid of an address by the names in it. The longest names count; a building number chooses among the
// grids of an estate or road; the name of a community, street or grid chooses among estates of the same name.
func (r *Registry) Address(text string) routing.Found {
	folded := []rune(fold(text))
	if len(folded) > 400 {
		folded = folded[:400]
	}
	found := r.words.mentions(folded)
	var readings []reading
	var around []string // codes of the areas named
	for i, m := range found {
		end := len(folded)
		if i+1 < len(found) {
			end = found[i+1].start
		}
		rd := reading{grids: map[intake.GridID]int{}}
		r.read(m, folded[m.end:end], &rd, &around)
		if len(rd.grids) > 0 {
			readings = append(readings, rd)
		}
	}
	if len(readings) == 0 {
		return r.aroundOnly(around)
	}
	// Two names in one address (a crossing, an estate on a road) say more together, when they agree.
	best := readings[0]
	for _, next := range readings[1:] {
		both := map[intake.GridID]int{}
		for g, c := range best.grids {
			if d, ok := next.grids[g]; ok {
				both[g] = min(97, max(c, d)+5)
			}
		}
		if len(both) > 0 {
			if top(next.grids) > top(best.grids) {
				best.why = next.why
			}
			best.grids = spread(both)
			continue
		}
		if top(next.grids) > top(best.grids) { // they disagree: the clearer one leads, the other lowers it
			best, next = next, best
		}
		for g := range best.grids {
			best.grids[g] = best.grids[g] * 7 / 10
		}
		for g, c := range next.grids {
			best.grids[g] = max(best.grids[g], c*3/10)
		}
	}
	if len(around) > 0 {
		in := map[intake.GridID]int{}
		for g, c := range best.grids {
			if r.isIn(string(g), around) {
				in[g] = c
			}
		}
		if len(in) > 0 {
			best.grids = spread(in)
		} else {
			for g := range best.grids {
				best.grids[g] = best.grids[g] * 6 / 10
			}
			best.why += "，但社区对不上"
		}
	}
	return r.settle(best)
}

// read notes what one name means.
func (r *Registry) read(m mention, after []rune, rd *reading, around *[]string) {
	var entries []Entry
	for _, mean := range m.meanings {
		if mean.entry >= 0 {
			entries = append(entries, r.parts.Entries[mean.entry])
			continue
		}
		a := r.parts.Areas[mean.area]
		if a.Level == routing.Grid {
			rd.grids[a.ID()] = 95
			rd.why = "按地址里的“" + a.Name + "”"
			continue
		}
		*around = append(*around, a.Code)
	}
	if len(entries) == 0 {
		return
	}
	rd.why = "按地址里的“" + entries[0].Name + "”"
	n, numbered := house(after)
	var exact, whole, all []intake.GridID
	for _, e := range entries {
		all = add(all, e.Grid)
		switch {
		case e.From == 0:
			whole = add(whole, e.Grid)
		case numbered && e.has(n):
			exact = add(exact, e.Grid)
		}
	}
	set := func(grids []intake.GridID, confidence int) {
		for _, g := range grids {
			rd.grids[g] = max(rd.grids[g], confidence/len(grids))
		}
	}
	switch {
	case len(exact) > 0:
		unit := " 幢”"
		if entries[0].Kind == Road {
			unit = " 号”"
		}
		rd.why = fmt.Sprintf("按地址里的“%s %d%s", entries[0].Name, n, unit)
		set(exact, 95)
	case len(whole) > 0:
		set(whole, 90)
	case numbered: // a number that the list does not have
		rd.why += "，表里没有这个号"
		set(all, 60)
	default:
		set(all, 80)
	}
}

// aroundOnly answers when only a community or street was named.
func (r *Registry) aroundOnly(around []string) routing.Found {
	var grids []intake.GridID
	name := ""
	for _, g := range r.grids {
		if r.isIn(g.Code, around) {
			grids = add(grids, g.ID())
		}
	}
	if len(grids) == 0 {
		return routing.Found{Why: "地址里没有认得的地名", Plain: "地址里没有认得的地名"}
	}
	smallest := around[0]
	for _, code := range around {
		if len(r.Children(code)) > 0 && r.depth(code) > r.depth(smallest) {
			smallest = code
		}
	}
	name = r.areas[smallest].Name
	rd := reading{grids: map[intake.GridID]int{}, why: "按地址里的“" + name + "”"}
	for _, g := range grids {
		rd.grids[g] = max(1, 80/len(grids))
	}
	f := r.settle(rd)
	if r.areas[smallest].Level == routing.Community {
		f.Community = smallest
	}
	return f
}

func (r *Registry) depth(code string) int {
	return slices.Index(routing.Levels(), r.areas[code].Level)
}

// isIn says whether code lies in the smallest of the areas named (in all of them, when they lie in one another).
func (r *Registry) isIn(code string, areas []string) bool {
	deepest := 0
	for _, a := range areas {
		deepest = max(deepest, r.depth(a))
	}
	for _, a := range areas {
		if r.depth(a) != deepest {
			continue
		}
		if up, ok := r.Above(code, r.areas[a].Level); ok && up.Code == a {
			return true
		}
	}
	return false
}

// settle turns a reading into the answer.
func (r *Registry) settle(rd reading) routing.Found {
	f := routing.Found{How: routing.ByAddress, Why: rd.why, Plain: "按地址"}
	for g, c := range rd.grids {
		f.Candidates = append(f.Candidates, routing.Candidate{Grid: g, Why: rd.why, Confidence: c})
	}
	slices.SortFunc(f.Candidates, func(a, b routing.Candidate) int {
		return cmp.Or(cmp.Compare(b.Confidence, a.Confidence), cmp.Compare(a.Grid, b.Grid))
	})
	total := len(f.Candidates)
	f.Confidence = f.Candidates[0].Confidence
	if f.Confidence >= sure {
		f.Grid = f.Candidates[0].Grid
	}
	if total > 1 {
		f.Why += fmt.Sprintf("，可能是 %d 个网格", total)
		f.Plain += fmt.Sprintf("，可能是 %d 个网格", total)
	}
	f = r.placed(f)
	f.Candidates = f.Candidates[:min(total, most)]
	return f
}

// spread shares out certainty again when fewer grids are left than a reading began with.
func spread(grids map[intake.GridID]int) map[intake.GridID]int {
	if len(grids) == 1 {
		for g, c := range grids {
			grids[g] = max(c, 90)
		}
		return grids
	}
	for g, c := range grids {
		grids[g] = max(c, 80/len(grids))
	}
	return grids
}

func top(grids map[intake.GridID]int) int {
	best := 0
	for _, c := range grids {
		best = max(best, c)
	}
	return best
}

func add(list []intake.GridID, g intake.GridID) []intake.GridID {
	if slices.Contains(list, g) {
		return list
	}
	return append(list, g)
}
