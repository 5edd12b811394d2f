package app

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"yingda/telephony/ivr"
	"yingda/telephony/media"
	"yingda/telephony/prompts"
)

// promptPack is what callers are told: the office's own recordings, the built-in pack where there is none.
type promptPack struct{ library *prompts.Library }

// loadPrompts opens the folder ("" for none). What is wrong with a recording is said, and its prompt taken from the built-in pack: a
// bad file must not keep a hotline from answering.
func loadPrompts(folder string, log *slog.Logger) (*promptPack, error) {
	var fsys fs.FS
	if folder != "" {
		if _, err := os.Stat(folder); err != nil {
			return nil, fmt.Errorf("prompts: %w", err)
		}
		fsys = os.DirFS(folder)
	}
	library, problems := prompts.Open(fsys, prompts.Mandarin())
	for _, p := range problems {
		log.Error("a prompt is not fit to be heard; the built-in one is played", "file", p.File, "prompt", p.ID, "why", p.Why)
	}
	return &promptPack{library}, nil
}

// clip finds a prompt for the media plane.
func (p *promptPack) clip(id, dialect string) (media.Clip, bool) {
	c, ok := p.library.Clip(id, dialect)
	return media.Clip(c), ok
}

// CheckPrompts says everything that is wrong with a pack; the folder "" is the built-in one.
func CheckPrompts(folder string, w io.Writer) error {
	var want []string
	for _, s := range ivr.Sentences() {
		want = append(want, s.ID)
	}
	if folder == "" { // the one inside: it panics when it is broken, and the tests hold it whole
		_, err := fmt.Fprintf(w, "%d prompts inside, all fit to be heard\n", len(prompts.Mandarin().IDs()))
		return err
	}
	var fsys fs.FS
	{
		if _, err := os.Stat(folder); err != nil {
			return err
		}
		fsys = os.DirFS(folder)
	}
	problems := prompts.Check(fsys, want)
	for _, p := range problems {
		fmt.Fprintln(w, p)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d things are wrong with the pack", len(problems))
	}
	_, err := fmt.Fprintf(w, "%d prompts, all fit to be heard\n", len(want))
	return err
}
