package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"yingda/routing/rules"
)

// rulesFile is the office's own set of rules, when it has one. A change of the file comes into force within a second or two; one that
// cannot be read leaves the rules as they are, and an alarm stands until the file is right again.
type rulesFile struct {
	path string
	zone *time.Location
	size int64 // of what was read last
	at   time.Time
	bad  atomic.Int64 // since when the file is wrong, ms; 0: it is not
}

func newRulesFile(path string, zone *time.Location) *rulesFile {
	return &rulesFile{path: path, zone: zone}
}

// read gives the set when the file is another than the one read last; nil when it is the same, or when there is no file to read.
func (f *rulesFile) read() (*rules.Set, error) {
	if f.path == "" {
		return nil, nil
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if info.Size() == f.size && info.ModTime().Equal(f.at) {
		return nil, nil
	}
	set, err := readRules(f.path, f.zone)
	f.size, f.at = info.Size(), info.ModTime() // a wrong file is complained of once
	return set, err
}

func readRules(path string, zone *time.Location) (*rules.Set, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	set, err := rules.Parse(path, raw, zone)
	if err != nil {
		return nil, fmt.Errorf("rules:\n%w", err)
	}
	return set, nil
}

// reloadRules puts the office's rules in force when the file has changed.
func (a *App) reloadRules() {
	set, err := a.rulesFile.read()
	switch {
	case err != nil:
		if a.rulesFile.bad.CompareAndSwap(0, a.now().UnixMilli()) {
			a.log.Error("the file of rules cannot be used; the rules in force stay", "err", err)
			a.changes.tell()
		}
	case set != nil:
		a.cases.SetRules(set)
		a.rulesFile.bad.Store(0)
		a.log.Info("rules are in force from the office's file", "file", a.rulesFile.path)
		a.changes.tell()
	}
}

// refresh takes up what another process has written into the tables: grids, residents' cards, callers who are blocked, secrets that it
// has destroyed.
func (a *App) refresh(ctx context.Context) error {
	if err := a.keys.refresh(ctx); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	grids, err := a.cases.Refresh(ctx)
	if err != nil {
		return fmt.Errorf("grids: %w", err)
	}
	cards, err := a.residents.Refresh(ctx)
	if err != nil {
		return fmt.Errorf("residents: %w", err)
	}
	if grids || cards {
		a.changes.tell()
	}
	return nil
}

// CheckRules reads a file of rules and says what is wrong with it, line by line.
func CheckRules(c Config, path string, w io.Writer) error {
	if _, err := readRules(path, c.location()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: the rules can be used; name the file under routing.rules\n", path)
	return err
}

// PrintRules writes the rules in force: the office's file, or the set that comes with the program, to begin one's own with.
func PrintRules(c Config, w io.Writer) error {
	raw := rules.DefaultYAML()
	if c.Routing.Rules != "" {
		var err error
		if raw, err = os.ReadFile(c.Routing.Rules); err != nil {
			return fmt.Errorf("rules: %w", err)
		}
	}
	_, err := w.Write(raw)
	return err
}
