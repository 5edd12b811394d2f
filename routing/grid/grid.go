// Package grid holds the registry of areas, district › street › community › grid, and finds the grid of a place.
//
// A registry is made once from an office's files (Import: GeoJSON for the borders, CSV for names, workers and the gazetteer)
// or from what was kept of it (Build), and never changes afterwards: a new version is a new Registry. How codes are built is
// data (Layout). Import gives a reason for every row it cannot take, in words for the person who sent the file; a dry run
// is an Import whose registry is thrown away.
//
// Find answers from coordinates, from the words of an address, or from where the caller is known to live, and says by
// which, how sure it is, and what else it could be. The same question always has the same answer: on a border the
// lowest code wins, and the answer says so.
//
// What it does not do: it reads no file by itself (bytes are handed in), it knows no rule, and it draws no map. Coordinates
// are WGS-84 degrees; those of Chinese map services are converted when they come (internal/gcj02).
package grid

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/paulmach/orb"
	"github.com/tidwall/rtree"

	"yingda/intake"
	"yingda/routing"
)

// Kind of an entry in the gazetteer.
type Kind string

const (
	Estate   Kind = "estate"   // 小区, 新村: buildings have numbers
	Road     Kind = "road"     // houses have numbers
	Gate     Kind = "gate"     // 北门
	Landmark Kind = "landmark" // school, market, clinic
)

// Entry is one name of the gazetteer and the grid it lies in. A name that lies in several grids has several entries, told
// apart by their range of numbers.
type Entry struct {
	Kind    Kind
	Name    string
	Aliases []string
	Grid    intake.GridID
	From    int // first building or house number; 0: no numbers, the whole of it
	To      int // last, at least From
	Parity  int // 0: all numbers, 1: odd, 2: even
}

func (e Entry) has(number int) bool {
	return number >= e.From && number <= e.To && (e.Parity == 0 || e.Parity == 1 && number%2 == 1 || e.Parity == 2 && number%2 == 0)
}

// Parts are what a registry is made of and what is kept of it.
type Parts struct {
	Version string
	From    time.Time // valid from this moment; zero: always
	Until   time.Time // to before this one; zero: for ever
	Layout  Layout
	Areas   []routing.Area
	Shapes  map[string]orb.MultiPolygon // by code; WGS-84 lon/lat, rings closed
	Entries []Entry
}

// Registry is one version of an office's areas. It may be read by many goroutines at once.
type Registry struct {
	parts    Parts
	areas    map[string]routing.Area
	children map[string][]string
	grids    []routing.Area // in the order of their codes
	shapes   []shape
	tree     rtree.RTreeG[int] // bounds → index in shapes
	words    *node             // gazetteer and names of areas
}

// shape is one grid's border.
type shape struct {
	code string
	mp   orb.MultiPolygon
}

// Build makes a registry of parts that were checked before. It refuses what it could not work with: codes twice, parents
// that are not there, entries and shapes of unknown areas.
func Build(p Parts) (*Registry, error) {
	if err := p.Layout.Check(); err != nil {
		return nil, err
	}
	r := &Registry{parts: p, areas: make(map[string]routing.Area, len(p.Areas)), children: map[string][]string{}, words: new(node)}
	for _, a := range p.Areas {
		if _, twice := r.areas[a.Code]; twice {
			return nil, fmt.Errorf("编码 %s 有两行", a.Code)
		}
		r.areas[a.Code] = a
	}
	for _, a := range p.Areas {
		if a.Level != routing.District {
			if _, ok := r.areas[a.Parent]; !ok {
				return nil, fmt.Errorf("%s 的上级 %q 不在表里", a.Code, a.Parent)
			}
			r.children[a.Parent] = append(r.children[a.Parent], a.Code)
		}
		if a.Level == routing.Grid {
			r.grids = append(r.grids, a)
		}
	}
	for _, list := range r.children {
		slices.Sort(list)
	}
	slices.SortFunc(r.grids, func(a, b routing.Area) int { return cmp.Compare(a.Code, b.Code) })
	for _, g := range r.grids {
		mp, ok := p.Shapes[g.Code]
		if !ok {
			continue
		}
		b := mp.Bound()
		r.tree.Insert(b.Min, b.Max, len(r.shapes))
		r.shapes = append(r.shapes, shape{g.Code, mp})
	}
	for code := range p.Shapes {
		if _, ok := r.areas[code]; !ok {
			return nil, fmt.Errorf("图形 %s 不在表里", code)
		}
	}
	for i, e := range p.Entries {
		if _, ok := r.Grid(e.Grid); !ok {
			return nil, fmt.Errorf("地名“%s”的网格 %s 不在表里", e.Name, e.Grid)
		}
		for _, name := range append([]string{e.Name}, e.Aliases...) {
			r.words.add(fold(name), meaning{entry: i, area: -1})
		}
	}
	for i, a := range p.Areas {
		for _, name := range areaNames(a) {
			r.words.add(fold(name), meaning{entry: -1, area: i})
		}
	}
	return r, nil
}

// areaNames lists how people call an area: a grid 梅苑 03 is said as 梅苑 03 and as 梅苑 3 网格.
func areaNames(a routing.Area) []string {
	names := append([]string{a.Name}, a.Aliases...)
	if a.Level != routing.Grid {
		return names
	}
	for _, n := range slices.Clone(names) {
		stem := strings.TrimRight(n, "0123456789")
		if digits := n[len(stem):]; digits != "" {
			names = append(names, n+"网格", stem+strings.TrimLeft(digits, "0")+"网格", stem+strings.TrimLeft(digits, "0")+"号网格")
		}
	}
	return names
}

// Version, validity and layout, as they were given.
func (r *Registry) Version() string { return r.parts.Version }

// Valid says whether this version is in force at t.
func (r *Registry) Valid(t time.Time) bool {
	return !t.Before(r.parts.From) && (r.parts.Until.IsZero() || t.Before(r.parts.Until))
}

// Parts gives what the registry is made of, to be kept. The caller does not change it.
func (r *Registry) Parts() Parts { return r.parts }

// Area looks up any area by its code.
func (r *Registry) Area(code string) (routing.Area, bool) {
	a, ok := r.areas[code]
	return a, ok
}

// Grid looks up a grid.
func (r *Registry) Grid(id intake.GridID) (routing.Area, bool) {
	a, ok := r.areas[string(id)]
	return a, ok && a.Level == routing.Grid
}

// Grids lists all grids in the order of their codes. The caller does not change the list.
func (r *Registry) Grids() []routing.Area { return r.grids }

// Children lists the areas right below code ("" : the districts), in the order of their codes.
func (r *Registry) Children(code string) []routing.Area {
	var list []routing.Area
	if code == "" {
		for _, a := range r.parts.Areas {
			if a.Level == routing.District {
				list = append(list, a)
			}
		}
		slices.SortFunc(list, func(a, b routing.Area) int { return cmp.Compare(a.Code, b.Code) })
		return list
	}
	for _, c := range r.children[code] {
		list = append(list, r.areas[c])
	}
	return list
}

// Above gives the area of that level that code lies in, or is.
func (r *Registry) Above(code string, level routing.Level) (routing.Area, bool) {
	for range len(routing.Levels()) {
		a, ok := r.areas[code]
		if !ok {
			return routing.Area{}, false
		}
		if a.Level == level {
			return a, true
		}
		code = a.Parent
	}
	return routing.Area{}, false
}

// Path names a grid from the street down: 梅溪街道 梅苑社区 梅苑 03.
func (r *Registry) Path(id intake.GridID) string {
	var names []string
	for code := string(id); ; {
		a, ok := r.areas[code]
		if !ok || a.Level == routing.District {
			break
		}
		names = append(names, a.Name)
		code = a.Parent
	}
	slices.Reverse(names)
	return strings.Join(names, " ")
}

// Shape is a grid's border.
func (r *Registry) Shape(id intake.GridID) (orb.MultiPolygon, bool) {
	mp, ok := r.parts.Shapes[string(id)]
	return mp, ok
}

// Center is a point inside a grid that has a border; ok false when it has none.
func (r *Registry) Center(id intake.GridID) (intake.Place, bool) {
	mp, ok := r.Shape(id)
	if !ok {
		return intake.Place{}, false
	}
	p, ok := interior(mp)
	return intake.Place{Lat: p[1], Lon: p[0]}, ok
}
