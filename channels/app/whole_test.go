package app

import (
	"context"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/wire"
	"yingda/internal/store"
	"yingda/routing/casebook"
	"yingda/routing/grid/griddemo"
	"yingda/search"
)

// A submission goes through: the case book opens its case and routes it to the grid of its place, by what the app and the resident said; the same
// id stands in stream, search, case and status.
func TestSubmissionToCase(t *testing.T) {
	o := open(t)
	ctx := context.Background()
	book, err := casebook.New(ctx, casebook.Config{Store: o.db, Epoch: o.epoch, Now: o.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := book.SaveRegistry(ctx, griddemo.Registry("2026-11", time.Time{}), 0, "admin"); err != nil {
		t.Fatal(err)
	}
	o.server.config.CaseNumber = func(ctx context.Context, id intake.CaseID) (string, error) {
		c, err := book.Case(ctx, id)
		return c.Number, err
	}
	got := o.post("k", `{"text":"三幢二单元楼道灯不亮","address":"柳荫一村 3 幢","phone":"13800005678","name":"王","category":"lighting"}`).receipt(t)
	records := o.events()
	if err := o.db.Tx(ctx, func(tx *store.Tx) error { return book.Apply(ctx, tx, records) }); err != nil {
		t.Fatal(err)
	}
	out, err := o.db.Outbox(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range out {
		e, err := wire.New(month{}).Decode(raw.Event)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.log.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	o.apply()
	st, err := o.server.Status(ctx, got.Receipt, "5678")
	if err != nil || st.Case == "" || st.CaseNumber == "" || st.Grid == "" || st.Deadline.IsZero() || st.State == Received || st.Contact != got.ID {
		t.Fatalf("%+v %v", st, err)
	}
	c, err := book.Case(ctx, st.Case)
	if err != nil || len(c.Contacts) != 1 || c.Contacts[0] != got.ID || c.Words.Reveal() != "三幢二单元楼道灯不亮" || c.Address.Reveal() != "柳荫一村 3 幢" || c.Category != "lighting" || c.Grid != st.Grid || c.Phone.Reveal() != "13800005678" {
		t.Errorf("%+v %v", c, err)
	}
	var doc search.Document
	for _, r := range o.events() {
		if r.Event.Contact() == got.ID {
			search.Apply(&doc, r.Event)
		}
	}
	if doc.ID != got.ID.Subject() || doc.Channel != intake.App || doc.Outcome != intake.Accepted {
		t.Errorf("%+v", doc)
	}
}
