// Package searchtest says what every search index must do, and how well it must find.
//
// Run is the conformance suite: give it a function that opens an index by name. Set is the judged set, embedded: invented contacts
// and cases of the invented district 云溪区 in residents' own words, and queries with what is relevant to each, decided by
// what the documents are about. Eval asks an index all of them; `yingda search eval` prints its Report.
//
// What it does not do: no word of the set comes from a person; names are composed and numbers are 0512-5550-xxxx and
// 13800xxxxxx. It judges finding, not speed: P95 is reported, and asserted nowhere but in benchmarks.
package searchtest

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// Item is one contact or case of a judged set.
type Item struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"` // contact, case
	At         time.Time `json:"at"`
	Channel    string    `json:"channel,omitempty"` // of a contact
	Line       string    `json:"line,omitempty"`
	Outcome    string    `json:"outcome,omitempty"`
	Operator   string    `json:"operator,omitempty"`
	Grid       string    `json:"grid,omitempty"`
	Department string    `json:"department,omitempty"`
	Category   string    `json:"category,omitempty"`
	Name       string    `json:"name,omitempty"`
	Number     string    `json:"number,omitempty"`
	Address    string    `json:"address,omitempty"`
	Words      []string  `json:"words,omitempty"`
	Matter     string    `json:"matter,omitempty"`  // what it is about; for judging only, never indexed
	Telling    int       `json:"telling,omitempty"` // which of the matter's tellings in testdata/matters.txt
	Place      string    `json:"place,omitempty"`   // where that is; for judging only
}

// Subject of the item's document.
func (it Item) Subject() intake.Subject { return intake.Subject(it.Kind + "/" + it.ID) }

// Judged is a query and how relevant which items are to it: 2 is what was asked for, 1 is close to it; others are not.
type Judged struct {
	Class  string         `json:"class"`
	Query  string         `json:"query"`
	Unseen bool           `json:"unseen,omitempty"` // no table and no weight was made with it in view; counted apart
	Grades map[string]int `json:"grades"`           // by Item.ID
}

// Set is a corpus with judged queries.
type Set struct {
	Items   []Item
	Queries []Judged
}

//go:embed testdata/corpus.jsonl
var corpusLines []byte

//go:embed testdata/judged.jsonl
var judgedLines []byte

// Embedded is the set that comes with the program.
func Embedded() (Set, error) {
	return ReadSet(bytes.NewReader(corpusLines), bytes.NewReader(judgedLines))
}

// ReadSet reads items and judged queries, a JSON object a line each.
func ReadSet(items, queries io.Reader) (Set, error) {
	var s Set
	err := readLines(items, "items", func(b []byte) error {
		var it Item
		if err := json.Unmarshal(b, &it); err != nil {
			return err
		}
		if it.Kind != "contact" && it.Kind != "case" || it.ID == "" {
			return fmt.Errorf("kind %q, id %q: want a contact or case with an id", it.Kind, it.ID)
		}
		s.Items = append(s.Items, it)
		return nil
	})
	if err != nil {
		return Set{}, err
	}
	err = readLines(queries, "queries", func(b []byte) error {
		var j Judged
		if err := json.Unmarshal(b, &j); err != nil {
			return err
		}
		s.Queries = append(s.Queries, j)
		return nil
	})
	return s, err
}

func readLines(r io.Reader, what string, line func([]byte) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 4<<20)
	for n := 1; in.Scan(); n++ {
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		if err := line(in.Bytes()); err != nil {
			return fmt.Errorf("%s, line %d: %w", what, n, err)
		}
	}
	return in.Err()
}

// Events tells the item as the stream would.
func (it Item) Events() []intake.Event {
	var list []intake.Event
	add := func(after time.Duration, d intake.Data, p intake.PersonalJSON) {
		list = append(list, intake.Event{Source: "yingda/test", Subject: it.Subject(), Sequence: intake.NewSequence(1, uint32(len(list)+1)),
			Time: it.At.Add(after), PartitionKey: it.ID, Data: d, Personal: p.Conceal()})
	}
	who := intake.PersonalJSON{Number: it.Number, Name: it.Name, Address: it.Address}
	words := it.Words
	if it.Kind == "case" {
		if len(words) > 0 {
			who.Text, words = words[0], words[1:]
		}
		add(0, &intake.CaseOpenedV1{Source: intake.FromOperator, Category: it.Category, Grid: intake.GridID(it.Grid), Department: it.Department,
			By: intake.UserID(it.Operator)}, who)
		for i, w := range words {
			add(time.Duration(i+1)*time.Hour, &intake.CaseNotedV1{By: intake.UserID(it.Operator)}, intake.PersonalJSON{Text: w})
		}
		return list
	}
	if it.Channel != string(intake.Chat) {
		who.Text, words = strings.Join(words, "\n"), nil
	}
	offered := &intake.OfferedV1{Channel: intake.Channel(it.Channel), Line: intake.LineID(it.Line), Switchboard: "main", Origin: "test"}
	if it.Number != "" {
		offered.Caller = intake.Token("caller-" + pii.NewPhone(it.Number).Reveal())
	}
	if it.Channel == string(intake.Phone) {
		offered.SIPCallID = it.ID[len(it.ID)-12:] + "@trunk.example"
	}
	add(0, offered, who)
	for i, w := range words {
		add(time.Duration(i+1)*20*time.Second, &intake.MessageV1{Number: i + 1, From: "resident"}, intake.PersonalJSON{Text: w})
	}
	if o := intake.Outcome(it.Outcome); o == intake.Answered || o == intake.Replied {
		add(5*time.Minute, &intake.AnsweredV1{Operator: intake.UserID(it.Operator)}, intake.PersonalJSON{})
	}
	add(10*time.Minute, &intake.EndedV1{Outcome: intake.Outcome(it.Outcome), By: intake.ByResident}, intake.PersonalJSON{})
	return list
}

// Events tells the whole set, as if one thing had happened after another.
func (s Set) Events() []intake.Event {
	var list []intake.Event
	for _, it := range s.Items {
		list = append(list, it.Events()...)
	}
	return list
}
