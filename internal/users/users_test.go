package users_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/store"
	"yingda/internal/store/storetest"
	"yingda/internal/users"
)

// office is a book of accounts with a clock that a test moves, and cheap hashes.
type office struct {
	*users.Book
	*testing.T
	db   *store.DB
	path string
	mu   sync.Mutex
	now  time.Time
}

func open(t *testing.T) *office {
	path := filepath.Join(t.TempDir(), "yingda.db")
	return openAt(t, path, storetest.Address(t, path))
}

func openAt(t *testing.T, path, address string) *office {
	t.Helper()
	o := &office{T: t, now: time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC), path: path}
	db, err := store.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	o.db = db
	o.Book = users.New(db, users.Config{Params: users.Params{Memory: 64, Time: 1, Lanes: 1}, Now: o.clock})
	return o
}

func (o *office) clock() time.Time { o.mu.Lock(); defer o.mu.Unlock(); return o.now }

func (o *office) pass(d time.Duration) { o.mu.Lock(); defer o.mu.Unlock(); o.now = o.now.Add(d) }

func (o *office) make(login string, role users.Role) (users.User, string) {
	o.Helper()
	u, password, err := o.Create(o.Context(), users.Fresh{Login: login, Name: login, Role: role})
	if err != nil {
		o.Fatal(err)
	}
	return u, password
}

func (o *office) in(login, password string) (string, users.Session, error) {
	return o.SignIn(o.Context(), login, password, "192.0.2.7", "", false)
}

func (o *office) want(err, want error) {
	o.Helper()
	if !errors.Is(err, want) {
		o.Fatalf("got %v, want %v", err, want)
	}
}

const chosen = "a long way home"

func TestFirstStart(t *testing.T) {
	o := open(t)
	password, err := o.First(t.Context())
	o.want(err, nil)
	if !regexp.MustCompile(`^[a-hjkmnp-z2-9]{4}(-[a-hjkmnp-z2-9]{4}){2}$`).MatchString(password) {
		t.Fatalf("one-time password is %q", password)
	}
	if again, err := o.First(t.Context()); again != "" || err != nil {
		t.Fatalf("a second start gave %q, %v", again, err)
	}
	secret, s, err := o.in("Admin ", password)
	o.want(err, nil)
	if !s.MustChange || s.May(users.ManageUsers) || !s.May(users.OwnAccount) {
		t.Fatal("a one-time password opens more than its own change")
	}
	o.want(o.ChangePassword(t.Context(), s.ID, password, password, "", secret), users.ErrWeak)
	o.want(o.ChangePassword(t.Context(), s.ID, password, "short", "", secret), users.ErrWeak)
	o.want(o.ChangePassword(t.Context(), s.ID, "wrong", chosen, "", secret), users.ErrWrong)
	o.want(o.ChangePassword(t.Context(), s.ID, password, chosen, "", secret), nil)
	s, err = o.Session(t.Context(), secret, false)
	o.want(err, nil)
	if s.MustChange || !s.May(users.ManageUsers) {
		t.Fatal("the account did not open after the change")
	}
	_, _, err = o.in("admin", password)
	o.want(err, users.ErrWrong)
}

func TestSessions(t *testing.T) {
	o := open(t)
	u, password := o.make("linyue", users.Operator)
	first, s1, err := o.in("linyue", password)
	o.want(err, nil)
	o.want(o.ChangePassword(t.Context(), u.ID, password, chosen, "", first), nil)

	// Signing in again makes another secret, and the planted or left one ends.
	second, s2, err := o.SignIn(t.Context(), "linyue", chosen, "192.0.2.7", first, false)
	o.want(err, nil)
	if first == second || s1.CSRF == s2.CSRF {
		t.Fatal("secret or CSRF token was not renewed")
	}
	_, err = o.Session(t.Context(), first, false)
	o.want(err, users.ErrNoSession)

	// Use keeps it alive, but a page that refreshes itself is no use.
	for range 5 {
		o.pass(25 * time.Minute)
		_, err = o.Session(t.Context(), second, false)
		o.want(err, nil)
	}
	o.pass(20 * time.Minute)
	_, err = o.Session(t.Context(), second, true)
	o.want(err, nil)
	o.pass(11 * time.Minute)
	_, err = o.Session(t.Context(), second, false)
	o.want(err, users.ErrNoSession)

	// Absolute end.
	third, _, err := o.in("linyue", chosen)
	o.want(err, nil)
	for range 35 {
		o.pass(20 * time.Minute)
		_, err = o.Session(t.Context(), third, false)
		o.want(err, nil)
	}
	o.pass(21 * time.Minute)
	_, err = o.Session(t.Context(), third, false)
	o.want(err, users.ErrNoSession)

	// Signing out, disabling.
	fourth, _, _ := o.in("linyue", chosen)
	o.want(o.SignOut(t.Context(), fourth), nil)
	_, err = o.Session(t.Context(), fourth, false)
	o.want(err, users.ErrNoSession)
	fifth, _, _ := o.in("linyue", chosen)
	o.want(o.Disable(t.Context(), u.ID), nil)
	_, err = o.Session(t.Context(), fifth, false)
	o.want(err, users.ErrNoSession)
	_, _, err = o.in("linyue", chosen)
	o.want(err, users.ErrDisabled)
	_, _, err = o.in("linyue", "wrong")
	o.want(err, users.ErrWrong) // only the right password learns that the account is closed
	o.want(o.Enable(t.Context(), u.ID), nil)
	_, _, err = o.in("linyue", chosen)
	o.want(err, nil)
}

func TestWallSession(t *testing.T) {
	o := open(t)
	u, password := o.make("zhoumin", users.Supervisor)
	secret, s, err := o.SignIn(t.Context(), "zhoumin", password, "", "", true)
	o.want(err, nil)
	if s.Wall {
		t.Fatal("a one-time password made a wall session")
	}
	o.want(o.ChangePassword(t.Context(), u.ID, password, chosen, "", secret), nil)
	secret, _, err = o.SignIn(t.Context(), "zhoumin", chosen, "", "", true)
	o.want(err, nil)
	o.pass(40 * 24 * time.Hour)
	s, err = o.Session(t.Context(), secret, true)
	o.want(err, nil)
	for _, d := range users.Deeds() {
		if s.May(d) != (d == users.SeeBoard) {
			t.Errorf("wall session, %s: %v", d, s.May(d))
		}
	}
	_, err = o.Reset(t.Context(), u.ID)
	o.want(err, nil)
	_, err = o.Session(t.Context(), secret, true)
	o.want(err, users.ErrNoSession)
}

func TestThrottle(t *testing.T) {
	o := open(t)
	_, password := o.make("linyue", users.Operator)
	o.make("xuhang", users.Operator)
	for range 5 {
		_, _, err := o.in("linyue", "wrong")
		o.want(err, users.ErrWrong)
	}
	var wait users.Throttled
	if _, _, err := o.in("linyue", password); !errors.As(err, &wait) || wait.Wait < time.Second {
		t.Fatalf("after five failures: %v", err)
	}
	if _, _, err := o.SignIn(t.Context(), "linyue", password, "192.0.2.8", "", false); err != nil {
		t.Fatalf("somebody elsewhere locked a colleague out: %v", err)
	}
	for range 6 { // each further failure doubles the wait
		o.pass(wait.Wait + time.Second)
		_, _, err := o.in("linyue", "wrong")
		o.want(err, users.ErrWrong)
		_, _, err = o.in("linyue", "wrong")
		if !errors.As(err, &wait) {
			t.Fatal(err)
		}
	}
	if wait.Wait < time.Minute {
		t.Fatalf("after eleven failures the wait is %s", wait.Wait)
	}
	o.pass(20 * time.Minute)
	_, _, err := o.in("linyue", password)
	o.want(err, nil)

	// One address that tries many logins.
	for i := range 60 {
		_, _, err = o.SignIn(t.Context(), fmt.Sprintf("nobody%d", i), "wrong", "198.51.100.1", "", false)
		if errors.As(err, &wait) {
			return
		}
		o.want(err, users.ErrWrong)
	}
	t.Fatal("sixty failures from one address were not slowed")
}

func TestAccounts(t *testing.T) {
	o := open(t)
	admin, _ := o.make("chief", users.Administrator)
	bad := func(f users.Fresh, want error) {
		t.Helper()
		_, _, err := o.Create(t.Context(), f)
		o.want(err, want)
	}
	bad(users.Fresh{Login: "CHIEF", Name: "x", Role: users.Auditor}, users.ErrTaken)
	bad(users.Fresh{Login: "a", Name: "x", Role: users.Auditor}, users.ErrInvalid)
	bad(users.Fresh{Login: "a b", Name: "x", Role: users.Auditor}, users.ErrInvalid)
	bad(users.Fresh{Login: "<script>", Name: "x", Role: users.Auditor}, users.ErrInvalid)
	bad(users.Fresh{Login: "abc", Name: "\x00", Role: users.Auditor}, users.ErrInvalid)
	bad(users.Fresh{Login: "abc", Name: "x", Role: "god"}, users.ErrInvalid)

	o.want(o.Disable(t.Context(), admin.ID), users.ErrLastAdmin)
	o.want(o.Update(t.Context(), admin.ID, users.Fresh{Name: "x", Role: users.Auditor}), users.ErrLastAdmin)
	o.make("second", users.Administrator)
	o.want(o.Disable(t.Context(), admin.ID), nil)
	o.want(o.Disable(t.Context(), "nobody"), users.ErrUnknown)

	w, password := o.make("lujianping", users.GridWorker)
	secret, _, err := o.in("lujianping", password)
	o.want(err, nil)
	o.want(o.Update(t.Context(), w.ID, users.Fresh{Name: "陆建平", Role: users.GridWorker, Grids: []intake.GridID{"MY03", "MY05"}}), nil)
	s, err := o.Session(t.Context(), secret, true)
	o.want(err, nil)
	if s.Name != "陆建平" || len(s.Grids) != 2 || s.Grids[1] != "MY05" {
		t.Fatalf("%+v", s.User)
	}
	o.want(o.Update(t.Context(), w.ID, users.Fresh{Name: "陆建平", Role: users.Operator}), nil)
	_, err = o.Session(t.Context(), secret, true)
	o.want(err, users.ErrNoSession) // a new role needs a new sign-in
	list, err := o.List(t.Context())
	o.want(err, nil)
	if len(list) != 3 || list[0].Login != "chief" || !list[0].Disabled {
		t.Fatalf("%+v", list)
	}
}

func TestTokens(t *testing.T) {
	o := open(t)
	secret, made, err := o.MakeToken(t.Context(), "市里审计", users.Auditor, o.clock().Add(time.Hour), "")
	o.want(err, nil)
	// Made by one process, good in another that was there before.
	other, err := store.Open(t.Context(), storetest.Address(t, o.path))
	o.want(err, nil)
	defer func() { _ = other.Close() }()
	server := users.New(other, users.Config{Now: o.clock})
	tok, err := server.Token(t.Context(), secret)
	o.want(err, nil)
	if tok.ID != made.ID || !tok.May(users.ReadAPI) || tok.May(users.ManageUsers) || tok.May(users.OwnAccount) {
		t.Fatalf("%+v", tok)
	}
	for _, wrong := range []string{"", "ydt_", secret + "x", strings.ToUpper(secret), "Bearer " + secret} {
		_, err = server.Token(t.Context(), wrong)
		o.want(err, users.ErrNoToken)
	}
	o.pass(time.Hour)
	_, err = server.Token(t.Context(), secret)
	o.want(err, users.ErrNoToken)
	secret, made, _ = o.MakeToken(t.Context(), "x", users.Auditor, time.Time{}, "")
	o.want(o.RevokeToken(t.Context(), made.ID), nil)
	_, err = server.Token(t.Context(), secret)
	o.want(err, users.ErrNoToken)
	o.want(o.RevokeToken(t.Context(), "none"), users.ErrNoToken)
	list, err := o.Tokens(t.Context())
	o.want(err, nil)
	if len(list) != 2 {
		t.Fatal(list)
	}
}

func TestDevice(t *testing.T) {
	o := open(t)
	u, _ := o.make("linyue", users.Operator)
	a, _ := o.make("auditor", users.Auditor)
	_, _, err := o.NewDevice(t.Context(), a.ID)
	o.want(err, users.ErrInvalid)
	d, secret, err := o.NewDevice(t.Context(), u.ID)
	o.want(err, nil)
	if len(secret) != 20 {
		t.Fatalf("secret has %d letters", len(secret))
	}
	sum := md5.Sum([]byte("linyue:yingda:" + secret))
	if d.HA1MD5 != hex.EncodeToString(sum[:]) || len(d.HA1SHA256) != 64 {
		t.Fatalf("%+v", d)
	}
	got, err := o.Device(t.Context(), "linyue")
	o.want(err, nil)
	if got != d {
		t.Fatalf("%+v, want %+v", got, d)
	}
	_, again, _ := o.NewDevice(t.Context(), u.ID)
	if got, _ := o.Device(t.Context(), "linyue"); again == secret || got.HA1MD5 == d.HA1MD5 {
		t.Fatal("a new secret did not replace the old one")
	}
	o.make("chief", users.Administrator)
	o.want(o.Disable(t.Context(), u.ID), nil)
	_, err = o.Device(t.Context(), "linyue")
	o.want(err, users.ErrUnknown)
}

// No secret is in the file: not a password, not what a browser, a program or a phone holds.
func TestNothingInClear(t *testing.T) {
	file := filepath.Join(t.TempDir(), "yingda.db")
	o := openAt(t, file, file) // an SQLite file, whatever the other tests run on
	u, password := o.make("linyue", users.Operator)
	cookie, s, err := o.in("linyue", password)
	o.want(err, nil)
	_, phone, _ := o.NewDevice(t.Context(), u.ID)
	token, _, _ := o.MakeToken(t.Context(), "x", users.Auditor, time.Time{}, "")
	all := ""
	for _, f := range []string{o.path, o.path + "-wal"} {
		raw, err := os.ReadFile(f)
		if err == nil {
			all += string(raw)
		}
	}
	if !strings.Contains(all, s.CSRF) {
		t.Fatal("looked at the wrong file")
	}
	for name, secret := range map[string]string{"password": password, "cookie": cookie, "phone": phone, "token": token} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is in the database in clear", name)
		}
	}
}

// The table, whole: a change of it is a change of this list, and is seen.
func TestTable(t *testing.T) {
	want := map[users.Deed]string{
		users.SeeBoard: "os au", users.SeeUnreturned: "os au", users.SeeContacts: "os au", users.Search: "os au", users.Reveal: "os   ",
		users.Listen: " s a ", users.CallBack: "os   ", users.AssignCallback: " s   ", users.CloseCallback: " s   ", users.AskVisit: "os   ",
		users.SeeCases: "osgau", users.OpenCase: "os   ", users.HandleCase: "osg  ", users.DispatchCase: " s   ", users.SeeSecret: "os   ",
		users.SeeLines: " s au", users.ManageLines: "    u", users.ManageUsers: "    u", users.OwnDesk: "os   ", users.SeeAudit: " s a ",
		users.SeeHistory: " s a ", users.SeeTeam: " s a ", users.Export: " s a ", users.ReadAPI: " s au", users.OwnAccount: "osgau", users.OwnGrid: "  g  ", users.OwnPhone: "osg  ", users.Submit: "     ",
	}
	if len(want) != len(users.Deeds()) {
		t.Fatalf("%d deeds in the test, %d in the package", len(want), len(users.Deeds()))
	}
	for _, d := range users.Deeds() {
		got := ""
		for i, r := range users.Roles() {
			if users.May(r, d) {
				got += string("osgau"[i])
			} else {
				got += " "
			}
		}
		if got != want[d] {
			t.Errorf("%-16s may %q, want %q", d, got, want[d])
		}
	}
	for _, d := range users.Deeds() { // an app hands in, and nothing else
		if users.May(users.App, d) != (d == users.Submit) {
			t.Errorf("an app may %s: %v", d, users.May(users.App, d))
		}
	}
	if users.May("", users.SeeBoard) || users.May(users.Operator, "") {
		t.Error("nobody may do something, or somebody nothing")
	}
}

func TestManyAtOnce(t *testing.T) {
	o := open(t)
	_, password := o.make("linyue", users.Operator)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			secret, _, err := o.in("linyue", password)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := o.Session(context.Background(), secret, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkHash(b *testing.B) {
	db, err := store.Open(b.Context(), storetest.Address(b, filepath.Join(b.TempDir(), "y.db")))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	book := users.New(db, users.Config{})
	for i := 0; b.Loop(); i++ {
		_, _, _ = book.SignIn(b.Context(), fmt.Sprint("nobody", i), "wrong", fmt.Sprint(i), "", false)
	}
}
