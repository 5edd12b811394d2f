package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"yingda/internal/jsonform"
)

// The standard decoder drops members it doesn't know and takes "Line" for "line". We keep the one and tell the other apart, so
// objects are first taken apart here. Everything in this file works on bytes that jsonform.Valid has accepted.

type member struct {
	name  string
	value []byte
}

// members takes an object apart, in order. Two members of one name are refused: readers would differ about which one counts.
func members(raw []byte) ([]member, error) { return membersInto(nil, raw) }

// membersInto appends them to list, which is empty and may have room for them.
func membersInto(list []member, raw []byte) ([]member, error) {
	i := jsonform.Space(raw, 0)
	if raw[i] != '{' {
		return nil, form("%s where an object belongs", kindOf(raw[i]))
	}
	if list == nil {
		list = make([]member, 0, 16)
	}
	for i = jsonform.Space(raw, i+1); raw[i] != '}'; {
		if raw[i] == ',' {
			i = jsonform.Space(raw, i+1)
		}
		end := skip(raw, i)
		name, known := names[string(raw[i+1:end-1])] // none of them has an escape in it
		if !known {
			var err error
			if name, err = unquote(raw[i:end]); err != nil {
				return nil, err
			}
		}
		i = jsonform.Space(raw, jsonform.Space(raw, end)+1) // over the colon
		end = skip(raw, i)
		list = append(list, member{name, raw[i:end]})
		i = jsonform.Space(raw, end)
	}
	if len(list) <= 24 {
		for n, m := range list {
			for _, earlier := range list[:n] {
				if earlier.name == m.name {
					return nil, form("a member stands twice in one object")
				}
			}
		}
		return list, nil
	}
	seen := make(map[string]bool, len(list))
	for _, m := range list {
		if seen[m.name] {
			return nil, form("a member stands twice in one object")
		}
		seen[m.name] = true
	}
	return list, nil
}

// elements takes an array apart.
func elements(raw []byte) [][]byte {
	var list [][]byte
	for i := jsonform.Space(raw, jsonform.Space(raw, 0)+1); raw[i] != ']'; {
		if raw[i] == ',' {
			i = jsonform.Space(raw, i+1)
		}
		end := skip(raw, i)
		list = append(list, raw[i:end])
		i = jsonform.Space(raw, end)
	}
	return list
}

// skip gives the index after the value that begins at i.
func skip(b []byte, i int) int {
	if b[i] == '"' { // most are strings
		for {
			i += 1 + bytes.IndexByte(b[i+1:], '"')
			n := i
			for b[n-1] == '\\' {
				n--
			}
			if (i-n)%2 == 0 {
				return i + 1
			}
		}
	}
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',', ':', ' ', '\n', '\t', '\r':
		default: // a number or a word
			for i+1 < len(b) && b[i+1] != ',' && b[i+1] != ']' && b[i+1] != '}' && b[i+1] > ' ' {
				i++
			}
		}
		i++
		if depth == 0 {
			break
		}
	}
	return i
}

func unquote(raw []byte) (string, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", form("%s where a string belongs", kindOf(raw[0]))
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

// shape is which members of an object this version knows. A nil shape is a value in which nothing can be unknown.
type shape struct {
	fields map[string]*shape
	list   bool // an array of such objects
}

func shapeOf(t reflect.Type) *shape {
	switch {
	case t.Kind() == reflect.Pointer:
		return shapeOf(t.Elem())
	case t.Kind() == reflect.Slice:
		if s := shapeOf(t.Elem()); s != nil {
			return &shape{s.fields, true}
		}
	case t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]():
		s := &shape{fields: map[string]*shape{}}
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
				s.fields[name] = shapeOf(f.Type)
			}
		}
		return s
	}
	return nil
}

// split gives raw with only those members that s knows; the others go into extra. At the top (path "") a member named
// "personal" goes nowhere: it is read by itself.
func (s *shape) split(raw []byte, path string, extra map[string]json.RawMessage) ([]byte, error) {
	at := jsonform.Space(raw, 0)
	switch {
	case s == nil || s.list && raw[at] != '[' || !s.list && raw[at] != '{':
		return raw, nil // if it is not what belongs here, the decoder of the struct says so
	case s.list:
		one := &shape{fields: s.fields}
		var out []byte
		changed := false
		for i, e := range elements(raw) {
			known, err := one.split(e, path+"/"+strconv.Itoa(i), extra)
			if err != nil {
				return nil, err
			}
			changed = changed || len(known) != len(e)
			out = append(append(out, ','), known...)
		}
		if !changed {
			return raw, nil
		}
		out[0] = '['
		return append(out, ']'), nil
	}
	list, err := members(raw)
	if err != nil {
		return nil, err
	}
	changed := false
	for i, m := range list {
		inner, known := s.fields[m.name]
		if !known {
			changed = true
			list[i].value = nil
			if path != "" || m.name != "personal" {
				extra[extraName(path, m.name)] = compact(m.value)
			}
			continue
		}
		if inner == nil {
			continue
		}
		value, err := inner.split(m.value, path+"/"+m.name, extra)
		if err != nil {
			return nil, err
		}
		changed = changed || len(value) != len(m.value)
		list[i].value = value
	}
	if !changed {
		return raw, nil
	}
	out := append(make([]byte, 0, len(raw)), '{')
	for _, m := range list {
		if m.value != nil {
			out = appendMember(out, m.name, m.value)
		}
	}
	return append(out, '}'), nil
}

// extraName is the name under which intake.Extra keeps a member: plain at the top, a JSON Pointer below. A plain
// name that looks like a pointer is written as one.
func extraName(path, name string) string {
	if path == "" && !strings.HasPrefix(name, "/") {
		return name
	}
	return path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// join puts the members of extra back into the object raw, in the order of their names. A name that s knows would stand
// twice; that, and a place that is no longer there, is an error of whoever made the event.
func (s *shape) join(raw []byte, extra map[string]json.RawMessage) ([]byte, error) {
	names := make([]string, 0, len(extra))
	for name := range extra {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := extra[name]
		if !jsonform.Valid(value) {
			return nil, form("extra field %q is no JSON", name)
		}
		path := []string{name}
		if strings.HasPrefix(name, "/") {
			path = strings.Split(name[1:], "/")
			for i, p := range path {
				path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(p)
			}
		}
		var err error
		if raw, err = put(raw, path, value); err != nil {
			return nil, form("extra field %q: %w", name, err)
		}
	}
	return raw, nil
}

func put(raw []byte, path []string, value []byte) ([]byte, error) {
	if raw[jsonform.Space(raw, 0)] == '[' && len(path) > 1 {
		list := elements(raw)
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(list) {
			return nil, form("there is no element %q", path[0])
		}
		if list[i], err = put(list[i], path[1:], value); err != nil {
			return nil, err
		}
		return append(append([]byte{'['}, bytes.Join(list, []byte{','})...), ']'), nil
	}
	list, err := members(raw)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(list, func(m member) bool { return m.name == path[0] })
	switch {
	case len(path) == 1 && at >= 0:
		return nil, form("the name is one that we write ourselves")
	case len(path) == 1:
		list = append(list, member{path[0], value})
	case at < 0:
		return nil, form("there is no %q", path[0])
	default:
		if list[at].value, err = put(list[at].value, path[1:], value); err != nil {
			return nil, err
		}
	}
	out := append(make([]byte, 0, len(raw)+len(value)+32), '{')
	for _, m := range list {
		out = appendMember(out, m.name, m.value)
	}
	return append(out, '}'), nil
}

// appendMember appends "name":value, with a comma when it is not the first of its object.
func appendMember(out []byte, name string, value []byte) []byte {
	out = appendName(out, name)
	return append(out, value...)
}

func appendName(out []byte, name string) []byte {
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	return append(appendString(out, name), ':')
}

func appendString(out []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string can always be marshalled
			}
			return append(out, quoted...)
		}
	}
	out = append(out, '"')
	out = append(out, s...)
	return append(out, '"')
}

func compact(raw []byte) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		panic(err) // raw was found valid
	}
	return b.Bytes()
}
