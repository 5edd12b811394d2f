package searchtest

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"yingda/search"
)

// Comparison is how two indexes find the same judged set.
type Comparison struct {
	Names   [2]string
	Reports [2]Report
}

// Compare fills two empty indexes with the set and asks both all of it.
func Compare(ctx context.Context, s Set, names [2]string, x [2]search.Index) (Comparison, error) {
	c := Comparison{Names: names}
	for i := range x {
		if err := x[i].Apply(ctx, s.Events()); err != nil {
			return c, fmt.Errorf("%s: %w", names[i], err)
		}
		r, err := Eval(ctx, x[i], s)
		if err != nil {
			return c, fmt.Errorf("%s: %w", names[i], err)
		}
		c.Reports[i] = r
	}
	return c, nil
}

// Difference is the larger of the differences in recall@10, of all queries and of the unseen ones: 0.02 are two points.
func (c Comparison) Difference() float64 {
	a, b := c.Reports[0], c.Reports[1]
	return max(math.Abs(a.Recall10-b.Recall10), math.Abs(a.Unseen.Recall10-b.Unseen.Recall10))
}

// Print writes both figures side by side, class by class.
func (c Comparison) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(t, "class\tqueries\t")
	for _, n := range c.Names {
		_, _ = fmt.Fprintf(t, "recall@10 %s\tnDCG@10\tzero hits\tp95\t", n)
	}
	_, _ = fmt.Fprintln(t)
	rows := func(r Report) []Figures { return append(slices.Clone(r.Classes), r.Figures, r.Unseen) }
	other := rows(c.Reports[1])
	for i, f := range rows(c.Reports[0]) {
		_, _ = fmt.Fprintf(t, "%s\t%d\t", f.Class, f.Queries)
		for _, f := range []Figures{f, other[i]} {
			_, _ = fmt.Fprintf(t, "%.3f\t%.3f\t%d\t%.1fms\t", f.Recall10, f.NDCG10, f.ZeroHits, float64(f.P95.Microseconds())/1000)
		}
		_, _ = fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d documents; recall@10 differs by %.3f\n", c.Reports[0].Documents, c.Difference())
	return err
}
