package app

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
	"gopkg.in/yaml.v3"
)

// envPrefix begins the variables that set something: YINGDA_HTTP_LISTEN is http.listen.
const envPrefix = "YINGDA_"

// Load reads the configuration: Default, over it the YAML file at path ("" for none), over it YINGDA_… of environ (as of
// os.Environ), over it the given flags (dotted keys). What is wrong comes back whole: every problem with its file, line
// and what would be right, as one error that wraps ErrConfig.
func Load(path string, environ []string, flags map[string]any) (Config, error) {
	c := Default()
	k := koanf.New(".")
	var where positions
	if path != "" {
		raw, err := os.ReadFile(path)
		if err != nil {
			return c, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		m, pos, err := parseYAML(path, raw)
		if err != nil {
			return c, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		where = pos
		if err := k.Load(confmap.Provider(m, ""), nil); err != nil {
			return c, fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
		}
	}
	known := keysOf(reflect.TypeOf(c), "")
	if unknown := unknownKeys(known, where, path); len(unknown) > 0 {
		return c, fmt.Errorf("%w:\n%s", ErrConfig, strings.Join(unknown, "\n"))
	}
	source := map[string]string{}
	err := k.Load(env.Provider(".", env.Opt{Prefix: envPrefix, EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			key, ok := envKey(name, known)
			if !ok {
				return "", nil
			}
			source[key] = name
			return key, value
		}}), nil)
	if err != nil {
		return c, fmt.Errorf("%w: environment: %w", ErrConfig, err)
	}
	for key := range flags {
		source[key] = "--" + strings.ReplaceAll(key, ".", "-")
	}
	if err := k.Load(confmap.Provider(flags, "."), nil); err != nil {
		return c, fmt.Errorf("%w: flags: %w", ErrConfig, err)
	}
	say := func(key, what string) string {
		if s, ok := source[key]; ok {
			return fmt.Sprintf("  %s: %s %s", s, key, what)
		}
		if line := where.of(key); line > 0 {
			return fmt.Sprintf("  %s:%d: %s %s", path, line, key, what)
		}
		return fmt.Sprintf("  %s %s", key, what)
	}
	err = k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{Tag: "koanf", DecoderConfig: &mapstructure.DecoderConfig{
		Result: &c, TagName: "koanf", WeaklyTypedInput: true, ZeroFields: false,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(durations, mapstructure.StringToSliceHookFunc(",")),
	}})
	if err != nil {
		return c, fmt.Errorf("%w:\n%s", ErrConfig, strings.Join(decodeErrors(err, say), "\n"))
	}
	if wrong := c.check(); len(wrong) > 0 {
		var list []string
		for _, w := range wrong {
			list = append(list, say(w.Key, w.What))
		}
		return c, fmt.Errorf("%w:\n%s", ErrConfig, strings.Join(list, "\n"))
	}
	return c, nil
}

// durations reads "20s" and refuses a bare number, since nobody can know whether 20 means seconds.
func durations(_, to reflect.Type, data any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() {
		return data, nil
	}
	switch v := data.(type) {
	case string:
		d, err := time.ParseDuration(v)
		if err != nil {
			return nil, fmt.Errorf("%q is no duration: write for instance 20s, 10m or 4h", v)
		}
		return d, nil
	case time.Duration:
		return v, nil
	default:
		return nil, fmt.Errorf("%v is no duration: write for instance 20s, 10m or 4h", data)
	}
}

// decodeErrors takes the library's list of errors apart and gives each its place.
func decodeErrors(err error, say func(key, what string) string) []string {
	var list []string
	for _, e := range flatten(err) {
		var d *mapstructure.DecodeError
		if errors.As(e, &d) {
			key := strings.ReplaceAll(strings.ReplaceAll(d.Name(), "[", "."), "]", "")
			list = append(list, say(key, plain(d.Unwrap())))
			continue
		}
		list = append(list, "  "+e.Error())
	}
	if len(list) == 0 {
		list = append(list, "  "+err.Error())
	}
	return list
}

func flatten(err error) []error {
	switch e := err.(type) {
	case *mapstructure.DecodeError:
		if inner, ok := e.Unwrap().(interface{ Unwrap() []error }); ok {
			var list []error
			for _, i := range inner.Unwrap() {
				list = append(list, flatten(i)...)
			}
			return list
		}
		return []error{e}
	case interface{ Unwrap() []error }:
		var list []error
		for _, i := range e.Unwrap() {
			list = append(list, flatten(i)...)
		}
		return list
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return flatten(inner)
		}
	}
	return []error{err}
}

func plain(err error) string {
	s := err.Error()
	if _, rest, ok := strings.Cut(s, "cannot parse value as "); ok {
		return "cannot be read as " + rest
	}
	return s
}

// keysOf lists every key of a struct as dotted path; lists stand as "trunks.#.name".
func keysOf(t reflect.Type, prefix string) map[string]reflect.Type {
	keys := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		key := prefix + f.Tag.Get("koanf")
		keys[key] = f.Type
		switch {
		case f.Type.Kind() == reflect.Struct:
			for k, v := range keysOf(f.Type, key+".") {
				keys[k] = v
			}
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			for k, v := range keysOf(f.Type.Elem(), key+".#.") {
				keys[k] = v
			}
		}
	}
	return keys
}

// unknownKeys of the file, each with its line and the nearest key that exists.
func unknownKeys(known map[string]reflect.Type, where positions, path string) []string {
	seen := map[string]bool{}
	var list []string
	for _, p := range where.sorted() {
		general := generalise(p.key)
		if _, ok := known[general]; ok || seen[general] {
			continue
		}
		if parent := general[:max(strings.LastIndex(general, "."), 0)]; parent != "" {
			if pt, ok := known[strings.TrimSuffix(parent, ".#")]; !ok || (pt.Kind() != reflect.Struct && pt.Kind() != reflect.Slice) {
				continue // its parent is unknown or no section, and has been named
			}
			if pt := known[parent]; pt != nil && pt.Kind() == reflect.Slice {
				continue // an element of a plain list
			}
		}
		seen[general] = true
		msg := fmt.Sprintf("  %s:%d: %s is no setting", path, p.line, p.key)
		if near := nearest(general, known); near != "" {
			msg += fmt.Sprintf("; did you mean %s?", near)
		}
		list = append(list, msg)
	}
	return list
}

func generalise(key string) string {
	parts := strings.Split(key, ".")
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err == nil {
			parts[i] = "#"
		}
	}
	return strings.TrimSuffix(strings.Join(parts, "."), ".#")
}

func nearest(key string, known map[string]reflect.Type) string {
	best, dist := "", len(key)/2+1
	for k := range known {
		if d := distance(key, k); d < dist || d == dist && k < best {
			best, dist = k, d
		}
	}
	return best
}

// distance of Levenshtein.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0]++
		for j := range len(b) {
			next := min(row[j+1]+1, row[j]+1, last+1)
			if a[i] == b[j] {
				next = min(next, last)
			}
			last, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// envKey finds the setting that a variable names: YINGDA_SIP_MAX_CALLS is sip.max_calls. What fits none is left alone: YINGDA_… may mean something to others.
func envKey(name string, known map[string]reflect.Type) (string, bool) {
	flat := strings.ToLower(strings.TrimPrefix(name, envPrefix))
	for k := range known {
		if strings.ReplaceAll(k, ".", "_") == flat && !strings.Contains(k, "#") {
			return k, true
		}
	}
	return "", false
}

// positions says at which line each key of a file stands.
type positions map[string]int

func (p positions) of(key string) int {
	for key != "" {
		if l, ok := p[key]; ok {
			return l
		}
		key = key[:max(strings.LastIndex(key, "."), 0)]
	}
	return 0
}

type position struct {
	key  string
	line int
}

func (p positions) sorted() []position {
	list := make([]position, 0, len(p))
	for k, l := range p {
		list = append(list, position{k, l})
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].line < list[j].line || list[i].line == list[j].line && list[i].key < list[j].key
	})
	return list
}

// parseYAML reads a file into nested maps and notes where each key stands.
func parseYAML(path string, raw []byte) (map[string]any, positions, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, nil, fmt.Errorf("%s: %w: not YAML", path, err)
	}
	pos := positions{}
	m := map[string]any{}
	if len(doc.Content) == 0 {
		return m, pos, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, nil, fmt.Errorf("%s:%d: settings expected, such as\n  http:\n    listen: 127.0.0.1:8080", path, root.Line)
	}
	if err := note(root, "", pos); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := root.Decode(&m); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, pos, nil
}

func note(n *yaml.Node, prefix string, pos positions) error {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := prefix + n.Content[i].Value
			if at, twice := pos[key]; twice {
				return fmt.Errorf("line %d: %s is set twice, first at line %d", n.Content[i].Line, key, at)
			}
			pos[key] = n.Content[i].Line
			if err := note(n.Content[i+1], key+".", pos); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			key := prefix + strconv.Itoa(i)
			pos[key] = c.Line
			if err := note(c, key+".", pos); err != nil {
				return err
			}
		}
	case yaml.AliasNode:
		return fmt.Errorf("line %d: anchors and aliases are not taken here: write the value out", n.Line)
	}
	return nil
}
