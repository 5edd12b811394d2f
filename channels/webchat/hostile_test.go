package webchat

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"yingda/channels/chat"
	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/store"
)

// What is no frame ends the connection with a code that says so; what is a frame and wrong is answered; either way nothing that was written is lost.
func TestHostileFrames(t *testing.T) {
	o := open(t, t.TempDir(), chat.Settings{}, Limits{})
	defer o.close()
	b, token := o.resident(t)
	_ = b.send(In{T: UpSay, Key: "k1", Text: "先写的"})
	b.next(t, DownTick)
	for name, c := range map[string]struct {
		raw  string
		want websocket.StatusCode
	}{
		"no JSON":   {`{"t":"say"`, 1007},
		"an array":  {`[1,2]`, 1007},
		"null":      {`null`, 1007},
		"nothing":   {``, 1007},
		"a number":  {`7`, 1007},
		"twice":     {`{"t":"ping"}{"t":"ping"}`, 1007},
		"too large": {`{"t":"say","key":"k2","text":"` + strings.Repeat("x", 40<<10) + `"}`, 1009},
	} {
		b := dial(t, o.http.URL, "/chat/ws", nil)
		_ = b.send(In{T: UpHello, Token: token})
		b.next(t, DownWelcome)
		_ = b.send(c.raw)
		if got := b.ended(t); got != c.want {
			t.Errorf("%s: closed with %d, want %d", name, got, c.want)
		}
	}
	for name, c := range map[string]struct{ raw, code string }{
		"wrong kind":     {`{"t":"say","ref":"x","key":"k2","text":5}`, "bad_frame"},
		"long ref":       {`{"t":"bye","ref":"` + strings.Repeat("r", 65) + `"}`, "bad_frame"},
		"negative":       {`{"t":"seen","n":-1}`, "bad_frame"},
		"empty":          {`{"t":"say","key":"k2","text":"  "}`, "text"},
		"too long":       {`{"t":"say","key":"k2","text":"` + strings.Repeat("y", 4001) + `"}`, "text"},
		"no key":         {`{"t":"say","text":"x"}`, "key"},
		"bad key":        {`{"t":"say","key":"a/../b","text":"x"}`, "key"},
		"file elsewhere": {`{"t":"say","key":"k2","text":"x","files":["../../etc/passwd"]}`, "file"},
		"number":         {`{"t":"number","ref":"x","number":"一二三"}`, "number"},
		"start again":    {`{"t":"start","key":"` + key() + `"}`, "bad_frame"},
		"another's":      {`{"t":"hello","token":"x.y"}`, "token"},
	} {
		_ = b.send(c.raw)
		if e := b.next(t, DownError); e.Code != c.code || e.Say == "" {
			t.Errorf("%s: %s %q, want %s", name, e.Code, e.Say, c.code)
		}
	}
	_ = b.send(`{"t":"of the next version","x":[{}]}`) // passed over
	_ = b.send(In{T: UpPing})
	b.next(t, DownPong)
	// Without hello, in binary, with somebody else's token.
	c := dial(t, o.http.URL, "/chat/ws", nil)
	_ = c.send(In{T: UpSay, Key: "k2", Text: "x"})
	if got := c.ended(t); got != 1008 {
		t.Errorf("without hello: %d", got)
	}
	d := dial(t, o.http.URL, "/chat/ws", nil)
	_ = d.ws.Write(context.Background(), websocket.MessageBinary, []byte(`{"t":"hello"}`))
	if got := d.ended(t); got != 1007 {
		t.Errorf("binary: %d", got)
	}
	e := dial(t, o.http.URL, "/chat/ws", nil)
	for _, bad := range []string{token[:len(token)-1], token + "x", "019ab2f0-0000-7000-8000-000000000001.AAAA", ".", strings.Repeat("a", 256)} {
		_ = e.send(In{T: UpHello, Token: bad})
		if f := e.next(t, DownError); f.Code != "token" {
			t.Errorf("token %q: %+v", bad, f)
		}
	}
	_ = e.send(In{T: UpSay, Key: "k3", Text: "x"})
	if f := e.next(t, DownError); f.Code != "token" {
		t.Errorf("writing without a conversation: %+v", f)
	}
	// A flood.
	f := dial(t, o.http.URL, "/chat/ws", nil)
	_ = f.send(In{T: UpHello, Token: token})
	for range 400 {
		if f.send(In{T: UpTyping}) != nil {
			break
		}
	}
	if got := f.ended(t); got != 1008 {
		t.Errorf("a flood: %d", got)
	}
	p, err := o.server.History(context.Background(), token, 0)
	if err != nil || len(p.Messages) != 1 || p.Messages[0].Text != "先写的" {
		t.Errorf("after all that: %+v %v", p, err)
	}
}

func TestDoors(t *testing.T) {
	o := open(t, t.TempDir(), chat.Settings{}, Limits{PerAddress: 3, Starts: 3})
	defer o.close()
	host := strings.TrimPrefix(o.http.URL, "http://")
	for origin, want := range map[string]bool{"https://www.example.gov.cn": true, "https://maple.street.example": true, "http://" + host: true, "https://evil.example": false, "http://www.example.gov.cn": false,
		"https://street.example": false, "https://a.street.example.evil.example": false, "null": false, "file://": false} {
		b, err := tryDial(o.http.URL, "/chat/ws", http.Header{"Origin": {origin}})
		if (err == nil) != want {
			t.Errorf("origin %s: %v, want %t", origin, err, want)
		}
		if err == nil {
			b.drop()
		}
		// A connection counts for its address from before it is accepted until after its last word: the one before must not keep the next out.
		wait(t, "who came from "+origin+" has left", func() bool {
			a := &o.server.addresses
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.all == 0
		})
	}
	// Another site's page cannot use the operator's cookie.
	if _, err := tryDial(o.http.URL, "/desk/chat/ws", http.Header{"X-Operator": {"anna"}, "Origin": {"https://www.example.gov.cn"}}); err == nil {
		t.Error("a desk was opened from another site")
	}
	if _, err := tryDial(o.http.URL, "/desk/chat/ws", nil); err == nil {
		t.Error("a desk was opened by nobody")
	}
	// So many from one address, and no more; who leaves makes room.
	var all []*browser
	for range 3 {
		all = append(all, dial(t, o.http.URL, "/chat/ws", nil))
	}
	if _, err := tryDial(o.http.URL, "/chat/ws", nil); err == nil {
		t.Error("a fourth connection from one address")
	}
	all[0].drop()
	wait(t, "room for another", func() bool {
		b, err := tryDial(o.http.URL, "/chat/ws", nil)
		if err == nil {
			all = append(all, b)
		}
		return err == nil
	})
	b := all[1]
	_ = b.send(In{T: UpHello})
	for i := range 4 {
		_, err := o.server.Start(context.Background(), StartRequest{Key: key()})
		if (err == nil) != (i < 3) {
			t.Errorf("start %d: %v", i, err)
		}
	}
	for _, b := range all {
		b.drop()
	}
	// An operator who may not any more is out within seconds.
	desk := o.desk(t, "anna", nil)
	wait(t, "anna is at her desk", func() bool { v, _ := o.atDesk.Load(intake.UserID("anna")); return v == true })
	// While that cannot be known she stays.
	o.staffOut.Store("anna", errors.New("the tables are away"))
	before := o.asked.Load()
	wait(t, "the server has looked who she is", func() bool { return o.asked.Load() > before })
	if err := desk.send(In{T: UpPing}); err != nil {
		t.Error(err)
	}
	desk.next(t, DownPong)
	o.staffOut.Store("anna", true)
	if got := desk.ended(t); got != 1008 {
		t.Errorf("signed out: %d", got)
	}
}

func photo(tb testing.TB, w, h int) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewRGBA(image.Rect(0, 0, w, h)), nil); err != nil {
		tb.Fatal(err)
	}
	exif := append([]byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"), "SECRETPLACE"...)
	head := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, 0xe1}, uint16(len(exif)+2))
	return append(append(head, exif...), b.Bytes()[2:]...)
}

func bomb() []byte {
	head := append([]byte("IHDR\x00\x00\xc3\x50\x00\x00\xc3\x50"), 8, 6, 0, 0, 0)
	raw := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), head...)
	return binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(head))
}

func (o *office) get(tb testing.TB, path, token string, header http.Header) (int, http.Header, []byte) {
	tb.Helper()
	req, _ := http.NewRequest(http.MethodGet, o.http.URL+path, nil)
	if header != nil {
		req.Header = header
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, raw
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, chat.Settings{}, Limits{FileBytes: 1 << 20, ChatBytes: 2 << 20})
	defer o.close()
	o.signIn("anna", 2)
	desk := o.desk(t, "anna", nil)
	b, token := o.resident(t)
	contact := o.taken(t, desk, b)
	_, other := o.resident(t)
	good := photo(t, 64, 32)
	for name, c := range map[string]struct {
		body   []byte
		token  string
		status int
	}{
		"a bomb":     {bomb(), token, 422},
		"cut off":    {good[:len(good)-400], token, 422},
		"mistyped":   {[]byte("\x89PNG\r\n\x1a\nnot one"), token, 422},
		"a script":   {[]byte("<svg onload=alert(1)>"), token, 422},
		"a program":  {[]byte("MZ\x90\x00"), token, 422},
		"a zip":      {[]byte("PK\x03\x04"), token, 422},
		"nothing":    {nil, token, 422},
		"too large":  {bytes.Repeat([]byte{1}, 1<<20+200<<10), token, 413},
		"larger":     {append(bytes.Clone(good), bytes.Repeat([]byte{1}, 1<<20)...), token, 422},
		"no token":   {good, "", 401},
		"bad token":  {good, token + "x", 401},
		"as it must": {good, token, 201},
	} {
		status, m := o.post(t, "/chat/files", c.token, bytes.NewReader(c.body))
		if status != c.status || status != 201 && (m["code"] == "" || m["say"] == "") {
			t.Errorf("%s: %d %v, want %d", name, status, m, c.status)
		}
	}
	// By a form.
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, _ := w.CreateFormFile("file", "../../x.php")
	_, _ = part.Write(good)
	_ = w.Close()
	req, _ := http.NewRequest(http.MethodPost, o.http.URL+"/chat/files", &form)
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.AddCookie(&http.Cookie{Name: Cookie, Value: token})
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 201 {
		t.Fatal(err, res.StatusCode)
	}
	var f File
	_ = json.NewDecoder(res.Body).Decode(&f)
	res.Body.Close()
	if f.Type != "image/jpeg" || f.Width != 32 || f.Height != 64 { // it was turned
		t.Errorf("kept as %+v", f)
	}
	// The cookie counts for our own pages only.
	req, _ = http.NewRequest(http.MethodPost, o.http.URL+"/chat/files", bytes.NewReader(good))
	req.Header.Set("Origin", "https://www.example.gov.cn")
	req.AddCookie(&http.Cookie{Name: Cookie, Value: token})
	if res, _ = http.DefaultClient.Do(req); res.StatusCode != 401 || res.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("another site's page used the cookie: %d", res.StatusCode)
	}
	res.Body.Close()
	_ = b.send(In{T: UpSay, Key: "pic", Files: []string{f.ID}})
	tick := b.until(t, "tick", func(o Out) bool { return o.T == DownTick && o.Key == "pic" || o.T == DownError })
	if tick.T != DownTick {
		t.Fatalf("%+v", tick)
	}
	m := desk.until(t, "picture", func(o Out) bool { return o.T == DownMessage && len(o.Files) > 0 })
	if m.Files[0].ID != f.ID || m.Text != "" {
		t.Errorf("the desk is shown %+v", m)
	}
	// Seen by both sides of that conversation, and nobody else.
	status, h, raw := o.get(t, "/chat/files/"+f.ID, token, nil)
	if status != 200 || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Type") != "image/jpeg" || bytes.Contains(raw, []byte("SECRETPLACE")) {
		t.Errorf("%d %v", status, h)
	}
	for path, c := range map[string]struct {
		token string
		op    string
		want  int
	}{
		"/chat/files/" + f.ID:                                 {other, "", 422},
		"/chat/files/../x":                                    {token, "", 404},
		"/chat/files/" + f.ID + "/..":                         {token, "", 404},
		"/desk/chat/files/" + contact + "/" + f.ID:            {"", "bert", 403},
		"/desk/chat/files/" + contact + "/" + f.ID + "?a":     {"", "anna", 200},
		"/desk/chat/files/" + contact + "/" + f.ID + "?super": {"", "super", 200},
		"/desk/chat/files/nothing/" + f.ID:                    {"", "super", 422},
	} {
		header := http.Header{}
		if c.op != "" {
			header.Set("X-Operator", c.op)
		}
		if status, _, raw := o.get(t, path, c.token, header); status != c.want {
			t.Errorf("%s as %q: %d, want %d %s", path, c.op, status, c.want, raw)
		}
	}
	// Another's file in one's own message.
	o2, t2 := o.resident(t)
	_ = t2
	_ = o2.send(In{T: UpSay, Key: "steal", Text: "x", Files: []string{f.ID}})
	if e := o2.next(t, DownError); e.Code != "file" {
		t.Errorf("stolen: %+v", e)
	}
	// An operator sends a PDF, which is only ever downloaded.
	pdf := []byte("%PDF-1.7\n%%EOF")
	req, _ = http.NewRequest(http.MethodPost, o.http.URL+"/desk/chat/files/"+contact, bytes.NewReader(pdf))
	req.Header.Set("X-Operator", "anna")
	if res, err = http.DefaultClient.Do(req); err != nil || res.StatusCode != 201 {
		t.Fatal(err, res.StatusCode)
	}
	var g File
	_ = json.NewDecoder(res.Body).Decode(&g)
	res.Body.Close()
	_ = desk.send(In{T: UpSay, Contact: contact, Key: "pdf", Text: "表格", Files: []string{g.ID}})
	b.until(t, "pdf", func(o Out) bool { return o.T == DownMessage && o.Text == "表格" && len(o.Files) == 1 })
	if status, h, raw := o.get(t, "/chat/files/"+g.ID, token, nil); status != 200 || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || !bytes.Equal(raw, pdf) {
		t.Errorf("the PDF: %d %v", status, h)
	}
	// On disk nothing is in clear; a file that was changed, or put under another name, does not open.
	var paths []string
	_ = filepath.Walk(filepath.Join(dir, "files"), func(p string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() {
			paths = append(paths, p)
			raw, _ := os.ReadFile(p)
			if bytes.Contains(raw, []byte("%PDF")) || bytes.Contains(raw, []byte("JFIF")) || strings.HasSuffix(p, ".part") {
				t.Errorf("%s is in clear, or half", p)
			}
		}
		return err
	})
	if len(paths) != 3 {
		t.Errorf("%d files are kept", len(paths))
	}
	place, _ := o.server.files.Place(g.ID)
	sealed, _ := os.ReadFile(place)
	sealed[len(sealed)-1] ^= 1
	_ = os.WriteFile(place, sealed, 0o600)
	if status, _, _ := o.get(t, "/chat/files/"+g.ID, token, nil); status != 422 {
		t.Errorf("a file that was changed: %d", status)
	}
	// What nobody names is taken away after a day, what is named is not.
	wait(t, "the messages are in the tables", func() bool {
		var n int
		_ = o.db.QueryRow(context.Background(), "SELECT COUNT(*) FROM chat_files WHERE named = 1").Scan(&n)
		return n == 2
	})
	old := time.Now().Add(-48 * time.Hour)
	if err := o.db.Tx(context.Background(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(context.Background(), "UPDATE chat_files SET made = ?", old.UnixMilli())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(dir, "files", "aa")
	_ = os.MkdirAll(stray, 0o700)
	for _, name := range []string{"notes.txt", "019ab2f0-0000-7000-8000-0000000000aa.ychat", "019ab2f0-0000-7000-8000-0000000000aa.ychat.part"} {
		_ = os.WriteFile(filepath.Join(stray, name), nil, 0o600)
		_ = os.Chtimes(filepath.Join(stray, name), old, old)
	}
	if err := o.server.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(stray)
	names := fmt.Sprint(left)
	if !strings.Contains(names, "notes.txt") || strings.Contains(names, "ychat") {
		t.Errorf("left over: %s", names)
	}
	if status, _, _ := o.get(t, "/chat/files/"+f.ID, token, nil); status != 200 {
		t.Errorf("a file that a message names is gone: %d", status)
	}
	// Erased: text, number and bytes are gone everywhere.
	erase := intake.Event{Source: "x", Subject: intake.ContactID(contact).Subject(), Sequence: intake.NewSequence(1<<20, 1), Time: time.Now(), PartitionKey: contact, Data: &intake.ErasedV1{By: "super", Ground: "asked"}}
	if err := o.apply(context.Background(), []stream.Record{{Position: stream.Position{Offset: 1 << 30}, Event: erase}}); err != nil {
		t.Fatal(err)
	}
	if err := o.server.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	p, err := o.server.History(context.Background(), token, 0)
	if err != nil || strings.Contains(fmt.Sprint(texts(p.Messages)), "路灯") {
		t.Errorf("erased: %v %v", texts(p.Messages), err)
	}
	if status, _, _ := o.get(t, "/chat/files/"+f.ID, token, nil); status != 422 {
		t.Errorf("erased, and still there: %d", status)
	}
	var n int
	if err := o.db.QueryRow(context.Background(), "SELECT COUNT(*) FROM chat_messages WHERE text <> '' AND contact = ?", contact).Scan(&n); err != nil || n != 0 {
		t.Error(n, err)
	}
}

// The disk does not write: the other side is told all the same, nothing is called safe, and everything is when the disk is back.
func TestDisk(t *testing.T) {
	o := open(t, t.TempDir(), chat.Settings{}, Limits{})
	defer o.close()
	o.signIn("anna", 2)
	desk := o.desk(t, "anna", nil)
	b, _ := o.resident(t)
	contact := o.taken(t, desk, b)
	o.broken.Store(true)
	_ = b.send(In{T: UpSay, Key: "k", Text: "着火了"})
	m := desk.until(t, "message", func(o Out) bool { return o.T == DownMessage && o.N == 2 })
	if !m.Unsafe || m.Text != "着火了" {
		t.Errorf("%+v", m)
	}
	e := b.until(t, "error", func(o Out) bool { return o.T == DownError || o.T == DownTick })
	if e.T != DownError || e.Code != "later" || e.Key != "k" {
		t.Errorf("told %+v", e)
	}
	o.broken.Store(false)
	b.until(t, "safe", func(o Out) bool { return o.T == DownSafe && o.N == 2 })
	desk.until(t, "safe", func(o Out) bool { return o.T == DownSafe && o.N == 2 && o.Contact == contact })
	_ = b.send(In{T: UpSay, Key: "k", Text: "着火了"})
	if tick := b.next(t, DownTick); tick.N != 2 {
		t.Errorf("%+v", tick)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"t":"hello","token":"a.b","after":3}`, `{"t":"say","key":"k","text":"\ud800","files":["x"]}`, `{"t":"hello","have":{"a":1,"b":-1}}`, `{"t":1}`, `[]`, ` {"t":"x"}`, `{"T":"x","t":"y"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := Parse(raw)
		if len(in.T) > 64 || len(in.Ref) > 64 || len(in.Key) > 64 {
			t.Fatalf("%d %d %d", len(in.T), len(in.Ref), len(in.Key))
		}
		if err == nil && (in.T == "" || in.After < 0 || in.N < 0) {
			t.Fatalf("%+v", in)
		}
	})
}
