package webchat

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"yingda/channels"
	"yingda/channels/chat"
	"yingda/intake"
	"yingda/intake/queue"
	"yingda/intake/stream"
	"yingda/intake/stream/sqllog"
	"yingda/intake/wire"
	"yingda/internal/loop"
	"yingda/internal/pii"
	"yingda/internal/store"
)

type months struct{}

func (months) Month(m string) ([]byte, error) {
	sum := sha256.Sum256([]byte(m))
	return sum[:], nil
}

// office is a hotline that has nothing but a chat: log, tables, loop, queue, board and edge, joined as the program joins them.
type office struct {
	db     *store.DB
	log    *sqllog.Log
	queue  *queue.Queue
	board  *chat.Board
	loop   *loop.Loop[any, any]
	server *Server
	http   *httptest.Server
	said   *lines
	closed atomic.Bool // the line is out of its hours
	broken atomic.Bool // the disk does not write

	writes   chan chat.Write
	stop     []func()
	killed   atomic.Bool
	atDesk   sync.Map
	staffOut sync.Map     // who may not any more, or why that is not known
	asked    atomic.Int64 // how often the server asked who somebody is
}

// lines is a log to look into.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// hall is what the program's own does: what one machine says goes to the other at once.
type hall struct {
	queue *queue.Queue
	board *chat.Board
}

func (h *hall) Step(now time.Time, in any) []any {
	switch in := in.(type) {
	case chat.Input:
		return h.fromBoard(now, nil, h.board.Step(now, in))
	case queue.Input:
		return h.fromQueue(now, nil, h.queue.Step(now, in))
	}
	panic(fmt.Sprintf("%T", in))
}

func (h *hall) Wake(now time.Time) (out []any) {
	if d := h.queue.Deadline(); !d.IsZero() && !d.After(now) {
		out = h.fromQueue(now, out, h.queue.Wake(now))
	}
	if d := h.board.Deadline(); !d.IsZero() && !d.After(now) {
		out = h.fromBoard(now, out, h.board.Wake(now))
	}
	return out
}

func (h *hall) Deadline() time.Time {
	a, b := h.queue.Deadline(), h.board.Deadline()
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (h *hall) fromBoard(now time.Time, out []any, effects []chat.Effect) []any {
	for _, e := range effects {
		if to, ok := e.(chat.ToQueue); ok {
			out = h.fromQueue(now, out, h.queue.Step(now, to.Input))
			continue
		}
		out = append(out, e)
	}
	return out
}

func (h *hall) fromQueue(now time.Time, out []any, effects []queue.Effect) []any {
	for _, e := range effects {
		switch e.(type) {
		case queue.StateChanged, queue.Notice:
		default:
			out = h.fromBoard(now, out, h.board.Step(now, chat.FromQueue{Effect: e}))
		}
	}
	return out
}

func secret() []byte { return bytes.Repeat([]byte{7}, 32) }

// open starts an office over the folder. Twice over the same folder, one after the other, is a restart.
func open(tb testing.TB, dir string, set chat.Settings, limits Limits) *office {
	tb.Helper()
	return openAfter(tb, dir, set, limits, 0)
}

// openAfter starts one for which the epochs before that were another node's.
func openAfter(tb testing.TB, dir string, set chat.Settings, limits Limits, others uint32) *office {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	ctx := context.Background()
	o := &office{said: &lines{}, writes: make(chan chat.Write, 100_000)}
	l := slog.New(slog.NewTextHandler(o.said, nil))
	var err error
	o.db, err = store.Open(ctx, filepath.Join(dir, "tables.db"))
	must(err)
	codec := wire.New(months{})
	o.db.UseEncoder(codec)
	epoch, err := o.db.NextEpoch(ctx)
	must(err)
	o.log, err = sqllog.Open(ctx, filepath.Join(dir, "log.db"), sqllog.Config{Codec: codec, Ballast: -1, Logger: l})
	must(err)
	now := loop.Clock()
	o.queue = queue.New(queue.Config{Settings: queue.Settings{Misses: -1}, NewOffer: func() intake.OfferID { return intake.OfferID(uuid.NewString()) }})
	o.board = chat.New(chat.Config{ID: "main", Source: "yingda/test", Epoch: epoch, NewOffer: func() intake.OfferID { return intake.OfferID(uuid.NewString()) }})
	o.loop = loop.New[any, any](&hall{o.queue, o.board}, o.do, loop.Config[any]{Now: now, Logger: l})
	o.server, err = New(ctx, Config{DB: o.db, Dir: filepath.Join(dir, "files"), Secret: secret(), Send: func(in chat.Input) { o.loop.Send(in) }, Now: now, Logger: l, Limits: limits, OthersBefore: others,
		Key: func(id string, at time.Time) ([]byte, error) {
			sum := sha256.Sum256([]byte(id + at.UTC().Format("2006-01")))
			return sum[:], nil
		},
		Line: func(id intake.LineID) (Line, bool) {
			if id != "" && id != "12345" {
				return Line{}, false
			}
			return Line{ID: "12345", Name: "热线", Number: "12345", Closed: o.closed.Load()}, true
		},
		Caller: func(_ context.Context, n pii.Phone, _ intake.LineID) channels.Caller {
			if strings.HasPrefix(n.Reveal(), "999") {
				return channels.Caller{}
			}
			return channels.Caller{Token: wire.Token(secret(), n), Blocked: strings.HasPrefix(n.Reveal(), "888")}
		},
		Origins: func() []string { return []string{"https://www.example.gov.cn", "https://*.street.example"} },
		Staff: func(r *http.Request) (Staff, error) {
			defer o.asked.Add(1)
			op := r.Header.Get("X-Operator")
			if v, out := o.staffOut.Load(op); out || op == "" {
				if err, ok := v.(error); ok {
					return Staff{}, err
				}
				return Staff{}, ErrNobody
			}
			return Staff{User: intake.UserID(op), Desk: op != "super", SeeAny: op == "super"}, nil
		},
		Named:  func(op intake.UserID) string { return "坐席 " + string(op[:1]) },
		AtDesk: func(op intake.UserID, there bool) { o.atDesk.Store(op, there) },
	})
	must(err)
	must(o.catchUp(ctx))
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { o.loop.Run(run) })
	o.loop.Send(chat.SetLines{Default: "12345", Lines: []chat.Line{{Line: intake.Line{ID: "12345"}, Settings: set}}})
	_, err = o.server.Restore(ctx)
	must(err)
	consumed := make(chan struct{})
	reading, endReading := context.WithCancel(ctx)
	go func() { defer close(consumed); o.consume(reading, l) }()
	written := make(chan struct{})
	go func() { defer close(written); o.write() }()
	mux := http.NewServeMux()
	mux.Handle("/chat/", o.server.Residents())
	mux.Handle("/desk/chat/", o.server.Desk())
	o.http = httptest.NewServer(mux)
	o.stop = []func(){
		func() {
			c, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			if err := o.server.Close(c); err != nil {
				tb.Error("close:", err)
			}
		},
		o.http.Close,
		func() { cancel(); wg.Wait() },
		func() { close(o.writes); <-written },
		func() { endReading(); <-consumed },
		func() { must(o.log.Close()); must(o.db.Close()) },
	}
	return o
}

// close ends it as the program ends: everything that was said is written.
func (o *office) close() {
	for _, f := range o.stop {
		f()
	}
}

func (o *office) do(now time.Time, effects []any) {
	for _, e := range effects {
		switch e := e.(type) {
		case chat.Write:
			o.writes <- e
		case chat.Effect:
			o.server.Do(now, e)
		}
	}
}

// write is the program's writer: what gathers while one append runs goes with the next.
func (o *office) write() {
	for x := range o.writes {
		batch := []chat.Write{x}
		for len(o.writes) > 0 && len(batch) < 500 {
			y, ok := <-o.writes
			if !ok {
				break
			}
			batch = append(batch, y)
		}
		var events []intake.Event
		for _, y := range batch {
			events = append(events, y.Events...)
		}
		if o.killed.Load() {
			continue
		}
		unwritten := o.broken.Load()
		var err error
		if unwritten {
			err = stream.ErrUnwritten
			go func() { // the log keeps it and writes it when the disk is back
				for o.broken.Load() {
					time.Sleep(time.Millisecond)
				}
				_ = o.log.Append(context.Background(), events...)
			}()
		} else {
			err = o.log.Append(context.Background(), events...)
		}
		for _, y := range batch {
			o.loop.Send(chat.Written{Contact: y.Gate, Through: y.Through, Unwritten: err != nil})
		}
	}
}

func (o *office) apply(ctx context.Context, records []stream.Record) error {
	return o.db.Tx(ctx, func(tx *store.Tx) error {
		if err := o.server.Apply(ctx, tx, records); err != nil {
			return err
		}
		return tx.SetPosition(ctx, Group, records[len(records)-1].Position)
	})
}

func (o *office) reader(ctx context.Context) (stream.Reader, error) {
	at, err := o.db.Positions(ctx, Group)
	if err != nil {
		return nil, err
	}
	if len(at) == 0 {
		at = []stream.Position{{Offset: -1}}
	}
	return o.log.Open(Group, at...)
}

// head is the offset of the newest record.
func (o *office) head(ctx context.Context) (int64, error) {
	lag, err := o.log.Lag(ctx, "nobody")
	return lag.Records, err
}

func (o *office) catchUp(ctx context.Context) error {
	head, err := o.head(ctx)
	if err != nil {
		return err
	}
	at, err := o.db.Positions(ctx, Group)
	if err != nil {
		return err
	}
	r, err := o.reader(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	for len(at) == 0 && head > 0 || len(at) > 0 && at[0].Offset < head {
		records, err := r.Fetch(ctx, 500)
		if err == nil {
			err = o.apply(ctx, records)
		}
		if err != nil {
			return err
		}
		at = []stream.Position{records[len(records)-1].Position}
	}
	return nil
}

func (o *office) consume(ctx context.Context, l *slog.Logger) {
	r, err := o.reader(ctx)
	if err != nil {
		l.Error("consumer", "err", err)
		return
	}
	defer r.Close()
	for {
		records, err := r.Fetch(ctx, 500)
		if err == nil {
			err = o.apply(context.Background(), records)
		}
		if err != nil {
			if ctx.Err() == nil {
				l.Error("consumer", "err", err)
			}
			return
		}
	}
}

// events are all that the log has.
func (o *office) events(tb testing.TB) (list []intake.Event) {
	tb.Helper()
	ctx := context.Background()
	head, err := o.head(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := o.log.Open("look", stream.Position{Offset: -1})
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	for int64(len(list)) < head {
		records, err := r.Fetch(ctx, 500)
		if err != nil {
			tb.Fatal(err)
		}
		for _, x := range records {
			list = append(list, x.Event)
		}
	}
	return list
}

// signIn brings an operator to work.
func (o *office) signIn(op intake.UserID, chats int) {
	o.loop.Send(queue.SignedIn{Operator: op, Reachable: true, Capacity: queue.Capacity{NoCalls: true, Chats: chats}})
}

// wait until something is so.
func wait(tb testing.TB, what string, so func() bool) {
	tb.Helper()
	for end := time.Now().Add(15 * time.Second); !so(); {
		if time.Now().After(end) {
			tb.Fatalf("still not so after 15 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// browser is one connection and what came by it.
type browser struct {
	ws   *websocket.Conn
	in   chan Out
	err  error // why it ended; after in is closed
	stop context.CancelFunc
}

func dial(tb testing.TB, url, path string, header http.Header) *browser {
	tb.Helper()
	b, err := tryDial(url, path, header)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.drop)
	return b
}

func tryDial(url, path string, header http.Header) (*browser, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, url+path, &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{Subprotocol}})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(1 << 20)
	run, stop := context.WithCancel(context.Background())
	b := &browser{ws: ws, in: make(chan Out, 10_000), stop: stop}
	go func() {
		defer close(b.in)
		for {
			_, raw, err := ws.Read(run)
			if err != nil {
				b.err = err
				return
			}
			var o Out
			if err := json.Unmarshal(raw, &o); err != nil {
				b.err = err
				return
			}
			b.in <- o
		}
	}()
	return b, nil
}

// drop breaks the connection without a word.
func (b *browser) drop() { _ = b.ws.CloseNow(); b.stop() }

func (b *browser) send(in any) error {
	raw, _ := json.Marshal(in)
	if s, ok := in.(string); ok {
		raw = []byte(s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return b.ws.Write(ctx, websocket.MessageText, raw)
}

// until gives the first frame that fits, and passes over those before it.
func (b *browser) until(tb testing.TB, what string, fits func(Out) bool) Out {
	tb.Helper()
	var seen []string
	for end := time.After(15 * time.Second); ; {
		select {
		case o, ok := <-b.in:
			if !ok {
				tb.Fatalf("the connection ended (%v) before %s; came: %s", b.err, what, strings.Join(seen, " "))
			}
			if fits(o) {
				return o
			}
			raw, _ := json.Marshal(o)
			seen = append(seen, string(raw))
		case <-end:
			tb.Fatalf("no %s; came: %s", what, strings.Join(seen, " "))
		}
	}
}

func (b *browser) next(tb testing.TB, kind string) Out {
	tb.Helper()
	return b.until(tb, kind, func(o Out) bool { return o.T == kind })
}

// ended gives the code with which the connection was closed.
func (b *browser) ended(tb testing.TB) websocket.StatusCode {
	tb.Helper()
	for end := time.After(15 * time.Second); ; {
		select {
		case _, ok := <-b.in:
			if !ok {
				return websocket.CloseStatus(b.err)
			}
		case <-end:
			tb.Fatal("the connection is still there")
		}
	}
}

func key() string { return strings.ReplaceAll(uuid.NewString(), "-", "") }

// resident opens a chat.
func (o *office) resident(tb testing.TB) (b *browser, token string) {
	tb.Helper()
	b = dial(tb, o.http.URL, "/chat/ws", nil)
	_ = b.send(In{T: UpHello})
	b.next(tb, DownWelcome)
	_ = b.send(In{T: UpStart, Ref: "s", Key: key()})
	return b, b.next(tb, DownStarted).Token
}

func (o *office) desk(tb testing.TB, op string, have map[string]int) *browser {
	tb.Helper()
	b := dial(tb, o.http.URL, "/desk/chat/ws", http.Header{"X-Operator": {op}})
	_ = b.send(In{T: UpHello, Have: have})
	b.next(tb, DownWelcome)
	return b
}

// taken is a chat that an operator has accepted.
func (o *office) taken(tb testing.TB, desk, b *browser) (contact string) {
	tb.Helper()
	_ = b.send(In{T: UpSay, Key: "first", Text: "路灯坏了"})
	b.next(tb, DownTick)
	offer := desk.next(tb, DownOffer)
	_ = desk.send(In{T: UpAccept, Ref: "a", Contact: offer.Contact, Offer: offer.Offer})
	desk.until(tb, "done", func(o Out) bool { return o.T == DownDone && o.Ref == "a" })
	return offer.Contact
}

func (o *office) post(tb testing.TB, path, token string, body io.Reader) (int, map[string]any) {
	tb.Helper()
	req, _ := http.NewRequest(http.MethodPost, o.http.URL+path, body)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	var m map[string]any
	_ = json.NewDecoder(res.Body).Decode(&m)
	return res.StatusCode, m
}

func typesOf(events []intake.Event, contact string) (list []string) {
	for _, e := range events {
		if string(e.Contact()) == contact {
			list = append(list, strings.TrimSuffix(strings.TrimPrefix(string(e.Type()), "contact."), ".v1"))
		}
	}
	return list
}

func texts(list []Message) (all []string) {
	for _, m := range list {
		all = append(all, m.From+":"+m.Text)
	}
	return all
}
