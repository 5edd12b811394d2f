// Package pii holds the words that name or describe a person: a phone number, a name, an address, what somebody said.
//
// Each is a type that prints masked, whatever prints it: fmt, slog, JSON, text templates. To get at the clear value a
// caller must say Reveal, so that every place that does can be found by its name and answered for.
//
// What it does not do: it neither seals nor stores. Package wire seals what Reveal gives; the audit log writes down
// that a person looked.
package pii

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Phone is a telephone number as it reached us: digits, perhaps a leading +. The zero value means none is known.
type Phone struct{ clear string }

// NewPhone keeps the digits, *, # and a leading + of s and drops the spaces, dashes and brackets people write between
// them. Anything else in s (letters, a SIP user part that is no number) gives the zero Phone.
func NewPhone(s string) Phone {
	var b strings.Builder
	for i, r := range strings.TrimSpace(s) {
		switch {
		case r >= '0' && r <= '9', r == '*', r == '#':
			b.WriteRune(r)
		case r == '+' && i == 0:
			b.WriteRune(r)
		case r == ' ' || r == '-' || r == '(' || r == ')' || r == '.':
		default:
			return Phone{}
		}
	}
	if b.Len() == 0 || b.Len() > 32 || b.String() == "+" {
		return Phone{}
	}
	return Phone{b.String()}
}

// Reveal gives the number in clear. Whoever calls it answers for where it goes.
func (p Phone) Reveal() string { return p.clear }

// IsZero says that no number is known.
func (p Phone) IsZero() bool { return p.clear == "" }

// National is the number as the country writes it within: +86 and 0086 dropped, so that one person who is shown in
// three ways by three trunks is one caller. A mobile number loses the 0 that some gateways put before it.
func (p Phone) National() Phone {
	d := p.clear
	for _, prefix := range []string{"+86", "0086"} {
		if rest, ok := strings.CutPrefix(d, prefix); ok && len(rest) >= 7 {
			d = rest
			if !isMobile(d) && !strings.HasPrefix(d, "0") && len(d) > 8 {
				d = "0" + d // +86 512 5550 0001 is 0512 5550 0001 at home
			}
			break
		}
	}
	if strings.HasPrefix(d, "0") && isMobile(d[1:]) {
		d = d[1:]
	}
	return Phone{d}
}

func isMobile(d string) bool { return len(d) == 11 && d[0] == '1' && d[1] >= '3' }

// String masks: 138****5678 for a mobile number, 0512-****1234 for a landline with its area code, the last two digits
// of anything shorter.
func (p Phone) String() string {
	d := p.clear
	switch n := len(d); {
	case n == 0:
		return ""
	case isMobile(d):
		return d[:3] + "****" + d[7:]
	case d[0] == '0' && n >= 10:
		area := 4
		if d[1] == '1' || d[1] == '2' { // 010, 02x: the big cities' codes have three digits
			area = 3
		}
		return d[:area] + "-****" + d[n-4:]
	case n > 4:
		return "****" + d[n-2:]
	default:
		return "****"
	}
}

// Name is a person's name.
type Name struct{ clear string }

// NewName trims s.
func NewName(s string) Name { return Name{strings.TrimSpace(s)} }

// Reveal gives the name in clear.
func (n Name) Reveal() string { return n.clear }

// IsZero says that no name is known.
func (n Name) IsZero() bool { return n.clear == "" }

// String masks: 张* or 张*三, the family name and for three or more characters the last one.
func (n Name) String() string {
	r := []rune(n.clear)
	switch len(r) {
	case 0:
		return ""
	case 1:
		return "*"
	case 2:
		return string(r[0]) + "*"
	default:
		return string(r[0]) + strings.Repeat("*", min(len(r)-2, 4)) + string(r[len(r)-1])
	}
}

// Address is where a person lives or what place they speak of, to the door.
type Address struct{ clear string }

// NewAddress trims s.
func NewAddress(s string) Address { return Address{strings.TrimSpace(s)} }

// Reveal gives the address in clear.
func (a Address) Reveal() string { return a.clear }

// IsZero says that no address is known.
func (a Address) IsZero() bool { return a.clear == "" }

// String masks to the community: what stands up to 社区, 村 or 新村, and stars for the rest. Where a digit stands before that (an address that
// is written from the door outwards, a number beside it) it shows less, or nothing.
func (a Address) String() string {
	if a.clear == "" {
		return ""
	}
	for _, end := range []string{"社区", "新村", "村", "街道"} {
		if i := strings.Index(a.clear, end); i >= 0 && !strings.ContainsFunc(a.clear[:i], unicode.IsDigit) {
			return a.clear[:i+len(end)] + "***"
		}
	}
	return "***"
}

// Text is what a resident said or wrote. It prints as its length only.
type Text struct{ clear string }

// NewText takes s as it is.
func NewText(s string) Text { return Text{s} }

// Reveal gives the words in clear.
func (t Text) Reveal() string { return t.clear }

// IsZero says that there are no words.
func (t Text) IsZero() bool { return t.clear == "" }

// String says how many characters there are, none of which it shows.
func (t Text) String() string {
	if t.clear == "" {
		return ""
	}
	return fmt.Sprintf("(%d 字)", utf8.RuneCountInString(t.clear))
}

// The masked form goes wherever a value is printed, logged or marshalled; Format covers %v, %+v, %#v and %q alike, since
// %#v would otherwise walk into the unexported field.

func (p Phone) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(p.String())) }
func (n Name) Format(f fmt.State, _ rune)    { _, _ = f.Write([]byte(n.String())) }
func (a Address) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }
func (t Text) Format(f fmt.State, _ rune)    { _, _ = f.Write([]byte(t.String())) }

func (p Phone) MarshalJSON() ([]byte, error)   { return json.Marshal(p.String()) }
func (n Name) MarshalJSON() ([]byte, error)    { return json.Marshal(n.String()) }
func (a Address) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }
func (t Text) MarshalJSON() ([]byte, error)    { return json.Marshal(t.String()) }

func (p Phone) LogValue() slog.Value   { return slog.StringValue(p.String()) }
func (n Name) LogValue() slog.Value    { return slog.StringValue(n.String()) }
func (a Address) LogValue() slog.Value { return slog.StringValue(a.String()) }
func (t Text) LogValue() slog.Value    { return slog.StringValue(t.String()) }
