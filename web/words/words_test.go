package words

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var place = regexp.MustCompile(`\{(\d)(\|[^}]*)?\}`)

func places(s string) []string {
	var list []string
	for _, m := range place.FindAllStringSubmatch(s, -1) {
		if !slices.Contains(list, m[1]) {
			list = append(list, m[1])
		}
	}
	slices.Sort(list)
	return list
}

// Both tongues have the same keys and the same parts, and nothing is left unsaid.
func TestBothTonguesSayTheSame(t *testing.T) {
	for k, zh := range Chinese.Keys() {
		en, ok := English.Keys()[k]
		if !ok {
			t.Errorf("English has no %q", k)
			continue
		}
		if zh == "" || en == "" {
			t.Errorf("%q is empty in one of the two", k)
		}
		if !slices.Equal(places(zh), places(en)) {
			t.Errorf("%q: %q and %q have different parts", k, zh, en)
		}
		if strings.ContainsAny(zh, "!！") || strings.Contains(en, "!") {
			t.Errorf("%q shouts", k)
		}
	}
	for k := range English.Keys() {
		if !Chinese.Has(k) {
			t.Errorf("Chinese has no %q", k)
		}
	}
}

func TestT(t *testing.T) {
	x := &Tongue{m: map[string]string{"a": "{0} {0|day|days} of {1}", "b": "no end {0", "c": "{x} {9}"}}
	test := func(key, want string, args ...any) {
		t.Helper()
		if got := x.T(key, args...); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	test("a", "1 day of x", 1, "x")
	test("a", "3 days of {0}", 3, "{0}") // what is put in is not looked at again
	test("b", "no end {0", 1)
	test("c", "{x} ", 1)
	test("gone", "gone")
	if x.Or("p.", "word") != "word" {
		t.Error("an unknown word is not said as it is")
	}
	if Of("en") != English || Of("") != Chinese || Of("xx") != Chinese {
		t.Error("Chinese first")
	}
}
