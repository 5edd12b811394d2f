package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"unicode/utf8"

	"yingda/intake"
	"yingda/internal/jsonform"
)

// seeds are the golden files and some bytes that have been or could be trouble.
func seeds(f *testing.F, clear bool) {
	files, err := filepath.Glob("testdata/golden/*.jsonl")
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	c := testCodec()
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for line := range bytes.Lines(raw) {
			line = bytes.TrimSpace(line)
			if clear {
				e, err := c.Decode(line)
				if err != nil {
					f.Fatal(err)
				}
				if line, err = c.encode(e, inClear); err != nil {
					f.Fatal(err)
				}
			}
			f.Add(line)
		}
	}
	f.Add([]byte(`{"specversion":"1.0","id":"a/b/0000000000000001","source":"s","type":"x.y.v1","subject":"a/b","time":"2026-01-01T00:00:00Z","partitionkey":"k","sequence":"0000000000000001"}`))
	f.Add([]byte(`{"specversion":"1.0","id":"a/b/0000000000000001","source":"s","type":"contact.message.v1","subject":"a/b","time":"2026-01-01T00:00:00Z","partitionkey":"k","sequence":"0000000000000001","data":{"number":1,"from":"\ud800","attachments":[null,{"ID":1,"":2}],"/":[{}, 1e400],"personal":null}}`))
	f.Add([]byte(` { "a" : [ ] , "a" : { } } `))
	f.Add([]byte(`[`))
}

// same compares two events by what is written of them, with the personal part in clear.
func same(t *testing.T, c *Codec, a, b intake.Event) {
	t.Helper()
	write := func(e intake.Event) []byte {
		if e.Forgotten() {
			raw, err := c.Encode(e)
			if err != nil {
				t.Fatalf("%+v was read and cannot be written: %v", e, err)
			}
			return raw
		}
		raw, err := c.encode(e, inClear)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", e, err)
		}
		return raw
	}
	if x, y := write(a), write(b); !bytes.Equal(x, y) {
		t.Errorf("an event does not survive a round trip:\n%s\n%s", x, y)
	}
}

func FuzzDecode(f *testing.F) {
	seeds(f, false)
	c := testCodec()
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := c.Decode(raw)
		if err != nil {
			return
		}
		out, err := c.Encode(e)
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", raw, err)
		}
		back, err := c.Decode(out)
		if err != nil {
			t.Fatalf("%s was written and cannot be read: %v", out, err)
		}
		same(t, c, e, back)
	})
}

func FuzzDecodeClear(f *testing.F) {
	seeds(f, true)
	c := testCodec()
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := c.DecodeClear(raw)
		if err != nil {
			return
		}
		out, err := c.Encode(e)
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", raw, err)
		}
		back, err := c.Decode(out)
		if err != nil {
			t.Fatalf("%s was written and cannot be read: %v", out, err)
		}
		if back.Forgotten() {
			t.Fatalf("%s cannot be opened by who sealed it", out)
		}
		same(t, c, e, back)
	})
}

// What is put in its place by hand is what the decoder would have made of it.
func FuzzFillIsTheDecoder(f *testing.F) {
	for _, s := range []string{`{"channel":"phone","line":"main","switchboard":"main","origin":"trunk-1","withheld":true}`, `{"priority":1,"ahead":-0,"why":"\u0061"}`, `{"priority":1e2}`,
		`{"ahead":9223372036854775808}`, `{"waited_ms":12,"q850":16,"outcome":"answered","by":"resident","flags":["quick_drop"]}`, `{"provisional":null}`, `{"why":"\\"}`, `{"why":"a\"b"}`, `{ "why" : "x" , "ahead":2 }`, `{"Why":"x"}`, `{"why":1}`} {
		for n := range 4 {
			f.Add(s, n)
		}
	}
	types := intake.Types()
	f.Fuzz(func(t *testing.T, raw string, n int) {
		if !utf8.ValidString(raw) || !json.Valid([]byte(raw)) || raw[jsonform.Space([]byte(raw), 0)] != '{' {
			return
		}
		list, err := members([]byte(raw))
		if err != nil {
			return
		}
		kind := types[uint(n)%uint(len(types))]
		byHand, _ := intake.New(kind)
		if !fillings[kind].fill(list, byHand) {
			return
		}
		extra := map[string]json.RawMessage{}
		known, err := shapes[kind].split([]byte(raw), "", extra)
		want, _ := intake.New(kind)
		if err != nil || len(extra) > 0 || json.Unmarshal(known, want) != nil || !reflect.DeepEqual(byHand, want) {
			t.Errorf("%s: %s is read as %+v, want %+v (%v, %v)", kind, raw, byHand, want, extra, err)
		}
	})
}
