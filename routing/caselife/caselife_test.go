package caselife_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/routing"
	"yingda/routing/caselife"
)

var update = flag.Bool("update", false, "write the transcripts anew")

var start = time.Date(2026, 11, 24, 5, 26, 0, 0, time.UTC)

func opening(next routing.Next) routing.Open {
	return routing.Open{
		Source: intake.FromOperator, Contacts: []intake.ContactID{"c1"}, By: "xuhang", Next: next,
		Found:    routing.Found{Grid: "g3", How: routing.ByAddress, Why: "按地址里的“梅苑小区 3 幢”", Plain: "按地址", Confidence: 95},
		Decision: routing.Decision{Rule: "general", Deadline: start.Add(24 * time.Hour)},
		Category: "light", Personal: intake.Personal{Text: pii.NewText("楼道灯不亮一周"), Name: pii.NewName("王某某"), Number: pii.NewPhone("13800000000")},
	}
}

// scripts are lives that happen; their transcripts hold everything that the machine said.
var scripts = map[string][]any{
	"straight": {opening(routing.NextDispatch), routing.Accept{By: "lu"}, routing.Start{By: "lu"}, routing.Answer{By: "lu", Text: pii.NewText("灯换好了")}, routing.Close{Result: routing.Solved, Known: routing.ResidentSaid, By: "xuhang"}},
	"on_the_spot": {func() routing.Open {
		o := opening(routing.NextClose)
		o.Answer = pii.NewText("高龄津贴在社区办")
		return o
	}(), routing.Accept{By: "lu"}, routing.Close{Result: "x", Known: "y"}},
	"answer_first": {opening(routing.NextDispatch), routing.Answer{By: "lu", Text: pii.NewText("已经修好")}, routing.Answer{By: "lu", Text: pii.NewText("补充：换了声控的")}, routing.Extend{Until: start.Add(time.Hour * 99), Why: "x"}},
	"returned": {opening(routing.NextDispatch), routing.Return{By: "lu"}, routing.Return{Why: "不归物业管", By: "lu"}, routing.Return{Why: "x", By: "lu"}, routing.Accept{By: "lu"},
		routing.Route{Department: "housing", By: "xuhang"}, routing.Route{Department: "housing", Grid: "g4", Why: "两个", By: "xuhang"}, routing.Route{Department: "housing", Why: "公共部位归住建科", By: "xuhang"},
		routing.Route{Department: "housing", Why: "又来", By: "xuhang"}, routing.Dispatch{By: "xuhang"}, routing.Dispatch{By: "xuhang"}, routing.Start{By: "zhang"}},
	"extended": {opening(routing.NextDispatch), routing.Extend{Until: start.Add(48 * time.Hour), By: "lu"}, routing.Extend{Until: start.Add(time.Hour), Why: "等配件", By: "lu"}, routing.Extend{Until: start.Add(48 * time.Hour), Why: "等配件", By: "lu"}, 30 * time.Hour, 20 * time.Hour},
	"late":     {opening(routing.NextDispatch), 23 * time.Hour, 2 * time.Hour, time.Hour, routing.Extend{Until: start.Add(40 * time.Hour), Why: "等配件", By: "lu"}, 20 * time.Hour},
	"reopened": {opening(routing.NextDispatch), routing.Reopen{Why: "x"}, routing.Close{Result: routing.Solved, By: "lu"}, routing.Close{Known: routing.Seen, By: "lu"}, routing.Close{Result: routing.Solved, Known: routing.Seen, By: "lu"},
		routing.Attach{Contact: "c2", By: "xuhang"}, routing.Attach{Contact: "c2", By: "xuhang"}, routing.Attach{By: "xuhang"}, routing.Note{By: "lu"}, routing.Note{By: "lu", Text: pii.NewText("居民说又坏了")}, 48 * time.Hour, routing.Reopen{By: "xuhang"}, routing.Reopen{Contact: "c3", By: "xuhang"}, routing.Accept{By: "lu"}},
	"overruled_in_the_form": {func() routing.Open { o := opening(routing.NextDispatch); o.Grid = "g7"; return o }(), routing.Accept{By: "zhou"}},
	"grid_not_department": {func() routing.Open {
		o := opening(routing.NextDispatch)
		o.Decision.Department, o.Dept = "duty", routing.NoDepartment
		return o
	}()},
	"moved_with_its_department": {func() routing.Open {
		o := opening(routing.NextDispatch)
		o.Decision.Department, o.Grid = "duty", "g7"
		return o
	}()},
	"found_by_a_person": {func() routing.Open {
		o := opening(routing.NextDispatch)
		o.Found, o.Grid = routing.Found{}, "g7"
		return o
	}()},
	"picture_only": {routing.Open{Source: intake.FromSubmission, Contacts: []intake.ContactID{"c1"}}},
	"nobody_to_send_to": {func() routing.Open { o := opening(routing.NextDispatch); o.Found = routing.Found{}; return o }(),
		func() routing.Open { o := opening(routing.NextWait); o.Found = routing.Found{}; return o }(), routing.Dispatch{By: "x"}, routing.Accept{By: "x"}, routing.Start{By: "x"}, routing.Return{Why: "y"}, routing.Answer{Text: pii.NewText("y")},
		routing.Route{Grid: "g5", Why: "问清楚了", By: "x"}, routing.Dispatch{By: "x"}},
	"not_a_case": {routing.Accept{}, routing.Open{}, routing.Open{Source: intake.FromPatrol}, func() routing.Open { o := opening("later"); return o }()},
	"visit":      {routing.Open{Source: intake.FromVisit, Callback: "cb1", Found: routing.Found{Grid: "g3", Plain: "按来电人登记地址", Confidence: 70}, Decision: routing.Decision{Rule: "visit", Deadline: start.Add(4 * time.Hour)}, Next: routing.NextDispatch}, routing.Close{Result: routing.Met, Known: routing.Seen, By: "lu"}},
	"department": {func() routing.Open {
		o := opening(routing.NextDispatch)
		o.Decision.Department, o.Decision.Category, o.Category = "duty", "danger", ""
		return o
	}(), routing.Open{Source: "again"}},
}

func TestTranscripts(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			life, now := caselife.New("case1"), start
			for _, item := range script {
				if wait, ok := item.(time.Duration); ok {
					now = now.Add(wait)
					fmt.Fprintf(&b, "> %s passes\n", wait)
					for _, e := range life.Wake(now) {
						tell(&b, e)
					}
				} else {
					now = now.Add(time.Minute)
					in := item.(routing.Input)
					fmt.Fprintf(&b, "> %T\n", in)
					for _, e := range life.Step(now, in) {
						tell(&b, e)
					}
				}
				c := life.Case()
				deadline := "-"
				if d := life.Deadline(); !d.IsZero() {
					deadline = d.Format("02 15:04")
				}
				fmt.Fprintf(&b, "  = %s holder=%s grid=%s dept=%s overruled=%v contacts=%d wake=%s result=%s\n", c.State, c.Holder, c.Grid, c.Department, c.Overruled, len(c.Contacts), deadline, c.Result)
			}
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("%s differs; now:\n%s", file, b.String())
			}
		})
	}
}

func tell(b *strings.Builder, e routing.Effect) {
	switch e := e.(type) {
	case routing.Write:
		j, err := json.Marshal(e.Data)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(b, "  write %s %s", e.Data.EventType(), j)
		if !e.Personal.Text.IsZero() {
			fmt.Fprintf(b, " text=%s", e.Personal.Text)
		}
		b.WriteByte('\n')
	case routing.Refuse:
		fmt.Fprintf(b, "  refuse %s\n", e.Sentence)
	case routing.Late:
		fmt.Fprintf(b, "  late since %s\n", e.Deadline.Format("02 15:04"))
	}
}

// Whatever is done in whatever order: either everything is written or one sentence is said; the events fold to the same case; a closed
// case has a result and an open one has none.
func TestAnyOrder(t *testing.T) {
	text := pii.NewText("x")
	inputs := []func(now time.Time) routing.Input{
		func(time.Time) routing.Input { return opening(routing.NextDispatch) },
		func(time.Time) routing.Input { return opening(routing.NextClose) },
		func(time.Time) routing.Input { return opening(routing.NextWait) },
		func(time.Time) routing.Input { return routing.Attach{Contact: "c9"} },
		func(time.Time) routing.Input { return routing.Route{Grid: "g9", Why: "x"} },
		func(time.Time) routing.Input { return routing.Route{Department: "d9", Why: "x"} },
		func(time.Time) routing.Input { return routing.Dispatch{} },
		func(time.Time) routing.Input { return routing.Accept{} },
		func(time.Time) routing.Input { return routing.Start{} },
		func(time.Time) routing.Input { return routing.Return{Why: "x"} },
		func(now time.Time) routing.Input { return routing.Extend{Why: "x", Until: now.Add(72 * time.Hour)} },
		func(time.Time) routing.Input { return routing.Answer{Text: text} },
		func(time.Time) routing.Input { return routing.Close{Result: "x", Known: "y"} },
		func(time.Time) routing.Input { return routing.Reopen{Why: "x"} },
		func(time.Time) routing.Input { return routing.Note{Text: text} },
	}
	rapid.Check(t, func(t *rapid.T) {
		life, now := caselife.New("case1"), start
		folded := routing.Case{ID: "case1"}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 1000).Draw(t, "minutes")) * time.Minute)
			in := inputs[rapid.IntRange(0, len(inputs)-1).Draw(t, "input")](now)
			before := life.Case()
			effects := life.Step(now, in)
			if len(effects) == 0 {
				t.Fatalf("%T: nothing at all", in)
			}
			for _, e := range effects {
				switch e := e.(type) {
				case routing.Write:
					caselife.Fold(&folded, now, e.Data, e.Personal)
				case routing.Refuse:
					if len(effects) != 1 || e.Sentence == "" {
						t.Fatalf("%T: a refusal beside something else, or without words: %v", in, effects)
					}
					if !reflect.DeepEqual(before, life.Case()) {
						t.Fatalf("%T was refused and changed the case", in)
					}
				}
			}
			c := life.Case()
			if !reflect.DeepEqual(c, folded) {
				t.Fatalf("after %T: %+v, the events say %+v", in, c, folded)
			}
			if c.State == "" {
				continue
			}
			if !c.State.Valid() || (c.State == routing.Closed) != (c.Result != "") || (c.State == routing.Closed) == c.Closed.IsZero() {
				t.Fatalf("after %T: %+v", in, c)
			}
			if d := life.Deadline(); !d.IsZero() && !c.State.Open() {
				t.Fatalf("a closed case wants to be woken")
			}
		}
		if reloaded := caselife.Load(life.Case()); !reflect.DeepEqual(reloaded.Case(), life.Case()) {
			t.Fatal("loading changes a case")
		}
	})
}

func TestForget(t *testing.T) {
	life := caselife.New("case1")
	life.Step(start, opening(routing.NextDispatch))
	c := life.Case()
	if c.Words.IsZero() || c.Name.IsZero() || c.Phone.IsZero() {
		t.Fatal("nothing to forget")
	}
	caselife.Forget(&c)
	if !c.Words.IsZero() || !c.Name.IsZero() || !c.Phone.IsZero() || !c.Address.IsZero() || !c.Answer.IsZero() || c.Place != nil {
		t.Fatalf("%+v", c)
	}
}
