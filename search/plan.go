package search

import (
	"math"
	"slices"
	"strings"

	"yingda/internal/pii"
)

// Clause is one way in which a document can answer: it has one of the terms in the field or, when All is set, every one.
type Clause struct {
	Field Field
	Terms []string
	All   bool
	Boost float64 // a term is worth boost × BM25; terms of All are added up
	Why   Why
}

// Concept is one thing that is asked for and the ways to say it. A document is worth for it what the best of the clauses is, so that
// a word with many synonyms does not count more than one with none, and a match is not counted again for its sound.
type Concept struct{ Clauses []Clause }

// Plan is a question as an index carries it out: documents that answer any of the concepts and pass all filters of
// Query, best first; a document's score is the sum over concepts. Without concepts and with Nothing unset, the filters alone decide.
type Plan struct {
	Query    Query // limits applied
	Concepts []Concept
	Nothing  bool // the text has nothing in it that could be looked for; no document matches

	terms map[Field]map[string]Why // for Explain
	all   []Clause
}

// What a match is worth. Words against sound is 2.0 : 0.7 as measured; the others are by how sure one can be.
const (
	boostWords     = 2.0
	boostPhrase    = 0.8
	boostAddress   = 1.8 // what is in no table may well be a place
	boostWordThere = 0.6 // a word of our tables in an address
	boostSound     = 0.7
	boostSynonym   = 1.5
	boostMeant     = 1.4 // the word of our tables that what was typed sounds like
	boostChar      = 1.0
	boostCharWord  = 1.0
	boostCharOther = 0.5
	boostName      = 4.0
	boostNamePart  = 1.5
	boostNameSound = 1.5
	boostNumber    = 12.0
	boostLastFour  = 6.0
	boostPart      = 3.0
	boostID        = 20.0
	partOfWord     = 0.1 // of a pair of characters that stands inside a word of the tables, which counts itself
	acrossWords    = 0.3 // of a pair that begins in one word and ends in another
	wordInWord     = 0.4 // of a word of the tables inside a longer one
	looseWord      = 0.5 // of a word that is said of anything, beside another
	fewPairs       = 4   // pairs outside of words that count in full
	wordLength     = 0.6 // the pairs of one word are no independent evidence: n of them count as n to the power of 1 - this
)

// How much one question may ask. A letter that somebody pastes has more; its beginning decides.
const (
	maxConcepts = 96
	maxWays     = 40 // of saying one thing
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
	numbers := spokenNumbers(chars)
	a.planWords(&p, chars, parts, numbers)
	if oneCharacter(parts) {
		a.planCharacters(&p, parts)
	}
	a.planNames(&p, parts)
	planNumbers(&p, parts, numbers)
	planID(&p, raw)
	p.Nothing = len(p.Concepts) == 0
	return p
}

// planWords makes a concept of every word of our tables that stands in the text, or sounds like what does, and of every pair and
// three of characters besides. What is in our tables is what people call about; the rest counts for less, the more of it there is.
func (a *Analyzer) planWords(p *Plan, chars []char, parts []run, numbers []spoken) {
	inside := a.pieces(chars, parts)
	words := slices.DeleteFunc(a.vocabulary(chars, parts), func(w vocable) bool { return !inside(w.from, w.from+1) && !inside(w.to-1, w.to) })
	done := map[string]bool{}
	for _, w := range words {
		if key := w.said + "\x00" + w.word; !done[key] && len(p.Concepts) < maxConcepts {
			done[key] = true
			weight := 1.0
			if slices.ContainsFunc(words, func(o vocable) bool { return o.from <= w.from && w.to <= o.to && o.to-o.from > w.to-w.from }) {
				weight = wordInWord
			}
			if a.loose[w.word] && len(words) > 1 {
				weight *= looseWord
			}
			p.add(a.wordConcept(w, weight))
		}
	}
	var pairs []token
	sounds := map[[2]int][]string{}
	for _, t := range a.tokens(chars) {
		at := [2]int{t.from, t.to}
		isWord := slices.ContainsFunc(words, func(w vocable) bool { return w.from == t.from && w.to == t.to })
		inNumber := slices.ContainsFunc(numbers, func(n spoken) bool { return t.from >= n.from && t.to <= n.to })
		switch {
		case t.field == FieldSound:
			sounds[at] = append(sounds[at], t.text)
		case (t.field == FieldWords || t.field == FieldPhrase) && !isWord && !inNumber && inside(t.from, t.to):
			pairs = append(pairs, t)
		}
	}
	place := placeOf(len(chars), words)
	size := map[int]int{} // how many pairs each stretch outside of words has
	for _, t := range pairs {
		if t.field == FieldWords && place[t.from] == place[t.to-1] {
			size[place[t.from]]++
		}
	}
	others := 0
	for stretch, n := range size {
		if stretch > 0 {
			others += n
		}
	}
	crowd := 1.0 // a long story dilutes what is not in our tables
	if others > fewPairs && len(words) > 0 {
		crowd = float64(fewPairs) / float64(others)
	}
	for _, t := range pairs {
		if done[t.text] || len(p.Concepts) >= maxConcepts {
			continue
		}
		done[t.text] = true
		weight := crowd
		switch stretch := place[t.from]; {
		case stretch != place[t.to-1]:
			weight *= acrossWords
		case stretch < 0:
			weight *= partOfWord
		default:
			weight /= math.Pow(float64(max(size[stretch], 1)), wordLength)
		}
		if t.field == FieldPhrase {
			p.add(Concept{[]Clause{{FieldPhrase, []string{t.text}, false, weight * boostPhrase, WhyWords}}})
			continue
		}
		c := Concept{[]Clause{
			{FieldWords, []string{t.text}, false, weight * boostWords, WhyWords},
			{FieldAddress, []string{t.text}, false, weight * boostAddress, WhyWords},
		}}
		if s := sounds[[2]int{t.from, t.to}]; t.to-t.from == 2 && len(s) > 0 {
			c.Clauses = append(c.Clauses, Clause{FieldSound, s, false, weight * boostSound, WhySound})
		}
		p.add(c)
	}
}

// planCharacters asks for single characters, and higher for the words of our tables that have one in them: 灯 is about 路灯 before it is
// about the light that a telephone has.
func (a *Analyzer) planCharacters(p *Plan, parts []run) {
	for _, r := range parts {
		p.any(FieldChars, boostChar, WhyChar, []string{r.String()})
		var c Concept
		for _, w := range a.byChar[r.chars[0].r] {
			if terms, _ := a.wordTerms(w); len(terms) == 1 {
				c.Clauses = append(c.Clauses, Clause{FieldWords, terms, false, boostCharWord, WhyChar})
			}
			for _, other := range a.synonyms[w] {
				if strings.Contains(other, r.String()) {
					continue // it is in byChar itself
				}
				if terms, _ := a.wordTerms(other); len(terms) == 1 && len(c.Clauses) < 2*maxWays {
					c.Clauses = append(c.Clauses, Clause{FieldWords, terms, false, boostCharOther, WhySynonym})
				}
			}
		}
		p.add(c)
	}
}

// placeOf numbers the stretches of a text: from 1 upwards outside of words, from -1 downwards inside.
func placeOf(n int, words []vocable) []int {
	place := make([]int, n)
	for k, w := range words {
		for i := w.from; i < w.to; i++ {
			if place[i] == 0 {
				place[i] = -k - 1
			}
		}
	}
	stretch := 0
	for i := range place {
		if place[i] == 0 {
			if i == 0 || place[i-1] < 0 {
				stretch++
			}
			place[i] = stretch
		}
	}
	return place
}

// wordConcept gives the ways to say a word of the tables.
func (a *Analyzer) wordConcept(w vocable, weight float64) Concept {
	var c Concept
	way := func(field Field, terms []string, boost float64, why Why) {
		known := func(o Clause) bool { return o.Field == field && slices.Equal(o.Terms, terms) }
		if len(terms) > 0 && len(c.Clauses) < maxWays && !slices.ContainsFunc(c.Clauses, known) {
			c.Clauses = append(c.Clauses, Clause{field, terms, true, weight * boost / math.Pow(float64(len(terms)), wordLength), why})
		}
	}
	terms, sound := a.wordTerms(w.said)
	way(FieldWords, terms, boostWords, WhyWords)
	way(FieldAddress, terms, boostWordThere, WhyWords)
	less := 1.0
	if w.said != w.word {
		meant, _ := a.wordTerms(w.word)
		way(FieldWords, meant, boostMeant, WhySound)
		less = boostMeant / boostWords
	}
	for _, other := range a.synonyms[w.word] {
		terms, _ := a.wordTerms(other)
		way(FieldWords, terms, less*boostSynonym, WhySynonym)
	}
	way(FieldSound, sound, boostSound, WhySound)
	return c
}

// wordTerms gives the pairs of a word, and of its sound in the first reading. A single Han character has none.
func (a *Analyzer) wordTerms(word string) (terms, sound []string) {
	chars := normalise(word, maxWord)
	last := -1
	for _, t := range a.tokens(chars) {
		single := t.to-t.from == 1 && scriptOf(chars[t.from].r) == han
		switch {
		case t.field == FieldWords && !single && !slices.Contains(terms, t.text):
			terms = append(terms, t.text)
		case t.field == FieldSound && t.from != last && !slices.Contains(sound, t.text):
			sound, last = append(sound, t.text), t.from
		}
	}
	return terms, sound
}

// add puts a concept into the plan.
func (p *Plan) add(c Concept) {
	if len(c.Clauses) == 0 {
		return
	}
	p.Concepts = append(p.Concepts, c)
	for _, clause := range c.Clauses {
		if clause.All && len(clause.Terms) > 1 {
			p.all = append(p.all, clause)
		} else {
			p.note(clause.Field, clause.Terms, clause.Why)
		}
	}
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

// any adds a concept of terms of which each will do.
func (p *Plan) any(f Field, boost float64, why Why, terms []string) {
	var list []string
	for _, t := range terms {
		if t != "" && !slices.Contains(list, t) && len(list) < maxConcepts {
			list = append(list, t)
		}
	}
	if len(list) > 0 {
		p.add(Concept{[]Clause{{f, list, false, boost, why}}})
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
			if parts := fours(d); len(parts) > 0 {
				p.add(Concept{[]Clause{{FieldNumberPart, parts, true, boostPart / float64(len(parts)), WhyNumber}}})
			}
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
		p.add(Concept{[]Clause{{FieldNumberPart, fours(r.String()), true, boostPart, WhyNumber}}})
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
