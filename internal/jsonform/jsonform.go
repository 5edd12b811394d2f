// Package jsonform says whether bytes are JSON (RFC 8259), several times faster than encoding/json does: every event that is read from a stream is
// looked at this way before it is taken apart by hand.
//
// Valid agrees with json.Valid for all input (a fuzz test holds them together). Like it, it does not say whether strings are UTF-8.
// It is pure: it keeps nothing and may be called by many.
package jsonform

// maxDepth of objects and lists in each other, as the standard decoder has it.
const maxDepth = 10000

// Valid says whether b is one JSON value with nothing but white space around it.
func Valid(b []byte) bool {
	i := value(b, Space(b, 0), 0)
	return i >= 0 && Space(b, i) == len(b)
}

// Space gives the index of what is not white space (RFC 8259 §2), from i on; len(b) when there is nothing.
func Space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// value gives the index after the value that begins at i, or -1 when there is none.
func value(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch c := b[i]; c {
	case '"':
		return text(b, i+1)
	case '{':
		return object(b, i+1, depth+1)
	case '[':
		return list(b, i+1, depth+1)
	case 't':
		return word(b, i, "true")
	case 'f':
		return word(b, i, "false")
	case 'n':
		return word(b, i, "null")
	default:
		return number(b, i)
	}
}

func word(b []byte, i int, w string) int {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return -1
	}
	return i + len(w)
}

// object is what follows a brace that opens one.
func object(b []byte, i, depth int) int {
	if depth > maxDepth {
		return -1
	}
	if i = Space(b, i); i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return -1
		}
		if i = text(b, i+1); i < 0 {
			return -1
		}
		if i = Space(b, i); i >= len(b) || b[i] != ':' {
			return -1
		}
		if i = value(b, Space(b, i+1), depth); i < 0 {
			return -1
		}
		i = Space(b, i)
		switch {
		case i >= len(b):
			return -1
		case b[i] == '}':
			return i + 1
		case b[i] != ',':
			return -1
		}
		i = Space(b, i+1)
	}
}

// list is what follows a bracket that opens one.
func list(b []byte, i, depth int) int {
	if depth > maxDepth {
		return -1
	}
	if i = Space(b, i); i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = value(b, i, depth); i < 0 {
			return -1
		}
		i = Space(b, i)
		switch {
		case i >= len(b):
			return -1
		case b[i] == ']':
			return i + 1
		case b[i] != ',':
			return -1
		}
		i = Space(b, i+1)
	}
}

// plain bytes of a string stand for themselves.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// text is what follows a quote that opens a string.
func text(b []byte, i int) int {
	for i < len(b) {
		c := b[i]
		if plain[c] {
			i++
			continue
		}
		if c == '"' {
			return i + 1
		}
		if c != '\\' || i+1 >= len(b) {
			return -1
		}
		switch b[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if len(b)-i < 6 || !hex(b[i+2]) || !hex(b[i+3]) || !hex(b[i+4]) || !hex(b[i+5]) {
				return -1
			}
			i += 6
		default:
			return -1
		}
	}
	return -1
}

func hex(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

func number(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b) || !digit(b[i]):
		return -1
	case b[i] == '0':
		i++
	default:
		i = digits(b, i)
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits gives the index after one digit or more, or -1 when there is none.
func digits(b []byte, i int) int {
	begin := i
	for i < len(b) && digit(b[i]) {
		i++
	}
	if i == begin {
		return -1
	}
	return i
}
