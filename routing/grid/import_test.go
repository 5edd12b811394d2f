package grid_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/gcj02"
	"yingda/routing"
	"yingda/routing/grid"
	"yingda/routing/grid/griddemo"
)

const head = "编码,名称,上级,网格员,电话,户数\n320599,青溪区,,,,\n320599001,梅溪街道,,,,\n320599001001,梅苑社区,,,,\n"
const one = head + "32059900100101,梅苑 01,,陆建平,0512-5550-2001,412\n"

func square(x, y, size float64) string {
	return fmt.Sprintf("[[%g,%g],[%g,%g],[%g,%g],[%g,%g],[%g,%g]]", x, y, x+size, y, x+size, y+size, x, y+size, x, y)
}

func shapes(features ...string) string {
	return `{"type":"FeatureCollection","features":[` + strings.Join(features, ",\n") + `]}`
}

func shape(code, coordinates string) string {
	return fmt.Sprintf(`{"type":"Feature","properties":{"code":%s},"geometry":{"type":"Polygon","coordinates":[%s]}}`, code, coordinates)
}

// Every row that an import does not take has a reason and a way out.
func TestRefusals(t *testing.T) {
	test := func(name, body string, row int, column, reason string, others ...grid.File) {
		t.Helper()
		_, report := grid.Import(grid.Source{Version: "1", Files: append(others, grid.File{Name: name, Body: []byte(body)})})
		for _, r := range report.Refused {
			if r.File == name && r.Row == row && r.Column == column && strings.Contains(r.Reason, reason) {
				if r.Do == "" {
					t.Errorf("%s: nothing to do about it", r)
				}
				return
			}
		}
		t.Errorf("no refusal of %s row %d column %q with %q in %v", name, row, column, reason, report.Refused)
	}
	test("a.csv", one+"32059900100101,又一个,,周敏,,\n", 6, "编码", "重复：a.csv 第 5 行已经有了")
	test("a.csv", head+"3205990010010,梅苑 01,,陆建平,,\n", 5, "编码", "有 13 位，哪一级都不是")
	test("a.csv", head+"3.20599E+13,梅苑 01,,陆建平,,\n", 5, "编码", "科学记数法")
	test("a.csv", head+"3205990010010A,梅苑 01,,陆建平,,\n", 5, "编码", "数字以外的字符")
	test("a.csv", head+",梅苑 01,,陆建平,,\n", 5, "编码", "没有编码")
	test("a.csv", head+"32059900100101,,,陆建平,,\n", 5, "名称", "没有名称")
	test("a.csv", head+"32059900100101,梅苑 01,,,,\n", 5, "网格员", "没有网格员")
	test("a.csv", head+"32059900100101,梅苑 01,,陆建平,,四百\n", 5, "户数", "不是数字")
	test("a.csv", head+"32059900100101,梅苑 01,,陆建平,,-3\n", 5, "户数", "不合常理")
	test("a.csv", head+"32059900100101,梅苑 01,,陆建平,问门卫,\n", 5, "电话", "不是一个号码")
	test("a.csv", head+"32059900100201,梅苑 01,,陆建平,,\n", 5, "", "上级 320599001002 不在表里")
	test("a.csv", head+"32059900100101,梅苑 01,320599001002,陆建平,,\n", 5, "上级", "按编码应该是 320599001001")
	test("a.csv", head+"320599001002,,,,,\n32059900100201,柳荫 01,,周敏,,\n", 6, "", "上级 320599001002 没有收下（a.csv 第 5 行）")
	test("a.csv", "编码,名称,层级\n320599,青溪区,社区\n", 2, "层级", "却是区县的长度")
	test("a.csv", "编码,名称,层级\n320599,青溪区,省\n", 2, "层级", "不认得“省”")
	test("a.csv", one+"\"32059900100102,梅苑\" 02,,周敏,,\n", 6, "", "引号不成对")
	test("a.csv", "", 0, "", "文件是空的")
	test("a.csv", "甲,乙\n1,2\n", 1, "", "没有认得的列名")
	test("a.csv", "名称,户数\n梅苑,2\n", 1, "", "看不出")
	test("a.csv", "\xff\xfe1\x00", 0, "", "UTF-16")
	test("a.csv", "PK\x03\x04zip", 0, "", "Excel 文件")
	test("a.csv", "编码\xff\xff\xff\n", 0, "", "既不是 UTF-8 也不是 GBK")
	test("a.csv", "编码,名称\x00\n", 0, "", "空字节")
	test("a.xlsx", "x", 0, "", "不认得")

	base := grid.File{Name: "base.csv", Body: []byte(one + "32059900100102,梅苑 02,,周敏,0512-5550-2002,398\n")}
	code := `"32059900100101"`
	geo := func(body string, row int, column, reason string) {
		t.Helper()
		test("g.geojson", body, row, column, reason, base)
	}
	geo(shapes(shape(code, "[[120.5,31.3],[120.6,31.3],[120.6,31.4],[120.5,31.4]]")), 1, "geometry", "边界没有闭合")
	geo(shapes(shape(code, "[[120.5,31.3],[120.6,31.4],[120.6,31.3],[120.5,31.4],[120.5,31.3]]")), 1, "geometry", "自己与自己相交")
	geo(shapes(shape(code, "[[120.5,31.3],[120.6,31.3],[120.7,31.3],[120.6,31.3],[120.55,31.4],[120.5,31.3]]")), 1, "geometry", "自己与自己相交")
	geo(shapes(shape(code, "[[120.5,31.3],[120.6,31.3],[120.5,31.3]]")), 1, "geometry", "只有 3 个点")
	geo(shapes(shape(code, "[[120.5,31.3],[120.6,31.3],[120.6,31.3],[120.5,31.3]]")), 1, "geometry", "没有面积")
	geo(shapes(shape(code, "[[120.5,31.3],[120.6,31.3],[120.7,31.3],[120.5,31.3]]")), 1, "geometry", "自己与自己相交")
	geo(shapes(shape(code, square(31.3, 120.5, 0.01))), 1, "geometry", "经度和纬度写反了")
	geo(shapes(shape(code, square(40512345, 3465432, 100))), 1, "geometry", "投影坐标")
	geo(shapes(shape(code, square(190, 31, 1))), 1, "geometry", "超出经纬度的范围")
	geo(shapes(shape(code, "[[120.5],[120.6],[120.7],[120.5]]")), 1, "geometry", "有 1 个数")
	geo(shapes(shape(code, square(120.5, 31.3, 0.01)+","+square(120.6, 31.3, 0.001))), 1, "geometry", "洞不在外边界里面")
	geo(shapes(shape(code, square(120.5, 31.3, 0.01)+","+square(120.502, 31.302, 0.004)+","+square(120.503, 31.303, 0.001))), 1, "geometry", "个洞重叠")
	geo(shapes(shape(code, square(120.5, 31.3, 0.01)), shape(`"32059900100102"`, square(120.509, 31.3, 0.01))), 2, "geometry", "重叠")
	geo(shapes(shape(code, square(120.5, 31.3, 0.01)), shape(`"32059900100102"`, square(120.502, 31.302, 0.001))), 2, "geometry", "重叠")
	geo(shapes(shape(code, square(120.5, 31.3, 0.01)), shape(`"32059900100102"`, square(120.5, 31.3, 0.01))), 2, "geometry", "重叠")
	bar := func(x1, y1, x2, y2 float64) string {
		return fmt.Sprintf("[[%g,%g],[%g,%g],[%g,%g],[%g,%g],[%g,%g]]", x1, y1, x2, y1, x2, y2, x1, y2, x1, y1)
	}
	geo(shapes(shape(code, bar(120.5, 31.3, 120.53, 31.305)), shape(`"32059900100102"`, bar(120.502, 31.27, 120.507, 31.312))), 2, "geometry", "重叠") // a cross: no corner of one lies in the other
	geo(shapes(shape(code, square(120.5, 31.3, 0.01)), shape(code, square(120.6, 31.3, 0.01))), 2, "code", "图形重复")
	geo(shapes(shape(`"999"`, square(120.5, 31.3, 0.01))), 1, "code", "编码 999 不在表里")
	geo(shapes(`{"type":"Feature","properties":{},"geometry":null}`), 1, "code", "没有编码")
	geo(shapes(`{"type":"Feature","properties":{"code":"32059900100101"},"geometry":null}`), 1, "geometry", "没有图形")
	geo(shapes(`{"type":"Feature","properties":{"code":"32059900100101"},"geometry":{"type":"Point","coordinates":[1,2]}}`), 1, "geometry", "要 Polygon 或 MultiPolygon")
	geo(shapes(`{"type":"Feature","properties":{"code":"32059900100101"},"geometry":{"type":"MultiPolygon","coordinates":[[`+square(120.5, 31.3, 0.01)+`],[`+square(120.505, 31.3, 0.01)+`]]}}`), 1, "geometry", "第 2 块与第 1 块重叠")
	geo(shapes(`7`), 1, "", "不是一个 Feature")
	geo(`{"type":"FeatureCollection","features":[`+"\n\n"+`{"type":`, 0, "", "第 3 行：JSON 没有写完")
	geo(`{"type":"FeatureCollection","features":[`+"\n"+`{]`, 0, "", "第 2 行：不是有效的 JSON")
	geo(`{"type":"Topology","features":[]}`, 0, "", "不是 FeatureCollection")
	geo(`{"type":"FeatureCollection"}`, 0, "", "没有 features")
	geo(`{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::3857"}},"features":[]}`, 0, "", "坐标系不是")
	geo(`[1]`, 0, "", "最外层不是")

	names := func(row string, column, reason string) {
		t.Helper()
		test("n.csv", "地名,类别,网格,起号,止号,单双号\n"+row+"\n", 2, column, reason, base)
	}
	names("梅苑小区,小区,32059900100109,1,8,", "网格", "网格 32059900100109 不在表里")
	names("梅苑小区,小区,320599001001,1,8,", "网格", "不在表里")
	names("梅苑小区,小区,32059900100101,9,8,", "止号", "止号 8 小于起号 9")
	names("梅苑小区,小区,32059900100101,甲,8,", "起号", "不是数字")
	names("梅苑小区,行星,32059900100101,1,8,", "类别", "不认得“行星”")
	names("梅苑小区,小区,32059900100101,1,8,有时", "单双号", "看不懂")
	names("梅,小区,32059900100101,1,8,", "地名", "少于两个字")
}

// Neighbours whose borders were drawn apart or over one another by less than a meter are no overlap.
func TestSmallOverlapsAreTaken(t *testing.T) {
	base := grid.File{Name: "base.csv", Body: []byte(one + "32059900100102,梅苑 02,,周敏,0512-5550-2002,398\n")}
	body := shapes(shape(`"32059900100101"`, square(120.5, 31.3, 0.01)), shape(`32059900100102`, square(120.509995, 31.3, 0.01)))
	r, report := grid.Import(grid.Source{Version: "1", Files: []grid.File{base, {Name: "g.json", Body: []byte(body)}}})
	if len(report.Refused) > 0 {
		t.Fatal(report.Refused)
	}
	if len(r.Grids()) != 2 || report.Shapes != 2 {
		t.Fatalf("%+v", report)
	}
}

// A point in the box around a grid is not yet in the grid.
func TestBoxIsNotGrid(t *testing.T) {
	triangle := shapes(shape(`"32059900100101"`, "[[120.5,31.3],[120.52,31.3],[120.5,31.32],[120.5,31.3]]"))
	r, report := grid.Import(grid.Source{Version: "1", Files: []grid.File{{Name: "a.csv", Body: []byte(one)}, {Name: "g.json", Body: []byte(triangle)}}})
	if len(report.Refused) > 0 {
		t.Fatal(report.Refused)
	}
	if f := r.At(intake.Place{Lon: 120.518, Lat: 31.318}); f.Grid != "" {
		t.Fatalf("far beyond the long side: %+v", f)
	}
	if f := r.At(intake.Place{Lon: 120.502, Lat: 31.302}); f.Grid != "32059900100101" || f.Confidence != 95 {
		t.Fatalf("inside: %+v", f)
	}
}

func TestRefusedRowsDoNotHoldUpTheOthers(t *testing.T) {
	r, report := grid.Import(grid.Source{Version: "1", Files: []grid.File{{Name: "a.csv", Body: []byte(one + "x,y,,,,\n32059900100102,梅苑 02,,周敏,,1\n")}}})
	if r == nil || len(r.Grids()) != 2 || len(report.Refused) != 1 {
		t.Fatalf("%+v", report)
	}
	if len(report.Noted) != 3 { // two without a border, one without a number
		t.Fatalf("%v", report.Noted)
	}
	if got := report.Refused[0].String(); got != "a.csv 第 6 行（编码）：编码 x 里有数字以外的字符。改成数字编码" {
		t.Fatal(got)
	}
}

// The same shapes given in GCJ-02 land where they belong.
func TestImportFromGCJ02(t *testing.T) {
	body := shapes(shape(`"32059900100101"`, square(120.5, 31.3, 0.01)))
	files := []grid.File{{Name: "a.csv", Body: []byte(one)}, {Name: "g.json", Body: []byte(body)}}
	plain, _ := grid.Import(grid.Source{Version: "1", Files: files})
	shifted, report := grid.Import(grid.Source{Version: "1", GCJ02: true, Files: files})
	if len(report.Refused) > 0 {
		t.Fatal(report.Refused)
	}
	a, _ := plain.Center("32059900100101")
	b, _ := shifted.Center("32059900100101")
	if d := grid.Distance(a, b); d < 100 || d > 1000 {
		t.Fatalf("shifted by %.0f m", d)
	}
	if d := grid.Distance(gcj02.From(a), b); d > 1 {
		t.Fatalf("%.2f m off", d)
	}
}

func TestLayouts(t *testing.T) {
	beijing := `{"name":"DB11","segments":[{"level":"district","length":6},{"level":"street","length":3},{"level":"community","length":3},{"level":"grid","length":3}]}`
	l, err := grid.ParseLayout([]byte(beijing))
	if err != nil || l.Length(routing.Grid) != 15 || l.Parent("110101001001001") != "110101001001" {
		t.Fatal(l, err)
	}
	object, err := grid.ParseLayout([]byte(`{"name":"CJ/T 349","segments":[{"length":6,"name":"对象"},{"level":"district","length":6},{"level":"street","length":3},{"level":"community","length":3},{"level":"grid","length":2}]}`))
	if err != nil || object.Length(routing.Grid) != 20 {
		t.Fatal(object, err)
	}
	for body, want := range map[string]string{
		`{`:                           "不是有效的 JSON",
		`{"name":"x","colour":1}`:     "不是有效的 JSON",
		`{"name":"x","segments":[]}`:  "没有区县这一级",
		beijing + `{}`:                "后面还有",
		`{"segments":[{"length":0}]}`: "segments[0]：长度 0",
		`{"segments":[{"length":3,"level":"street"}]}`:                                 "segments[0]：街道的位置不对",
		`{"segments":[{"length":3,"level":"planet"}]}`:                                 `没有 "planet" 这一级`,
		`{"segments":[{"level":"district","length":6},{"level":"street","length":3}]}`: "没有社区这一级",
	} {
		if _, err := grid.ParseLayout([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	free := l
	free.Free = true
	_, report := grid.Import(grid.Source{Version: "1", Layout: free, Files: []grid.File{{Name: "a.csv", Body: []byte("编码,名称,上级,网格员\n110101,区,,\n110101001,街道,,\n")}}})
	if len(report.Refused) == 0 || report.Refused[0].Reason != "没有上级" {
		t.Fatal(report.Refused)
	}
}

func TestValidity(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	until := from.AddDate(1, 0, 0)
	r, report := grid.Import(grid.Source{Version: "1", From: from, Until: until, Files: griddemo.Files()})
	if len(report.Refused) > 0 {
		t.Fatal(report.Refused)
	}
	for at, want := range map[time.Time]bool{from.Add(-1): false, from: true, until.Add(-1): true, until: false} {
		if r.Valid(at) != want {
			t.Errorf("valid at %v: %v", at, !want)
		}
	}
	if _, report := grid.Import(grid.Source{From: until, Until: from}); len(report.Refused) != 1 {
		t.Fatal("a version that ends before it begins")
	}
}

// Whatever is in the files: no panic, and what is taken holds together.
func FuzzImport(f *testing.F) {
	files := griddemo.Files()
	f.Add(string(files[0].Body), string(files[1].Body), string(files[2].Body[:6000]))
	f.Add(one, "地名,网格\n梅苑,32059900100101\n", shapes(shape(`"32059900100101"`, square(120.5, 31.3, 0.01)+","+square(120.502, 31.302, 0.001))))
	f.Add(one, "", shapes(shape(`32059900100101`, "[[1e308,1],[2,2],[3,3],[1e308,1]]")))
	f.Add("\xef\xbb\xbfcode;name\n1;\"x", "", `{"type":"FeatureCollection","features":[{"geometry":{"type":"MultiPolygon","coordinates":[[[]]]}}]}`)
	f.Add("编码\t名称\n\xb1\xe0", "a", "[[[[")
	f.Fuzz(func(t *testing.T, areas, names, geo string) {
		r, report := grid.Import(grid.Source{Version: "1", Files: []grid.File{
			{Name: "a.csv", Body: []byte(areas)}, {Name: "n.csv", Body: []byte(names)}, {Name: "g.geojson", Body: []byte(geo)}}})
		for _, refused := range report.Refused {
			if refused.Reason == "" {
				t.Fatalf("refused without a reason: %+v", refused)
			}
		}
		if r == nil {
			if len(report.Refused) == 0 {
				t.Fatal("nothing made and nothing said")
			}
			return
		}
		for _, g := range r.Grids() {
			if _, ok := r.Above(g.Code, routing.District); !ok {
				t.Fatalf("%s hangs in the air", g.Code)
			}
			if c, ok := r.Center(g.ID()); ok && r.At(c).Grid == "" {
				t.Fatalf("the middle of %s is nowhere", g.Code)
			}
		}
		for _, e := range r.Parts().Entries {
			r.Address(e.Name + "3幢")
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"梅苑小区 3 号楼 2 单元", "柳荫二村十七栋", "百十零号", "１２３＃", "梅苑99999999999999999999幢", "\xff\xfe", "梅苑路、柳荫路口"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := demo.Address(s)
		if got.Grid != "" && (got.Confidence < 30 || got.Confidence > 100 || got.Candidates[0].Grid != got.Grid) {
			t.Fatalf("%q: %+v", s, got)
		}
		if again := demo.Address(s); again.Grid != got.Grid || again.Why != got.Why || again.Confidence != got.Confidence {
			t.Fatalf("%q: %+v, then %+v", s, got, again)
		}
	})
}
