package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"yingda/routing/grid"
)

// ErrRefusedRows says that rows of an import were refused; each was told with its reason.
var ErrRefusedRows = errors.New("some rows were refused")

// ImportGrids reads districts, streets, communities and grids from files (CSV, GeoJSON) and puts them in force. With dry it only
// says what it would take, and why it would not take the rest.
func (s *Store) ImportGrids(ctx context.Context, paths []string, dry bool, w io.Writer) error {
	src := grid.Source{Version: s.now().In(s.Config.location()).Format("2006-01-02T15:04"), From: s.now()}
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		src.Files = append(src.Files, grid.File{Name: filepath.Base(p), Body: raw})
	}
	registry, report := grid.Import(src)
	for _, r := range report.Refused {
		if _, err := fmt.Fprintln(w, r); err != nil {
			return err
		}
	}
	n := 0
	if registry != nil {
		n = len(registry.Grids())
	}
	fmt.Fprintf(w, "%d rows read, %d refused; %d grids\n", report.Rows, len(report.Refused), n)
	if registry == nil {
		return fmt.Errorf("%w: nothing is left to take", ErrRefusedRows)
	}
	if !dry {
		if err := s.cases.SaveRegistry(ctx, registry, len(report.Refused), ""); err != nil {
			return err
		}
		fmt.Fprintln(w, "in force")
	}
	if len(report.Refused) > 0 {
		return ErrRefusedRows
	}
	return nil
}
