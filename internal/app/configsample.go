package app

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// Sample writes the annotated sample file: every setting with what it means and its default, made from the structs.
func Sample(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# yingda 应答: every setting with its default. Nothing here has to be set; `yingda serve` with no file works.\n")
	b.WriteString("# Each can also be set in the environment: http.listen is YINGDA_HTTP_LISTEN. Check a file with `yingda config check FILE`.\n\n")
	sampleStruct(&b, reflect.ValueOf(Default()), "", false)
	_, err := io.WriteString(w, b.String())
	return err
}

// Print writes the configuration that is in force, secrets left out.
func Print(w io.Writer, c Config) error {
	var b strings.Builder
	sampleStruct(&b, reflect.ValueOf(c), "", true)
	_, err := io.WriteString(w, b.String())
	return err
}

func sampleStruct(b *strings.Builder, v reflect.Value, indent string, bare bool) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		key, doc := f.Tag.Get("koanf"), f.Tag.Get("doc")
		if !bare {
			fmt.Fprintf(b, "%s# %s\n", indent, doc)
		}
		fv := v.Field(i)
		switch {
		case f.Type.Kind() == reflect.Struct:
			fmt.Fprintf(b, "%s%s:\n", indent, key)
			sampleStruct(b, fv, indent+"  ", bare)
			if !bare && indent == "" {
				b.WriteString("\n")
			}
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			sampleList(b, fv, key, indent, bare)
		case f.Tag.Get("secret") != "" && bare && !fv.IsZero():
			fmt.Fprintf(b, "%s%s: \"***\"\n", indent, key)
		default:
			fmt.Fprintf(b, "%s%s: %s\n", indent, key, scalar(fv))
		}
	}
}

// sampleList shows a list of sections: those that there are, or one that explains its keys, commented out.
func sampleList(b *strings.Builder, v reflect.Value, key, indent string, bare bool) {
	n := v.Len()
	if n == 0 {
		fmt.Fprintf(b, "%s%s: []\n", indent, key)
		if bare {
			return
		}
		var one strings.Builder
		sampleStruct(&one, reflect.New(v.Type().Elem()).Elem(), "", false)
		for line := range strings.Lines(one.String()) {
			fmt.Fprintf(b, "%s#   %s", indent, line)
		}
		b.WriteString("\n")
		return
	}
	fmt.Fprintf(b, "%s%s:\n", indent, key)
	for i := range n {
		var one strings.Builder
		sampleStruct(&one, v.Index(i), "", bare)
		first := true
		for line := range strings.Lines(one.String()) {
			lead := indent + "    "
			if first && !strings.HasPrefix(line, "#") {
				lead, first = indent+"  - ", false
			}
			b.WriteString(lead + line)
		}
	}
	if !bare {
		b.WriteString("\n")
	}
}

func scalar(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return short(x)
	case string:
		return fmt.Sprintf("%q", x)
	case []string:
		list := make([]string, len(x))
		for i, s := range x {
			list[i] = fmt.Sprintf("%q", s)
		}
		return "[" + strings.Join(list, ", ") + "]"
	default:
		return fmt.Sprint(x)
	}
}

// short writes 10m instead of 10m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
