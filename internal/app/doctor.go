package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"yingda/internal/users"
)

// ErrSick is what Doctor returns when something needs a hand; what and how is printed.
var ErrSick = errors.New("something needs your hand, see above")

// doctor prints findings and counts those that need a hand.
type doctor struct {
	w    io.Writer
	sick int
}

func (d *doctor) good(format string, args ...any) { fmt.Fprintf(d.w, "ok    "+format+"\n", args...) }
func (d *doctor) note(format string, args ...any) { fmt.Fprintf(d.w, "note  "+format+"\n", args...) }
func (d *doctor) bad(format string, args ...any) {
	d.sick++
	fmt.Fprintf(d.w, "WRONG "+format+"\n", args...)
}

// Doctor looks at everything that a hotline needs, beside a running program or before its first start, and says what to do
// where it is not right. It changes nothing but what opening the files does.
func Doctor(ctx context.Context, c Config, log *slog.Logger, w io.Writer) error {
	d := &doctor{w: w}
	d.good("configuration can be used")
	served := Served(c.Data)
	if served {
		d.good("a program serves from %s", c.Data)
	} else {
		d.note("no program serves from %s now", c.Data)
		d.port("tcp", c.HTTP.Listen, "http.listen")
		d.port("udp", c.SIP.UDP, "sip.udp")
		d.port("tcp", c.SIP.TCP, "sip.tcp")
	}
	d.disk(c.Data)
	d.clock()
	d.limits()
	if err := CheckPrompts(c.Media.Prompts, io.Discard); err != nil {
		d.bad("prompts: %v; run `yingda prompts check`", err)
	} else {
		d.good("prompts are complete and at their level")
	}
	s, err := OpenStore(ctx, c, StoreOptions{Logger: log})
	if err != nil {
		d.bad("%s: %v", c.Data, err)
		return ErrSick
	}
	defer s.Close()
	d.engines(ctx, s)
	d.store(ctx, s)
	if d.sick > 0 {
		return ErrSick
	}
	return nil
}

func (d *doctor) port(network, addr, key string) {
	if addr == "" {
		return
	}
	var err error
	if network == "udp" {
		var l net.PacketConn
		if l, err = net.ListenPacket(network, addr); err == nil {
			err = l.Close()
		}
	} else {
		var l net.Listener
		if l, err = net.Listen(network, addr); err == nil {
			err = l.Close()
		}
	}
	if err != nil {
		d.bad("%s %s cannot be listened on: %v; stop what holds it or set %s", network, addr, err, key)
		return
	}
	d.good("%s %s is free for %s", network, addr, key)
}

func (d *doctor) disk(dir string) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		d.bad("folder %s: %v; name another with --data", dir, err)
		return
	}
	f, err := os.CreateTemp(dir, "doctor-")
	if err != nil {
		d.bad("folder %s cannot be written: %v", dir, err)
		return
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o007 != 0 {
		d.bad("everybody on this machine may look into %s, and it holds residents' numbers and the secrets they are sealed with: chmod 700 %s", dir, dir)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		d.bad("free space of %s: %v", dir, err)
		return
	}
	free := st.Bavail * uint64(st.Bsize) >> 20
	if free < 2048 {
		d.bad("only %d MiB are free on the disk of %s: make room, 2 GiB at least (a recorded hour is 58 MB)", free, filepath.Clean(dir))
		return
	}
	d.good("%d MiB are free on the disk of %s", free, filepath.Clean(dir))
}

// clock says whether somebody keeps the clock right: arrivals, deadlines and the quarter hours of the books are cut by it.
func (d *doctor) clock() {
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t) // modes 0: only asks
	const unsynchronised = 5           // TIME_ERROR of adjtimex(2)
	switch {
	case err != nil:
		d.note("whether the clock is kept right cannot be known: %v", err)
	case state == unsynchronised:
		d.note("nothing keeps the clock right: run chrony or systemd-timesyncd, else arrivals and deadlines drift")
	default:
		d.good("the clock is kept right")
	}
}

func (d *doctor) limits() {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err == nil && l.Cur < 4096 {
		d.bad("only %d files may be open at once; a call takes four: raise it (LimitNOFILE=65536 in the systemd unit)", l.Cur)
	}
	raw, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	var n int
	if err == nil {
		if _, err := fmt.Sscan(string(raw), &n); err == nil && n < 4<<20 {
			d.note("net.core.rmem_max is %d: bursts of calls may be dropped by the system; set it to 4194304 or more", n)
		}
	}
}

func (d *doctor) store(ctx context.Context, s *Store) {
	list, err := s.ledger.All(ctx)
	switch {
	case err != nil:
		d.bad("ledger of lines: %v", err)
	case len(list) == 0:
		d.bad("the ledger has no line: no call reaches anybody; make one with `yingda lines set`")
	default:
		d.good("%d lines in the ledger", len(list))
	}
	people, err := s.users.List(ctx)
	if err != nil {
		d.bad("accounts: %v", err)
	}
	phones := 0
	for _, u := range people {
		if !u.Disabled && u.SIPUser != "" && users.May(u.Role, users.OwnDesk) {
			phones++
		}
	}
	if phones == 0 {
		d.bad("no operator has a phone, so nobody can answer: `yingda user create NAME --role operator`, then `yingda user phone NAME`")
	} else {
		d.good("%d operators have a phone", phones)
	}
	if n := len(s.cases.Registry().Grids()); n == 0 {
		d.note("no grids are known: cases go to departments only; `yingda grids import FILE…`")
	} else {
		d.good("%d grids in the registry", n)
	}
	r, asked, err := AuditServed(ctx, s.Config)
	if err == nil && !asked {
		r, err = s.Audit(ctx)
	}
	switch {
	case err != nil:
		d.bad("audit: %v", err)
	case !r.Clean:
		d.bad("the books differ; run `yingda audit`")
	default:
		d.good("the books balance: %d offered", r.Offered)
	}
	if now := s.now(); r.AsOf.After(now.Add(5 * time.Second)) {
		d.bad("the clock says %s, but the stream holds an event of %s: set the clock (or that event was imported with a wrong time)", now.UTC().Format(time.RFC3339), r.AsOf.UTC().Format(time.RFC3339))
	}
}
