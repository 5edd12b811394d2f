package app

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/routing/casebook"
)

// A case may name only contacts that somebody has offered.
func TestAuditFindsACaseOfNobody(t *testing.T) {
	a := serve(t, quiet(t), io.Discard)
	ctx := t.Context()
	real := intake.ContactID(newID())
	at := intake.Millis(a.now())
	key := string(real)
	err := a.Log.Append(ctx,
		intake.Event{Source: "test", Subject: real.Subject(), Sequence: intake.NewSequence(1, 1), Time: at, PartitionKey: key,
			Data: &intake.OfferedV1{Channel: intake.Phone, Line: "main", Switchboard: "main", Origin: "test"}},
		intake.Event{Source: "test", Subject: real.Subject(), Sequence: intake.NewSequence(1, 2), Time: at.Add(time.Second), PartitionKey: key,
			Data: &intake.EndedV1{Outcome: intake.AbandonedGreeting}})
	if err != nil {
		t.Fatal(err)
	}
	open := func(contact intake.ContactID) intake.CaseID {
		t.Helper()
		c, err := a.cases.Open(ctx, casebook.OpenCase{Source: intake.FromOperator, Contacts: []intake.ContactID{contact}, Channel: intake.Phone, Line: "main", Words: pii.NewText("路灯不亮")})
		if err != nil {
			t.Fatal(err)
		}
		return c.ID
	}
	open(real)
	audit := func() AuditReport {
		t.Helper()
		r, err := a.Audit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	until(t, "the books have read the contact", func() bool { return audit().Offered == 1 })
	if r := audit(); !r.Clean {
		t.Fatalf("a case of a real contact is a finding: %+v", r.Findings)
	}
	nobody := intake.ContactID(newID())
	planted := open(nobody)
	r := audit()
	if r.Clean || !slices.ContainsFunc(r.Findings, func(f AuditFinding) bool {
		return f.Where == "casebook" && f.ID == string(nobody) && strings.Contains(f.What, string(planted))
	}) {
		t.Errorf("a case that names nobody's contact %s was not found: %+v", nobody, r)
	}
	if len(r.Findings) != 1 {
		t.Errorf("findings beside the planted one: %+v", r.Findings)
	}
}
