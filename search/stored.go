package search

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"yingda/intake"
	"yingda/internal/pii"
)

// stored is a document in clear, as an index keeps it. Short names, since there is one a document on disk.
type stored struct {
	ID       intake.Subject       `json:"id"`
	Sequence intake.Sequence      `json:"seq"`
	State    State                `json:"state,omitempty"`
	Erased   bool                 `json:"erased,omitempty"`
	Channel  intake.Channel       `json:"channel,omitempty"`
	Line     intake.LineID        `json:"line,omitempty"`
	Board    intake.SwitchboardID `json:"board,omitempty"`
	Caller   intake.Token         `json:"caller,omitempty"`
	Resident string               `json:"resident,omitempty"`
	SIP      string               `json:"sip,omitempty"`
	Operator intake.UserID        `json:"operator,omitempty"`
	Outcome  intake.Outcome       `json:"outcome,omitempty"`
	Reason   string               `json:"reason,omitempty"`
	Flags    []intake.Flag        `json:"flags,omitempty"`
	Records  []intake.RecordingID `json:"records,omitempty"`
	Arrived  time.Time            `json:"arrived,omitzero"`
	Answered time.Time            `json:"answered,omitzero"`
	Ended    time.Time            `json:"ended,omitzero"`
	Updated  time.Time            `json:"updated,omitzero"`
	Grid     intake.GridID        `json:"grid,omitempty"`
	Dept     string               `json:"dept,omitempty"`
	Category string               `json:"category,omitempty"`
	Source   string               `json:"source,omitempty"`
	Deadline time.Time            `json:"deadline,omitzero"`
	Contacts []intake.ContactID   `json:"contacts,omitempty"`
	Callback intake.CallbackID    `json:"callback,omitempty"`
	Tries    int                  `json:"tries,omitempty"`
	Number   string               `json:"number,omitempty"`
	Name     string               `json:"name,omitempty"`
	Address  string               `json:"address,omitempty"`
	Place    *intake.Place        `json:"place,omitempty"`
	Words    []string             `json:"words,omitempty"`
	Prov     bool                 `json:"prov,omitempty"`
	Wrote    Wrote                `json:"wrote,omitempty"`
	Earlier  []Epoch              `json:"earlier,omitempty"`
	Late     int                  `json:"late,omitempty"`
}

// Stored gives the document in clear, for an index to keep and for nobody else: it must not be logged or sent. It fails
// only over a time or place that JSON cannot write (a year of five digits, a latitude that is no number).
func (d *Document) Stored() ([]byte, error) {
	size := 512
	for _, w := range d.Words {
		size += len(w.Reveal()) + 4
	}
	return d.AppendStored(make([]byte, 0, size))
}

// AppendStored appends to b what Stored gives. It is encoding/json of a stored, written by hand, since every change of a document in an index writes it.
func (d *Document) AppendStored(b []byte) ([]byte, error) {
	begin := len(b)
	b = append(b, `{"id":`...)
	b = appendText(b, string(d.ID))
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, uint64(d.Sequence), 10)
	b = member(b, "state", string(d.State))
	b = truth(b, "erased", d.Erased)
	b = member(b, "channel", string(d.Channel))
	b = member(b, "line", string(d.Line))
	b = member(b, "board", string(d.Switchboard))
	b = member(b, "caller", string(d.Caller))
	b = member(b, "resident", d.Resident)
	b = member(b, "sip", d.SIPCallID)
	b = member(b, "operator", string(d.Operator))
	b = member(b, "outcome", string(d.Outcome))
	b = member(b, "reason", d.Reason)
	b = members(b, "flags", d.Flags)
	b = members(b, "records", d.Recordings)
	var wrong error
	at := func(name string, t time.Time) {
		if t.IsZero() {
			return
		}
		next, err := t.AppendText(append(append(append(b, `,"`...), name...), `":"`...))
		if err != nil {
			wrong = err
			return
		}
		b = append(next, '"')
	}
	at("arrived", d.Arrived)
	at("answered", d.Answered)
	at("ended", d.Ended)
	at("updated", d.Updated)
	b = member(b, "grid", string(d.Grid))
	b = member(b, "dept", d.Department)
	b = member(b, "category", d.Category)
	b = member(b, "source", d.Source)
	at("deadline", d.Deadline)
	b = members(b, "contacts", d.Contacts)
	b = member(b, "callback", string(d.Callback))
	b = number(b, "tries", int64(d.Tries))
	b = member(b, "number", d.Number.Reveal())
	b = member(b, "name", d.Name.Reveal())
	b = member(b, "address", d.Address.Reveal())
	other := func(name string, v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			wrong = err
			return
		}
		b = append(append(append(append(b, `,"`...), name...), `":`...), raw...)
	}
	if d.Place != nil {
		other("place", d.Place)
	}
	if len(d.Words) > 0 {
		b = append(b, `,"words":`...)
		for i, w := range d.Words {
			b = appendText(append(b, "[,"[min(i, 1)]), w.Reveal())
		}
		b = append(b, ']')
	}
	b = truth(b, "prov", d.Provisional)
	b = number(b, "wrote", int64(d.Trail.Wrote))
	if len(d.Trail.Earlier) > 0 {
		other("earlier", d.Trail.Earlier)
	}
	b = number(b, "late", int64(d.Trail.Late))
	if wrong != nil {
		return b[:begin], fmt.Errorf("search: %s cannot be stored: %w", d.ID, wrong)
	}
	return append(b, '}'), nil
}

func member(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(append(append(append(b, `,"`...), name...), `":`...), value)
}

func members[T ~string](b []byte, name string, list []T) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	for i, v := range list {
		b = appendText(append(b, "[,"[min(i, 1)]), string(v))
	}
	return append(b, ']')
}

func truth(b []byte, name string, v bool) []byte {
	if !v {
		return b
	}
	return append(append(append(b, `,"`...), name...), `":true`...)
}

func number(b []byte, name string, v int64) []byte {
	if v == 0 {
		return b
	}
	return strconv.AppendInt(append(append(append(b, `,"`...), name...), `":`...), v, 10)
}

// appendText writes a JSON string as encoding/json does.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
				return escaped(b, s, i)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == '\u2028' || r == '\u2029' {
			return escaped(b, s, i)
		}
		i += n
	}
	return append(append(b, s...), '"')
}

// escaped goes on where something must be.
func escaped(b []byte, s string, from int) []byte {
	raw, _ := json.Marshal(s[from:]) // a string always can
	return append(append(b, s[:from]...), raw[1:]...)
}

// Load reads what Stored gave.
func Load(b []byte) (Document, error) {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return Document{}, fmt.Errorf("search: a stored document cannot be read: %w", err)
	}
	if s.Wrote == 0 && s.Sequence != 0 { // from before there were trails: what stands there is taken to be its newest epoch's
		s.Wrote, s.Prov = wroteAll, s.Outcome == intake.Interrupted
	}
	d := Document{s.ID, Kind(s.ID.Kind()), s.Sequence, Trail{s.Wrote, s.Earlier, s.Late}, s.State, s.Erased, s.Channel, s.Line, s.Board, s.Caller, s.Resident, s.SIP,
		s.Operator, s.Outcome, s.Reason, s.Flags, s.Prov, s.Records, s.Arrived, s.Answered, s.Ended, s.Updated, s.Grid, s.Dept,
		s.Category, s.Source, s.Deadline, s.Contacts, s.Callback, s.Tries, pii.NewPhone(s.Number), pii.NewName(s.Name), pii.NewAddress(s.Address), s.Place, nil}
	for _, w := range s.Words {
		d.Words = append(d.Words, pii.NewText(w))
	}
	return d, nil
}
