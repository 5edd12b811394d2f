package web

import (
	"context"
	"errors"
	"io"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/users"
)

// Errors which an Office returns and a page has a sentence for. Any other error is a fault of ours.
var (
	ErrNotFound = errors.New("web: there is no such thing, or this person may not know of it")
	ErrBusy     = errors.New("web: somebody else has it in hand")
	ErrGone     = errors.New("web: it has ended meanwhile")
	ErrNoPhone  = errors.New("web: the operator's phone is not registered")
	ErrOnCall   = errors.New("web: the operator is in a call")
	ErrCursor   = errors.New("web: the cursor is of no page") // only from Ledger.List
)

// Refusal is a deed that the rules of the office do not allow now; the sentence is for the person who tried.
type Refusal struct{ Sentence string }

func (r Refusal) Error() string { return "web: refused: " + r.Sentence }

// FieldError says which field of a form is wrong and what would be right, in a sentence for the person who filled it in.
type FieldError struct{ Field, Sentence string }

func (f FieldError) Error() string { return "web: " + f.Field + ": " + f.Sentence }

// Office is all that the pages show and do. The wiring fills it; every part must be there but those that say otherwise.
type Office struct {
	Board         Board
	Unreturned    Unreturned
	Contacts      Contacts
	Search        Search
	Cases         Cases
	Lines         Lines
	Desk          Desk
	Callbacks     Callbacks
	CaseDeeds     CaseDeeds
	Reveals       Reveals
	Recordings    Recordings
	Ledger        Ledger
	History       History
	Team          Team
	Trail         Trail
	Lists         Lists
	Live          Live
	Chats         Chats         // nil: this office has no chat
	Worker        Worker        // nil: no pages for grid workers but the list of cases
	Residents     Residents     // nil: this server has no pages for people without an account
	ResidentChats ResidentChats // nil: and no chat
}

// Viewer is who looks or acts. What they do is written down with it.
type Viewer struct {
	ID    intake.UserID
	Name  string
	Role  users.Role
	Grids []intake.GridID // a grid worker's own
}

// Staff is a colleague, as colleagues see them.
type Staff struct {
	ID   intake.UserID
	Name string
}

// Choice is an entry of a list to choose from.
type Choice struct{ Code, Name, Group string }

// Person is a resident as a list may show them: Called is how one would address them (王阿姨), never more than the family name; when it
// is empty Name is shown, masked. Both empty: not known to us.
type Person struct {
	Called string
	Name   pii.Name
	Number pii.Phone
	Notes  []string // 老年, 听力弱
	Shared int      // how many other people use the same number
}

// Plate is a grid's door plate: place and number, and who is in charge.
type Plate struct {
	ID     intake.GridID // "" when not known
	Place  string        // 梅苑
	Number string        // 03
	Worker string        // a colleague's name
}

// Live tells of changes.
type Live interface {
	// Changed gives a channel that is told, at once and at most once per change, when anything that pages show may have changed.
	// A slow reader misses none but the last. stop gives it back.
	Changed() (changed <-chan struct{}, stop func())
}

// Said is a name or a sentence that the books have in both languages.
type Said struct{ ZH, EN string }

// Figure is a rate: numerator and denominator of one definition. A denominator of 0 is shown as a dash, not as 0 %.
type Figure struct {
	ID       string // of the definition in the books, such as "caller_reached"
	Name     Said   // 首次来电 5 分钟内接通
	Rule     Said   // how it is counted
	Num, Den int64
	Excluded int64 // what the definition leaves out for now, such as people whose five minutes are not over
}

// Board is what the wall shows.
type Board interface {
	Now(ctx context.Context) (Wall, error)
}

// Wall is the office at AsOf. Figures are of today, as the office's time zone cuts days, unless they say otherwise.
type Wall struct {
	Office string
	AsOf   time.Time // up to when the books have read the stream; now, when they have read all of it

	Reached      Figure // per person: reached within five minutes of the first attempt
	Yesterday    Figure // the same, yesterday until this time of day
	LaterReached int    // of those who were not: reached later
	NotYet       int    // and not yet
	Waiting      int    // people in the queue now
	LongestWait  time.Duration
	LongestToday time.Duration
	Seats        []Seats
	Within15     Figure // answered within 15 s, over the last 24 hours
	Goal         int    // per mille, 950
	Roll         []RollPoint
	Ages         []Age // not reached yet, by how long ago the first attempt was
	Overdue      int   // callbacks
	DueSoon      int   // callbacks due within 30 minutes
	Calling      int   // callbacks that are being made now

	Channels []ChannelSum // of today, those that somebody came by
	Queues   []ChannelSum // who waits now, by channel: Open

	Offered  int
	Answered int // answered, replied, accepted
	Lost     int // every other outcome
	Open     int
	Balanced bool
	Why      []Count   // lost by outcome, the most first
	Quarters []Quarter // the day's, 96 but on the days when the clock changes; those to come are not in it
	Day      time.Time // its midnight
	DayEnd   time.Time // the next

	Last   time.Time // last contact before today, for a day without any; zero: none
	LastOK bool      // it was answered
	Alarms []Alarm   // stand on every screen until they are over
	Tested time.Time // last test call to the lines; zero: none
	Lines  int       // how many were tested then
	Passed int       // how many of them were through
}

// ChannelSum is what came by one channel: Offered = Answered + Lost + Open.
type ChannelSum struct {
	Channel                       intake.Channel
	Offered, Answered, Lost, Open int
}

// Seats counts operators in one state: talking, ringing, wrap_up, break, idle, unreachable.
type Seats struct {
	State string
	N     int
}

// RollPoint is a rate at a time.
type RollPoint struct {
	At       time.Time
	Num, Den int64
}

// Age is a column of people not reached yet: first attempt less than Under ago (0: any longer), N of them, Late of these overdue.
type Age struct {
	Under   time.Duration
	N, Late int
}

// Count is how many ended so.
type Count struct {
	Outcome intake.Outcome
	N       int
}

// Quarter is a quarter of an hour.
type Quarter struct {
	At                   time.Time
	Answered, Lost, Open int
}

// Alarm is something that somebody has to see to.
type Alarm struct {
	What  string // a key of the message files under "alarm.", or a sentence
	Since time.Time
}

// Unreturned are people who tried to reach us and whom nobody has reached since.
type Unreturned interface {
	// People gives them, who waits longest first.
	People(ctx context.Context, f UnreturnedFilter) (Owed, error)
	// Heat counts lost contacts of days days up to today, by quarter of an hour.
	Heat(ctx context.Context, days int) (Heat, error)
}

// UnreturnedFilter narrows the list; zero values mean all.
type UnreturnedFilter struct {
	Cause intake.Outcome
	Line  intake.LineID
	Grid  intake.GridID
	Under time.Duration // first attempt less than that ago
	Over  time.Duration // first attempt at least that long ago
	Who   string        // "nobody": nobody has it; else a user id
}

// Owed is the list. The counts are of everybody, whatever the filter.
type Owed struct {
	AsOf                             time.Time
	Total, Overdue, Waiting, Calling int
	People                           []OwedPerson
	Cleared                          []Cleared // today, newest first, a few
	ClearedTotal                     int
	LostToday, LostPeople            int // lost contacts today, and from how many people
	Lines                            []Choice
	Grids                            []Choice
	Operators                        []Staff // who can be given a callback
}

// OwedPerson is one person whom we owe a call.
type OwedPerson struct {
	Callback intake.CallbackID
	Contact  intake.ContactID // the newest attempt
	Person   Person
	First    time.Time // first attempt
	Due      time.Time
	Theirs   []time.Time // each attempt of theirs
	Ours     []Try       // each of ours
	Cause    intake.Outcome
	Line     string
	Grid     Plate
	Holder   Staff     // who has it in hand, zero: nobody
	Calling  time.Time // since when the holder is on the phone for it; zero: not now
	Visit    bool      // phoned often enough: the next step is a visit
	Case     intake.CaseID
}

// Try is an attempt of ours to reach somebody.
type Try struct {
	At     time.Time
	By     Staff
	Result string // one of intake.Try…
	Took   time.Duration
}

// Cleared is a callback that ended: By is one of intake.Cleared….
type Cleared struct {
	At      time.Time
	Contact intake.ContactID
	Person  Person
	By      string
	Who     Staff
	Tries   int
	Reason  string
}

// Heat is lost contacts by day and quarter of an hour.
type Heat struct {
	Days []HeatDay // oldest first
}

// HeatDay is one day. Quarters to come are not in it.
type HeatDay struct {
	Day           time.Time // its midnight
	Quarters      []HeatQuarter
	Lost, Offered int
	Holiday       bool
}

// HeatQuarter is a quarter of an hour.
type HeatQuarter struct{ Lost, Offered int }

// Contacts are what reached us, or tried to.
type Contacts interface {
	List(ctx context.Context, f ContactFilter) (ContactList, error)
	// One gives everything under one id; ErrNotFound.
	One(ctx context.Context, v Viewer, id intake.ContactID) (ContactPage, error)
}

// ContactFilter narrows a list; zero values mean all. With Figure the list is what stands behind a figure: Part "num" what counts,
// "den" what is asked of, "miss" asked of and not counted, "out" what the definition leaves out.
type ContactFilter struct {
	From, To time.Time // arrived in [From, To)
	Line     intake.LineID
	Channel  intake.Channel
	Outcome  intake.Outcome
	State    string // "open", "waiting", "answered", "lost", ""
	Figure   string
	Part     string
	Person   intake.ContactID // everything of the caller of this contact
	Operator intake.UserID    // whom it was answered by
	Missed   intake.UserID    // at whose place it rang and was not taken
	Flag     intake.Flag
	Clock    [2]int // minutes of the office's day, arrived in [0], [1]): 555, 570 is 9:15 to 9:30; zero: all day. Only with From and To
	After    string // cursor of the page before
	Limit    int
}

// ContactList is a page of contacts.
type ContactList struct {
	AsOf   time.Time
	Total  int // of the whole list, −1 when not counted
	Rows   []ContactRow
	Next   string // cursor, "" at the end
	Lines  []Choice
	Figure *Figure // the figure that the list stands behind, when one was asked for
}

// ContactRow is one of them.
type ContactRow struct {
	ID       intake.ContactID
	Channel  intake.Channel
	Line     string
	Person   Person
	Arrived  time.Time
	Ended    time.Time // zero: still open
	Outcome  intake.Outcome
	Waited   time.Duration
	Talked   time.Duration
	Operator Staff
	Flags    []intake.Flag
	Callback bool // a call is owed still
	Case     intake.CaseID
	CaseNo   string
	Imported string
}

// ContactPage is everything under one id.
type ContactPage struct {
	ContactRow
	AsOf       time.Time
	LineNumber string
	Reason     string
	SIPCallID  string
	Words      pii.Text // of a submission or a message
	Recording  Recording
	Timeline   []Moment // since the first attempt of the episode, oldest first
	Home       Plate
	Address    pii.Address
	Cases      []CaseRow
	Back       *OwedPerson // the callback, if there was one
	BackDone   *Cleared    // and how it ended
	Others     []ContactRow
	OthersAll  int
	Looks      []Look // empty unless the viewer may see who looked
	Suggested  []CaseRow
}

// Recording of a contact. ID "" : there is none. Missing says that there is one and why it cannot be read now.
type Recording struct {
	ID       intake.RecordingID
	Length   time.Duration
	Channels int
	CutShort bool
	Missing  string
	Peaks    [][]float32 // per channel (resident, operator), 0 … 1, some 230 of them
}

// Moment is something that happened. Side says who did it: resident, us, system. What is a key of the message files under "moment.",
// Args its parts in order.
type Moment struct {
	At    time.Time
	Side  string
	What  string
	Args  []string
	More  string // second line: a key under "moment.", or ""
	MoreA []string
	Good  bool             // reached: the mark is filled
	Of    intake.ContactID // another contact, to open; "" for this one
}

// Look is somebody who saw what is masked or heard a recording.
type Look struct {
	At     time.Time
	Who    Staff
	What   string // number, name, address, recording, case
	Reason string
}

// Search finds.
type Search interface {
	Find(ctx context.Context, v Viewer, q Query) (Found, error)
}

// Query is what a person asks for; zero values mean all.
type Query struct {
	Text       string
	Kind       string // contact, case, callback
	Channel    intake.Channel
	Line       intake.LineID
	Outcome    intake.Outcome
	Grid       intake.GridID
	From, To   time.Time
	Owed       bool // a call is owed
	Newest     bool
	Page       int // from 0
	Office     string
	Department string
}

// Found is a page of hits.
type Found struct {
	Total int
	Took  time.Duration
	Hits  []Hit
	More  bool
	Lines []Choice
	Grids []Choice
	Lag   time.Duration // how far the index is behind
}

// Hit is one document found. Why are words for the screen: 原话, 同音 ….
type Hit struct {
	Kind    string // contact, case, callback
	ID      string
	Title   string // case number, how the person is called; never a number
	Person  Person
	Channel intake.Channel
	Line    string
	Outcome intake.Outcome
	State   string // of a case or callback
	At      time.Time
	Grid    Plate
	Why     []string
	Pieces  [][]Piece // highlights, masked by the index
}

// Piece is a run of text; Why says that it matched and how, "" that it did not.
type Piece struct{ Text, Why string }

// Cases are work for grids and departments.
type Cases interface {
	List(ctx context.Context, v Viewer, f CaseFilter) (CaseList, error)
	One(ctx context.Context, v Viewer, id intake.CaseID) (CasePage, error)
	// Propose finds the grid for what an operator has written so far, and who has to see to it until when.
	Propose(ctx context.Context, v Viewer, id intake.ContactID, n NewCase) (Proposal, error)
	// Form gives what the small form on a contact offers to choose from.
	Form(ctx context.Context) (CaseForm, error)
}

// CaseFilter narrows; zero values mean all that are open.
type CaseFilter struct {
	Grid   intake.GridID
	State  string // one of routing.States, "overdue", "closed", "all"; "": open
	After  string
	Limit  int
	Mine   bool   // those that wait for this viewer
	Source string // visit: asked to go there
}

// CaseList is a page of cases, overdue first, by grid.
type CaseList struct {
	AsOf    time.Time
	Open    int
	Overdue int
	Rows    []CaseRow
	Next    string
	Grids   []GridLoad
}

// GridLoad is how much a grid has to do.
type GridLoad struct {
	Plate
	Open, Overdue int
}

// CaseRow is one of them.
type CaseRow struct {
	ID         intake.CaseID
	Number     string // W-2026-04817
	State      string // one of routing.States
	Title      string // the matter in a few words, with nobody's number in it
	Category   string
	Grid       Plate
	Department string
	Opened     time.Time
	Deadline   time.Time
	Late       bool
	Closed     time.Time
	Source     string
	Secret     bool // who complained is hidden below dispatch
	People     int  // contacts about the same
}

// CasePage is everything of a case.
type CasePage struct {
	CaseRow
	AsOf       time.Time
	Words      pii.Text
	Answer     pii.Text
	Address    pii.Address
	Person     Person
	Why        string // how the grid was found
	Confidence int    // per cent
	Overruled  bool
	Rule       string // title of the rule that decided
	Contacts   []ContactRow
	Life       []Moment
	Acts       []string // what may be done now: accept, start, return, answer, note, dispatch, route, extend, close, reopen
	Result     string
	Known      string
	Grids      []Choice
	Depts      []Choice
}

// NewCase is the small form on a contact.
type NewCase struct {
	Words    pii.Text
	Address  pii.Address
	Place    *intake.Place
	Category string
	Grid     intake.GridID // chosen against the proposal; "" keeps it
	Dept     string
	Next     string // dispatch, close, wait
	Answer   pii.Text
	Who      string   // card of the person who says it, one of DeskContact.Who; "": not chosen
	Name     pii.Name // as they gave it, when there is no card
	Key      string   // made by the page: the same again is the same case, so that a form may be sent twice; "": none
}

// Proposal is where a case would go.
type Proposal struct {
	Grid       Plate
	Why        string
	Confidence int
	Others     []Plate
	Department string
	DeptCode   string // of Department
	Deadline   time.Time
	Rule       string
	Similar    []SameMatter
}

// CaseForm is what the small form offers.
type CaseForm struct {
	Categories []Choice
	Grids      []Choice
	Depts      []Choice
}

// CaseAct is what somebody does to a case.
type CaseAct struct {
	Act    string // one of CasePage.Acts
	Text   pii.Text
	Why    string
	Grid   intake.GridID
	Dept   string
	Until  time.Time
	Result string
	Known  string
}

// CaseDeeds change cases. Errors: ErrNotFound, Refusal, FieldError.
type CaseDeeds interface {
	Open(ctx context.Context, v Viewer, id intake.ContactID, n NewCase) (intake.CaseID, error)
	Do(ctx context.Context, v Viewer, id intake.CaseID, a CaseAct) error
	// Attach says that a contact is about a matter that has a case already; words, if any, are noted on it.
	Attach(ctx context.Context, v Viewer, id intake.ContactID, to intake.CaseID, words pii.Text) error
}

// Callbacks change what is owed. Errors: ErrNotFound, ErrGone, ErrBusy, ErrNoPhone, ErrOnCall, Refusal.
type Callbacks interface {
	// Call rings the viewer's phone first and, when it is taken, the resident's.
	Call(ctx context.Context, v Viewer, id intake.CallbackID) error
	Take(ctx context.Context, v Viewer, id intake.CallbackID) error
	Release(ctx context.Context, v Viewer, id intake.CallbackID) error
	Assign(ctx context.Context, v Viewer, id intake.CallbackID, to intake.UserID) error
	// Close ends it without the person having been reached; reason is one of CloseReasons with words beside it.
	Close(ctx context.Context, v Viewer, id intake.CallbackID, reason, words string) error
	Visit(ctx context.Context, v Viewer, id intake.CallbackID, words string) error
}

// CloseReasons for a callback, in the order of the list. Their words are in the message files under "close.".
func CloseReasons() []string {
	return []string{"reached_elsewhere", "wrong_number", "asked_not_to", "test_call", "nuisance", "other"}
}

// RevealReasons for a look at a number, under "reveal.".
func RevealReasons() []string {
	return []string{"call_back", "visit", "resident_asked", "check", "other"}
}

// Reveals gives what is masked, after writing down who asked and why. When it cannot be written down it is not given.
type Reveals interface {
	Number(ctx context.Context, v Viewer, id intake.ContactID, reason string) (pii.Phone, error)
}

// Recordings can be heard.
type Recordings interface {
	// Open gives a WAV file with two channels, left the resident, right the operator, in what browsers play (16-bit linear).
	// ErrNotFound when there is none.
	Open(ctx context.Context, v Viewer, id intake.ContactID) (RecordingFile, error)
	// Played writes down which part was sent for. When it fails nothing is sent.
	Played(ctx context.Context, v Viewer, id intake.ContactID, rec intake.RecordingID, from, to time.Duration) error
}

// RecordingFile is a recording to read from.
type RecordingFile struct {
	io.ReadSeekCloser
	ID     intake.RecordingID
	Length time.Duration
	Made   time.Time
}

// Lines is the ledger of published numbers.
type Lines interface {
	List(ctx context.Context) ([]LineRow, error)
	One(ctx context.Context, id intake.LineID) (LineRow, error)
	// Save makes or changes a line; it is in force for the next call. Errors: FieldError, Refusal.
	Save(ctx context.Context, v Viewer, l LineRow, isNew bool) error
}

// LineRow is a line with its promises. Zero durations and limits take the office's default.
type LineRow struct {
	intake.Line
	Numbers      []string // called numbers that reach it; "*" takes any that no other line has
	Hours        string   // as the ledger writes them: "24h", or "Mo-Fr 08:30-12:00,13:30-17:30; Sa 09:00-12:00; 2026-10-01 closed"
	MaxWait      time.Duration
	MaxQueue     int
	Ring         time.Duration // how long an operator's phone rings
	ShortAbandon time.Duration
	Shown        string // number that residents see when called back
	Notice       bool   // callers are told that the call is recorded
	NoRecording  bool
	NoMessages   bool // no voicemail when closed
	Retired      bool

	// What follows is shown and not saved.
	OpenNow   bool
	OpensAt   time.Time // when it is closed: when next; zero: not known
	Today     int       // contacts today
	TodayLost int
	Tested    time.Time
	TestOK    bool
}

// Desk is an operator's own small page.
type Desk interface {
	// Signed: a person with a desk has signed in at it, or out.
	Signed(ctx context.Context, v Viewer, in bool) error
	Mine(ctx context.Context, v Viewer) (MyDesk, error)
	// Break begins a break; reason is one of BreakReasons.
	Break(ctx context.Context, v Viewer, reason string) error
	// Ready ends a break or the writing up: calls may come.
	Ready(ctx context.Context, v Viewer) error
}

// BreakReasons, under "break.".
func BreakReasons() []string { return []string{"rest", "meal", "meeting", "training", "visit", "busy"} }

// MyDesk is what concerns one operator now.
type MyDesk struct {
	AsOf     time.Time
	State    string // offline, idle, reserved, ringing, talking, wrap_up, break, unreachable
	Since    time.Time
	Reason   string // of a break
	Phone    bool   // the phone is registered
	SIPUser  string
	Answered int // today
	Now      *DeskContact
	Due      []OwedPerson // mine and nobody's, the most urgent first
	Cases    []CaseRow    // returned to me, or waiting for my answer
	Waiting  int
	Longest  time.Duration
	Seats    []Seats
	Asked    []AskedCall // by grid workers, the oldest first
}

// DeskContact is the person an operator's phone rings for, or who is on it, or was just now (wrap_up: until they say that it is written down).
// Quiet is for how long nothing has been heard of a silent one.
type DeskContact struct {
	Contact  intake.ContactID
	Callback bool // we phone them
	Person   Person
	Line     string
	Home     Plate
	Arrived  time.Time
	Waited   time.Duration
	Theirs   []time.Time
	Ours     []Try
	First    time.Time
	Silent   bool // connected and says nothing
	Cases    []CaseRow
	Who      []WhoMayBe   // everybody known to use the number
	Earlier  []ContactRow // their contacts before this one, newest first, a few
	Address  pii.Address  // where they live, when that is known
	Alone    bool         // lives alone
	Done     bool         // a case was opened from it, or it was attached to one
	Quiet    time.Duration
}

// Ledger is what others audit us by: the HTTP API.
type Ledger interface {
	// List gives contacts by arrival, oldest first; after is the cursor of the page before.
	List(ctx context.Context, f LedgerFilter) (list []Entry, next string, err error)
	One(ctx context.Context, id intake.ContactID) (Entry, error)
	Books(ctx context.Context, f LedgerFilter) (Books, error)
}

// LedgerFilter narrows; zero values mean all.
type LedgerFilter struct {
	From, To time.Time // arrived in [From, To)
	Line     intake.LineID
	Channel  intake.Channel
	Outcome  intake.Outcome
	After    string
	Limit    int
}

// Entry is a contact in the API and in "yingda export contacts". Times are RFC 3339 in UTC with milliseconds; what is not (yet) so is null.
type Entry struct {
	ID         intake.ContactID   `json:"id"`
	Channel    intake.Channel     `json:"channel"`
	Line       intake.LineID      `json:"line"`
	ArrivedAt  Stamp              `json:"arrived_at"`
	EndedAt    *Stamp             `json:"ended_at"`
	Outcome    *intake.Outcome    `json:"outcome"`
	Reason     *string            `json:"reason"`
	SIPCallID  *string            `json:"sip_call_id"`
	AnsweredAt *Stamp             `json:"answered_at"`
	Operator   *intake.UserID     `json:"operator"`
	Case       *intake.CaseID     `json:"case"`
	Callback   *intake.CallbackID `json:"callback"`
}

// Books are the sums over a window.
type Books struct {
	From     Stamp                    `json:"from"`
	To       Stamp                    `json:"to"`
	Line     *intake.LineID           `json:"line"`
	Channel  *intake.Channel          `json:"channel"`
	AsOf     Stamp                    `json:"as_of"`
	Offered  int64                    `json:"offered"`
	Open     int64                    `json:"open"`
	Outcomes map[intake.Outcome]int64 `json:"outcomes"`
	Balanced bool                     `json:"balanced"`
	Rates    []Rate                   `json:"rates"`
}

// Rate is one definition's figure.
type Rate struct {
	ID          string `json:"id"`
	Label       string `json:"label"`
	Numerator   int64  `json:"numerator"`
	Denominator int64  `json:"denominator"`
}

// Stamp is a time as the API writes it: RFC 3339, UTC, always three digits of milliseconds.
type Stamp time.Time

// MarshalJSON writes "2026-11-24T06:32:07.000Z".
func (s Stamp) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(s).UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

// UnmarshalJSON reads RFC 3339.
func (s *Stamp) UnmarshalJSON(b []byte) error {
	t, err := time.Parse(`"`+time.RFC3339Nano+`"`, string(b))
	*s = Stamp(t)
	return err
}
