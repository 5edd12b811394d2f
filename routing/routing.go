// Package routing holds the words of the work that a contact leads to: grids and the areas around them, how a place was
// found, the case, and what is done to a case.
//
// A resident says where something is wrong; package grid finds the grid of that place, package rules says who has to see to
// it and until when, package caselife says what may happen to a case next, and package casebook keeps the cases. They
// share the types here:
//
//	Asked    → Found      grid.Registry.Find: a place, an address, a caller's home → a grid, with the reason and how sure
//	Facts    → Decision   rules.Set.Decide: what is known → grid or department, deadline, the rule's id
//	Input    → []Effect   caselife.Life.Step: what somebody does → what is to be written, or a refusal in a sentence
//
// What it does not do: it finds nothing, decides nothing and keeps nothing itself.
package routing

import (
	"slices"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// Level says how large an area is.
type Level string

// The levels from large to small: 区县, 街道, 社区, 网格.
const (
	District  Level = "district"
	Street    Level = "street"
	Community Level = "community"
	Grid      Level = "grid"
)

// Levels lists them from large to small.
func Levels() []Level { return []Level{District, Street, Community, Grid} }

// Valid says whether l is one of Levels.
func (l Level) Valid() bool { return slices.Contains(Levels(), l) }

// String is what a screen says.
func (l Level) String() string {
	switch l {
	case District:
		return "区县"
	case Street:
		return "街道"
	case Community:
		return "社区"
	case Grid:
		return "网格"
	}
	return string(l)
}

// Area is a district, a street, a community or a grid: a row of the registry. Only a grid has a worker and households.
type Area struct {
	Code       string // as the office's list has it; unique within one version of the registry
	Level      Level
	Name       string   // "梅苑社区", "梅苑 03"
	Aliases    []string // other names by which people call it
	Parent     string   // code of the area around it; "" for a district
	Worker     pii.Name // 网格员
	Phone      pii.Phone
	User       intake.UserID // the worker's account with us, "" when there is none
	Households int           // 0: not known
}

// ID is the code as the id of a grid.
func (a Area) ID() intake.GridID { return intake.GridID(a.Code) }

// How a place was found.
type How string

const (
	ByPlace   How = "place"   // from coordinates
	ByAddress How = "address" // from the words of an address
	ByCard    How = "card"    // from where the caller is known to live
	ByPerson  How = "person"  // somebody chose the grid
	Nowhere   How = ""        // not found
)

// Asked is what is known of where something is. Any part may be missing.
type Asked struct {
	Place   *intake.Place // WGS-84
	Address pii.Address   // as it was said or written
	Home    intake.GridID // grid of the caller's card
}

// Found is the grid of a place, or several that it may be.
type Found struct {
	Grid       intake.GridID // "" when nothing fits, or too many do to name one (see Candidates)
	Community  string        // code of the community, also when the grid in it is not known
	How        How
	Why        string // in words for the form that is being filled in: 按地址里的“柳荫一村 7 幢”
	Plain      string // the same without the words of the address, for the case and its events: 按地址
	Confidence int    // that Grid is right, per cent
	Candidates []Candidate
}

// Candidate is one grid that a place may be in. The best stands first; a certain answer has one candidate.
type Candidate struct {
	Grid       intake.GridID
	Why        string
	Confidence int
}

// Category is a kind of matter (事项类别) as the office's list has it.
type Category struct {
	Code   string   `yaml:"code" json:"code"` // short, stable: "water"
	Name   string   `yaml:"name" json:"name"` // "供水"
	Group  string   `yaml:"group" json:"group"`
	Words  []string `yaml:"words" json:"words"`   // how residents say it; for suggestions
	Secret bool     `yaml:"secret" json:"secret"` // who complained is hidden below dispatch by default
}

// Department is a unit that cases can go to.
type Department struct {
	Code    string   `yaml:"code" json:"code"`
	Name    string   `yaml:"name" json:"name"`
	Aliases []string `yaml:"aliases" json:"aliases"`
	Phone   string   `yaml:"phone" json:"phone"` // of the office, not of a person
}

// Facts are what rules decide by.
type Facts struct {
	Source     string // intake.From…
	Channel    intake.Channel
	Line       intake.LineID
	Category   string
	Words      pii.Text
	Found      Found
	Street     string // code of the street of the grid or community found
	Callback   bool   // there is a callback behind it
	Older      bool   // the resident is known as older
	SelfClosed bool   // answered on the spot, nothing is left to do
}

// Decision is what the rules say about Facts.
type Decision struct {
	Rule       string // path of rule ids along the tree, "water/night"
	Grid       intake.GridID
	Department string    // code; "" when the grid has it
	Category   string    // the rule's, where the operator named none
	Deadline   time.Time // zero: none
	Within     string    // the deadline as the rule has it: "2h", "3wd"
	Opens      bool      // a case is opened without anybody asking for it
	Why        string    // the rule's title, for the screen
}

// State is where a case stands. One value; only caselife changes it.
type State string

const (
	// Opened: written down, nobody has it yet. Left by dispatching or by closing at once.
	Opened State = "opened"
	// Dispatched: sent to a grid or department that has not taken it yet. Left by accept, return, or dispatch to somebody else.
	Dispatched State = "dispatched"
	// Accepted: the one it was sent to says it is theirs (签收). Left by start, answer, return.
	Accepted State = "accepted"
	// InProgress: somebody works on it. Left by answer or return.
	InProgress State = "in_progress"
	// Returned: sent back with a reason (退单); whoever dispatches has to send it elsewhere. Left by dispatch or close.
	Returned State = "returned"
	// Answered: the one in charge says what was done (反馈). Left by close or reopen.
	Answered State = "answered"
	// Closed: done, with a result and how we know it. Left only by reopen.
	Closed State = "closed"
)

// States lists them in the order of a case's life.
func States() []State {
	return []State{Opened, Dispatched, Accepted, InProgress, Returned, Answered, Closed}
}

// Open says whether there is still something to do.
func (s State) Open() bool { return s != Closed && s != "" }

// Valid says whether s is one of States.
func (s State) Valid() bool { return slices.Contains(States(), s) }

// String is what a screen says.
func (s State) String() string {
	switch s {
	case Opened:
		return "待派"
	case Dispatched:
		return "已派"
	case Accepted:
		return "已接下"
	case InProgress:
		return "在办"
	case Returned:
		return "退回"
	case Answered:
		return "已答复"
	case Closed:
		return "已结"
	}
	return string(s)
}

// Results of a case which readers act upon. The field is open: an office may use others.
const (
	Solved    = "solved"    // done what was asked for
	Explained = "explained" // explained, nothing to do
	NotOurs   = "not_ours"
	Met       = "met"       // visit: met the person
	FamilyOK  = "family_ok" // visit: the family says all is well
	NotFound  = "not_found" // visit: nobody there
	Trouble   = "trouble"   // visit: something has happened, help is needed
	Merged    = "merged"    // goes on in another case
)

// How the result is known.
const (
	ResidentSaid   = "resident_said"
	Seen           = "seen"
	DepartmentSaid = "department_said"
)

// Holder is whom a case was sent to: "grid/<code>" or "department/<code>".
type Holder string

// ToGrid and ToDepartment make one.
func ToGrid(g intake.GridID) Holder         { return Holder("grid/" + string(g)) }
func ToDepartment(department string) Holder { return Holder("department/" + department) }

// Case is work for a grid or a department.
type Case struct {
	ID         intake.CaseID
	Number     string // for people: W-2026-04817
	Sequence   intake.Sequence
	Partition  string // partition key of its events
	State      State
	Source     string // intake.From…
	Contacts   []intake.ContactID
	Callback   intake.CallbackID
	Category   string
	Grid       intake.GridID
	Department string
	Holder     Holder // whom it was sent to last; "" when never
	Rule       string
	Why        string // how the grid was found
	Confidence int    // of the grid, per cent
	Overruled  bool   // a person chose grid or department against the rule
	By         intake.UserID
	Opened     time.Time
	Changed    time.Time
	Deadline   time.Time // zero: none
	Closed     time.Time // zero: open
	Result     string
	Known      string
	Returns    int
	Extensions int
	Reopened   int

	Words   pii.Text
	Answer  pii.Text
	Place   *intake.Place
	Address pii.Address
	Name    pii.Name
	Phone   pii.Phone // how to reach the resident
}

// Overdue says whether the deadline of an open case has passed. An answered case waits for us, not for its holder.
func (c Case) Overdue(now time.Time) bool {
	return c.State.Open() && c.State != Answered && !c.Deadline.IsZero() && now.After(c.Deadline)
}

// Input is what somebody does to a case.
type Input interface{ input() }

type (
	// Open makes the case. It is the first input and comes once.
	Open struct {
		Source   string
		Contacts []intake.ContactID
		Callback intake.CallbackID
		Found    Found
		Decision Decision
		Category string
		Grid     intake.GridID // chosen by a person against Found; "" keeps what was found
		Dept     string        // chosen by a person against Decision; NoDepartment: the grid has it, whatever the rule says
		By       intake.UserID
		Personal intake.Personal
		Next     Next
		Result   string // with NextClose
		Known    string // with NextClose
		Answer   pii.Text
	}
	// Attach: one more contact about the same matter.
	Attach struct {
		Contact intake.ContactID
		By      intake.UserID
	}
	// Route sends it to another grid or department before or after it was dispatched; a person overrules the rule. One of Grid and Department is set.
	Route struct {
		Grid       intake.GridID
		Department string
		Why        string
		By         intake.UserID
	}
	// Dispatch sends it to the grid or department that it is routed to.
	Dispatch struct{ By intake.UserID }
	// Accept: it is ours.
	Accept struct{ By intake.UserID }
	// Start: we are on it.
	Start struct{ By intake.UserID }
	// Return: it is not ours, because.
	Return struct {
		Why string
		By  intake.UserID
	}
	// Extend asks for more time and gives a reason.
	Extend struct {
		Until time.Time
		Why   string
		By    intake.UserID
	}
	// Answer says what was done.
	Answer struct {
		Text pii.Text
		By   intake.UserID
	}
	// Close ends it.
	Close struct {
		Result string
		Known  string
		By     intake.UserID
	}
	// Reopen: it was not done after all. Contact is the one that said so, or Why says it.
	Reopen struct {
		Contact intake.ContactID
		Why     string
		By      intake.UserID
		// Deadline to hold from now; zero: 24 h
		Deadline time.Time
	}
	// Note adds words; it changes nothing.
	Note struct {
		Text pii.Text
		By   intake.UserID
	}
)

func (Open) input()     {}
func (Attach) input()   {}
func (Route) input()    {}
func (Dispatch) input() {}
func (Accept) input()   {}
func (Start) input()    {}
func (Return) input()   {}
func (Extend) input()   {}
func (Answer) input()   {}
func (Close) input()    {}
func (Reopen) input()   {}
func (Note) input()     {}

// NoDepartment in Open.Dept says that the grid has the case although a rule gives it to a department.
const NoDepartment = "-"

// Next says what follows at once when a case is opened.
type Next string

const (
	NextDispatch Next = "dispatch" // sent to its grid or department
	NextClose    Next = "close"    // answered on the spot (当场答复)
	NextWait     Next = ""         // left for the dispatcher
)

// Effect is what a case's machine orders.
type Effect interface{ effect() }

type (
	// Write: this has happened. It goes into the case's row and into the stream, in one transaction.
	Write struct {
		Data     intake.Data
		Personal intake.Personal
	}
	// Refuse: it may not be done now. Sentence is for the person who tried.
	Refuse struct{ Sentence string }
	// Late: the deadline has passed. Told once for each deadline.
	Late struct{ Deadline time.Time }
)

func (Write) effect()  {}
func (Refuse) effect() {}
func (Late) effect()   {}
