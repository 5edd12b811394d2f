package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/telephony/media"
	"yingda/web"
)

type recordingsView struct{ *view }

// ErrNoRecording says that a contact has no recording that can be read.
var ErrNoRecording = errors.New("there is no recording of this contact")

// OpenRecording opens the recording of a contact as a WAV of two channels: the resident left, the other side right.
func (a *App) OpenRecording(ctx context.Context, id intake.ContactID) (io.ReadSeekCloser, error) {
	r, _, err := a.recordingOf(ctx, id)
	return r, err
}

func (a *App) recordingOf(ctx context.Context, id intake.ContactID) (*media.Recording, intake.RecordingID, error) {
	list, err := a.books.Recordings(ctx, id)
	if err != nil {
		return nil, "", err
	}
	if len(list) == 0 {
		return nil, "", ErrNoRecording
	}
	rec := list[len(list)-1].ID
	path, err := media.FindRecording(filepath.Join(a.Config.Data, "recordings"), rec)
	if err != nil {
		return nil, rec, fmt.Errorf("%w: %w", ErrNoRecording, err)
	}
	info, err := media.ReadInfo(path)
	if err != nil {
		return nil, rec, err
	}
	secret, err := a.keys.recording(rec, info.Started)
	if err != nil {
		return nil, rec, err
	}
	r, err := media.OpenRecording(path, secret)
	return r, rec, err
}

// recoverRecordings finishes what a crash left open and says so in the stream.
func (a *App) recoverRecordings(ctx context.Context) error {
	list, err := media.Recover(filepath.Join(a.Config.Data, "recordings"), a.keys.recording)
	for _, r := range list {
		if r.Contact == "" || r.Err != "" {
			continue
		}
		c, err := a.books.Contact(ctx, r.Contact)
		if err != nil {
			a.log.Warn("a recording of a contact that the books do not know", "recording", r.Recording, "err", err)
			continue
		}
		// The writer of that contact is dead; the number goes on from the newest that the books have.
		seq := c.Newest.Next(a.Epoch)
		e := intake.Event{Source: a.Source, Subject: r.Contact.Subject(), Sequence: seq, Time: intake.Millis(a.now()), PartitionKey: c.Key,
			Data: &intake.RecordedV1{ID: r.Recording, Millis: r.Millis, Channels: r.Channels, SHA256: r.SHA256, CutShort: r.CutShort}}
		if err := a.Log.Append(ctx, e); err != nil {
			return err
		}
	}
	return err
}

func (v recordingsView) Open(ctx context.Context, _ web.Viewer, id intake.ContactID) (web.RecordingFile, error) {
	r, rec, err := v.recordingOf(ctx, id)
	if errors.Is(err, ErrNoRecording) {
		return web.RecordingFile{}, web.ErrNotFound
	}
	if err != nil {
		return web.RecordingFile{}, err
	}
	info := r.Info()
	return web.RecordingFile{ReadSeekCloser: r, ID: rec, Length: info.Duration(), Made: info.Started}, nil
}

func (v recordingsView) Played(ctx context.Context, who web.Viewer, id intake.ContactID, rec intake.RecordingID, from, to time.Duration) error {
	toMS := to.Milliseconds()
	if to < 0 {
		toMS = -1
	}
	return v.lookedAt(ctx, id, &intake.RecordingPlayedV1{Viewer: who.ID, Recording: rec, FromMS: from.Milliseconds(), ToMS: toMS})
}

type revealDeeds struct{ *view }

func (v revealDeeds) Number(ctx context.Context, who web.Viewer, id intake.ContactID, reason string) (pii.Phone, error) {
	c, err := v.books.Contact(ctx, id)
	if err != nil {
		return pii.Phone{}, notFound(err)
	}
	err = v.lookedAt(ctx, id, &intake.PersonRevealedV1{Viewer: who.ID, What: id.Subject(), Field: "number", Reason: reason})
	if err != nil {
		return pii.Phone{}, err // not written down, so not given
	}
	return c.Number, nil
}

// lookedAt writes down that somebody looked, before they see it. Each look is a subject of its own: nobody counts them under a lock.
func (s *Store) lookedAt(ctx context.Context, contact intake.ContactID, d intake.Data) error {
	subject := intake.Subject("person/" + newID())
	return s.DB.Tx(ctx, func(tx *store.Tx) error {
		return tx.Emit(ctx, intake.Event{Source: s.Source, Subject: subject, Sequence: intake.NewSequence(s.Epoch, 1), Time: intake.Millis(s.now()),
			PartitionKey: string(contact), Data: d})
	})
}
