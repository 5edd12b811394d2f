package searchtest

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"yingda/search"
)

// Figures of some queries. Recall10 is the mean share of what is relevant that stands among the first ten; a query with more than ten
// relevant documents can find ten. NDCG10 is the mean normalised discounted gain, with gains 3 and 1 for grades 2 and 1.
type Figures struct {
	Class    string        `json:"class"`
	Queries  int           `json:"queries"`
	Recall10 float64       `json:"recall_at_10"`
	NDCG10   float64       `json:"ndcg_at_10"`
	ZeroHits int           `json:"zero_hits"` // queries that found nothing at all
	P95      time.Duration `json:"p95"`
}

// Report of an evaluation.
type Report struct {
	Figures                // of all queries but the unseen
	Unseen    Figures      `json:"unseen"` // of those that nothing was tuned for: what to expect of a new question
	Documents int          `json:"documents"`
	Classes   []Figures    `json:"classes"`
	Worst     []QueryScore `json:"worst"` // up to 20 with the lowest recall under 1
}

// QueryScore is how one query did.
type QueryScore struct {
	Class    string  `json:"class"`
	Query    string  `json:"query"`
	Recall10 float64 `json:"recall_at_10"`
	Relevant int     `json:"relevant"`
	unseen   bool
	took     time.Duration
	ndcg     float64
	total    int
}

// Eval asks the index every query of the set. The index must hold the set's events and nothing else.
func Eval(ctx context.Context, x search.Index, s Set) (Report, error) {
	var scores []QueryScore
	for _, j := range s.Queries {
		r, err := x.Search(ctx, search.Query{Text: j.Query, Limit: 10})
		if err != nil {
			return Report{}, fmt.Errorf("query %q: %w", j.Query, err)
		}
		scores = append(scores, score(j, r))
	}
	tuned := slices.DeleteFunc(slices.Clone(scores), func(q QueryScore) bool { return q.unseen })
	unseen := slices.DeleteFunc(slices.Clone(scores), func(q QueryScore) bool { return !q.unseen })
	report := Report{Figures: figures("all", tuned), Unseen: figures("unseen", unseen), Documents: len(s.Items)}
	var classes []string
	for _, q := range tuned {
		if !slices.Contains(classes, q.Class) {
			classes = append(classes, q.Class)
		}
	}
	for _, c := range classes {
		report.Classes = append(report.Classes, figures(c, slices.DeleteFunc(slices.Clone(scores), func(q QueryScore) bool { return q.Class != c })))
	}
	report.Worst = slices.DeleteFunc(scores, func(q QueryScore) bool { return q.Recall10 >= 1 })
	slices.SortStableFunc(report.Worst, func(a, b QueryScore) int { return int(math.Copysign(1, a.Recall10-b.Recall10)) })
	report.Worst = report.Worst[:min(len(report.Worst), 20)]
	return report, nil
}

func score(j Judged, r search.Result) QueryScore {
	q := QueryScore{Class: j.Class, Query: j.Query, unseen: j.Unseen, Relevant: len(j.Grades), took: r.Took, total: r.Total}
	found, gain := 0, 0.0
	for i, h := range r.Hits[:min(len(r.Hits), 10)] {
		grade := j.Grades[h.ID.ID()]
		if grade > 0 {
			found++
		}
		gain += discounted(grade, i)
	}
	var grades []int
	for _, g := range j.Grades {
		grades = append(grades, g)
	}
	slices.SortFunc(grades, func(a, b int) int { return b - a })
	best := 0.0
	for i, g := range grades[:min(len(grades), 10)] {
		best += discounted(g, i)
	}
	q.Recall10 = float64(found) / float64(max(1, min(10, len(j.Grades))))
	if best > 0 {
		q.ndcg = gain / best
	}
	return q
}

func discounted(grade, rank int) float64 {
	return (math.Pow(2, float64(grade)) - 1) / math.Log2(float64(rank+2))
}

func figures(class string, scores []QueryScore) Figures {
	f := Figures{Class: class, Queries: len(scores)}
	var took []time.Duration
	for _, q := range scores {
		f.Recall10 += q.Recall10 / float64(len(scores))
		f.NDCG10 += q.ndcg / float64(len(scores))
		if q.total == 0 {
			f.ZeroHits++
		}
		took = append(took, q.took)
	}
	slices.Sort(took)
	if n := len(took); n > 0 {
		f.P95 = took[min(n-1, n*95/100)]
	}
	return f
}

// Print writes the report for a person.
func (r Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(t, "class\tqueries\trecall@10\tnDCG@10\tzero hits\tp95\t\n")
	for _, f := range append(slices.Clone(r.Classes), r.Figures, r.Unseen) {
		_, _ = fmt.Fprintf(t, "%s\t%d\t%.3f\t%.3f\t%d\t%s\t\n", f.Class, f.Queries, f.Recall10, f.NDCG10, f.ZeroHits, f.P95.Round(10*time.Microsecond))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d documents\n", r.Documents)
	for _, q := range r.Worst {
		_, _ = fmt.Fprintf(w, "  %.2f of %d relevant  %s  %s\n", q.Recall10, min(10, q.Relevant), q.Class, q.Query)
	}
	return err
}
