package grid

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/paulmach/orb"
)

// feature is one shape of a GeoJSON (RFC 7946), its geometry not looked at yet.
type feature struct {
	file string
	row  int // its number in the file, from 1
	code string
	raw  json.RawMessage
}

const redraw = "在制图软件里用“检查几何/修复几何”改好后重新导出"

// readGeoJSON splits a FeatureCollection into its features. A feature that cannot be read is refused alone.
func readGeoJSON(file string, body []byte, report *Report) []feature {
	text, err := decode(body)
	if err != nil {
		report.refuse(file, 0, "", "导出为 UTF-8 编码的 GeoJSON", "%s", err)
		return nil
	}
	var features []feature
	err = collect(text, func(n int, raw json.RawMessage) {
		report.Rows++
		var f struct {
			Type       string          `json:"type"`
			ID         json.RawMessage `json:"id"`
			Properties map[string]any  `json:"properties"`
			Geometry   json.RawMessage `json:"geometry"`
		}
		if err := numbers(raw, &f); err != nil || f.Type != "Feature" {
			report.refuse(file, n, "", "检查导出设置", "不是一个 Feature")
			return
		}
		code := ""
		for key, v := range f.Properties {
			if k := strings.ToLower(strings.TrimSpace(key)); headings[k] == "code" || k == "grid_code" || k == "gridcode" {
				if s, ok := scalar(v); ok && s != "" {
					code = s
				}
			}
		}
		if code == "" {
			var id any
			if len(f.ID) > 0 && numbers(f.ID, &id) == nil {
				code, _ = scalar(id)
			}
		}
		if code = narrow(code); code == "" {
			report.refuse(file, n, "code", "在 properties 里写上 code（编码），与 CSV 的编码一致", "没有编码")
			return
		}
		features = append(features, feature{file, n, code, f.Geometry})
	})
	if err != nil {
		report.refuse(file, 0, "", "重新导出为 GeoJSON（WGS-84，FeatureCollection）", "%s", err)
	}
	return features
}

// numbers unmarshals and keeps numbers as they are written: a code of 14 digits is no float.
func numbers(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(v)
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// collect walks through a FeatureCollection and hands on each member of features.
func collect(text string, each func(n int, raw json.RawMessage)) error {
	d := json.NewDecoder(strings.NewReader(text))
	fail := func(err error) error {
		at := d.InputOffset()
		var whole json.RawMessage
		var syntax *json.SyntaxError // the decoder counts from its last value; the text as a whole gives the true place
		if errors.As(json.Unmarshal([]byte(text), &whole), &syntax) {
			at = syntax.Offset
		}
		line := 1 + strings.Count(text[:max(0, min(int(at), len(text)))], "\n")
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("第 %d 行：JSON 没有写完", line)
		}
		return fmt.Errorf("第 %d 行：不是有效的 JSON", line)
	}
	t, err := d.Token()
	if err != nil {
		return fail(err)
	}
	if t != json.Delim('{') {
		return errors.New("最外层不是 FeatureCollection 对象")
	}
	seen, kind := false, ""
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return fail(err)
		}
		switch key {
		case "features":
			t, err := d.Token()
			if err != nil {
				return fail(err)
			}
			if t != json.Delim('[') {
				return errors.New("features 不是数组")
			}
			seen = true
			for n := 1; d.More(); n++ {
				var raw json.RawMessage
				if err := d.Decode(&raw); err != nil {
					return fail(err)
				}
				each(n, raw)
			}
			if _, err := d.Token(); err != nil {
				return fail(err)
			}
		default:
			var raw json.RawMessage
			if err := d.Decode(&raw); err != nil {
				return fail(err)
			}
			switch key {
			case "type":
				_ = json.Unmarshal(raw, &kind)
			case "crs":
				if name := string(raw); name != "null" && !knownCRS(name) {
					return errors.New("坐标系不是 WGS-84 或 CGCS2000 经纬度")
				}
			}
		}
	}
	if _, err := d.Token(); err != nil {
		return fail(err)
	}
	if kind != "FeatureCollection" {
		return fmt.Errorf("type 是 %q，不是 FeatureCollection", kind)
	}
	if !seen {
		return errors.New("没有 features")
	}
	return nil
}

// knownCRS says whether a crs member (dropped from the standard, still written by tools) names longitudes and latitudes that differ from
// WGS-84 by centimeters only.
func knownCRS(raw string) bool {
	for _, name := range []string{"CRS84", "EPSG::4326", "EPSG:4326", "EPSG::4490", "EPSG:4490"} {
		if strings.Contains(raw, name) {
			return true
		}
	}
	return false
}

// What one shape may have; a city's outline has less. They bound the time that checking it takes.
const (
	maxPoints = 20_000
	maxParts  = 500 // polygons, and holes of each
)

// ParseShape reads a GeoJSON geometry, Polygon or MultiPolygon, and checks that what is inside of it is clear.
func ParseShape(raw []byte) (orb.MultiPolygon, error) {
	var g struct {
		Type        string          `json:"type"`
		Coordinates json.RawMessage `json:"coordinates"`
	}
	if len(raw) == 0 || string(raw) == "null" {
		return nil, errors.New("没有图形")
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, errors.New("图形不是有效的 GeoJSON")
	}
	var polygons [][][][]float64
	switch g.Type {
	case "Polygon":
		var one [][][]float64
		if err := json.Unmarshal(g.Coordinates, &one); err != nil {
			return nil, errors.New("coordinates 不是多边形的坐标")
		}
		polygons = [][][][]float64{one}
	case "MultiPolygon":
		if err := json.Unmarshal(g.Coordinates, &polygons); err != nil {
			return nil, errors.New("coordinates 不是多边形的坐标")
		}
	default:
		return nil, fmt.Errorf("图形是 %q，要 Polygon 或 MultiPolygon", clip(g.Type))
	}
	if len(polygons) == 0 {
		return nil, errors.New("图形里没有坐标")
	}
	if len(polygons) > maxParts {
		return nil, fmt.Errorf("图形多于 %d 块", maxParts)
	}
	points := 0
	var mp orb.MultiPolygon
	for _, p := range polygons {
		if len(p) == 0 {
			return nil, errors.New("图形里没有坐标")
		}
		if len(p) > maxParts {
			return nil, fmt.Errorf("洞多于 %d 个", maxParts)
		}
		var poly orb.Polygon
		for i, line := range p {
			ring, err := parseRing(line)
			if err != nil {
				if i > 0 {
					return nil, fmt.Errorf("第 %d 个洞：%w", i, err)
				}
				return nil, err
			}
			if points += len(ring); points > maxPoints {
				return nil, fmt.Errorf("点数超过 %d", maxPoints)
			}
			poly = append(poly, ring)
		}
		if at, bad := crossing(poly); bad {
			return nil, fmt.Errorf("边界自己与自己相交，在 %s 附近", show(at))
		}
		for i, hole := range poly[1:] {
			for _, q := range hole {
				if !inside(orb.MultiPolygon{{poly[0]}}, q) {
					return nil, fmt.Errorf("第 %d 个洞不在外边界里面，在 %s", i+1, show(q))
				}
			}
			for j, other := range poly[1:] {
				if i != j {
					if at, bad := overlaps(orb.MultiPolygon{{hole}}, orb.MultiPolygon{{other}}, 0); bad {
						return nil, fmt.Errorf("第 %d 个洞与第 %d 个洞重叠，在 %s", i+1, j+1, show(at))
					}
				}
			}
		}
		for i, other := range mp {
			if at, bad := overlaps(orb.MultiPolygon{poly}, orb.MultiPolygon{other}, 0.01); bad {
				return nil, fmt.Errorf("图形的第 %d 块与第 %d 块重叠，在 %s", len(mp)+1, i+1, show(at))
			}
		}
		mp = append(mp, poly)
	}
	if _, ok := interior(mp); !ok {
		return nil, errors.New("图形没有面积")
	}
	return mp, nil
}

func parseRing(line [][]float64) (orb.Ring, error) {
	if len(line) > maxPoints {
		return nil, fmt.Errorf("点数超过 %d", maxPoints)
	}
	if len(line) < 4 {
		return nil, fmt.Errorf("边界只有 %d 个点，至少要 4 个（首尾相同）", len(line))
	}
	ring := make(orb.Ring, 0, len(line))
	for i, c := range line {
		if len(c) < 2 || len(c) > 4 {
			return nil, fmt.Errorf("第 %d 个点有 %d 个数，要经度和纬度两个", i+1, len(c))
		}
		lon, lat := c[0], c[1]
		switch {
		case math.Abs(lon) > 180 && math.Abs(lon) > 1000 || math.Abs(lat) > 1000:
			return nil, fmt.Errorf("第 %d 个点（%g, %g）像是以米为单位的投影坐标，不是经纬度", i+1, lon, lat)
		case lon >= 3 && lon <= 54 && lat >= 73 && lat <= 136:
			return nil, fmt.Errorf("第 %d 个点（%g, %g）的经度和纬度写反了", i+1, lon, lat)
		case math.Abs(lon) > 180 || math.Abs(lat) > 90:
			return nil, fmt.Errorf("第 %d 个点（%g, %g）超出经纬度的范围", i+1, lon, lat)
		}
		p := orb.Point{lon, lat}
		if len(ring) == 0 || ring[len(ring)-1] != p { // the same point twice in a row says nothing
			ring = append(ring, p)
		}
	}
	first, last := line[0], line[len(line)-1]
	if first[0] != last[0] || first[1] != last[1] {
		return nil, fmt.Errorf("边界没有闭合：最后一个点 %s 与第一个点 %s 不同", show(orb.Point{last[0], last[1]}), show(orb.Point{first[0], first[1]}))
	}
	if len(ring) < 4 {
		return nil, errors.New("边界只有一条线，没有面积")
	}
	return ring, nil
}

func show(p orb.Point) string { return fmt.Sprintf("%.6f,%.6f", p[0], p[1]) }

// ReadShape reads what FormatShape wrote, without the checks of ParseShape: it is for shapes that were checked when they were
// taken, and a start should not wait for that again.
func ReadShape(raw []byte) (orb.MultiPolygon, error) {
	var g struct{ Coordinates orb.MultiPolygon }
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, err
	}
	for _, poly := range g.Coordinates {
		for _, ring := range poly {
			if len(ring) < 4 {
				return nil, errors.New("a ring of fewer than 4 points")
			}
		}
		if len(poly) == 0 {
			return nil, errors.New("a polygon without a ring")
		}
	}
	return g.Coordinates, nil
}

// FormatShape writes a shape as a GeoJSON geometry, with the digits that bring back the same numbers.
func FormatShape(mp orb.MultiPolygon) string {
	var b strings.Builder
	b.WriteString(`{"type":"MultiPolygon","coordinates":[`)
	for i, poly := range mp {
		comma(&b, i)
		b.WriteByte('[')
		for j, ring := range poly {
			comma(&b, j)
			b.WriteByte('[')
			for k, p := range ring {
				comma(&b, k)
				b.WriteByte('[')
				b.WriteString(strconv.FormatFloat(p[0], 'f', -1, 64))
				b.WriteByte(',')
				b.WriteString(strconv.FormatFloat(p[1], 'f', -1, 64))
				b.WriteByte(']')
			}
			b.WriteByte(']')
		}
		b.WriteByte(']')
	}
	b.WriteString("]}")
	return b.String()
}

func comma(b *strings.Builder, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}
