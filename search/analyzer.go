package search

import (
	"hash/fnv"
	"slices"
	"strings"
	"unicode/utf8"

	"yingda/internal/pii"
)

// Field of an index in which tokens are kept. Its text is the field's name there.
type Field string

const (
	FieldWords      Field = "w"  // bigrams of Han, Latin words, digits, of what was said
	FieldAddress    Field = "a"  // the same of the address: who lives opposite of the 敬老院 need not have called about it
	FieldPhrase     Field = "w3" // trigrams of Han: words that stand together
	FieldChars      Field = "u"  // single Han characters; only for queries of one character
	FieldSound      Field = "p"  // pairs of folded pinyin syllables
	FieldName       Field = "n"  // a name and its parts
	FieldNameSound  Field = "np" // a name as it sounds, and its initials
	FieldNumber     Field = "d"  // a number in full, without its area code, its last four digits
	FieldNumberPart Field = "d4" // every four digits of a number that stand together
	FieldID         Field = "id" // the thing's id and a SIP Call-ID
)

// Fields are the tokens of a document by field. No token holds a space; none is longer than maxToken bytes.
type Fields map[Field][]string

const maxToken = 64

// AnalyzerConfig says how this office speaks. The zero value is right for an office that has said nothing.
type AnalyzerConfig struct {
	Region   string     // whose sounds are mixed up beyond the common ones: "", "wu", "northeast"
	Synonyms [][]string // the office's own: names of one place, words for one thing; each list says the same
}

// Analyzer cuts documents and queries into the same tokens. It is made once, never changes and is used by many.
type Analyzer struct {
	region   string
	sounds   *sounds
	synonyms synonyms
	loose    map[string]bool     // words that are said of anything
	bySound  map[string][]string // words of synonyms by their folded syllables
	byChar   map[rune][]string   // words of synonyms by their characters
	fillers  map[string]bool
}

// NewAnalyzer makes one. The error names a region for which there is no table.
func NewAnalyzer(c AnalyzerConfig) (*Analyzer, error) {
	s, err := newSounds(c.Region)
	if err != nil {
		return nil, err
	}
	words, loose := newSynonyms(c.Synonyms)
	a := &Analyzer{region: c.Region, sounds: s, synonyms: words, loose: loose, bySound: map[string][]string{}, byChar: map[rune][]string{}, fillers: newFillers()}
	for w := range a.synonyms {
		for _, r := range w {
			if len([]rune(w)) > 1 && !slices.Contains(a.byChar[r], w) {
				a.byChar[r] = append(a.byChar[r], w)
			}
		}
		for _, key := range a.readings(normalise(w, maxWord)) {
			if !slices.Contains(a.bySound[key], w) {
				a.bySound[key] = append(a.bySound[key], w)
			}
		}
	}
	for _, words := range a.bySound {
		slices.Sort(words)
	}
	for _, words := range a.byChar {
		slices.Sort(words)
	}
	return a, nil
}

// analysisVersion grows when documents are cut in another way, so that an index made before is known to be old.
const analysisVersion = "1"

// Fingerprint is of everything that decides which tokens a document has. An index keeps it; when it is another one, the
// index must be built again. Words that only queries use (synonyms, fillers) are not in it.
func (a *Analyzer) Fingerprint() string {
	h := fnv.New64a()
	for _, s := range []string{analysisVersion, a.region, foldingTable, readingTable, traditionalTable} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	const hex = "0123456789abcdef"
	b := make([]byte, 0, 16)
	for sum, i := h.Sum64(), 60; i >= 0; i -= 4 {
		b = append(b, hex[sum>>i&15])
	}
	return string(b)
}

// Fields cuts a document.
func (a *Analyzer) Fields(d *Document) Fields {
	f := Fields{}
	room := MaxWords
	take := func(text string, words Field) {
		chars := normalise(text, room)
		room -= len(chars)
		for _, t := range a.tokens(chars) {
			field := t.field
			if field == FieldWords {
				field = words
			}
			f[field] = append(f[field], t.text)
		}
	}
	for _, w := range d.Words {
		take(w.Reveal(), FieldWords)
	}
	take(d.Address.Reveal(), FieldAddress)
	take(d.Category, FieldWords)
	a.nameFields(f, d.Name)
	for _, n := range numberForms(d.Number) {
		numberFields(f, n)
	}
	f[FieldID] = append(f[FieldID], idToken(d.ID.ID()), idToken(d.SIPCallID))
	for _, c := range d.Contacts {
		f[FieldID] = append(f[FieldID], idToken(string(c)))
	}
	once(f, FieldAddress, FieldChars, FieldName, FieldNameSound, FieldNumber, FieldNumberPart, FieldID)
	return f
}

// once drops repeats in fields where only presence counts, and the empty token.
func once(f Fields, fields ...Field) {
	for _, name := range fields {
		list := f[name]
		slices.Sort(list)
		list = slices.DeleteFunc(slices.Compact(list), func(t string) bool { return t == "" })
		if len(list) == 0 {
			delete(f, name)
		} else {
			f[name] = list
		}
	}
}

// token of a text: what it says and which characters of the normalised text it covers.
type token struct {
	field    Field
	text     string
	from, to int // indexes into the normalised characters
}

// tokens cuts normalised text into everything that documents are found by.
func (a *Analyzer) tokens(chars []char) []token {
	var list []token
	at := 0
	parts := runs(chars)
	for i, r := range parts {
		for chars[at].from != r.chars[0].from {
			at++
		}
		switch r.script {
		case han:
			list = a.hanTokens(list, r.chars, at)
		case latin:
			list = latinTokens(list, r.chars, at)
		case digit:
			list = append(list, token{FieldWords, clip(r.String()), at, at + len(r.chars)})
			if i+1 < len(parts) && parts[i+1].script == han && parts[i+1].joined { // 3号, 12栋
				list = append(list, token{FieldWords, clip(r.String()) + string(parts[i+1].chars[0].r), at, at + len(r.chars) + 1})
			}
		}
	}
	for _, n := range spokenNumbers(chars) {
		f := Fields{}
		numberFields(f, n.digits)
		for name, texts := range f {
			for _, t := range texts {
				list = append(list, token{name, t, n.from, n.to})
			}
		}
	}
	return list
}

// clip keeps a token short, in whole characters.
func clip(s string) string {
	if len(s) <= maxToken {
		return s
	}
	n := maxToken
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func (a *Analyzer) hanTokens(list []token, chars []char, at int) []token {
	if len(chars) == 1 { // a character alone between other things, as in "b座": there is no pair to make
		list = append(list, token{FieldWords, string(chars[0].r), at, at + 1})
	}
	for i, c := range chars {
		list = append(list, token{FieldChars, string(c.r), at + i, at + i + 1})
		if i+1 < len(chars) {
			list = append(list, token{FieldWords, letters(chars[i : i+2]), at + i, at + i + 2})
			for _, p := range a.soundPair(c.r, chars[i+1].r) {
				list = append(list, token{FieldSound, p, at + i, at + i + 2})
			}
		}
		if i+2 < len(chars) {
			list = append(list, token{FieldPhrase, letters(chars[i : i+3]), at + i, at + i + 3})
		}
	}
	for i := 0; i < len(chars); { // 三号楼 is 3号楼
		digits, n := numeral(chars[i:])
		if n == 0 {
			i++
			continue
		}
		if i+n < len(chars) && countable(chars[i+n].r) {
			list = append(list, token{FieldWords, digits + string(chars[i+n].r), at + i, at + i + n + 1})
		}
		i += n
	}
	return list
}

// countable are what is numbered in an address or a bus line.
func countable(r rune) bool {
	return strings.ContainsRune("号栋幢座楼层单室户弄组队村路期区门车线院", r)
}

// soundPair gives the pairs of folded syllables of two characters, in all readings.
func (a *Analyzer) soundPair(x, y rune) []string {
	x1, x2 := a.sounds.of(x)
	y1, y2 := a.sounds.of(y)
	if x1 == "" || y1 == "" {
		return nil
	}
	pairs := []string{x1 + "-" + y1}
	if x2 != "" {
		pairs = append(pairs, x2+"-"+y1)
	}
	if y2 != "" {
		pairs = append(pairs, x1+"-"+y2)
	}
	if x2 != "" && y2 != "" {
		pairs = append(pairs, x2+"-"+y2)
	}
	return pairs
}

// latinTokens gives a word, and the words and numbers it is made of: 4g and 4, g.
func latinTokens(list []token, chars []char, at int) []token {
	list = append(list, token{FieldWords, clip(letters(chars)), at, at + len(chars)})
	for i := 0; i < len(chars); {
		j := i + 1
		for j < len(chars) && (scriptOf(chars[j].r) == digit) == (scriptOf(chars[i].r) == digit) {
			j++
		}
		if j-i < len(chars) && j-i > 1 {
			list = append(list, token{FieldWords, clip(letters(chars[i:j])), at + i, at + j})
		}
		i = j
	}
	return list
}

// spoken is a telephone number as it stands in a text.
type spoken struct {
	digits   string
	from, to int
}

// spokenNumbers finds what may be a telephone number: at least 7 digits, with dashes, spaces, dots or brackets between them, in
// figures or as they are said (幺三八…).
func spokenNumbers(chars []char) []spoken {
	var list []spoken
	for i := 0; i < len(chars); i++ {
		var b strings.Builder
		end := i
		for j := i; j < len(chars) && b.Len() < 20; j++ {
			r := chars[j].r
			if scriptOf(r) == digit {
				b.WriteRune(r)
				end = j + 1
			} else if d, ok := numeralDigit(r); ok {
				b.WriteByte(byte('0' + d))
				end = j + 1
			} else if !strings.ContainsRune("-－—– ()（）.·", r) || b.Len() == 0 || j-end > 1 {
				break
			}
		}
		if b.Len() >= 7 {
			list = append(list, spoken{b.String(), i, end})
		}
		i = max(i, end-1)
	}
	return list
}

// numberForms gives the digits of a number as it came and as the country writes it.
func numberForms(p pii.Phone) []string {
	if p.IsZero() {
		return nil
	}
	forms := []string{onlyDigits(p.Reveal())}
	if n := onlyDigits(p.National().Reveal()); n != forms[0] {
		forms = append(forms, n)
	}
	return forms
}

func onlyDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// numberFields gives everything by which a number is found.
func numberFields(f Fields, digits string) {
	if len(digits) < 3 || len(digits) > 32 {
		return
	}
	f[FieldNumber] = append(f[FieldNumber], digits)
	if national := onlyDigits(pii.NewPhone("+" + digits).National().Reveal()); strings.HasPrefix(digits, "86") && national != digits {
		f[FieldNumber] = append(f[FieldNumber], national)
	}
	if local := localPart(digits); local != "" {
		f[FieldNumber] = append(f[FieldNumber], local)
	}
	if len(digits) >= 7 {
		f[FieldNumber] = append(f[FieldNumber], "$"+digits[len(digits)-4:])
	}
	f[FieldNumberPart] = append(f[FieldNumberPart], fours(digits)...)
}

// localPart is a landline's number without its area code, "" if it has none. 010 and 02x have three digits, others four.
func localPart(digits string) string {
	if len(digits) < 10 || digits[0] != '0' {
		return ""
	}
	if digits[1] == '1' || digits[1] == '2' {
		return digits[3:]
	}
	return digits[4:]
}

func fours(digits string) []string {
	var list []string
	for i := 0; i+4 <= len(digits); i++ {
		list = append(list, digits[i:i+4])
	}
	return list
}

// nameFields gives a name whole and in parts of two or more characters, its family name (^张) for "张阿姨", and its sound: the
// syllables, and their initials.
func (a *Analyzer) nameFields(f Fields, name pii.Name) {
	chars := normalise(name.Reveal(), maxToken)
	for _, r := range runs(chars) {
		if r.script != han {
			f[FieldName] = append(f[FieldName], clip(r.String()))
			continue
		}
		f[FieldName] = append(append(f[FieldName], "^"+string(r.chars[0].r)), grams(r.chars, 2, 4)...)
		if folded := a.nameSound(r.chars); folded != "" {
			joined, initials := spelled(r.chars)
			f[FieldNameSound] = append(f[FieldNameSound], folded, joined, initials)
		}
		for _, c := range r.chars {
			f[FieldChars] = append(f[FieldChars], string(c.r))
		}
	}
}

// nameSound gives the folded syllables of a name of two to six characters: "zan-gui-fan".
func (a *Analyzer) nameSound(chars []char) string {
	if len(chars) < 2 || len(chars) > 6 {
		return ""
	}
	var parts []string
	for _, c := range chars {
		s, _ := a.sounds.of(c.r)
		if s == "" {
			return ""
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "-")
}

// readings gives the folded syllables of a word in every reading of one character at a time.
func (a *Analyzer) readings(chars []char) []string {
	first := a.nameSound(chars)
	if first == "" {
		return nil
	}
	list := []string{first}
	for i, c := range chars {
		if _, second := a.sounds.of(c.r); second != "" {
			parts := strings.Split(first, "-")
			parts[i] = second
			list = append(list, strings.Join(parts, "-"))
		}
	}
	return list
}

// spelled gives a name as people type it in letters, "zhangguifang", and its initials, "zgf".
func spelled(chars []char) (joined, initials string) {
	for _, c := range chars {
		s := reading(c.r)
		if s == "" {
			return "", ""
		}
		joined += s
		initials += s[:1]
	}
	return joined, initials
}

// grams gives all stretches of lo to hi characters.
func grams(chars []char, lo, hi int) []string {
	var list []string
	for i := range chars {
		for n := lo; n <= hi && i+n <= len(chars); n++ {
			list = append(list, letters(chars[i:i+n]))
		}
	}
	return list
}

// idToken is an id as it is compared: small letters, no spaces, not longer than a token may be.
func idToken(s string) string {
	return clip(strings.ToLower(strings.Join(strings.Fields(s), "")))
}
