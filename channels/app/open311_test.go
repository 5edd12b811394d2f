package app

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"yingda/intake"
)

var update = flag.Bool("update", false, "write the answers of testdata anew; commit a difference only when you understand it")

var (
	anyID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)
	anyRcpt = regexp.MustCompile(`回执号 \d{4} \d{4}`)
	anyCode = regexp.MustCompile(`查询码 \d{4}`)
)

// TestOpen311 plays the examples of the specification in order, on one door. {id} in a request is the request made last.
func TestOpen311(t *testing.T) {
	o := open(t)
	files, err := filepath.Glob("testdata/open311/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	last := ""
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		request, want, _ := strings.Cut(string(raw), "\n---\n")
		head, body, _ := strings.Cut(request, "\n\n")
		lines := strings.Split(strings.NewReplacer("{id}", last, "{key}", o.key).Replace(head), "\n")
		method, path, _ := strings.Cut(lines[0], " ")
		kind := ""
		for _, l := range lines[1:] {
			if k, v, _ := strings.Cut(l, ": "); k == "Content-Type" {
				kind = v
			}
		}
		r := o.do(method, path, kind, []byte(strings.NewReplacer("{id}", last, "{key}", o.key, "\n", "").Replace(body)))
		if id := anyID.FindString(string(r.body)); id != "" && method == "POST" {
			last = id
		}
		got := anyID.ReplaceAllString(string(r.body), "{id}")
		got = anyCode.ReplaceAllString(anyRcpt.ReplaceAllString(got, "回执号 {receipt}"), "查询码 {code}")
		got = fmt.Sprintf("%d %s\n%s", r.status, r.header.Get("Content-Type"), got)
		if *update {
			if err := os.WriteFile(f, []byte(request+"\n---\n"+got), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", f, got, want)
		}
		if strings.HasSuffix(strings.SplitN(path, "?", 2)[0], ".xml") {
			if err := xml.Unmarshal(r.body, new(struct{ XMLName xml.Name })); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		} else if r.header.Get("Content-Type") == "application/json; charset=utf-8" && !json.Valid(r.body) {
			t.Errorf("%s: no JSON", f)
		}
	}
}

// form311 posts a form.
func (o *office) form311(v url.Values, header ...string) reply {
	o.Helper()
	return o.do("POST", "/open311/v2/requests.json", "application/x-www-form-urlencoded", []byte(v.Encode()), header...)
}

func (o *office) list311(query string) []request311 {
	o.Helper()
	r := o.do("GET", "/open311/v2/requests.json?"+query, "", nil)
	var list []request311
	if err := json.Unmarshal(r.body, &list); err != nil || r.status != 200 {
		o.Fatalf("%s: %d %s", query, r.status, r.body)
	}
	return list
}

func (r reply) errors311(t testing.TB) []error311 {
	t.Helper()
	var list []error311
	if err := json.Unmarshal(r.body, &list); err != nil || len(list) == 0 || list[0].Code != r.status {
		t.Fatalf("%d %s", r.status, r.body)
	}
	return list
}

func TestOpen311Once(t *testing.T) {
	o := open(t)
	v := url.Values{"api_key": {o.key}, "service_code": {"lighting"}, "description": {"灯不亮"}, "lat": {"31.2993"}, "long": {"120.6195"}, "phone": {"13800005678"}, "first_name": {"强"}, "last_name": {"王"}}
	id := func(r reply) intake.ContactID {
		t.Helper()
		var list []created311
		if err := json.Unmarshal(r.body, &list); err != nil || r.status != 201 || len(list) != 1 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return list[0].ID
	}
	a := id(o.form311(v))
	o.clock.add(9*time.Minute + 59*time.Second) // over the edge of a slot
	if b := id(o.form311(v)); b != a {
		t.Error("sent again is two")
	}
	o.clock.add(11 * time.Minute)
	if b := id(o.form311(v)); b == a {
		t.Error("the next day's is one with it")
	}
	v.Set("description", "还是不亮")
	c := id(o.form311(v, "Idempotency-Key", "mine"))
	o.clock.add(time.Hour)
	if d := id(o.form311(v, "Idempotency-Key", "mine")); d != c {
		t.Error("its own key is passed over")
	}
	v.Set("description", "别的")
	if r := o.form311(v, "Idempotency-Key", "mine"); r.status != 400 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if m := o.contacts(); len(m) != 3 {
		t.Errorf("%v", m)
	}
	e := o.events()[0].Event
	if p := e.Personal.Reveal(); p.Name != "王强" || p.Number != "13800005678" || e.Data.(*intake.OfferedV1).Category != "lighting" {
		t.Errorf("%+v", p)
	}
}

func TestOpen311Errors(t *testing.T) {
	o := open(t)
	good := func() url.Values {
		return url.Values{"api_key": {o.key}, "service_code": {"lighting"}, "description": {"灯不亮"}, "address_string": {"柳荫一村 3 幢"}}
	}
	test := func(status int, change func(url.Values)) {
		t.Helper()
		v := good()
		change(v)
		r := o.form311(v)
		if r.status != status {
			t.Errorf("%v: %d %s", v, r.status, r.body)
		}
		r.errors311(t)
	}
	test(403, func(v url.Values) { v.Del("api_key") })
	test(403, func(v url.Values) { v.Set("api_key", "ydt_nobody") })
	test(400, func(v url.Values) { v.Del("service_code") })
	test(400, func(v url.Values) { v.Set("service_code", "magic") })
	test(400, func(v url.Values) { v.Del("address_string") })
	test(400, func(v url.Values) { v.Set("lat", "north") })
	test(400, func(v url.Values) { v.Set("lat", "31") })
	test(400, func(v url.Values) { v.Set("lat", "131"); v.Set("long", "120") })
	test(400, func(v url.Values) { v.Set("attribute[KIND]", "9") })
	test(400, func(v url.Values) { v.Set("media_url", "javascript:alert(1)") })
	test(400, func(v url.Values) { v.Set("description", strings.Repeat("啊", 4001)) })
	if r := o.form311(good()); r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for _, b := range []string{"<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><r><description>&x;</description></r>",
		`<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><r><description>&b;</description></r>`, `<r><description>&unknown;</description></r>`, "<r>", "", "<a><b><c><d><e><f></f></e></d></c></b></a>",
		`<?xml version="1.0" encoding="gb2312"?><r/>`, "<r>" + strings.Repeat("<a/>", 5000) + "</r>"} {
		r := o.do("POST", "/open311/v2/requests.json", "text/xml", []byte(b))
		if r.status != 400 {
			t.Errorf("%.60s: %d %s", b, r.status, r.body)
		}
		r.errors311(t)
	}
	if r := o.do("POST", "/open311/v2/requests.json", "text/xml", []byte("<r>"+strings.Repeat(" ", mostJSON)+"</r>")); r.status != 413 {
		t.Errorf("%d", r.status)
	}
	xmlGood := "<?xml version=\"1.0\"?><request><api_key>" + o.key + "</api_key><service_code>lighting</service_code><description>灯 &lt;坏&gt; 了</description><address_string>柳荫</address_string></request>"
	if r := o.do("POST", "/open311/v2/requests.json", "application/xml", []byte(xmlGood)); r.status != 201 {
		t.Errorf("%d %s", r.status, r.body)
	}
	for path, want := range map[string]int{"/open311/v2/services": 404, "/open311/v2/services/magic.json": 404, "/open311/v2/requests/none.json": 404, "/open311/v2/tokens/none.json": 404, "/open311/v2/nothing.json": 404, "/open311/v1/x.json": 404,
		"/open311/v2/requests.json?status=lost": 400, "/open311/v2/requests.json?start_date=yesterday": 400, "/open311/v2/requests.json?page=0": 400, "/open311/v2/requests.json?api_key=bad": 403,
		"/open311/v2/requests.json?start_date=2026-01-01T00:00:00Z&end_date=2026-06-01T00:00:00Z": 400, "/open311/v2/requests.json?start_date=2026-06-01T00:00:00Z&end_date=2026-05-01T00:00:00Z": 400} {
		r := o.do("GET", path, "", nil)
		if r.status != want {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
		if strings.Contains(path, ".json") {
			r.errors311(t)
		}
	}
	if r := o.do("POST", "/open311/v2/requests.json", "application/json", []byte("{}")); r.status != 415 {
		t.Errorf("%d", r.status)
	}
}

func TestOpen311Jurisdiction(t *testing.T) {
	o := open(t, func(c *Config) { c.Jurisdiction = "fengqiao.gov.cn" })
	for path, want := range map[string]int{"/open311/v2/services.json": 400, "/open311/v2/services.json?jurisdiction_id=city.org": 404, "/open311/v2/services.json?jurisdiction_id=fengqiao.gov.cn": 200} {
		if r := o.do("GET", path, "", nil); r.status != want {
			t.Errorf("%s: %d", path, r.status)
		}
	}
}

// Who sees what: the app its own in whole, anybody the rest without words; a complaint nobody else.
func TestOpen311Reading(t *testing.T) {
	o := open(t)
	var ids []string
	for i := range 5 {
		v := url.Values{"api_key": {o.key}, "service_code": {"lighting"}, "description": {"灯不亮 " + strconv.Itoa(i)}, "address_string": {"柳荫社区 3 幢 501"}, "lat": {"31.29937"}, "long": {"120.61957"}, "phone": {"13800005678"}}
		if i == 4 {
			v.Set("service_code", "complaint")
		}
		r := o.form311(v)
		var list []created311
		if err := json.Unmarshal(r.body, &list); err != nil || len(list) != 1 {
			t.Fatalf("%s", r.body)
		}
		ids = append(ids, string(list[0].ID))
		o.clock.add(time.Hour)
	}
	o.post("ours", `{"text":"从接口来的","category":"lighting"}`).receipt(t)
	if _, err := o.server.Submit(t.Context(), Submission{Key: "page"}); err == nil {
		t.Fatal("nothing was said and it was accepted")
	}
	o.apply()
	own, any := o.list311("api_key="+o.key), o.list311("")
	if len(own) != 6 || len(any) != 5 {
		t.Fatalf("%d own, %d shown to anybody", len(own), len(any))
	}
	if q := own[1]; q.ServiceCode != "complaint" || q.Description != "灯不亮 4" || q.Address != "柳荫社区 3 幢 501" || *q.Lat != 31.29937 {
		t.Errorf("%+v", q)
	}
	for _, q := range any[1:] {
		if q.Description != "" || q.Address != "柳荫社区***" || *q.Lat != 31.299 || q.ServiceCode != "lighting" || q.Notes != "已收到" || q.Status != "open" {
			t.Errorf("%+v", q)
		}
	}
	if raw, _ := json.Marshal(own); strings.Contains(string(raw), "13800005678") {
		t.Error("a number is given back")
	}
	if r := o.do("GET", "/open311/v2/requests/"+ids[4]+".json", "", nil); r.status != 404 {
		t.Errorf("a complaint is shown: %s", r.body)
	}
	c := &caseScript{o: o, id: "case-1"}
	o.apply(record(c.say(&intake.CaseOpenedV1{Contacts: []intake.ContactID{intake.ContactID(ids[0])}, Department: "lights"})), record(c.say(&intake.CaseClosedV1{Result: "solved"})))
	if list := o.list311("status=closed"); len(list) != 1 || string(list[0].ID) != ids[0] || list[0].Status != "closed" || list[0].Agency != "lights" {
		t.Errorf("%+v", list)
	}
	if list := o.list311("status=open"); len(list) != 4 {
		t.Errorf("%d open", len(list))
	}
	if list := o.list311("status=open,closed&service_code=lighting"); len(list) != 5 {
		t.Errorf("%d", len(list))
	}
	if list := o.list311("service_request_id=" + ids[1] + "," + ids[2] + ",none"); len(list) != 2 {
		t.Errorf("%d by id", len(list))
	}
	if list := o.list311("start_date=2026-11-24T08:30:00Z&end_date=2026-11-24T17:30:00%2B08:00"); len(list) != 1 || string(list[0].ID) != ids[1] {
		t.Errorf("%+v", list)
	}
	var paged []string
	for page := 1; ; page++ {
		list := o.list311(fmt.Sprintf("page_size=2&page=%d", page))
		if len(list) == 0 {
			break
		}
		for _, q := range list {
			paged = append(paged, string(q.ID))
		}
	}
	if slices.Sort(paged); len(slices.Compact(paged)) != 5 {
		t.Errorf("%v", paged)
	}
	o.restart(func(c *Config) { c.ClosedReads = true })
	if r := o.do("GET", "/open311/v2/requests.json", "", nil); r.status != 403 {
		t.Errorf("%d", r.status)
	}
}

func TestDocs(t *testing.T) {
	o := open(t)
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	r := o.do("GET", "/api/v1/openapi.json", "", nil)
	if err := json.Unmarshal(r.body, &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Paths["/api/v1/submissions"]["post"] == nil || doc.Paths["/api/v1/submissions/{receipt}"]["get"] == nil || doc.Components.Schemas["SubmissionBody"] == nil {
		t.Errorf("%v %.300s", err, r.body)
	}
	for _, ref := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllStringSubmatch(string(r.body), -1) {
		if doc.Components.Schemas[ref[1]] == nil {
			t.Errorf("%s is nowhere", ref[0])
		}
	}
	if r := o.do("GET", "/api/v1/openapi.yaml", "", nil); r.status != 200 || !strings.HasPrefix(string(r.body), "components:") {
		t.Errorf("%d %.100s", r.status, r.body)
	}
	page := o.do("GET", "/api/v1/docs", "", nil)
	for _, part := range []string{"Idempotency-Key", "last4", "submit", "三幢二单元楼道灯不亮", "梅溪街道便民热线"} {
		if !strings.Contains(string(page.body), part) {
			t.Errorf("the page says nothing of %s", part)
		}
	}
	for _, ban := range []string{"<script", "style=", "http://", "https://"} {
		if strings.Contains(string(page.body), ban) {
			t.Errorf("the page has %s", ban)
		}
	}
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("%q", csp)
	}
	if r := o.do("GET", "/api/v1/services", "", nil); !strings.Contains(string(r.body), `"lighting"`) {
		t.Errorf("%s", r.body)
	}
}
