package telephony

import "testing"

// Every word is an Input or an Effect, and none is both: a machine could otherwise be handed its own order.
func TestWordsAreOneOrTheOther(t *testing.T) {
	inputs := []Input{Invited{}, Written{}, Accepted{}, Ringing{}, Answered{}, Failed{}, Ended{}, Held{}, Resumed{}, Digit{}, Played{}, Heard{}, Quiet{}, MediaLost{}, Recorded{}, CallBack{}, Drain{}}
	for _, in := range inputs {
		if _, both := in.(Effect); both {
			t.Errorf("%T is both an input and an effect", in)
		}
	}
	effects := []Effect{Write{}, Ring{}, Progress{}, Accept{}, Refuse{}, Hangup{}, Dial{}, Play{}, Stop{}, Bridge{}, Unbridge{}, Record{}, StopRecord{}, Tried{}}
	for _, e := range effects {
		if _, both := e.(Input); both {
			t.Errorf("%T is both an input and an effect", e)
		}
	}
}
