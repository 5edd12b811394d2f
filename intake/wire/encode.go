package wire

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"yingda/intake"
)

const (
	contentType  = "application/json"
	schemaPrefix = "urn:yingda:schema:"
	timeLayout   = "2006-01-02T15:04:05.000Z"
)

// shapes of the data of each type we know.
var shapes = func() map[intake.Type]*shape {
	m := map[intake.Type]*shape{}
	for _, t := range intake.Types() {
		data, _ := intake.New(t)
		m[t] = shapeOf(reflect.TypeOf(data))
	}
	return m
}()

// unknownShape knows nothing: all members of data go into Extra.
var unknownShape = &shape{}

// Encode writes the event on one line. It fails with intake.ErrInvalid for an event that Check refuses, with what Keys
// says when there is no secret to seal it with, and with ErrForm for one that can't be written.
func (c *Codec) Encode(e intake.Event) ([]byte, error) {
	return c.encode(e, (*Codec).seal)
}

// encode with the personal part as the given function writes it.
func (c *Codec) encode(e intake.Event, personal func(*Codec, intake.Event, string) ([]byte, error)) ([]byte, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	id := e.ID()
	name := string(e.Type())
	for _, s := range []string{id, e.Source, name, e.PartitionKey} {
		if !attribute(s) {
			return nil, form("an attribute of %q has characters that cannot stand in one", id)
		}
	}
	at := e.Time.UTC()
	if y := at.Year(); y < 1 || y > 9999 {
		return nil, form("%s is in the year %d", id, y)
	}
	sealed, err := personal(c, e, id)
	if err != nil {
		return nil, err
	}
	data, err := encodeData(e, sealed)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, 512+len(data))
	out = append(out, `{"specversion":"1.0","id":`...)
	out = appendString(out, id)
	out = appendString(appendName(out, "source"), e.Source)
	out = appendString(appendName(out, "type"), name)
	out = appendString(appendName(out, "subject"), string(e.Subject))
	out = append(at.AppendFormat(append(appendName(out, "time"), '"'), timeLayout), '"')
	if e.Extra.Envelope["datacontenttype"] == nil && data != nil {
		out = append(out, `,"datacontenttype":"`+contentType+`"`...)
	}
	if _, known := shapes[e.Type()]; known && e.Extra.Envelope["dataschema"] == nil {
		out = appendString(append(out, `,"dataschema":`...), schemaPrefix+name)
	}
	out = appendString(appendName(out, "partitionkey"), e.PartitionKey)
	out = append(append(appendName(out, "sequence"), '"'), e.Sequence.String()...)
	out = append(out, '"')
	if data != nil {
		out = appendMember(out, "data", data)
	}
	if len(e.Extra.Envelope) == 0 {
		return append(out, '}'), nil
	}
	top := make(map[string]json.RawMessage, len(e.Extra.Envelope))
	for name, value := range e.Extra.Envelope {
		top[extraName("", name)] = value // members of the envelope have plain names only
	}
	return unknownShape.join(append(out, '}'), top)
}

func encodeData(e intake.Event, personal []byte) (data []byte, err error) {
	s := unknownShape
	if _, unknown := e.Data.(*intake.Unknown); unknown {
		if len(e.Extra.Data) == 0 && personal == nil && (e.Extra.Envelope["data"] != nil || e.Extra.Envelope["data_base64"] != nil) {
			return nil, nil // data that is no object stands in Extra.Envelope as it was
		}
		if _, known := shapes[e.Type()]; known {
			return nil, form("%s is of a type we know and has no data", e.ID())
		}
		data = []byte("{}")
	} else {
		if s = shapes[e.Type()]; s == nil {
			return nil, form("%s has data of no type in the catalogue", e.ID())
		}
		if data, err = json.Marshal(e.Data); err != nil {
			return nil, form("data of %s: %w", e.ID(), err)
		}
		if len(data) == 0 || data[0] != '{' {
			return nil, form("data of %s is nil", e.ID())
		}
	}
	if len(e.Extra.Data) > 0 {
		if data, err = s.join(data, e.Extra.Data); err != nil {
			return nil, err
		}
	}
	if personal != nil {
		data = append(appendMember(data[:len(data)-1], "personal", personal), '}')
	}
	return data, nil
}

// attribute says whether s may be the value of a CloudEvents attribute: not empty, and no control characters (CloudEvents 1.0,
// Type System).
func attribute(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return attributeText(s)
		}
	}
	return s != ""
}

func attributeText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, form("time is not as RFC 3339 has it")
	}
	t = intake.Millis(t)
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return t, form("time is in no year of four digits")
	}
	return t, nil
}
