package search

import (
	_ "embed"
	"slices"
	"strings"
)

//go:embed tables/synonyms.txt
var synonymTable string

//go:embed tables/fillers.txt
var fillerTable string

// synonyms says which other words to look for beside one, both normalised.
type synonyms map[string][]string

// maxWord is the length of the longest word of the tables, in characters.
const maxWord = 12

// newSynonyms reads the table and what the office adds. Words in loose are said of anything.
func newSynonyms(own [][]string) (s synonyms, loose map[string]bool) {
	s, loose = synonyms{}, map[string]bool{}
	for line := range strings.Lines(synonymTable) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		line, ofAnything := strings.CutPrefix(line, "~ ")
		for _, w := range strings.Fields(line) {
			if ofAnything {
				loose[plain(w)] = true
			}
		}
		from, to, oneWay := strings.Cut(line, ">")
		if oneWay {
			s.add(strings.Fields(from), strings.Fields(to))
		} else {
			s.add(strings.Fields(from), strings.Fields(from))
		}
	}
	for _, words := range own {
		s.add(words, words)
	}
	return s, loose
}

func (s synonyms) add(from, to []string) {
	for _, f := range from {
		f = plain(f)
		if n := len([]rune(f)); n == 0 || n > maxWord {
			continue
		}
		for _, t := range to {
			if t = plain(t); t != "" && t != f && !slices.Contains(s[f], t) {
				s[f] = append(s[f], t)
			}
		}
	}
}

// plain is a word normalised.
func plain(s string) string { return letters(normalise(s, maxWord)) }

func newFillers() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(fillerTable) {
		m[plain(w)] = true
	}
	return m
}

// vocable is a word of the tables in a text: as it was said, and the word that is meant, which is another one when only the sound is
// that of the word.
type vocable struct {
	said, word string
	from, to   int // indexes into the normalised characters
}

// vocabulary gives the words of the tables that stand in a text, those inside a longer one too; and where none stands, those that what
// stands there sounds like.
func (a *Analyzer) vocabulary(chars []char, parts []run) []vocable {
	var list []vocable
	at := 0
	for _, r := range parts {
		for chars[at].from != r.chars[0].from {
			at++
		}
		if r.script != han {
			if w := r.String(); a.synonyms[w] != nil {
				list = append(list, vocable{w, w, at, at + len(r.chars)})
			}
			continue
		}
		var exact []vocable
		for i := range r.chars {
			for n := min(maxWord, len(r.chars)-i); n > 0; n-- {
				if w := letters(r.chars[i : i+n]); a.synonyms[w] != nil && (n > 1 || len(exact) == 0 || exact[len(exact)-1].to <= at+i) {
					exact = append(exact, vocable{w, w, at + i, at + i + n})
				}
			}
		}
		list = append(append(list, exact...), a.soundsLike(r.chars, at, exact)...)
	}
	return list
}

// soundsLike gives words of the tables for stretches that sound like them and do not overlap one that is as long and stands there itself.
func (a *Analyzer) soundsLike(chars []char, at int, exact []vocable) []vocable {
	var list []vocable
	for i := range chars {
		for n := min(maxWord, len(chars)-i); n > 1; n-- {
			said := letters(chars[i : i+n])
			words := a.bySound[a.nameSound(chars[i:i+n])]
			if len(words) == 0 || a.synonyms[said] != nil {
				continue
			}
			if slices.ContainsFunc(exact, func(e vocable) bool { return e.from < at+i+n && at+i < e.to && e.to-e.from >= n }) {
				continue
			}
			for _, w := range words {
				list = append(list, vocable{said, w, at + i, at + i + n})
			}
		}
	}
	return list
}

// content cuts away what a question is wrapped in ("喂你好我想问一下……怎么回事啊"), since "我想" and "怎么" match everybody. What
// remains are pieces of the run, as [from, to). A piece of a single character takes the character before it along, or the
// one behind, so that there is a pair to look for. When nothing remains, the run is its own content.
func (a *Analyzer) content(chars []char) [][2]int {
	covered := make([]bool, len(chars))
	for i := 0; i < len(chars); {
		n := min(maxWord, len(chars)-i)
		for n > 0 && !a.fillers[letters(chars[i:i+n])] {
			n--
		}
		for j := range n {
			covered[i+j] = true
		}
		i += max(n, 1)
	}
	var pieces [][2]int
	for i := 0; i < len(chars); {
		if covered[i] {
			i++
			continue
		}
		j := i + 1
		for j < len(chars) && !covered[j] {
			j++
		}
		from, to := i, j
		if to-from == 1 && from > 0 {
			from--
		} else if to-from == 1 && to < len(chars) {
			to++
		}
		pieces = append(pieces, [2]int{from, to})
		i = j
	}
	if len(pieces) == 0 {
		return [][2]int{{0, len(chars)}}
	}
	return pieces
}
