package webchat

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"yingda/channels/channeltest"
	"yingda/channels/chat"
	"yingda/intake"
)

// The chat keeps every channel's promises, over the WebSocket and as the form that needs no script does it.
func TestWebSocketIsAChannel(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Channel {
		o := open(t, t.TempDir(), chat.Settings{}, Limits{})
		t.Cleanup(o.close)
		begin := func(t testing.TB, key string, w channeltest.Words) *browser {
			b := dial(t, o.http.URL, "/chat/ws", nil)
			_ = b.send(In{T: UpHello})
			_ = b.send(In{T: UpStart, Ref: "s", Key: key, Number: w.Number, Name: w.Name})
			_ = b.send(In{T: UpSay, Key: "said", Text: w.Text})
			return b
		}
		// answer is what one frame was met with, on a line that has begun a conversation when begun says so.
		answer := func(begun bool, frame any) func(testing.TB) channeltest.Answer {
			return func(t testing.TB) channeltest.Answer {
				b := dial(t, o.http.URL, "/chat/ws", nil)
				defer b.drop()
				_ = b.send(In{T: UpHello})
				b.next(t, DownWelcome)
				if begun {
					_ = b.send(In{T: UpStart, Ref: "s", Key: "channeltest-key-0000"})
					b.next(t, DownStarted)
				}
				_ = b.send(frame)
				return channeltest.Answer{Say: b.next(t, DownError).Say}
			}
		}
		return channeltest.Channel{
			Send: func(t testing.TB, key string, w channeltest.Words) channeltest.Answer {
				b := begin(t, key, w)
				defer b.drop()
				f := b.until(t, "an answer", func(f Out) bool { return f.T == DownTick && f.Key == "said" || f.T == DownError })
				if f.T == DownError {
					return channeltest.Answer{Say: f.Say}
				}
				id, err := o.server.byDedupe(context.Background(), o.server.dedupeOf(key))
				wait(t, "the table", func() bool {
					id, err = o.server.byDedupe(context.Background(), o.server.dedupeOf(key))
					return id != "" || err != nil
				})
				return channeltest.Answer{Took: true, Contact: id}
			},
			Cut: func(t testing.TB, key string, w channeltest.Words) { begin(t, key, w).drop() },
			End: func(t testing.TB, key string) {
				b := dial(t, o.http.URL, "/chat/ws", nil)
				defer b.drop()
				_ = b.send(In{T: UpHello})
				_ = b.send(In{T: UpStart, Ref: "s", Key: key})
				_ = b.send(In{T: UpBye, Ref: "bye"})
				b.until(t, "bye", func(f Out) bool { return f.T == DownDone && f.Ref == "bye" || f.T == DownError && f.Code == "over" })
			},
			Night: func() { o.closed.Store(true) },
			Bad: []channeltest.Bad{
				{Name: "no JSON", Send: func(t testing.TB) channeltest.Answer { // of a program that speaks another protocol: it is told so, and its line is ended
					b := dial(t, o.http.URL, "/chat/ws", nil)
					_ = b.send("{{{")
					b.ended(t)
					var end websocket.CloseError
					_ = errors.As(b.err, &end)
					return channeltest.Answer{Say: end.Reason}
				}},
				{Name: "no conversation", Send: answer(false, In{T: UpSay, Key: "a", Text: "x"})},
				{Name: "nothing written", Send: answer(true, In{T: UpSay, Key: "a", Text: " \n"})},
				{Name: "too much", Send: answer(true, In{T: UpSay, Key: "a", Text: strings.Repeat("长", 4001)})},
				{Name: "a key that is none", Send: answer(true, In{T: UpSay, Key: "../a", Text: "x"})},
				{Name: "a file that is not there", Send: answer(true, In{T: UpSay, Key: "a", Files: []string{"none"}})},
				{Name: "a number that is none", Send: answer(true, In{T: UpNumber, Ref: "n", Number: "9990000"})},
				{Name: "a short key", Send: answer(false, In{T: UpStart, Key: "short"})},
			},
			Events: func(t testing.TB) []intake.Event { return o.events(t) },
			Said:   o.said.String,
		}
	})
}

func TestFormIsAChannel(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Channel {
		o := open(t, t.TempDir(), chat.Settings{}, Limits{})
		t.Cleanup(o.close)
		start := func(ctx context.Context, key string, w channeltest.Words) (Session, error) {
			s, err := o.server.Start(ctx, StartRequest{Key: key, Origin: "page", Number: w.Number, Name: w.Name})
			if err == nil {
				_, err = o.server.Post(ctx, s.Token, "first", w.Text, nil)
			}
			return s, err
		}
		say := func(s Session, err error) channeltest.Answer {
			if err != nil {
				return channeltest.Answer{Say: Sentence(err)}
			}
			return channeltest.Answer{Took: true, Contact: s.Contact}
		}
		posted := func(key, text string, files ...string) func(testing.TB) channeltest.Answer {
			return func(t testing.TB) channeltest.Answer {
				s, err := o.server.Start(t.Context(), StartRequest{Key: "channeltest-key-0000"})
				if err == nil {
					_, err = o.server.Post(t.Context(), s.Token, key, text, files)
				}
				return say(s, err)
			}
		}
		return channeltest.Channel{
			Send: func(t testing.TB, key string, w channeltest.Words) channeltest.Answer {
				return say(start(t.Context(), key, w))
			},
			Cut: func(t testing.TB, key string, w channeltest.Words) { // the browser is gone: its request's context is over
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				_, _ = start(ctx, key, w)
			},
			End: func(t testing.TB, key string) {
				s, err := o.server.Start(t.Context(), StartRequest{Key: key})
				if err == nil {
					err = o.server.End(t.Context(), s.Token)
				}
				if err != nil {
					t.Error(err)
				}
			},
			Night: func() { o.closed.Store(true) },
			Bad: []channeltest.Bad{
				{Name: "nothing written", Send: posted("a", " \n")}, {Name: "too much", Send: posted("a", strings.Repeat("长", 4001))}, {Name: "a key that is none", Send: posted("../a", "x")},
				{Name: "a file that is not there", Send: posted("a", "x", "none")},
				{Name: "no conversation", Send: func(t testing.TB) channeltest.Answer {
					_, err := o.server.Post(t.Context(), "token-of-nobody", "a", "x", nil)
					return say(Session{}, err)
				}},
				{Name: "a number that is none", Send: func(t testing.TB) channeltest.Answer {
					s, err := o.server.Start(t.Context(), StartRequest{Key: "channeltest-key-0000"})
					if err == nil {
						err = o.server.LeaveNumber(t.Context(), s.Token, "9990000", "", true)
					}
					return say(s, err)
				}},
			},
			Events: func(t testing.TB) []intake.Event { return o.events(t) },
			Said:   o.said.String,
		}
	})
}
