package app

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/residents"
	"yingda/internal/users"
	"yingda/routing"
	"yingda/web"
)

// view answers the pages' questions over books, index, case book and switchboard. Each file view_*.go is one part of web.Office.
type view struct {
	*App
	names staffNames
}

// office fills what the pages need.
func (a *App) office() web.Office {
	v := &view{App: a, names: staffNames{users: a.users, now: a.now}}
	return web.Office{Board: boardView{v}, Unreturned: unreturnedView{v}, Contacts: contactsView{v}, Search: searchView{v}, Cases: casesView{v}, Lines: linesView{v},
		Desk: deskView{v}, Callbacks: callbackDeeds{v}, CaseDeeds: caseDeeds{v}, Reveals: revealDeeds{v}, Recordings: recordingsView{v}, Ledger: ledgerView{v}, Live: a.changes,
		History: historyView{v}, Team: teamView{v}, Trail: trailView{v}, Lists: listsView{v},
		Residents: residentsView{v}, ResidentChats: residentChats{v}, Chats: chatsView{v}, Worker: workerView{v}}
}

// staffNames remembers colleagues' names for a moment: a page names dozens.
type staffNames struct {
	users *users.Book
	now   func() time.Time

	mu   sync.Mutex
	at   time.Time
	list []users.User
	byID map[intake.UserID]users.User
}

func (s *staffNames) load(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID != nil && s.now().Sub(s.at) < 5*time.Second {
		return
	}
	list, err := s.users.List(ctx)
	if err != nil {
		return // yesterday's names are better than none
	}
	s.byID = make(map[intake.UserID]users.User, len(list))
	for _, u := range list {
		s.byID[u.ID] = u
	}
	s.list, s.at = list, s.now()
}

// staff is a colleague by id.
func (v *view) staff(ctx context.Context, id intake.UserID) web.Staff {
	if id == "" {
		return web.Staff{}
	}
	if id == byResident {
		return web.Staff{ID: id, Name: "居民本人"}
	}
	v.names.load(ctx)
	v.names.mu.Lock()
	defer v.names.mu.Unlock()
	if u, ok := v.names.byID[id]; ok {
		return web.Staff{ID: id, Name: u.Name}
	}
	return web.Staff{ID: id, Name: string(id)}
}

// operators who can be given work.
func (v *view) operators(ctx context.Context) []web.Staff {
	v.names.load(ctx)
	v.names.mu.Lock()
	defer v.names.mu.Unlock()
	var list []web.Staff
	for _, u := range v.names.list {
		if !u.Disabled && users.May(u.Role, users.CallBack) {
			list = append(list, web.Staff{ID: u.ID, Name: u.Name})
		}
	}
	return list
}

// plate is a grid's door plate.
func (v *view) plate(id intake.GridID) web.Plate {
	if id == "" {
		return web.Plate{}
	}
	p := web.Plate{ID: id, Place: string(id)}
	area, ok := v.cases.Registry().Grid(id)
	if !ok {
		return p
	}
	p.Place, p.Number = splitPlate(area.Name)
	p.Worker = area.Worker.Reveal() // a grid worker is a colleague: the plate says whom to ask
	return p
}

// splitPlate parts "梅苑 03" into place and number.
func splitPlate(name string) (place, number string) {
	i := strings.LastIndexFunc(name, func(r rune) bool { return (r < '0' || r > '9') && r != '-' })
	if i < 0 {
		return name, ""
	}
	_, size := utf8.DecodeRuneInString(name[i:])
	place, number = strings.TrimSpace(name[:i+size]), name[i+size:]
	return place, number
}

func (v *view) gridChoices() []web.Choice {
	r := v.cases.Registry()
	var list []web.Choice
	for _, g := range r.Grids() {
		group := ""
		if c, ok := r.Above(g.Code, routing.Community); ok {
			group = c.Name
		}
		list = append(list, web.Choice{Code: g.Code, Name: g.Name, Group: group})
	}
	return list
}

func (v *view) lineChoices() []web.Choice {
	var list []web.Choice
	if all := v.lines.Load(); all != nil {
		for _, l := range *all {
			list = append(list, web.Choice{Code: string(l.ID), Name: l.Name})
		}
	}
	return list
}

// person is a resident as a list may show them. A card says how they are called; a number with several people names nobody.
func (v *view) person(ctx context.Context, token intake.Token, number pii.Phone, name pii.Name) (web.Person, []residents.Card) {
	p := web.Person{Name: name, Number: number}
	cards, err := v.residents.ByToken(ctx, token)
	if token == "" || err != nil || len(cards) == 0 {
		return p, nil
	}
	p.Shared = len(cards) - 1
	if len(cards) == 1 {
		c := cards[0]
		p.Name = c.Name
		if len(c.Also) > 0 {
			p.Called = c.Also[0].Reveal() // 王阿姨: how one addresses them, no more than the family name
		}
		p.Notes = append(p.Notes, c.Notes...)
		if c.Older {
			p.Notes = append([]string{"老年"}, p.Notes...)
		}
	}
	return p, cards
}

// home is the grid and address of the caller's card, when the number is one person's.
func (v *view) home(cards []residents.Card) (web.Plate, pii.Address, intake.GridID) {
	if len(cards) == 0 {
		return web.Plate{}, pii.Address{}, ""
	}
	grid := sharedHome(cards)
	if grid != cards[0].Grid { // two who live apart: nobody knows which
		return web.Plate{}, pii.Address{}, ""
	}
	return v.plate(grid), cards[0].Address, grid
}

// seconds of milliseconds as a duration.
func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
