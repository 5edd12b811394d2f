package bleve

import (
	"path/filepath"
	"testing"

	"yingda/search"
	"yingda/search/searchtest"
)

func TestConformance(t *testing.T) {
	dirs := map[string]string{}
	searchtest.Run(t, func(t *testing.T, name string) search.Index {
		t.Helper()
		key := t.Name() + name
		if dirs[key] == "" {
			dirs[key] = filepath.Join(t.TempDir(), "search")
		}
		x, err := Open(dirs[key], Config{})
		if err != nil {
			t.Fatal(err)
		}
		return x
	})
}
