package webchat

import (
	"context"
	"errors"
	"time"

	"yingda/channels/chat"
	"yingda/intake"
)

// desk takes a frame of an operator's desk.
func (c *conn) desk(ctx context.Context, in In) {
	s, op := c.s, c.staff.User
	id := intake.ContactID(in.Contact)
	switch in.T {
	case UpHello:
		c.deskHello(in)
	case UpPing:
		c.send(Out{T: DownPong})
	case UpSay:
		c.say(ctx, id, string(op), in)
	case UpTyping:
		if s.has(op, id) && c.mayTell() {
			s.tellResident(id, Out{T: DownTyping})
		}
	case UpSeen:
		s.mu.Lock()
		if r := s.rooms[id]; r != nil && r.view.Operator == op && in.N > r.seen[1] && in.N <= r.newest() {
			r.seen[1] = in.N
			for conn := range r.residents {
				conn.send(Out{T: DownSeen, N: in.N})
			}
		}
		s.mu.Unlock()
	case UpAccept:
		c.ask(in, func(ref chat.Ref) chat.Input {
			return chat.Accept{Ref: ref, Contact: id, Operator: op, Offer: intake.OfferID(in.Offer)}
		})
	case UpDecline:
		c.ask(in, func(ref chat.Ref) chat.Input {
			return chat.Decline{Ref: ref, Contact: id, Operator: op, Offer: intake.OfferID(in.Offer)}
		})
	case UpHand:
		c.ask(in, func(ref chat.Ref) chat.Input {
			return chat.Hand{Ref: ref, Contact: id, Operator: op, To: intake.UserID(in.To)}
		})
	case UpEnd:
		c.ask(in, func(ref chat.Ref) chat.Input { return chat.End{Ref: ref, Contact: id, Operator: op} })
	case UpRead:
		p, err := s.Read(ctx, c.staff, in.Contact, in.After)
		if err != nil {
			c.fail(in, codeOf(err))
			return
		}
		for _, m := range p.Messages {
			c.send(Out{T: DownMessage, Contact: in.Contact, Ref: in.Ref, N: m.Number, Key: m.Key, Message: &m})
		}
		c.send(Out{T: DownDone, Contact: in.Contact, Ref: in.Ref, State: &p.State, Last: p.State.Messages})
	}
}

// deskHello: an operator's desk comes, or comes back. It is sent what is theirs and what they are asked.
func (c *conn) deskHello(in In) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range in.Have {
		c.have[intake.ContactID(id)], c.claims[intake.ContactID(id)] = n, true
	}
	d := s.desks[c.staff.User]
	if d == nil {
		d = &desk{conns: map[*conn]struct{}{}}
		s.desks[c.staff.User] = d
	}
	if c.staff.Desk {
		d.conns[c] = struct{}{}
		if d.gone != nil && !d.gone.Stop() {
			d.gone = nil
		}
		if f := s.c.AtDesk; f != nil && len(d.conns) == 1 && d.gone == nil {
			f(c.staff.User, true)
		}
		d.gone = nil
	}
	c.send(Out{T: DownWelcome, V: 1, Ref: in.Ref, Limits: s.allowed()})
	for _, r := range s.sorted() {
		if r.view.Operator == c.staff.User && r.view.Stage != chat.Over {
			s.sendState(c, r, r.id)
			s.catchUp(c, r)
		}
		if r.ring.Offer != "" && r.ring.Operator == c.staff.User {
			s.sendRing(c, r)
		}
	}
}

// sorted are the rooms in the order in which they began. With s.mu held.
func (s *Server) sorted() []*room {
	list := make([]*room, 0, len(s.rooms))
	for _, r := range s.rooms {
		list = append(list, r)
	}
	sortRooms(list)
	return list
}

// leaveDesk: one of an operator's connections is over. With s.mu held.
func (s *Server) leaveDesk(c *conn) {
	op := c.staff.User
	d := s.desks[op]
	if d == nil {
		return
	}
	if _, was := d.conns[c]; !was {
		return
	}
	delete(d.conns, c)
	if len(d.conns) > 0 || s.closed {
		return
	}
	d.gone = time.AfterFunc(away, func() { // a page that is loaded again is back before that
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(d.conns) > 0 || s.closed {
			return
		}
		delete(s.desks, op)
		if f := s.c.AtDesk; f != nil {
			f(op, false)
		}
	})
}

// has says whether that operator has the conversation now.
func (s *Server) has(op intake.UserID, id intake.ContactID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[id]
	return r != nil && op != "" && r.view.Operator == op
}

func (s *Server) tellResident(id intake.ContactID, o Out) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[id]; r != nil {
		for conn := range r.residents {
			conn.send(o)
		}
	}
}

// Read is a conversation as staff sees it, live or long over, with the messages after that number. Errors: ErrForbidden, ErrToken when there is none.
func (s *Server) Read(ctx context.Context, who Staff, contact string, after int) (Page, error) {
	if who.User == "" || !who.SeeAny && !s.concerned(who.User, intake.ContactID(contact)) {
		return Page{}, ErrForbidden
	}
	p, _, err := s.page(ctx, intake.ContactID(contact), who.User, after)
	return p, err
}

// concerned says whether the operator has it, or is asked to take it.
func (s *Server) concerned(op intake.UserID, id intake.ContactID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[id]
	return r != nil && (r.view.Operator == op || r.ring.Offer != "" && r.ring.Operator == op)
}

func (s *Server) deed(ctx context.Context, who Staff, f func(chat.Ref) chat.Input) error {
	if who.User == "" || !who.Desk {
		return ErrForbidden
	}
	_, err := s.ask(ctx, f)
	return err
}

// Accept, Decline, SayAs, HandOver and EndAs are what an operator does at a desk that has no WebSocket. Errors: ErrForbidden, ErrNotYours, ErrOver,
// ErrToken when there is none; of SayAs those of Post.
func (s *Server) Accept(ctx context.Context, who Staff, contact, offer string) error {
	return s.deed(ctx, who, func(ref chat.Ref) chat.Input {
		return chat.Accept{Ref: ref, Contact: intake.ContactID(contact), Operator: who.User, Offer: intake.OfferID(offer)}
	})
}

// Decline: see Accept.
func (s *Server) Decline(ctx context.Context, who Staff, contact, offer string) error {
	return s.deed(ctx, who, func(ref chat.Ref) chat.Input {
		return chat.Decline{Ref: ref, Contact: intake.ContactID(contact), Operator: who.User, Offer: intake.OfferID(offer)}
	})
}

// SayAs: see Accept.
func (s *Server) SayAs(ctx context.Context, who Staff, contact, key, text string, files []string) (int, error) {
	if who.User == "" || !who.Desk {
		return 0, ErrForbidden
	}
	return s.post(ctx, intake.ContactID(contact), string(who.User), key, text, files)
}

// HandOver hands it to another operator, or with to "" back to the queue: see Accept.
func (s *Server) HandOver(ctx context.Context, who Staff, contact, to string) error {
	return s.deed(ctx, who, func(ref chat.Ref) chat.Input {
		return chat.Hand{Ref: ref, Contact: intake.ContactID(contact), Operator: who.User, To: intake.UserID(to)}
	})
}

// EndAs: see Accept.
func (s *Server) EndAs(ctx context.Context, who Staff, contact string) error {
	return s.deed(ctx, who, func(ref chat.Ref) chat.Input {
		return chat.End{Ref: ref, Contact: intake.ContactID(contact), Operator: who.User}
	})
}

// Offers lists what the operator is asked to take now, and Mine what they have: for a desk that has no WebSocket, and for the desk's first page.
func (s *Server) Offers(who Staff) []Out {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Out
	for _, r := range s.sorted() {
		if who.User != "" && r.ring.Offer != "" && r.ring.Operator == who.User {
			list = append(list, s.offer(r))
		}
	}
	return list
}

// Mine: see Offers.
func (s *Server) Mine(who Staff) []Out {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Out
	for _, r := range s.sorted() {
		if who.User != "" && r.view.Operator == who.User && r.view.Stage != chat.Over {
			o := Out{T: DownChat, Contact: string(r.id), State: s.state(r.view, true), Seen: r.seen[0], Read: r.seen[1]}
			o.Unread = len(r.messages) - r.after(o.Read)
			list = append(list, o)
		}
	}
	return list
}

// codeOf is an error's code in frames and answers; Sentence says it to a person.
func codeOf(err error) string {
	for _, c := range []struct {
		err  error
		code string
	}{{errSlow, "slow_down"}, {ErrToken, "token"}, {ErrOver, "over"}, {ErrRefused, "refused"}, {ErrTooMany, "too_many"}, {ErrText, "text"}, {ErrKey, "key"}, {ErrNumber, "number"},
		{ErrFile, "file"}, {ErrNotYours, "not_yours"}, {ErrForbidden, "forbidden"}} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return "later"
}

var sentences = map[string]string{
	"bad_frame": "页面发来的内容读不懂，请刷新页面再试。",
	"slow_down": "发得太快了，请稍等一下再发。",
	"token":     "找不到这次对话，请重新开始。",
	"over":      "这次对话已经结束。可以留下电话，我们打给您；也可以重新开始。",
	"refused":   "现在没有办法在这里对话，请直接拨打热线电话。",
	"too_many":  "太多了，请稍后再试，或直接拨打热线电话。",
	"text":      "没有写内容，或者写得太长了。",
	"key":       "页面出了问题，请刷新页面再试。",
	"number":    "这个电话号码打不通，请检查一下有没有写错。",
	"file":      "这个文件不能接收：请发 JPG、PNG、WebP、GIF 图片或 PDF，并且不要太大。",
	"not_yours": "这个对话已经不在您这里了。",
	"forbidden": "您没有权限做这件事。",
	"later":     "还没有存好，请稍后再发一次；不会重复。",
}

// Sentence is what a person is told of an error of this package.
func Sentence(err error) string { return sentences[codeOf(err)] }

// fail tells the browser that something cannot be done, and why.
func (c *conn) fail(in In, code string) {
	c.send(Out{T: DownError, Ref: in.Ref, Key: in.Key, Contact: in.Contact, Code: code, Say: sentences[code]})
}
