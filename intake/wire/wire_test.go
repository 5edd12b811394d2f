package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// months is a Keys with one secret for each month that isn't gone.
type months struct {
	gone map[string]error
}

func (m months) Month(month string) ([]byte, error) {
	if len(month) != len("2026-11") {
		panic("a secret was asked for that is of no month: " + month)
	}
	if err := m.gone[month]; err != nil {
		return nil, err
	}
	return bytes.Repeat([]byte(month), 5)[:32], nil
}

// counting is a reader of 1, 2, 3 …, where a test wants the same bytes each time.
type counting struct{}

func (counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i + 1)
	}
	return len(b), nil
}

func testCodec(options ...Option) *Codec {
	c := New(months{}, options...)
	c.random = counting{}
	return c
}

var at = time.Date(2026, 11, 24, 8, 0, 0, 123e6, time.UTC)

const contact = intake.ContactID("019ab2f0-0000-7000-8000-000000000001")

// fill sets every field of a struct to something that is not its zero value.
func fill(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(at))
	case v.Type() == reflect.TypeFor[intake.Channel]():
		v.SetString(string(intake.Phone))
	case v.Type() == reflect.TypeFor[intake.Outcome]():
		v.SetString(string(intake.AbandonedQueue))
	case v.Type() == reflect.TypeFor[intake.By]():
		v.SetString(string(intake.ByResident))
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem())
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case v.Kind() == reflect.String:
		v.SetString("某 <x>")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(7)
	case v.CanUint():
		v.SetUint(7)
	case v.CanFloat():
		v.SetFloat(31.25)
	default:
		panic("cannot fill " + v.Type().String())
	}
}

func full(t intake.Type) intake.Event {
	data, ok := intake.New(t)
	if !ok {
		panic(t)
	}
	fill(reflect.ValueOf(data))
	return intake.Event{Source: "yingda/a", Subject: contact.Subject(), Sequence: intake.NewSequence(3, 9), Time: at, PartitionKey: "key",
		Data: data, Personal: someone()}
}

func someone() intake.Personal {
	return intake.Personal{Number: pii.NewPhone("13800005678"), Name: pii.NewName("王小明"), Address: pii.NewAddress("枫桥社区 7 幢"),
		Text: pii.NewText("井盖坏了 <b>\n"), Place: &intake.Place{Lat: 31.25, Lon: 120.5}}
}

// TestGolden holds the bytes of each type: with every field, and with none that may be left out.
func TestGolden(t *testing.T) {
	c := testCodec()
	for _, typ := range intake.Types() {
		e := full(typ)
		var out []byte
		for _, e := range []intake.Event{e, bare(e)} {
			raw, err := c.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.ContainsAny(raw, "\n") || bytes.Contains(raw, []byte("13800005678")) || bytes.Contains(raw, []byte("井盖")) {
				t.Errorf("%s: not one line, or somebody in clear: %s", typ, raw)
			}
			back, err := c.Decode(raw)
			if err != nil {
				t.Fatalf("%s: %v\n%s", typ, err, raw)
			}
			if !reflect.DeepEqual(back, e) {
				t.Errorf("%s came back as\n%+v, was\n%+v", typ, back, e)
			}
			checkSchema(t, typ, raw)
			clear, err := c.encode(e, inClear)
			if err != nil {
				t.Fatal(err)
			}
			imported, err := c.DecodeClear(clear)
			if err != nil {
				t.Errorf("%s in clear: %v\n%s", typ, err, clear)
			} else if !reflect.DeepEqual(imported, e) {
				t.Errorf("%s was imported as\n%+v, was\n%+v", typ, imported, e)
			}
			out = append(append(out, raw...), '\n')
		}
		file := filepath.Join("testdata", "golden", string(typ)+".jsonl")
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, out, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, want) {
			t.Errorf("%s is written as\n%s, want\n%s", typ, out, want)
		}
	}
}

// bare is e without what may be left out.
func bare(e intake.Event) intake.Event {
	data, _ := intake.New(e.Type())
	switch d := data.(type) {
	case *intake.OfferedV1:
		d.Channel, d.Line = intake.App, "12345"
	case *intake.EndedV1:
		d.Outcome, d.By = intake.Accepted, intake.ByUs
	case *intake.CallbackBornV1:
		d.Cause = intake.QueueFull
	case *intake.CallbackJoinedV1:
		d.Cause = intake.QueueFull
	}
	e.Data, e.Personal = data, intake.Personal{}
	return e
}

func inClear(_ *Codec, e intake.Event, _ string) ([]byte, error) {
	if e.Personal.IsZero() && len(e.Extra.Personal) == 0 {
		return nil, nil
	}
	return clearPersonal(e)
}

func checkSchema(t *testing.T, typ intake.Type, raw []byte) {
	t.Helper()
	if err := testCodec().validate(raw); err != nil {
		t.Errorf("what is written as %s breaks its own schema: %v\n%s", typ, err, raw)
	}
}

// TestOldBytes reads the golden files as a reader of later years would: they must never stop being readable.
func TestOldBytes(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.jsonl")
	if err != nil || len(files) < len(intake.Types()) {
		t.Fatalf("%d golden files for %d types, %v", len(files), len(intake.Types()), err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(raw) {
			e, err := testCodec().Decode(bytes.TrimSpace(line))
			if err != nil {
				t.Errorf("%s: %v", f, err)
			} else if bytes.Contains(line, []byte(`"sealed"`)) && e.Personal.Number.Reveal() != "13800005678" {
				t.Errorf("%s: the personal part came out as %v", f, e.Personal)
			}
		}
	}
}

func TestUnknownThingsSurvive(t *testing.T) {
	c := testCodec()
	test := func(name string, e intake.Event) {
		t.Helper()
		raw, err := c.Encode(e)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		back, err := c.Decode(raw)
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("%s came back as\n%+v, was\n%+v\n%s, %v", name, back, e, raw, err)
		}
		again, err := c.Encode(back)
		if err != nil || !bytes.Equal(raw, again) {
			t.Errorf("%s is written as\n%s and then as\n%s, %v", name, raw, again, err)
		}
	}
	js := func(s string) json.RawMessage { return json.RawMessage(s) }

	e := full("contact.offered.v1")
	e.Extra.Envelope = map[string]json.RawMessage{"traceparent": js(`"00-aa"`), "/odd~": js(`1`), "dataschema": js(`"urn:other"`), "datacontenttype": js(`"application/cloudevents+json"`)}
	e.Extra.Data = map[string]json.RawMessage{"mood": js(`{"a":[1,2]}`), "Channel": js(`"shout"`), "/~1slashed": js(`true`)}
	e.Extra.Personal = map[string]json.RawMessage{"birthday": js(`"1940-01-01"`), "/place/floor": js(`3`)}
	test("new fields", e)

	e = full("contact.message.v1")
	e.Extra.Data = map[string]json.RawMessage{"/attachments/0/colour": js(`"red"`), "/attachments/1/a~1b~0": js(`null`), "ID": js(`"x"`)}
	test("new fields of an attachment", e)

	e = full("line.changed.v1")
	e.Extra.Data = map[string]json.RawMessage{"/line/hours": js(`{"mon":"8-17"}`)}
	test("new fields of a line", e)

	e = full("line.changed.v1")
	e.Personal = intake.Personal{}
	e.Extra.Personal = map[string]json.RawMessage{"voice": js(`"old"`)}
	test("a personal part of new fields only", e)

	e = full("contact.said.v1")
	e.Data = &intake.Unknown{Name: "contact.sang.v1"}
	e.Extra.Data = map[string]json.RawMessage{"song": js(`"茉莉花"`), "/~1x": js(`[]`)}
	e.Extra.Envelope = map[string]json.RawMessage{"dataschema": js(`"https://example.org/sang"`)}
	test("a new type", e)

	e.Extra = intake.Extra{}
	test("a new type with nothing but a person", e)

	e.Personal = intake.Personal{}
	test("a new type with no data", e)

	e.Extra.Envelope = map[string]json.RawMessage{"data": js(`"<xml/>"`), "datacontenttype": js(`"text/xml"`)}
	test("a new type with data that is no object", e)

	e.Extra.Envelope = map[string]json.RawMessage{"data_base64": js(`"AAAA"`), "datacontenttype": js(`"image/png"`)}
	test("a new type with binary data", e)
}

func TestWhatCannotBeWritten(t *testing.T) {
	c := testCodec()
	test := func(want string, change func(*intake.Event)) {
		t.Helper()
		e := full("contact.message.v1")
		change(&e)
		if raw, err := c.Encode(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %s, %v, want an error with %q", raw, err, want)
		}
	}
	js := json.RawMessage(`1`)
	test("no partition key", func(e *intake.Event) { e.PartitionKey = "" })
	test("characters", func(e *intake.Event) { e.Source = "a\nb" })
	test("characters", func(e *intake.Event) { e.PartitionKey = "\xff" })
	test("year", func(e *intake.Event) { e.Time = e.Time.AddDate(9000, 0, 0) })
	test("write ourselves", func(e *intake.Event) { e.Extra.Data = map[string]json.RawMessage{"from": js} })
	test("write ourselves", func(e *intake.Event) { e.Extra.Envelope = map[string]json.RawMessage{"id": js} })
	test("write ourselves", func(e *intake.Event) { e.Extra.Personal = map[string]json.RawMessage{"name": js} })
	test("no element", func(e *intake.Event) { e.Extra.Data = map[string]json.RawMessage{"/attachments/2/x": js} })
	test("there is no", func(e *intake.Event) { e.Extra.Data = map[string]json.RawMessage{"/nowhere/x": js} })
	test("no JSON", func(e *intake.Event) { e.Extra.Data = map[string]json.RawMessage{"x": json.RawMessage(`{`)} })
	test("both sealed and in clear", func(e *intake.Event) { e.Sealed = json.RawMessage(`{}`) })
	test("no data", func(e *intake.Event) { e.Data = &intake.Unknown{Name: "contact.message.v1"} })
	test("is nil", func(e *intake.Event) { e.Data = (*intake.SaidV1)(nil) })
}

func TestWhatCannotBeRead(t *testing.T) {
	good, err := testCodec().Encode(full("contact.said.v1"))
	if err != nil {
		t.Fatal(err)
	}
	test := func(want, old, new string) {
		t.Helper()
		if !strings.Contains(string(good), old) {
			t.Fatalf("%s has no %s", good, old)
		}
		_, err := testCodec().Decode([]byte(strings.Replace(string(good), old, new, 1)))
		if err == nil || !errors.Is(err, ErrForm) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s for %s: got %v, want %q", new, old, err, want)
		}
	}
	test("not JSON", "}", "")
	test("not JSON", "yingda", "\xff")
	test("specversion", `"1.0"`, `"0.3"`)
	test("id is not", `0009","source"`, `0008","source"`)
	test("a number where a string", `"yingda/a"`, `7`)
	test("empty", `"yingda/a"`, `""`)
	test("no type", `"type":`, `"kind":`)
	test("time", `2026-11-24T`, `2026-13-24T`)
	test("year", `2026-11-24T08:00:00.123Z`, `9999-12-31T23:59:59-01:00`)
	test("sequence", `"sequence":"0000`, `"sequence":"f000`)
	test("twice", `"source":`, `"id":"x","source":`)
	test("twice", `"prompt":`, `"prompt":"x","prompt":`)
	test("in clear", `"sealed":"v1",`, ``)
	test("data is no object", `"data":{`, `"data":[],"old":{`)
	test("a list where an object", `"personal":{`, `"personal":[],"old":{`)
	test("cannot unmarshal", `"prompt":"某`, `"prompt":5,"x":"某`)
	if _, err := testCodec().Decode(nil); !errors.Is(err, ErrForm) {
		t.Errorf("nothing: %v", err)
	}
}

func TestForgotten(t *testing.T) {
	e := full("contact.message.v1")
	raw, err := testCodec().Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	gone := fmt.Errorf("destroyed")
	sealed := func(name string, c *Codec, raw []byte) {
		t.Helper()
		back, err := c.Decode(raw)
		if err != nil {
			t.Errorf("%s stops a reader: %v", name, err)
			return
		}
		if !back.Forgotten() || !back.Personal.IsZero() || back.Extra.Personal != nil {
			t.Errorf("%s: %+v is not told from an event about nobody, or tells whom", name, back)
		}
		if !reflect.DeepEqual(back.Data, e.Data) {
			t.Errorf("%s: the data came back as %+v", name, back.Data)
		}
		again, err := c.Encode(back)
		if err != nil || !bytes.Equal(raw, again) {
			t.Errorf("%s is written as\n%s, was\n%s, %v", name, again, raw, err)
		}
	}
	destroyed := testCodec()
	destroyed.keys = months{map[string]error{"2026-11": gone}}
	sealed("a destroyed secret", destroyed, raw)
	sealed("another month's secret", testCodec(), bytes.Replace(raw, []byte(`"month":"2026-11"`), []byte(`"month":"2026-10"`), 1))
	sealed("no month at all", testCodec(), bytes.Replace(raw, []byte(`"month":"2026-11"`), []byte(`"month":"caller"`), 1))
	sealed("a newer seal", testCodec(), bytes.Replace(raw, []byte(`"sealed":"v1"`), []byte(`"sealed":"v2"`), 1))
	sealed("a seal with more to it", testCodec(), bytes.Replace(raw, []byte(`"month":`), []byte(`"salt":1,"month":`), 1))
	sealed("a box of no base64", testCodec(), bytes.Replace(raw, []byte(`"box":"`), []byte(`"box":"!`), 1))
	sealed("a box that is empty", testCodec(), bytes.Replace(raw, []byte(`"box":"`), []byte(`"box":"","was":"`), 1))
	moved := bytes.ReplaceAll(raw, []byte("0000000300000009"), []byte("0000000300000008"))
	sealed("a box of another event", testCodec(), moved)
	other := bytes.ReplaceAll(raw, []byte("8000-000000000001"), []byte("8000-000000000002"))
	sealed("a box of another subject", testCodec(), other)

	if _, err := destroyed.Encode(e); !errors.Is(err, gone) {
		t.Errorf("an event of a destroyed month was sealed: %v", err)
	}
	e.Personal = intake.Personal{}
	if _, err := destroyed.Encode(e); err != nil {
		t.Errorf("an event about nobody needs no secret: %v", err)
	}
	later := testCodec()
	later.keys = months{map[string]error{"2026-11": fmt.Errorf("store: %w", intake.ErrLater)}}
	if _, err := later.Decode(raw); !errors.Is(err, intake.ErrLater) {
		t.Errorf("a store that can't be asked must not look like a destroyed secret: %v", err)
	}
}

// TestNonces: two boxes of the same event differ, so nobody sees that the same was said again.
func TestNonces(t *testing.T) {
	c := New(months{})
	a, err := c.Encode(full("contact.message.v1"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Encode(full("contact.message.v1"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a, b) {
		t.Error("the nonce is the same twice")
	}
}

func TestUpcast(t *testing.T) {
	c := testCodec(WithUpcaster("contact.said.v0", func(d map[string]json.RawMessage) (intake.Type, error) {
		d["prompt"] = d["name"]
		delete(d, "name")
		return "contact.said.v1", nil
	}), WithUpcaster("contact.said.v-1", func(d map[string]json.RawMessage) (intake.Type, error) {
		d["name"] = d["wav"]
		delete(d, "wav")
		return "contact.said.v0", nil
	}), WithUpcaster("contact.round.v1", func(map[string]json.RawMessage) (intake.Type, error) { return "contact.round.v1", nil }),
		WithUpcaster("contact.bad.v1", func(map[string]json.RawMessage) (intake.Type, error) { return "", errors.New("cannot") }))
	raw, err := testCodec().Encode(full("contact.said.v1"))
	if err != nil {
		t.Fatal(err)
	}
	want := full("contact.said.v1")
	want.Extra.Data = map[string]json.RawMessage{"new": json.RawMessage("1")}
	old := func(typ, field string) []byte {
		s := strings.Replace(string(raw), `"contact.said.v1"`, `"`+typ+`"`, 1)
		s = strings.Replace(s, "schema:contact.said.v1", "schema:"+typ, 1)
		return []byte(strings.Replace(s, `"prompt"`, `"new":1,"`+field+`"`, 1))
	}
	for _, o := range [][]byte{old("contact.said.v0", "name"), old("contact.said.v-1", "wav")} {
		e, err := c.Decode(o)
		if err != nil || !reflect.DeepEqual(e, want) {
			t.Errorf("%s is read as %+v, %v", o, e, err)
		}
	}
	if _, err := c.Decode(old("contact.round.v1", "x")); !errors.Is(err, ErrForm) {
		t.Errorf("a circle of upcasters: %v", err)
	}
	if _, err := c.Decode(old("contact.bad.v1", "x")); !errors.Is(err, ErrForm) || !strings.Contains(err.Error(), "cannot") {
		t.Errorf("an upcaster that fails: %v", err)
	}
}

func TestDecodeClear(t *testing.T) {
	good := `{"specversion":"1.0","id":"contact/a/0000000100000001","source":"old","type":"contact.offered.v1","subject":"contact/a",
		"time":"2026-10-01T16:00:00+08:00","sequence":"0000000100000001","traceparent":"x",
		"data":{"channel":"phone","line":"12345","switchboard":"main","origin":"trunk","personal":{"number":"0512-5550-1234","name":"张三丰","place":{"lat":1,"lon":2}}}}`
	e, err := testCodec().DecodeClear([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if e.PartitionKey != "a" || e.Personal.Number.Reveal() != "051255501234" || !e.Time.Equal(time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)) || e.Extra.Envelope["traceparent"] == nil {
		t.Errorf("read as %+v", e)
	}
	test := func(want, old, new string) {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("no %s", old)
		}
		_, err := testCodec().DecodeClear([]byte(strings.Replace(good, old, new, 1)))
		switch {
		case err == nil || !errors.Is(err, ErrForm) || !strings.Contains(err.Error(), want):
			t.Errorf("%s for %s: got %v, want %q", new, old, err, want)
		case strings.Contains(err.Error(), "5550") || strings.Contains(err.Error(), "三"):
			t.Errorf("the error tells whom it is about: %v", err)
		}
	}
	test("not JSON", "{", "")
	test("no type", `"type"`, `"typ"`)
	test("not in the catalogue", "offered.v1", "offered.v7")
	test("missing specversion", `"specversion":"1.0",`, "")
	test("data.channel: is none of", `"phone"`, `"drum"`)
	test("data: missing line", `"line":"12345",`, "")
	test("data.line: is a number, want string", `"12345"`, "12345")
	test("time: is no date-time", "2026-10-01T", "yesterday ")
	test("data.personal.number: is not of the form", "0512-5550-1234", "0512-5550-1234 张三")
	test("not a telephone number", "0512-5550-1234", "0512555012340512555012340512555012340512")
	test("data.personal.place.lat", `"lat":1`, `"lat":91`)
	test("data.personal.name: is a object", `"张三丰"`, `{"x":"张三"}`)
	test("twice", `"name":`, `"number":"1","name":`)
	test("sealed", `"name":`, `"sealed":"v1","month":"2026-10","box":"x","name":`)
	test("missing month", `"name":`, `"sealed":"v1","name":`)
	test("id is not", "contact/a/", "contact/b/")
}

func TestToken(t *testing.T) {
	secret := []byte("a secret of the office, 32 bytes")
	a := Token(secret, pii.NewPhone("+86 138 0000 5678"))
	if len(a) != 22 || a != Token(secret, pii.NewPhone("013800005678")) || a != Token(secret, pii.NewPhone("13800005678")) {
		t.Errorf("one person has several tokens: %s", a)
	}
	// by: printf 13800005678 | openssl dgst -sha256 -hmac 'a secret of the office, 32 bytes' -binary | head -c16 | base64, in its URL form
	if a != "86Bb7DiVWmDPT7ixhytntw" {
		t.Errorf("the token of a number has changed: %s", a)
	}
	if b := Token(secret, pii.NewPhone("13800005679")); a == b {
		t.Error("two people have one token")
	}
	if b := Token([]byte("another"), pii.NewPhone("13800005678")); a == b {
		t.Error("the token does not depend on the secret")
	}
	if z := Token(secret, pii.Phone{}); z != "" {
		t.Errorf("nobody has the token %q", z)
	}
}
