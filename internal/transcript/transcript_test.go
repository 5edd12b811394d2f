package transcript

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type echo struct {
	Word string
	Wait time.Duration
}

// A machine that says a word again when it was told, and once more after Wait.
func echoes() Machine {
	var word string
	var at time.Time
	return Machine{
		Step: func(now time.Time, in any) []any {
			e := in.(echo)
			word, at = e.Word, now.Add(e.Wait)
			return []any{echo{Word: e.Word}}
		},
		Wake: func(now time.Time) []any {
			if at.IsZero() || now.Before(at) {
				return nil
			}
			at = time.Time{}
			return []any{&echo{Word: word}}
		},
		Deadline: func() time.Time { return at },
		Inputs:   []any{echo{Wait: time.Second}},
	}
}

func TestPlayWritesAnswersAndWakes(t *testing.T) {
	got, err := play([]byte("# hello\n+0s echo Word=a\n> stale\n+3s echo Word=b Wait=1m\n"), nil, echoes())
	if err != nil {
		t.Fatal(err)
	}
	want := "# hello\n+0s echo Word=a\n> echo Word=a\nwake at +1s\n> echo Word=a\n+3s echo Word=b Wait=1m\n> echo Word=b\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again, _ := play(got, nil, echoes()); string(again) != want {
		t.Errorf("played again it is\n%s", again)
	}
}

func TestPlayRefusesWhatItCannotRead(t *testing.T) {
	for _, script := range []string{"echo\n", "+1s nobody\n", "+1s echo Wort=a\n", "+1s echo Wait=long\n", "+1s echo Word.X=1\n"} {
		if _, err := play([]byte(script), nil, echoes()); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q gives %v", script, err)
		}
	}
}

func TestDifferenceNamesTheLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(file, []byte("+0s echo Word=a\n> echo Word=a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, file, nil, func(string) Machine { return echoes() })
	if d := difference("a\nb", "a\nc"); !strings.Contains(d, "line 2") {
		t.Error(d)
	}
}
