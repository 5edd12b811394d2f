package grid

import (
	"strconv"
	"strings"
	"unicode"
)

// meaning of a name: an entry of the gazetteer or an area, by index; the other is -1.
type meaning struct{ entry, area int }

// node of the tree of names, a rune each step.
type node struct {
	next     map[rune]*node
	meanings []meaning
}

func (n *node) add(name string, m meaning) {
	if len([]rune(name)) < 2 { // one character names nothing
		return
	}
	at := n
	for _, r := range name {
		if at.next == nil {
			at.next = map[rune]*node{}
		}
		to := at.next[r]
		if to == nil {
			to = new(node)
			at.next[r] = to
		}
		at = to
	}
	for _, have := range at.meanings {
		if have == m {
			return
		}
	}
	at.meanings = append(at.meanings, m)
}

// mention is a name found in a text, from rune start to before end.
type mention struct {
	start, end int
	meanings   []meaning
}

// mentions finds the names in folded text, the longest at each place, from left to right without overlap.
func (n *node) mentions(text []rune) []mention {
	var list []mention
	for i := 0; i < len(text); {
		at, best := n, mention{}
		for j := i; j < len(text); j++ {
			at = at.next[text[j]]
			if at == nil {
				break
			}
			// A name that ends in a digit does not end within a longer number, nor before what makes the number one of a
			// house: neither 梅苑31 nor 梅苑3幢 speaks of the grid 梅苑3.
			if len(at.meanings) > 0 && (!isDigit(text[j]) || j+1 == len(text) || !isDigit(text[j+1]) && !strings.ContainsRune("幢号弄-", text[j+1])) {
				best = mention{i, j + 1, at.meanings}
			}
		}
		if best.end > 0 {
			list = append(list, best)
			i = best.end
		} else {
			i++
		}
	}
	return list
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

// counted are the characters before which a Chinese numeral is a number: 三号楼, 枫桥一村, 二期.
const counted = "号幢栋棟座弄单元组室层楼村期区里巷"

// fold makes one of the many ways to write a name or an address: narrow digits and letters, small letters, Arabic numbers
// where things are counted, 栋 幢 座 号楼 # as 幢, without spaces and punctuation.
func fold(s string) string {
	runes := make([]rune, 0, len(s))
	for _, r := range s {
		switch {
		case r >= '！' && r <= '～': // full-width forms of the ASCII characters
			r -= '！' - '!'
		case r == '〇':
			r = '零'
		}
		r = unicode.ToLower(r)
		switch {
		case r == '#' || r == '-':
		case unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.IsSymbol(r) || unicode.IsControl(r):
			continue
		}
		runes = append(runes, r)
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(runes); {
		j := i
		for j < len(runes) && strings.ContainsRune(numerals, runes[j]) {
			j++
		}
		if j > i && j < len(runes) && strings.ContainsRune(counted, runes[j]) {
			if n, ok := number(runes[i:j]); ok {
				b.WriteString(strconv.Itoa(n))
				i = j
				continue
			}
		}
		if j > i {
			b.WriteString(string(runes[i:j]))
			i = j
			continue
		}
		switch r := runes[i]; {
		case r == '栋' || r == '棟' || r == '座' || r == '#':
			b.WriteRune('幢')
		case r == '号' && i+1 < len(runes) && runes[i+1] == '楼':
			b.WriteRune('幢')
			i++
		default:
			b.WriteRune(r)
		}
		i++
	}
	return b.String()
}

const numerals = "零一二两三四五六七八九十百"

// number reads a Chinese numeral below a thousand, or a row of digits: 十二, 二十, 一百零五, 一二三.
func number(runes []rune) (int, bool) {
	digit := func(r rune) (int, bool) {
		for i, group := range []string{"零", "一", "二两", "三", "四", "五", "六", "七", "八", "九"} {
			if strings.ContainsRune(group, r) {
				return i, true
			}
		}
		return 0, false
	}
	if len(runes) > 6 {
		return 0, false
	}
	spoken := strings.ContainsAny(string(runes), "十百")
	total, last, seen := 0, 0, false
	for _, r := range runes {
		if d, ok := digit(r); ok {
			if !spoken {
				total = total*10 + d
				continue
			}
			last, seen = d, true
			continue
		}
		unit := 10
		if r == '百' {
			unit = 100
		}
		if !seen {
			last = 1 // 十二
		}
		total += last * unit
		last, seen = 0, false
	}
	return total + last, true
}

// house looks for the number of a building or house in what follows a name, at most a few characters on. In an estate 3幢,
// 3号 and 3-2-501 are building 3; a number of something else (单元, 室, 楼层) is none.
func house(after []rune) (int, bool) {
	const reach = 8
	for i := 0; i < len(after) && i < reach; i++ {
		if !isDigit(after[i]) {
			continue
		}
		j := i
		for j < len(after) && isDigit(after[j]) {
			j++
		}
		if j-i > 5 {
			return 0, false
		}
		n, err := strconv.Atoi(string(after[i:j]))
		if err != nil || n == 0 {
			return 0, false
		}
		if j == len(after) {
			return n, true
		}
		switch after[j] {
		case '幢', '号', '弄', '-':
			return n, true
		case '单', '室', '楼', '层', '米', '元', '点', '个', '月', '日', '年', '天', '次', '户', '路', '岁', '人', '分':
			i = j
			continue
		}
		return n, true
	}
	return 0, false
}
