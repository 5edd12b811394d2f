package elastic

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"yingda/search"
)

// obj is a JSON object that we build.
type obj = map[string]any

// Names of the fields that filters ask. The fields of words are search.Field's; doc is the document itself, kept and not indexed.
const (
	fieldDoc        = "doc"
	fieldKind       = "kind"
	fieldSubject    = "subject"
	fieldState      = "state"
	fieldOpen       = "open"
	fieldChannel    = "channel"
	fieldLine       = "line"
	fieldOutcome    = "outcome"
	fieldGrid       = "grid"
	fieldDepartment = "dept"
	fieldCategory   = "cat"
	fieldOperator   = "op"
	fieldCaller     = "caller"
	fieldAbout      = "about"   // contacts that it is about, itself among them
	fieldArrived    = "at"      // milliseconds
	fieldUpdated    = "updated" // milliseconds
	fieldIK         = "ik"      // the words as they were said, for IK
	fieldICU        = "icu"     // the same for ICU
)

// layout grows when the same tokens stand in the index in another way, so that an index made before is known to be old.
const layout = ".2"

// made is the fingerprint of what decides how a document stands in the index.
func (x *Index) made() string { return x.analyzer.Fingerprint() + layout }

// Kinds of what stands beside the documents.
const (
	kindPosition = "position"
	kindLease    = "lease"
)

// counted fields have how often a token stands in how long a text; in the others it is there or not.
var (
	counted = []search.Field{search.FieldWords, search.FieldPhrase, search.FieldSound}
	present = []search.Field{search.FieldAddress, search.FieldChars, search.FieldName, search.FieldNameSound, search.FieldNumber, search.FieldNumberPart, search.FieldID}
)

// everywhere stands in every token field of every document, so that Lucene, which counts only documents that have the field, says how
// rare a name is among all documents and not among those with a name. No text is cut into it.
const everywhere = "·"

// extras are the analysis plugins that were found; their fields lift what our tokens found.
type extras struct{ ik, icu bool }

const (
	longestKeyword = 8191 // characters; Lucene takes 32,766 bytes
	k1             = 1.2
	lengthCounts   = 0.3 // BM25's b: what people say is short, and one who says more does not mean it less
	extraBoost     = 0.3
)

// mapping is of a generation; analysis is the fingerprint of what cut its documents.
//
// Those that are there or not stand as words of a text too, and not as a keyword with many values: each of these is a field of its own to Lucene, and reading a stream in
// was 7 % slower.
//
// Tokens stay in _source beside the document. Leaving them out would save disk, but Elasticsearch then keeps a second copy for recovery and takes it
// out again when it merges: reading a stream in cost it a third more CPU.
func mapping(e extras, analysis string) obj {
	keyword := obj{"type": "keyword", "doc_values": false, "ignore_above": longestKeyword}
	number := obj{"type": "long"}
	p := obj{
		fieldDoc:     obj{"type": "object", "enabled": false},
		fieldSubject: obj{"type": "keyword"},
		fieldArrived: number, fieldUpdated: number,
	}
	for _, f := range []string{fieldKind, fieldState, fieldOpen, fieldChannel, fieldLine, fieldOutcome, fieldGrid, fieldDepartment, fieldCategory, fieldOperator, fieldCaller, fieldAbout} {
		p[f] = keyword
	}
	for _, f := range counted {
		p[string(f)] = obj{"type": "text", "analyzer": "whitespace", "index_options": "freqs", "similarity": "said"}
	}
	for _, f := range present {
		p[string(f)] = obj{"type": "text", "analyzer": "whitespace", "index_options": "docs", "norms": false, "similarity": "there"}
	}
	if e.ik {
		p[fieldIK] = obj{"type": "text", "analyzer": "ik_max_word", "search_analyzer": "ik_smart", "index_options": "freqs"}
	}
	if e.icu {
		p[fieldICU] = obj{"type": "text", "analyzer": "icu_analyzer", "index_options": "freqs"}
	}
	return obj{
		"dynamic":    "strict", // what we do not know is our own mistake, and must not become a field
		"_meta":      obj{"made_by": "yingda", "analysis": analysis},
		"properties": p,
	}
}

// settings of a generation. A field's tokens score as in package bleve: "there" is the rarity alone (k1 of 0 makes BM25 that).
func settings(shards int) obj {
	return obj{"index": obj{
		"number_of_shards":     shards,
		"auto_expand_replicas": "0-1", // one copy more wherever there is a second node
		"refresh_interval":     "1s",  // said, since without it an index that nobody asks is not refreshed
		"max_result_window":    search.MaxOffset + search.MaxLimit,
		"similarity": obj{
			"said":  obj{"type": "BM25", "k1": k1, "b": lengthCounts},
			"there": obj{"type": "BM25", "k1": 0, "b": 0},
		},
	}}
}

// template makes every generation alike. allow_auto_create off: a write to an index that was removed must fail.
func (x *Index) template(e extras) obj {
	return obj{
		"index_patterns":    []string{x.alias + ".g*"},
		"priority":          500,
		"allow_auto_create": false,
		"template":          obj{"settings": settings(x.shards), "mappings": mapping(e, x.made())},
		"_meta":             obj{"made_by": "yingda"},
	}
}

// encode writes the line of a document in a _bulk request.
func encode(b []byte, a *search.Analyzer, room *search.Scratch, e extras, d *search.Document) ([]byte, error) {
	b, err := d.AppendStored(append(b, `{"doc":`...))
	if err != nil {
		return nil, err
	}
	b = keyword(b, fieldSubject, string(d.ID))
	b = keyword(b, fieldKind, string(d.Kind))
	b = keyword(b, fieldState, string(d.State))
	b = keyword(b, fieldOpen, yes(d.IsOpen()))
	b = keyword(b, fieldChannel, string(d.Channel))
	b = keyword(b, fieldLine, string(d.Line))
	b = keyword(b, fieldOutcome, string(d.Outcome))
	b = keyword(b, fieldGrid, string(d.Grid))
	b = keyword(b, fieldDepartment, d.Department)
	b = keyword(b, fieldCategory, d.Category)
	b = keyword(b, fieldOperator, string(d.Operator))
	b = keyword(b, fieldCaller, string(d.Caller))
	var about []string
	if c := d.Contact(); c != "" {
		about = append(about, string(c))
	}
	for _, c := range d.Contacts {
		about = append(about, string(c))
	}
	if len(about) > 0 {
		b = list(b, fieldAbout, about)
	}
	b = number(b, fieldArrived, millis(d.Arrived))
	b = number(b, fieldUpdated, millis(d.Updated))
	fields := a.FieldsIn(room, d)
	for _, list := range [][]search.Field{counted, present} {
		for _, f := range list {
			b = append(append(append(b, ',', '"'), f...), `":"`...)
			b = append(b, everywhere...)
			for _, t := range fields[f] {
				b = appendInside(append(b, ' '), t)
			}
			b = append(b, '"')
		}
	}
	if e.ik || e.icu {
		var words []string
		for _, w := range d.Words {
			words = append(words, w.Reveal())
		}
		said := strings.Join(append(words, d.Address.Reveal(), d.Category), "\n")
		if e.ik {
			b = keyword(b, fieldIK, said)
		}
		if e.icu {
			b = keyword(b, fieldICU, said)
		}
	}
	return append(b, '}'), nil
}

func keyword(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return append(appendInside(append(append(append(b, `,"`...), name...), `":"`...), value), '"')
}

func number(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(append(append(append(b, `,"`...), name...), `":`...), v, 10)
}

func list(b []byte, name string, values []string) []byte {
	b = append(append(append(b, `,"`...), name...), `":[`...)
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendInside(append(b, '"'), v), '"')
	}
	return append(b, ']')
}

// appendInside writes a text as it stands between the quotes of a JSON string. Tokens hardly ever need anything.
func appendInside(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == '"' || c == '\\' {
				return appendEscaped(b, s)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return appendEscaped(b, s)
		}
		i += n
	}
	return append(b, s...)
}

func appendEscaped(b []byte, s string) []byte {
	raw, _ := json.Marshal(s) // a string always can; what is no UTF-8 becomes U+FFFD, as in a query
	return append(b, raw[1:len(raw)-1]...)
}

func yes(b bool) string {
	if b {
		return "y"
	}
	return "n"
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
