package casebook

import (
	"errors"
	"testing"

	"yingda/internal/pii"
	"yingda/routing"
)

// What a phone sends three times is done once, be it after another start; what is refused is done not at all and may be tried again.
func TestDoneOnce(t *testing.T) {
	o := newOffice(t, true)
	c := o.open(light("c1"))
	o.events()
	answer := []routing.Input{routing.Answer{Text: pii.NewText("见到本人"), By: "lu"}, routing.Close{Result: routing.Met, Known: routing.Seen, By: "lu"}}
	for range 2 {
		for range 2 {
			got, err := o.DoOnce(t.Context(), "act/1", c.ID, answer...)
			if err != nil || got.State != routing.Closed || got.Result != routing.Met {
				t.Fatal(got.State, err)
			}
		}
		o.Book = o.book()
	}
	if got := o.types(); got != "case.accepted case.answered case.closed" {
		t.Errorf("events: %s", got)
	}
	if id, ok, err := o.Has(t.Context(), "act/1"); id != c.ID || !ok || err != nil {
		t.Error(id, ok, err)
	}

	// A refusal half-way leaves nothing behind, not even the key.
	var r *Refused
	if _, err := o.DoOnce(t.Context(), "act/2", c.ID, routing.Note{Text: pii.NewText("又"), By: "lu"}, routing.Return{Why: "不归我", By: "lu"}); !errors.As(err, &r) {
		t.Errorf("returned a closed case: %v", err)
	}
	if _, ok, _ := o.Has(t.Context(), "act/2"); ok || o.types() != "" {
		t.Error("what was refused has left something behind")
	}
	if _, err := o.DoOnce(t.Context(), "act/3", "none", routing.Note{Text: pii.NewText("x")}); !errors.Is(err, ErrNoCase) {
		t.Error(err)
	}
}
