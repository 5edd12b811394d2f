package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"yingda/intake"
)

// SubmissionBody is what an app sends, as the OpenAPI document describes it.
type SubmissionBody struct {
	Text     string        `json:"text" maxLength:"4000" doc:"What the matter is, in the resident's words. Required when there is no photo." example:"三幢二单元楼道灯不亮，晚上看不见台阶"`
	Address  string        `json:"address,omitempty" maxLength:"300" doc:"Where it is, in words." example:"柳荫一村 3 幢"`
	Position *PositionBody `json:"position,omitempty" doc:"Where it is, in degrees."`
	Datum    string        `json:"datum,omitempty" enum:"WGS-84,GCJ-02" default:"WGS-84" doc:"What position is measured in. Chinese maps (高德, 腾讯) and their SDKs give GCJ-02; it is converted."`
	Phone    string        `json:"phone,omitempty" doc:"Where the resident can be reached. Its last four digits open the status; without it four digits are drawn and given as code." example:"13800005678"`
	Name     string        `json:"name,omitempty" maxLength:"60" doc:"What the resident is called." example:"王"`
	Category string        `json:"category,omitempty" doc:"Code of the kind of matter, from GET /api/v1/services. Leave it out when none fits: the office finds it." example:"lighting"`
	Line     string        `json:"line,omitempty" doc:"Key of the line it is meant for; the app's own when left out."`
}

// PositionBody is a point on the earth.
type PositionBody struct {
	Lat float64 `json:"lat" minimum:"-90" maximum:"90" example:"31.2993"`
	Lon float64 `json:"lon" minimum:"-180" maximum:"180" example:"120.6195"`
}

// ReceiptBody is what an app gets for a submission.
type ReceiptBody struct {
	ID         intake.ContactID `json:"id" doc:"The same in log, search, case and status."`
	Receipt    string           `json:"receipt" doc:"Eight digits for the resident, the last a check digit." example:"2048 7135"`
	Code       string           `json:"code,omitempty" doc:"Only without phone: four digits that open the status in place of the number's last four. Tell the resident."`
	ReceivedAt string           `json:"received_at" format:"date-time"`
	Status     string           `json:"status" doc:"Path of the status; add ?last4=."`
	Ignored    []string         `json:"ignored,omitempty" doc:"Members that we do not know and did not read: a slip of the pen?"`
}

// StatusBody is how a submission stands.
type StatusBody struct {
	ID         intake.ContactID `json:"id"`
	Receipt    string           `json:"receipt"`
	State      State            `json:"state" enum:"received,routed,dispatched,accepted,in_progress,returned,answered,closed" doc:"received: written down. routed: it is a case. dispatched: sent to whoever sees to it. accepted: they have it. in_progress: they work on it. returned: somebody else must take it. answered: done, being checked. closed."`
	ReceivedAt string           `json:"received_at" format:"date-time"`
	ChangedAt  string           `json:"changed_at" format:"date-time"`
	Case       intake.CaseID    `json:"case,omitempty"`
	CaseNumber string           `json:"case_number,omitempty" example:"W-2026-04817"`
	Category   string           `json:"category,omitempty"`
	Grid       intake.GridID    `json:"grid,omitempty"`
	Department string           `json:"department,omitempty"`
	Deadline   string           `json:"deadline,omitempty" format:"date-time"`
	Result     string           `json:"result,omitempty"`
	Answer     string           `json:"answer,omitempty" doc:"What was done, once it is closed."`
	Photos     int              `json:"photos"`
	Steps      []StepBody       `json:"steps"`
}

// StepBody is one thing that happened.
type StepBody struct {
	What string `json:"what"`
	At   string `json:"at" format:"date-time"`
}

// ServiceBody is a kind of matter.
type ServiceBody struct {
	Code        string `json:"code"`
	Name        string `json:"name"`
	Group       string `json:"group,omitempty"`
	Description string `json:"description,omitempty"`
}

// ServicesBody lists them.
type ServicesBody struct {
	Services []ServiceBody `json:"services"`
}

// Problem is an error (RFC 9457). detail says what to do.
type Problem struct {
	Type   string           `json:"type" format:"uri-reference"`
	Title  string           `json:"title"`
	Status int              `json:"status"`
	Detail string           `json:"detail"`
	ID     intake.ContactID `json:"id,omitempty" doc:"The contact as which a submission that cannot be accepted was written down."`
	Errors []ProblemField   `json:"errors,omitempty"`
}

// ProblemField is one thing that is wrong.
type ProblemField struct {
	Pointer string `json:"pointer" doc:"JSON Pointer (RFC 6901) of the member."`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

func answer(w http.ResponseWriter, status int, kind string, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(append(raw, '\n'))
}

func say(w http.ResponseWriter, status int, title, detail string, fields ...Field) {
	p := Problem{Type: "about:blank", Title: title, Status: status, Detail: detail}
	for _, f := range fields {
		p.Errors = append(p.Errors, ProblemField{"/" + f.Name, f.Code, f.Detail})
	}
	answer(w, status, "application/problem+json", p)
}

// refuse turns an error into an answer.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	var bad *errUnreadable
	var invalid *Invalid
	switch {
	case errors.As(err, &bad):
		say(w, bad.status, http.StatusText(bad.status), bad.detail)
	case errors.As(err, &invalid):
		p := Problem{Type: "about:blank", Title: "the submission cannot be accepted", Status: 422, ID: invalid.Contact,
			Detail: "Mend what errors names and send it again; the same Idempotency-Key may be used."}
		for _, f := range invalid.Fields {
			p.Errors = append(p.Errors, ProblemField{"/" + f.Name, f.Code, f.Detail})
		}
		answer(w, 422, "application/problem+json", p)
	case errors.Is(err, ErrConflict):
		say(w, 422, "the idempotency key is taken", "This Idempotency-Key was used for a submission with other content. Use a new key for a new submission; to ask again, send the same content.")
	case errors.Is(err, errNoKey):
		w.Header().Set("WWW-Authenticate", `Bearer realm="yingda"`)
		say(w, 401, "no key", "Send the app's key in the header Authorization: Bearer ydt_… The office makes one with: yingda token create --role app.")
	case errors.Is(err, errBadKey):
		w.Header().Set("WWW-Authenticate", `Bearer realm="yingda", error="invalid_token"`)
		say(w, 401, "the key is not good", "This key is not known, was revoked, or has ended. Ask the office for a new one.")
	case errors.Is(err, errWrongKey):
		w.Header().Set("WWW-Authenticate", `Bearer realm="yingda", error="insufficient_scope"`)
		say(w, 403, "the key is for something else", "Submissions need a key of role app. Ask the office for one.")
	case errors.Is(err, ErrNotFound):
		say(w, 404, "not found", "There is no submission with this receipt and these four digits. Check both: the receipt has eight digits; the four are the last ones of the phone number that was given, or the code that came with the receipt.")
	case errors.Is(err, ErrTooOften):
		w.Header().Set("Retry-After", "3600")
		say(w, 429, "too many tries", "Too many wrong tries. Wait an hour and try again.")
	case errors.Is(err, context.Canceled):
		// whoever asked has gone
	default:
		if !errors.Is(err, ErrLater) && !errors.Is(err, ErrClosed) {
			s.slog.Error("submissions", "err", err)
		}
		w.Header().Set("Retry-After", "5")
		say(w, 503, "not now", "It cannot be written down at this moment. Send it again in a few seconds with the same Idempotency-Key; nothing is doubled.")
	}
}

func tooLarge(err error) bool {
	var large *http.MaxBytesError
	return errors.As(err, &large)
}

func (s *Server) routes() {
	s.mux = http.NewServeMux()
	config := huma.DefaultConfig(strings.TrimSpace(s.config.Office+" 诉求提交接口 / submissions"), "1.0.0")
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", "" // we serve them, without anybody's network
	config.CreateHooks = nil                                             // no $schema member in what we send
	config.Info.Description = apiText
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer", Description: "Key of an app, ydt_…: yingda token create --role app"}}
	api := humago.New(s.mux, config)
	add := func(op *huma.Operation, do http.HandlerFunc) {
		api.OpenAPI().AddOperation(op)
		api.Adapter().Handle(op, func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			s.guarded(w, r, do)
		})
	}
	schema := func(v any) *huma.Schema {
		return config.Components.Schemas.Schema(reflect.TypeOf(v), true, "")
	}
	json := func(description string, v any) *huma.Response {
		return &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/json": {Schema: schema(v)}}}
	}
	problem := func(description string) *huma.Response {
		return &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema(Problem{})}}}
	}
	secured := []map[string][]string{{"key": {}}}
	text := &huma.Schema{Type: "string"}
	add(&huma.Operation{OperationID: "submit", Method: "POST", Path: "/api/v1/submissions", Summary: "Hand in a submission", Security: secured, Tags: []string{"submissions"},
		Description: "Durable when the answer is 201. Sent again with the same Idempotency-Key and the same content it is answered the same way, with the header Idempotency-Replayed: true, and is one submission; the key is remembered for " + strconv.Itoa(int(s.config.KeysLast.Hours())) + " hours.",
		Parameters: []*huma.Param{{Name: "Idempotency-Key", In: "header", Required: true, Schema: &huma.Schema{Type: "string", MinLength: new(1), MaxLength: new(mostKey)},
			Description: "1 to 255 characters, made anew for each submission (a UUID) and sent again with it when the answer did not come."}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: schema(SubmissionBody{})},
			"multipart/form-data": {Schema: &huma.Schema{Type: "object", Description: "The same members as fields, position as lat and lon, and up to 6 photos (JPEG, PNG, WebP, GIF; 12 MB each).", Properties: map[string]*huma.Schema{
				"text": text, "address": text, "phone": text, "name": text, "category": text, "line": text, "datum": text, "lat": {Type: "number"}, "lon": {Type: "number"},
				"photo": {Type: "array", Items: &huma.Schema{Type: "string", Format: "binary"}, MaxItems: new(mostPhotos), Description: "One part for each photo. Drawn anew without what its file says of place, time and camera."}}}}}},
		Responses: map[string]*huma.Response{"201": json("It is written down.", ReceiptBody{}), "400": problem("The request cannot be read."), "401": problem("No key, or one that is not good."), "403": problem("The key is for something else."),
			"413": problem("Too large."), "415": problem("Neither JSON nor a multipart form."), "422": problem("Something in it is wrong, or the key was used for something else."), "429": problem("More than the key's limit; Retry-After says when."), "503": problem("Not now; send it again with the same key.")}}, s.post)
	add(&huma.Operation{OperationID: "status", Method: "GET", Path: "/api/v1/submissions/{receipt}", Summary: "How a submission stands", Tags: []string{"submissions"},
		Description: "Needs no key: the receipt and the four digits open it.",
		Parameters: []*huma.Param{{Name: "receipt", In: "path", Required: true, Schema: text, Description: "Eight digits, with or without the space."},
			{Name: "last4", In: "query", Required: true, Schema: text, Description: "The last four digits of the phone number that was given, or the code that came with the receipt."}},
		Responses: map[string]*huma.Response{"200": json("How it stands.", StatusBody{}), "404": problem("No such receipt, or not with these digits: the same answer for both."), "429": problem("Too many wrong tries.")}}, s.getStatus)
	add(&huma.Operation{OperationID: "services", Method: "GET", Path: "/api/v1/services", Summary: "Kinds of matter", Tags: []string{"submissions"},
		Responses: map[string]*huma.Response{"200": json("The categories of the office.", ServicesBody{})}}, s.getServices)
	for _, one := range config.Components.Schemas.Map() {
		one.AdditionalProperties = nil // fields are added within a version; a client lets those pass that it does not know
	}
	s.docsRoutes(api.OpenAPI())
	s.open311Routes()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/open311/") {
			fail311(w, formatOf(r), 404, "There is nothing at this path. Begin with /open311/v2/services.xml or .json.")
			return
		}
		status, title := 404, "not found"
		if r.URL.Path == "/api/v1/submissions" {
			w.Header().Set("Allow", "POST")
			status, title = 405, "method not allowed"
		}
		say(w, status, title, "There is nothing here for this method and path; /api/v1/docs says what there is.")
	})
}

// guarded runs a handler with what holds for all: nothing is kept by caches, and a mistake of ours ends one request only.
func (s *Server) guarded(w http.ResponseWriter, r *http.Request, do http.HandlerFunc) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	defer func() {
		if bug := recover(); bug != nil {
			if bug == http.ErrAbortHandler {
				panic(bug)
			}
			s.slog.Error("submissions: a request broke its handler", "panic", bug, "path", r.Pattern)
			say(w, 500, "internal error", "This is our mistake. Send it again with the same Idempotency-Key; nothing is doubled.")
		}
	}()
	do(w, r)
}

// quoted takes the quotes off an Idempotency-Key: the IETF draft writes it as a string of RFC 8941, most apps without.
func quoted(key string) string {
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		return key[1 : len(key)-1]
	}
	return key
}

// pass looks at key and limit, and says how the request is refused when it is.
func (s *Server) pass(w http.ResponseWriter, r *http.Request, secret string) (visitor, bool) {
	v, err := s.admit(r.Context(), secret)
	if err != nil {
		s.refuse(w, err)
		return v, false
	}
	return v, s.within(w, r, v)
}

func (s *Server) within(w http.ResponseWriter, r *http.Request, v visitor) bool {
	wait, why, err := s.limits.take(r.Context(), Key{Token: v.token.ID, PerMinute: v.key.PerMinute, PerDay: v.key.PerDay}, s.now())
	if err != nil {
		s.refuse(w, err)
		return false
	}
	if why != "" {
		seconds := int(wait/time.Second) + 1
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		say(w, 429, "over the limit", fmt.Sprintf("This key may hand in %s. Keep the submission and send it again in %d s with the same Idempotency-Key.", why, seconds))
		return false
	}
	return true
}

func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	v, ok := s.pass(w, r, bearer(r))
	if !ok {
		return
	}
	key := quoted(r.Header.Get("Idempotency-Key"))
	if key == "" || len(key) > mostKey || len(r.Header.Values("Idempotency-Key")) > 1 {
		say(w, 400, "no idempotency key", "Send one header Idempotency-Key of 1 to 255 characters, made anew for each submission (a UUID), and send the same again when the answer did not come.")
		return
	}
	f, photos, err := s.read(w, r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	defer photos.drop()
	sub, wrong := f.submission()
	sub.Key, sub.Token, sub.Origin = key, v.token.ID, v.token.Name
	if sub.Line == "" {
		sub.Line = v.key.Line
	}
	receipt, err := s.submit(r.Context(), sub, wrong)
	if err != nil {
		s.refuse(w, err)
		return
	}
	path := "/api/v1/submissions/" + strings.ReplaceAll(receipt.Number, " ", "")
	body := ReceiptBody{ID: receipt.Contact, Receipt: receipt.Number, ReceivedAt: receipt.At.UTC().Format(stamp), Status: path, Ignored: f.ignored}
	if receipt.Drawn {
		body.Code = receipt.Code
	}
	w.Header().Set("Location", path)
	if receipt.Replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	answer(w, http.StatusCreated, "application/json; charset=utf-8", body)
}

// read reads the body by its type.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (*form, held, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && r.Header.Get("Content-Encoding") != "" {
		return nil, nil, unreadable(415, "Send the body as it is, without Content-Encoding.")
	}
	switch {
	case err == nil && (kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")):
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostJSON))
		if err != nil {
			if tooLarge(err) {
				return nil, nil, unreadable(413, "The body is larger than %d kB. Photos go as multipart/form-data.", mostJSON>>10)
			}
			return nil, nil, unreadable(400, "The body did not come whole.")
		}
		f, err := readJSON(raw)
		return f, nil, err
	case err == nil && kind == "multipart/form-data":
		if params["boundary"] == "" || len(params["boundary"]) > 70 {
			return nil, nil, unreadable(400, "The Content-Type names no boundary; let your library write it.")
		}
		slow := time.Now().Add(uploadTime) // photos over a poor line take longer than a page
		_ = http.NewResponseController(w).SetReadDeadline(slow)
		return readParts(multipart.NewReader(http.MaxBytesReader(w, r.Body, mostBody), params["boundary"]))
	}
	return nil, nil, unreadable(415, "Send the submission as application/json, or as multipart/form-data when there are photos.")
}

// uploadTime is how long a form with photos may take to come.
const uploadTime = 5 * time.Minute

func (s *Server) from(r *http.Request) string {
	if s.config.From != nil {
		return s.config.From(r)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) {
	from := "from/" + s.from(r)
	if s.tries.full(from, mostFrom, s.now()) {
		s.refuse(w, ErrTooOften)
		return
	}
	st, err := s.Status(r.Context(), r.PathValue("receipt"), r.URL.Query().Get("last4"))
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			s.tries.wrong(from, s.now())
		}
		s.refuse(w, err)
		return
	}
	body := StatusBody{ID: st.Contact, Receipt: st.Number, State: st.State, ReceivedAt: st.At.UTC().Format(stamp), ChangedAt: st.Changed.UTC().Format(stamp), Case: st.Case, CaseNumber: st.CaseNumber,
		Category: st.Category, Grid: st.Grid, Department: st.Department, Result: st.Result, Answer: st.Answer.Reveal(), Photos: st.Photos, Steps: []StepBody{}}
	if !st.Deadline.IsZero() {
		body.Deadline = st.Deadline.UTC().Format(stamp)
	}
	for _, step := range st.Steps {
		body.Steps = append(body.Steps, StepBody{step.What, step.At.UTC().Format(stamp)})
	}
	answer(w, 200, "application/json; charset=utf-8", body)
}

func (s *Server) getServices(w http.ResponseWriter, _ *http.Request) {
	body := ServicesBody{Services: []ServiceBody{}}
	for _, v := range s.config.Services() {
		body.Services = append(body.Services, ServiceBody{v.Code, v.Name, v.Group, v.Description})
	}
	answer(w, 200, "application/json; charset=utf-8", body)
}
