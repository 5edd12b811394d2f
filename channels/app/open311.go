package app

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// Open311 GeoReport v2 (wiki.open311.org/GeoReport_v2) over the same submissions. service_code is a category, service_request_id the contact's id;
// it is known at once, so a token is the id as well. The standard knows open and closed only: how far a request has come stands in status_notes.
//
// Two things are ours. Reading needs no key, as the standard has it, but without one a request is shown without its words, with its address cut to
// the community and its place to some hundred metres; the app that sent it sees what it sent. And a POST without Idempotency-Key that says, word for word,
// what the same app sent within ten minutes is the same request: clients of this protocol send again when an answer does not come, and have no other way.

// again311 is that time.
const again311 = 10 * time.Minute

// Pages of requests.
const (
	mostDays311 = 90
	mostPage311 = 1000
)

type (
	services311 struct {
		XMLName  xml.Name     `xml:"services" json:"-"`
		Services []service311 `xml:"service"`
	}
	service311 struct {
		Code        string `xml:"service_code" json:"service_code"`
		Name        string `xml:"service_name" json:"service_name"`
		Description string `xml:"description" json:"description"`
		Metadata    bool   `xml:"metadata" json:"metadata"`
		Type        string `xml:"type" json:"type"`
		Keywords    string `xml:"keywords" json:"keywords"`
		Group       string `xml:"group" json:"group"`
	}
	definition311 struct {
		XMLName    xml.Name       `xml:"service_definition" json:"-"`
		Code       string         `xml:"service_code" json:"service_code"`
		Attributes []attribute311 `xml:"attributes>attribute" json:"attributes"`
	}
	attribute311 struct {
		Variable    bool       `xml:"variable" json:"variable"`
		Code        string     `xml:"code" json:"code"`
		Datatype    string     `xml:"datatype" json:"datatype"`
		Required    bool       `xml:"required" json:"required"`
		Hint        string     `xml:"datatype_description" json:"datatype_description"`
		Order       int        `xml:"order" json:"order"`
		Description string     `xml:"description" json:"description"`
		Values      []value311 `xml:"values>value,omitempty" json:"values,omitempty"`
	}
	value311 struct {
		Key  string `xml:"key" json:"key"`
		Name string `xml:"name" json:"name"`
	}
	requests311 struct {
		XMLName  xml.Name `xml:"service_requests" json:"-"`
		Requests []any    `xml:"request"`
	}
	created311 struct {
		ID      intake.ContactID `xml:"service_request_id" json:"service_request_id"`
		Notice  string           `xml:"service_notice" json:"service_notice"`
		Account string           `xml:"account_id" json:"account_id"`
	}
	token311 struct {
		ID    intake.ContactID `xml:"service_request_id" json:"service_request_id"`
		Token intake.ContactID `xml:"token" json:"token"`
	}
	request311 struct {
		ID          intake.ContactID `xml:"service_request_id" json:"service_request_id"`
		Status      string           `xml:"status" json:"status"`
		Notes       string           `xml:"status_notes" json:"status_notes"`
		ServiceName string           `xml:"service_name" json:"service_name"`
		ServiceCode string           `xml:"service_code" json:"service_code"`
		Description string           `xml:"description" json:"description"`
		Agency      string           `xml:"agency_responsible" json:"agency_responsible"`
		Notice      string           `xml:"service_notice" json:"service_notice"`
		Requested   string           `xml:"requested_datetime" json:"requested_datetime"`
		Updated     string           `xml:"updated_datetime" json:"updated_datetime"`
		Expected    string           `xml:"expected_datetime" json:"expected_datetime"`
		Address     string           `xml:"address" json:"address"`
		AddressID   string           `xml:"address_id" json:"address_id"`
		Zip         string           `xml:"zipcode" json:"zipcode"`
		Lat         *float64         `xml:"lat" json:"lat"`
		Long        *float64         `xml:"long" json:"long"`
		Media       string           `xml:"media_url" json:"media_url"`
	}
	errors311 struct {
		XMLName xml.Name   `xml:"errors" json:"-"`
		Errors  []error311 `xml:"error"`
	}
	error311 struct {
		Code        int    `xml:"code" json:"code"`
		Description string `xml:"description" json:"description"`
	}
)

func (s *Server) open311Routes() {
	handle := func(pattern string, do http.HandlerFunc) {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.guarded(w, r, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet { // anybody's page may read what anybody may read
					w.Header().Set("Access-Control-Allow-Origin", "*")
				}
				if formatOf(r) == "" {
					fail311(w, "xml", 404, "Say the format at the end of the path: .xml or .json.")
					return
				}
				if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
					fail311(w, formatOf(r), 400, "The query cannot be read.")
					return
				}
				if r.Method == http.MethodGet && !s.jurisdiction(w, r, r.URL.Query().Get("jurisdiction_id")) {
					return
				}
				do(w, r)
			})
		})
	}
	handle("GET /open311/v2/{file}", func(w http.ResponseWriter, r *http.Request) {
		switch base(r) {
		case "services":
			s.services311(w, r)
		case "requests":
			s.requests311(w, r)
		case "discovery":
			s.discovery311(w, r)
		default:
			fail311(w, formatOf(r), 404, "There is nothing at this path; services, requests, tokens and discovery are.")
		}
	})
	handle("POST /open311/v2/{file}", func(w http.ResponseWriter, r *http.Request) {
		if base(r) != "requests" {
			fail311(w, formatOf(r), 404, "POST goes to /open311/v2/requests.xml or .json.")
			return
		}
		s.post311(w, r)
	})
	handle("GET /open311/v2/services/{file}", s.definition311)
	handle("GET /open311/v2/requests/{file}", s.request311)
	handle("GET /open311/v2/tokens/{file}", s.token311)
}

// base is the last part of the path without its format.
func base(r *http.Request) string {
	name, _, _ := strings.Cut(r.PathValue("file"), ".")
	return name
}

// formatOf is what the path asks for: "xml", "json", or "" when it asks for neither.
func formatOf(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, ".xml"):
		return "xml"
	case strings.HasSuffix(r.URL.Path, ".json"):
		return "json"
	}
	return ""
}

// write311 answers in the format of the path. In JSON a list stands bare, in XML it is an element.
func write311(w http.ResponseWriter, format string, status int, asXML, asJSON any) {
	var out bytes.Buffer
	kind := "text/xml; charset=utf-8"
	if format == "json" {
		kind = "application/json; charset=utf-8"
		if err := json.NewEncoder(&out).Encode(asJSON); err != nil {
			panic(err)
		}
	} else {
		out.WriteString(xml.Header)
		if err := xml.NewEncoder(&out).Encode(asXML); err != nil {
			panic(err)
		}
		out.WriteByte('\n')
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}

func fail311(w http.ResponseWriter, format string, status int, descriptions ...string) {
	e := errors311{}
	for _, d := range descriptions {
		e.Errors = append(e.Errors, error311{status, d})
	}
	write311(w, format, status, e, e.Errors)
}

func (s *Server) jurisdiction(w http.ResponseWriter, r *http.Request, id string) bool {
	if s.config.Jurisdiction == "" || id == s.config.Jurisdiction {
		return true
	}
	if id == "" {
		fail311(w, formatOf(r), 400, "jurisdiction_id was not provided. Ours is "+s.config.Jurisdiction+".")
	} else {
		fail311(w, formatOf(r), 404, "jurisdiction_id provided was not found. Ours is "+s.config.Jurisdiction+".")
	}
	return false
}

func (s *Server) discovery311(w http.ResponseWriter, r *http.Request) {
	type endpoint struct {
		Specification string   `xml:"specification" json:"specification"`
		URL           string   `xml:"url" json:"url"`
		Type          string   `xml:"type" json:"type"`
		Formats       []string `xml:"formats>format" json:"formats"`
	}
	type discovery struct {
		XMLName    xml.Name   `xml:"discovery" json:"-"`
		Changeset  string     `xml:"changeset" json:"changeset"`
		Contact    string     `xml:"contact" json:"contact"`
		KeyService string     `xml:"key_service" json:"key_service"`
		Endpoints  []endpoint `xml:"endpoints>endpoint" json:"endpoints"`
	}
	d := discovery{Changeset: "2026-11-24T00:00:00Z", Contact: s.contact(), KeyService: "The office makes keys: yingda token create --role app",
		Endpoints: []endpoint{{"http://wiki.open311.org/GeoReport_v2", "/open311/v2", "production", []string{"text/xml", "application/json"}}}}
	write311(w, formatOf(r), 200, d, d)
}

func (s *Server) contact() string {
	return strings.TrimSpace(s.config.Office + " " + s.config.Title)
}

func (s *Server) services311(w http.ResponseWriter, r *http.Request) {
	list := []service311{}
	for _, v := range s.config.Services() {
		list = append(list, service311{Code: v.Code, Name: v.Name, Description: v.Description, Metadata: len(v.Attributes) > 0, Type: "realtime", Keywords: strings.Join(v.Keywords, ","), Group: v.Group})
	}
	write311(w, formatOf(r), 200, services311{Services: list}, list)
}

func (s *Server) definition311(w http.ResponseWriter, r *http.Request) {
	code := strings.TrimSuffix(r.PathValue("file"), "."+formatOf(r))
	v, ok := s.service(code)
	if !ok {
		fail311(w, formatOf(r), 404, "service_code provided was not found")
		return
	}
	d := definition311{Code: v.Code, Attributes: []attribute311{}}
	for i, a := range v.Attributes {
		one := attribute311{Variable: true, Code: a.Code, Datatype: a.Datatype, Required: a.Required, Hint: a.Hint, Order: i + 1, Description: a.Description}
		for _, value := range a.Values {
			one.Values = append(one.Values, value311(value))
		}
		d.Attributes = append(d.Attributes, one)
	}
	write311(w, formatOf(r), 200, d, d)
}

func (s *Server) post311(w http.ResponseWriter, r *http.Request) {
	format := formatOf(r)
	values, photos, err := s.read311(w, r)
	if err != nil {
		var bad *errUnreadable
		if errors.As(err, &bad) {
			fail311(w, format, bad.status, bad.detail)
		} else {
			s.refuse311(w, format, err)
		}
		return
	}
	defer photos.drop()
	if !s.jurisdiction(w, r, first(values.Get("jurisdiction_id"), r.URL.Query().Get("jurisdiction_id"))) {
		return
	}
	v, err := s.admit(r.Context(), first(values.Get("api_key"), r.URL.Query().Get("api_key"), bearer(r)))
	if err != nil {
		s.refuse311(w, format, err)
		return
	}
	if wait, why, err := s.limits.take(r.Context(), Key{Token: v.token.ID, PerMinute: v.key.PerMinute, PerDay: v.key.PerDay}, s.now()); err != nil || why != "" {
		if err != nil {
			s.refuse311(w, format, err)
			return
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		fail311(w, format, 429, "This key may hand in "+why+". Send it again later.")
		return
	}
	sub, wrong := s.from311(values)
	for i := range photos {
		sub.Photos = append(sub.Photos, Photo{held: &photos[i]})
	}
	sub.Token, sub.Origin = v.token.ID, v.token.Name
	if sub.Line == "" {
		sub.Line = v.key.Line
	}
	sub.Key = quoted(r.Header.Get("Idempotency-Key"))
	if sub.Key == "" {
		sub.Key = s.key311(sub, photos)
	}
	receipt, err := s.submit(r.Context(), sub, wrong)
	if err != nil {
		s.refuse311(w, format, err)
		return
	}
	if receipt.Replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	notice := "回执号 " + receipt.Number + "，凭它和电话末四位查进度。"
	if receipt.Drawn {
		notice = "回执号 " + receipt.Number + "，查询码 " + receipt.Code + "，凭这两样查进度。"
	}
	one := created311{ID: receipt.Contact, Notice: notice, Account: ""}
	write311(w, format, http.StatusCreated, requests311{Requests: []any{one}}, []any{one})
}

// key311 stands for an idempotency key where none was sent: the same content from the same app has the same key for ten minutes after its first.
func (s *Server) key311(sub Submission, photos held) string {
	tidied, _ := s.tidy(Submission{Key: "-", Token: sub.Token, Line: sub.Line, Category: sub.Category, Text: sub.Text, Address: sub.Address, Place: sub.Place, Number: sub.Number,
		Name: sub.Name, Photos: sub.Photos, Details: sub.Details})
	body := contentOf(tidied, photos)
	slot := s.now().Unix() / int64(again311/time.Second)
	key := func(slot int64) string { return "open311/" + body + "/" + strconv.FormatInt(slot, 10) }
	// The one before, when that was sent less than ten minutes ago: else two that straddle the edge of a slot would be two.
	if have, err := s.claimOf(s.ctx, digest("key", sub.Token, key(slot-1))); err == nil && s.now().Sub(have.at) < again311 {
		return key(slot - 1)
	}
	return key(slot)
}

func (s *Server) refuse311(w http.ResponseWriter, format string, err error) {
	var invalid *Invalid
	switch {
	case errors.As(err, &invalid):
		var list []string
		for _, f := range invalid.Fields {
			list = append(list, names311(f.Name)+": "+f.Detail)
		}
		fail311(w, format, 400, list...)
	case errors.Is(err, ErrConflict):
		fail311(w, format, 400, "This Idempotency-Key was used for a request with other content.")
	case errors.Is(err, errNoKey):
		fail311(w, format, 403, "Missing api_key. The office makes one with: yingda token create --role app")
	case errors.Is(err, errBadKey), errors.Is(err, errWrongKey):
		fail311(w, format, 403, "Invalid api_key: it is not known, was revoked, has ended, or is for something else.")
	case errors.Is(err, ErrNotFound):
		fail311(w, format, 404, "service_request_id was not found")
	default:
		if !errors.Is(err, ErrLater) && !errors.Is(err, ErrClosed) {
			s.slog.Error("open311", "err", err)
		}
		w.Header().Set("Retry-After", "5")
		fail311(w, format, 503, "Not now. Send it again in a few seconds; nothing is doubled.")
	}
}

// names311 says a field as this protocol does.
func names311(field string) string {
	switch field {
	case "text":
		return "description"
	case "address":
		return "address_string"
	case "position/lat":
		return "lat"
	case "position/lon":
		return "long"
	case "category":
		return "service_code"
	}
	return field
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// read311 reads the parameters of a POST: a form, as the standard says, a multipart form with pictures as media, or a flat XML element.
func (s *Server) read311(w http.ResponseWriter, r *http.Request) (url.Values, held, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	switch kind {
	case "multipart/form-data":
		if params["boundary"] == "" || len(params["boundary"]) > 70 {
			return nil, nil, unreadable(400, "The Content-Type names no boundary.")
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadTime))
		return parts311(multipart.NewReader(http.MaxBytesReader(w, r.Body, mostBody), params["boundary"]))
	case "application/x-www-form-urlencoded", "text/xml", "application/xml":
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostJSON))
		if tooLarge(err) {
			return nil, nil, unreadable(413, "The body is larger than %d kB.", mostJSON>>10)
		}
		if err != nil {
			return nil, nil, unreadable(400, "The body did not come whole.")
		}
		if kind != "application/x-www-form-urlencoded" {
			v, err := flatXML(raw)
			return v, nil, err
		}
		v, err := url.ParseQuery(string(raw))
		if err != nil || len(v) > mostParts {
			return nil, nil, unreadable(400, "The body is no application/x-www-form-urlencoded form, or has too many fields.")
		}
		return v, nil, nil
	}
	return nil, nil, unreadable(415, "Send a POST as application/x-www-form-urlencoded, or as multipart/form-data with pictures as media.")
}

func parts311(r *multipart.Reader) (url.Values, held, error) {
	v := url.Values{}
	var photos held
	fail := func(err error) (url.Values, held, error) {
		photos.drop()
		return nil, nil, torn(err)
	}
	for n := 0; ; n++ {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return v, photos, nil
		}
		if err != nil {
			return fail(err)
		}
		if n >= mostParts {
			return fail(unreadable(400, "The form has more than %d parts.", mostParts))
		}
		if name := part.FormName(); name == "media" || name == "media[]" {
			if len(photos) == mostPhotos {
				return fail(unreadable(400, "Send at most %d pictures.", mostPhotos))
			}
			one, err := holdOne(part)
			if err != nil {
				return fail(err)
			}
			photos = append(photos, one)
			continue
		}
		raw, err := io.ReadAll(io.LimitReader(part, mostField+1))
		if err != nil {
			return fail(err)
		}
		if len(raw) > mostField {
			return fail(unreadable(413, "A field of the form is larger than %d kB.", mostField>>10))
		}
		v.Add(part.FormName(), string(raw))
	}
}

// flatXML reads an element whose children are the parameters, as some clients send it. What makes XML dangerous (a document type, entities of one's own,
// processing instructions beside the first) is refused before it means anything.
func flatXML(raw []byte) (url.Values, error) {
	d := xml.NewDecoder(bytes.NewReader(raw))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errors.New("only UTF-8 is read") }
	v := url.Values{}
	var path []string
	var text strings.Builder
	for n := 0; ; n++ {
		t, err := d.Token()
		if err == io.EOF && len(path) == 0 && n > 0 {
			return v, nil
		}
		if err != nil {
			return nil, unreadable(400, "The body is no XML that we read; send a form (application/x-www-form-urlencoded).")
		}
		if n > 10*mostParts {
			return nil, unreadable(400, "The XML has too many parts.")
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, unreadable(400, "XML with a document type or entities of its own is not read.")
		case xml.ProcInst:
			if n > 0 {
				return nil, unreadable(400, "XML with processing instructions is not read.")
			}
		case xml.StartElement:
			if path = append(path, t.Name.Local); len(path) > 4 {
				return nil, unreadable(400, "The XML is nested too deep; a request is one element with its fields below it.")
			}
			text.Reset()
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			if len(path) > 1 {
				if s := strings.TrimSpace(text.String()); s != "" {
					v.Add(path[len(path)-1], s)
				}
			}
			path = path[:len(path)-1]
			text.Reset()
		}
	}
}

// from311 makes a submission of the parameters.
func (s *Server) from311(v url.Values) (Submission, []Field) {
	f := form{text: v.Get("description"), address: v.Get("address_string"), phone: v.Get("phone"), category: v.Get("service_code"), datum: v.Get("datum"), line: v.Get("line"),
		name: strings.TrimSpace(v.Get("last_name") + v.Get("first_name"))}
	if latin(f.name) {
		f.name = strings.TrimSpace(v.Get("first_name") + " " + v.Get("last_name"))
	}
	if t := v.Get("lat"); t != "" {
		f.lat = f.number("position/lat", t)
	}
	if t := first(v.Get("long"), v.Get("lon")); t != "" {
		f.lon = f.number("position/lon", t)
	}
	if f.category == "" {
		f.say("category", "required", "service_code was not provided.")
	}
	if f.lat == nil && f.lon == nil && f.address == "" && v.Get("address_id") == "" && len(f.wrong) == 0 {
		f.say("position", "required", "Say where it is: lat and long, or address_string.")
	}
	service, _ := s.service(f.category)
	if f.text == "" && service.Name != "" && v.Get("media_url") == "" {
		f.text = service.Name // description is optional here; the kind of matter says what it is
	}
	sub, wrong := f.submission()
	answers := map[string][]string{}
	for name, list := range v {
		if code, ok := attributeName(name); ok {
			answers[code] = append(answers[code], list...)
		}
	}
	for _, a := range service.Attributes {
		given := answers[a.Code]
		delete(answers, a.Code)
		if len(given) == 0 || strings.Join(given, "") == "" {
			if a.Required {
				wrong = append(wrong, Field{"attribute[" + a.Code + "]", "required", "This service asks for it: " + a.Description})
			}
			continue
		}
		for i, g := range given {
			if len(a.Values) > 0 {
				at := slices.IndexFunc(a.Values, func(v Value) bool { return v.Key == g })
				if at < 0 {
					wrong = append(wrong, Field{"attribute[" + a.Code + "]", "unknown", "It is none of the values of this attribute."})
					continue
				}
				given[i] = a.Values[at].Name
			} else if a.Datatype == "number" {
				if _, err := strconv.ParseFloat(g, 64); err != nil {
					wrong = append(wrong, Field{"attribute[" + a.Code + "]", "not_a_number", "It is a number."})
				}
			}
		}
		sub.Details = append(sub.Details, Detail{a.Description, pii.NewText(strings.Join(given, "、"))})
	}
	for _, code := range slices.Sorted(keysOf(answers)) {
		sub.Details = append(sub.Details, Detail{code, pii.NewText(strings.Join(answers[code], "、"))})
	}
	if email := v.Get("email"); email != "" {
		sub.Details = append(sub.Details, Detail{"邮箱", pii.NewText(email)})
	}
	if id := v.Get("address_id"); id != "" {
		sub.Details = append(sub.Details, Detail{"地址编号", pii.NewText(id)})
	}
	if link := v.Get("media_url"); link != "" { // named to whoever works on it; we never fetch it
		if u, err := url.Parse(link); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(link) > 900 {
			wrong = append(wrong, Field{"media_url", "not_a_url", "media_url is an http or https URL of at most 900 characters."})
		} else {
			sub.Details = append(sub.Details, Detail{mediaLink, pii.NewText(link)})
		}
	}
	return sub, wrong
}

const mediaLink = "图片链接"

// attributeName takes the code out of attribute[code] and attribute[code][].
func attributeName(name string) (string, bool) {
	code, ok := strings.CutPrefix(name, "attribute[")
	if !ok {
		return "", false
	}
	code = strings.TrimSuffix(strings.TrimSuffix(code, "[]"), "]")
	return code, code != "" && !strings.ContainsAny(code, "[]")
}

func latin(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 0x24f }) < 0
}

// reader says who reads: the id of the app's token, "" for anybody. A key that is sent and no good is refused.
func (s *Server) reader(w http.ResponseWriter, r *http.Request) (token string, ok bool) {
	secret := first(r.URL.Query().Get("api_key"), bearer(r))
	if secret == "" {
		if s.config.ClosedReads {
			fail311(w, formatOf(r), 403, "Missing api_key: this office shows requests to apps with a key only.")
			return "", false
		}
		return "", true
	}
	v, err := s.admit(r.Context(), secret)
	if err != nil {
		s.refuse311(w, formatOf(r), err)
		return "", false
	}
	return v.token.ID, true
}

const claimsWithCase = `SELECT s.contact, COALESCE(s.key, ''), s.body, COALESCE(s.receipt, ''), s.code, s.token, s.origin, s.line, s.category, s.outcome, s.reason, s.epoch, s.at, s.seen, s.state,
	s.case_id, s.changed, s.photos, s.data, COALESCE(c.department, ''), COALESCE(c.deadline, 0), COALESCE(c.result, ''), COALESCE(c.answer, '')
	FROM app_submissions s LEFT JOIN app_cases c ON c.id = s.case_id WHERE s.outcome = 'accepted' AND s.token <> '' `

// list311 reads submissions for a reader; "" sees what may be shown to anybody.
func (s *Server) list311(r *http.Request, token, where string, args ...any) ([]any, error) {
	rows, err := s.config.DB.Query(r.Context(), claimsWithCase+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []any{}
	for rows.Next() {
		var department, result, text string
		var deadline int64
		c, err := scanClaim(rows.Scan, &department, &deadline, &result, &text)
		if err != nil {
			return nil, err
		}
		list = append(list, s.shown311(c, token != "" && token == c.token, department, store.Time(deadline), result, text))
	}
	return list, rows.Err()
}

// notes311 is how far a request has come, in a sentence.
var notes311 = map[State]string{Received: "已收到", Routed: "已登记，等待派单", Dispatched: "已派单", Taken: "已签收", InProgress: "正在办理", Returned: "已退回，重新派单", Answered: "已办理，等待核实", Closed: "已办结"}

func (s *Server) shown311(c claim, own bool, department string, deadline time.Time, result, text string) request311 {
	v, _ := s.service(c.category)
	q := request311{ID: c.contact, Status: "open", Notes: notes311[c.state], ServiceName: v.Name, ServiceCode: c.category, Agency: department, Requested: c.at.Format(time.RFC3339), Updated: c.changed.Format(time.RFC3339)}
	if c.state == Closed {
		q.Status = "closed"
	}
	if !deadline.IsZero() {
		q.Expected = deadline.Format(time.RFC3339)
	}
	if own {
		q.Description, q.Address = c.said.Text, c.said.Address
		if c.state == Closed && text != "" {
			q.Notes = text
		}
		for _, d := range c.said.Details {
			if d.Name == mediaLink {
				q.Media = d.Value
			}
		}
	} else {
		q.Address = pii.NewAddress(c.said.Address).String()
	}
	if p := c.said.Place; p != nil {
		lat, lon := p.Lat, p.Lon
		if !own {
			lat, lon = coarse(lat), coarse(lon)
		}
		q.Lat, q.Long = &lat, &lon
	}
	return q
}

// coarse cuts degrees to three places: some hundred metres.
func coarse(deg float64) float64 { return float64(int64(deg*1000)) / 1000 }

// secret311 are the services whose requests are shown to nobody but who sent them.
func (s *Server) secret311() (list []any) {
	for _, v := range s.config.Services() {
		if v.Secret {
			list = append(list, v.Code)
		}
	}
	return list
}

// mayRead adds to a condition that secret requests are the sender's own.
func (s *Server) mayRead(token string) (where string, args []any) {
	secret := s.secret311()
	if len(secret) == 0 {
		return "", nil
	}
	return " AND (s.category NOT IN (" + marks(len(secret)) + ") OR s.token = ? AND s.token <> '')", append(secret, token)
}

func (s *Server) requests311(w http.ResponseWriter, r *http.Request) {
	format := formatOf(r)
	token, ok := s.reader(w, r)
	if !ok {
		return
	}
	q := r.URL.Query()
	var where strings.Builder
	var args []any
	var wrong []string
	if ids := list311(q.Get("service_request_id")); len(ids) > 0 {
		if len(ids) > 200 {
			wrong = append(wrong, "service_request_id: ask for at most 200 at once")
			ids = ids[:200]
		}
		where.WriteString(" AND s.contact IN (" + marks(len(ids)) + ")")
		args = append(args, ids...)
	} else {
		start, end, err := window311(q.Get("start_date"), q.Get("end_date"), s.now())
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		where.WriteString(" AND s.at >= ? AND s.at <= ?")
		args = append(args, store.Millis(start), store.Millis(end))
		if codes := list311(q.Get("service_code")); len(codes) > 0 {
			if len(codes) > 200 {
				codes = codes[:200]
			}
			where.WriteString(" AND s.category IN (" + marks(len(codes)) + ")")
			args = append(args, codes...)
		}
		switch states := list311(q.Get("status")); {
		case len(states) == 0, len(states) == 2 && slices.Contains(states, "open") && slices.Contains(states, "closed"):
		case len(states) == 1 && states[0] == "open":
			where.WriteString(" AND s.state <> 'closed'")
		case len(states) == 1 && states[0] == "closed":
			where.WriteString(" AND s.state = 'closed'")
		default:
			wrong = append(wrong, "status is open, closed, or both with a comma")
		}
	}
	page, size := 1, mostPage311
	for name, into := range map[string]*int{"page": &page, "page_size": &size} {
		if text := q.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 1_000_000 {
				wrong = append(wrong, name+" is a whole number from 1")
				continue
			}
			*into = n
		}
	}
	size = min(size, mostPage311)
	if len(wrong) > 0 {
		slices.Sort(wrong)
		fail311(w, format, 400, wrong...)
		return
	}
	more, with := s.mayRead(token)
	where.WriteString(" AND (s.seen = 1 OR s.at > ?)") // what a crash kept out of the stream is not there until it is
	args = append(args, store.Millis(s.now().Add(-time.Minute)))
	where.WriteString(more + " ORDER BY s.at DESC, s.contact DESC LIMIT ? OFFSET ?")
	args = append(append(args, with...), size, (page-1)*size)
	list, err := s.list311(r, token, where.String(), args...)
	if err != nil {
		s.refuse311(w, format, err)
		return
	}
	write311(w, format, 200, requests311{Requests: list}, list)
}

// list311 takes a list with commas apart.
func list311(text string) (list []any) {
	for _, one := range strings.Split(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, one)
		}
	}
	return list
}

// window311 is the span of GET requests: 90 days at most, up to now when nothing is said.
func window311(start, end string, now time.Time) (from, to time.Time, err error) {
	most := mostDays311 * 24 * time.Hour
	read := func(name, text string) (t time.Time) {
		if text == "" || err != nil {
			return
		}
		if t, err = time.Parse(time.RFC3339, strings.ReplaceAll(text, " ", "+")); err != nil {
			err = fmt.Errorf("%s is a time such as 2026-11-24T00:00:00Z (w3.org/TR/NOTE-datetime)", name)
		}
		return t
	}
	from, to = read("start_date", start), read("end_date", end)
	switch {
	case err != nil:
		return from, to, err
	case from.IsZero() && to.IsZero():
		return now.Add(-most), now, nil
	case to.IsZero():
		to = from.Add(most)
	case from.IsZero():
		from = to.Add(-most)
	}
	if to.Before(from) {
		return from, to, errors.New("end_date is before start_date")
	}
	if to.Sub(from) > most {
		return from, to, fmt.Errorf("start_date and end_date span more than %d days", mostDays311)
	}
	return from, to, nil
}

func (s *Server) request311(w http.ResponseWriter, r *http.Request) {
	format := formatOf(r)
	token, ok := s.reader(w, r)
	if !ok {
		return
	}
	more, with := s.mayRead(token)
	list, err := s.list311(r, token, " AND s.contact = ?"+more, append([]any{base(r)}, with...)...)
	switch {
	case err != nil:
		s.refuse311(w, format, err)
	case len(list) == 0:
		fail311(w, format, 404, "service_request_id was not found")
	default:
		write311(w, format, 200, requests311{Requests: list}, list)
	}
}

func (s *Server) token311(w http.ResponseWriter, r *http.Request) {
	var id string
	err := s.config.DB.QueryRow(r.Context(), "SELECT contact FROM app_submissions WHERE contact = ? AND outcome = 'accepted' AND token <> ''", base(r)).Scan(&id)
	if err != nil {
		fail311(w, formatOf(r), 404, "token was not found")
		return
	}
	one := token311{intake.ContactID(id), intake.ContactID(id)}
	write311(w, formatOf(r), 200, requests311{Requests: []any{one}}, []any{one})
}
