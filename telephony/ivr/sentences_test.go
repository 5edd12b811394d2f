package ivr

import (
	"strings"
	"testing"
	"time"
)

func TestSentencesAreWholeAndOnce(t *testing.T) {
	seen := map[string]Sentence{}
	for _, s := range Sentences() {
		if _, twice := seen[s.ID]; twice {
			t.Errorf("%s stands in the table twice", s.ID)
		}
		if s.When == "" {
			t.Errorf("%s does not say when it is heard", s.ID)
		}
		if s.Text == "" && s.Tone == nil && s.ID != Music {
			t.Errorf("%s has neither words nor a tone", s.ID)
		}
		for _, r := range s.Text {
			if r < 0x80 {
				t.Errorf("%s: %q is not as it is read aloud", s.ID, s.Text)
				break
			}
		}
		seen[s.ID] = s
	}
	want := []string{Greeting, RecordingNotice, CallbackOffer, CallbackThanks, AfterHours, AfterHoursOnly, AfterHoursAgain, VoicemailBeep, VoicemailThanks,
		QueueFull, QueueFullAgain, SorryClosing, SorryAgain, SorryLost, SpeakPlease, ConnectTone, Ringback, CallbackWho, CallbackWhoEnd, MenuPerson,
		Estimate1, Estimate3, Estimate5, Estimate10, Music}
	for n := range waitings {
		want = append(want, Waiting(n))
	}
	for n := range aheadMost + 1 {
		want = append(want, Ahead(n))
	}
	for n := 1; n <= keysMost; n++ {
		want = append(want, Press(n))
	}
	want = append(want, Digits("0123456789")...)
	for _, id := range want {
		if _, ok := seen[id]; !ok {
			t.Errorf("%s has no sentence", id)
		}
		delete(seen, id)
	}
	for id := range seen {
		t.Errorf("%s has a sentence and nobody asks for it", id)
	}
}

func TestNumbersAsTheyAreSpoken(t *testing.T) {
	texts := map[string]string{}
	for _, s := range Sentences() {
		texts[s.ID] = s.Text
	}
	for n, want := range map[int]string{1: "您前面还有一位", 2: "您前面还有两位", 10: "您前面还有十位", 12: "您前面还有十二位", 20: "您前面还有二十位"} {
		if got := texts[Ahead(n)]; !strings.HasPrefix(got, want) {
			t.Errorf("%d ahead: %q, want %q …", n, got, want)
		}
	}
	var said string
	for _, id := range Digits("0512-12345") {
		said += texts[id]
	}
	if said != "零五幺二幺二三四五" {
		t.Errorf("digits are read as %s", said)
	}
	if Ahead(21) != "" || Ahead(-1) != "" {
		t.Error("a position that has no sentence got one")
	}
	for d, want := range map[time.Duration]string{0: "", time.Second: Estimate1, time.Minute: Estimate1, 61 * time.Second: Estimate3, 5 * time.Minute: Estimate5, 6 * time.Minute: Estimate10, 11 * time.Minute: ""} {
		if got := Estimate(d); got != want {
			t.Errorf("estimate of %v is %q, want %q", d, got, want)
		}
	}
}
