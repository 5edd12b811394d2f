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
	if report.Unseen.Recall10 < 0.70 { // what the tables do not know; better tables raise it, and nothing may lower it
		t.Errorf("recall@10 of unseen queries is %.3f, want at least 0.70", report.Unseen.Recall10)
	}
}
