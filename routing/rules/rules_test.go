package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/routing"
	"yingda/routing/rules"
)

var shanghai = time.FixedZone("CST", 8*3600)

func at(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, shanghai)
	if err != nil {
		panic(err)
	}
	return t
}

func TestDefaultSet(t *testing.T) {
	s := rules.Default(shanghai)
	now := at("2026-11-24 13:26")
	known := routing.Found{Grid: "32059900100103", Community: "320599001001", Confidence: 95}
	test := func(f routing.Facts, rule, department, within, deadline string) {
		t.Helper()
		d := s.Decide(now, f)
		got := ""
		if !d.Deadline.IsZero() {
			got = d.Deadline.In(shanghai).Format("2006-01-02 15:04")
		}
		if d.Rule != rule || d.Department != department || d.Within != within || got != deadline {
			t.Errorf("%+v, want %s %q %s %s", d, rule, department, within, deadline)
		}
	}
	words := func(s string) pii.Text { return pii.NewText(s) }
	test(routing.Facts{Source: intake.FromOperator, Category: "danger", Found: known}, "danger", "duty", "2h", "2026-11-24 15:26")
	test(routing.Facts{Source: intake.FromOperator, Words: words("三楼有煤气味"), Found: known}, "danger-words", "duty", "2h", "2026-11-24 15:26")
	test(routing.Facts{Source: intake.FromOperator, Words: words("上次煤气味已经修好，来谢谢"), Found: known}, "general", "", "24h", "2026-11-25 13:26")
	test(routing.Facts{Source: intake.FromOperator, Category: "water", Found: known}, "utilities", "utilities", "2h", "2026-11-24 15:26")
	test(routing.Facts{Source: intake.FromOperator, Words: words("家里停 水了"), Found: known}, "utilities-words", "utilities", "2h", "2026-11-24 15:26")
	test(routing.Facts{Source: intake.FromOperator, Category: "light", Found: known}, "general", "", "24h", "2026-11-25 13:26")
	test(routing.Facts{Source: intake.FromOperator, Category: "consult", Found: known}, "consult", "duty", "3wd", "2026-11-27 17:30")
	test(routing.Facts{Source: intake.FromOperator, Category: "insurance", Found: known}, "consult/insurance", "social", "3wd", "2026-11-27 17:30")
	test(routing.Facts{Source: intake.FromOperator, Category: "complaint", Found: known}, "dispute/complaint", "petition", "24h", "2026-11-25 13:26")
	test(routing.Facts{Source: intake.FromVisit, Callback: true, Found: known}, "visit", "", "24h", "2026-11-25 13:26")
	test(routing.Facts{Source: intake.FromVisit, Callback: true, Older: true}, "visit/older", "", "4h", "2026-11-24 17:26")
	test(routing.Facts{Source: intake.FromOperator, Found: routing.Found{}}, "nowhere", "duty", "24h", "2026-11-25 13:26")
	test(routing.Facts{Source: intake.FromOperator, Category: "danger", SelfClosed: true, Found: known}, "on-the-spot", "", "none", "")

	if d := s.Decide(now, routing.Facts{Words: words("楼道里冒烟"), Found: known}); d.Category != "danger" || !d.Opens || d.Why == "" {
		t.Errorf("%+v", d)
	}
	if got := s.Suggest("三号楼楼道灯不亮一个多礼拜了", 2); len(got) == 0 || got[0].Code != "light" {
		t.Errorf("suggested %v", got)
	}
	if c, ok := s.Category("complaint"); !ok || !c.Secret {
		t.Error("complaints are not secret by default")
	}
}

// Days of the State Council's notice for 2026, and the sum that personnel offices publish: 248 working days.
func TestCalendar2026(t *testing.T) {
	c := rules.Default(shanghai).Calendar
	test := func(day string, want bool) {
		t.Helper()
		if got := c.Workday(at(day + " 00:00")); got != want {
			t.Errorf("%s: workday %v", day, got)
		}
		if got := c.Workday(at(day + " 23:59")); got != want {
			t.Errorf("%s, late: workday %v", day, got)
		}
	}
	for _, day := range []string{"2026-01-01", "2026-01-02", "2026-01-03", "2026-02-15", "2026-02-16", "2026-02-23", "2026-04-06", "2026-05-05", "2026-06-19", "2026-09-25", "2026-10-01", "2026-10-07", "2026-11-28", "2026-11-29"} {
		test(day, false)
	}
	for _, day := range []string{"2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10", "2026-01-05", "2026-02-24", "2026-10-08", "2026-11-24"} {
		test(day, true)
	}
	off, work := 0, 0
	for d := at("2026-01-01 12:00"); d.Year() == 2026; d = d.AddDate(0, 0, 1) {
		if c.Workday(d) {
			work++
		} else {
			off++
		}
	}
	if work != 248 || off != 117 {
		t.Errorf("%d working days, %d off", work, off)
	}
	add := func(from string, days int, want string) {
		t.Helper()
		w, err := rules.ParseWithin(fmt.Sprintf("%dwd", days))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Add(at(from), w).In(shanghai).Format("2006-01-02 15:04"); got != want {
			t.Errorf("%s + %d working days: %s, want %s", from, days, got, want)
		}
	}
	add("2026-11-24 09:00", 1, "2026-11-25 17:30")
	add("2026-11-27 09:00", 1, "2026-11-30 17:30") // Friday
	add("2026-09-30 16:00", 3, "2026-10-10 17:30") // before 国庆节: 8th, 9th, and the Saturday made up
	add("2026-02-13 16:00", 2, "2026-02-24 17:30") // Saturday made up, then 春节
	add("2026-02-14 16:00", 1, "2026-02-24 17:30")
	if !c.Covers(at("2026-07-01 00:00")) || c.Covers(at("2031-07-01 00:00")) {
		t.Error("which years have holidays")
	}
}

const small = `
departments: [{code: duty, name: 值班室}]
categories: [{code: water, name: 供水, group: utility}]
rules:
  - id: night
    title: 夜里
    when: {hours: "22:00-6:00"}
    then: {department: duty, deadline: 2h}
    rules:
      - id: weekend
        when: {workday: false}
        then: {deadline: 1h}
      - id: far
        when: {street: "320599002"}
        then: {to: grid}
  - id: rest
    then: {to: grid, deadline: 3wd}
`

func TestTree(t *testing.T) {
	s, err := rules.Parse("r.yaml", []byte(small), shanghai)
	if err != nil {
		t.Fatal(err)
	}
	test := func(now string, f routing.Facts, rule, department, within string) {
		t.Helper()
		if d := s.Decide(at(now), f); d.Rule != rule || d.Department != department || d.Within != within {
			t.Errorf("%s: %+v, want %s %q %s", now, d, rule, department, within)
		}
	}
	test("2026-11-24 22:00", routing.Facts{}, "night", "duty", "2h")
	test("2026-11-24 05:59", routing.Facts{}, "night", "duty", "2h")
	test("2026-11-24 06:00", routing.Facts{}, "rest", "", "3wd")
	test("2026-11-28 23:00", routing.Facts{}, "night/weekend", "duty", "1h")
	test("2026-11-24 23:00", routing.Facts{Street: "320599002"}, "night/far", "", "2h")
	if d := s.Decide(at("2026-11-24 23:00"), routing.Facts{}); d.Why != "夜里" || d.Opens {
		t.Errorf("%+v", d)
	}
}

// The same set in JSON decides the same.
func TestJSON(t *testing.T) {
	s, err := rules.Parse("r.json", []byte(`{"rules": [{"id": "all", "then": {"to": "grid", "deadline": "90m"}}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	now := at("2026-01-01 00:00")
	if d := s.Decide(now, routing.Facts{}); d.Deadline.Sub(now) != 90*time.Minute || d.Rule != "all" {
		t.Errorf("%+v", d)
	}
}

func TestMistakes(t *testing.T) {
	test := func(body string, want ...string) {
		t.Helper()
		_, err := rules.Parse("r.yaml", []byte(body), nil)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v, want %s", body, err, w)
			}
		}
	}
	replace := func(old, new string) string { return strings.Replace(small, old, new, 1) }
	test("", "文件是空的")
	test("rules: [", "不是有效的 YAML")
	test("a: b\n c: d: e", "第 2 行", "不是有效的 YAML")
	test("rules: []", "rules：没有规则")
	test("[1]", "这里要写成")
	test("rule: []", "rule：没有这一项，可以写：calendar、categories、departments、rules、version")
	test(replace("2h", "soon"), "r.yaml 第 8 行 rules[0].then.deadline：期限“soon”看不懂")
	test(replace("2h", "0wd"), "rules[0].then.deadline：期限“0wd”")
	test(replace("department: duty", "department: navy"), "r.yaml 第 8 行 rules[0].then.department：没有“navy”这个部门")
	test(replace(`"22:00-6:00"`, "night"), "rules[0].when.hours：“night”看不懂")
	test(replace("workday: false", "workday: maybe"), "rules[0].rules[0].when.workday：写 true 或 false")
	test(replace("id: far", "id: weekend"), "r.yaml 第 13 行 rules[0].rules[1].id：id“night/weekend”第 10 行已经有了")
	test(replace("id: rest", "id: 其余"), "rules[1].id：规则要有 id")
	test(replace("then: {to: grid, deadline: 3wd}", "when: {category: fire}\n    then: {to: grid}"), "rules[1].when.category：没有“fire”这个类别")
	test(replace("then: {to: grid, deadline: 3wd}", "when: {category: utility}\n    then: {to: grid}"), "最后一条不能有条件")
	test(replace("then: {to: grid, deadline: 3wd}", "then: {to: moon}"), "rules[1].then.to：写 grid")
	test(replace("then: {to: grid, deadline: 3wd}", "then: {to: grid, department: duty}"), "rules[1].then.to：与下面写的对不上")
	test(replace("then: {to: grid, deadline: 3wd}", "then: {to: grid, to: grid}"), "写了两次")
	test(replace("  - id: rest", "  - id: first\n    then: {to: grid}\n  - id: rest"), "rules[1].when：没有条件，后面的规则永远轮不到")
	test(replace("id: rest\n    then: {to: grid, deadline: 3wd}", "id: rest"), "rules[1].then：没有说怎么办")
	test(replace("group: utility}", "group: utility}, {code: water, name: 水}"), "categories[1].code：编码“water”写了两次")
	test(replace("rules:", "calendar: {holidays: [{from: 2026-10-01, to: 2026-09-01}]}\nrules:"), "calendar.holidays[0].to：在 from 之前")
	test(replace("rules:", "calendar: {holidays: [{from: 2026-10-01, to: 2026-10-07, name: 国庆}, {from: 2026-10-07}]}\nrules:"), "calendar.holidays[1]：与“国庆”重叠")
	test(replace("rules:", "calendar: {weekend: [0,1,2,3,4,5,6]}\nrules:"), "至少要有一天上班")
	test(replace("rules:", "calendar: {makeup: [{from: 国庆}]}\nrules:"), "不是日期")
	test(replace("{to: grid}", "&a {to: *a}"), "")
	test("a: &a [1]\nrules: *a", "不能用 YAML 的引用")
	deep := "rules: "
	for range 12 {
		deep += "[{id: a, rules: "
	}
	test(deep+"[]"+strings.Repeat("}]", 12), "规则多于 8 层")
}

func FuzzParse(f *testing.F) {
	f.Add(string(rules.DefaultYAML()))
	f.Add(small)
	f.Add(`{"rules":[{"id":"a","then":{"to":"grid"}}]}`)
	f.Add("a: &a [*a]")
	f.Add("rules: [{id: a, when: {hours: [\"1-2\"]}, then: {deadline: 1wd}}, {id: b, then: {to: grid}}]")
	f.Fuzz(func(t *testing.T, body string) {
		s, err := rules.Parse("f.yaml", []byte(body), shanghai)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Fatal("refused without a word")
			}
			return
		}
		now := at("2026-11-24 13:26")
		d := s.Decide(now, routing.Facts{Words: pii.NewText("停水")})
		if d.Rule == "" {
			t.Fatal("a set that says nothing")
		}
		if !d.Deadline.IsZero() && !d.Deadline.After(now) {
			t.Fatalf("a deadline in the past: %v", d.Deadline)
		}
	})
}

func TestCodesAreUsedOnce(t *testing.T) {
	s := rules.Default(nil)
	var codes []string
	for _, c := range s.Categories {
		codes = append(codes, c.Code)
	}
	slices.Sort(codes)
	if len(codes) != len(slices.Compact(slices.Clone(codes))) || len(codes) < 15 || len(s.Departments) < 8 {
		t.Fatal(codes)
	}
}
