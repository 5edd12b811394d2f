package app

import (
	"context"
	"io"
	"os"

	"yingda/search"
	"yingda/search/bleve"
	"yingda/search/searchtest"
)

// SearchEval measures the embedded index with the judged queries and prints recall@10, nDCG@10, zero hits and p95.
func SearchEval(ctx context.Context, w io.Writer) error {
	dir, err := os.MkdirTemp("", "yingda-eval-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	x, err := bleve.Open(dir, bleve.Config{})
	if err != nil {
		return err
	}
	defer x.Close()
	set, err := searchtest.Embedded()
	if err != nil {
		return err
	}
	if err := x.Apply(ctx, set.Events(), search.Position{}); err != nil {
		return err
	}
	report, err := searchtest.Eval(ctx, x, set)
	if err != nil {
		return err
	}
	return report.Print(w)
}
