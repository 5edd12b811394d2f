package ivr

import (
	"time"

	"yingda/intake"
	"yingda/telephony"
)

// stage of a path.
type stage int

const (
	silent     stage = iota // not begun, or Quit: nothing is said; left by Begin, Again, Close, TakeMessage
	greeting                // the greeting plays; left when it has been played
	noticing                // the notice plays; left the same way
	choosing                // the menu plays, or has been played and a key is awaited; left by a key, two misses or 10 s
	waiting                 // music, sentences, offers; left by Quit or a key that takes the offer
	closing                 // last words; left when they have been spoken
	beforeTone              // the words before a message; left when they have been played
	tone                    // the tone; left when it has sounded
	message                 // the resident speaks
)

// How long we wait for what people do.
const (
	firstDigit = 10 * time.Second       // for a key after a menu or an offer
	sameKey    = 600 * time.Millisecond // the same key again so soon is one press of a slow or double finger
	placeLimit = 500 * time.Millisecond // for the answer to Ask
	wordsLimit = 40 * time.Second       // for words to end, should nobody tell us that they have
	menuLimit  = 90 * time.Second       // for a whole menu to end
	breath     = 5 * time.Second        // of music before a sentence, at least
	nearOffer  = 15 * time.Second       // a sentence that falls so shortly before an offer is left out
	gainStep   = 4
	gainMost   = 12
)

// sentence is a spoken item under way.
type sentence struct {
	name    string // for Said; "" for music
	prompts []string
	loop    bool
}

// Path is the machine. It is owned by the call it speaks for.
type Path struct {
	c         Config
	stage     stage
	now       time.Time
	out       []telephony.Effect
	play      telephony.PlayID              // newest order
	pending   map[telephony.PlayID]sentence // orders whose end has not been reported
	current   sentence                      // what plays, zero when nothing does
	last      sentence                      // what "*" repeats
	gain      int
	nextSaid  time.Time
	nextOffer time.Time
	asked     time.Time // Ask was said then and Placed has not come; zero: not asked
	turn      int       // of the waiting sentences
	best      int       // lowest position said, -1: none yet
	estimate  time.Duration
	offering  bool      // the offer plays
	offered   bool      // the offer was made at least once
	offerOver time.Time // when the newest offer had been spoken
	misses    int       // of the menu
	until     time.Time // of the stage, zero: as long as it takes
	key       string    // pressed last
	pressed   time.Time
	wanted    bool      // Wants was said
	since     time.Time // the waiting counts from here: from Begin where a person is called at once, else from the menu's end
}

// New makes a path that says nothing yet.
func New(c Config) *Path {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.FirstSaid, 20*time.Second)
	def(&c.EverySaid, 40*time.Second)
	def(&c.FirstOffer, 60*time.Second)
	def(&c.EveryOffer, 90*time.Second)
	if c.Greeting == "" {
		c.Greeting = Greeting
	}
	if len(c.Menu) > keysMost {
		c.Menu = c.Menu[:keysMost]
	}
	return &Path{c: c, pending: map[telephony.PlayID]sentence{}, best: -1, gain: min(max(c.Gain, -gainMost), gainMost)}
}

// Step takes what happened and says what is to be done. Inputs that are not for a path do nothing.
func (p *Path) Step(now time.Time, in telephony.Input) []telephony.Effect {
	p.now, p.out = now, nil
	switch in := in.(type) {
	case Begin:
		if p.stage == silent && !p.wanted {
			p.stage, p.since, p.until = greeting, p.now, p.now.Add(wordsLimit)
			p.say(sentence{name: p.c.Greeting, prompts: []string{p.c.Greeting}})
		}
	case Placed:
		p.placed(in)
	case Quit:
		p.stop()
	case Again:
		p.stop()
		p.wanted, p.since = true, p.now
		p.wait()
		p.say(sentence{name: in.Prompt, prompts: []string{in.Prompt}})
	case Close:
		p.end(closing, in.Prompt)
	case TakeMessage:
		p.end(beforeTone, in.Prompt)
	case telephony.Digit:
		p.digit(in.Key)
	case telephony.Played:
		p.played(in)
	}
	return p.out
}

// Wake does what has become due.
func (p *Path) Wake(now time.Time) []telephony.Effect {
	p.now, p.out = now, nil
	if !p.until.IsZero() && !now.Before(p.until) {
		p.until = time.Time{}
		switch p.stage {
		case greeting, noticing:
			p.afterGreeting()
		case choosing: // no input means a person
			p.person("")
		case closing:
			p.done()
		case beforeTone, tone: // nobody told us that it was played: the message must not be lost for that
			p.beeped()
		}
	}
	if p.stage != waiting {
		return p.out
	}
	if !p.asked.IsZero() && !now.Before(p.asked.Add(placeLimit)) {
		p.placed(Placed{Ahead: -1})
	}
	switch {
	case p.c.Callback && !now.Before(p.nextOffer):
		p.nextOffer = now.Add(p.c.EveryOffer)
		p.nextSaid = later(p.nextSaid, now.Add(p.c.EverySaid))
		p.asked = time.Time{}
		p.say(sentence{name: CallbackOffer, prompts: []string{CallbackOffer}})
		p.offering, p.offered = true, true
	case p.asked.IsZero() && !now.Before(p.nextSaid) && p.c.Callback && p.nextOffer.Sub(now) < nearOffer:
		p.nextSaid = p.nextOffer.Add(p.c.EverySaid)
	case p.asked.IsZero() && !now.Before(p.nextSaid):
		p.nextSaid = now.Add(p.c.EverySaid)
		p.asked = now
		p.out = append(p.out, Ask{})
	}
	return p.out
}

// Deadline is when it wants to be woken, zero for never.
func (p *Path) Deadline() time.Time {
	at := p.until
	soonest := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if p.stage == waiting {
		if p.asked.IsZero() {
			soonest(p.nextSaid)
		} else {
			soonest(p.asked.Add(placeLimit))
		}
		if p.c.Callback {
			soonest(p.nextOffer)
		}
	}
	return at
}

// Greeting says whether the greeting still plays (or has not begun): a caller who leaves now leaves in the greeting.
func (p *Path) Greeting() bool {
	return p.stage == greeting || p.stage == noticing || p.stage == silent && !p.wanted
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// say plays s in place of what plays now.
func (p *Path) say(s sentence) {
	p.play++
	p.pending[p.play] = s
	p.current = s
	p.offering = false
	if s.name != "" {
		p.last = s
	}
	p.out = append(p.out, telephony.Play{Leg: p.c.Leg, Play: p.play, Prompts: s.prompts, Dialect: p.c.Dialect, Loop: s.loop, Gain: p.gain})
}

func (p *Path) music() { p.say(sentence{prompts: []string{Music}, loop: true}) }

// stop ends whatever is said. The ends of what was ordered are still taken note of.
func (p *Path) stop() {
	if p.current.prompts != nil {
		p.out = append(p.out, telephony.Stop{Leg: p.c.Leg})
	}
	p.stage, p.current, p.until, p.asked, p.offering = silent, sentence{}, time.Time{}, time.Time{}, false
}

// end begins last words, or those before a message.
func (p *Path) end(s stage, prompt string) {
	p.stage, p.asked, p.wanted, p.until = s, time.Time{}, true, p.now.Add(wordsLimit)
	p.say(sentence{name: prompt, prompts: []string{prompt}})
}

func (p *Path) done() {
	p.stage, p.current, p.until = silent, sentence{}, time.Time{}
	p.out = append(p.out, Done{})
}

func (p *Path) beeped() {
	p.stage, p.current, p.until = message, sentence{}, time.Time{}
	p.out = append(p.out, Beeped{})
}

func (p *Path) played(in telephony.Played) {
	s, ours := p.pending[in.Play]
	if !ours || in.Leg != p.c.Leg {
		return
	}
	delete(p.pending, in.Play)
	if s.name != "" && s.name != VoicemailBeep {
		p.out = append(p.out, Said{Prompt: s.name, Cut: in.Cut})
	}
	if in.Play != p.play || p.current.prompts == nil {
		return // the end of something that we have replaced
	}
	p.current = sentence{}
	switch p.stage {
	case greeting:
		if p.c.Notice {
			p.stage, p.until = noticing, p.now.Add(wordsLimit)
			p.say(sentence{name: RecordingNotice, prompts: []string{RecordingNotice}})
			return
		}
		p.afterGreeting()
	case noticing:
		p.afterGreeting()
	case choosing:
		p.until = p.now.Add(firstDigit)
	case waiting:
		if p.offering {
			p.offerOver = p.now
		}
		p.music()
	case closing:
		p.done()
	case beforeTone:
		p.stage, p.until = tone, p.now.Add(5*time.Second)
		p.say(sentence{name: VoicemailBeep, prompts: []string{VoicemailBeep}})
	case tone:
		p.beeped()
	}
}

func (p *Path) afterGreeting() {
	p.out = append(p.out, Greeted{})
	if len(p.c.Menu) == 0 {
		p.person("")
		return
	}
	p.menu()
}

// menu says the options: what it is, then the key, then a pause; the last words are that waiting leads to a person.
func (p *Path) menu() {
	var prompts []string
	if p.c.MenuIntro != "" {
		prompts = append(prompts, p.c.MenuIntro)
	}
	for n, o := range p.c.Menu {
		prompts = append(prompts, o.Prompt, Press(n+1), Silence(menuGap))
	}
	p.stage, p.until = choosing, p.now.Add(menuLimit)
	p.say(sentence{name: "menu", prompts: append(prompts, MenuPerson)})
}

// person is where every way leads: the resident waits for one.
func (p *Path) person(choice string) {
	var line intake.LineID
	for _, o := range p.c.Menu {
		if choice != "" && o.Choice == choice {
			line = o.Line
		}
	}
	if len(p.c.Menu) > 0 {
		p.since = p.now
	}
	p.wait()
	if !p.wanted {
		p.wanted = true
		p.out = append(p.out, Wants{Line: line})
	}
	p.music()
}

// wait begins the waiting: from now on sentences and offers come in their time.
func (p *Path) wait() {
	p.stage, p.until, p.asked = waiting, time.Time{}, time.Time{}
	p.nextSaid = later(p.since.Add(p.c.FirstSaid), p.now.Add(breath))
	p.nextOffer = later(p.since.Add(p.c.FirstOffer), p.now.Add(breath))
	p.best, p.estimate = -1, 0
}

// placed says a sentence: the place or the time only when they are better than what was said before.
func (p *Path) placed(in Placed) {
	if p.stage != waiting || p.asked.IsZero() {
		return
	}
	p.asked = time.Time{}
	var s sentence
	if !p.c.NoPosition {
		if id := Ahead(in.Ahead); id != "" && (p.best < 0 || in.Ahead < p.best) {
			p.best = in.Ahead
			s = sentence{name: id, prompts: []string{id}}
		}
		if id := Estimate(in.Estimate); in.Ahead >= 0 && id != "" && (p.estimate == 0 || id != Estimate(p.estimate) && in.Estimate < p.estimate) {
			p.estimate = in.Estimate
			s.prompts = append(s.prompts, id)
			if s.name == "" {
				s.name = id
			}
		}
	}
	if s.prompts == nil {
		id := Waiting(p.turn)
		p.turn++
		s = sentence{name: id, prompts: []string{id}}
	}
	p.say(s)
}

// digit is a key. The same key again within 600 ms is the same press.
func (p *Path) digit(key string) {
	same := key == p.key && p.now.Sub(p.pressed) < sameKey
	p.key, p.pressed = key, p.now
	if same {
		return
	}
	if p.stage == waiting && p.offered && p.c.Callback && (p.offering || p.now.Sub(p.offerOver) < firstDigit || key != "*" && key != "8" && key != "2") {
		p.out = append(p.out, Chose{Choice: ChoiceCallback, Key: key})
		p.end(closing, CallbackThanks)
		return
	}
	if p.stage == choosing {
		for n, o := range p.c.Menu {
			if key == string(rune('1'+n)) {
				p.out = append(p.out, Chose{Choice: o.Choice, Key: key})
				p.person(o.Choice)
				return
			}
		}
	}
	switch {
	case p.stage == silent || p.stage == message || p.stage == tone:
	case key == "*":
		p.repeat()
	case key == "8":
		p.louder(gainStep)
	case key == "2":
		p.louder(-gainStep)
	case p.stage == choosing:
		if p.misses++; p.misses >= 2 {
			p.person("")
			return
		}
		p.menu()
	}
}

// repeat says the last sentence again.
func (p *Path) repeat() {
	if p.last.prompts != nil {
		offer := p.last.name == CallbackOffer
		p.say(p.last)
		p.offering = offer
		if p.stage == choosing {
			p.until = p.now.Add(menuLimit)
		}
	}
}

// louder changes the level and says what plays again, since it was not understood. Music goes on at the new level.
func (p *Path) louder(step int) {
	gain := min(max(p.gain+step, -gainMost), gainMost)
	if gain == p.gain {
		return
	}
	p.gain = gain
	if p.current.prompts != nil {
		offering := p.offering
		p.say(p.current)
		p.offering = offering
	}
}
