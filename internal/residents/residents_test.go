package residents

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

func open(t *testing.T, path string) *Book {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b, err := New(t.Context(), Config{Store: db, Token: token, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func token(p pii.Phone) intake.Token { return intake.Token("t" + p.National().Reveal()) }

func TestNumberIsNotAPerson(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "t.db")
	b := open(t, path)
	home, mobile := pii.NewPhone("0512-5550-0001"), pii.NewPhone("13800000002")
	mother, err := b.Save(ctx, Card{Name: pii.NewName("王桂英"), Also: []pii.Name{pii.NewName("王阿姨")}, Numbers: []Number{{Number: home}}, Grid: "g1", Older: true, Notes: []string{"听力弱"}})
	if err != nil {
		t.Fatal(err)
	}
	daughter, err := b.Save(ctx, Card{Name: pii.NewName("周敏"), Numbers: []Number{{Number: home}, {Number: mobile, Note: "手机"}}, ActsFor: []string{mother.ID}})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Book{b, open(t, path)} { // and as another process reads it
		if list, _ := b.ByToken(ctx, token(home)); len(list) != 2 {
			t.Errorf("%d people use the landline, want 2", len(list))
		}
		list, _ := b.ByToken(ctx, token(mobile))
		if len(list) != 1 || list[0].ID != daughter.ID || list[0].ActsFor[0] != mother.ID || list[0].Numbers[1].Note != "手机" {
			t.Errorf("mobile: %+v", list)
		}
		if found, _ := b.Find(ctx, Find{Name: "王阿姨"}); len(found) != 1 || !found[0].Older || found[0].Grid != "g1" || found[0].Notes[0] != "听力弱" {
			t.Errorf("found %+v", found)
		}
	}
	daughter.Numbers = daughter.Numbers[1:]
	if _, err := b.Save(ctx, daughter); err != nil {
		t.Fatal(err)
	}
	if list, _ := b.ByToken(ctx, token(home)); len(list) != 1 || list[0].ID != mother.ID {
		t.Errorf("after she moved out: %+v", list)
	}
	if err := b.Erase(ctx, mother.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path).Card(ctx, mother.ID); !errors.Is(err, ErrNoCard) {
		t.Errorf("erased: %v", err)
	}
}

func TestBlocked(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "t.db")
	b := open(t, path)
	if err := errors.Join(b.Block(ctx, Blocked{Token: "a", Line: "main", Reason: "nuisance", Until: now.Add(time.Hour)}), b.Block(ctx, Blocked{Token: "b"})); err != nil {
		t.Fatal(err)
	}
	test := func(tok intake.Token, line intake.LineID, at time.Time, want bool) {
		t.Helper()
		for _, b := range []*Book{b, open(t, path)} {
			if got := b.Blocked(ctx, tok, line, at); got != want {
				t.Errorf("%s on %s at %s: %v", tok, line, at, got)
			}
		}
	}
	test("a", "main", now, true)
	test("a", "other", now, false)
	test("a", "main", now.Add(2*time.Hour), false)
	test("b", "other", now.Add(1000*time.Hour), true)
	test("", "main", now, false)
	if err := b.Unblock(ctx, "b", ""); err != nil {
		t.Fatal(err)
	}
	test("b", "other", now, false)
}
