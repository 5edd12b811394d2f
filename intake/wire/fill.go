package wire

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"yingda/intake"
)

// Most members of events are plain strings, numbers and truths of types we know. They are put in their places here, without the standard decoder, which
// takes three times as long. Whatever is not that plain (a member we do not know, an escape, a list of attachments, a wrong kind) is left to shape.split and
// the decoder, which keep it or say what is wrong: fill changes how fast an event is read and never what comes of it.

// filling says where the members of an object go.
type filling struct {
	fields map[string]place
}

type place struct {
	index int
	kind  reflect.Kind // Invalid: for the decoder
}

var fillings = func() map[intake.Type]filling {
	m := map[intake.Type]filling{}
	for _, t := range intake.Types() {
		data, _ := intake.New(t)
		m[t] = fillingOf(reflect.TypeOf(data).Elem())
	}
	return m
}()

var personalFilling = fillingOf(reflect.TypeFor[intake.PersonalJSON]())

func fillingOf(t reflect.Type) filling {
	f := filling{map[string]place{}}
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		p := place{i, field.Type.Kind()}
		to := reflect.PointerTo(field.Type)
		switch p.kind {
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
			if to.Implements(reflect.TypeFor[json.Unmarshaler]()) || to.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || strings.Contains(options, "string") {
				p.kind = reflect.Invalid
			}
		default:
			p.kind = reflect.Invalid
		}
		f.fields[name] = p
	}
	return f
}

// fill puts the members into the struct that into points to, and says whether it could do all of it; if not, the struct is to be thrown away.
func (f filling) fill(list []member, into any) bool {
	v := reflect.ValueOf(into).Elem()
	for _, m := range list {
		p, known := f.fields[m.name]
		if !known || !p.set(v.Field(p.index), m.value) {
			return false
		}
	}
	return true
}

func (p place) set(v reflect.Value, value []byte) bool {
	switch p.kind {
	case reflect.String:
		s, ok := plain(value)
		if !ok {
			var text string
			ok = value[0] == '"' && json.Unmarshal(value, &text) == nil
			v.SetString(text)
			return ok
		}
		v.SetString(string(s))
		return true
	case reflect.Bool:
		v.SetBool(value[0] == 't')
		return value[0] == 't' || value[0] == 'f'
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(string(value), 10, 64) // a JSON number of a form that this takes is one that the decoder takes
		if err == nil {
			v.SetInt(n)
		}
		return err == nil && !v.OverflowInt(n)
	}
	return false
}

// plain gives what stands in a JSON string when that is all it says.
func plain(value []byte) ([]byte, bool) {
	if value[0] != '"' {
		return nil, false
	}
	inner := value[1 : len(value)-1]
	return inner, bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner)
}

// names that we know: they are not copied out of every event.
var names = func() map[string]string {
	m := map[string]string{}
	for _, n := range []string{"specversion", "id", "source", "type", "subject", "time", "partitionkey", "sequence", "data", "dataschema", "datacontenttype", "personal", "sealed", "month", "box"} {
		m[n] = n
	}
	for _, f := range fillings {
		for n := range f.fields {
			m[n] = n
		}
	}
	for n := range personalFilling.fields {
		m[n] = n
	}
	return m
}()
