package grid_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/paulmach/orb"
	"golang.org/x/text/encoding/simplifiedchinese"
	"pgregory.net/rapid"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/routing"
	"yingda/routing/grid"
	"yingda/routing/grid/griddemo"
)

var demo = griddemo.Registry("test", time.Time{})

func TestDemoDistrict(t *testing.T) {
	_, report := grid.Import(grid.Source{Version: "1", Files: griddemo.Files()})
	if len(report.Refused) > 0 || len(report.Noted) > 0 {
		t.Fatalf("refused %v, noted %v", report.Refused, report.Noted)
	}
	if report.Areas != 148 || report.Shapes != 135 {
		t.Fatalf("areas %d, shapes %d; want 1+2+10+135 and 135", report.Areas, report.Shapes)
	}
	if got := demo.Path("32059900100103"); got != "梅溪街道 梅苑社区 梅苑 03" {
		t.Fatalf("path %q", got)
	}
	households := 0
	for _, g := range demo.Grids() {
		if g.Worker.IsZero() || g.Phone.IsZero() {
			t.Fatalf("%s has no worker", g.Code)
		}
		households += g.Households
	}
	if mean := households / len(demo.Grids()); mean < 380 || mean > 420 {
		t.Fatalf("mean households %d", mean)
	}
}

// Every point of the district lies in exactly one grid, and asking twice gives the same one.
func TestEveryPointHasOneGrid(t *testing.T) {
	b := griddemo.Bound()
	shapes := demo.Parts().Shapes
	rapid.Check(t, func(t *rapid.T) {
		p := intake.Place{
			Lon: rapid.Float64Range(b.Min[0], b.Max[0]).Draw(t, "lon"),
			Lat: rapid.Float64Range(b.Min[1], b.Max[1]).Draw(t, "lat"),
		}
		f := demo.At(p)
		if f.Grid == "" || f.Community == "" {
			t.Fatalf("%v is in no grid", p)
		}
		if again := demo.At(p); again.Grid != f.Grid {
			t.Fatalf("%v is in %s and in %s", p, f.Grid, again.Grid)
		}
		if f.Confidence < 95 { // on a border: the lowest code
			for _, c := range f.Candidates {
				if c.Grid < f.Grid {
					t.Fatalf("%v on a border: %s was chosen before %s", p, f.Grid, c.Grid)
				}
			}
			return
		}
		if min(p.Lon-b.Min[0], b.Max[0]-p.Lon, p.Lat-b.Min[1], b.Max[1]-p.Lat) < 1e-6 {
			return // on the district's own border the textbook says in or out as it happens
		}
		in := 0
		for code, mp := range shapes {
			if evenOdd(mp, p) {
				in++
				if code != string(f.Grid) {
					t.Fatalf("%v is in %s, At says %s", p, code, f.Grid)
				}
			}
		}
		if in != 1 {
			t.Fatalf("%v is in %d grids", p, in)
		}
	})
}

// evenOdd is the textbook's point-in-polygon over all rings at once, so that the registry is not checked by what it uses itself.
func evenOdd(mp orb.MultiPolygon, p intake.Place) bool {
	in := false
	for _, poly := range mp {
		for _, r := range poly {
			for i := 1; i < len(r); i++ {
				a, b := r[i-1], r[i]
				if (a[1] > p.Lat) != (b[1] > p.Lat) && p.Lon < (b[0]-a[0])*(p.Lat-a[1])/(b[1]-a[1])+a[0] {
					in = !in
				}
			}
		}
	}
	return in
}

// Every corner and bend of every border, and points on the lines between them, go to the lowest code of those that meet there.
func TestBordersGoToTheLowestCode(t *testing.T) {
	seen, shared := 0, 0
	for _, g := range griddemo.Grids() {
		for _, ring := range g.Shape[0] {
			for i := 1; i < len(ring); i++ {
				for _, f := range []float64{0, 0.3, 0.5} {
					p := intake.Place{Lon: ring[i-1][0] + (ring[i][0]-ring[i-1][0])*f, Lat: ring[i-1][1] + (ring[i][1]-ring[i-1][1])*f}
					got := demo.At(p)
					seen++
					if got.Grid > g.Code {
						t.Fatalf("%v is on the border of %s but goes to %s", p, g.Code, got.Grid)
					}
					if len(got.Candidates) > 1 {
						shared++
						if !strings.Contains(got.Why, "边界") {
							t.Fatalf("a border that is not said: %q", got.Why)
						}
					}
				}
			}
		}
	}
	if shared < seen/2 {
		t.Fatalf("only %d of %d border points were seen as such", shared, seen)
	}
}

func TestHolesAndPieces(t *testing.T) {
	grids := griddemo.Grids()
	host, inner, twin := grids[2], grids[13], grids[11]
	if len(host.Shape[0]) != 2 || len(twin.Shape) != 2 {
		t.Fatal("the demo lost its hole or its second piece")
	}
	center := inner.Shape.Bound().Center()
	if f := demo.At(intake.Place{Lon: center[0], Lat: center[1]}); f.Grid != inner.Code {
		t.Fatalf("the middle of the hole is in %s, want %s", f.Grid, inner.Code)
	}
	for _, part := range twin.Shape {
		c := part.Bound().Center()
		if f := demo.At(intake.Place{Lon: c[0], Lat: c[1]}); f.Grid != twin.Code {
			t.Fatalf("a piece of %s is in %s", twin.Code, f.Grid)
		}
	}
	b := griddemo.Bound()
	near := demo.At(intake.Place{Lon: b.Min[0] - 0.0002, Lat: (b.Min[1] + b.Max[1]) / 2})
	if near.Grid == "" || near.Confidence != 70 || !strings.Contains(near.Why, "边界外 19 米") {
		t.Fatalf("19 m outside: %+v", near)
	}
	if far := demo.At(intake.Place{Lon: b.Min[0] - 0.01, Lat: b.Min[1]}); far.Grid != "" {
		t.Fatalf("1 km outside: %+v", far)
	}
	for _, p := range []intake.Place{{Lat: math.NaN(), Lon: 120}, {Lat: math.Inf(1), Lon: 120}, {Lat: 120, Lon: 31}} {
		if f := demo.At(p); f.Grid != "" || f.Why != "坐标不对" {
			t.Fatalf("%v: %+v", p, f)
		}
	}
}

func TestAddresses(t *testing.T) {
	test := func(address, want, why string, atLeast, atMost int) {
		t.Helper()
		f := demo.Find(routing.Asked{Address: pii.NewAddress(address)})
		name := ""
		if a, ok := demo.Grid(f.Grid); ok {
			name = a.Name
		}
		if name != want || f.Confidence < atLeast || f.Confidence > atMost || !strings.HasPrefix(f.Why, why) {
			t.Errorf("%s: %q %d %q (%d candidates), want %q %d–%d %q", address, name, f.Confidence, f.Why, len(f.Candidates), want, atLeast, atMost, why)
		}
	}
	test("梅苑小区 3 号楼 2 单元", "梅苑 01", "按地址里的“梅苑小区 3 幢”", 90, 100)
	test("梅苑小区三号楼二单元", "梅苑 01", "按地址里的“梅苑小区 3 幢”", 90, 100)
	test("梅苑小区３栋", "梅苑 01", "按地址里的“梅苑小区 3 幢”", 90, 100)
	test("梅苑小区3#", "梅苑 01", "按地址里的", 90, 100)
	test("梅苑小区3-2-501", "梅苑 01", "按地址里的", 90, 100)
	test("梅苑小区里面的第九幢", "梅苑 02", "按地址里的“梅苑小区 9 幢”", 90, 100)
	test("梅苑9幢", "梅苑 02", "按地址里的", 90, 100)
	test("我住在柳荫二村 17 幢 302 室", "柳荫 08", "按地址里的“柳荫二村 17 幢”", 90, 100)
	test("柳荫2村十七栋", "柳荫 08", "按地址里的", 90, 100)
	test("梅苑路 128 号门口", "梅苑 04", "按地址里的“梅苑路 128 号”", 90, 100)
	test("梅苑路一百二十八号", "梅苑 04", "按地址里的", 90, 100)
	test("梅苑小区北门", "梅苑 01", "按地址里的“梅苑小区北门”", 90, 100)
	test("石桥小学后面", "石桥 04", "按地址里的“石桥小学”", 90, 100)
	test("梅苑 03", "梅苑 03", "按地址里的", 95, 95)
	test("梅苑3网格", "梅苑 03", "按地址里的", 95, 95)
	test("梅苑小区 3 单元", "", "按地址里的“梅苑小区”", 1, 29) // several grids, no building
	test("梅苑小区 999 幢", "", "按地址里的“梅苑小区”，表里没有这个号", 1, 29)
	test("梅苑社区", "", "按地址里的“梅苑社区”", 1, 29)
	test("柳荫社区梅苑小区3幢", "梅苑 01", "按地址里的“梅苑小区 3 幢”，但社区对不上", 50, 60)
	test("梅溪街道梅苑社区梅苑小区3幢", "梅苑 01", "按地址里的", 90, 100)
	test("火星路 1 号", "", "地址里没有认得的地名", 0, 0)

	f := demo.Find(routing.Asked{Address: pii.NewAddress("梅苑社区")})
	if f.Community != "320599001001" || len(f.Candidates) != 14 {
		t.Errorf("a community alone: %q, %d candidates", f.Community, len(f.Candidates))
	}
	if strings.ContainsAny(demo.Address("梅苑小区 3 幢").Plain, "0123456789梅") {
		t.Error("Plain holds words of the address")
	}
}

func TestHomeAndPlaceTogether(t *testing.T) {
	home := intake.GridID("32059900100103")
	test := func(q routing.Asked, want intake.GridID, how routing.How, why string, confidence int) {
		t.Helper()
		f := demo.Find(q)
		if f.Grid != want || f.How != how || !strings.Contains(f.Why, why) || f.Confidence != confidence {
			t.Errorf("%+v, want %s %s %q %d", f, want, how, why, confidence)
		}
	}
	c := griddemo.Grids()[20].Shape.Bound().Center()
	place := &intake.Place{Lon: c[0], Lat: c[1]}
	at := griddemo.Grids()[20]
	test(routing.Asked{Home: home}, home, routing.ByCard, "按来电人登记地址", 70)
	test(routing.Asked{Home: home, Address: pii.NewAddress("梅苑小区")}, home, routing.ByAddress, "取来电人登记地址所在的一个", 80)
	test(routing.Asked{Home: home, Address: pii.NewAddress("火星路")}, home, routing.ByCard, "说的地方没找到", 50)
	test(routing.Asked{Home: home, Address: pii.NewAddress("石桥小学")}, "32059900200804", routing.ByAddress, "石桥小学", 90)
	test(routing.Asked{Home: home, Place: place}, at.Code, routing.ByPlace, "按坐标", 95)
	test(routing.Asked{Place: place, Address: pii.NewAddress(fmt.Sprintf("%s %d 幢", at.Estate, at.From))}, at.Code, routing.ByPlace, "按坐标", 99)
	test(routing.Asked{Place: place, Address: pii.NewAddress("石桥小学")}, at.Code, routing.ByPlace, "但地址说的是别处", 70)
	test(routing.Asked{}, "", routing.Nowhere, "没有说在哪里", 0)
	test(routing.Asked{Home: "99"}, "", routing.Nowhere, "没有说在哪里", 0)
}

func TestGBK(t *testing.T) {
	for _, bom := range []bool{false, true} {
		files := griddemo.Files()
		for i := range 2 {
			if bom {
				files[i].Body = append([]byte("\xef\xbb\xbf"), files[i].Body...)
				continue
			}
			gbk, err := simplifiedchinese.GBK.NewEncoder().Bytes(files[i].Body)
			if err != nil {
				t.Fatal(err)
			}
			files[i].Body = gbk
		}
		r, report := grid.Import(grid.Source{Version: "1", Files: files})
		if len(report.Refused) > 0 {
			t.Fatal(report.Refused)
		}
		if g, _ := r.Grid("32059900100103"); g.Name != "梅苑 03" || g.Worker.Reveal() != "陆建平" {
			t.Fatalf("%+v", g)
		}
	}
}

func TestShapeRoundTrip(t *testing.T) {
	for _, g := range griddemo.Grids() {
		back, err := grid.ParseShape([]byte(grid.FormatShape(g.Shape)))
		if err != nil || !back.Equal(g.Shape) {
			t.Fatalf("%s: %v", g.Code, err)
		}
	}
	parts := demo.Parts()
	again, err := grid.Build(parts)
	if err != nil || len(again.Grids()) != 135 {
		t.Fatal(err)
	}
}

func BenchmarkAt(b *testing.B) {
	bound := griddemo.Bound()
	i := 0
	for b.Loop() {
		i++
		f := float64(i%9973) / 9973
		g := float64(i%7919) / 7919
		demo.At(intake.Place{Lon: bound.Min[0] + (bound.Max[0]-bound.Min[0])*f, Lat: bound.Min[1] + (bound.Max[1]-bound.Min[1])*g})
	}
}

func BenchmarkAddress(b *testing.B) {
	for b.Loop() {
		demo.Address("我住在柳荫二村 17 幢 302 室")
	}
}
