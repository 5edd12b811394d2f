package search

import (
	_ "embed" // the tables are data beside the code
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// char is one character of a text after normalising, and where it stood in the text: [from, to) in bytes.
type char struct {
	r        rune
	from, to int
}

// normalise makes what people type, paste and dictate comparable: full-width letters and digits become narrow, capitals
// small, traditional characters simplified. Controls, NUL, zero-width and private characters are dropped; what is no letter,
// digit or Han character becomes a space. At most limit characters are read, so that a pasted megabyte costs no more than a letter.
func normalise(s string, limit int) []char {
	return appendNormal(make([]char, 0, max(min(utf8.RuneCountInString(s), limit), 0)), s, limit)
}

// appendNormal is normalise into a slice that may have room.
func appendNormal(out []char, s string, limit int) []char {
	for i, r := range s {
		if limit--; limit < 0 {
			break
		}
		if r >= firstHan && r <= lastHan { // nearly all there is
			if simple := simpleHan[r-firstHan]; simple != 0 {
				out = append(out, char{simple, i, i + 3})
			} else {
				out = append(out, char{r, i, i + 3})
			}
			continue
		}
		to := i + utf8.RuneLen(r)
		if r == utf8.RuneError {
			to = i + 1
			if strings.HasPrefix(s[i:], "\uFFFD") {
				to = i + 3
			}
		}
		if r >= 0xFF01 && r <= 0xFF5E { // ！ to ～ are ! to ~ made wide
			r -= 0xFEE0
		}
		if r > unicode.MaxASCII && (unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Mn, r)) {
			continue
		}
		r = unicode.ToLower(r)
		if s, ok := simplified[r]; ok {
			r = s
		}
		out = append(out, char{r, i, to})
	}
	return out
}

// simplified maps a traditional character to the simplified one. The table holds those that people in the mainland meet:
// in names, in pasted text, from a phone that was bought abroad. Elsewhere a text would be folded by a full conversion.
var simplified = func() map[rune]rune {
	m := map[rune]rune{}
	for _, pair := range strings.Fields(traditionalTable) {
		r := []rune(pair)
		if len(r) != 2 {
			panic("search: traditional.txt: " + pair + " is no pair")
		}
		m[r[0]] = r[1]
	}
	return m
}()

// simpleHan is the same for the characters that are common, 0 for one that stays.
var simpleHan = func() (t [lastHan - firstHan + 1]rune) {
	for from, to := range simplified {
		if from >= firstHan && from <= lastHan {
			t[from-firstHan] = to
		}
	}
	return t
}()

//go:embed tables/traditional.txt
var traditionalTable string

// script is what a run is made of.
type script int

const (
	han   script = iota + 1
	latin        // letters of any alphabet, with the digits that stand among them: wifi, 4g, b2
	digit
)

// run is a stretch of one script, from the character at on; joined says that it follows the run before without anything between.
type run struct {
	script script
	chars  []char
	joined bool
	at     int
}

func (r run) String() string { return letters(r.chars) }

func letters(chars []char) string {
	var b strings.Builder
	for _, c := range chars {
		b.WriteRune(c.r)
	}
	return b.String()
}

// spelt is normalised text as characters and as one string, of which every token of letters that stand together is a part.
type spelt struct {
	chars []char
	text  string
	at    []int32 // where each character begins in text, and where the last ends
}

// spell uses the room that at may have.
func spell(chars []char, at []int32) spelt {
	w := spelt{chars: chars, at: append(slices.Grow(at[:0], len(chars)+1), 0)}
	var b strings.Builder
	b.Grow(3 * len(chars))
	for _, c := range chars {
		b.WriteRune(c.r)
		w.at = append(w.at, int32(b.Len()))
	}
	w.text = b.String()
	return w
}

// part gives the letters of the characters from i up to j.
func (w spelt) part(i, j int) string { return w.text[w.at[i]:w.at[j]] }

func scriptOf(r rune) script {
	switch {
	case r >= firstHan && r <= lastHan:
		return han
	case r >= '0' && r <= '9':
		return digit
	case r >= 'a' && r <= 'z':
		return latin
	case r <= unicode.MaxASCII:
		if r >= 'A' && r <= 'Z' {
			return latin
		}
		return 0
	case unicode.Is(unicode.Han, r):
		return han
	case unicode.IsLetter(r), unicode.IsDigit(r):
		return latin
	}
	return 0
}

// runs cuts normalised text. A run of letters and digits is latin when there is a letter in it.
func runs(chars []char) []run { return appendRuns(nil, chars) }

func appendRuns(list []run, chars []char) []run {
	for i := 0; i < len(chars); {
		s := scriptOf(chars[i].r)
		if s == 0 {
			i++
			continue
		}
		j := i + 1
		for j < len(chars) {
			t := scriptOf(chars[j].r)
			if t == 0 || (t == han) != (s == han) {
				break
			}
			if t == latin {
				s = latin
			}
			j++
		}
		joined := i > 0 && scriptOf(chars[i-1].r) != 0
		list = append(list, run{s, chars[i:j], joined, i})
		i = j
	}
	return list
}

// numeral reads a Chinese number at the beginning of chars: 三, 十二, 一百零五, or spelled digit by digit, 二〇二. It gives the digits
// and how many characters they took, 0 when there is none.
func numeral(chars []char) (digits string, n int) {
	end, counted := 0, false
	for ; end < len(chars); end++ {
		if _, ok := numeralDigit(chars[end].r); ok {
			continue
		}
		if numeralUnit(chars[end].r) == 0 {
			break
		}
		counted = true
	}
	if !counted {
		var b strings.Builder
		for _, c := range chars[:end] {
			d, _ := numeralDigit(c.r)
			b.WriteByte(byte('0' + d))
		}
		return b.String(), end
	}
	total, last := 0, 0 // last: a digit that waits for its unit
	for n = 0; n < end; n++ {
		if d, ok := numeralDigit(chars[n].r); ok {
			if last > 0 {
				break // 二三十: about twenty or thirty; the first digit stands alone
			}
			last = d
			continue
		}
		total += max(last, 1) * numeralUnit(chars[n].r)
		last = 0
	}
	return strconv.Itoa(total + last), n
}

func numeralUnit(r rune) int {
	switch r {
	case '十':
		return 10
	case '百':
		return 100
	case '千':
		return 1000
	}
	return 0
}

// numeralDigit reads one digit as it is written in Chinese or said on the phone (幺 for one).
func numeralDigit(r rune) (int, bool) {
	switch r {
	case '零', '〇':
		return 0, true
	case '一', '幺':
		return 1, true
	case '二', '两':
		return 2, true
	case '三':
		return 3, true
	case '四':
		return 4, true
	case '五':
		return 5, true
	case '六':
		return 6, true
	case '七':
		return 7, true
	case '八':
		return 8, true
	case '九':
		return 9, true
	}
	return 0, false
}
