package grid

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"yingda/routing"
)

// Segment is a run of digits in a code.
type Segment struct {
	Level  routing.Level `json:"level,omitempty"` // the level that is complete with it; "" : it only fills
	Length int           `json:"length"`          // digits, 1 … 12
	Name   string        `json:"name,omitempty"`  // for messages: 县区, 顺序号
}

// Layout says how codes are built. Offices differ (14 digits in GB/T 30428.1, 15 in Beijing's DB11, 20 in CJ/T 349), so it is data.
type Layout struct {
	Name     string    `json:"name"`
	Segments []Segment `json:"segments"`
	// Free: a code's beginning is not its parent's code, so every row below a district has to name its parent.
	Free bool `json:"free,omitempty"`
}

// GBT30428 is the layout of unit grids in GB/T 30428.1: county 6 (GB/T 2260), street 3, community 3, sequence 2.
var GBT30428 = Layout{Name: "GB/T 30428.1", Segments: []Segment{
	{routing.District, 6, "县区"}, {routing.Street, 3, "街道"}, {routing.Community, 3, "社区"}, {routing.Grid, 2, "顺序号"}}}

// ParseLayout reads a layout from JSON and checks it.
func ParseLayout(data []byte) (Layout, error) {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	var l Layout
	if err := d.Decode(&l); err != nil {
		return Layout{}, fmt.Errorf("编码规则不是有效的 JSON：%w", err)
	}
	if d.More() {
		return Layout{}, errors.New("编码规则后面还有别的内容")
	}
	return l, l.Check()
}

// Check says what is wrong with a layout; nil when nothing is.
func (l Layout) Check() error {
	next := 0
	levels := routing.Levels()
	for i, s := range l.Segments {
		if s.Length < 1 || s.Length > 12 {
			return fmt.Errorf("编码规则 segments[%d]：长度 %d 不在 1 到 12 之间", i, s.Length)
		}
		if s.Level == "" {
			continue
		}
		if !s.Level.Valid() {
			return fmt.Errorf("编码规则 segments[%d]：没有 %q 这一级（可用 district、street、community、grid）", i, string(s.Level))
		}
		if next >= len(levels) || s.Level != levels[next] {
			return fmt.Errorf("编码规则 segments[%d]：%s的位置不对，要从大到小，每级一次", i, s.Level)
		}
		next++
	}
	if next != len(levels) {
		return fmt.Errorf("编码规则里没有%s这一级", levels[next])
	}
	return nil
}

// Length is how many digits a code of that level has; 0 when there is no such level.
func (l Layout) Length(level routing.Level) int {
	n := 0
	for _, s := range l.Segments {
		n += s.Length
		if s.Level == level {
			return n
		}
	}
	return 0
}

// LevelOf tells the level of a code by its length.
func (l Layout) LevelOf(code string) (routing.Level, bool) {
	for _, level := range routing.Levels() {
		if l.Length(level) == len(code) {
			return level, true
		}
	}
	return "", false
}

// Parent is the code of the area around, cut from the code itself; "" for a district and in a Free layout.
func (l Layout) Parent(code string) string {
	level, ok := l.LevelOf(code)
	if !ok || l.Free {
		return ""
	}
	levels := routing.Levels()
	for i, other := range levels {
		if other == level && i > 0 {
			return code[:l.Length(levels[i-1])]
		}
	}
	return ""
}

// Lengths is how long codes may be, in words: 区县 6 位、街道 9 位….
func (l Layout) Lengths() string {
	var parts []string
	for _, level := range routing.Levels() {
		parts = append(parts, fmt.Sprintf("%s %d 位", level, l.Length(level)))
	}
	return strings.Join(parts, "、")
}
