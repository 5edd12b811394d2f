package pii

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestPhone(t *testing.T) {
	test := func(in, clear, national, masked string) {
		t.Helper()
		p := NewPhone(in)
		if p.Reveal() != clear || p.National().Reveal() != national || p.String() != masked {
			t.Errorf("NewPhone(%q) = %q, national %q, masked %q; want %q, %q, %q",
				in, p.Reveal(), p.National().Reveal(), p.String(), clear, national, masked)
		}
	}
	test("13800005678", "13800005678", "13800005678", "138****5678")
	test("+86 138 0000 5678", "+8613800005678", "13800005678", "****78")
	test("013800005678", "013800005678", "13800005678", "013-****5678")
	test("0512-5550-1234", "051255501234", "051255501234", "0512-****1234")
	test("+8651255501234", "+8651255501234", "051255501234", "****34")
	test("010 5550 1234", "01055501234", "01055501234", "010-****1234")
	test("12345", "12345", "12345", "****45")
	test("110", "110", "110", "****")
	test("anonymous", "", "", "")
	test("1\r\nX: y", "", "", "")
	test("", "", "", "")
}

func TestNothingPrintsClear(t *testing.T) {
	type card struct {
		P Phone
		N Name
		A Address
		T Text
	}
	c := card{NewPhone("13800005678"), NewName("王小明"), NewAddress("枫桥社区 7 幢 302 室"), NewText("井盖坏了")}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "p", c.P, "n", c.N, "a", c.A, "t", c.T, "card", c)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "p", c.P, "card", c)
	fmt.Fprintf(&out, "%v %+v %#v %s %q %d %x", c, c, c, c.P, c.N, c.P, c.T)
	j, _ := json.Marshal(c)
	out.Write(j)
	for _, secret := range []string{"13800005678", "小", "302", "井盖", fmt.Sprintf("%x", "井盖坏了")} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q was printed in clear: %s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), "138****5678") || !strings.Contains(out.String(), "枫桥社区***") {
		t.Errorf("masked forms are missing: %s", out.String())
	}
}
