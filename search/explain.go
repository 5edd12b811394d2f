package search

import (
	"cmp"
	"slices"
	"strings"

	"yingda/internal/pii"
)

// Sizes of what a hit shows, in characters.
const (
	snippetBefore = 16
	snippetAfter  = 64
	maxSnippets   = 2
)

// Explain says where a document that was found matches and why, the strongest reason first. Whoever's number, name or
// address it is, is masked in it. The index only finds; this looks at the document itself, so all indexes explain alike.
func (a *Analyzer) Explain(p Plan, d *Document) ([]Highlight, []Why) {
	if len(p.Concepts) == 0 {
		return nil, []Why{WhyFilter}
	}
	var lights []Highlight
	seen := map[Why]bool{}
	type scored struct {
		Highlight
		marks int
	}
	var words []scored
	for _, w := range d.Words {
		if h, n := a.mark(p, w.Reveal(), "words", seen); n > 0 {
			words = append(words, scored{h, n})
		}
	}
	slices.SortStableFunc(words, func(x, y scored) int { return cmp.Compare(y.marks, x.marks) })
	for _, w := range words[:min(len(words), maxSnippets)] {
		lights = append(lights, w.Highlight)
	}
	if h, n := a.mark(p, d.Category, "category", seen); n > 0 {
		lights = append(lights, h)
	}
	address := map[Why]bool{}
	if h, n := a.mark(p, d.Address.Reveal(), "address", address); n > 0 {
		seen[WhyAddress] = true
		if address[WhySound] && !address[WhyWords] {
			seen[WhySound] = true
		}
		lights = append(lights, masked("address", d.Address.String(), d.Address.Reveal(), h))
	}
	lights = a.explainName(p, d, seen, lights)
	lights = explainNumber(p, d, seen, lights)
	for _, id := range append([]string{d.ID.ID(), d.SIPCallID}, contactIDs(d)...) {
		if _, ok := p.terms[FieldID][idToken(id)]; ok {
			seen[WhyID] = true
		}
	}
	var why []Why
	for _, w := range []Why{WhyID, WhyNumber, WhyName, WhyWords, WhyAddress, WhyChar, WhySynonym, WhySound} {
		if seen[w] {
			why = append(why, w)
		}
	}
	return lights, why
}

func contactIDs(d *Document) []string {
	var ids []string
	for _, c := range d.Contacts {
		ids = append(ids, string(c))
	}
	return ids
}

// mark finds what matches in one text. Characters are marked by the words themselves before synonyms before sound.
func (a *Analyzer) mark(p Plan, text, field string, seen map[Why]bool) (Highlight, int) {
	if text == "" {
		return Highlight{}, 0
	}
	chars := normalise(text, MaxWords)
	marks := make([]Why, len(chars))
	tokens := a.tokens(chars)
	if field == "address" {
		for i := range tokens {
			if tokens[i].field == FieldWords {
				tokens[i].field = FieldAddress
			}
		}
	}
	count := 0
	set := func(t token, why Why) {
		fresh := false
		for i := t.from; i < t.to; i++ {
			if marks[i] == "" {
				marks[i], fresh = why, true
			}
		}
		if fresh {
			count++
			seen[why] = true
		}
	}
	present := map[Field]map[string]bool{}
	for _, t := range tokens {
		if present[t.field] == nil {
			present[t.field] = map[string]bool{}
		}
		present[t.field][t.text] = true
	}
	for _, fields := range [][]Field{{FieldNumber, FieldWords, FieldAddress, FieldPhrase, FieldChars}, nil, {FieldSound}} {
		if fields == nil {
			for _, c := range p.all {
				if !slices.ContainsFunc(c.Terms, func(t string) bool { return !present[c.Field][t] }) {
					for _, t := range tokens {
						if t.field == c.Field && slices.Contains(c.Terms, t.text) {
							set(t, c.Why)
						}
					}
				}
			}
			continue
		}
		for _, t := range tokens {
			if !slices.Contains(fields, t.field) {
				continue
			}
			if why, ok := p.terms[t.field][t.text]; ok {
				set(t, why)
			}
		}
	}
	if count == 0 {
		return Highlight{}, 0
	}
	return snippet(text, field, chars, marks), count
}

// snippet cuts out the part of text around the first mark and hides long runs of digits in it. Digits and stars are one byte each, so
// the ranges stay right.
func snippet(text, field string, chars []char, marks []Why) Highlight {
	first := slices.IndexFunc(marks, func(w Why) bool { return w != "" })
	from, to := max(first-snippetBefore, 0), min(first+snippetAfter, len(chars))
	start, end := chars[from].from, chars[to-1].to
	if from == 0 {
		start = 0
	}
	if to == len(chars) {
		end = len(text)
	}
	clear := []byte(text[start:end])
	for _, n := range spokenNumbers(chars) {
		left := 4 // of which one may see the last
		for i := n.to - 1; i >= n.from; i-- {
			c := chars[i]
			_, said := numeralDigit(c.r)
			if scriptOf(c.r) != digit && !said {
				continue
			}
			if left--; left >= 0 || c.from < start || c.to > end {
				continue
			}
			for b := c.from; b < c.to; b++ {
				clear[b-start] = '*'
			}
		}
	}
	h := Highlight{Field: field}
	for i := from; i < to; i++ {
		if marks[i] == "" {
			continue
		}
		r := Range{chars[i].from - start, chars[i].to - start, marks[i]}
		if last := len(h.Ranges) - 1; last >= 0 && h.Ranges[last].To == r.From && h.Ranges[last].Why == r.Why {
			h.Ranges[last].To = r.To
		} else {
			h.Ranges = append(h.Ranges, r)
		}
	}
	before, after := "", ""
	if start > 0 {
		before = "…"
	}
	if end < len(text) {
		after = "…"
	}
	for i := range h.Ranges {
		h.Ranges[i].From += len(before)
		h.Ranges[i].To += len(before)
	}
	h.Text = pii.NewText(before + string(clear) + after)
	return h
}

// masked shows a match in something that is shown masked: the ranges are kept as far as the mask leaves the beginning as it is.
func masked(field, shown, clear string, h Highlight) Highlight {
	same := 0
	for same < len(shown) && same < len(clear) && shown[same] == clear[same] {
		same++
	}
	kept := Highlight{Field: field, Text: pii.NewText(shown)}
	if !strings.HasPrefix(h.Text.Reveal(), "…") {
		for _, r := range h.Ranges {
			if r.To <= same {
				kept.Ranges = append(kept.Ranges, r)
			}
		}
	}
	return kept
}

func (a *Analyzer) explainName(p Plan, d *Document, seen map[Why]bool, lights []Highlight) []Highlight {
	if d.Name.IsZero() {
		return lights
	}
	f := Fields{}
	a.nameFields(f, d.Name)
	var why Why
	for _, field := range []Field{FieldNameSound, FieldChars, FieldName} { // the strongest last
		for _, t := range f[field] {
			if w, ok := p.terms[field][t]; ok {
				why = w
			}
		}
	}
	if why == "" {
		return lights
	}
	seen[why] = true
	shown := d.Name.String()
	return append(lights, Highlight{"name", pii.NewText(shown), []Range{{0, len(shown), why}}})
}

func explainNumber(p Plan, d *Document, seen map[Why]bool, lights []Highlight) []Highlight {
	f := Fields{}
	for _, n := range numberForms(d.Number) {
		numberFields(f, n)
	}
	hit := slices.ContainsFunc(f[FieldNumber], func(t string) bool { _, ok := p.terms[FieldNumber][t]; return ok })
	for t := range p.terms[FieldNumberPart] { // a part of four digits
		hit = hit || slices.Contains(f[FieldNumberPart], t)
	}
	for _, c := range p.all {
		hit = hit || c.Field == FieldNumberPart && len(f[FieldNumberPart]) > 0 &&
			!slices.ContainsFunc(c.Terms, func(t string) bool { return !slices.Contains(f[FieldNumberPart], t) })
	}
	if !hit {
		return lights
	}
	seen[WhyNumber] = true
	shown := d.Number.String()
	return append(lights, Highlight{"number", pii.NewText(shown), []Range{{0, len(shown), WhyNumber}}})
}
