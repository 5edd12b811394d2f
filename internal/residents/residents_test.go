package residents

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/internal/store/storetest"
)

func open(t *testing.T, path string) *Book {
	t.Helper()
	db, err := store.Open(t.Context(), storetest.Address(t, path))
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

// What the phone edge asks while a phone rings, among 50,000 cards: far below the 50 µs that it may take.
func BenchmarkRinging(b *testing.B) {
	db, err := store.Open(b.Context(), storetest.Address(b, filepath.Join(b.TempDir(), "t.db")))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	book, err := New(b.Context(), Config{Store: db, Token: token})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 50_000 {
		n := fmt.Sprintf("138%08d", i)
		book.put(Card{ID: n, Name: pii.NewName("王某某"), Numbers: []Number{{Token: intake.Token("t" + n), Number: pii.NewPhone(n)}}})
	}
	ctx := b.Context()
	for b.Loop() {
		if book.Blocked(ctx, "t13800012345", "main", now) {
			b.Fatal("blocked")
		}
		if list, err := book.ByToken(ctx, "t13800012345"); err != nil || len(list) != 1 {
			b.Fatal(list, err)
		}
	}
}

// Who is given a card may do with it what they like: the book does not change.
func TestCardsAreCopies(t *testing.T) {
	ctx := context.Background()
	b := open(t, filepath.Join(t.TempDir(), "t.db"))
	kept, err := b.Save(ctx, Card{Name: pii.NewName("王桂英"), Numbers: []Number{{Number: pii.NewPhone("13800000002")}}, Notes: []string{"听力弱"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Card(ctx, kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	got.Notes[0], kept.Numbers[0].Note = "x", "x"
	again, err := b.Card(ctx, kept.ID)
	if err != nil || again.Notes[0] != "听力弱" || again.Numbers[0].Note != "" {
		t.Fatalf("%+v %v", again, err)
	}
}

// A caller whose number nobody knows is still found again by the token.
func TestTokenOnly(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "t.db")
	b := open(t, path)
	if _, err := b.Save(ctx, Card{Name: pii.NewName("王桂英"), Numbers: []Number{{Token: "web-42", Note: "网页"}}}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Book{b, open(t, path)} {
		if list, _ := b.ByToken(ctx, "web-42"); len(list) != 1 || list[0].Numbers[0].Note != "网页" {
			t.Errorf("%+v", list)
		}
	}
	if err := errors.Join(b.Block(ctx, Blocked{Token: "a", Reason: "x"}), b.Block(ctx, Blocked{Token: "b", Line: "main"})); err != nil {
		t.Fatal(err)
	}
	if list, err := b.BlockedCallers(ctx); err != nil || len(list) != 2 || list[0].Token != "a" || list[0].Reason != "x" {
		t.Errorf("%+v %v", list, err)
	}
}

// Reload hears of what another node saved.
func TestReload(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "t.db")
	a, b := open(t, path), open(t, path)
	saved, err := a.Save(ctx, Card{Name: pii.NewName("王桂英"), Numbers: []Number{{Number: pii.NewPhone("13800000002")}}})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := b.Save(ctx, Card{Name: pii.NewName("周敏"), Numbers: []Number{{Number: pii.NewPhone("13800000003")}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Reload(ctx), a.Reload(ctx), a.Erase(ctx, gone.ID), a.Block(ctx, Blocked{Token: "x"}), b.Reload(ctx)); err != nil {
		t.Fatal(err)
	}
	if list, _ := b.ByToken(ctx, token(pii.NewPhone("13800000002"))); len(list) != 1 || list[0].ID != saved.ID {
		t.Errorf("%+v", list)
	}
	if list, _ := b.ByToken(ctx, token(pii.NewPhone("13800000003"))); len(list) != 0 {
		t.Errorf("erased on the other node, still here: %+v", list)
	}
	if !b.Blocked(ctx, "x", "main", now) {
		t.Error("blocked on the other node, not here")
	}
}
