package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Lease says which of several machines has something, such as a switchboard. It is kept by the clock of the database, so the machines' own need not agree.
type Lease struct {
	Name   string        // what is held
	Holder string        // the machine; "" when nobody ever had it
	Folder string        // identity of its data folder: a machine that starts again has its own lease at once
	Epoch  uint32        // fencing number: higher with each taking, and that of the events which the holder writes
	SIP    string        // host:port at which the holder takes calls
	Pages  string        // URL of its pages
	Left   time.Duration // until it runs out; 0 or less: it has
}

// TakeLease takes what nobody has: when it was never taken, has run out, was released, or was this folder's own. It tells who has it otherwise.
func (d *DB) TakeLease(ctx context.Context, want Lease, length time.Duration) (have Lease, mine bool, err error) {
	err = d.free(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO leases (name, holder, folder, epoch, until, sip, pages) VALUES (?, '', '', 0, 0, '', '') ON CONFLICT (name) DO NOTHING", want.Name)
		if err == nil { // whoever else wants it waits here until we are done
			_, err = tx.ExecContext(ctx, "UPDATE leases SET until = until WHERE name = ?", want.Name)
		}
		if err == nil {
			have, err = d.lease(ctx, tx, want.Name)
		}
		if err != nil || have.Left > 0 && have.Folder != want.Folder {
			return err
		}
		have = want
		have.Left = length
		if have.Epoch, err = bumpEpoch(ctx, tx); err != nil {
			return err
		}
		mine = true
		_, err = tx.ExecContext(ctx, "UPDATE leases SET holder = ?, folder = ?, epoch = ?, sip = ?, pages = ?, until = "+d.dialect.clock()+" + ? WHERE name = ?",
			have.Holder, have.Folder, int64(have.Epoch), have.SIP, have.Pages, length.Milliseconds(), have.Name)
		return err
	})
	return have, mine && err == nil, err
}

// RenewLease makes a lease last for length from now on, even one that has run out if nobody has taken it meanwhile. It tells who has it otherwise.
func (d *DB) RenewLease(ctx context.Context, l Lease, length time.Duration) (have Lease, mine bool, err error) {
	err = d.free(ctx, func(tx *Tx) error {
		done, err := tx.ExecContext(ctx, "UPDATE leases SET until = "+d.dialect.clock()+" + ? WHERE name = ? AND folder = ? AND epoch = ?", length.Milliseconds(), l.Name, l.Folder, int64(l.Epoch))
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		if err != nil {
			return err
		}
		mine = n == 1
		have, err = d.lease(ctx, tx, l.Name)
		return err
	})
	return have, mine && err == nil, err
}

// ReleaseLease gives up a lease, so that another machine need not wait until it runs out. One that is not ours any more stays as it is.
func (d *DB) ReleaseLease(ctx context.Context, l Lease) error {
	return d.free(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE leases SET until = 0 WHERE name = ? AND folder = ? AND epoch = ?", l.Name, l.Folder, int64(l.Epoch))
		return err
	})
}

// FindLease tells who has something. The zero Holder: nobody ever had it.
func (d *DB) FindLease(ctx context.Context, name string) (have Lease, err error) {
	err = d.free(ctx, func(tx *Tx) error {
		have, err = d.lease(ctx, tx, name)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return err
	})
	return have, err
}

func (d *DB) lease(ctx context.Context, tx *Tx, name string) (Lease, error) {
	l := Lease{Name: name}
	var epoch, left int64
	err := tx.QueryRowContext(ctx, "SELECT holder, folder, epoch, sip, pages, until - "+d.dialect.clock()+" FROM leases WHERE name = ?", name).
		Scan(&l.Holder, &l.Folder, &epoch, &l.SIP, &l.Pages, &left)
	l.Epoch, l.Left = uint32(epoch), time.Duration(left)*time.Millisecond
	return l, err
}

// Now is the time by the clock of the database.
func (d *DB) Now(ctx context.Context) (time.Time, error) {
	var ms int64
	err := d.QueryRow(ctx, "SELECT "+d.dialect.clock()).Scan(&ms)
	return Time(ms), err
}

// Node is a machine as it said of itself.
type Node struct {
	Name    string
	Folder  string // identity of its data folder
	Role    string // "owner", "standby", "leaving"
	SIP     string
	Pages   string
	Version string
	Seen    time.Time     // by the database's clock
	Ago     time.Duration // since Seen, by the same clock
	Owed    int64         // events on its disk that are not in the stream yet
	Oldest  time.Time     // when the oldest of them happened; zero: none
}

// ErrSameName says that another machine calls itself by this name.
var ErrSameName = errors.New("store: another machine calls itself by this name")

// sameName is how long a name stays with a folder that is not heard of any more.
const sameName = 30 * time.Second

// Beat says that a machine is there. A name that another folder used a moment ago is refused with ErrSameName.
func (d *DB) Beat(ctx context.Context, n Node) error {
	return d.free(ctx, func(tx *Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO nodes (name, folder, seen, role, sip, pages, version, owed, oldest) VALUES (?, ?, `+d.dialect.clock()+`, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET folder = excluded.folder, seen = excluded.seen, role = excluded.role, sip = excluded.sip, pages = excluded.pages,
			version = excluded.version, owed = excluded.owed, oldest = excluded.oldest WHERE nodes.folder = excluded.folder OR nodes.seen < excluded.seen - ?`,
			n.Name, n.Folder, n.Role, n.SIP, n.Pages, n.Version, n.Owed, Millis(n.Oldest), sameName.Milliseconds())
		if err != nil {
			return err
		}
		if rows, err := done.RowsAffected(); err != nil || rows == 1 {
			return err
		}
		return fmt.Errorf("%w: %s; give each its own office.node", ErrSameName, n.Name)
	})
}

// Nodes are all machines that ever said they are there, by name.
func (d *DB) Nodes(ctx context.Context) ([]Node, error) {
	rows, err := d.Query(ctx, "SELECT name, folder, seen, "+d.dialect.clock()+" - seen, role, sip, pages, version, owed, oldest FROM nodes ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Node
	for rows.Next() {
		var n Node
		var seen, ago, oldest int64
		if err := rows.Scan(&n.Name, &n.Folder, &seen, &ago, &n.Role, &n.SIP, &n.Pages, &n.Version, &n.Owed, &oldest); err != nil {
			return nil, err
		}
		n.Seen, n.Ago, n.Oldest = Time(seen), time.Duration(ago)*time.Millisecond, Time(oldest)
		list = append(list, n)
	}
	return list, rows.Err()
}
