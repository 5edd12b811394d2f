package jsonform

import (
	"encoding/json"
	"strings"
	"testing"
)

var samples = []string{
	``, ` `, `{}`, `[]`, ` {} `, `{"a":1}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a" : [ 1 , 2.5e-3 , -0 , "x" ] , "b" : null}`, `[1,]`, `[,1]`, `[1 2]`, `{"a":1 "b":2}`,
	`0`, `-0`, `00`, `01`, `-`, `+1`, `1.`, `.5`, `1.5`, `1e`, `1e+`, `1E-07`, `-1.0e10 `, `1x`, `true`, `tru`, `truex`, `false`, `null`, `nul`, `nan`,
	`"`, `"a`, `"a"`, `"\"`, `"\\"`, `"\u00e9"`, `"\u00g0"`, `"\u12"`, `"\x"`, "\"\n\"", "\"\x7f\"", "\"\xff\"", `"句"`, `"a"b`, `{"a":1}{}`, "\ufeff{}", "\v1", `{"a":{"b":[{"c":[[[]]]}]}}`, `[}`, `{]`, `{1:2}`, `[`, `{`, `{"a`, `{"a":`, `{"a":1`, `[1`,
}

func TestAgrees(t *testing.T) {
	deep := []string{strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)}
	for _, s := range append(deep, samples...) {
		if got, want := Valid([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("%.60q: %v, want %v", s, got, want)
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := Valid(b), json.Valid(b); got != want {
			t.Errorf("%q: %v, want %v", b, got, want)
		}
	})
}

func BenchmarkValid(b *testing.B) {
	one := []byte(`{"specversion":"1.0","id":"contact/0190/3","type":"contact.offered.v1","time":"2026-11-25T07:00:00.000Z","data":{"channel":"phone","line":"main","waited_ms":1200,"note":"楼道里的灯坏了三天了","withheld":true}}`)
	for name, valid := range map[string]func([]byte) bool{"ours": Valid, "standard": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(one)))
			for b.Loop() {
				valid(one)
			}
		})
	}
}
