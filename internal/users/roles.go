package users

import "slices"

// Role is what a person is here for. Each account and each token has exactly one.
type Role string

const (
	Operator      Role = "operator"      // 坐席: answers, calls back, writes cases
	Supervisor    Role = "supervisor"    // 班长: sees everything that happens, decides who calls whom back
	GridWorker    Role = "gridworker"    // 网格员: has the cases of their grids, sees nobody's number
	Auditor       Role = "auditor"       // 审计: reads all, changes nothing
	Administrator Role = "administrator" // 管理员: accounts, lines; handles no resident's matter
	App           Role = "app"           // 应用: a program that hands in what residents write to it. Tokens only; no account has it
)

// Roles lists them all in the order in which screens show them.
func Roles() []Role { return []Role{Operator, Supervisor, GridWorker, Auditor, Administrator} }

// Valid says whether r is one of Roles: an account may have it.
func (r Role) Valid() bool { return slices.Contains(Roles(), r) }

// TokenRoles lists what a token may be for: all Roles, and App.
func TokenRoles() []Role { return append(Roles(), App) }

// Deed is something that may be done, or not. What is not in the table may not be done by anybody.
type Deed string

const (
	SeeBoard       Deed = "see_board"       // the wallboard
	SeeUnreturned  Deed = "see_unreturned"  // who was not reached yet
	SeeContacts    Deed = "see_contacts"    // lists of contacts and one contact's page, numbers masked
	Search         Deed = "search"          // search in contacts and cases
	Reveal         Deed = "reveal"          // see a number in clear, with a reason, written down
	Listen         Deed = "listen"          // hear a recording, written down
	CallBack       Deed = "call_back"       // take a callback, phone, give it back
	AssignCallback Deed = "assign_callback" // give a callback to somebody else
	CloseCallback  Deed = "close_callback"  // end a callback without having reached the person
	AskVisit       Deed = "ask_visit"       // ask a grid worker to go there
	SeeCases       Deed = "see_cases"       // cases; a grid worker those of their own grids
	OpenCase       Deed = "open_case"       // write a case on a contact
	HandleCase     Deed = "handle_case"     // accept, start, answer, return, note
	DispatchCase   Deed = "dispatch_case"   // send to a grid or department, extend, close, reopen
	SeeSecret      Deed = "see_secret"      // who complained, where that is secret
	SeeLines       Deed = "see_lines"       // the ledger of lines
	ManageLines    Deed = "manage_lines"    // change it
	ManageUsers    Deed = "manage_users"    // accounts, their phones' credentials and API tokens
	OwnDesk        Deed = "own_desk"        // a desk of one's own: state, break, who rings
	SeeAudit       Deed = "see_audit"       // who looked at what
	SeeHistory     Deed = "see_history"     // what was, over weeks and months
	SeeTeam        Deed = "see_team"        // what each operator did
	Export         Deed = "export"          // take a list that one may see away as a file, written down
	ReadAPI        Deed = "read_api"        // contacts and books over HTTP
	OwnAccount     Deed = "own_account"     // change one's own password
	OwnGrid        Deed = "own_grid"        // the pages of a grid worker: visits and cases of their own grids
	OwnPhone       Deed = "own_phone"       // a SIP phone of one's own, to call out by; it takes OwnDesk to be rung for those who call
	Submit         Deed = "submit"          // hand in a resident's matter over HTTP
)

// Deeds lists them all.
func Deeds() []Deed {
	return []Deed{SeeBoard, SeeUnreturned, SeeContacts, Search, Reveal, Listen, CallBack, AssignCallback, CloseCallback, AskVisit, SeeCases,
		OpenCase, HandleCase, DispatchCase, SeeSecret, SeeLines, ManageLines, ManageUsers, OwnDesk, SeeAudit, SeeHistory, SeeTeam, Export, ReadAPI, OwnAccount, OwnGrid, OwnPhone, Submit}
}

// The one table of who may do what.
var table = map[Role][]Deed{
	Operator: {SeeBoard, SeeUnreturned, SeeContacts, Search, Reveal, CallBack, AskVisit, SeeCases, OpenCase, HandleCase, SeeSecret, OwnDesk, OwnPhone, OwnAccount},
	Supervisor: {SeeBoard, SeeUnreturned, SeeContacts, Search, Reveal, Listen, CallBack, AssignCallback, CloseCallback, AskVisit, SeeCases,
		OpenCase, HandleCase, DispatchCase, SeeSecret, SeeLines, OwnDesk, OwnPhone, SeeAudit, SeeHistory, SeeTeam, Export, ReadAPI, OwnAccount},
	GridWorker:    {SeeCases, HandleCase, OwnAccount, OwnGrid, OwnPhone},
	Auditor:       {SeeBoard, SeeUnreturned, SeeContacts, Search, Listen, SeeCases, SeeLines, SeeAudit, SeeHistory, SeeTeam, Export, ReadAPI, OwnAccount},
	Administrator: {SeeBoard, SeeUnreturned, SeeContacts, Search, SeeCases, SeeLines, ManageLines, ManageUsers, ReadAPI, OwnAccount},
	App:           {Submit},
}

// May says whether somebody of that role may do that.
func May(r Role, d Deed) bool { return slices.Contains(table[r], d) }
