package search

import (
	"encoding/json"
	"fmt"
	"time"

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
	s := stored{d.ID, d.Sequence, d.State, d.Erased, d.Channel, d.Line, d.Switchboard, d.Caller, d.Resident, d.SIPCallID,
		d.Operator, d.Outcome, d.Reason, d.Flags, d.Recordings, d.Arrived, d.Answered, d.Ended, d.Updated, d.Grid, d.Department,
		d.Category, d.Source, d.Deadline, d.Contacts, d.Callback, d.Tries, d.Number.Reveal(), d.Name.Reveal(), d.Address.Reveal(), d.Place, nil,
		d.Provisional, d.Trail.Wrote, d.Trail.Earlier, d.Trail.Late}
	for _, w := range d.Words {
		s.Words = append(s.Words, w.Reveal())
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("search: %s cannot be stored: %w", d.ID, err)
	}
	return b, nil
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
