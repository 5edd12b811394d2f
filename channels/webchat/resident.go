package webchat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"yingda/channels"
	"yingda/channels/chat"
	"yingda/intake"
	"yingda/internal/pii"
)

func gone(id intake.ContactID) chat.Input { return chat.Gone{Contact: id} }

// Refusal is an ErrRefused that says why.
type Refusal struct {
	Outcome intake.Outcome
	Reason  string // blocked, overload, shutting_down, unknown_line
	Phone   string // of the line, to be called instead
}

func (r *Refusal) Error() string { return fmt.Sprintf("%v: %s", ErrRefused, r.Reason) }

// Is makes it an ErrRefused.
func (r *Refusal) Is(err error) bool { return err == ErrRefused }

// Start begins a conversation. It returns when it is written down (or when the disk did not take it in time: then it goes on unwritten).
// Errors: ErrRefused (a *Refusal), ErrTooMany, ErrKey, ErrNumber, ErrLater.
func (s *Server) Start(ctx context.Context, r StartRequest) (Session, error) {
	if !channels.KeyFits(r.Key) || len(r.Key) < 16 {
		return Session{}, ErrKey
	}
	in := chat.Start{Line: r.Line, Origin: cutText(r.Origin, 200), Dedupe: s.dedupeOf(r.Key), Name: pii.NewName(cutText(r.Name, 64))}
	id, err := s.byDedupe(ctx, in.Dedupe)
	if err != nil {
		return Session{}, fmt.Errorf("%w: %w", ErrLater, err)
	}
	if id != "" {
		return Session{s.token(id), id}, nil
	}
	line, known := s.c.Line(r.Line)
	if known {
		in.Line = line.ID
	}
	in.Closed = line.Closed
	if r.Number != "" {
		if in.Number, in.Caller, err = s.caller(ctx, r.Number, in.Line); err != nil {
			return Session{}, err
		}
	}
	s.mu.Lock()
	if old, ok := s.starts[in.Dedupe]; ok {
		in.Contact = old
	} else {
		if !s.addresses.start(orUnknown(r.Address), s.now(), s.limits) {
			s.mu.Unlock()
			s.refused("address")
			return Session{}, ErrTooMany
		}
		in.Contact = intake.ContactID(s.c.NewID())
		s.starts[in.Dedupe] = in.Contact
		s.room(in.Contact, in.Dedupe)
	}
	s.mu.Unlock()
	_, err = s.ask(ctx, func(ref chat.Ref) chat.Input { in.Ref = ref; return in })
	if errors.Is(err, ErrRefused) {
		s.mu.Lock()
		v := s.room(in.Contact, in.Dedupe).view
		s.mu.Unlock()
		return Session{s.token(in.Contact), in.Contact}, &Refusal{v.Outcome, v.Reason, line.Number}
	}
	if err != nil {
		return Session{}, err
	}
	return Session{s.token(in.Contact), in.Contact}, nil
}

func orUnknown(a netip.Addr) netip.Addr {
	if !a.IsValid() {
		return netip.IPv4Unspecified()
	}
	return a
}

func cutText(text string, limit int) string {
	t, err := channels.Clean(text, 0)
	if err != nil {
		return ""
	}
	t = strings.ReplaceAll(t, "\n", " ")
	if r := []rune(t); len(r) > limit {
		return string(r[:limit])
	}
	return t
}

// caller makes of a number that a resident has typed one that can be called.
func (s *Server) caller(ctx context.Context, number string, line intake.LineID) (pii.Phone, channels.Caller, error) {
	n := pii.NewPhone(number)
	if n.IsZero() {
		return n, channels.Caller{}, ErrNumber
	}
	c := s.c.Caller(ctx, n, line)
	if c.Token == "" {
		return n, c, ErrNumber
	}
	return n, c, nil
}

// Post writes a message for the resident. It returns its number when it is durable. The same key again is the same message. Files are ids that Upload gave.
// Errors: ErrToken, ErrOver, ErrText, ErrKey, ErrFile, ErrTooMany, ErrLater (then it may be sent again under the same key).
func (s *Server) Post(ctx context.Context, token, key, text string, files []string) (int, error) {
	id, err := s.contact(token)
	if err != nil {
		return 0, err
	}
	return s.post(ctx, id, channels.Resident, key, text, files)
}

func (s *Server) post(ctx context.Context, id intake.ContactID, from, key, text string, files []string) (int, error) {
	in, err := s.saying(ctx, id, from, key, text, files)
	if err != nil {
		return 0, err
	}
	d, err := s.ask(ctx, func(ref chat.Ref) chat.Input { in.Ref = ref; return in })
	return d.Number, err
}

// saying judges what somebody wants to write.
func (s *Server) saying(ctx context.Context, id intake.ContactID, from, key, text string, files []string) (chat.Say, error) {
	in := chat.Say{Contact: id, From: from, Key: key}
	if !channels.KeyFits(key) {
		return in, ErrKey
	}
	if err := s.live(ctx, id); err != nil {
		return in, err
	}
	text, err := channels.Clean(text, s.limits.Text)
	if err != nil && !(errors.Is(err, channels.ErrEmpty) && len(files) > 0) {
		return in, fmt.Errorf("%w: %w", ErrText, err)
	}
	if in.Files, err = s.named(ctx, id, from, files); err != nil {
		return in, err
	}
	in.Text = pii.NewText(text)
	if from == channels.Resident {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r := s.rooms[id]; r != nil && !r.pace.take(s.now(), float64(s.limits.Messages)/2, float64(s.limits.Messages)/60) {
			s.refused("flood")
			return in, errSlow
		}
	}
	return in, nil
}

var errSlow = fmt.Errorf("%w: too fast", ErrTooMany)

// History is the conversation as it stands, with the messages after that number. It tells the board that the resident was there just now.
// Errors: ErrToken.
func (s *Server) History(ctx context.Context, token string, after int) (Page, error) {
	id, err := s.contact(token)
	if err != nil {
		return Page{}, err
	}
	p, live, err := s.page(ctx, id, "", after)
	if live {
		s.c.Send(chat.Here{Contact: id, Passing: true})
	}
	return p, err
}

// page reads a conversation, out of memory when the board knows it (live), else out of the tables.
func (s *Server) page(ctx context.Context, id intake.ContactID, staff intake.UserID, after int) (p Page, live bool, err error) {
	after = max(after, 0)
	s.mu.Lock()
	if r := s.rooms[id]; r != nil && r.view.Contact != "" {
		p.State = *s.state(r.view, staff != "")
		for _, m := range since(r.messages, after) {
			p.Messages = append(p.Messages, s.shown(m, staff, r.unsafe != 0 && m.Number >= r.unsafe))
		}
		s.mu.Unlock()
		return p, true, nil
	}
	s.mu.Unlock()
	rec, found, err := s.record(ctx, id)
	if err != nil {
		return p, false, fmt.Errorf("%w: %w", ErrLater, err)
	}
	if !found {
		return p, false, ErrToken
	}
	p.State = *s.state(viewOf(rec), staff != "")
	list, err := s.history(ctx, id)
	if err != nil {
		return p, false, fmt.Errorf("%w: %w", ErrLater, err)
	}
	for _, m := range since(list, after) {
		p.Messages = append(p.Messages, s.shown(m, staff, false))
	}
	return p, false, nil
}

// LeaveNumber leaves a number to be called back on; call: and call me rather than let me wait, which ends the conversation when nobody has replied.
// Also after its end. Errors: ErrToken, ErrNumber, ErrLater.
func (s *Server) LeaveNumber(ctx context.Context, token, number, name string, call bool) error {
	id, err := s.contact(token)
	if err != nil {
		return err
	}
	return s.leaveNumber(ctx, id, number, name, call)
}

func (s *Server) leaveNumber(ctx context.Context, id intake.ContactID, number, name string, call bool) error {
	if err := s.live(ctx, id); err != nil {
		return err
	}
	s.mu.Lock()
	var line intake.LineID
	if r := s.rooms[id]; r != nil {
		line = r.view.Line
	}
	s.mu.Unlock()
	n, c, err := s.caller(ctx, number, line)
	if err != nil {
		return err
	}
	_, err = s.ask(ctx, func(ref chat.Ref) chat.Input {
		return chat.LeaveNumber{Ref: ref, Contact: id, Number: n, Name: pii.NewName(cutText(name, 64)), Caller: c, Call: call}
	})
	return err
}

// End ends it for the resident. Ending what has ended is no error. Errors: ErrToken, ErrLater.
func (s *Server) End(ctx context.Context, token string) error {
	id, err := s.contact(token)
	if err != nil {
		return err
	}
	if err := s.live(ctx, id); err != nil {
		return err
	}
	_, err = s.ask(ctx, func(ref chat.Ref) chat.Input { return chat.Bye{Ref: ref, Contact: id} })
	return err
}

// Upload takes a file that a message will name; name is what its writer calls it, or "". Type and size are judged by its bytes; pictures are made anew, without what a camera writes into them.
// Errors: ErrToken, ErrOver, ErrFile, ErrTooMany, ErrLater.
func (s *Server) Upload(ctx context.Context, token, name string, r io.Reader) (File, error) {
	id, err := s.contact(token)
	if err != nil {
		return File{}, err
	}
	if err := s.open(ctx, id); err != nil {
		return File{}, err
	}
	f, err := s.upload(ctx, id, channels.Resident, name, r)
	if err != nil {
		s.refused("file")
	}
	return shownFile(f), err
}

// open says whether something may still be written there.
func (s *Server) open(ctx context.Context, id intake.ContactID) error {
	if err := s.live(ctx, id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[id]; r != nil && r.view.Stage == chat.Over {
		return ErrOver
	}
	return nil
}

// OpenFile gives a file of the resident's own conversation. Errors: ErrToken, ErrFile.
func (s *Server) OpenFile(ctx context.Context, token, fid string) (File, []byte, error) {
	id, err := s.contact(token)
	if err != nil {
		return File{}, nil, err
	}
	f, raw, err := s.read(ctx, id, fid)
	return shownFile(f), raw, err
}

// resident takes a frame of a resident's browser.
func (c *conn) resident(ctx context.Context, in In) {
	s := c.s
	s.mu.Lock()
	id := c.contact
	s.mu.Unlock()
	switch in.T {
	case UpHello:
		c.hello(ctx, in)
		return
	case UpPing:
		c.send(Out{T: DownPong})
		return
	case UpStart:
		if id != "" {
			c.fail(in, "bad_frame")
			return
		}
		session, err := s.Start(ctx, StartRequest{Key: in.Key, Line: intake.LineID(in.Line), Origin: c.page, Number: in.Number, Name: in.Name, Address: c.from})
		if err != nil && !errors.Is(err, ErrRefused) {
			c.fail(in, codeOf(err))
			return
		}
		if err != nil {
			c.fail(in, codeOf(err))
		}
		c.enter(session.Contact, in.After, Out{T: DownStarted, Ref: in.Ref, Token: session.Token})
		return
	}
	if id == "" {
		switch in.T {
		case UpSay, UpTyping, UpSeen, UpNumber, UpBye:
			c.fail(in, "token")
		}
		return
	}
	switch in.T {
	case UpSay:
		c.say(ctx, id, channels.Resident, in)
	case UpTyping:
		if c.mayTell() {
			s.tellDesk(id, Out{T: DownTyping, Contact: string(id)})
		}
	case UpSeen:
		s.mu.Lock()
		if r := s.rooms[id]; r != nil && in.N > r.seen[0] && in.N <= r.newest() {
			r.seen[0] = in.N
			for conn := range s.at(r.view.Operator) {
				conn.send(Out{T: DownSeen, Contact: string(id), N: in.N})
			}
		}
		s.mu.Unlock()
	case UpNumber:
		if err := s.leaveNumber(ctx, id, in.Number, in.Name, in.Call); err != nil {
			c.fail(in, codeOf(err))
			return
		}
		c.send(Out{T: DownDone, Ref: in.Ref})
	case UpBye:
		if err := s.live(ctx, id); err != nil {
			c.fail(in, codeOf(err))
			return
		}
		c.ask(in, func(ref chat.Ref) chat.Input { return chat.Bye{Ref: ref, Contact: id} })
	}
}

// mayTell keeps typing to once a second.
func (c *conn) mayTell() bool {
	now := c.s.now()
	if now.Sub(c.typed) < time.Second {
		return false
	}
	c.typed = now
	return true
}

// tellDesk sends something that is not kept to whoever has the conversation.
func (s *Server) tellDesk(id intake.ContactID, o Out) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[id]; r != nil {
		for conn := range s.at(r.view.Operator) {
			conn.send(o)
		}
	}
}

// say writes a message; its tick comes when it is durable.
func (c *conn) say(ctx context.Context, id intake.ContactID, from string, in In) {
	say, err := c.s.saying(ctx, id, from, in.Key, in.Text, in.Files)
	if err != nil {
		c.fail(in, codeOf(err))
		return
	}
	contact := ""
	if c.staff.User != "" {
		contact = string(id)
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	say.Ref = c.s.ref(func(d chat.Done) {
		if d.Err == "" {
			c.send(Out{T: DownTick, Contact: contact, Key: in.Key, N: d.Number})
			return
		}
		c.fail(in, codeOf(errorOf(d.Err)))
	})
	c.s.c.Send(say)
}

// ask puts a request to the board; done or error follows.
func (c *conn) ask(in In, f func(chat.Ref) chat.Input) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	ref := c.s.ref(func(d chat.Done) {
		if d.Err == "" {
			c.send(Out{T: DownDone, Ref: in.Ref, Contact: in.Contact})
			return
		}
		c.fail(in, codeOf(errorOf(d.Err)))
	})
	c.s.c.Send(f(ref))
}

// hello: a browser comes, or comes back.
func (c *conn) hello(ctx context.Context, in In) {
	s := c.s
	welcome := Out{T: DownWelcome, V: 1, Ref: in.Ref, Limits: s.allowed()}
	if in.Token == "" {
		c.send(welcome)
		return
	}
	id, err := s.contact(in.Token)
	if err == nil {
		_, _, err = s.exists(ctx, id)
	}
	if err != nil {
		c.send(welcome)
		c.fail(in, codeOf(err))
		return
	}
	c.enter(id, in.After, welcome)
}

// exists makes sure that there is such a conversation.
func (s *Server) exists(ctx context.Context, id intake.ContactID) (chat.Record, bool, error) {
	s.mu.Lock()
	live := s.rooms[id] != nil
	s.mu.Unlock()
	if live {
		return chat.Record{}, true, nil
	}
	rec, found, err := s.record(ctx, id)
	switch {
	case err != nil:
		return rec, false, fmt.Errorf("%w: %w", ErrLater, err)
	case !found:
		return rec, false, ErrToken
	}
	return rec, false, s.live(ctx, id)
}

// enter takes the connection into its conversation: from here on it is sent everything that is written.
func (c *conn) enter(id intake.ContactID, after int, first Out) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.contact != "" && c.contact != id {
		c.fail(In{Ref: first.Ref}, "bad_frame")
		return
	}
	r := s.room(id, "")
	c.contact, c.have[id], c.claims[id] = id, after, true
	r.residents[c] = struct{}{}
	if r.view.Contact != "" { // else the board will say presently how it stands
		first.State, first.Seen = s.state(r.view, false), r.seen[1]
	}
	c.send(first)
	s.catchUp(c, r)
	s.c.Send(chat.Here{Contact: id})
}

func (s *Server) allowed() *Allowed {
	return &Allowed{Text: s.limits.Text, Files: s.limits.Files, FileBytes: s.limits.FileBytes, Types: types()}
}
