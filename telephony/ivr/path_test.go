package ivr

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yingda/internal/transcript"
	"yingda/telephony"

	"pgregory.net/rapid"
)

// A transcript whose name begins with "menu" has a line with a menu, "notice" one with the notice, "nonumber" a caller who cannot be called back.
func config(file string) Config {
	c := Config{Leg: "r", Callback: true}
	switch name := filepath.Base(file); {
	case strings.HasPrefix(name, "menu"):
		c.Menu = []Option{{Choice: "water", Prompt: "menu_water", Line: "water"}, {Choice: "heating", Prompt: "menu_heating"}}
	case strings.HasPrefix(name, "notice"):
		c.Notice, c.NoPosition = true, true
	case strings.HasPrefix(name, "nonumber"):
		c.Callback = false
	}
	return c
}

func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata/*.txt", nil, func(file string) transcript.Machine {
		p := New(config(file))
		list := func(effects []telephony.Effect) (all []any) {
			for _, e := range effects {
				all = append(all, e)
			}
			return all
		}
		return transcript.Machine{
			Step:     func(now time.Time, in any) []any { return list(p.Step(now, in.(telephony.Input))) },
			Wake:     func(now time.Time) []any { return list(p.Wake(now)) },
			Deadline: p.Deadline,
			Inputs: []any{Begin{}, Placed{}, Quit{}, Again{Prompt: SorryLost}, Close{Prompt: SorryClosing}, TakeMessage{Prompt: AfterHours},
				telephony.Digit{Leg: "r"}, telephony.Played{Leg: "r"}},
		}
	})
}

// Whatever is pressed and whenever: a caller is never left without sound while they wait, every order names their leg, a level is never
// beyond its limits, a person is wanted once, the callback is chosen at most once, and after Quit nothing is said.
func TestNothingACallerDoesIsWrong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := config(rapid.SampledFrom([]string{"plain", "menu", "notice", "nonumber"}).Draw(t, "line"))
		p := New(c)
		now := transcript.Start
		var playing telephony.PlayID // 0: nothing sounds
		var loop bool
		wants, chose, quit, done := 0, 0, false, false
		see := func(effects []telephony.Effect) {
			asks := 0
			for _, e := range effects {
				switch e := e.(type) {
				case telephony.Play:
					if quit {
						t.Fatalf("after Quit: %+v", e)
					}
					if e.Leg != "r" || e.Gain < -12 || e.Gain > 12 || len(e.Prompts) == 0 || e.Play <= playing {
						t.Fatalf("cannot be played: %+v after %d", e, playing)
					}
					playing, loop = e.Play, e.Loop
				case telephony.Stop:
					playing = 0
				case Wants:
					wants++
				case Chose:
					if e.Choice == ChoiceCallback {
						chose++
					}
				case Done:
					done, playing = true, 0
				case Ask:
					asks++
				}
			}
			if wants > 1 || chose > 1 || asks > 1 {
				t.Fatalf("wanted %d times, chose %d times, asked %d times", wants, chose, asks)
			}
		}
		see(p.Step(now, Begin{}))
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			then := now.Add(time.Duration(rapid.SampledFrom([]int{0, 100, 700, 4000, 9000, 30000}).Draw(t, "pause")) * time.Millisecond)
			for at := p.Deadline(); !at.IsZero() && !at.After(then); at = p.Deadline() {
				if at.Before(now) {
					t.Fatalf("wants to be woken at %s, which was %s ago", at, now.Sub(at))
				}
				now = at
				see(p.Wake(now))
				if p.Deadline().Equal(at) {
					t.Fatalf("woken at %s it wants to be woken then", at)
				}
			}
			now = then
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1:
				see(p.Step(now, telephony.Digit{Leg: "r", Key: rapid.SampledFrom([]string{"1", "2", "3", "8", "*", "#", "0"}).Draw(t, "key")}))
			case 2, 3:
				if playing > 0 && !loop {
					n := playing
					playing = 0
					see(p.Step(now, telephony.Played{Leg: "r", Play: n}))
				}
			case 4:
				see(p.Step(now, Placed{Ahead: rapid.IntRange(0, 30).Draw(t, "ahead"), Estimate: time.Duration(rapid.IntRange(0, 700).Draw(t, "estimate")) * time.Second}))
			case 5:
				if rapid.IntRange(0, 20).Draw(t, "quit") == 0 {
					see(p.Step(now, Quit{}))
					quit, playing = true, 0
				}
			}
			if p.stage == waiting && playing == 0 {
				t.Fatal("a caller waits and hears nothing")
			}
			if chose > 0 && !quit && !done && p.stage != closing {
				t.Fatal("a promise was made and is not spoken")
			}
		}
	})
}

// Every prompt that the machine asks for by itself has a sentence in the table.
func TestEveryPromptHasASentence(t *testing.T) {
	known := map[string]bool{}
	for _, s := range Sentences() {
		known[s.ID] = true
	}
	for _, file := range []string{"plain", "menu", "notice"} {
		p := New(config(file))
		now := transcript.Start
		var see func([]telephony.Effect)
		see = func(effects []telephony.Effect) {
			for _, e := range effects {
				play, ok := e.(telephony.Play)
				if !ok {
					continue
				}
				for _, id := range play.Prompts {
					if !known[id] && !strings.HasPrefix(id, "silence:") && id != "menu_water" && id != "menu_heating" {
						t.Errorf("%s is played and has no sentence", id)
					}
				}
				if !play.Loop {
					see(p.Step(now, telephony.Played{Leg: "r", Play: play.Play}))
				}
			}
		}
		see(p.Step(now, Begin{}))
		for n := range 300 {
			now = now.Add(time.Second)
			see(p.Wake(now))
			see(p.Step(now, Placed{Ahead: 40 - n/10, Estimate: time.Duration(900-3*n) * time.Second}))
		}
	}
}
