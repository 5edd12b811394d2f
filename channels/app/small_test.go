package app

import (
	"math"
	"strings"
	"testing"
)

func TestReceiptNumbers(t *testing.T) {
	if c := check("572"); c != 4 { // the example of Damm's dissertation
		t.Fatalf("check digit of 572 is %d", c)
	}
	seen := map[string]bool{}
	for range 300 {
		r := drawReceipt()
		seen[r] = true
		if got, ok := parseReceipt(grouped(r)); !ok || got != r || len(r) != 8 {
			t.Fatalf("%q is read as %q, %v", r, got, ok)
		}
		for i := range 8 { // every wrong digit is found
			for d := byte('0'); d <= '9'; d++ {
				if wrong := r[:i] + string(d) + r[i+1:]; d != r[i] {
					if _, ok := parseReceipt(wrong); ok {
						t.Fatalf("%s passes for %s", wrong, r)
					}
				}
			}
			if i > 0 && r[i] != r[i-1] { // so is every pair of neighbours that changed places
				if _, ok := parseReceipt(r[:i-1] + string(r[i]) + string(r[i-1]) + r[i+1:]); ok {
					t.Fatalf("%s with %d and %d swapped passes", r, i-1, i)
				}
			}
		}
	}
	if len(seen) < 295 {
		t.Errorf("%d of 300 differ", len(seen))
	}
	r := drawReceipt()
	wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, r)
	for _, s := range []string{r[:4] + "-" + r[4:], wide, wide[:12] + "　" + wide[12:], " " + r + " "} {
		if got, ok := parseReceipt(s); !ok || got != r {
			t.Errorf("%q is read as %q, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", r[:7], r + "0", r[:7] + "x", strings.Repeat(" ", 100) + r} {
		if _, ok := parseReceipt(s); ok {
			t.Errorf("%q passes", s)
		}
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add("1234 5674")
	f.Add("１２３４-５６７４")
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := parseReceipt(s); ok && (len(r) != 8 || check(r[:7]) != r[7]-'0') {
			t.Errorf("%q is read as %q", s, r)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"text":"灯不亮","address":"a","position":{"lat":31.2,"lon":120.6,"datum":"GCJ-02"},"phone":13800005678,"name":"王","category":"x","x":[1,{"y":null}]}`))
	f.Add([]byte(`{"text":"a","text":"b"} x`))
	f.Add([]byte(`[[[[[[[[[[[[[[[[[[`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		form, err := readJSON(raw)
		if err != nil {
			if _, ok := err.(*errUnreadable); !ok {
				t.Errorf("%T %v", err, err)
			}
			return
		}
		sub, _ := form.submission()
		if p := sub.Place; p != nil && math.IsNaN(p.Lat) {
			t.Errorf("%v", p)
		}
	})
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><request><service_code>001</service_code><description>a &lt; b</description></request>`))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := flatXML(raw)
		if err != nil {
			return
		}
		for name, list := range v {
			if name == "" || len(list) == 0 {
				t.Errorf("%q: %v", name, list)
			}
		}
	})
}
