package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"yingda/intake"
)

var update = flag.Bool("update", false, "write the schemas and golden files anew")

// object keeps the order of its members, so that a schema reads as the struct does.
type object []pair
type pair struct {
	name  string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, p := range o {
		if i > 0 {
			b = append(b, ',')
		}
		v, err := json.Marshal(p.value)
		if err != nil {
			return nil, err
		}
		b = append(append(appendString(b, p.name), ':'), v...)
	}
	return append(b, '}'), nil
}

// TestSchemas makes the schema of each type from its struct and compares it with the file.
func TestSchemas(t *testing.T) {
	docs := readDocs(t, "../events.go", "../intake.go", "../event.go")
	made := map[string]bool{}
	for _, typ := range intake.Types() {
		data, _ := intake.New(typ)
		raw, err := json.Marshal(schemaOf(docs, typ, reflect.TypeOf(data).Elem()))
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Indent(&want, raw, "", "  "); err != nil {
			t.Fatal(err)
		}
		want.WriteByte('\n')
		file := filepath.Join("schemas", string(typ)+".json")
		made[filepath.Base(file)] = true
		if *update {
			if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		have, ok := Schema(typ)
		if !ok {
			t.Errorf("%s has no schema; run with -update", typ)
		} else if !bytes.Equal(have, want.Bytes()) {
			t.Errorf("%s is not what the struct says; run with -update and look at the difference", file)
		}
	}
	files, err := filepath.Glob("schemas/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !made[filepath.Base(f)] {
			t.Errorf("%s belongs to no type", f)
		}
	}
}

func schemaOf(docs map[string]string, typ intake.Type, data reflect.Type) object {
	text := func(more ...pair) object { return append(object{{"type", "string"}}, more...) }
	personal := structSchema(docs, reflect.TypeFor[intake.PersonalJSON]())
	for i, p := range personal {
		if p.name == "properties" {
			props := object{
				{"sealed", text(pair{"description", "Version of the seal. The members besides are then month and box alone."})},
				{"month", text(pair{"description", "Month whose secret sealed the box, in UTC."}, pair{"pattern", `^[0-9]{4}-[0-9]{2}$`})},
				{"box", text(pair{"description", "Base64 of nonce and ciphertext, AES-256-GCM; key: HKDF-SHA256 of the month's secret, info the subject; authenticated beside: the event's id."})},
			}
			for _, q := range p.value.(object) {
				if q.name == "number" {
					q.value = append(q.value.(object), pair{"pattern", `^[ ().-]*[+]?[0-9*#][0-9*# ().-]*$`}, pair{"maxLength", 48})
				}
				props = append(props, q)
			}
			personal[i].value = props
		}
	}
	personal = append(object{{"description", "Whom it is about and what they said: sealed in a stream, in clear in an import."}}, personal...)
	personal = append(personal, pair{"dependentRequired", object{{"sealed", []string{"month", "box"}}}})

	inner := structSchema(docs, data)
	for i, p := range inner {
		if p.name == "properties" {
			inner[i].value = append(p.value.(object), pair{"personal", personal})
		}
	}
	return object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"$id", schemaPrefix + string(typ)},
		{"title", string(typ)},
		{"description", docs[data.Name()]},
		{"type", "object"},
		{"properties", object{
			{"specversion", object{{"const", "1.0"}}},
			{"id", text(pair{"description", "subject/sequence"}, pair{"pattern", `^[^/]+/.+/[0-9a-f]{16}$`})},
			{"source", text(pair{"minLength", 1}, pair{"description", "Who wrote it."})},
			{"type", object{{"const", string(typ)}}},
			{"subject", text(pair{"pattern", "^[a-z]+/.+$"}, pair{"description", "The one thing that the event changes."})},
			{"time", text(pair{"format", "date-time"})},
			{"datacontenttype", text()},
			{"dataschema", text()},
			{"partitionkey", text(pair{"minLength", 1}, pair{"description", "Order holds within one key. May be missing in an import, and is then the id of the subject."})},
			{"sequence", text(pair{"pattern", "^[0-7][0-9a-f]{15}$"}, pair{"description", "Epoch and count of the subject's one writer, 8 hex digits each."})},
			{"data", inner},
		}},
		{"required", []string{"specversion", "id", "source", "type", "subject", "time", "sequence", "data"}},
	}
}

var enums = map[reflect.Type][]string{
	reflect.TypeFor[intake.Channel](): strs(intake.Channels()),
	reflect.TypeFor[intake.Outcome](): strs(intake.Outcomes()),
	reflect.TypeFor[intake.By]():      {string(intake.ByResident), string(intake.ByUs), string(intake.ByNetwork)},
}

func strs[T ~string](list []T) (out []string) {
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

func typeSchema(docs map[string]string, t reflect.Type) object {
	if list, ok := enums[t]; ok {
		return object{{"type", "string"}, {"enum", list}}
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{{"type", "string"}, {"format", "date-time"}}
	case t.Kind() == reflect.Pointer:
		return typeSchema(docs, t.Elem())
	case t.Kind() == reflect.Struct:
		return structSchema(docs, t)
	case t.Kind() == reflect.Slice:
		return object{{"type", "array"}, {"items", typeSchema(docs, t.Elem())}}
	case t.Kind() == reflect.String:
		return object{{"type", "string"}}
	case t.Kind() == reflect.Bool:
		return object{{"type", "boolean"}}
	case t.Kind() == reflect.Float64:
		return object{{"type", "number"}}
	case t.Kind() == reflect.Uint32:
		return object{{"type", "integer"}, {"minimum", 0}, {"maximum", 1<<32 - 1}}
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return object{{"type", "integer"}}
	}
	panic("no schema for " + t.String())
}

func structSchema(docs map[string]string, t reflect.Type) object {
	var props object
	required := []string{}
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		s := typeSchema(docs, f.Type)
		optional := strings.Contains(opts, "omitempty") || strings.Contains(opts, "omitzero")
		if f.Type.Kind() == reflect.Slice && !optional {
			s[0].value = []string{"array", "null"} // an empty list is written as null
		}
		if f.Name == "Lat" || f.Name == "Lon" {
			most := map[string]int{"Lat": 90, "Lon": 180}[f.Name]
			s = append(s, pair{"minimum", -most}, pair{"maximum", most})
		}
		if strings.HasSuffix(name, "ms") && f.Type.Kind() == reflect.Int64 {
			s = append(s, pair{"minimum", 0})
		}
		if d := docs[t.Name()+"."+f.Name]; d != "" {
			s = append(s, pair{"description", d})
		}
		props = append(props, pair{name, s})
		if !optional {
			required = append(required, name)
		}
	}
	o := object{{"type", "object"}, {"properties", props}}
	if len(required) > 0 {
		o = append(o, pair{"required", required})
	}
	return o
}

// readDocs gives the comments of the structs and their fields, by "Struct" and "Struct.Field".
func readDocs(t *testing.T, files ...string) map[string]string {
	docs := map[string]string{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				ts, ok := s.(*ast.TypeSpec)
				if !ok {
					continue
				}
				doc := ts.Doc.Text()
				if doc == "" {
					doc = g.Doc.Text()
				}
				docs[ts.Name.Name] = oneLine(doc)
				st, ok := ts.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, field := range st.Fields.List {
					for _, n := range field.Names {
						docs[ts.Name.Name+"."+n.Name] = oneLine(field.Comment.Text())
					}
				}
			}
		}
	}
	return docs
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestDocsReachTheSchema(t *testing.T) {
	raw, ok := Schema("contact.offered.v1")
	if !ok || !bytes.Contains(raw, []byte("sip_call_id")) || !bytes.Contains(raw, []byte("withheld or unknown")) {
		t.Errorf("the schema of contact.offered.v1 lacks its fields or their comments: %s", raw)
	}
	if _, ok := Schema("contact.offered.v999"); ok {
		t.Error("there is a schema for a type that does not exist")
	}
	if n := len(Schemas()); n != len(intake.Types()) {
		t.Errorf("%d schemas for %d types", n, len(intake.Types()))
	}
	if !slices.Contains(intake.Types(), intake.Type("contact.ended.v1")) {
		t.Error("the catalogue lacks contact.ended.v1")
	}
}
