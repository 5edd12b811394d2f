package test

import (
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/store/storetest"
)

// TestUpgrade: the program of today is started on the folder that the one before left, killed in the middle of three calls and a chat. Nothing is lost or another: the
// calls that nobody can end any more are interrupted and owed a call back, the chat goes on, people sign in with the passwords they had, search finds what was said
// before, and the next call is answered.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	s := newServed(t, storetest.Previous(t))
	before, numbers := map[intake.ContactID]intake.Outcome{}, map[intake.ContactID]string{}
	db, err := sql.Open("sqlite", filepath.Join(s.data, "yingda.db"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query("SELECT id, outcome, number FROM contacts")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id intake.ContactID
		var outcome intake.Outcome
		var number string
		if err := rows.Scan(&id, &outcome, &number); err != nil {
			t.Fatal(err)
		}
		before[id], numbers[id] = outcome, number
	}
	if err := errors.Join(rows.Err(), rows.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	s.start()
	waitFor(t, "the calls that were cut off to be ended", 30*time.Second, func() bool { return s.open() == 1 })
	s.audited()
	interrupted := map[intake.ContactID]bool{}
	for _, e := range s.contacts() {
		was, known := before[e.ID]
		is := intake.Outcome("")
		if e.Outcome != nil {
			is = *e.Outcome
		}
		switch {
		case !known:
			t.Errorf("contact %s is of nobody", e.ID)
		case was == "" && e.Channel == intake.Phone && is == intake.Interrupted:
			interrupted[e.ID] = true
			if e.Callback == nil {
				t.Errorf("nobody owes the caller of %s a call", e.ID)
			}
		case was != is:
			t.Errorf("contact %s (%s) ended %q, now %q", e.ID, e.Channel, was, is)
		}
		delete(before, e.ID)
	}
	if len(interrupted) != 3 || len(before) != 0 {
		t.Errorf("%d calls were interrupted, want 3; contacts that are gone: %v", len(interrupted), before)
	}

	base := "http://" + s.http
	super := signedIn(t, base, "zhoumin", "yingda-demo-1")
	for id := range interrupted {
		if number := numbers[id]; !strings.Contains(page(super, base+"/search?q="+url.QueryEscape(number)), string(id)) {
			t.Errorf("search does not find %s by its number", id)
		}
		if !strings.Contains(page(super, base+"/contacts/"+string(id)), "系统中断") {
			t.Errorf("the page of %s does not say how it ended", id)
		}
	}
	s.call("12345", time.Second)
	waitFor(t, "the next call to be in the books", 10*time.Second, func() bool { return len(s.contacts()) == len(numbers)+1 })
	s.audited()
}
