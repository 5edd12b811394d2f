package web

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"yingda/intake"
	"yingda/internal/users"
)

func (b *browser) export(list, query, format string) answer {
	b.Helper()
	path := "/export/" + list
	if query != "" {
		path += "?" + query
	}
	return b.post(path, url.Values{"format": {format}, "q": {"13800005678"}})
}

// table parses what a CSV says; it has to have the mark, to end its lines as the standard does, and as many fields in each.
func table(t *testing.T, body string) [][]string {
	t.Helper()
	rest, ok := strings.CutPrefix(body, "\ufeff")
	if !ok {
		t.Errorf("no mark before %.40q", body)
	}
	if strings.Count(rest, "\n") != strings.Count(rest, "\r\n") {
		t.Error("a line does not end as RFC 4180 has it")
	}
	list, err := csv.NewReader(strings.NewReader(rest)).ReadAll()
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return list
}

func opened(t *testing.T, body string) *excelize.File {
	t.Helper()
	f, err := excelize.OpenReader(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v in %.80q", err, body)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Every list, in both formats, says the same, masks the same, is explained, and stands in the audit log before it is sent.
func TestExports(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	began := len(h.deeds())
	for _, list := range exportLists() {
		before := len(h.deeds())
		query := "state=lost&from=2026-11-01&to=2026-11-24&said=x"
		a := b.export(list, query, "csv")
		if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/csv") || !strings.Contains(a.header.Get("Content-Disposition"), "attachment") {
			t.Fatalf("%s: %d %v\n%s", list, a.status, a.header, a.body)
		}
		rows := table(t, a.body)
		if d := h.deeds(); len(d) != before+1 || !strings.HasPrefix(d[before], "周敏 export "+list+" csv ") {
			t.Errorf("%s: the audit log has %q", list, d[before:])
		} else if strings.Contains(d[before], "138") || strings.Contains(d[before], "said") {
			t.Errorf("%s: the audit log knows what was searched for: %q", list, d[before])
		}
		x := b.export(list, query, "xlsx")
		if x.status != http.StatusOK {
			t.Fatalf("%s: %d", list, x.status)
		}
		f := opened(t, x.body)
		sheets := f.GetSheetList()
		if sheets[len(sheets)-1] != "说明" {
			t.Errorf("%s: sheets %q", list, sheets)
		}
		got, err := f.GetRows(sheets[0], excelize.Options{RawCellValue: true})
		if err != nil || len(got) != len(rows) || len(rows) < 2 || !slices.Equal(got[0], rows[0]) {
			t.Fatalf("%s: %d rows in the sheet, %d in CSV, %v\n%q\n%q", list, len(got), len(rows), err, got[0], rows[0])
		}
		for _, r := range append(rows, got...) {
			for _, cell := range r {
				if strings.Contains(cell, "0512555") || strings.Contains(cell, "13800005678") || strings.Contains(cell, "17700006093") {
					t.Errorf("%s has a number in clear: %q", list, cell)
				}
			}
		}
		about, err := f.GetRows("说明")
		if err != nil {
			t.Fatal(err)
		}
		said := map[string]string{}
		for _, r := range about {
			if len(r) == 2 {
				said[r[0]] = r[1]
			}
		}
		if said["谁导出"] != "周敏，值班长" || said["导出时间"] != "2026-11-24 14:32:07" || said["隐去的"] == "" || said["数据截至"] == "" {
			t.Errorf("%s is explained by %q", list, about)
		}
		for _, name := range rows[0] {
			if said[name] == "" {
				t.Errorf("%s: nobody says what %q is", list, name)
			}
		}
	}
	if n := len(h.deeds()) - began; n != 2*len(exportLists()) {
		t.Errorf("%d entries for %d exports", n, 2*len(exportLists()))
	}
}

// What the cells hold: texts, numbers and times are what they are, in the office's time, and a filter is told in words.
func TestExportCells(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	f := opened(t, b.export("contacts", "figure=caller_reached&part=miss&from=2026-11-24T00:00:00Z&outcome=fault", "xlsx").body)
	rows, err := f.GetRows("来访")
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) int { return slices.Index(rows[0], name) }
	if got := rows[2][at("到达")]; got != "2026-11-24 13:20:44" {
		t.Errorf("arrived %q", got)
	}
	if got := rows[2][at("说了（秒）")]; got != "276" || rows[2][at("号码")] != "138****5678" || rows[2][at("居民")] != "王阿姨" || rows[2][at("结果")] != "接通" || rows[2][at("工单")] != "W-2026-04817" {
		t.Errorf("%q", rows[2])
	}
	cell := func(col string) string { c, _ := excelize.ColumnNumberToName(at(col) + 1); return c + "3" }
	if kind, _ := f.GetCellType("来访", cell("说了（秒）")); kind != excelize.CellTypeUnset && kind != excelize.CellTypeNumber {
		t.Errorf("a number is a %v", kind)
	}
	if kind, _ := f.GetCellType("来访", cell("居民")); kind != excelize.CellTypeInlineString {
		t.Errorf("a text is a %v", kind)
	}
	about, _ := f.GetRows("说明")
	text := fmt.Sprint(about)
	for _, want := range []string{"首次来电 5 分钟内接通", "216 / 231", "按人计", "其中：没做到的", "结果：系统出错", "从：2026-11-24 08:00"} {
		if !strings.Contains(text, want) {
			t.Errorf("the explanations lack %q: %s", want, text)
		}
	}
	history := opened(t, b.export("history", "from=2026-11-01&to=2026-11-24&by=week", "xlsx").body)
	if s := history.GetSheetList(); !slices.Equal(s, []string{"每刻钟", "比率", "怎么结束的", "按线路和渠道", "说明"}) {
		t.Errorf("sheets %q", s)
	}
	if rows, _ := history.GetRows("比率"); rows[1][2] != "2216" || rows[1][3] != "2431" || rows[1][4] != "91.1" || rows[1][5] != "3" {
		t.Errorf("%q", rows[1])
	}
}

// What people and colleagues call themselves is no formula to anybody's office program.
func TestExportIsNoFormula(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	for _, evil := range []string{"=HYPERLINK(\"http://x\")", "+1+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "＠x"} {
		h.hurt = ""
		if got := harmless(evil); !strings.HasPrefix(got, "'") || got[1:] != evil {
			t.Errorf("%q went out as %q", evil, got)
		}
	}
	for _, good := range []string{"", "王阿姨", "a=b", "138****5678", "'"} {
		if got := harmless(good); got != good {
			t.Errorf("%q became %q", good, got)
		}
	}
	evil := "=cmd|' /C calc'!A0"
	h.set(func() { h.prefix = evil })
	for _, row := range table(t, b.export("contacts", "", "csv").body)[1:] {
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("a cell begins with =: %q", cell)
			}
		}
	}
	f := opened(t, b.export("contacts", "", "xlsx").body)
	rows, err := f.GetRows("来访")
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for r := range rows {
		for c := range rows[r] {
			name, _ := excelize.CoordinatesToCellName(c+1, r+1)
			if formula, err := f.GetCellFormula("来访", name); err != nil || formula != "" {
				t.Errorf("%s is the formula %q, %v", name, formula, err)
			}
			seen = seen || strings.HasPrefix(rows[r][c], "=cmd")
		}
	}
	if !seen {
		t.Error("the text is not in the sheet at all")
	}
}

// Who may not, gets nothing and leaves no trace; what cannot be written down is not sent; a list that breaks off is broken off, not short.
func TestExportIsGuarded(t *testing.T) {
	h := newHouse(t)
	for _, r := range []users.Role{users.Operator, users.GridWorker, users.Administrator} {
		if a := h.as(r).export("contacts", "", "csv"); a.status != http.StatusForbidden {
			t.Errorf("%s got %d", r, a.status)
		}
	}
	b := h.as(users.Auditor)
	if a := b.export("audit", "", "csv"); a.status != http.StatusOK {
		t.Errorf("an auditor got %d", a.status)
	}
	if a := b.get("/export/contacts"); a.status == http.StatusOK {
		t.Error("a link took a list away")
	}
	if a := b.post("/export/contacts", url.Values{"format": {"csv"}, "csrf": {"x"}}); a.status != http.StatusForbidden {
		t.Errorf("without our token: %d", a.status)
	}
	if a := b.export("contacts", "", "pdf"); a.status != http.StatusConflict {
		t.Errorf("pdf: %d", a.status)
	}
	if a := b.export("nothing", "", "csv"); a.status != http.StatusNotFound {
		t.Errorf("no such list: %d", a.status)
	}
	before := len(h.deeds())
	h.set(func() { h.refuse = errors.New("the disk is full") })
	if a := b.export("contacts", "", "csv"); a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "138") {
		t.Errorf("what could not be written down was sent: %d", a.status)
	}
	h.set(func() { h.refuse = nil })
	if len(h.deeds()) != before {
		t.Error("something was done")
	}
	h.set(func() { h.rows, h.breakAt = 5000, 4000 })
	req, err := http.NewRequestWithContext(t.Context(), "POST", h.http.URL+"/export/contacts", strings.NewReader(url.Values{"format": {"csv"}, "csrf": {b.csrf}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := b.c.Do(req)
	if err == nil {
		var all bytes.Buffer
		_, err = all.ReadFrom(res.Body)
		_ = res.Body.Close()
	}
	if err == nil {
		t.Error("half a list ended as if it were whole")
	}
	if a := b.export("contacts", "", "xlsx"); a.status != http.StatusServiceUnavailable {
		t.Errorf("a sheet of half a list: %d", a.status)
	}
	h.set(func() { h.rows, h.breakAt = 100, 1 })
}

// No more than two exports are made at once.
func TestExportsTakeTurns(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	hang := make(chan struct{})
	h.set(func() { h.hang = hang })
	first := make(chan answer, 2)
	for range mostExports {
		go func() { first <- b.export("contacts", "", "csv") }()
	}
	for h.waiting.Load() < mostExports {
		runtime.Gosched()
	}
	if a := b.export("contacts", "", "csv"); a.status != http.StatusConflict {
		t.Errorf("a third got %d", a.status)
	}
	close(hang)
	for range mostExports {
		if a := <-first; a.status != http.StatusOK {
			t.Errorf("one of the first got %d", a.status)
		}
	}
}

// A hundred thousand rows need little memory, and are all there.
func TestExportOfMany(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	const n = 100_000
	h.set(func() { h.rows = n })
	var peak uint64
	for _, format := range []string{"csv", "xlsx"} {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		req, err := http.NewRequestWithContext(t.Context(), "POST", h.http.URL+"/export/contacts", strings.NewReader(url.Values{"format": {format}, "csrf": {b.csrf}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		began := time.Now()
		res, err := b.c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		if format == "xlsx" { // it is sent when it has been read: what is held then is at its most
			runtime.GC()
		}
		var held runtime.MemStats
		runtime.ReadMemStats(&held)
		var buf bytes.Buffer
		if _, err := buf.ReadFrom(res.Body); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		all = buf.Bytes()
		grew := uint64(0)
		if held.HeapAlloc > before.HeapAlloc {
			grew = held.HeapAlloc - before.HeapAlloc
		}
		peak = max(peak, grew)
		t.Logf("%s: %d rows in %v, %d kB, %d MB more on the heap", format, n, time.Since(began).Round(10*time.Millisecond), len(all)>>10, grew>>20)
		if format == "csv" {
			if lines := bytes.Count(all, []byte("\r\n")); lines != n+1 {
				t.Errorf("%d lines", lines)
			}
			continue
		}
		f, err := excelize.OpenReader(bytes.NewReader(all))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := f.Rows("来访")
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for rows.Next() {
			got++
		}
		_ = rows.Close()
		_ = f.Close()
		if got != n+1 {
			t.Errorf("%d rows in the sheet", got)
		}
	}
	if peak > 64<<20 {
		t.Errorf("%d MB on the heap", peak>>20)
	}
}

func TestHistoryFilter(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	test := func(query, from, to, by string) {
		t.Helper()
		h.set(func() { h.asked = nil })
		if a := b.get("/history?" + query); a.status != http.StatusOK {
			t.Fatalf("%s: %d", query, a.status)
		}
		h.mu.Lock()
		f := h.asked[len(h.asked)-1].(HistoryFilter)
		h.mu.Unlock()
		day := func(t time.Time) string { return t.In(shanghai).Format("2006-01-02 15:04") }
		if day(f.From) != from+" 00:00" || day(f.To) != to+" 00:00" || f.By != by {
			t.Errorf("%s: %s to %s by %s", query, day(f.From), day(f.To), f.By)
		}
	}
	test("", "2026-11-11", "2026-11-25", "day")
	test("from=2026-11-24&to=2026-11-24", "2026-11-24", "2026-11-25", "day")
	test("from=2026-10-01&to=2026-11-24", "2026-10-01", "2026-11-25", "week")
	test("from=2026-10-01&to=2026-11-24&by=day", "2026-10-01", "2026-11-25", "day")
	test("from=2026-01-01&to=2026-11-24&by=day", "2026-01-01", "2026-11-25", "week")
	test("from=2026-01-01&to=2026-11-24", "2026-01-01", "2026-11-25", "month")
	test("from=2026-11-20&to=2026-11-24&by=month", "2026-11-20", "2026-11-25", "day")
	test("from=1999-01-01&to=2026-11-24&by=month", "2025-10-21", "2026-11-25", "month")
	test("from=2026-12-24&to=2027-11-24", "2026-11-24", "2026-11-25", "day")
	test("from=2026-11-24&to=2026-11-01", "2026-11-01", "2026-11-02", "day")
	test("from=x&to=y&by=z&channel=z", "2026-11-11", "2026-11-25", "day")
}

func TestClock(t *testing.T) {
	for q := range 96 {
		if got := readClock(clockOf(q, q+1)); got != [2]int{q * 15, q*15 + 15} {
			t.Errorf("quarter %d came back as %v", q, got)
		}
	}
	for _, s := range []string{"", "9", "10:00-9:00", "24:00-25:00", "-1:00-2:00", "10:00-10:00", "10:70-11:00", "x:y-z:0", "99999999999:0-1:0"} {
		if got := readClock(s); got != [2]int{} {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func FuzzReadClock(f *testing.F) {
	f.Add("09:15-09:30")
	f.Add("24:00-00:00")
	f.Fuzz(func(t *testing.T, s string) {
		m := readClock(s)
		if m != [2]int{} && (m[0] < 0 || m[1] > 1440 || m[0] >= m[1]) {
			t.Fatalf("%q is %v", s, m)
		}
	})
}

// Signing in and out and what an administrator does are written down; what cannot be written down does not happen.
func TestAccountsAreWrittenDown(t *testing.T) {
	h := newHouse(t)
	noted := func() []string { h.mu.Lock(); defer h.mu.Unlock(); return slices.Clone(h.noted) }
	id := string(h.who[users.Supervisor].ID)
	b := h.stranger()
	b.in("supervisor", "wrong", "")
	b.in("nobody-of-that-name", "wrong", "")
	b = h.as(users.Supervisor)
	b.post("/sign-out", nil)
	if got := noted(); !slices.Equal(got, []string{"signed " + id + " failed false", "signed " + id + " in false", "signed " + id + " out false"}) {
		t.Errorf("%q", got)
	}
	h.set(func() { h.unnoted = errors.New("the disk is full") })
	b = h.stranger()
	if a := b.in("supervisor", secret, ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("a sign-in that nobody wrote down: %d", a.status)
	}
	if a := b.get("/wall"); a.status == http.StatusOK {
		t.Error("and they are in")
	}
	h.set(func() { h.unnoted, h.noted = nil, nil })
	b = h.as(users.Administrator)
	h.set(func() { h.noted = nil })
	who := string(h.who[users.Operator].ID)
	for _, p := range []struct {
		path string
		form url.Values
	}{
		{"/users", url.Values{"login": {"newone"}, "name": {"新人"}, "role": {"operator"}}}, {"/users/" + who + "/change", url.Values{"name": {"许航"}, "role": {"supervisor"}}}, {"/users/" + who + "/reset", nil},
		{"/users/" + who + "/phone", nil}, {"/users/" + who + "/disable", nil}, {"/users/" + who + "/enable", nil}, {"/tokens", url.Values{"name": {"审计"}, "role": {"auditor"}, "days": {"9"}}},
	} {
		if a := b.post(p.path, p.form); a.status >= 400 {
			t.Errorf("%s: %d", p.path, a.status)
		}
	}
	want := []string{"account made operator", "account changed supervisor", "account reset ", "account phone ", "account disabled ", "account enabled ", "account token_made auditor"}
	if got := noted(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Numbers of the pages open the list that they count.
func TestSuperLinks(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	page := b.get("/history?from=2026-11-18&to=2026-11-24&line=12345&channel=chat").body
	for _, want := range []string{`channel=chat&amp;figure=caller_reached&amp;from=2026-11-17T16%3A00%3A00Z&amp;line=12345&amp;part=num&amp;to=2026-11-24T06%3A32%3A07Z`, `outcome=timeout_no_operator`, `clock=09%3A45-10%3A00`} {
		if !strings.Contains(page, want) {
			t.Errorf("history lacks %s", want)
		}
	}
	figures := b.get("/team/figures?from=2026-11-24&to=2026-11-24").body
	for _, want := range []string{"missed=u-fang", "flag=quick_drop", "operator=u-lin"} {
		if !strings.Contains(figures, want) {
			t.Errorf("the team's figures lack %s", want)
		}
	}
	h.set(func() { h.asked = nil })
	list := b.get("/contacts?missed=u-fang&flag=quick_drop&operator=u-lin&clock=09:15-09:30&from=2026-11-24&to=2026-11-24").body
	h.mu.Lock()
	f := h.asked[0].(ContactFilter)
	h.mu.Unlock()
	if f.Missed != "u-fang" || f.Flag != intake.QuickDrop || f.Operator != "u-lin" || f.Clock != [2]int{555, 570} {
		t.Errorf("%+v", f)
	}
	for _, want := range []string{`name="missed" value="u-fang"`, `name="clock" value="09:15-09:30"`} {
		if !strings.Contains(list, want) {
			t.Errorf("the list forgets %s when it is narrowed further", want)
		}
	}
	if a := b.get("/contacts?clock=09:15-09:30"); strings.Contains(a.body, `name="clock"`) {
		t.Error("a part of the day is asked of all days that ever were")
	}
	if n := strings.Count(b.get("/history/table?from=2026-11-18&to=2026-11-24").body, "clock="); n < 20 {
		t.Errorf("the table opens %d lists", n)
	}
}
