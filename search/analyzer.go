package search

import (
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"unicode"
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

// Scratch is the room in which one document is cut after the other. The zero value is ready; it is used by one goroutine.
type Scratch struct {
	fields               Fields
	words, phrase, sound []string
	single               []rune
	chars                []char
	at, syllables        []int32
	parts                []run
}

// Fields cuts a document.
func (a *Analyzer) Fields(d *Document) Fields {
	f := a.FieldsIn(new(Scratch), d)
	maps.DeleteFunc(f, func(_ Field, list []string) bool { return len(list) == 0 })
	return f
}

// FieldsIn is Fields in a room of the caller's: what it gives is good until that room is used again, and a field may be there without a token.
func (a *Analyzer) FieldsIn(s *Scratch, d *Document) Fields {
	size := len(d.Address.Reveal()) + len(d.Category)
	for _, w := range d.Words {
		size += len(w.Reveal())
	}
	size = min(size/3, MaxWords) + 8 // about as many tokens of each kind as there are Han characters
	if s.fields == nil {
		s.fields = make(Fields, 10)
	}
	f := s.fields
	for field, list := range f {
		f[field] = list[:0]
	}
	words, phrase, sound := slices.Grow(s.words[:0], size), slices.Grow(s.phrase[:0], size), slices.Grow(s.sound[:0], size)
	single := slices.Grow(s.single[:0], size)
	place := FieldWords // where words go
	emit := func(field Field, text string, _, _ int) {
		switch {
		case field == FieldChars:
			r, _ := utf8.DecodeRuneInString(text)
			single = append(single, r)
		case field == FieldSound:
			sound = append(sound, text)
		case field == FieldPhrase:
			phrase = append(phrase, text)
		case field == FieldWords && place == FieldWords:
			words = append(words, text)
		case field == FieldWords:
			f[place] = append(f[place], text)
		default:
			f[field] = append(f[field], text)
		}
	}
	room := MaxWords
	take := func(text string, words Field) {
		s.chars = appendNormal(s.chars[:0], text, room)
		room -= len(s.chars)
		place = words
		w := spell(s.chars, s.at)
		s.at = w.at
		a.cut(s, w, emit)
	}
	for _, w := range d.Words {
		take(w.Reveal(), FieldWords)
	}
	take(d.Address.Reveal(), FieldAddress)
	take(d.Category, FieldWords)
	a.nameFields(f, d.Name)
	for _, c := range f[FieldChars] { // of the name
		emit(FieldChars, c, 0, 0)
	}
	for _, n := range numberForms(d.Number) {
		numberFields(f, n)
	}
	f[FieldID] = append(f[FieldID], idToken(d.ID.ID()), idToken(d.SIPCallID))
	for _, c := range d.Contacts {
		f[FieldID] = append(f[FieldID], idToken(string(c)))
	}
	f[FieldWords], f[FieldPhrase], f[FieldSound] = words, phrase, sound
	f[FieldChars] = appendSingles(f[FieldChars][:0], single)
	s.words, s.phrase, s.sound, s.single = words, phrase, sound, single
	once(f, FieldAddress, FieldName, FieldNameSound, FieldNumber, FieldNumberPart, FieldID)
	return f
}

// appendSingles gives each character once, in their order.
func appendSingles(out []string, list []rune) []string {
	slices.Sort(list)
	text := string(slices.Compact(list))
	for text != "" {
		_, n := utf8.DecodeRuneInString(text)
		out, text = append(out, text[:n]), text[n:]
	}
	return out
}

// once drops repeats in fields where only presence counts, and the empty token.
func once(f Fields, fields ...Field) {
	for _, name := range fields {
		if list := f[name]; len(list) > 0 {
			slices.Sort(list)
			f[name] = slices.DeleteFunc(slices.Compact(list), func(t string) bool { return t == "" })
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
	list := make([]token, 0, 4*len(chars))
	a.cut(new(Scratch), spell(chars, nil), func(field Field, text string, from, to int) { list = append(list, token{field, text, from, to}) })
	return list
}

// emit takes a token: what it says and which characters it covers.
type emit = func(field Field, text string, from, to int)

// cut gives the tokens of a text, one after the other.
func (a *Analyzer) cut(s *Scratch, w spelt, emit emit) {
	s.parts = appendRuns(s.parts[:0], w.chars)
	for i, r := range s.parts {
		switch r.script {
		case han:
			a.hanTokens(s, w, r, emit)
		case latin:
			latinTokens(w, r, emit)
		case digit:
			end := r.at + len(r.chars)
			number := clip(w.part(r.at, end))
			emit(FieldWords, number, r.at, end)
			if i+1 < len(s.parts) && s.parts[i+1].script == han && s.parts[i+1].joined { // 3号, 12栋
				emit(FieldWords, number+w.part(end, end+1), r.at, end+1)
			}
		}
	}
	for _, n := range spokenNumbers(w.chars) {
		f := Fields{}
		numberFields(f, n.digits)
		for name, texts := range f {
			for _, t := range texts {
				emit(name, t, n.from, n.to)
			}
		}
	}
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

func (a *Analyzer) hanTokens(s *Scratch, w spelt, r run, emit emit) {
	at, chars := r.at, r.chars
	if len(chars) == 1 { // a character alone between other things, as in "b座": there is no pair to make
		emit(FieldWords, w.part(at, at+1), at, at+1)
	}
	sounds := a.soundsOf(s, chars)
	for i, c := range chars {
		emit(FieldChars, w.part(at+i, at+i+1), at+i, at+i+1)
		if i+1 < len(chars) {
			emit(FieldWords, w.part(at+i, at+i+2), at+i, at+i+2)
			if pair := sounds.pair(i); pair != "" {
				emit(FieldSound, pair, at+i, at+i+2)
				a.otherPairs(c.r, chars[i+1].r, func(pair string) { emit(FieldSound, pair, at+i, at+i+2) })
			}
		}
		if i+2 < len(chars) {
			emit(FieldPhrase, w.part(at+i, at+i+3), at+i, at+i+3)
		}
	}
	for i := 0; i < len(chars); { // 三号楼 is 3号楼
		digits, n := numeral(chars[i:])
		if n == 0 {
			i++
			continue
		}
		if i+n < len(chars) && countable(chars[i+n].r) {
			emit(FieldWords, digits+w.part(at+i+n, at+i+n+1), at+i, at+i+n+1)
		}
		i += n
	}
}

// countable are what is numbered in an address or a bus line.
func countable(r rune) bool {
	return strings.ContainsRune("号栋幢座楼层单室户弄组队村路期区门车线院", r)
}

// spokenSounds are the folded syllables of characters in their first reading, "-" between them: every pair is a part of that.
type spokenSounds struct {
	text string
	at   []int32 // where each syllable begins and, at 2i+1, ends
}

func (a *Analyzer) soundsOf(room *Scratch, chars []char) spokenSounds {
	if len(chars) < 2 {
		return spokenSounds{}
	}
	s := spokenSounds{at: slices.Grow(room.syllables[:0], 2*len(chars))}
	var b strings.Builder
	b.Grow(6 * len(chars))
	for _, c := range chars {
		first, _ := a.sounds.of(c.r)
		s.at = append(s.at, int32(b.Len()))
		b.WriteString(first)
		s.at = append(s.at, int32(b.Len()))
		b.WriteByte('-')
	}
	s.text = b.String()
	room.syllables = s.at
	return s
}

// pair of the characters i and i+1; "" when one of them has no sound.
func (s spokenSounds) pair(i int) string {
	if s.at[2*i] == s.at[2*i+1] || s.at[2*i+2] == s.at[2*i+3] {
		return ""
	}
	return s.text[s.at[2*i]:s.at[2*i+3]]
}

// otherPairs gives the pairs of folded syllables of two characters in which one has its second reading.
func (a *Analyzer) otherPairs(x, y rune, give func(string)) {
	if !a.sounds.two[x-firstHan] && !a.sounds.two[y-firstHan] {
		return
	}
	x2, y2 := a.sounds.second[x], a.sounds.second[y]
	x1, y1 := a.sounds.first[x-firstHan], a.sounds.first[y-firstHan]
	if x2 != "" {
		give(x2 + "-" + y1)
	}
	if y2 != "" {
		give(x1 + "-" + y2)
	}
	if x2 != "" && y2 != "" {
		give(x2 + "-" + y2)
	}
}

// latinTokens gives a word, and the words and numbers it is made of: 4g and 4, g.
func latinTokens(w spelt, r run, emit emit) {
	chars, at := r.chars, r.at
	emit(FieldWords, clip(w.part(at, at+len(chars))), at, at+len(chars))
	for i := 0; i < len(chars); {
		j := i + 1
		for j < len(chars) && (scriptOf(chars[j].r) == digit) == (scriptOf(chars[i].r) == digit) {
			j++
		}
		if j-i < len(chars) && j-i > 1 {
			emit(FieldWords, clip(w.part(at+i, at+j)), at+i, at+j)
		}
		i = j
	}
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
		if _, said := numeralDigit(chars[i].r); !said && scriptOf(chars[i].r) != digit {
			continue // no number begins here
		}
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
	w := spell(normalise(name.Reveal(), maxToken), nil)
	for _, r := range runs(w.chars) {
		end := r.at + len(r.chars)
		if r.script != han {
			f[FieldName] = append(f[FieldName], clip(w.part(r.at, end)))
			continue
		}
		f[FieldName] = append(f[FieldName], "^"+w.part(r.at, r.at+1))
		for i := r.at; i < end; i++ {
			for n := 2; n <= 4 && i+n <= end; n++ {
				f[FieldName] = append(f[FieldName], w.part(i, i+n))
			}
		}
		if folded := a.nameSound(r.chars); folded != "" {
			joined, initials := a.spelled(r.chars)
			f[FieldNameSound] = append(f[FieldNameSound], folded, joined, initials)
		}
		for i := r.at; i < end; i++ {
			f[FieldChars] = append(f[FieldChars], w.part(i, i+1))
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
func (a *Analyzer) spelled(chars []char) (joined, initials string) {
	var all, first [64]byte
	j, f := all[:0], first[:0]
	for _, c := range chars {
		s := a.sounds.plain(c.r)
		if s == "" {
			return "", ""
		}
		j, f = append(j, s...), append(f, s[0])
	}
	return string(j), string(f)
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

// idToken is an id as it is compared: small letters, no spaces (controls among them, some of which are spaces to Lucene), not longer than a token may be.
func idToken(s string) string {
	return clip(strings.ToLower(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), "")))
}
