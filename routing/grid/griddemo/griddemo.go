// Package griddemo makes an invented district: one district, two streets, ten communities, 135 grids of about 400
// households, their workers, estates and roads. Tests route in it and the demo lives in it.
//
// It gives the files that an office would send (areas and gazetteer as CSV, borders as GeoJSON), and the registry imported
// from them. The same call always gives the same bytes. The grids cover the district without gaps or overlaps; one of
// them lies in a hole of another, and one is in two pieces.
//
// Names are invented, numbers are 0512-5550-xxxx, and the county code 320599 is given to no county.
package griddemo

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/paulmach/orb"

	"yingda/intake"
	"yingda/routing/grid"
)

// DistrictCode is the code of the one district.
const DistrictCode = "320599"

// Columns and rows of the lattice that the grids are drawn on, and its south-west corner.
const (
	columns, rows = 15, 9
	west, south   = 120.5000, 31.2800
	stepX, stepY  = 0.0042, 0.0036 // about 400 m each way
)

type community struct {
	name   string
	street int
	estate []string // names of estates, used in turn
}

var streets = []string{"梅溪街道", "柳塘街道"}

var communities = []community{
	{"梅苑", 0, []string{"梅苑小区", "梅苑新村", "梅香园"}},
	{"柳荫", 0, []string{"柳荫一村", "柳荫二村", "柳荫三村"}},
	{"河东", 0, []string{"河东新村", "河东花园", "东岸名庭"}},
	{"河边", 0, []string{"河边新村", "临河苑", "水岸家园"}},
	{"银杏", 0, []string{"银杏小区", "银杏新村", "金叶苑"}},
	{"松园", 0, []string{"松园小区", "松园新村", "松涛苑"}},
	{"桂香", 1, []string{"桂香小区", "桂香新村", "丹桂苑"}},
	{"石桥", 1, []string{"石桥新村", "石桥花园", "桥东小区"}},
	{"云塘", 1, []string{"云塘小区", "云塘新村", "云锦苑"}},
	{"竹溪", 1, []string{"竹溪小区", "竹溪新村", "翠竹苑"}},
}

var (
	surnames = []rune("陆周许林郑吴沈顾徐朱何蒋韩杨钱孙高潘范汤")
	given    = []string{"建平", "敏", "航", "悦", "志强", "秀英", "国华", "丽", "晓东", "文娟", "永康", "海燕", "春梅", "立新", "芳", "卫国", "玉兰", "俊", "慧", "明"}
)

// noise is a number in [0, 1) that depends on its arguments only.
func noise(seed ...int) float64 {
	h := uint64(14695981039346656037)
	for _, s := range seed {
		h = (h ^ uint64(s+1)) * 1099511628211
		h ^= h >> 29
	}
	h *= 0xbf58476d1ce4e5b9
	return float64(h>>11) / (1 << 53)
}

func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// corner of the lattice; the outer frame stays straight.
func corner(x, y int) orb.Point {
	p := orb.Point{west + float64(x)*stepX, south + float64(y)*stepY}
	if x > 0 && x < columns {
		p[0] += (noise(1, x, y) - 0.5) * stepX * 0.3
	}
	if y > 0 && y < rows {
		p[1] += (noise(2, x, y) - 0.5) * stepY * 0.3
	}
	return orb.Point{round(p[0]), round(p[1])}
}

// side gives the points from corner a to corner b without b. Roads and rivers are not straight: inner sides have two bends, the same for both
// neighbours.
func side(ax, ay, bx, by int) []orb.Point {
	a := corner(ax, ay)
	if ax == bx && (ax == 0 || ax == columns) || ay == by && (ay == 0 || ay == rows) {
		return []orb.Point{a}
	}
	forward := ax < bx || ay < by
	lx, ly, hx, hy := ax, ay, bx, by
	if !forward {
		lx, ly, hx, hy = bx, by, ax, ay
	}
	l, h := corner(lx, ly), corner(hx, hy)
	var bends []orb.Point
	for i, t := range []float64{0.33, 0.67} {
		off := (noise(3, lx, ly, hx, hy, i) - 0.5) * 0.12
		bends = append(bends, orb.Point{round(l[0] + (h[0]-l[0])*t - (h[1]-l[1])*off), round(l[1] + (h[1]-l[1])*t + (h[0]-l[0])*off)})
	}
	if !forward {
		bends[0], bends[1] = bends[1], bends[0]
	}
	return append([]orb.Point{a}, bends...)
}

func cell(x, y int) orb.Ring {
	var r orb.Ring
	r = append(r, side(x, y, x+1, y)...)
	r = append(r, side(x+1, y, x+1, y+1)...)
	r = append(r, side(x+1, y+1, x, y+1)...)
	r = append(r, side(x, y+1, x, y)...)
	return append(r, r[0])
}

// Grid of the demo with what tests and robots want to know of it.
type Grid struct {
	Code      intake.GridID
	Name      string // "梅苑 03"
	Community string // name, "梅苑社区"
	Worker    string
	Phone     string
	Estate    string
	From, To  int // buildings of the estate in this grid
	Road      string
	RoadFrom  int
	RoadTo    int
	Shape     orb.MultiPolygon
}

// Grids lists them in the order of their codes.
func Grids() []Grid {
	// A snake through the lattice, so that each community's grids lie beside one another.
	var cells [][2]int
	for x := range columns {
		for y := range rows {
			if x%2 == 1 {
				y = rows - 1 - y
			}
			cells = append(cells, [2]int{x, y})
		}
	}
	const total = columns * rows
	var list []Grid
	next := 0
	for c, com := range communities {
		size := total / len(communities)
		if c < total%len(communities) {
			size++
		}
		mine := cells[next : next+size]
		next += size
		streetCode := fmt.Sprintf("%s%03d", DistrictCode, com.street+1)
		communityCode := fmt.Sprintf("%s%03d", streetCode, c+1)
		perEstate := (size + len(com.estate) - 1) / len(com.estate)
		for i, at := range mine {
			n := len(list)
			g := Grid{
				Code: intake.GridID(fmt.Sprintf("%s%02d", communityCode, i+1)), Name: fmt.Sprintf("%s %02d", com.name, i+1), Community: com.name + "社区",
				Worker: string(surnames[n*7%len(surnames)]) + given[(n*3+n/20)%len(given)], Phone: fmt.Sprintf("0512-5550-%04d", 2000+n),
				Estate: com.estate[i/perEstate], Shape: orb.MultiPolygon{{cell(at[0], at[1])}},
			}
			k := i % perEstate
			g.From, g.To = 1+k*8, (k+1)*8
			g.Road = com.name + "路"
			g.RoadFrom, g.RoadTo = 1+i*40, (i+1)*40
			list = append(list, g)
		}
	}
	list[2].Worker = "陆建平"
	// The last grid but one of the first community gets a second piece: the place of its last grid, which moves into a hole in the middle of
	// the third.
	last, twin, host := 13, 11, 2
	list[twin].Shape = append(list[twin].Shape, list[last].Shape...)
	b := list[host].Shape.Bound()
	center := b.Center()
	var hole orb.Ring
	for i := range 12 {
		a := -2 * math.Pi * float64(i) / 12
		hole = append(hole, orb.Point{round(center[0] + stepX*0.18*math.Cos(a)), round(center[1] + stepY*0.18*math.Sin(a))})
	}
	hole = append(hole, hole[0])
	list[host].Shape[0] = append(list[host].Shape[0], hole)
	list[last].Shape = orb.MultiPolygon{{hole}}
	return list
}

// Bound of the district: every point inside lies in exactly one grid.
func Bound() orb.Bound {
	return orb.Bound{Min: orb.Point{west, south}, Max: orb.Point{round(west + columns*stepX), round(south + rows*stepY)}}
}

// Files gives the district as an office would send it: 区划.csv, 地名.csv, 网格.geojson.
func Files() []grid.File {
	var areas, names, shapes strings.Builder
	areas.WriteString("编码,名称,别名,上级,网格员,电话,户数\n")
	fmt.Fprintf(&areas, "%s,青溪区,,,,,\n", DistrictCode)
	for i, s := range streets {
		fmt.Fprintf(&areas, "%s%03d,%s,%s,%s,,,\n", DistrictCode, i+1, s, strings.TrimSuffix(s, "街道"), DistrictCode)
	}
	for i, c := range communities {
		street := fmt.Sprintf("%s%03d", DistrictCode, c.street+1)
		fmt.Fprintf(&areas, "%s%03d,%s社区,%s居委会,%s,,,\n", street, i+1, c.name, c.name, street)
	}
	names.WriteString("地名,类别,别名,网格,起号,止号,单双号\n")
	shapes.WriteString(`{"type":"FeatureCollection","features":[`)
	for i, g := range Grids() {
		fmt.Fprintf(&areas, "%s,%s,,%s,%s,%s,%d\n", g.Code, g.Name, g.Code[:len(g.Code)-2], g.Worker, g.Phone, 340+int(noise(4, i)*120))
		alias := ""
		if stem, ok := strings.CutSuffix(g.Estate, "小区"); ok {
			alias = stem + "、" + stem + "院"
		}
		fmt.Fprintf(&names, "%s,小区,%s,%s,%d,%d,\n", g.Estate, alias, g.Code, g.From, g.To)
		fmt.Fprintf(&names, "%s,道路,,%s,%d,%d,\n", g.Road, g.Code, g.RoadFrom, g.RoadTo)
		if g.From == 1 {
			fmt.Fprintf(&names, "%s北门,门,%s大门,%s,,,\n", g.Estate, g.Estate, g.Code)
		}
		if i > 0 {
			shapes.WriteByte(',')
		}
		fmt.Fprintf(&shapes, "\n"+`{"type":"Feature","properties":{"code":%q},"geometry":%s}`, string(g.Code), grid.FormatShape(g.Shape))
	}
	for i, c := range communities { // one school each, in its fourth grid
		street := fmt.Sprintf("%s%03d", DistrictCode, c.street+1)
		fmt.Fprintf(&names, "%s小学,地标,,%s%03d04,,,\n", c.name, street, i+1)
	}
	shapes.WriteString("\n]}\n")
	return []grid.File{{Name: "区划.csv", Body: []byte(areas.String())}, {Name: "地名.csv", Body: []byte(names.String())}, {Name: "网格.geojson", Body: []byte(shapes.String())}}
}

// Registry imports Files. A refusal would be a bug here, so it panics.
func Registry(version string, from time.Time) *grid.Registry {
	r, report := grid.Import(grid.Source{Version: version, From: from, Files: Files()})
	if len(report.Refused) > 0 {
		panic("griddemo: " + report.Refused[0].String())
	}
	return r
}
