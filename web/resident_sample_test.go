package web

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"yingda/internal/pii"
)

// town is the sample office as people outside meet it. It keeps what they bring, as the real one does.
type town struct {
	s  *sample
	mu sync.Mutex

	front    Front
	fail     error // of every deed and reading but Front
	failing  error // of Front
	calls    map[string]CallMe
	off      []string
	letters  map[string]taken
	order    []string
	progress Progress
	talks    map[string]*Talk
	keys     map[string]bool
}

type taken struct {
	Letter
	photos []string // their beginnings
}

func (s *sample) town() *town {
	if s.outside == nil {
		s.outside = &town{s: s, calls: map[string]CallMe{}, letters: map[string]taken{}, talks: map[string]*Talk{}, keys: map[string]bool{},
			front: Front{
				Line: "pm", Number: "0512-5550-0100", Hours: Said{"白天晚上都有人接。不用按键，直接说。", "Somebody answers day and night. No keys to press, just talk."}, Open: true,
				CallBy: s.at("14:50:00"), ReadBy: s.at("14:32:07").Add(22 * time.Hour), Tries: 3, Visits: true, Owner: Said{"梅溪街道办事处", "Meixi Street Office"},
				Urgent: Said{"有危险先打 110、119 或 120", "In danger, call 110, 119 or 120 first"}, Photos: 6, Chat: true,
				Others: []Published{{Said{"物业报修", "Repairs"}, "0512-5550-0108", Said{"工作日 8:30 到 17:30", "Working days, 8:30 to 17:30"}}},
			},
			progress: Progress{
				Title: "楼道灯", Now: "约了师傅，明天上午来", State: "in_progress", Plate: Plate{"MY03", "梅苑", "03", "陆建平"}, By: s.at("12:00:00").Add(24 * time.Hour),
				Steps: []ProgressStep{{"received", "", s.at("09:12:00"), "did"}, {"网格员陆建平去看过", "是整个单元的感应开关坏了", s.at("11:40:00"), "did"},
					{"in_progress", "11 月 25 日上午，家里不用留人", time.Time{}, "now"}, {"closed", "", time.Time{}, "todo"}},
			}}
	}
	return s.outside
}

func (w *town) change(f func()) { w.mu.Lock(); defer w.mu.Unlock(); f() }

func (w *town) Front(context.Context) (Front, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.front, w.failing
}

func (w *town) CallMe(_ context.Context, a CallMe) (Promise, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return Promise{}, w.fail
	}
	if n := a.Number.Reveal(); n == "1100000" {
		return Promise{}, ErrNumber
	}
	_, again := w.calls[a.Number.Reveal()]
	w.calls[a.Number.Reveal()] = a
	return Promise{Until: w.front.CallBy, Again: again, Secret: "off-" + a.Number.Reveal()[len(a.Number.Reveal())-2:]}, nil
}

func (w *town) CallOff(_ context.Context, secret string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.fail != nil:
		return w.fail
	case !strings.HasPrefix(secret, "off-"):
		return ErrNotFound
	}
	w.off = append(w.off, secret)
	return nil
}

func (w *town) Write(_ context.Context, l Letter) (Receipt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return Receipt{}, w.fail
	}
	t := taken{Letter: l}
	for i, p := range l.Photos {
		raw, err := io.ReadAll(p.Body)
		if err != nil || int64(len(raw)) != p.Size {
			return Receipt{}, fmt.Errorf("photo %d: %d of %d bytes: %w", i, len(raw), p.Size, err)
		}
		if !strings.HasPrefix(string(raw), "\x89PNG") {
			return Receipt{}, PhotoError{i, "type"}
		}
		t.photos = append(t.photos, p.Name)
	}
	if _, ok := w.letters[l.Key]; !ok {
		w.order = append(w.order, l.Key)
	}
	w.letters[l.Key] = t
	r := Receipt{Number: "48271093", By: w.front.ReadBy}
	if l.Number.IsZero() {
		r.Code = "7052"
	}
	return r, nil
}

func (w *town) Status(_ context.Context, receipt, last4 string) (Progress, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return Progress{}, w.fail
	}
	if receipt != "48271093" || last4 != "5678" {
		return Progress{}, ErrNotFound
	}
	return w.progress, nil
}

// sampleTalks are the chats.
type sampleTalks struct{ *town }

func (w sampleTalks) Start(_ context.Context, h TalkStart) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return "", w.fail
	}
	secret := "talk-" + h.Key
	if w.talks[secret] == nil {
		w.talks[secret] = &Talk{State: "waiting", Messages: []TalkLine{{Seq: 1, From: "resident", Text: h.Text.Reveal(), At: noon}}}
	}
	return secret, nil
}

func (w sampleTalks) one(secret string) (*Talk, error) {
	if w.fail != nil {
		return nil, w.fail
	}
	t := w.talks[secret]
	if t == nil {
		return nil, ErrNotFound
	}
	return t, nil
}

func (w sampleTalks) Post(_ context.Context, secret, key string, text pii.Text) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, err := w.one(secret)
	switch {
	case err != nil:
		return err
	case t.State == "ended":
		return ErrGone
	case w.keys[key]:
		return nil
	}
	w.keys[key] = true
	t.Messages = append(t.Messages, TalkLine{Seq: uint64(len(t.Messages) + 1), From: "resident", Text: text.Reveal(), At: noon})
	return nil
}

func (w sampleTalks) History(_ context.Context, secret string, after uint64) (Talk, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, err := w.one(secret)
	if err != nil {
		return Talk{}, err
	}
	c := *t
	c.Messages = append([]TalkLine(nil), t.Messages[after:]...)
	return c, nil
}

func (w sampleTalks) LeaveNumber(_ context.Context, secret string, number pii.Phone) (Promise, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, err := w.one(secret)
	switch {
	case err != nil:
		return Promise{}, err
	case t.State == "ended":
		return Promise{}, ErrGone
	}
	w.calls[number.Reveal()] = CallMe{Number: number}
	t.Promise = w.front.CallBy
	return Promise{Until: w.front.CallBy}, nil
}

func (w sampleTalks) End(_ context.Context, secret string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, err := w.one(secret)
	if err == nil {
		t.State = "ended"
	}
	return err
}

// answer is the office writing in the only chat there is.
func (w *town) answer(operator, text string) {
	w.change(func() {
		for _, t := range w.talks {
			t.State, t.Operator = "open", operator
			t.Messages = append(t.Messages, TalkLine{Seq: uint64(len(t.Messages) + 1), From: "office", Name: operator, Text: text, At: noon})
		}
	})
}
