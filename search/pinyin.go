package search

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/mozillazg/go-pinyin"
)

//go:embed tables/folding.txt
var foldingTable string

//go:embed tables/readings.txt
var readingTable string

// sounds gives the folded syllables of each Han character: one, or two where a second reading matters.
type sounds struct {
	first  [lastHan - firstHan + 1]string
	typed  [lastHan - firstHan + 1]string // the first as it is typed, not folded
	second map[rune]string
	two    [lastHan - firstHan + 1]bool // those with a second
}

// plain is the commonest syllable as it is typed.
func (s *sounds) plain(r rune) string {
	if r < firstHan || r > lastHan {
		return reading(r)
	}
	return s.typed[r-firstHan]
}

const (
	firstHan = 0x4E00
	lastHan  = 0x9FFF
)

func (s *sounds) of(r rune) (first, second string) {
	if r < firstHan || r > lastHan {
		return "", ""
	}
	return s.first[r-firstHan], s.second[r]
}

// foldRule replaces one part of a syllable.
type foldRule struct{ part, from, to string }

// folding reads the rules of a region, its own before the common ones.
func folding(region string) ([]foldRule, error) {
	var own, common []foldRule
	known := region == ""
	for line := range strings.Lines(foldingTable) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 4 || !slices.Contains([]string{"whole", "initial", "final"}, f[1]) {
			panic("search: folding.txt: " + line)
		}
		switch f[0] {
		case "common":
			common = append(common, foldRule{f[1], f[2], f[3]})
		case region:
			own, known = append(own, foldRule{f[1], f[2], f[3]}), true
		}
	}
	if !known {
		return nil, fmt.Errorf("search: no sounds are known for the region %q", region)
	}
	return append(own, common...), nil
}

// foldSound makes syllables that are mixed up the same one.
func foldSound(syllable string, rules []foldRule) string {
	for _, r := range rules {
		if r.part == "whole" && syllable == r.from {
			syllable = r.to
			break
		}
	}
	for _, r := range rules {
		if rest, ok := strings.CutPrefix(syllable, r.from); ok && r.part == "initial" {
			syllable = r.to + rest
			break
		}
	}
	for _, r := range rules {
		if rest, ok := strings.CutSuffix(syllable, r.from); ok && r.part == "final" {
			return rest + r.to
		}
	}
	return syllable
}

func newSounds(region string) (*sounds, error) {
	rules, err := folding(region)
	if err != nil {
		return nil, err
	}
	s, known := &sounds{second: map[rune]string{}}, map[string]string{}
	folded := func(syllable string) string {
		f, ok := known[syllable]
		if !ok {
			f = foldSound(syllable, rules)
			known[syllable] = f
		}
		return f
	}
	for r := range s.first {
		s.typed[r] = reading(rune(r + firstHan))
		s.first[r] = folded(s.typed[r])
	}
	for line := range strings.Lines(readingTable) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		r := []rune(f[0])[0]
		if second := folded(f[1]); second != s.first[r-firstHan] {
			s.second[r], s.two[r-firstHan] = second, true
		}
	}
	return s, nil
}

// tones are the letters that carry one, with the letter without it; ü is written v, as keyboards do.
var tones = strings.NewReplacer(
	"ā", "a", "á", "a", "ǎ", "a", "à", "a", "ō", "o", "ó", "o", "ǒ", "o", "ò", "o",
	"ē", "e", "é", "e", "ě", "e", "è", "e", "ê", "e", "ế", "e", "ề", "e",
	"ī", "i", "í", "i", "ǐ", "i", "ì", "i", "ū", "u", "ú", "u", "ǔ", "u", "ù", "u",
	"ü", "v", "ǖ", "v", "ǘ", "v", "ǚ", "v", "ǜ", "v", "ń", "n", "ň", "n", "ǹ", "n", "ḿ", "m",
	"\u0300", "", "\u0301", "", "\u0304", "", "\u030c", "")

// reading is the commonest syllable of a Han character, without its tone; "" when there is none.
func reading(r rune) string {
	first, _, _ := strings.Cut(pinyin.PinyinDict[int(r)], ",")
	return tones.Replace(first)
}
