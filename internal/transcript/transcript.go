// Package transcript tests a pure machine with a text file: what happened, and everything the machine said to it.
//
// A file holds steps and their answers. A step begins with the time that has passed since the step before, then the input's name and its
// fields; what follows it with ">" is what the machine said. Lines beginning with # are kept.
//
//	+0s Join Contact=c1 Channel=phone Line=12345
//	> Placed Contact=c1
//	+30s wake
//
// With -update the answers are written anew; the difference is then read by a person before it is committed. Between two steps the
// machine is woken at each of its deadlines; what it says then stands under its own "wake" line with the time.
//
// What it does not do: it knows no machine. Names and fields are found by reflection; a value that does not fit ends the test.
package transcript

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// Start is when every transcript begins: a Tuesday, ten in the morning in UTC.
var Start = time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)

// Machine is what a transcript talks to. Inputs and effects are structs.
type Machine struct {
	Step     func(now time.Time, in any) []any
	Wake     func(now time.Time) []any
	Deadline func() time.Time
	Inputs   []any // one value of each input; its type's name is the step's, its fields are the defaults
}

// Parse reads a value of a type that is written as one word. Types of strings, numbers, booleans, durations and times (as +dur after Start) need none.
type Parse func(word string) any

// Run plays every file that fits the pattern, each against a machine of its own.
func Run(t *testing.T, pattern string, parsers map[reflect.Type]Parse, machine func(file string) Machine) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcript fits %s (%v)", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := play(want, parsers, machine(file))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %s", file, difference(string(want), string(got)))
			}
		})
	}
}

func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < len(w) || i < len(g); i++ {
		a, b := "(end)", "(end)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n want %s\n got  %s", i+1, a, b)
		}
	}
	return ""
}

func play(script []byte, parsers map[reflect.Type]Parse, m Machine) ([]byte, error) {
	var out bytes.Buffer
	now := Start
	kinds := map[string]reflect.Value{}
	for _, in := range m.Inputs {
		kinds[reflect.TypeOf(in).Name()] = reflect.ValueOf(in)
	}
	answer := func(effects []any) {
		for _, e := range effects {
			fmt.Fprintf(&out, "> %s\n", Text(e))
		}
	}
	lines := bufio.NewScanner(bytes.NewReader(script))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(text, ">"), strings.HasPrefix(text, "wake at "):
			continue
		case text == "", strings.HasPrefix(text, "#"):
			out.WriteString(text + "\n")
			continue
		}
		words := strings.Fields(text)
		pause, err := time.ParseDuration(strings.TrimPrefix(words[0], "+"))
		if err != nil || len(words) < 2 {
			return nil, fmt.Errorf("line %d: %q is not +duration Name field=value …", n, text)
		}
		then := now.Add(pause)
		for turns := 0; ; turns++ {
			at := m.Deadline()
			if at.IsZero() || at.After(then) || (at.Equal(then) && words[1] != "wake") {
				break
			}
			if turns > 10000 {
				return nil, fmt.Errorf("line %d: the machine wants to be woken at %s again and again", n, when(at))
			}
			now = later(now, at)
			if effects := m.Wake(now); len(effects) > 0 {
				fmt.Fprintf(&out, "wake at %s\n", when(now))
				answer(effects)
			}
		}
		now = then
		out.WriteString(text + "\n")
		if words[1] == "wake" {
			answer(m.Wake(now))
			continue
		}
		kind, ok := kinds[words[1]]
		if !ok {
			return nil, fmt.Errorf("line %d: no input is called %s", n, words[1])
		}
		in := reflect.New(kind.Type()).Elem()
		in.Set(kind)
		for _, w := range words[2:] {
			path, value, ok := strings.Cut(w, "=")
			if !ok {
				path, value = w, "true"
			}
			if err := set(in, path, value, parsers); err != nil {
				return nil, fmt.Errorf("line %d: %s: %w", n, w, err)
			}
		}
		answer(m.Step(now, in.Interface()))
	}
	return out.Bytes(), lines.Err()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// when writes a time as what has passed since Start.
func when(t time.Time) string { return "+" + t.Sub(Start).String() }

func set(v reflect.Value, path, value string, parsers map[reflect.Type]Parse) error {
	for name := range strings.SplitSeq(path, ".") {
		if v.Kind() != reflect.Struct {
			return fmt.Errorf("%s has no fields", v.Type())
		}
		if v = v.FieldByName(name); !v.IsValid() {
			return fmt.Errorf("no field %s", name)
		}
	}
	if parse, ok := parsers[v.Type()]; ok {
		v.Set(reflect.ValueOf(parse(value)))
		return nil
	}
	switch v.Interface().(type) {
	case time.Time:
		d, err := time.ParseDuration(strings.TrimPrefix(value, "+"))
		v.Set(reflect.ValueOf(Start.Add(d)))
		return err
	case time.Duration:
		d, err := time.ParseDuration(value)
		v.SetInt(int64(d))
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(value)
	case reflect.Bool:
		v.SetBool(value == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(value, 10, 64)
		v.SetInt(n)
		return err
	case reflect.Uint64:
		n, err := strconv.ParseUint(value, 16, 64)
		v.SetUint(n)
		return err
	case reflect.Slice:
		list := reflect.MakeSlice(v.Type(), 0, 2)
		for w := range strings.SplitSeq(value, ",") {
			list = reflect.Append(list, reflect.ValueOf(w).Convert(v.Type().Elem()))
		}
		v.Set(list)
	default:
		return fmt.Errorf("a %s cannot be written in a transcript", v.Type())
	}
	return nil
}

// Text writes a struct as its name and those of its fields that are not zero.
func Text(v any) string {
	var b strings.Builder
	write(&b, reflect.ValueOf(v), true)
	return b.String()
}

func write(b *strings.Builder, v reflect.Value, top bool) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if t, ok := v.Interface().(time.Time); ok {
		b.WriteString(when(t))
		return
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		b.WriteString(s.String())
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		b.WriteString(v.Type().Name())
		if !top {
			b.WriteString("{")
		}
		sep := ""
		if top {
			sep = " "
		}
		for i := range v.NumField() {
			if v.Field(i).IsZero() || !v.Type().Field(i).IsExported() || v.Type().Field(i).Anonymous {
				continue
			}
			b.WriteString(sep + v.Type().Field(i).Name + "=")
			write(b, v.Field(i), false)
			sep = " "
		}
		if !top {
			b.WriteString("}")
		}
	case reflect.Slice:
		for i := range v.Len() {
			if i > 0 {
				b.WriteString(",")
			}
			write(b, v.Index(i), false)
		}
	default:
		fmt.Fprint(b, v.Interface())
	}
}
