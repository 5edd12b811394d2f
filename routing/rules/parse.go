package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"yingda/intake"
	"yingda/routing"
)

// Mistake is one thing that is wrong with a file of rules.
type Mistake struct {
	File string
	Line int
	Path string // rules[2].when.hours
	What string
}

func (m Mistake) Error() string {
	return fmt.Sprintf("%s 第 %d 行 %s：%s", m.File, m.Line, m.Path, m.What)
}

// Bounds of a file: what is larger is a mistake or an attack.
const (
	maxBytes = 1 << 20
	maxRules = 2000
	maxDepth = 8
	maxItems = 500 // of one list
)

// Parse reads a set of rules from YAML or JSON and checks it. The error joins all Mistakes. loc is the office's time zone; nil: UTC.
func Parse(file string, data []byte, loc *time.Location) (*Set, error) {
	if loc == nil {
		loc = time.UTC
	}
	p := parser{file: file}
	if len(data) > maxBytes {
		return nil, Mistake{file, 1, "", "文件大于 1 MB"}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		line := 1
		if _, rest, ok := strings.Cut(err.Error(), "line "); ok {
			digits, _, _ := strings.Cut(rest, ":")
			if n, err := strconv.Atoi(digits); err == nil {
				line = n
			}
		}
		return nil, Mistake{file, line, "", "不是有效的 YAML 或 JSON"}
	}
	if len(doc.Content) == 0 {
		return nil, Mistake{file, 1, "", "文件是空的"}
	}
	if aliased(&doc, 0) {
		return nil, Mistake{file, 1, "", "不能用 YAML 的引用（& 和 *），或者层次太深"}
	}
	s := p.set(doc.Content[0], loc)
	if len(p.mistakes) > 0 {
		return nil, errors.Join(p.mistakes...)
	}
	return s, nil
}

// aliased finds anchors in use: short to write, endless to walk.
func aliased(n *yaml.Node, depth int) bool {
	if n.Kind == yaml.AliasNode || depth > 60 {
		return true
	}
	return slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return aliased(c, depth+1) })
}

type parser struct {
	file        string
	mistakes    []error
	ids         map[string]int // path of ids → line
	rules       int
	categories  []routing.Category
	departments []routing.Department
}

func (p *parser) wrong(n *yaml.Node, path, what string, args ...any) {
	if len(p.mistakes) < 200 {
		p.mistakes = append(p.mistakes, Mistake{p.file, n.Line, path, fmt.Sprintf(what, args...)})
	}
}

// fields walks through a mapping and refuses keys that are not among the known.
func (p *parser) fields(n *yaml.Node, path string, known map[string]func(v *yaml.Node, path string)) {
	if n.Kind != yaml.MappingNode {
		p.wrong(n, path, "这里要写成“名称: 值”")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		f, ok := known[key.Value]
		switch {
		case !ok:
			var names []string
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			p.wrong(key, at, "没有这一项，可以写：%s", strings.Join(names, "、"))
		case seen[key.Value]:
			p.wrong(key, at, "写了两次")
		default:
			seen[key.Value] = true
			f(v, at)
		}
	}
}

func (p *parser) items(n *yaml.Node, path string, each func(v *yaml.Node, path string)) {
	if n.Kind != yaml.SequenceNode {
		p.wrong(n, path, "这里要写成列表")
		return
	}
	if len(n.Content) > maxItems {
		p.wrong(n, path, "多于 %d 项", maxItems)
		return
	}
	for i, v := range n.Content {
		each(v, fmt.Sprintf("%s[%d]", path, i))
	}
}

func (p *parser) text(to *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			p.wrong(n, path, "这里要写一个词")
			return
		}
		*to = strings.TrimSpace(n.Value)
	}
}

// texts reads one word or a list of them.
func (p *parser) texts(to *[]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		one := func(n *yaml.Node, path string) {
			var s string
			p.text(&s)(n, path)
			if s == "" {
				p.wrong(n, path, "不能空着")
				return
			}
			*to = append(*to, s)
		}
		if n.Kind == yaml.SequenceNode {
			p.items(n, path, one)
			if len(n.Content) == 0 {
				p.wrong(n, path, "列表是空的")
			}
			return
		}
		one(n, path)
	}
}

// among is texts that must be known.
func (p *parser) among(to *[]string, what string, known func(string) bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		p.texts(to)(n, path)
		for _, s := range *to {
			if !known(s) {
				p.wrong(n, path, "没有“%s”这个%s", s, what)
			}
		}
	}
}

func (p *parser) flag(to **bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		var b bool
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&b) != nil {
			p.wrong(n, path, "写 true 或 false")
			return
		}
		*to = &b
	}
}

func (p *parser) set(n *yaml.Node, loc *time.Location) *Set {
	s := &Set{Calendar: &Calendar{Location: loc, DayEnd: 17*60 + 30, Weekend: []int{6, 0}}}
	p.ids = map[string]int{}
	var tree *yaml.Node
	p.fields(n, "", map[string]func(*yaml.Node, string){
		"version":     p.text(&s.Version),
		"calendar":    func(n *yaml.Node, path string) { p.calendar(n, path, s.Calendar) },
		"departments": func(n *yaml.Node, path string) { p.items(n, path, p.department) },
		"categories":  func(n *yaml.Node, path string) { p.items(n, path, p.category) },
		"rules":       func(n *yaml.Node, _ string) { tree = n },
	})
	s.Categories, s.Departments = p.categories, p.departments
	if tree == nil {
		p.wrong(n, "rules", "没有规则")
		return s
	}
	s.rules = p.tree(tree, "rules", "", 1)
	if k := len(s.rules); k > 0 && len(p.mistakes) == 0 && !s.rules[k-1].when.empty() {
		p.wrong(tree.Content[k-1], fmt.Sprintf("rules[%d].when", k-1), "最后一条不能有条件，不然有的事项没有规则管")
	}
	return s
}

func (p *parser) department(n *yaml.Node, path string) {
	var d routing.Department
	p.fields(n, path, map[string]func(*yaml.Node, string){"code": p.text(&d.Code), "name": p.text(&d.Name), "aliases": p.texts(&d.Aliases), "phone": p.text(&d.Phone)})
	p.listed(n, path, d.Code, d.Name, slices.ContainsFunc(p.departments, func(o routing.Department) bool { return o.Code == d.Code }))
	p.departments = append(p.departments, d)
}

func (p *parser) category(n *yaml.Node, path string) {
	var c routing.Category
	var secret *bool
	p.fields(n, path, map[string]func(*yaml.Node, string){"code": p.text(&c.Code), "name": p.text(&c.Name), "group": p.text(&c.Group), "words": p.texts(&c.Words), "secret": p.flag(&secret)})
	c.Secret = secret != nil && *secret
	p.listed(n, path, c.Code, c.Name, slices.ContainsFunc(p.categories, func(o routing.Category) bool { return o.Code == c.Code }))
	p.categories = append(p.categories, c)
}

func (p *parser) listed(n *yaml.Node, path, code, name string, twice bool) {
	switch {
	case n.Kind != yaml.MappingNode: // said already
	case !validID(code):
		p.wrong(n, path+".code", "编码“%s”只能用小写字母、数字和 - _，不能空着", code)
	case name == "":
		p.wrong(n, path+".name", "没有名称")
	case twice:
		p.wrong(n, path+".code", "编码“%s”写了两次", code)
	}
}

func validID(s string) bool {
	return s != "" && len(s) <= 60 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func (p *parser) tree(n *yaml.Node, path, above string, depth int) []rule {
	if depth > maxDepth {
		p.wrong(n, path, "规则多于 %d 层", maxDepth)
		return nil
	}
	var list []rule
	p.items(n, path, func(n *yaml.Node, path string) {
		if p.rules++; p.rules > maxRules {
			if p.rules == maxRules+1 {
				p.wrong(n, path, "规则多于 %d 条", maxRules)
			}
			return
		}
		var r rule
		var below *yaml.Node
		then := false
		p.fields(n, path, map[string]func(*yaml.Node, string){
			"id": p.text(&r.id), "title": p.text(&r.title),
			"when":  func(n *yaml.Node, path string) { p.condition(n, path, &r.when) },
			"then":  func(n *yaml.Node, path string) { then = true; p.action(n, path, &r.then) },
			"rules": func(n *yaml.Node, _ string) { below = n },
		})
		if n.Kind != yaml.MappingNode {
			return
		}
		id := above + r.id
		switch first, twice := p.ids[id]; {
		case !validID(r.id):
			p.wrong(n, path+".id", "规则要有 id，只用小写字母、数字和 - _（现在是“%s”）", r.id)
		case twice:
			p.wrong(n, path+".id", "id“%s”第 %d 行已经有了", id, first)
		}
		p.ids[id] = n.Line
		if !then && below == nil {
			p.wrong(n, path+".then", "没有说怎么办")
		}
		if below != nil {
			r.below = p.tree(below, path+".rules", id+"/", depth+1)
		}
		list = append(list, r)
	})
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		p.wrong(n, path, "没有规则")
	}
	for i, r := range list[:max(0, len(list)-1)] {
		if r.when.empty() && len(p.mistakes) == 0 {
			p.wrong(n.Content[i], fmt.Sprintf("%s[%d].when", path, i), "没有条件，后面的规则永远轮不到")
		}
	}
	return list
}

func (c condition) empty() bool {
	return len(c.source)+len(c.category)+len(c.channel)+len(c.line)+len(c.grid)+len(c.community)+len(c.street)+len(c.words)+len(c.without)+len(c.hours)+c.unsure == 0 &&
		c.workday == nil && c.callback == nil && c.older == nil && c.answered == nil
}

func (p *parser) condition(n *yaml.Node, path string, c *condition) {
	sources := []string{intake.FromOperator, intake.FromSubmission, intake.FromChat, intake.FromVisit, intake.FromPatrol}
	squeezed := func(to *[]string) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			p.texts(to)(n, path)
			for i, w := range *to {
				(*to)[i] = squeeze(w)
			}
		}
	}
	p.fields(n, path, map[string]func(*yaml.Node, string){
		"source":  p.among(&c.source, "来源", func(s string) bool { return slices.Contains(sources, s) }),
		"channel": p.among(&c.channel, "渠道", func(s string) bool { return intake.Channel(s).Valid() }),
		"category": p.among(&c.category, "类别或类别组", func(s string) bool {
			return slices.ContainsFunc(p.categories, func(c routing.Category) bool { return c.Code == s || c.Group == s && s != "" })
		}),
		"line": p.texts(&c.line), "grid": p.texts(&c.grid), "community": p.texts(&c.community), "street": p.texts(&c.street),
		"words": squeezed(&c.words), "without": squeezed(&c.without),
		"workday": p.flag(&c.workday), "callback": p.flag(&c.callback), "older": p.flag(&c.older), "answered": p.flag(&c.answered),
		"hours": func(n *yaml.Node, path string) {
			var list []string
			p.texts(&list)(n, path)
			for _, s := range list {
				from, to, ok := strings.Cut(s, "-")
				a, ok1 := clock(from)
				b, ok2 := clock(to)
				if !ok || !ok1 || !ok2 || a == b {
					p.wrong(n, path, "“%s”看不懂，写成 \"22:00-6:00\"", s)
					continue
				}
				if b < a {
					b += 24 * 60
				}
				c.hours = append(c.hours, span{a, b})
			}
		},
		"unsure": func(n *yaml.Node, path string) {
			v, err := strconv.Atoi(n.Value)
			if err != nil || v < 1 || v > 100 {
				p.wrong(n, path, "写 1 到 100 的整数：网格的把握低于百分之几")
				return
			}
			c.unsure = v
		},
	})
}

func (p *parser) action(n *yaml.Node, path string, a *action) {
	p.fields(n, path, map[string]func(*yaml.Node, string){
		"to": func(n *yaml.Node, path string) {
			if a.to = n.Value; a.to != "grid" && a.to != "department" {
				p.wrong(n, path, "写 grid（网格）或 department（部门）")
			}
		},
		"department": func(n *yaml.Node, path string) {
			var d string
			p.text(&d)(n, path)
			if !slices.ContainsFunc(p.departments, func(o routing.Department) bool { return o.Code == d }) {
				p.wrong(n, path, "没有“%s”这个部门", d)
			}
			a.department = &d
		},
		"grid": func(n *yaml.Node, path string) {
			var g string
			p.text(&g)(n, path)
			if g == "" {
				p.wrong(n, path, "不能空着")
			}
			a.grid = &g
		},
		"category": func(n *yaml.Node, path string) {
			p.text(&a.category)(n, path)
			if !slices.ContainsFunc(p.categories, func(o routing.Category) bool { return o.Code == a.category }) {
				p.wrong(n, path, "没有“%s”这个类别", a.category)
			}
		},
		"deadline": func(n *yaml.Node, path string) {
			w, err := ParseWithin(n.Value)
			if err != nil {
				p.wrong(n, path, "%s", err)
			}
			a.deadline = &w
		},
		"opens": p.flag(&a.opens),
	})
	if a.department != nil && a.grid != nil {
		p.wrong(n, path, "网格和部门只能写一个")
	}
	if a.to == "grid" && a.department != nil || a.to == "department" && a.grid != nil {
		p.wrong(n, path+".to", "与下面写的对不上")
	}
}

// ParseWithin reads a deadline: 90m, 2h, 1.5h, 3wd, none.
func ParseWithin(s string) (Within, error) {
	s = strings.TrimSpace(s)
	if s == "none" {
		return Within{text: s}, nil
	}
	if days, ok := strings.CutSuffix(s, "wd"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 250 {
			return Within{}, fmt.Errorf("期限“%s”的工作日数要在 1 到 250 之间", s)
		}
		return Within{Days: n, text: s}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Minute || d > 366*24*time.Hour {
		return Within{}, fmt.Errorf("期限“%s”看不懂，写成 2h、90m、3wd（工作日）或 none", s)
	}
	return Within{Duration: d, text: s}, nil
}

// clock reads 6, 6:30, 24:00 as minutes of the day.
func clock(s string) (int, bool) {
	hour, minute, _ := strings.Cut(strings.TrimSpace(s), ":")
	if minute == "" {
		minute = "0"
	}
	h, err := strconv.Atoi(hour)
	m, err2 := strconv.Atoi(minute)
	if err != nil || err2 != nil || h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
		return 0, false
	}
	return h*60 + m, true
}

func (p *parser) calendar(n *yaml.Node, path string, c *Calendar) {
	p.fields(n, path, map[string]func(*yaml.Node, string){
		"day_end": func(n *yaml.Node, path string) {
			m, ok := clock(n.Value)
			if !ok {
				p.wrong(n, path, "写成 \"17:30\"")
				return
			}
			c.DayEnd = m
		},
		"weekend": func(n *yaml.Node, path string) {
			c.Weekend = nil
			p.items(n, path, func(n *yaml.Node, path string) {
				d, err := strconv.Atoi(n.Value)
				if err != nil || d < 0 || d > 6 {
					p.wrong(n, path, "写 0（星期日）到 6（星期六）")
					return
				}
				c.Weekend = append(c.Weekend, d)
			})
			if slices.Sort(c.Weekend); len(slices.Compact(slices.Clone(c.Weekend))) > 6 {
				p.wrong(n, path, "一个星期至少要有一天上班")
			}
		},
		"holidays": func(n *yaml.Node, path string) { c.Off = p.periods(n, path) },
		"makeup":   func(n *yaml.Node, path string) { c.On = p.periods(n, path) },
	})
}

func (p *parser) periods(n *yaml.Node, path string) []Period {
	var list []Period
	day := func(to *date) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			t, err := time.Parse(time.DateOnly, n.Value)
			if err != nil || t.Year() < 1900 {
				p.wrong(n, path, "“%s”不是日期，写成 2026-10-01", n.Value)
				return
			}
			*to = dateOf(t)
		}
	}
	p.items(n, path, func(n *yaml.Node, path string) {
		var d Period
		p.fields(n, path, map[string]func(*yaml.Node, string){"from": day(&d.From), "to": day(&d.To), "name": p.text(&d.Name)})
		if d.To == 0 {
			d.To = d.From
		}
		switch {
		case d.From == 0:
			p.wrong(n, path, "没有 from")
		case d.To < d.From:
			p.wrong(n, path+".to", "在 from 之前")
		case d.To-d.From >= 10000: // dates a year apart differ by that
			p.wrong(n, path+".to", "长于一年")
		}
		for _, o := range list {
			if d.From <= o.To && o.From <= d.To && d.From != 0 {
				p.wrong(n, path, "与“%s”重叠", o.Name)
			}
		}
		list = append(list, d)
	})
	slices.SortFunc(list, func(a, b Period) int { return int(a.From - b.From) })
	return list
}
