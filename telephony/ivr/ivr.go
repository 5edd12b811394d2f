// Package ivr is the spoken path of one resident's leg: what a caller hears from the greeting until a person is there.
//
// A Path is told to Begin and plays the greeting; if the line insists on a menu it plays that, else Wants says at once whom the caller
// wants: a person. From then on it plays music, now and then a sentence, and offers a call back; Choice says that the resident took it. Quit ends
// it when a person is there. Instead of Begin, or later, it can be told to Close with last words: Done follows when they are spoken; or to TakeMessage.
//
// Nothing the caller does or leaves undone is wrong: no input means a person, "invalid" is never said, every key is taken in good part, and silence
// never hangs up. (DESIGN of the voice path; evidence in docs.)
//
// What it does not do: it neither joins a queue nor hangs up, and it knows nothing of the operator.
package ivr

import (
	"time"

	"yingda/intake"
	"yingda/telephony"
)

// Settings of a spoken path. The zero value is the human-first default: no menu, and a call back is offered.
type Settings struct {
	Greeting   string        // prompt played first; "": Greeting
	Notice     bool          // RecordingNotice after it
	FirstSaid  time.Duration // first sentence after that long; 0: 20 s
	EverySaid  time.Duration // further ones after that long; 0: 40 s
	FirstOffer time.Duration // the call back is offered after that long; 0: 60 s
	EveryOffer time.Duration // and again after that long; 0: 90 s
	NoPosition bool          // position and estimate are never said
	Gain       int           // dB to begin with, −12 … +12
	MenuIntro  string        // prompt before the options, "" for none
	Menu       []Option      // up to six; empty (the default): no menu, a person first
}

// Option of a menu, said as: its prompt, "press n" with n counted from 1, a pause.
type Option struct {
	Choice string        // its name in contact.chose
	Prompt string        // the office's own recording of what it is
	Line   intake.LineID // whose operators take it; "": the line that was called
}

// Config of one path.
type Config struct {
	Settings
	Leg      telephony.LegID
	Dialect  string
	Callback bool // there is a number to call back and the line offers it
}

// Inputs beside telephony's Digit and Played.
type (
	// Begin: the resident can hear us.
	Begin struct{ telephony.AsInput }
	// Placed answers Ask, and tells of the place on joining.
	Placed struct {
		telephony.AsInput
		Ahead    int
		Estimate time.Duration
	}
	// Quit: a person is there, or the leg is gone; no more is said.
	Quit struct{ telephony.AsInput }
	// Again: the person is lost; back to waiting after these words.
	Again struct {
		telephony.AsInput
		Prompt string
	}
	// Close: last words, then Done.
	Close struct {
		telephony.AsInput
		Prompt string
	}
	// TakeMessage: these words, the tone, then Beeped.
	TakeMessage struct {
		telephony.AsInput
		Prompt string
	}
)

// Effects beside telephony's Play and Stop.
type (
	// Said: a prompt has been played, whole or cut: contact.said.
	Said struct {
		telephony.AsEffect
		Prompt string
		Cut    bool
	}
	// Greeted: the greeting (and notice) is over.
	Greeted struct{ telephony.AsEffect }
	// Wants: the resident waits for a person; of another line when Line is not "". Once.
	Wants struct {
		telephony.AsEffect
		Line intake.LineID
	}
	// Chose: contact.chose. Choice is "callback" or an option's.
	Chose struct {
		telephony.AsEffect
		Choice string
		Key    string
	}
	// Ask: it is about to speak and would like to know the place; Placed answers.
	Ask struct{ telephony.AsEffect }
	// Done: the last words are spoken.
	Done struct{ telephony.AsEffect }
	// Beeped: the tone has sounded; record now.
	Beeped struct{ telephony.AsEffect }
)

// ChoiceCallback is Chose.Choice when the resident wants to be called back.
const ChoiceCallback = "callback"
