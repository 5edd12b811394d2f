package bleve

import (
	"bytes"
	"testing"

	"yingda/search/searchtest"
)

// The judged set must be found: a drop here is a change for the worse, whatever made it.
func TestJudgedQueriesAreFound(t *testing.T) {
	set, err := searchtest.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	x, err := Open(t.TempDir(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	if err := x.Apply(t.Context(), set.Events()); err != nil {
		t.Fatal(err)
	}
	report, err := searchtest.Eval(t.Context(), x, set)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := report.Print(&b); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", b.String())
	if report.Recall10 < 0.95 {
		t.Errorf("recall@10 is %.3f, want at least 0.95", report.Recall10)
	}
	for _, c := range report.Classes { // each guards one thing: 同音 the tables' sounds, 同音生词 the field of sounds
		if c.Recall10 < 0.85 {
			t.Errorf("recall@10 of the class %s is %.3f, want at least 0.85", c.Class, c.Recall10)
		}
	}
	if report.Unseen.Recall10 < 0.75 { // what the tables do not know; better tables raise it, and nothing may lower it
		t.Errorf("recall@10 of unseen queries is %.3f, want at least 0.75", report.Unseen.Recall10)
	}
}
