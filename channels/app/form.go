package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strconv"
	"strings"
	"unicode/utf8"

	"yingda/intake"
	"yingda/internal/gcj02"
	"yingda/internal/pii"
)

// Datums that a position may come in. What we keep is WGS-84.
const (
	WGS84 = "WGS-84"
	GCJ02 = "GCJ-02"
)

// How large a request may be.
const (
	mostJSON  = 256 << 10
	mostField = 64 << 10 // one field of a multipart form
	mostParts = 60
	mostDepth = 16
	mostBody  = mostPhotos*mostPhotoBytes + mostPhotos*4096 + mostJSON
)

// form is a submission as it was sent, in JSON or as a multipart form, before anybody has looked at what it says.
type form struct {
	text, address, phone, name, category, line, datum string
	lat, lon                                          *float64
	photos                                            []Photo
	wrong                                             []Field
	ignored                                           []string // what we do not know; said back, since it may be a slip
}

// errUnreadable is why a request cannot be read at all.
type errUnreadable struct {
	status int
	detail string
}

func (e *errUnreadable) Error() string { return e.detail }

func unreadable(status int, format string, args ...any) error {
	return &errUnreadable{status, fmt.Sprintf(format, args...)}
}

func (f *form) say(name, code, detail string) { f.wrong = append(f.wrong, Field{name, code, detail}) }

// submission is what the form says, with its position in WGS-84.
func (f *form) submission() (Submission, []Field) {
	sub := Submission{Line: intake.LineID(f.line), Category: f.category, Text: pii.NewText(f.text), Address: pii.NewAddress(f.address), Name: pii.NewName(f.name), Photos: f.photos}
	wrong := f.wrong
	if strings.TrimSpace(f.phone) != "" {
		if sub.Number = pii.NewPhone(f.phone); sub.Number.IsZero() {
			wrong = append(wrong, Field{"phone", "not_a_number", "A phone number is written in digits, with + before the country if you like; leave it out when there is none."})
		}
	}
	switch {
	case f.lat == nil && f.lon == nil:
	case f.lat == nil:
		wrong = append(wrong, Field{"position/lat", "required", "A position has lat and lon."})
	case f.lon == nil:
		wrong = append(wrong, Field{"position/lon", "required", "A position has lat and lon."})
	default:
		sub.Place = &intake.Place{Lat: *f.lat, Lon: *f.lon}
	}
	switch strings.ToUpper(strings.NewReplacer("-", "", "_", "", " ", "").Replace(f.datum)) {
	case "", "WGS84", "CGCS2000":
	case "GCJ02":
		if sub.Place != nil {
			p := gcj02.From(*sub.Place)
			sub.Place = &p
		}
	default:
		wrong = append(wrong, Field{"datum", "unknown", "datum is " + WGS84 + " or " + GCJ02 + "."})
		sub.Place = nil
	}
	return sub, wrong
}

// readJSON reads a submission. An error says that it is none; what is wrong within one stands in the form.
func readJSON(raw []byte) (*form, error) {
	if err := shallow(raw); err != nil {
		return nil, err
	}
	f := &form{}
	err := members(raw, "", f, func(name string, value json.RawMessage) bool {
		switch name {
		case "text":
			f.text = f.string(name, value)
		case "address":
			f.address = f.string(name, value)
		case "name":
			f.name = f.string(name, value)
		case "category":
			f.category = f.string(name, value)
		case "line":
			f.line = f.string(name, value)
		case "datum":
			f.datum = f.string(name, value)
		case "phone":
			if n := strings.TrimSpace(string(value)); n != "" && strings.Trim(n, "0123456789") == "" {
				f.phone = n // a number without quotes: plain enough
			} else {
				f.phone = f.string(name, value)
			}
		case "position":
			f.position(value)
		default:
			return false
		}
		return true
	})
	return f, err
}

// shallow walks the whole text once, so that what comes after deals with JSON that is whole and not deep.
func shallow(raw []byte) error {
	if !utf8.Valid(raw) { // the words would reach the office as a row of question marks
		return unreadable(400, "The body is not UTF-8, which JSON has to be (RFC 8259); is it GBK?")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	depth := 0
	for n := 0; ; n++ {
		t, err := d.Token()
		if err == io.EOF && depth == 0 && n > 0 {
			return nil
		}
		if err != nil {
			var bad *json.SyntaxError
			if errors.As(err, &bad) {
				return unreadable(400, "The body is no JSON: %s at byte %d. Send one JSON object.", bad.Error(), bad.Offset)
			}
			return unreadable(400, "The body is no JSON, or it is cut off. Send one JSON object.")
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > mostDepth {
				return unreadable(400, "The JSON is nested more than %d deep; a submission is a flat object.", mostDepth)
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		default:
			if n == 0 {
				return unreadable(400, "The body is JSON, but not an object. Send one JSON object, such as {\"text\": \"…\"}.")
			}
		}
		if n > 0 && depth == 0 && d.More() {
			return unreadable(400, "There is something after the end of the JSON object. Send one object.")
		}
	}
}

// members gives each member of a JSON object to take, which says whether it knows it. A name that stands twice is wrong: which one is meant?
func members(raw []byte, below string, f *form, take func(name string, value json.RawMessage) bool) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return unreadable(400, "The body is JSON, but not an object. Send one JSON object, such as {\"text\": \"…\"}.")
	}
	have := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return unreadable(400, "The body is no JSON. Send one JSON object.")
		}
		if have[name] {
			f.say(cut(clean(below+name, false), 60), "twice", "This member stands twice; send it once.")
			continue
		}
		have[name] = true
		if string(value) != "null" && !take(name, value) && len(f.ignored) < 20 {
			f.ignored = append(f.ignored, cut(clean(below+name, false), 60))
		}
	}
	return nil
}

func (f *form) string(name string, value json.RawMessage) (s string) {
	if json.Unmarshal(value, &s) != nil {
		f.say(name, "not_a_string", name+" is a string in quotes.")
	}
	return s
}

func (f *form) number(name, text string) *float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		f.say(name, "not_a_number", name+" is a number of degrees, such as 31.2993.")
		return nil
	}
	return &v
}

func (f *form) position(value json.RawMessage) {
	if err := members(value, "position/", f, func(name string, value json.RawMessage) bool {
		switch name {
		case "lat":
			f.lat = f.number("position/lat", string(value))
		case "lon":
			f.lon = f.number("position/lon", string(value))
		case "datum":
			f.datum = f.string("position/datum", value)
		default:
			return false
		}
		return true
	}); err != nil {
		f.say("position", "not_an_object", `position is an object, {"lat": 31.2993, "lon": 120.6195}.`)
	}
}

// readParts reads a multipart form. Photos are held as they come, since the parts can be read once only: whoever calls drops them.
func readParts(r *multipart.Reader) (*form, held, error) {
	f := &form{}
	var photos held
	fail := func(err error) (*form, held, error) {
		photos.drop()
		return nil, nil, err
	}
	seen := map[string]bool{}
	for n := 0; ; n++ {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return f, photos, nil
		}
		if err != nil {
			return fail(torn(err))
		}
		if n >= mostParts {
			return fail(unreadable(400, "The form has more than %d parts.", mostParts))
		}
		name := part.FormName()
		if name == "photo" || name == "photos" || name == "photos[]" || name == "media" {
			if len(photos) == mostPhotos {
				f.say("photos", "too_many", fmt.Sprintf("Send at most %d photos.", mostPhotos))
				if _, err := io.Copy(io.Discard, part); err != nil {
					return fail(torn(err))
				}
				continue
			}
			one, err := holdOne(part)
			if err != nil {
				return fail(torn(err))
			}
			photos = append(photos, one)
			f.photos = append(f.photos, Photo{Name: part.FileName(), held: &one})
			continue
		}
		raw, err := io.ReadAll(io.LimitReader(part, mostField+1))
		if err != nil {
			return fail(torn(err))
		}
		if len(raw) > mostField {
			return fail(unreadable(413, "A field of the form is larger than %d kB.", mostField>>10))
		}
		if seen[name] {
			f.say(cut(clean(name, false), 60), "twice", "This field stands twice; send it once.")
			continue
		}
		seen[name] = true
		text := string(raw)
		switch name {
		case "text":
			f.text = text
		case "address":
			f.address = text
		case "phone":
			f.phone = text
		case "name":
			f.name = text
		case "category":
			f.category = text
		case "line":
			f.line = text
		case "datum":
			f.datum = text
		case "lat", "position.lat", "position[lat]":
			f.lat = f.number("position/lat", text)
		case "lon", "position.lon", "position[lon]":
			f.lon = f.number("position/lon", text)
		case "position":
			if lat, lon, ok := strings.Cut(text, ","); ok && !strings.Contains(text, "{") {
				f.lat, f.lon = f.number("position/lat", lat), f.number("position/lon", lon)
			} else if shallow(raw) == nil {
				f.position(raw)
			} else {
				f.say("position", "not_an_object", `position is "31.2993,120.6195" or {"lat": 31.2993, "lon": 120.6195}.`)
			}
		default:
			if len(f.ignored) < 20 {
				f.ignored = append(f.ignored, cut(clean(name, false), 60))
			}
		}
	}
}

// torn says what is wrong with a form that ends too early or is none. What is our own trouble stays that.
func torn(err error) error {
	var bad *errUnreadable
	if errors.Is(err, ErrLater) || errors.As(err, &bad) {
		return err
	}
	if tooLarge(err) {
		return unreadable(413, "The form is larger than %d MB in all.", mostBody>>20)
	}
	return unreadable(400, "The form is cut off, or it is no multipart/form-data.")
}
