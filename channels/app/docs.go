package app

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

const apiText = `Hand in what residents write to your app, and see how it stands. Every submission gets a receipt number of eight digits (4+4, the last is a check digit).

One key for each app: the office makes it with "yingda token create --role app"; send it as Authorization: Bearer. Errors are RFC 9457 application/problem+json and say what to do.

When a submission moves on, a webhook tells your app (Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature). An Open311 GeoReport v2 client works unchanged under /open311/v2/.`

//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsCSS []byte

var docsPage = template.Must(template.New("docs").Parse(docsHTML))

// What the page is drawn from: the OpenAPI document, flattened.
type (
	docs struct {
		Title       string
		Paragraphs  []string
		Operations  []docsOperation
		Schemas     []docsSchema
		Open311     bool
		HookExample string
	}
	docsOperation struct {
		ID, Method, Path, Summary, Description string
		Key                                    bool
		Parameters                             []docsField
		Bodies                                 []docsBody
		Responses                              []docsResponse
	}
	docsBody     struct{ Kind, Schema, Description string }
	docsResponse struct{ Status, Description, Kind, Schema string }
	docsSchema   struct {
		Name   string
		Fields []docsField
	}
	docsField struct {
		Name, Where, Type, Text, Example string
		Required                         bool
	}
)

func (s *Server) docsRoutes(doc *huma.OpenAPI) {
	asJSON, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(err) // a document of ours that is none: found by every test
	}
	asYAML, err := doc.YAML()
	if err != nil {
		panic(err)
	}
	var page bytes.Buffer
	if err := docsPage.Execute(&page, flatten(doc)); err != nil {
		panic(err)
	}
	serve := func(pattern, kind string, body []byte) {
		s.mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			s.guarded(w, r, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				w.Header().Set("Cache-Control", "no-cache")
				_, _ = w.Write(body)
			})
		})
	}
	serve("/api/v1/openapi.json", "application/vnd.oai.openapi+json;version=3.1", asJSON)
	serve("/api/v1/openapi.yaml", "application/vnd.oai.openapi;version=3.1", asYAML)
	serve("/api/v1/docs", "text/html; charset=utf-8", page.Bytes())
	serve("/api/v1/docs.css", "text/css; charset=utf-8", docsCSS)
}

func flatten(doc *huma.OpenAPI) docs {
	d := docs{Title: doc.Info.Title, Paragraphs: strings.Split(doc.Info.Description, "\n\n")}
	var paths []string
	for p := range doc.Paths {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	slices.SortStableFunc(paths, func(a, b string) int { // what everybody comes for stands first
		first := func(p string) int {
			switch {
			case doc.Paths[p].Post != nil:
				return 0
			case strings.Contains(p, "{"):
				return 1
			}
			return 2
		}
		return first(a) - first(b)
	})
	for _, p := range paths {
		item := doc.Paths[p]
		for _, op := range []*huma.Operation{item.Post, item.Get} {
			if op == nil {
				continue
			}
			o := docsOperation{ID: op.OperationID, Method: op.Method, Path: p, Summary: op.Summary, Description: op.Description, Key: len(op.Security) > 0}
			for _, param := range op.Parameters {
				o.Parameters = append(o.Parameters, docsField{Name: param.Name, Where: param.In, Type: param.Schema.Type, Text: param.Description, Required: param.Required})
			}
			if op.RequestBody != nil {
				for _, kind := range slices.Sorted(keysOf(op.RequestBody.Content)) {
					o.Bodies = append(o.Bodies, docsBody{kind, refName(op.RequestBody.Content[kind].Schema), op.RequestBody.Content[kind].Schema.Description})
				}
			}
			for _, status := range slices.Sorted(keysOf(op.Responses)) {
				r := docsResponse{Status: status, Description: op.Responses[status].Description}
				for kind, media := range op.Responses[status].Content {
					r.Kind, r.Schema = kind, refName(media.Schema)
				}
				o.Responses = append(o.Responses, r)
			}
			d.Operations = append(d.Operations, o)
		}
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(keysOf(schemas)) {
		one := docsSchema{Name: name}
		for _, field := range fieldOrder(schemas[name]) {
			p := schemas[name].Properties[field]
			f := docsField{Name: field, Type: typeOf(p), Text: p.Description, Required: slices.Contains(schemas[name].Required, field)}
			if len(p.Examples) > 0 {
				f.Example, _ = p.Examples[0].(string)
			}
			one.Fields = append(one.Fields, f)
		}
		d.Schemas = append(d.Schemas, one)
	}
	return d
}

// fieldOrder: what must be there first, then by name.
func fieldOrder(s *huma.Schema) []string {
	list := slices.Sorted(keysOf(s.Properties))
	slices.SortStableFunc(list, func(a, b string) int {
		ra, rb := slices.Contains(s.Required, a), slices.Contains(s.Required, b)
		switch {
		case ra && !rb:
			return -1
		case rb && !ra:
			return 1
		}
		return 0
	})
	return list
}

func refName(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
}

func typeOf(s *huma.Schema) string {
	switch {
	case s.Ref != "":
		return refName(s)
	case s.Type == "array" && s.Items != nil:
		return "list of " + typeOf(s.Items)
	case s.Format != "":
		return s.Type + ", " + s.Format
	}
	return s.Type
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
