package app

import (
	"context"
	"errors"
	"net/netip"

	"yingda/channels/chat"
	"yingda/channels/webchat"
	"yingda/intake"
	"yingda/internal/pii"
	"yingda/web"
)

// talkError turns what the chat refuses into what a page has a sentence for.
func talkError(err error) error {
	switch {
	case errors.Is(err, webchat.ErrToken), errors.Is(err, webchat.ErrForbidden), errors.Is(err, webchat.ErrKey):
		return web.ErrNotFound
	case errors.Is(err, webchat.ErrOver):
		return web.ErrGone
	case errors.Is(err, webchat.ErrRefused), errors.Is(err, webchat.ErrTooMany):
		return web.ErrFull
	case errors.Is(err, webchat.ErrNumber):
		return web.ErrNumber
	case errors.Is(err, webchat.ErrNotYours):
		return web.ErrBusy
	case errors.Is(err, webchat.ErrFile):
		return web.FieldError{Field: "text", Sentence: webchat.Sentence(err)}
	case errors.Is(err, webchat.ErrText):
		return web.FieldError{Field: "text", Sentence: "请写点什么，最多 4000 字。"}
	}
	return err
}

// residentChats is a conversation without a script: the same conversations as those over the WebSocket.
type residentChats struct{ *view }

func (v residentChats) Start(ctx context.Context, h web.TalkStart) (string, error) {
	address, _ := netip.ParseAddr(h.Address)
	s, err := v.talks.Start(ctx, webchat.StartRequest{Key: h.Key, Line: h.Line, Origin: "page", Number: h.Number.Reveal(), Address: address})
	if err != nil {
		return "", talkError(err)
	}
	if h.Text.IsZero() {
		return s.Token, nil
	}
	return s.Token, v.Post(ctx, s.Token, "first", h.Text)
}

func (v residentChats) Post(ctx context.Context, secret, key string, text pii.Text) error {
	_, err := v.talks.Post(ctx, secret, key, text.Reveal(), nil)
	return talkError(err)
}

func (v residentChats) History(ctx context.Context, secret string, after uint64) (web.Talk, error) {
	p, err := v.talks.History(ctx, secret, int(min(after, 1<<30)))
	if err != nil {
		return web.Talk{}, talkError(err)
	}
	t := web.Talk{State: "waiting", Operator: p.State.Operator, Closed: chat.Stage(p.State.Stage) == chat.Closed || p.State.OpenAt != nil}
	switch chat.Stage(p.State.Stage) {
	case chat.Open:
		t.State = "open"
	case chat.Over:
		t.State = "ended"
	}
	if p.State.Number != "" {
		t.Promise = v.now().Add(v.Config.Books.Due)
	}
	for _, m := range p.Messages {
		line := web.TalkLine{Seq: uint64(m.Number), From: "office", Name: m.Name, Text: m.Text, At: m.At}
		if m.From == "you" {
			line.From, line.Name = "resident", ""
		}
		for i, f := range m.Files {
			file := &web.TalkFile{Name: f.Name, Path: "/r/chat/files/" + f.ID, Image: f.Width > 0, Bytes: f.Size}
			if i == 0 {
				line.File = file
			} else {
				t.Messages = append(t.Messages, line)
				line.Text, line.File = "", file
			}
		}
		t.Messages = append(t.Messages, line)
	}
	return t, nil
}

func (v residentChats) LeaveNumber(ctx context.Context, secret string, number pii.Phone) (web.Promise, error) {
	if err := v.talks.LeaveNumber(ctx, secret, number.Reveal(), "", false); err != nil {
		return web.Promise{}, talkError(err)
	}
	return web.Promise{Until: v.now().Add(v.Config.Books.Due)}, nil
}

func (v residentChats) End(ctx context.Context, secret string) error {
	return talkError(v.talks.End(ctx, secret))
}

// chatsView is the conversations of one operator.
type chatsView struct{ *view }

func (v chatsView) Mine(ctx context.Context, who web.Viewer) ([]web.ChatRow, error) {
	staff := staffOf(who.ID, who.Role)
	var list []web.ChatRow
	for _, o := range v.talks.Offers(staff) {
		row := v.listed(ctx, staff, o)
		row.State = "offered"
		if o.Until != nil {
			row.Until = *o.Until
		}
		list = append(list, row)
	}
	for _, o := range v.talks.Mine(staff) {
		list = append(list, v.listed(ctx, staff, o))
	}
	return list, nil
}

// listed is a conversation as the list shows it, with its last words.
func (v chatsView) listed(ctx context.Context, staff webchat.Staff, o webchat.Out) web.ChatRow {
	row := v.chatRow(ctx, o)
	if s := o.State; s != nil && s.Messages > 0 {
		if p, err := v.talks.Read(ctx, staff, o.Contact, s.Messages-1); err == nil {
			row.Last = lastWords(p.Messages)
		}
	}
	return row
}

// lastWords are those of the last message, or the name of its file.
func lastWords(list []webchat.Message) pii.Text {
	if len(list) == 0 {
		return pii.Text{}
	}
	m := list[len(list)-1]
	if m.Text == "" && len(m.Files) > 0 {
		m.Text = m.Files[0].Name
	}
	return pii.NewText(m.Text)
}

// chatRow is how a conversation stands, without its words.
func (v chatsView) chatRow(ctx context.Context, o webchat.Out) web.ChatRow {
	id := intake.ContactID(o.Contact)
	row := web.ChatRow{Contact: id, State: "open", Person: v.chatPerson(ctx, id, o.State)}
	s := o.State
	if s == nil {
		return row
	}
	row.Line = s.LineName
	if s.Waits != nil {
		row.Waits = *s.Waits
	}
	if !s.Present {
		row.State = "left"
	}
	row.Unread = o.Unread
	return row
}

// chatPerson is who it may be: by the number they left, else by nothing.
func (v chatsView) chatPerson(ctx context.Context, id intake.ContactID, s *webchat.State) web.Person {
	c, err := v.books.Contact(ctx, id)
	if err == nil && c.Caller != "" {
		p, _ := v.person(ctx, c.Caller, c.Number, c.Name)
		return p
	}
	if s != nil && s.Name != "" {
		return web.Person{Name: pii.NewName(s.Name)}
	}
	return web.Person{}
}

func (v chatsView) One(ctx context.Context, who web.Viewer, id intake.ContactID) (web.ChatPage, error) {
	staff := staffOf(who.ID, who.Role)
	p, err := v.talks.Read(ctx, staff, string(id), 0)
	if err != nil {
		return web.ChatPage{}, talkError(err)
	}
	stand := webchat.Out{Contact: string(id), State: &p.State}
	for _, o := range v.talks.Mine(staff) {
		if o.Contact == stand.Contact {
			stand.Seen, stand.Read, stand.Unread = o.Seen, o.Read, o.Unread
		}
	}
	out := web.ChatPage{ChatRow: v.chatRow(ctx, stand), Number: p.State.Number != "", SeenUpTo: uint64(max(stand.Seen, 0))}
	out.Last = lastWords(p.Messages)
	for _, o := range v.talks.Offers(staff) {
		if o.Contact == string(id) {
			out.State = "offered"
		}
	}
	if c, err := v.books.Contact(ctx, id); err == nil {
		_, cards := v.person(ctx, c.Caller, c.Number, c.Name)
		out.Home, _, _ = v.home(cards)
	}
	for _, m := range p.Messages {
		out.Messages = append(out.Messages, v.chatMessages(ctx, id, m)...)
	}
	seats, _, err := v.seats(ctx)
	if err != nil {
		return out, err
	}
	for _, s := range seats {
		if s.Operator != who.ID && v.desks.open(s.Operator) {
			out.To = append(out.To, v.staff(ctx, s.Operator))
		}
	}
	return out, nil
}

// chatMessages is a message, once for each of its files.
func (v chatsView) chatMessages(ctx context.Context, id intake.ContactID, m webchat.Message) []web.ChatMessage {
	one := web.ChatMessage{Seq: uint64(m.Number), At: m.At, Side: "resident", Text: pii.NewText(m.Text)}
	if m.From != "resident" {
		one.Side, one.By = "us", v.staff(ctx, intake.UserID(m.From))
	}
	if len(m.Files) == 0 {
		return []web.ChatMessage{one}
	}
	var list []web.ChatMessage
	for _, f := range m.Files {
		one.File = &web.ChatFile{Name: f.Name, URL: "/desk/chat/files/" + string(id) + "/" + f.ID, Image: f.Width > 0, Bytes: f.Size, Wide: f.Width, High: f.Height}
		list = append(list, one)
		one.Text = pii.Text{}
	}
	return list
}

// offerOf is the offer of a conversation to somebody.
func (v chatsView) offerOf(staff webchat.Staff, id intake.ContactID) string {
	for _, o := range v.talks.Offers(staff) {
		if o.Contact == string(id) {
			return o.Offer
		}
	}
	return ""
}

func (v chatsView) Accept(ctx context.Context, who web.Viewer, id intake.ContactID) error {
	staff := staffOf(who.ID, who.Role)
	return talkError(v.talks.Accept(ctx, staff, string(id), v.offerOf(staff, id)))
}

func (v chatsView) Decline(ctx context.Context, who web.Viewer, id intake.ContactID) error {
	staff := staffOf(who.ID, who.Role)
	return talkError(v.talks.Decline(ctx, staff, string(id), v.offerOf(staff, id)))
}

func (v chatsView) Say(ctx context.Context, who web.Viewer, id intake.ContactID, ref string, text pii.Text, files []string) error {
	_, err := v.talks.SayAs(ctx, staffOf(who.ID, who.Role), string(id), ref, text.Reveal(), files)
	return talkError(err)
}

// Seen is told over the desk's WebSocket; without one nobody is told.
func (v chatsView) Seen(context.Context, web.Viewer, intake.ContactID, uint64) error { return nil }

func (v chatsView) HandOver(ctx context.Context, who web.Viewer, id intake.ContactID, to intake.UserID, _ string) error {
	return talkError(v.talks.HandOver(ctx, staffOf(who.ID, who.Role), string(id), string(to)))
}

func (v chatsView) End(ctx context.Context, who web.Viewer, id intake.ContactID) error {
	return talkError(v.talks.EndAs(ctx, staffOf(who.ID, who.Role), string(id)))
}
