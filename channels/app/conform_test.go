package app

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"yingda/channels/channeltest"
	"yingda/intake"
)

// What apps hand in keeps every channel's promises, as JSON, as a form with photos, and as Open311.
func TestAppIsAChannel(t *testing.T) {
	type way struct {
		path string
		body func(w channeltest.Words) (kind string, body []byte)
		took func(r reply) channeltest.Answer
		bad  func(o *office) []channeltest.Bad
	}
	took := func(r reply) channeltest.Answer {
		var b ReceiptBody
		if r.status == http.StatusCreated && json.Unmarshal(r.body, &b) == nil {
			return channeltest.Answer{Took: true, Contact: b.ID}
		}
		var p Problem
		_ = json.Unmarshal(r.body, &p)
		return channeltest.Answer{Say: p.Detail}
	}
	fields := func(w channeltest.Words) map[string]string {
		m := map[string]string{"text": w.Text}
		if w.Number != "" {
			m["phone"] = w.Number
		}
		if w.Name != "" {
			m["name"] = w.Name
		}
		return m
	}
	bad := func(o *office, path, kind string, bodies map[string]string, judge func(reply) channeltest.Answer) []channeltest.Bad {
		var list []channeltest.Bad
		for name, body := range bodies {
			list = append(list, channeltest.Bad{Name: name, Send: func(testing.TB) channeltest.Answer {
				return judge(o.do("POST", path, kind, []byte(body), "Authorization", "Bearer "+o.key, "Idempotency-Key", "bad "+name))
			}})
		}
		return append(list,
			channeltest.Bad{Name: "no token", Send: func(testing.TB) channeltest.Answer {
				return judge(o.do("POST", path, kind, []byte("x"), "Idempotency-Key", "k"))
			}},
			channeltest.Bad{Name: "another's token", Send: func(testing.TB) channeltest.Answer {
				return judge(o.do("POST", path, kind, []byte("x"), "Authorization", "Bearer nobody", "Idempotency-Key", "k"))
			}})
	}
	took311 := func(r reply) channeltest.Answer {
		var made []created311
		if r.status == http.StatusCreated && json.Unmarshal(r.body, &made) == nil && len(made) == 1 {
			return channeltest.Answer{Took: true, Contact: made[0].ID}
		}
		var errs []error311
		_ = json.Unmarshal(r.body, &errs)
		if len(errs) == 0 {
			return channeltest.Answer{}
		}
		return channeltest.Answer{Say: errs[0].Description}
	}
	for name, w := range map[string]way{
		"json": {path: "/api/v1/submissions", took: took,
			body: func(w channeltest.Words) (string, []byte) {
				raw, _ := json.Marshal(fields(w))
				return "application/json", raw
			},
			bad: func(o *office) []channeltest.Bad {
				return bad(o, "/api/v1/submissions", "application/json", map[string]string{"no JSON": "{{{", "nothing": `{}`, "empty": `{"text":"  "}`, "of another kind": `{"text":5}`,
					"too much": `{"text":"` + strings.Repeat("长", 20_000) + `"}`, "a number that is none": `{"text":"x","phone":"打给我"}`, "no place on earth": `{"text":"x","position":{"lat":95,"lon":400}}`}, took)
			}},
		"multipart": {path: "/api/v1/submissions", took: took,
			body: func(w channeltest.Words) (string, []byte) { return multi(fields(w)) },
			bad: func(o *office) []channeltest.Bad {
				kind, cut := multi(map[string]string{"text": "x"})
				empty, none := multi(map[string]string{"text": " "})
				picture, photo := multi(map[string]string{"text": "x"}, []byte("no picture"))
				list := bad(o, "/api/v1/submissions", kind, map[string]string{"cut short": string(cut[:len(cut)/2]), "no form": "x"}, took)
				return append(list,
					channeltest.Bad{Name: "empty", Send: func(testing.TB) channeltest.Answer {
						return took(o.do("POST", "/api/v1/submissions", empty, none, "Authorization", "Bearer "+o.key, "Idempotency-Key", "e"))
					}},
					channeltest.Bad{Name: "a photo that is none", Send: func(testing.TB) channeltest.Answer {
						return took(o.do("POST", "/api/v1/submissions", picture, photo, "Authorization", "Bearer "+o.key, "Idempotency-Key", "p"))
					}})
			}},
		"open311": {path: "/open311/v2/requests.json", took: took311,
			body: func(w channeltest.Words) (string, []byte) {
				v := url.Values{"service_code": {"lighting"}, "lat": {"31.2993"}, "long": {"120.6195"}, "description": {w.Text}}
				if w.Number != "" {
					v.Set("phone", w.Number)
				}
				if w.Name != "" {
					v.Set("last_name", w.Name)
				}
				return "application/x-www-form-urlencoded", []byte(v.Encode())
			},
			bad: func(o *office) []channeltest.Bad {
				return bad(o, "/open311/v2/requests.json", "application/x-www-form-urlencoded", map[string]string{"nothing": "", "no service": "description=x&lat=31&long=120",
					"a service that is none": "service_code=nothing&description=x&lat=31&long=120", "no place": "service_code=lighting&description=x", "no escape": "service_code=%zz"}, took311)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			channeltest.Run(t, func(t *testing.T) channeltest.Channel {
				o := open(t)
				send := func(t testing.TB, ctx context.Context, key string, words channeltest.Words) (*http.Response, error) {
					kind, body := w.body(words)
					r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.http.URL+w.path, bytes.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", kind)
					r.Header.Set("Authorization", "Bearer "+o.key)
					r.Header.Set("Idempotency-Key", key)
					return http.DefaultClient.Do(r)
				}
				return channeltest.Channel{
					Send: func(t testing.TB, key string, words channeltest.Words) channeltest.Answer {
						kind, body := w.body(words)
						return w.took(o.do("POST", w.path, kind, body, "Authorization", "Bearer "+o.key, "Idempotency-Key", key))
					},
					Cut: func(t testing.TB, key string, words channeltest.Words) {
						ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
						defer cancel()
						if res, err := send(t, ctx, key, words); err == nil {
							_ = res.Body.Close()
						}
					},
					Night: func() { o.clock.add(14 * time.Hour) },
					Bad:   w.bad(o),
					Events: func(testing.TB) []intake.Event {
						var list []intake.Event
						for _, r := range o.events() {
							list = append(list, r.Event)
						}
						return list
					},
					Said: o.logs.String,
				}
			})
		})
	}
}
