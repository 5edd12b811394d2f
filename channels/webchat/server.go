package webchat

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"yingda/channels"
	"yingda/channels/chat"
	"yingda/channels/sealed"
	"yingda/intake"
)

// Group is the name under which Apply reads the stream.
const Group = "chat"

// Server is the edge of all conversations of one board.
type Server struct {
	c         Config
	limits    Limits
	log       *slog.Logger
	uploads   chan struct{}
	files     sealed.Dir
	addresses addresses

	mu     sync.Mutex
	rooms  map[intake.ContactID]*room
	starts map[string]intake.ContactID // by contact.offered's dedupe key
	desks  map[intake.UserID]*desk
	refs   map[chat.Ref]func(chat.Done)
	next   uint64 // ref
	told   map[intake.ContactID][]told
	tidied time.Time // told
	conns  map[*conn]struct{}
	closed bool

	quit    chan struct{}
	wg      sync.WaitGroup // connections and the keeper
	stopped sync.Once
}

// room is one conversation that the board knows, with everything that was written in it.
type room struct {
	id        intake.ContactID
	dedupe    string
	view      chat.View
	messages  []channels.Message // all of them, by number
	unsafe    int                // messages from this number on are not durable; 0: all are
	logged    int                // number of the newest that Apply has seen
	through   intake.Sequence    // and its sequence
	residents map[*conn]struct{}
	ring      chat.Ring // who is asked; Offer "" nobody
	seen      [2]int    // up to which number the resident, and our side, has seen
	pace      bucket    // of the resident's messages
}

// desk is an operator's connections.
type desk struct {
	conns map[*conn]struct{}
	gone  *time.Timer // tells that they are gone, unless they come back
}

const (
	away     = 20 * time.Second // without a connection for that long, an operator is not at their desk
	rollCall = time.Hour
)

// New makes one. Nothing goes to the board before Restore or the first request.
func New(_ context.Context, c Config) (*Server, error) {
	if c.DB == nil || c.Dir == "" || c.Key == nil || len(c.Secret) < 32 || c.Send == nil || c.Line == nil || c.Caller == nil {
		return nil, errors.New("webchat: DB, Dir, Key, Secret (32 bytes), Send, Line and Caller must be set")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Named == nil {
		c.Named = func(intake.UserID) string { return "坐席" }
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("webchat: folder for files: %w", err)
	}
	s := &Server{c: c, limits: c.Limits.filled(), log: c.Logger, files: files(c), rooms: map[intake.ContactID]*room{}, starts: map[string]intake.ContactID{}, desks: map[intake.UserID]*desk{},
		refs: map[chat.Ref]func(chat.Done){}, told: map[intake.ContactID][]told{}, conns: map[*conn]struct{}{}, quit: make(chan struct{})}
	s.uploads = make(chan struct{}, s.limits.Uploads)
	s.addresses.open, s.addresses.starts = openMaps()
	s.wg.Go(s.keeper)
	return s, nil
}

func (s *Server) now() time.Time { return s.c.Now().UTC() }

// keeper is the goroutine "chat keeper".
func (s *Server) keeper() {
	every := time.NewTicker(rollCall)
	defer every.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-every.C:
			s.addresses.tidy(s.now())
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if err := s.Sweep(ctx); err != nil {
				s.log.Error("chat: files that nobody names could not be taken away", "err", err)
			}
			cancel()
		}
	}
}

// room gives the room of a conversation, made when there is none. With s.mu held.
func (s *Server) room(id intake.ContactID, dedupe string) *room {
	r := s.rooms[id]
	if r == nil {
		r = &room{id: id, dedupe: dedupe, residents: map[*conn]struct{}{}}
		s.rooms[id] = r
		if dedupe != "" {
			s.starts[dedupe] = id
		}
	}
	return r
}

// Do carries out what the board wants (all but ToQueue and Write, which it passes over), on the loop's goroutine. It never waits.
func (s *Server) Do(now time.Time, effects ...chat.Effect) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range effects {
		switch e := e.(type) {
		case chat.Changed:
			s.changed(e.View)
		case chat.Deliver:
			s.deliver(now, e)
		case chat.Safe:
			s.safe(e)
		case chat.Ring:
			r := s.room(e.Contact, "")
			r.ring = e
			s.showRing(r)
		case chat.Unring:
			s.unring(e)
		case chat.Done:
			if f := s.refs[e.Ref]; f != nil {
				delete(s.refs, e.Ref)
				f(e)
			}
		case chat.Forget:
			s.forget(e.Contact)
		}
	}
}

// changed tells both sides how a conversation stands.
func (s *Server) changed(v chat.View) {
	r := s.room(v.Contact, "")
	before := r.view
	r.view = v
	for c := range r.residents {
		s.sendState(c, r, "")
	}
	if before.Operator != "" && before.Operator != v.Operator && v.Stage != chat.Over {
		why := "moved"
		if v.Operator == "" {
			why = "queue"
		}
		for c := range s.at(before.Operator) {
			if v.Asked != before.Operator {
				delete(c.have, v.Contact)
			}
			c.send(Out{T: DownGone, Contact: string(v.Contact), Why: why})
		}
	}
	for c := range s.at(v.Operator) {
		s.sendState(c, r, v.Contact)
		s.catchUp(c, r)
	}
}

// at are the connections of an operator's desks.
func (s *Server) at(op intake.UserID) map[*conn]struct{} {
	if d := s.desks[op]; op != "" && d != nil {
		return d.conns
	}
	return nil
}

// deliver shows a message to both sides.
func (s *Server) deliver(now time.Time, e chat.Deliver) {
	r := s.room(e.Contact, "")
	before := r.newest()
	at := r.after(e.Message.Number - 1)
	switch {
	case at < len(r.messages) && r.messages[at].Number == e.Message.Number: // told twice
		return
	case at < len(r.messages) && !e.Late:
		s.log.Error("chat: a message out of order", "contact", e.Contact, "number", e.Message.Number, "newest", before)
		return
	}
	r.messages = slices.Insert(r.messages, at, e.Message)
	if e.Message.Number < before {
		s.between(r, e.Message)
		return
	}
	if e.Unsafe {
		if r.unsafe == 0 {
			r.unsafe = e.Message.Number
		}
		if e.Message.Number <= r.logged { // the log has caught up already
			s.c.Send(chat.Written{Contact: e.Contact, Through: r.through})
		}
	}
	for c := range r.residents {
		s.catchUp(c, r)
	}
	for _, op := range s.audience(r) {
		for c := range s.at(op) {
			s.catchUp(c, r)
		}
	}
	if m := s.c.Metrics.Delivered; m != nil && !e.Late {
		m(now.Sub(e.Message.At))
	}
}

// between shows a message that came late to those who have later ones.
func (s *Server) between(r *room, m channels.Message) {
	show := func(c *conn) {
		if c.have[r.id] >= m.Number && !c.claims[r.id] {
			c.send(s.out(r.id, m, c.staff.User, false))
		}
	}
	for c := range r.residents {
		show(c)
	}
	for _, op := range s.audience(r) {
		for c := range s.at(op) {
			show(c)
		}
	}
}

// newest is the number of the newest message, 0 without one.
func (r *room) newest() int {
	if len(r.messages) == 0 {
		return 0
	}
	return r.messages[len(r.messages)-1].Number
}

// after is the place of the first message whose number is higher.
func (r *room) after(n int) int {
	at, _ := slices.BinarySearchFunc(r.messages, n+1, func(m channels.Message, n int) int { return m.Number - n })
	return at
}

// unsure are the messages up to a number of which whoever has that one may lack some: those before the gap that another node has left, since they
// may have come late.
func unsure(list []channels.Message, n int) []channels.Message {
	run := 0 // where the numbers without a gap begin
	for i := range list {
		if list[i].Number > n {
			break
		}
		if i > 0 && list[i].Number != list[i-1].Number+1 {
			run = i
		}
	}
	return list[:run]
}

// since are the messages after a number, and before them those of which it is not sure that whoever has that one has them.
func since(list []channels.Message, n int) []channels.Message {
	at, _ := slices.BinarySearchFunc(list, n+1, func(m channels.Message, n int) int { return m.Number - n })
	return slices.Concat(unsure(list, n), list[at:])
}

// audience are the operators who see what is written.
func (s *Server) audience(r *room) []intake.UserID {
	if r.ring.Offer != "" && r.ring.Operator != r.view.Operator {
		return []intake.UserID{r.view.Operator, r.ring.Operator}
	}
	return []intake.UserID{r.view.Operator}
}

func (s *Server) safe(e chat.Safe) {
	r := s.room(e.Contact, "")
	if r.unsafe > e.Through {
		return
	}
	r.unsafe = 0
	if at := r.after(e.Through); at < len(r.messages) {
		r.unsafe = r.messages[at].Number
	}
	for c := range r.residents {
		c.send(Out{T: DownSafe, N: e.Through})
	}
	for _, op := range s.audience(r) {
		for c := range s.at(op) {
			c.send(Out{T: DownSafe, Contact: string(e.Contact), N: e.Through})
		}
	}
}

// logged: Apply has seen a message in the log, so it is durable.
func (s *Server) logged(id intake.ContactID, number int, seq intake.Sequence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[id]
	if r == nil {
		return
	}
	r.logged, r.through = max(r.logged, number), max(r.through, seq)
	if r.unsafe != 0 && number >= r.unsafe {
		s.c.Send(chat.Written{Contact: id, Through: seq})
	}
}

// erased: what was written there is to be forgotten.
func (s *Server) erased(id intake.ContactID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[id]; r != nil {
		for i := range r.messages {
			m := &r.messages[i]
			*m = channels.Message{Number: m.Number, Key: m.Key, From: m.From, At: m.At}
		}
	}
}

// showRing asks the operator at their desk.
func (s *Server) showRing(r *room) {
	for c := range s.at(r.ring.Operator) {
		s.sendRing(c, r)
	}
}

func (s *Server) sendRing(c *conn, r *room) {
	s.catchUp(c, r)
	c.send(s.offer(r))
	s.c.Send(chat.Shown{Contact: r.id, Offer: r.ring.Offer})
}

func (s *Server) offer(r *room) Out {
	return Out{T: DownOffer, Contact: string(r.id), Offer: string(r.ring.Offer), Until: ptr(r.ring.Until), By: string(r.ring.By), State: s.state(r.view, true), Unread: len(r.messages)}
}

func (s *Server) unring(e chat.Unring) {
	r := s.room(e.Contact, "")
	if r.ring.Offer == e.Offer {
		r.ring = chat.Ring{}
	}
	for c := range s.at(e.Operator) {
		if r.view.Operator != e.Operator {
			delete(c.have, e.Contact)
		}
		c.send(Out{T: DownUnoffer, Contact: string(e.Contact), Offer: string(e.Offer), Why: e.Why})
	}
}

func (s *Server) forget(id intake.ContactID) {
	r := s.rooms[id]
	if r == nil {
		return
	}
	delete(s.rooms, id)
	if s.starts[r.dedupe] == id {
		delete(s.starts, r.dedupe)
	}
}

// catchUp sends a connection the messages that it does not have. With s.mu held, so none is missed and none comes twice.
func (s *Server) catchUp(c *conn, r *room) {
	from := min(c.have[r.id], r.newest())
	if c.claims[r.id] {
		delete(c.claims, r.id)
		for _, m := range unsure(r.messages, from) {
			c.send(s.out(r.id, m, c.staff.User, false))
		}
	}
	for _, m := range r.messages[r.after(from):] {
		c.send(s.out(r.id, m, c.staff.User, r.unsafe != 0 && m.Number >= r.unsafe))
	}
	c.have[r.id] = r.newest()
}

// out is a message as a resident ("") or a desk sees it.
func (s *Server) out(id intake.ContactID, m channels.Message, staff intake.UserID, unsafe bool) Out {
	v := s.shown(m, staff, unsafe)
	o := Out{T: DownMessage, N: v.Number, Key: v.Key, Message: &v}
	if staff != "" {
		o.Contact = string(id)
	}
	return o
}

// shown is a message as a resident ("") or a desk sees it.
func (s *Server) shown(m channels.Message, staff intake.UserID, unsafe bool) Message {
	v := Message{Number: m.Number, From: m.From, At: m.At, Text: m.Text.Reveal(), Unsafe: unsafe}
	if !m.ByResident() {
		v.Name = s.c.Named(intake.UserID(m.From))
	}
	if staff == "" {
		v.From = "us"
		if m.ByResident() {
			v.From = "you"
		}
	}
	if staff == "" && m.ByResident() || staff != "" && m.From == string(staff) {
		v.Key = m.Key
	}
	for _, f := range m.Files {
		v.Files = append(v.Files, shownFile(f))
	}
	return v
}

// state is how a conversation stands for a resident, or for a desk.
func (s *Server) state(v chat.View, staff bool) *State {
	st := &State{Stage: string(v.Stage), Line: string(v.Line), Ahead: v.Ahead, WaitS: int(v.Estimate / time.Second), Arrived: v.Arrived.UTC().Truncate(time.Millisecond), Waits: ptr(v.Waits),
		Answered: ptr(v.Answered), EndsAt: ptr(v.EndsAt), Messages: v.Messages, Outcome: string(v.Outcome), Reason: v.Reason}
	if l, ok := s.c.Line(v.Line); ok {
		st.LineName, st.Phone = l.Name, l.Number
		if v.Stage == chat.Closed || v.Outcome == intake.AfterHours {
			st.OpenAt = ptr(l.Next)
		}
	}
	if !v.Number.IsZero() {
		st.Number = v.Number.String()
	}
	if v.Operator != "" {
		st.Operator = s.c.Named(v.Operator)
	}
	if staff {
		st.Operator, st.Name, st.Known, st.Present = string(v.Operator), v.Name.Reveal(), v.Known, v.Present
	}
	return st
}

// viewOf makes a view of what the tables have, for a conversation that the board has forgotten.
func viewOf(r chat.Record) chat.View {
	return chat.View{Contact: r.Contact, Line: r.Line, Stage: chat.Over, Arrived: r.Arrived, First: r.First, Number: r.Number, Name: r.Name, Token: r.Token, Known: r.Known, Answered: r.Answered,
		Ahead: -1, Messages: r.Messages, Outcome: r.Outcome, Reason: r.Reason}
}

func (s *Server) sendState(c *conn, r *room, contact intake.ContactID) {
	if contact == "" {
		c.send(Out{T: DownState, State: s.state(r.view, false), Seen: r.seen[1]})
		return
	}
	c.send(Out{T: DownChat, Contact: string(contact), State: s.state(r.view, true), Seen: r.seen[0]})
}

// ref registers who is to hear the answer to a request. With s.mu held.
func (s *Server) ref(f func(chat.Done)) chat.Ref {
	s.next++
	r := chat.Ref(strconv.FormatUint(s.next, 10))
	s.refs[r] = f
	return r
}

// ask puts a request to the board and waits for its answer.
func (s *Server) ask(ctx context.Context, in func(chat.Ref) chat.Input) (chat.Done, error) {
	answer := make(chan chat.Done, 1)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return chat.Done{}, fmt.Errorf("%w: the server goes", ErrLater)
	}
	ref := s.ref(func(d chat.Done) { answer <- d })
	s.c.Send(in(ref))
	s.mu.Unlock()
	select {
	case d := <-answer:
		return d, errorOf(d.Err)
	case <-ctx.Done():
	case <-s.quit:
	}
	s.mu.Lock()
	delete(s.refs, ref)
	s.mu.Unlock()
	return chat.Done{}, fmt.Errorf("%w: %w", ErrLater, context.Cause(ctx))
}

func errorOf(code string) error {
	switch code {
	case "":
		return nil
	case chat.ErrUnknown:
		return ErrToken
	case chat.ErrOver:
		return ErrOver
	case chat.ErrNotYours:
		return ErrNotYours
	case chat.ErrTooMany:
		return ErrTooMany
	case chat.ErrRefused:
		return ErrRefused
	}
	return ErrLater
}

// token is the credential of a conversation: it is made anew from the secret each time, so nothing need be kept for it to survive a restart.
func (s *Server) token(id intake.ContactID) string {
	return string(id) + "." + base64.RawURLEncoding.EncodeToString(s.mac("token", string(id)))
}

func (s *Server) mac(what, of string) []byte {
	h := hmac.New(sha256.New, s.c.Secret)
	h.Write([]byte("yingda.chat.v1/" + what + "|" + of))
	return h.Sum(nil)
}

// contact is whose token it is.
func (s *Server) contact(token string) (intake.ContactID, error) {
	id, _, ok := strings.Cut(token, ".")
	if !ok || len(token) > 200 || subtle.ConstantTimeCompare([]byte(s.token(intake.ContactID(id))), []byte(token)) != 1 {
		s.refused("token")
		return "", ErrToken
	}
	return intake.ContactID(id), nil
}

// dedupeOf is what contact.offered says of a start's key: the key itself would open the conversation to whoever reads the stream.
func (s *Server) dedupeOf(key string) string {
	return "chat/" + hex.EncodeToString(s.mac("start", key)[:20])
}

func (s *Server) refused(why string) {
	if f := s.c.Metrics.Refused; f != nil {
		f(why)
	}
}

// Close ends every connection with 1012: they come back to the next start. It returns when they are closed, or ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.stopped.Do(func() {
		s.mu.Lock()
		s.closed = true
		for c := range s.conns {
			c.end(closeRestart, "the server goes, come again")
		}
		for _, d := range s.desks {
			if d.gone != nil {
				d.gone.Stop()
			}
		}
		s.mu.Unlock()
		close(s.quit)
	})
	done := make(chan struct{})
	go func() { defer close(done); s.wg.Wait() }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
