package wire

import (
	"testing"

	"yingda/intake"
)

func usual() intake.Event {
	e := full("contact.offered.v1")
	e.Personal = intake.Personal{Number: someone().Number, Name: someone().Name}
	return e
}

func BenchmarkEncode(b *testing.B) {
	c, e := New(months{}), usual()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Encode(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	c := New(months{})
	raw, err := c.Encode(usual())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeClear(b *testing.B) {
	c := New(months{})
	raw, err := c.encode(usual(), inClear)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.DecodeClear(raw); err != nil {
			b.Fatal(err)
		}
	}
}
