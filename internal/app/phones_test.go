package app

import (
	"context"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"yingda/internal/store"
	"yingda/telephony/sip"
)

// A registration comes back as it was, and a machine that is late does not undo what another one wrote.
func TestRegistrationsOfTwoMachines(t *testing.T) {
	db, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "tables.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r := registrations{db}
	at := time.Now().Truncate(time.Millisecond).UTC()
	b := sip.Binding{User: "1001", Operator: "u1", Contact: "sip:1001@192.0.2.9", Source: netip.MustParseAddrPort("192.0.2.9:5060"), Transport: "udp",
		Node: netip.MustParseAddrPort("198.51.100.1:5060"), Expires: at.Add(time.Hour), CallID: "a", CSeq: 7, Agent: "phone"}
	check := func(want sip.Binding) {
		t.Helper()
		list, err := r.Load()
		if err != nil || len(list) != 1 || list[0] != want {
			t.Fatalf("%+v, %v; want %+v", list, err, want)
		}
	}
	save := func(b sip.Binding) {
		t.Helper()
		if err := r.Save(b); err != nil {
			t.Fatal(err)
		}
	}
	save(b)
	check(b)
	late := b
	late.CallID, late.CSeq, late.Expires, late.Node = "older", 3, at.Add(time.Minute), netip.AddrPort{}
	save(late)
	check(b)
	shorter := b // by the phone itself
	shorter.CSeq, shorter.Expires = 8, at.Add(2*time.Minute)
	save(shorter)
	check(shorter)
	moved := b
	moved.CallID, moved.Expires, moved.Node = "newer", at.Add(2*time.Hour), netip.AddrPort{}
	save(moved)
	check(moved)
}
