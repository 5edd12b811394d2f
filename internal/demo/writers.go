package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/google/uuid"

	"yingda/channels/webchat"
)

// Robots that write: residents who chat and hand something in through an app, and operators at their desks who answer the chats. They use what
// any browser or app would: the WebSocket, the sign-in page, the HTTP API.

const (
	betweenChats       = 22 * time.Second
	betweenSubmissions = 18 * time.Second
	chatProtocol       = "yingda.chat.v1"
)

// typists are the operators who have their desk open in a browser, too.
var typists = []string{"linyue", "xuhang"}

// asked is how residents begin a chat, and what they say to an answer.
var asked = [][2]string{
	{"请问居住证怎么办，要带什么材料", "好的，明白了，谢谢"}, {"楼道里的灯又坏了，三号楼二单元", "麻烦尽快，晚上老人上楼看不见"}, {"物业不肯修电梯，找谁", "那我等你们消息"},
	{"我妈高龄津贴这个月没到账", "谢谢，我明天去问"}, {"小区门口共享单车堆满了", "谢谢"}, {"停水到几点", "知道了"},
}

var replies = []string{"您好，我是值班坐席，正在看您说的事。", "已经记下了，会派给网格员去看。", "请问大概在哪里？我帮您记下来。", "材料在社区窗口可以办，工作日上午人少。"}

// chats lets residents chat, one after the other, a few at a time.
func (r *robots) chats(ctx context.Context) {
	for nap(ctx, about(betweenChats)) {
		r.wg.Go(func() {
			if err := r.chat(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("demo: a chat", "err", err)
			}
		})
	}
}

// chat is one resident's conversation: they ask, wait with their own patience, thank and leave. Some leave a number, some go without a word.
func (r *robots) chat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	c, err := r.dial(ctx, "/chat/ws", nil)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	who := r.cast.callers[rand.IntN(len(r.cast.callers))]
	say := asked[rand.IntN(len(asked))]
	start := webchat.In{T: webchat.UpStart, Ref: "1", Key: uuid.NewString()}
	if rand.IntN(3) == 0 {
		start.Number = who.Number.Reveal()
	}
	for _, f := range []webchat.In{{T: webchat.UpHello}, start, {T: webchat.UpSay, Key: "a", Text: say[0]}} {
		if err := wsjson.Write(ctx, c, f); err != nil {
			return err
		}
	}
	patience, stop := context.WithTimeout(ctx, about(70*time.Second))
	defer stop()
	for answered := 0; answered < 2; {
		var f webchat.Out
		if err := wsjson.Read(patience, c, &f); err != nil {
			return gone(err, patience)
		}
		if f.T != webchat.DownMessage || f.Message == nil || f.From != "us" {
			continue
		}
		if answered++; answered == 2 {
			break
		}
		if !nap(ctx, about(3*time.Second)) {
			return nil
		}
		if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpSay, Key: "b", Text: say[1]}); err != nil {
			return err
		}
	}
	return wsjson.Write(ctx, c, webchat.In{T: webchat.UpBye, Ref: "2"})
}

// gone is no error: the resident's patience is over, and they leave as people do, by closing the page.
func gone(err error, patience context.Context) error {
	if patience.Err() != nil || websocket.CloseStatus(err) == websocket.StatusServiceRestart {
		return nil
	}
	return err
}

func (r *robots) dial(ctx context.Context, path string, client *http.Client) (*websocket.Conn, error) {
	c, response, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(r.pages, "http")+path, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{chatProtocol}})
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	return c, err
}

// typist is an operator at an open desk: signs in, takes what is offered, answers what is asked.
func (r *robots) typist(ctx context.Context, login string) {
	for ctx.Err() == nil {
		if err := r.sitDown(ctx, login); err != nil && ctx.Err() == nil {
			r.log.Warn("demo: an operator's desk", "err", err)
		}
		nap(ctx, 3*time.Second)
	}
}

func (r *robots) sitDown(ctx context.Context, login string) error {
	client, err := SignIn(ctx, r.pages, login, Password)
	if err != nil {
		return err
	}
	c, err := r.dial(ctx, "/desk/chat/ws", client)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpHello}); err != nil {
		return err
	}
	said := map[string]int{}
	for {
		var f webchat.Out
		if err := wsjson.Read(ctx, c, &f); err != nil {
			return err
		}
		switch {
		case f.T == webchat.DownOffer:
			if !nap(ctx, about(3*time.Second)) {
				return nil
			}
			err = wsjson.Write(ctx, c, webchat.In{T: webchat.UpAccept, Ref: "a", Contact: f.Contact, Offer: f.Offer})
		case f.T == webchat.DownMessage && f.Message != nil && f.From == "resident" && f.N > said[f.Contact]:
			said[f.Contact] = f.N
			if !nap(ctx, about(4*time.Second)) {
				return nil
			}
			err = wsjson.Write(ctx, c, webchat.In{T: webchat.UpSay, Contact: f.Contact, Key: uuid.NewString(), Text: replies[rand.IntN(len(replies))]})
		}
		if err != nil {
			return err
		}
	}
}

// submissions hands matters in through the API, as an app does.
func (r *robots) submissions(ctx context.Context) {
	for nap(ctx, about(betweenSubmissions)) {
		if err := r.submit(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("demo: a submission", "err", err)
		}
	}
}

func (r *robots) submit(ctx context.Context) error {
	who := r.cast.callers[rand.IntN(len(r.cast.callers))]
	body, err := json.Marshal(map[string]any{"text": matters[rand.IntN(len(matters))].words, "address": r.cast.places[rand.IntN(len(r.cast.places))], "phone": who.Number.Reveal(), "name": who.Name.Reveal()})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.pages+"/api/v1/submissions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.cast.appToken)
	req.Header.Set("Idempotency-Key", uuid.NewString())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 2000))
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	return nil
}
