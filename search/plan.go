package search

import (
	"slices"
	"strings"

	"yingda/internal/pii"
)

// Clause is one way in which a document can answer a question: it has any of the terms in the field or, when All is set, every one.
type Clause struct {
	Field Field
	Terms []string
	All   bool
	Boost float64 // a document's score is the sum over its terms of boost × what the index thinks the term is worth
	Why   Why
}

// Plan is a question as an index carries it out: documents that answer any of the clauses and pass all filters of
// Query, best first. Without clauses and with Nothing unset, the filters alone decide.
type Plan struct {
	Query   Query // limits applied
	Clauses []Clause
	Nothing bool // the text has nothing in it that could be looked for; no document matches
	terms   map[Field]map[string]Why
	all     []Clause
}

// What a match is worth. Text against sound is 2.0 : 0.7 as measured; the others are by how sure one can be.
const (
	boostWords     = 2.0
	boostPhrase    = 1.2
	boostSound     = 0.7
	boostSynonym   = 1.0
	boostName      = 4.0
	boostNamePart  = 1.5
	boostNameSound = 1.5
	boostNumber    = 12.0
	boostLastFour  = 6.0
	boostPart      = 3.0
	boostID        = 20.0
)

// How many different terms of a kind one question may have. A letter that somebody pastes has more; its beginning decides.
const (
	maxTerms    = 96
	maxSynonyms = 48
)

// Plan reads a query. It never fails: every text means something or nothing.
func (a *Analyzer) Plan(q Query) Plan {
	p := Plan{Query: bounded(q)}
	raw := strings.TrimSpace(p.Query.Text)
	if raw == "" {
		return p
	}
	chars := normalise(raw, MaxText)
	parts := runs(chars)
	tokens := a.tokens(chars)
	inside := a.pieces(chars, parts)
	numbers := spokenNumbers(chars)

	terms := map[Field][]string{}
	for _, t := range tokens {
		isNumber := slices.ContainsFunc(numbers, func(n spoken) bool { return t.from >= n.from && t.to <= n.to })
		switch t.field {
		case FieldWords, FieldPhrase, FieldSound:
			if inside(t.from, t.to) && !isNumber {
				terms[t.field] = append(terms[t.field], t.text)
			}
		}
	}
	p.any(FieldWords, boostWords, WhyWords, terms[FieldWords])
	p.any(FieldPhrase, boostPhrase, WhyWords, terms[FieldPhrase])
	p.any(FieldSound, boostSound, WhySound, terms[FieldSound])
	if oneCharacter(parts) {
		var list []string
		for _, r := range parts {
			list = append(list, r.String())
		}
		p.any(FieldChars, 1, WhyChar, list)
	}
	a.planSynonyms(&p, parts)
	a.planNames(&p, parts)
	planNumbers(&p, parts, numbers)
	planID(&p, raw)
	p.Nothing = len(p.Clauses) == 0
	return p
}

// bounded applies the limits of a query.
func bounded(q Query) Query {
	q.Text = cut(q.Text, MaxText)
	if q.Limit <= 0 {
		q.Limit = 20
	}
	q.Limit = min(q.Limit, MaxLimit)
	q.Offset = min(max(q.Offset, 0), MaxOffset)
	if q.After != "" {
		q.Offset = 0
	}
	q.Kinds, q.Channels, q.Lines, q.Outcomes = few(q.Kinds), few(q.Channels), few(q.Lines), few(q.Outcomes)
	q.Grids, q.Departments, q.Categories = few(q.Grids), few(q.Departments), few(q.Categories)
	q.States, q.Operators = few(q.States), few(q.Operators)
	return q
}

func few[T any](list []T) []T { return list[:min(len(list), MaxValues)] }

func (p *Plan) any(f Field, boost float64, why Why, terms []string) {
	var list []string
	for _, t := range terms {
		if t != "" && !slices.Contains(list, t) {
			list = append(list, t)
		}
		if len(list) == maxTerms {
			break
		}
	}
	if len(list) > 0 {
		p.Clauses = append(p.Clauses, Clause{f, list, false, boost, why})
		p.note(f, list, why)
	}
}

// note remembers terms for Explain.
func (p *Plan) note(f Field, terms []string, why Why) {
	if p.terms == nil {
		p.terms = map[Field]map[string]Why{}
	}
	if p.terms[f] == nil {
		p.terms[f] = map[string]Why{}
	}
	for _, t := range terms {
		if _, ok := p.terms[f][t]; !ok {
			p.terms[f][t] = why
		}
	}
}

func (p *Plan) every(f Field, boost float64, why Why, terms []string) {
	if len(terms) == 0 {
		return
	}
	c := Clause{f, terms, true, boost, why}
	p.Clauses, p.all = append(p.Clauses, c), append(p.all, c)
}

// pieces gives a test of whether a stretch of chars belongs to what is asked and not to what it is wrapped in.
func (a *Analyzer) pieces(chars []char, parts []run) func(from, to int) bool {
	keep := make([]int, len(chars)) // number of the piece that a character is in, and 0 outside; pieces may overlap by one
	also := make([]int, len(chars))
	at, number := 0, 0
	for _, r := range parts {
		for chars[at].from != r.chars[0].from {
			at++
		}
		number++
		if r.script != han {
			for i := range r.chars {
				keep[at+i] = number
			}
			if at+len(r.chars) < len(chars) {
				also[at+len(r.chars)] = number // the 号 of 3号
			}
			continue
		}
		for _, piece := range a.content(r.chars) {
			number++
			for i := piece[0]; i < piece[1]; i++ {
				if keep[at+i] == 0 {
					keep[at+i] = number
				} else {
					also[at+i] = number
				}
			}
		}
	}
	return func(from, to int) bool {
		for _, n := range []int{keep[from], also[from]} {
			if n == 0 {
				continue
			}
			all := true
			for i := from + 1; i < to; i++ {
				all = all && (keep[i] == n || also[i] == n)
			}
			if all {
				return true
			}
		}
		return false
	}
}

// oneCharacter says whether a query is nothing but single Han characters.
func oneCharacter(parts []run) bool {
	for _, r := range parts {
		if r.script != han || len(r.chars) != 1 {
			return false
		}
	}
	return len(parts) > 0
}

func (a *Analyzer) planSynonyms(p *Plan, parts []run) {
	asked := p.terms[FieldWords]
	var have [][]string
	for _, r := range parts {
		if r.script != han {
			for _, other := range a.synonyms[r.String()] {
				have = a.synonym(p, have, other, asked)
			}
			continue
		}
		for _, w := range find(r.chars, func(w string) bool { _, ok := a.synonyms[w]; return ok }) {
			for _, other := range a.synonyms[w.word] {
				have = a.synonym(p, have, other, asked)
			}
		}
	}
}

// synonym adds one other word, unless its terms are asked for already.
func (a *Analyzer) synonym(p *Plan, have [][]string, word string, asked map[string]Why) [][]string {
	chars := normalise(word, maxWord)
	var terms []string
	fresh := false
	for _, t := range a.tokens(chars) {
		if t.field == FieldWords && (t.to-t.from > 1 || scriptOf(chars[t.from].r) != han) && !slices.Contains(terms, t.text) {
			terms = append(terms, t.text)
			_, old := asked[t.text]
			fresh = fresh || !old
		}
	}
	if !fresh || len(have) >= maxSynonyms || slices.ContainsFunc(have, func(h []string) bool { return slices.Equal(h, terms) }) {
		return have
	}
	p.every(FieldWords, boostSynonym/float64(len(terms)), WhySynonym, terms)
	return append(have, terms)
}

// titles are what people are called by after their family name.
var titles = []string{"阿姨", "大爷", "师傅", "先生", "女士", "老师", "老伯", "阿婆", "奶奶", "爷爷", "大妈", "伯伯", "叔叔", "大伯", "好婆", "老太", "老太太", "大姐", "小姐", "阿爹"}

func (a *Analyzer) planNames(p *Plan, parts []run) {
	var parted, whole, sound, family []string
	for _, r := range parts {
		text := r.String()
		switch {
		case r.script == latin && len(r.chars) >= 2 && len(r.chars) <= 24:
			sound = append(sound, text)
		case r.script != han || len(r.chars) < 2:
		default:
			chars := r.chars
			for _, t := range titles {
				if rest, ok := strings.CutSuffix(text, t); ok && rest != "" {
					n := len([]rune(rest))
					if n == 1 {
						family = append(family, "^"+rest)
					}
					chars = chars[:n]
					break
				}
			}
			if len(chars) >= 2 && len(chars) <= 4 {
				whole = append(whole, letters(chars))
				sound = append(sound, a.nameSound(chars))
			} else if len(chars) > 4 && len(chars) <= 24 {
				for _, piece := range a.content(chars) {
					parted = append(parted, grams(chars[piece[0]:piece[1]], 3, 3)...)
				}
			}
		}
	}
	p.any(FieldName, boostName, WhyName, whole)
	p.any(FieldName, boostNamePart, WhyName, append(parted, family...))
	p.any(FieldNameSound, boostNameSound, WhySound, sound)
}

func planNumbers(p *Plan, parts []run, numbers []spoken) {
	for _, n := range numbers {
		full := []string{n.digits}
		for _, form := range []string{n.digits, "+" + n.digits} {
			if d := onlyDigits(pii.NewPhone(form).National().Reveal()); d != "" && !slices.Contains(full, d) {
				full = append(full, d)
			}
		}
		p.any(FieldNumber, boostNumber, WhyNumber, full)
		for _, d := range full {
			p.every(FieldNumberPart, boostPart/float64(len(d)-3), WhyNumber, fours(d))
		}
	}
	for i, r := range parts {
		attached := r.joined || i+1 < len(parts) && parts[i+1].joined // 1204室 is no end of a number
		within := slices.ContainsFunc(numbers, func(n spoken) bool { return strings.Contains(n.digits, r.String()) })
		if r.script != digit || attached || within || len(r.chars) < 4 {
			continue
		}
		if len(r.chars) == 4 {
			p.any(FieldNumber, boostLastFour, WhyNumber, []string{"$" + r.String()})
		}
		p.every(FieldNumberPart, boostPart, WhyNumber, fours(r.String()))
	}
}

// planID looks for an id when the text is one word without Han characters.
func planID(p *Plan, raw string) {
	if len(raw) < 8 || strings.ContainsFunc(raw, func(r rune) bool { return scriptOf(r) == han || r <= ' ' }) {
		return
	}
	for _, k := range []Kind{Contact, Case, Callback} {
		raw = strings.TrimPrefix(raw, string(k)+"/")
	}
	p.any(FieldID, boostID, WhyID, []string{idToken(raw)})
}
