package wire

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"yingda/intake"
	"yingda/internal/jsonform"
)

// maxUpcasts is how many versions of one type may lie between what was written and what we read. More is a circle.
const maxUpcasts = 32

// Decode reads an event as Encode wrote it, in this version or another. It fails with ErrForm or intake.ErrInvalid for
// what isn't an event, and with intake.ErrLater when Keys says so.
func (c *Codec) Decode(raw []byte) (intake.Event, error) {
	e, personal, err := c.decode(raw)
	if err != nil {
		return intake.Event{}, err
	}
	if personal != nil {
		if err := c.open(&e, personal); err != nil && err != errNumber {
			return intake.Event{}, err
		}
	}
	if err := e.Check(); err != nil {
		return intake.Event{}, err
	}
	return e, nil
}

// DecodeClear reads an event of another system's history: its type must be one we know, it must satisfy the schema, and its personal
// part is in clear. partitionkey may be missing, since only we can make a caller's token: it is then the id of the subject, which keeps
// the events of one subject in order, and whoever knows the token may set it in all of them before they go into a stream.
// The errors say which member is wrong; they do not repeat a person's data.
func (c *Codec) DecodeClear(raw []byte) (intake.Event, error) {
	if err := c.validate(raw); err != nil {
		return intake.Event{}, err
	}
	e, personal, err := c.decode(raw)
	if err != nil {
		return intake.Event{}, err
	}
	if personal != nil {
		if list, err := members(personal); err != nil {
			return intake.Event{}, form("data.personal: %w", err)
		} else if slices.ContainsFunc(list, func(m member) bool { return m.name == "sealed" }) {
			return intake.Event{}, form("data.personal is sealed, with a secret that is not ours")
		}
		if err := readPersonal(&e, personal); err != nil {
			return intake.Event{}, err
		}
	}
	if e.PartitionKey == "" {
		e.PartitionKey = e.Subject.ID()
	}
	if err := e.Check(); err != nil {
		return intake.Event{}, err
	}
	return e, nil
}

// decode reads all but the personal part, which it gives as it stands; nil when there is none.
func (c *Codec) decode(raw []byte) (e intake.Event, personal []byte, err error) {
	if !utf8.Valid(raw) || !jsonform.Valid(raw) {
		return e, nil, form("not JSON in UTF-8")
	}
	var room [16]member
	list, err := membersInto(room[:0], raw)
	if err != nil {
		return e, nil, err
	}
	var data, schema, content []byte
	var version, id, kind, at, sequence string
	for _, m := range list {
		to := &version
		switch m.name {
		case "specversion":
		case "id":
			to = &id
		case "source":
			to = &e.Source
		case "type":
			to = &kind
		case "subject":
			to = (*string)(&e.Subject)
		case "time":
			to = &at
		case "partitionkey":
			to = &e.PartitionKey
		case "sequence":
			to = &sequence
		case "data":
			data = m.value
			continue
		case "dataschema":
			schema = m.value
			continue
		case "datacontenttype":
			content = m.value
			continue
		default:
			keep(&e.Extra.Envelope, m.name, m.value)
			continue
		}
		if *to, err = unquote(m.value); err != nil {
			return e, nil, form("%s: %w", m.name, err)
		}
		if !attribute(*to) {
			return e, nil, form("%s is empty or has control characters", m.name)
		}
	}
	if version != "1.0" {
		return e, nil, form("specversion is not 1.0")
	}
	if e.Time, err = parseTime(at); err != nil {
		return e, nil, err
	}
	if e.Sequence, err = intake.ParseSequence(sequence); err != nil {
		return e, nil, form("%w", err)
	}
	if id != e.ID() {
		return e, nil, form("id is not subject/sequence")
	}
	if kind == "" {
		return e, nil, form("no type")
	}
	if content != nil {
		s, err := unquote(content)
		if err != nil {
			return e, nil, form("datacontenttype: %w", err)
		}
		if s != contentType {
			keep(&e.Extra.Envelope, "datacontenttype", content)
		}
	}
	t := intake.Type(kind)
	_, lifted := c.upcasters[t]
	if _, known := shapes[t]; !known && !lifted {
		if schema != nil {
			keep(&e.Extra.Envelope, "dataschema", schema)
		}
		personal, err = decodeUnknown(&e, t, data)
		return e, personal, err
	}
	if schema != nil {
		s, err := unquote(schema)
		if err != nil {
			return e, nil, form("dataschema: %w", err)
		}
		if s != schemaPrefix+string(t) {
			keep(&e.Extra.Envelope, "dataschema", schema)
		}
	}
	personal, err = c.decodeData(&e, t, data)
	return e, personal, err
}

func decodeUnknown(e *intake.Event, t intake.Type, data []byte) (personal []byte, err error) {
	e.Data = &intake.Unknown{Name: t}
	if data == nil || data[0] != '{' {
		if data != nil {
			keep(&e.Extra.Envelope, "data", data)
		}
		return nil, nil
	}
	list, err := members(data)
	if err != nil {
		return nil, form("data: %w", err)
	}
	for _, m := range list {
		if m.name == "personal" {
			personal = present(m.value)
			continue
		}
		keep(&e.Extra.Data, extraName("", m.name), m.value)
	}
	return personal, nil
}

func (c *Codec) decodeData(e *intake.Event, t intake.Type, data []byte) (personal []byte, err error) {
	if data == nil || data[0] != '{' {
		return nil, form("data is no object")
	}
	var room [16]member
	list, err := membersInto(room[:0], data)
	if err != nil {
		return nil, form("data: %w", err)
	}
	for i, m := range list {
		if m.name == "personal" {
			personal, list = present(m.value), slices.Delete(list, i, i+1)
			break
		}
	}
	if _, old := c.upcasters[t]; old {
		if t, data, err = c.upcast(t, list); err != nil {
			return nil, err
		}
	} else if e.Data, _ = intake.New(t); fillings[t].fill(list, e.Data) {
		return personal, nil
	}
	extra := map[string]json.RawMessage{}
	known, err := shapes[t].split(data, "", extra)
	if err != nil {
		return nil, form("data: %w", err)
	}
	if len(extra) > 0 {
		e.Extra.Data = extra
	}
	e.Data, _ = intake.New(t)
	if err := json.Unmarshal(known, e.Data); err != nil {
		return nil, form("data: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return personal, nil
}

func (c *Codec) upcast(t intake.Type, list []member) (intake.Type, []byte, error) {
	data := make(map[string]json.RawMessage, len(list))
	for _, m := range list {
		if m.name != "personal" {
			data[m.name] = m.value
		}
	}
	for range maxUpcasts {
		up, old := c.upcasters[t]
		if !old {
			break
		}
		next, err := up(data)
		if err != nil {
			return t, nil, form("data of %s cannot be lifted: %w", t, err)
		}
		t = next
	}
	if _, known := shapes[t]; !known {
		return t, nil, form("data is lifted to %s, which is not in the catalogue", t)
	}
	out := []byte{'{'}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		out = appendMember(out, name, data[name])
	}
	out = append(out, '}')
	if !jsonform.Valid(out) {
		return t, nil, form("what lifted the data to %s wrote no JSON", t)
	}
	return t, out, nil
}

func keep(extra *map[string]json.RawMessage, name string, value []byte) {
	if *extra == nil {
		*extra = map[string]json.RawMessage{}
	}
	(*extra)[name] = compact(value)
}

// present is value, or nil when it is null: a personal part that is null names nobody.
func present(value []byte) []byte {
	if string(value) == "null" {
		return nil
	}
	return value
}
