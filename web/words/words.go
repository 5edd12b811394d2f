// Package words holds what the screens say, in Chinese and in English: a folder of message files for each, with the same keys.
//
// A message has parts {0}, {1} …; after a number, {0|person|people} chooses by it. T puts strings in; Split gives the pieces to
// somebody who wants to put an element in. All files are read once, at start; a key stands in one file of its tongue, and a test holds the tongues to the same keys and parts.
//
// What it does not do: it formats no times and no numbers, and it escapes nothing: templates do.
package words

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed zh/*.json en/*.json
var files embed.FS

// Tongue is a language of the screens.
type Tongue struct {
	Code string // "zh-Hans", "en": for the lang attribute
	m    map[string]string
}

// Chinese and English.
var (
	Chinese = load("zh-Hans", "zh")
	English = load("en", "en")
)

func load(code, folder string) *Tongue {
	t := &Tongue{Code: code, m: map[string]string{}}
	list, err := fs.Glob(files, folder+"/*.json")
	if err != nil || len(list) == 0 {
		panic(fmt.Sprintf("words/%s: no message file: %v", folder, err))
	}
	for _, file := range list {
		raw, err := files.ReadFile(file)
		if err != nil {
			panic(err)
		}
		var m map[string]string
		if err := json.Unmarshal(raw, &m); err != nil {
			panic(fmt.Sprintf("words/%s: %v", file, err))
		}
		for k, v := range m {
			if _, twice := t.m[k]; twice {
				panic(fmt.Sprintf("words/%s: %q stands in another file too", file, k))
			}
			t.m[k] = v
		}
	}
	return t
}

// Of gives the tongue for a code; Chinese for any that we do not speak.
func Of(code string) *Tongue {
	if code == English.Code {
		return English
	}
	return Chinese
}

// Has says whether there is a message for key.
func (t *Tongue) Has(key string) bool { _, ok := t.m[key]; return ok }

// Keys counts the messages.
func (t *Tongue) Keys() map[string]string { return t.m }

// T gives the message for key with args in its places. A key without message gives the key: better an odd word than an empty place.
func (t *Tongue) T(key string, args ...any) string {
	var b strings.Builder
	for _, p := range t.Split(key, args...) {
		if p.Arg < 0 {
			b.WriteString(p.Text)
		} else if p.Arg < len(args) {
			fmt.Fprint(&b, args[p.Arg])
		}
	}
	return b.String()
}

// Or gives the message for prefix+name if there is one, else name itself: for words from an open list.
func (t *Tongue) Or(prefix, name string) string {
	if m, ok := t.m[prefix+name]; ok {
		return m
	}
	return name
}

// Piece is a run of a message: text, or the place of an argument (Arg ≥ 0).
type Piece struct {
	Text string
	Arg  int
}

// Split cuts the message for key at the places of its arguments. args are only looked at to choose between singular and plural.
func (t *Tongue) Split(key string, args ...any) []Piece {
	m, ok := t.m[key]
	if !ok {
		return []Piece{{key, -1}}
	}
	var list []Piece
	for m != "" {
		open := strings.IndexByte(m, '{')
		if open < 0 {
			return append(list, Piece{m, -1})
		}
		end := strings.IndexByte(m[open:], '}')
		if end < 0 {
			return append(list, Piece{m, -1})
		}
		if open > 0 {
			list = append(list, Piece{m[:open], -1})
		}
		form := strings.Split(m[open+1:open+end], "|")
		n, err := strconv.Atoi(form[0])
		switch {
		case err != nil:
			list = append(list, Piece{m[open : open+end+1], -1})
		case len(form) == 3:
			word := form[2]
			if n < len(args) && fmt.Sprint(args[n]) == "1" {
				word = form[1]
			}
			list = append(list, Piece{word, -1})
		default:
			list = append(list, Piece{"", n})
		}
		m = m[open+end+1:]
	}
	return list
}
