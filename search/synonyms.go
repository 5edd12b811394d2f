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

func newSynonyms(own [][]string) synonyms {
	s := synonyms{}
	for line := range strings.Lines(synonymTable) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
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
	return s
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

// found is a word of a table that stands in a text.
type found struct {
	word     string
	from, to int
}

// find gives the words for which known holds that stand in chars, without those inside a longer one.
func find(chars []char, known func(string) bool) []found {
	var list []found
	end := 0
	for i := range chars {
		for n := min(maxWord, len(chars)-i); n > 0; n-- {
			if w := letters(chars[i : i+n]); known(w) {
				if i+n > end {
					list = append(list, found{w, i, i + n})
					end = i + n
				}
				break
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
