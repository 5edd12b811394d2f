package app

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yingda/internal/pii"
	"yingda/internal/residents"
)

// quiet is a hotline on free ports in a folder of its own.
func quiet(t *testing.T) Config {
	c := Default()
	c.Data = t.TempDir()
	c.HTTP.Listen, c.SIP.UDP, c.SIP.TCP = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.Media.PortMin, c.Media.PortMax = 40000, 41999
	c.Stream.Ballast = -1
	return c
}

func serve(t *testing.T, c Config, logs io.Writer) *App {
	t.Helper()
	a, err := Start(t.Context(), c, Options{Logger: slog.New(slog.NewTextHandler(logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return a
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.After(20 * time.Second); !is(); {
		select {
		case <-limit:
			t.Fatalf("never: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// The office's rules come into force while it runs; a wrong file changes nothing and is an alarm until it is right again.
func TestRulesComeIntoForceWhileItRuns(t *testing.T) {
	var b bytes.Buffer
	if err := PrintRules(Default(), &b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	named := func(v string) string { return strings.Replace(b.String(), `version: "2026-1"`, `version: "`+v+`"`, 1) }
	write(named("ours-1"))
	c := quiet(t)
	c.Routing.Rules = file
	a := serve(t, c, io.Discard)
	version := func() string { return a.cases.Rules().Version }
	if version() != "ours-1" {
		t.Fatalf("rules %q are in force, want the office's", version())
	}
	write(named("ours-number-2"))
	until(t, "the new rules are in force", func() bool { return version() == "ours-number-2" })
	write(named("ours-3") + "\nnonsense: 1\n")
	v := &view{App: a}
	alarm := func() bool {
		for _, x := range v.alarms() {
			if x.What == "rules" {
				return true
			}
		}
		return false
	}
	until(t, "an alarm about the wrong file", alarm)
	if version() != "ours-number-2" {
		t.Errorf("rules %q are in force, want those before the wrong file", version())
	}
	write(named("ours-number-4"))
	until(t, "the mended rules are in force", func() bool { return version() == "ours-number-4" })
	if alarm() {
		t.Error("the alarm stands although the file is right again")
	}
}

func TestWrongRulesAreRefusedAtStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte("version: x\nrulez: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := writeConfig(t, "routing:\n  rules: "+file+"\n")
	_, err := Load(config, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "rules.yaml 第 2 行") {
		t.Errorf("a wrong file of rules gives %v", err)
	}
}

// What the command line writes beside a running hotline is in force there.
func TestWhatAnotherProcessWritesIsTakenUp(t *testing.T) {
	c := quiet(t)
	a := serve(t, c, io.Discard)
	beside, err := OpenStore(t.Context(), c, StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	if n := len(a.cases.Registry().Grids()); n != 0 {
		t.Fatalf("%d grids before any was read", n)
	}
	file := filepath.Join(t.TempDir(), "grids.csv")
	if err := os.WriteFile(file, []byte("code,name,level,parent,worker\n320599,梅溪区,district,,\n320599001,梅溪街道,street,320599,\n320599001001,梅苑社区,community,320599001,\n32059900100101,第一网格,grid,320599001001,李四\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if err := beside.ImportGrids(t.Context(), []string{file}, false, &said); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	until(t, "the grids are in force", func() bool { return len(a.cases.Registry().Grids()) == 1 })
	number := pii.NewPhone("051255501234")
	if _, err := beside.residents.Save(t.Context(), residents.Card{Name: pii.NewName("张三"), Numbers: []residents.Number{{Number: number}}, Older: true}); err != nil {
		t.Fatal(err)
	}
	until(t, "the resident's card is known", func() bool { return a.older(a.token(number)) })
	if err := beside.residents.Block(t.Context(), residents.Blocked{Token: a.token(number), Reason: "test", At: a.now()}); err != nil {
		t.Fatal(err)
	}
	until(t, "the caller is blocked", func() bool { return a.residents.Blocked(t.Context(), a.token(number), "main", a.now()) })
}
