package answerrate

import (
	"fmt"
	"slices"
	"time"

	"yingda/intake"
)

// Words in the two languages of the screens.
type Words struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// Unit is what a definition counts.
type Unit string

const (
	PerContact Unit = "contact"
	PerCaller  Unit = "caller"
)

// Field is a fact about a contact or a caller's case that a definition may ask about. Numbers: a yes is 1, a no is 0, a
// time that never came is −1.
type Field string

const (
	Channel     Field = "channel"       // word
	OutcomeIs   Field = "outcome"       // word; empty while open
	Reason      Field = "reason"        // word
	CallerKnown Field = "caller_known"  // 0/1: we know who phoned
	Bridged     Field = "bridged"       // 0/1: a person answered, whatever became of it
	Served      Field = "served"        // 0/1: answered, replied, accepted; or answered and still open
	Waiting     Field = "waiting"       // 0/1: open, and nobody answered yet
	AnswerMS    Field = "answer_ms"     // from arrival to the answer
	QueueMS     Field = "queue_ms"      // from joining the queue to the answer
	IsShort     Field = "short_abandon" // 0/1: flagged so
	IsQuickDrop Field = "quick_drop"    // 0/1: flagged so
	ReachMS     Field = "reach_ms"      // per caller: from the first attempt until reached
)

// Test is one question about one field: a word is in Words (or, with Not, is not), or a number lies in From … To (or, with Not, does not).
type Test struct {
	Field Field    `json:"field"`
	Not   bool     `json:"not,omitempty"`
	Words []string `json:"words,omitempty"`
	From  int64    `json:"from,omitempty"`
	To    int64    `json:"to,omitempty"`
}

// When holds when in at least one of its rows every test holds; with no row at all it holds always.
type When [][]Test

// Exclusion names who is left out of a rate and shown apart.
type Exclusion struct {
	ID   string `json:"id"`
	Name Words  `json:"name"`
	When When   `json:"when"`
}

// Definition is one way to say what part was answered. It is data: the same code evaluates them all.
type Definition struct {
	ID          string        `json:"id"`
	Name        Words         `json:"name"`
	Unit        Unit          `json:"unit"`
	Denominator When          `json:"denominator"`        // who is spoken of at all
	Exclusions  []Exclusion   `json:"exclusions"`         // of those, who is left out; the first that holds names it
	Ripe        time.Duration `json:"ripe,omitempty"`     // who began less than this ago is left out as "pending"
	Numerator   When          `json:"numerator"`          // of the rest, who counts
	Missed      []Exclusion   `json:"missed,omitempty"`   // how those who do not count are told apart; the first that holds
	Target      int           `json:"target,omitempty"`   // per mille; 0: none
	Rolling     time.Duration `json:"rolling,omitempty"`  // the target holds over any such span; 0: over the window asked for
	Headline    bool          `json:"headline,omitempty"` // the first figure on the wall
	Words       Words         `json:"words"`              // how it is counted, for whoever asks
}

// Pending is the id of the exclusion that Ripe makes.
const Pending = "pending"

// Place says where a contact or case stands in a definition: Outside, Met, Missed + i (told apart by the definition's
// i-th Missed, or simply Missed), Apart + i (left out by its i-th exclusion). It is below 16, so that package books packs one per definition into a row.
type Place uint8

const (
	Outside Place = 0
	Met     Place = 1
	Missed  Place = 2 // to 7
	Apart   Place = 8 // to 14
	Unripe  Place = 15
)

// IsMissed and IsApart say which of the ranges p is in.
func (p Place) IsMissed() bool { return p >= Missed && p < Apart }
func (p Place) IsApart() bool  { return p >= Apart }

// facts is what a unit knows of a field: a word or a number.
type facts interface {
	word(Field) string
	number(Field) int64
}

func (c *Contact) word(f Field) string {
	switch f {
	case Channel:
		return string(c.Channel)
	case OutcomeIs:
		return string(c.Outcome)
	case Reason:
		return c.Reason
	}
	panic("answerrate: a contact has no word " + string(f))
}

func (c *Contact) number(f Field) int64 {
	switch f {
	case CallerKnown:
		return bit(c.Caller != "")
	case Bridged:
		return bit(!c.AnsweredAt().IsZero())
	case Served:
		return bit(c.Outcome.Reached() || c.Open() && !c.Answered.IsZero())
	case Waiting:
		return bit(c.Open() && c.Answered.IsZero())
	case AnswerMS:
		return c.AnswerMS()
	case QueueMS:
		return c.QueueMS()
	case IsShort:
		return bit(c.HasFlag(intake.ShortAbandon))
	case IsQuickDrop:
		return bit(c.HasFlag(intake.QuickDrop))
	}
	panic("answerrate: a contact has no number " + string(f))
}

func (k *Case) word(f Field) string {
	switch f {
	case Channel:
		return string(k.Channel)
	case OutcomeIs:
		return string(k.Outcome)
	case Reason:
		return k.Reason
	}
	panic("answerrate: a caller has no word " + string(f))
}

func (k *Case) number(f Field) int64 {
	switch f {
	case CallerKnown:
		return bit(k.Caller != "")
	case ReachMS:
		return k.ReachMS()
	}
	panic("answerrate: a caller has no number " + string(f))
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (t Test) holds(f facts) bool {
	var in bool
	if t.Words != nil {
		in = slices.Contains(t.Words, f.word(t.Field))
	} else {
		n := f.number(t.Field)
		in = n >= t.From && n <= t.To
	}
	return in != t.Not
}

func (w When) holds(f facts) bool {
	if len(w) == 0 {
		return true
	}
	for _, row := range w {
		if !slices.ContainsFunc(row, func(t Test) bool { return !t.holds(f) }) {
			return true
		}
	}
	return false
}

// Place of a contact; Outside for a definition per caller.
func (d *Definition) Place(c *Contact) Place {
	if d.Unit != PerContact {
		return Outside
	}
	return d.place(c)
}

// PlaceCase is the place of a caller's case as it will be once it is ripe; Outside for a definition per contact. See Ripened.
func (d *Definition) PlaceCase(k *Case) Place {
	if d.Unit != PerCaller {
		return Outside
	}
	return d.place(k)
}

// Ripened is p, or Unripe when the unit began so recently that now is too early to count it.
func (d *Definition) Ripened(p Place, began, now time.Time) Place {
	if (p == Met || p.IsMissed()) && d.Ripe > 0 && now.Sub(began) < d.Ripe {
		return Unripe
	}
	return p
}

func (d *Definition) place(f facts) Place {
	if !d.Denominator.holds(f) {
		return Outside
	}
	for i, x := range d.Exclusions {
		if x.When.holds(f) {
			return Apart + Place(i)
		}
	}
	if d.Numerator.holds(f) {
		return Met
	}
	for i, x := range d.Missed {
		if x.When.holds(f) {
			return Missed + Place(i)
		}
	}
	return Missed
}

// Check says what is wrong with a definition that came from outside of this package; nil when nothing is.
func (d *Definition) Check() error {
	switch {
	case d.ID == "" || d.Name.ZH == "" || d.Name.EN == "" || d.Words.ZH == "" || d.Words.EN == "":
		return fmt.Errorf("definition %q needs an id, names and words in both languages", d.ID)
	case d.Unit != PerContact && d.Unit != PerCaller:
		return fmt.Errorf("definition %s counts %q, which is neither contact nor caller", d.ID, d.Unit)
	case len(d.Exclusions) > int(Unripe-Apart):
		return fmt.Errorf("definition %s has %d exclusions, %d are the most", d.ID, len(d.Exclusions), Unripe-Apart)
	case len(d.Missed) > int(Apart-Missed):
		return fmt.Errorf("definition %s tells the missed apart in %d ways, %d are the most", d.ID, len(d.Missed), Apart-Missed)
	case d.Unit == PerContact && d.Ripe != 0:
		return fmt.Errorf("definition %s counts contacts, which are counted as soon as they are not waiting; it cannot have a time to ripen", d.ID)
	}
	whens := []When{d.Denominator, d.Numerator}
	for _, x := range slices.Concat(d.Exclusions, d.Missed) {
		if x.ID == "" || x.ID == Pending || x.Name.ZH == "" || x.Name.EN == "" {
			return fmt.Errorf("definition %s: part %q needs an id of its own and a name in both languages", d.ID, x.ID)
		}
		whens = append(whens, x.When)
	}
	for _, w := range whens {
		for _, row := range w {
			for _, t := range row {
				if err := t.check(d.Unit); err != nil {
					return fmt.Errorf("definition %s: %w", d.ID, err)
				}
			}
		}
	}
	return nil
}

func (t Test) check(u Unit) error {
	word := t.Field == Channel || t.Field == OutcomeIs || t.Field == Reason
	known := word || t.Field == CallerKnown || (t.Field == ReachMS) == (u == PerCaller)
	if !slices.Contains([]Field{Channel, OutcomeIs, Reason, CallerKnown, Bridged, Served, Waiting, AnswerMS, QueueMS, IsShort, IsQuickDrop, ReachMS}, t.Field) || !known {
		return fmt.Errorf("there is no field %q of a %s", t.Field, u)
	}
	if word != (t.Words != nil) || !word && t.From > t.To {
		return fmt.Errorf("field %s: words for words, a range for numbers", t.Field)
	}
	return nil
}

// Count is a named number.
type Count struct {
	ID   string `json:"id"`
	Name Words  `json:"name"`
	N    int64  `json:"n"`
}

// Rate is a definition and what was counted by it. Num of Den; nothing is rounded.
type Rate struct {
	Definition *Definition `json:"-"`
	ID         string      `json:"id"`
	Name       Words       `json:"name"`
	Num        int64       `json:"numerator"`
	Den        int64       `json:"denominator"`
	Apart      []Count     `json:"apart"`  // left out, by exclusion, in the definition's order; pending last
	Missed     []Count     `json:"missed"` // Den − Num, told apart; empty when the definition does not
}

// NewRate is a rate of which nothing is counted yet.
func NewRate(d *Definition) Rate {
	r := Rate{Definition: d, ID: d.ID, Name: d.Name, Apart: []Count{}, Missed: []Count{}}
	for _, x := range d.Exclusions {
		r.Apart = append(r.Apart, Count{ID: x.ID, Name: x.Name})
	}
	if d.Ripe > 0 {
		r.Apart = append(r.Apart, Count{ID: Pending, Name: Words{"时间未到，暂不计", "too early to count"}})
	}
	for _, x := range d.Missed {
		r.Missed = append(r.Missed, Count{ID: x.ID, Name: x.Name})
	}
	return r
}

// Add counts n units that stand at p.
func (r *Rate) Add(p Place, n int64) {
	switch {
	case p == Met:
		r.Num += n
		r.Den += n
	case p.IsMissed():
		r.Den += n
		if i := int(p - Missed); i < len(r.Missed) {
			r.Missed[i].N += n
		}
	case p == Unripe:
		r.Apart[len(r.Apart)-1].N += n
	case p.IsApart():
		r.Apart[p-Apart].N += n
	}
}

// PerMille is the rate for printing, in thousandths cut off below, so that it never looks better than it is; ok is false when there
// is nothing to speak of.
func (r Rate) PerMille() (value int, ok bool) {
	if r.Den == 0 {
		return 0, false
	}
	return int(r.Num * 1000 / r.Den), true
}

// OnTarget compares exactly with the definition's target; ok is false when it has none or there is nothing to speak of.
func (r Rate) OnTarget() (met, ok bool) {
	if r.Den == 0 || r.Definition == nil || r.Definition.Target == 0 {
		return false, false
	}
	return r.Num*1000 >= r.Den*int64(r.Definition.Target), true
}

// Part finds which places a part of a rate means: "numerator", "denominator", "missed", "missed/<id>", "apart", "apart/<id>".
// Pending is apart/pending, at Unripe.
func (d *Definition) Part(part string) ([]Place, error) {
	var list []Place
	for p := Met; p <= Unripe; p++ {
		in := false
		switch part {
		case "numerator":
			in = p == Met
		case "denominator":
			in = p == Met || p.IsMissed()
		case "missed":
			in = p.IsMissed()
		case "apart":
			in = p.IsApart()
		case "apart/" + Pending:
			in = p == Unripe
		default:
			if i := int(p) - int(Missed); i >= 0 && i < len(d.Missed) && part == "missed/"+d.Missed[i].ID {
				in = true
			}
			if i := int(p) - int(Apart); i >= 0 && i < len(d.Exclusions) && part == "apart/"+d.Exclusions[i].ID {
				in = true
			}
		}
		if in {
			list = append(list, p)
		}
	}
	if list == nil {
		return nil, fmt.Errorf("definition %s has no part %q", d.ID, part)
	}
	return list, nil
}
