package kafka

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"

	"yingda/intake"
	"yingda/internal/jsonform"
)

// Names of headers (CloudEvents Kafka Protocol Binding 1.0.2, §3.2 binary content mode). An attribute is a header of its own, named
// ce_<attribute>; datacontenttype is content-type; data is the value.
const (
	attribute   = "ce_"
	contentType = "content-type"
	// What the binding cannot say: the attributes of an event that are no strings, as the JSON object they stood in; data is true in it when it is JSON though
	// its content type is not. Other readers pass it over.
	exact = "yingda_attributes"
)

const (
	typeJSON       = "application/json"
	typeStructured = "application/cloudevents" // and what follows: +json; charset=UTF-8
)

// errNoKey is an event without a partition key, which would go to a partition at random.
var errNoKey = errors.New("the event has no partitionkey")

// message makes a Kafka message in binary mode of an event in structured mode, which is how the wire and the outbox have it. The bytes of data, with
// its sealed part, go through unchanged, so nothing needs to be opened. It fails with intake.ErrInvalid for what is no event.
func message(raw []byte) (kafka.Message, error) {
	var m kafka.Message
	list, ok := members(raw)
	if !ok {
		return m, fmt.Errorf("%w: not a JSON object", intake.ErrInvalid)
	}
	var others map[string]json.RawMessage
	headers := make([]kafka.Header, 0, len(list)+1)
	var data, binary json.RawMessage
	var content []byte
	required := 0
	for _, p := range list {
		switch p.name {
		case "data":
			data = p.value
			continue
		case "data_base64":
			binary = p.value
			continue
		}
		v, isString := text(p.value)
		if !isString {
			if others == nil {
				others = map[string]json.RawMessage{}
			}
			same, err := json.Marshal(p.value) // as it will stand in exact, with which it is compared on the way back
			if err != nil {
				return m, fmt.Errorf("%w: %w", intake.ErrInvalid, err)
			}
			others[p.name] = same
			v = same // how a Boolean or an Integer is written (CloudEvents 1.0, Type System)
		}
		switch p.name {
		case "specversion":
			if string(v) != "1.0" {
				return m, fmt.Errorf("%w: specversion is not 1.0", intake.ErrInvalid)
			}
			required++
		case "id", "source", "type":
			if len(v) > 0 {
				required++
			}
		case "partitionkey":
			m.Key = v
		case "datacontenttype":
			content = v
		}
		headers = append(headers, kafka.Header{Key: headerOf(p.name), Value: v})
	}
	if len(m.Key) == 0 {
		return m, fmt.Errorf("%w: %w", intake.ErrInvalid, errNoKey)
	}
	if _, isString := text(data); data != nil && !isString && !isJSON(string(content)) {
		if others == nil {
			others = map[string]json.RawMessage{}
		}
		others["data"] = json.RawMessage("true")
	}
	if others != nil {
		b, err := json.Marshal(others)
		if err != nil {
			return m, fmt.Errorf("%w: %w", intake.ErrInvalid, err)
		}
		headers = append(headers, kafka.Header{Key: exact, Value: b})
	}
	sortHeaders(headers)
	for i := 1; i < len(headers); i++ {
		if headers[i].Key == headers[i-1].Key {
			return m, fmt.Errorf("%w: a member stands twice", intake.ErrInvalid)
		}
	}
	if required != 4 { // required by CloudEvents 1.0
		return m, fmt.Errorf("%w: no specversion, id, source or type", intake.ErrInvalid)
	}
	m.Headers = headers
	var err error
	m.Value, err = value(data, binary, string(content))
	return m, err
}

// value is what stands in a message: JSON as it is, anything else as its own bytes. Nil when the event has no data.
func value(data, binary json.RawMessage, content string) ([]byte, error) {
	if binary != nil {
		s, isString := text(binary)
		raw, err := base64.StdEncoding.AppendDecode(nil, s)
		if !isString || err != nil {
			return nil, fmt.Errorf("%w: data_base64 is not base64", intake.ErrInvalid)
		}
		return raw, nil
	}
	if s, isString := text(data); isString && !isJSON(content) {
		return s, nil
	}
	return data, nil
}

// part of a JSON object, its value as it stands.
type part struct {
	name  string
	value json.RawMessage
}

// members of the object that raw is, in their order; false when it is none. Only the outermost is taken apart, since that is all that a header needs.
func members(raw []byte) (list []part, ok bool) {
	if !jsonform.Valid(raw) {
		return nil, false
	}
	i := jsonform.Space(raw, 0)
	if raw[i] != '{' {
		return nil, false
	}
	list = make([]part, 0, 12)
	for i = jsonform.Space(raw, i+1); raw[i] != '}'; {
		end := skip(raw, i)
		name, _ := text(raw[i:end])
		i = jsonform.Space(raw, jsonform.Space(raw, end)+1) // over the colon
		end = skip(raw, i)
		list = append(list, part{string(name), raw[i:end:end]})
		if i = jsonform.Space(raw, end); raw[i] == ',' {
			i = jsonform.Space(raw, i+1)
		}
	}
	return list, true
}

// skip is where the value that begins at i ends. raw is valid JSON.
func skip(raw []byte, i int) int {
	depth := 0
	for {
		switch raw[i] {
		case '"':
			for i++; raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++ // only inside of something
		default: // a number or a word
			for i < len(raw) && !strings.ContainsRune(",:]} \t\n\r", rune(raw[i])) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// structured is the way back: the event's JSON, its members in the order in which wire writes them. A message in structured mode, or one
// that is no CloudEvent, is given as it is; then it is for the codec to say what is wrong with it.
func structured(m kafka.Message) []byte {
	if out, ok := usual(m); ok {
		return out
	}
	return anyhow(m)
}

// anyhow is structured for any message.
func anyhow(m kafka.Message) []byte {
	var content string
	attr := make(map[string][]byte, len(m.Headers))
	order := make([]string, 0, len(m.Headers))
	var others map[string]json.RawMessage
	for _, h := range m.Headers {
		name, ok := strings.CutPrefix(h.Key, attribute)
		switch {
		case ok && name != "data" && name != "data_base64":
			if _, twice := attr[name]; !twice {
				order = append(order, name)
			}
			attr[name] = h.Value
		case strings.EqualFold(h.Key, contentType):
			content = string(h.Value)
			attr["datacontenttype"] = h.Value
		case h.Key == exact:
			_ = json.Unmarshal(h.Value, &others) // when it can't be read, the strings stand
		}
	}
	if len(attr["specversion"]) == 0 || strings.HasPrefix(content, typeStructured) {
		return m.Value
	}
	out := make([]byte, 0, len(m.Value)+512)
	out = append(out, '{')
	put := func(name string) {
		v, ok := attr[name]
		if !ok {
			return
		}
		delete(attr, name)
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(appendString(out, name), ':')
		// The exact value counts only while the header still says the same.
		if o, ok := others[name]; ok && bytes.Equal(o, v) && jsonform.Valid(o) {
			out = append(out, o...)
			return
		}
		out = appendString(out, string(v))
	}
	for _, name := range attributes {
		put(name)
	}
	if string(others["data"]) == "true" {
		content = typeJSON
	}
	out = appendData(out, m.Value, content)
	for _, name := range order {
		put(name)
	}
	return append(out, '}')
}

// attributes of the events that we write, by their headers, in the order of both.
var attributes = []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "partitionkey", "sequence"}

var attributeHeaders = func() (list []string) {
	for _, a := range attributes {
		list = append(list, headerOf(a))
	}
	return list
}()

// usual is structured for a message that has no other headers than message gives to an event of ours, in that order, each once; false for any other.
func usual(m kafka.Message) ([]byte, bool) {
	out := append(make([]byte, 0, len(m.Value)+640), '{')
	next, seen := 0, 0
	for _, h := range m.Headers {
		for next < len(attributes) && attributeHeaders[next] != h.Key {
			next++
		}
		if next == len(attributes) || next == 0 && len(h.Value) == 0 {
			return nil, false
		}
		if attributes[next] == "datacontenttype" && string(h.Value) != typeJSON {
			return nil, false
		}
		if seen++; seen > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), attributes[next]...), '"', ':')
		out = appendString(out, string(h.Value))
		next++
	}
	if len(m.Headers) < 2 || m.Headers[0].Key != attributeHeaders[0] || !jsonform.Valid(m.Value) {
		return nil, false
	}
	return append(append(append(out, `,"data":`...), m.Value...), '}'), true
}

func appendData(out, value []byte, content string) []byte {
	switch {
	case value == nil:
		return out
	case isJSON(content) && jsonform.Valid(value):
		return append(append(out, `,"data":`...), value...)
	case !isJSON(content) && utf8.Valid(value):
		return appendString(append(out, `,"data":`...), string(value))
	}
	out = append(out, `,"data_base64":"`...)
	out = base64.StdEncoding.AppendEncode(out, value)
	return append(out, '"')
}

// isJSON says whether data of this content type stands as JSON; without one it does (CloudEvents JSON Format 1.0, §3.1).
func isJSON(content string) bool {
	t, _, _ := strings.Cut(strings.ToLower(content), ";")
	t = strings.TrimSpace(t)
	return t == "" || t == typeJSON || t == "text/json" || strings.HasSuffix(t, "+json")
}

// text is the value of a JSON string: a part of value where it can be.
func text(value []byte) ([]byte, bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return inner[:len(inner):len(inner)], true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return []byte(s), err == nil
}

// appendString writes s as wire does.
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

// rank puts the headers that people look for first; the rest by name, so that one event always gives the same bytes.
var rank = map[string]int{attribute + "specversion": 1, attribute + "id": 2, attribute + "source": 3, attribute + "type": 4, attribute + "subject": 5, attribute + "time": 6,
	contentType: 7, attribute + "dataschema": 8, attribute + "partitionkey": 9, attribute + "sequence": 10}

// headerOf an attribute.
func headerOf(name string) string {
	if key, known := known[name]; known {
		return key
	}
	return attribute + name
}

var known = func() map[string]string {
	m := map[string]string{}
	for key := range rank {
		m[strings.TrimPrefix(key, attribute)] = key
	}
	delete(m, contentType)
	m["datacontenttype"] = contentType
	return m
}()

func sortHeaders(list []kafka.Header) {
	slices.SortFunc(list, func(a, b kafka.Header) int {
		x, y := rank[a.Key], rank[b.Key]
		if x == 0 {
			x = len(rank) + 1
		}
		if y == 0 {
			y = len(rank) + 1
		}
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.Key, b.Key))
	})
}
