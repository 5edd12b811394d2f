package grid

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/paulmach/orb"
	"github.com/tidwall/rtree"

	"yingda/intake"
	"yingda/internal/gcj02"
	"yingda/internal/pii"
	"yingda/routing"
)

// File is one file as it was sent.
type File struct {
	Name string // .csv, .geojson or .json
	Body []byte
}

// Source is what a registry is imported from. A CSV with a column of codes lists areas; one with columns of names and grids
// is the gazetteer; what a file is, is seen by its headings (English or Chinese).
type Source struct {
	Version string
	From    time.Time
	Until   time.Time
	Layout  Layout  // zero: GBT30428
	GCJ02   bool    // the shapes come from a Chinese map service and are converted
	Overlap float64 // meters by which neighbours may overlap; 0: 1 m
	Files   []File
}

// Import makes a registry of everything in the files that can be taken, and reports everything that cannot, each with its
// reason. The registry is nil when there is nothing to make one of.
func Import(s Source) (*Registry, Report) {
	im := importer{source: s, areas: map[string]placed{}, lost: map[string]placed{}, features: map[string]feature{}, shapes: map[string]orb.MultiPolygon{}}
	if len(im.source.Layout.Segments) == 0 {
		im.source.Layout = GBT30428
	}
	if im.source.Overlap == 0 {
		im.source.Overlap = 1
	}
	if err := im.source.Layout.Check(); err != nil {
		im.report.refuse("", 0, "", "改好编码规则再试", "%s", err)
		return nil, im.report
	}
	if !s.Until.IsZero() && !s.From.Before(s.Until) {
		im.report.refuse("", 0, "", "改好起止日期再试", "有效期的终止不在起始之后")
		return nil, im.report
	}
	var tables []*table
	var features []feature
	for _, f := range s.Files {
		switch ext := strings.ToLower(path.Ext(f.Name)); ext {
		case ".csv", ".txt":
			if t := readCSV(f.Name, f.Body, &im.report); t != nil {
				tables = append(tables, t)
			}
		case ".geojson", ".json":
			features = append(features, readGeoJSON(f.Name, f.Body, &im.report)...)
		default:
			im.report.refuse(f.Name, 0, "", "只收 .csv 和 .geojson", "不认得 %q 这种文件", ext)
		}
	}
	for _, t := range tables {
		if t.columns["code"] != "" {
			for _, r := range t.records {
				im.area(t, r)
			}
		}
	}
	im.parents()
	for _, f := range features {
		im.shape(f)
	}
	im.neighbours()
	for _, t := range tables {
		switch {
		case t.columns["code"] != "":
		case t.columns["name"] != "" && t.columns["grid"] != "":
			for _, r := range t.records {
				im.entry(t, r)
			}
		default:
			im.report.refuse(t.file, 1, "", "区划表要有“编码”“名称”，地名表要有“地名”“网格”", "看不出是区划表还是地名表")
		}
	}
	return im.finish()
}

// placed is an area with where it stood.
type placed struct {
	routing.Area
	file string
	row  int
}

type drawn struct {
	feature
	mp orb.MultiPolygon
}

type importer struct {
	source   Source
	report   Report
	areas    map[string]placed
	lost     map[string]placed // refused, so that what hangs on them gets the right reason
	features map[string]feature
	drawn    []drawn
	shapes   map[string]orb.MultiPolygon
	entries  []Entry
}

func (im *importer) area(t *table, r record) {
	refuse := func(column, do, reason string, args ...any) {
		im.report.refuse(t.file, r.row, t.columns[column], do, reason, args...)
	}
	a := placed{Area: routing.Area{Code: narrow(r.get("code")), Name: r.get("name"), Aliases: list(r.get("aliases")), Parent: narrow(r.get("parent")),
		Worker: pii.NewName(r.get("worker")), User: intake.UserID(r.get("worker_user"))}, file: t.file, row: r.row}
	ok := true
	fail := func(column, do, reason string, args ...any) {
		ok = false
		refuse(column, do, reason, args...)
	}
	layout := im.source.Layout
	level, known := layout.LevelOf(a.Code)
	switch {
	case a.Code == "":
		refuse("code", "补上编码", "没有编码")
		return
	case strings.ContainsAny(a.Code, "eE+.") && strings.Trim(a.Code, "0123456789eE+.") == "":
		refuse("code", "在 Excel 里把这一列设为“文本”再填", "编码 %s 被 Excel 改成了科学记数法", a.Code)
		return
	case strings.Trim(a.Code, "0123456789") != "":
		fail("code", "改成数字编码", "编码 %s 里有数字以外的字符", a.Code)
	case !known:
		fail("code", "核对编码："+layout.Lengths(), "编码 %s 有 %d 位，哪一级都不是", a.Code, len(a.Code))
	}
	if first, twice := im.areas[a.Code]; twice {
		refuse("code", "留下其中一行", "编码 %s 重复：%s 第 %d 行已经有了", a.Code, first.file, first.row)
		return
	}
	a.Level = level
	if said := r.get("level"); said != "" && known {
		if l, valid := levelName(said); !valid {
			fail("level", "写区县、街道、社区或网格", "不认得“%s”这一级", said)
		} else if l != level {
			fail("level", "核对编码或层级", "写的是%s，编码 %s 却是%s的长度", l, a.Code, level)
		}
	}
	if a.Name == "" {
		fail("name", "补上名称", "没有名称")
	}
	if known {
		switch up := layout.Parent(a.Code); {
		case level == routing.District:
			a.Parent = ""
		case a.Parent == "" && up == "":
			fail("parent", "补上上级的编码", "没有上级")
		case a.Parent == "":
			a.Parent = up
		case up != "" && a.Parent != up:
			fail("parent", "核对编码或上级", "上级写的是 %s，按编码应该是 %s", a.Parent, up)
		}
	}
	if number := r.get("worker_phone"); number != "" {
		if a.Phone = pii.NewPhone(narrow(number)); a.Phone.IsZero() {
			fail("worker_phone", "只写一个号码", "电话不是一个号码")
		} else if strings.ContainsAny(number, "eE") {
			fail("worker_phone", "在 Excel 里把这一列设为“文本”再填", "电话被 Excel 改成了科学记数法")
		}
	}
	if n := narrow(r.get("households")); n != "" {
		v, err := strconv.Atoi(strings.TrimSuffix(strings.ReplaceAll(n, ",", ""), "户"))
		switch {
		case err != nil:
			fail("households", "只写数字，如 412", "户数“%s”不是数字", n)
		case v < 0 || v > 100_000:
			fail("households", "核对户数", "户数 %d 不合常理", v)
		default:
			a.Households = v
		}
	}
	if level == routing.Grid {
		if a.Worker.IsZero() {
			fail("worker", "补上网格员姓名", "没有网格员")
		} else if a.Phone.IsZero() && ok {
			im.report.note(t.file, r.row, t.columns["worker_phone"], "补上网格员电话", "%s 没有网格员电话", a.Name)
		}
	}
	if !ok {
		im.lost[a.Code] = a
		return
	}
	im.areas[a.Code] = a
}

func levelName(s string) (routing.Level, bool) {
	for _, l := range routing.Levels() {
		if s == l.String() || strings.EqualFold(s, string(l)) {
			return l, true
		}
	}
	switch s {
	case "区", "县", "市辖区":
		return routing.District, true
	case "镇", "乡":
		return routing.Street, true
	case "村", "居委会":
		return routing.Community, true
	}
	return "", false
}

// parents refuses areas whose parent is not there, from the large to the small, so that each gets its own reason.
func (im *importer) parents() {
	levels := routing.Levels()
	for i, level := range levels {
		if level == routing.District {
			continue
		}
		for _, a := range im.sorted() {
			if a.Level != level {
				continue
			}
			up, ok := im.areas[a.Parent]
			if ok && up.Level == levels[i-1] {
				continue
			}
			switch gone, was := im.lost[a.Parent]; {
			case ok:
				im.report.refuse(a.file, a.row, "", "核对上级", "上级 %s 是%s，%s的上级应该是%s", a.Parent, up.Level, level, levels[i-1])
			case was:
				im.report.refuse(a.file, a.row, "", "先改好那一行", "上级 %s 没有收下（%s 第 %d 行）", a.Parent, gone.file, gone.row)
			default:
				im.report.refuse(a.file, a.row, "", "补上"+levels[i-1].String()+"那一行", "上级 %s 不在表里", a.Parent)
			}
			im.lost[a.Code] = a
			delete(im.areas, a.Code)
		}
	}
}

func (im *importer) sorted() []placed {
	all := make([]placed, 0, len(im.areas))
	for _, a := range im.areas {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Compare(a.Code, b.Code) })
	return all
}

func (im *importer) shape(f feature) {
	a, ok := im.areas[f.code]
	if !ok {
		if gone, was := im.lost[f.code]; was {
			im.report.refuse(f.file, f.row, "code", "先改好那一行", "编码 %s 没有收下（%s 第 %d 行）", f.code, gone.file, gone.row)
		} else {
			im.report.refuse(f.file, f.row, "code", "核对编码，或在 CSV 里补上这一行", "编码 %s 不在表里", f.code)
		}
		return
	}
	if first, twice := im.features[f.code]; twice {
		im.report.refuse(f.file, f.row, "code", "一个编码只画一个图形；分开的几块用 MultiPolygon", "%s 的图形重复：%s 第 %d 个已经有了", f.code, first.file, first.row)
		return
	}
	mp, err := ParseShape(f.raw)
	if err != nil {
		im.report.refuse(f.file, f.row, "geometry", redraw, "%s（%s）：%s", a.Name, f.code, err)
		return
	}
	if im.source.GCJ02 {
		for _, poly := range mp {
			for _, ring := range poly {
				for i, p := range ring {
					w := gcj02.From(intake.Place{Lon: p[0], Lat: p[1]})
					ring[i] = orb.Point{w.Lon, w.Lat}
				}
			}
		}
	}
	im.features[f.code] = f
	im.drawn = append(im.drawn, drawn{f, mp})
}

// neighbours refuses shapes that overlap one of the same level that was taken before.
func (im *importer) neighbours() {
	trees := map[routing.Level]*rtree.RTreeG[int]{}
	for i, d := range im.drawn {
		level := im.areas[d.code].Level
		tree := trees[level]
		if tree == nil {
			tree = new(rtree.RTreeG[int])
			trees[level] = tree
		}
		b := d.mp.Bound()
		var near []int
		tree.Search(b.Min, b.Max, func(_, _ [2]float64, j int) bool {
			near = append(near, j)
			return true
		})
		slices.Sort(near)
		bad := false
		for _, j := range near {
			other := im.drawn[j]
			if at, over := overlaps(d.mp, other.mp, im.source.Overlap); over {
				im.report.refuse(d.file, d.row, "geometry", redraw, "%s（%s）与 %s（%s）重叠，在 %s 附近",
					im.areas[d.code].Name, d.code, im.areas[other.code].Name, other.code, show(at))
				bad = true
				break
			}
		}
		if !bad {
			tree.Insert(b.Min, b.Max, i)
			im.shapes[d.code] = d.mp
		}
	}
}

func (im *importer) entry(t *table, r record) {
	ok := true
	fail := func(column, do, reason string, args ...any) {
		ok = false
		im.report.refuse(t.file, r.row, t.columns[column], do, reason, args...)
	}
	e := Entry{Name: r.get("name"), Aliases: list(r.get("aliases")), Grid: intake.GridID(narrow(r.get("grid")))}
	if len([]rune(fold(e.Name))) < 2 {
		fail("name", "写全地名", "地名“%s”少于两个字", e.Name)
	}
	kind := r.get("kind")
	switch strings.ToLower(kind) {
	case "", "estate", "小区", "新村", "村", "楼盘":
		e.Kind = Estate
	case "road", "路", "道路", "街", "街巷", "巷":
		e.Kind = Road
	case "gate", "门", "大门":
		e.Kind = Gate
	case "landmark", "地标", "单位", "场所":
		e.Kind = Landmark
	default:
		fail("kind", "写小区、道路、门或地标", "不认得“%s”这一类", kind)
	}
	if a, known := im.areas[string(e.Grid)]; !known || a.Level != routing.Grid {
		fail("grid", "写网格的编码", "网格 %s 不在表里", string(e.Grid))
	}
	e.From, e.To = im.house(t, r, "from", &ok), im.house(t, r, "to", &ok)
	switch {
	case e.From == 0 && e.To == 0:
	case e.To == 0:
		e.To = e.From
	case e.From == 0:
		e.From = 1
	}
	if e.To < e.From {
		fail("to", "核对起止号", "止号 %d 小于起号 %d", e.To, e.From)
	}
	switch p := r.get("parity"); p {
	case "", "全", "all", "0":
	case "单", "单号", "odd", "1":
		e.Parity = 1
	case "双", "双号", "even", "2":
		e.Parity = 2
	default:
		fail("parity", "写单、双或空着", "单双号“%s”看不懂", p)
	}
	if ok {
		im.entries = append(im.entries, e)
	}
}

func (im *importer) house(t *table, r record, column string, ok *bool) int {
	s := strings.TrimRight(narrow(r.get(column)), "幢栋号座弄")
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 99_999 {
		*ok = false
		im.report.refuse(t.file, r.row, t.columns[column], "只写数字，1 到 99999", "号“%s”不是数字", s)
		return 0
	}
	return n
}

func (im *importer) finish() (*Registry, Report) {
	p := Parts{Version: im.source.Version, From: im.source.From, Until: im.source.Until, Layout: im.source.Layout, Shapes: im.shapes, Entries: im.entries}
	grids := 0
	for _, a := range im.sorted() {
		p.Areas = append(p.Areas, a.Area)
		if a.Level == routing.Grid {
			grids++
			if _, ok := im.shapes[a.Code]; !ok {
				im.report.note(a.file, a.row, "", "画上图形，否则只能按地址找到它", "%s（%s）没有图形", a.Name, a.Code)
			}
		}
	}
	im.report.Areas, im.report.Shapes, im.report.Entries = len(p.Areas), len(p.Shapes), len(p.Entries)
	if grids == 0 {
		im.report.refuse("", 0, "", "至少要有一个网格", "没有一个网格可以收下")
		return nil, im.report
	}
	r, err := Build(p)
	if err != nil { // Build asks for nothing that was not checked above
		im.report.refuse("", 0, "", "", "%s", err)
		return nil, im.report
	}
	return r, im.report
}
