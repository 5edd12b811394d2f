package prompts_test

import (
	"os"
	"testing"

	"yingda/telephony/prompts"
)

// Loading the pack is part of the program's start; encoding G.722 is not, it follows.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := prompts.Load(os.DirFS("packs/mandarin")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeG722(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		p, err := prompts.Load(os.DirFS("packs/mandarin"))
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		p.EncodeG722()
	}
}
