package lines

import (
	"context"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/store"
	"yingda/internal/store/storetest"
)

func TestParseHours(t *testing.T) {
	test := func(in string, want map[time.Weekday][]Span, days map[string][]Span) {
		t.Helper()
		h, err := ParseHours(in)
		if err != nil || !reflect.DeepEqual(h.Week, want) || !reflect.DeepEqual(h.Days, days) {
			t.Errorf("ParseHours(%q) = %v, %v", in, h, err)
		}
	}
	test("24h", nil, nil)
	test("Mo 08:30-12:00,13:30-17:30; Sa 09:00-12:00",
		map[time.Weekday][]Span{time.Monday: {{510, 720}, {810, 1050}}, time.Saturday: {{540, 720}}}, nil)
	test("Sa-Mo 22:00-06:00", map[time.Weekday][]Span{time.Saturday: {{1320, 1800}}, time.Sunday: {{1320, 1800}}, time.Monday: {{1320, 1800}}}, nil)
	test("Mo 24h; 2026-10-01 closed", map[time.Weekday][]Span{time.Monday: {{0, 1440}}}, map[string][]Span{"2026-10-01": {}})
	for _, bad := range []string{"Mo", "Xx 08:00-09:00", "Mo 25:00-26:00", "Mo 08:00", "Mo 08:00-08:00", "Mo 8-9", "2026-13-01 closed"} {
		if h, err := ParseHours(bad); err == nil {
			t.Errorf("ParseHours(%q) = %v, want an error", bad, h)
		}
	}
}

// plain encodes without sealing: lines carry nothing personal.
type plain struct{}

func (plain) Encode(e intake.Event) ([]byte, error) { return json.Marshal(e.ID()) }

func TestLedger(t *testing.T) {
	ctx := context.Background()
	db, err := store.Open(ctx, storetest.Address(t, filepath.Join(t.TempDir(), "t.db")))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.UseEncoder(plain{})
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	l := New(db, "yingda/test", 1)
	base := func(id, number string) Line {
		return Line{Line: intake.Line{ID: intake.LineID(id), Name: id, Number: number, Switchboard: "main"}, Numbers: []string{number}, Hours: "24h"}
	}
	seed := []Line{base("main", "*"), base("water", "96000")}
	if err := l.Seed(ctx, now, seed); err != nil {
		t.Fatal(err)
	}
	v1, _ := l.Version(ctx)
	if err := l.Seed(ctx, now, []Line{base("other", "1")}); err != nil {
		t.Fatal(err)
	}
	if v, _ := l.Version(ctx); v != v1 {
		t.Error("a ledger in use was seeded again")
	}
	changed := base("water", "96001")
	if err := New(db, "yingda/test", 2).Save(ctx, now, "u1", changed); err != nil {
		t.Fatal(err)
	}
	if v, _ := l.Version(ctx); v <= v1 {
		t.Errorf("version %d after a change, %d before", v, v1)
	}
	if err := l.Save(ctx, now, "u1", base("third", "96001")); err == nil || !strings.Contains(err.Error(), "water") {
		t.Errorf("a number that belongs to another line was taken: %v", err)
	}
	bad := base("x y", "1")
	bad.Hours = "Monday"
	if err := l.Save(ctx, now, "u1", bad); err == nil || !strings.Contains(err.Error(), "Monday") || !strings.Contains(err.Error(), "id") {
		t.Errorf("not everything that is wrong was said: %v", err)
	}
	all, err := l.All(ctx)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	if got, ok := Find(all, "main", "96001"); !ok || got.ID != "water" {
		t.Errorf("96001 reaches %v", got.ID)
	}
	if got, ok := Find(all, "main", "12345"); !ok || got.ID != "main" {
		t.Errorf("12345 reaches %v", got.ID)
	}
	if got, ok := Find(all, "east", "96001"); ok {
		t.Errorf("96001 reaches %v from another switchboard", got.ID)
	}
	out, err := db.Outbox(ctx, 10)
	if err != nil || len(out) != 3 {
		t.Errorf("outbox holds %d events, %v; want 3", len(out), err)
	}
}

func TestSay(t *testing.T) {
	for spec, want := range map[string][2]string{
		"24h": {"白天晚上都有人接", "Somebody answers day and night"},
		"Mo-Fr 08:30-12:00,13:30-17:30; Sa 09:00-12:00": {"周一到周五 8:30 到 12:00、13:30 到 17:30，周六 9:00 到 12:00 有人接", "Somebody answers Monday to Friday 8:30–12:00, 13:30–17:30; Saturday 9:00–12:00"},
		"Mo-Su 08:00-20:00":                             {"每天 8:00 到 20:00 有人接", "Somebody answers every day 8:00–20:00"},
		"Mo-Su 22:00-06:00":                             {"每天 22:00 到 第二天 6:00 有人接", "Somebody answers every day 22:00–6:00"},
		"Mo-Su closed":                                  {"现在没有人接", "Nobody answers at present"},
		"Mo-Fr 24h; Sa 24h":                             {"周一到周六 全天 有人接", "Somebody answers Monday to Saturday all day"},
		"2026-10-01 closed":                             {"白天晚上都有人接", "Somebody answers day and night"},
		"24h; 2026-10-01 closed":                        {"白天晚上都有人接", "Somebody answers day and night"},
	} {
		h, err := ParseHours(spec)
		if err != nil {
			t.Fatal(err)
		}
		if zh, en := h.Say(); zh != want[0] || en != want[1] {
			t.Errorf("%s: %q, %q; want %q, %q", spec, zh, en, want[0], want[1])
		}
	}
}
