package media

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/sound"
)

// A recording is a file of its own kind (*.yrec), since a sealed one must stay readable when the program is killed in the middle:
//
//	header   "YREC", version 1, channels, cipher (0 none, 1 AES-256-GCM), 0; started (ms since 1970, 8 bytes); salt (8 bytes);
//	         length of the recording's id, length of the contact's id, both ids; CRC-32 of all that. Big endian, as everywhere in it.
//	chunk    kind (1 byte: 'A' sound, 'E' the end), 0, samples per channel (2 bytes), number (4 bytes, from 0);
//	         payload; tag (16 bytes of GCM, or 4 bytes of CRC-32)
//
// A chunk of sound holds one second, the last one less: the first channel's A-law codes, then the second's. The end holds the number of
// samples per channel (8 bytes), packets that are missing (4 bytes) and flags (4 bytes, 1: cut short). Each chunk is sealed by itself; its nonce is seven
// bytes of the salt, its kind and its number, and the header and the chunk's own head are authenticated with it. A chunk that is torn, or does not
// open, ends the recording there. While it is written it lies in open/, afterwards in one of 256 folders by its id, so that none grows too large.

const (
	yrecVersion   = 1
	chunkHead     = 8
	kindSound     = 'A'
	kindEnd       = 'E'
	endLen        = 16
	openDir       = "open"
	suffix        = ".yrec"
	maxHeader     = 24 + 2 + 2*255 + 4
	flagCutShort  = 1
	secondSamples = sound.Rate
)

// ErrRecording is wrapped when a file is no recording, or its key does not fit.
var ErrRecording = errors.New("media: not a recording that we can read")

// Info is what a recording says about itself.
type Info struct {
	ID       intake.RecordingID
	Contact  intake.ContactID
	Started  time.Time
	Channels int
	Sealed   bool
	Samples  int64  // per channel
	Missing  uint32 // packets that were not written, since the disk did not keep up
	CutShort bool   // it ended because the program did
	Complete bool   // it has its end; false: still being written, or left by a crash
}

// Duration is how long it is.
func (i Info) Duration() time.Duration { return time.Duration(i.Samples) * time.Second / sound.Rate }

// fitsFile says whether an id may be a file's name.
func fitsFile(id string) bool {
	if id == "" || len(id) > 100 || id[0] == '.' {
		return false
	}
	for _, c := range []byte(id) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

func makeRecordingDir(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, openDir), 0o700); err != nil {
		return fmt.Errorf("media: folder for recordings: %w", err)
	}
	return nil
}

// RecordingPath is where a complete recording lies.
func RecordingPath(dir string, id intake.RecordingID) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(dir, hex.EncodeToString(sum[:1]), string(id)+suffix)
}

func openPath(dir string, id intake.RecordingID) string {
	return filepath.Join(dir, openDir, string(id)+suffix)
}

// FindRecording gives the path of a recording, complete or still being written. The error is fs.ErrNotExist when there is none.
func FindRecording(dir string, id intake.RecordingID) (string, error) {
	if !fitsFile(string(id)) {
		return "", fmt.Errorf("%w: id %q", os.ErrNotExist, id)
	}
	path := RecordingPath(dir, id)
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		if _, err2 := os.Stat(openPath(dir, id)); err2 == nil {
			return openPath(dir, id), nil
		}
	}
	return path, err
}

func newCipher(key []byte) (cipher.AEAD, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("media: a recording's key has %d bytes, want 32", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// recFile is a recording being written. It belongs to the recorder; sync and complete to the syncer, which may call sync meanwhile.
type recFile struct {
	info    Info
	dir     string
	header  []byte
	salt    [8]byte
	aead    cipher.AEAD
	sum     hash.Hash
	number  uint32
	second  int64 // the first of the two that window holds
	window  [2][2][secondSamples]byte
	samples int64
	decoder [2]*sound.DecoderG722
	err     error

	mu       sync.Mutex // of f: closing and syncing
	f        *os.File
	dirty    atomic.Bool
	syncedAt int64 // of the syncer
}

func createRecording(dir string, info Info, aead cipher.AEAD) (*recFile, error) {
	f := &recFile{info: info, dir: dir, aead: aead, sum: sha256.New()}
	f.info.Sealed = aead != nil
	if _, err := rand.Read(f.salt[:]); err != nil {
		return nil, err
	}
	f.header = appendHeader(nil, f.info, f.salt)
	if _, err := os.Stat(RecordingPath(dir, info.ID)); err == nil {
		return nil, fmt.Errorf("media: recording %s exists", info.ID)
	}
	var err error
	if f.f, err = os.OpenFile(openPath(dir, info.ID), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("media: recording: %w", err)
	}
	for w := range f.window {
		f.clear(w)
	}
	f.write(f.header)
	return f, f.err
}

func appendHeader(b []byte, info Info, salt [8]byte) []byte {
	sealed := byte(0)
	if info.Sealed {
		sealed = 1
	}
	from := len(b)
	b = append(b, "YREC"...)
	b = append(b, yrecVersion, byte(info.Channels), sealed, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(info.Started.UnixMilli()))
	b = append(b, salt[:]...)
	b = append(b, byte(len(info.ID)), byte(len(info.Contact)))
	b = append(b, info.ID...)
	b = append(b, info.Contact...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[from:]))
}

func parseHeader(b []byte) (info Info, salt [8]byte, length int, err error) {
	bad := func(why string) (Info, [8]byte, int, error) {
		return Info{}, salt, 0, fmt.Errorf("%w: %s", ErrRecording, why)
	}
	if len(b) < 26 || string(b[:4]) != "YREC" {
		return bad("no header")
	}
	if b[4] != yrecVersion || b[5] < 1 || b[5] > 2 || b[6] > 1 {
		return bad(fmt.Sprintf("version %d, %d channels, cipher %d", b[4], b[5], b[6]))
	}
	id, contact := int(b[24]), int(b[25])
	length = 26 + id + contact + 4
	if len(b) < length {
		return bad("its header is cut off")
	}
	if crc32.ChecksumIEEE(b[:length-4]) != binary.BigEndian.Uint32(b[length-4:]) {
		return bad("its header is damaged")
	}
	copy(salt[:], b[16:])
	return Info{ID: intake.RecordingID(b[26 : 26+id]), Contact: intake.ContactID(b[26+id : 26+id+contact]),
		Started: time.UnixMilli(int64(binary.BigEndian.Uint64(b[8:]))).UTC(), Channels: int(b[5]), Sealed: b[6] == 1}, salt, length, nil
}

func (f *recFile) clear(w int) {
	for ch := range f.window[w] {
		fillSilence(f.window[w][ch][:], alaw)
	}
}

func (f *recFile) write(b []byte) {
	if f.err != nil {
		return
	}
	if _, err := f.f.Write(b); err != nil {
		f.err = fmt.Errorf("media: recording %s: %w", f.info.ID, err)
		return
	}
	f.sum.Write(b)
	f.dirty.Store(true)
}

// place puts sound at its time. What comes after its second was written is lost; what is far ahead moves the window.
func (f *recFile) place(ch int, pos int64, codec lang, b []byte, scratch *[]byte) {
	if ch >= f.info.Channels || f.err != nil {
		return
	}
	for pos+int64(len(b)) > (f.second+2)*secondSamples && f.err == nil {
		f.writeSecond(secondSamples, scratch)
	}
	for _, c := range b {
		code := c
		switch codec {
		case ulaw:
			code = sound.UToA[c]
		case g722:
			if f.decoder[ch] == nil {
				f.decoder[ch] = sound.NewDecoderG722()
			}
			code = sound.ToALaw(f.decoder[ch].Decode(c))
		}
		if at := pos - f.second*secondSamples; at >= 0 {
			f.window[at/secondSamples][ch][at%secondSamples] = code
		}
		pos++
	}
}

// writeSecond seals and writes the first second of the window, n samples of it.
func (f *recFile) writeSecond(n int, scratch *[]byte) {
	b := append((*scratch)[:0], make([]byte, chunkHead)...)
	for ch := range f.info.Channels {
		b = append(b, f.window[0][ch][:n]...)
	}
	b = sealChunk(b, kindSound, uint16(n), f.number, f.header, f.salt, f.aead)
	*scratch = b
	f.write(b)
	f.number++
	f.samples += int64(n)
	f.second++
	f.window[0] = f.window[1]
	f.clear(1)
}

// sealChunk fills in the head of b and seals what follows it, in place.
func sealChunk(b []byte, kind byte, samples uint16, number uint32, header []byte, salt [8]byte, aead cipher.AEAD) []byte {
	b[0], b[1] = kind, 0
	binary.BigEndian.PutUint16(b[2:], samples)
	binary.BigEndian.PutUint32(b[4:], number)
	if aead == nil {
		return binary.BigEndian.AppendUint32(b, chunkCRC(b, header))
	}
	nonce := chunkNonce(salt, kind, number)
	ad := append(append(make([]byte, 0, maxHeader+chunkHead), header...), b[:chunkHead]...)
	return aead.Seal(b[:chunkHead], nonce[:], b[chunkHead:], ad)
}

// chunkCRC covers the header too, so that a chunk of another file is not taken for one of this.
func chunkCRC(b, header []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(header), crc32.IEEETable, b)
}

func chunkNonce(salt [8]byte, kind byte, number uint32) (nonce [12]byte) {
	copy(nonce[:], salt[:7])
	nonce[7] = kind
	binary.BigEndian.PutUint32(nonce[8:], number)
	return nonce
}

// openChunk gives a chunk's payload, opened in place.
func openChunk(b []byte, header []byte, salt [8]byte, aead cipher.AEAD) ([]byte, error) {
	if aead == nil {
		n := len(b) - 4
		if n < chunkHead || chunkCRC(b[:n], header) != binary.BigEndian.Uint32(b[n:]) {
			return nil, fmt.Errorf("%w: a damaged second", ErrRecording)
		}
		return b[chunkHead:n], nil
	}
	nonce := chunkNonce(salt, b[0], binary.BigEndian.Uint32(b[4:]))
	ad := append(append(make([]byte, 0, maxHeader+chunkHead), header...), b[:chunkHead]...)
	plain, err := aead.Open(b[chunkHead:chunkHead], nonce[:], b[chunkHead:], ad)
	if err != nil {
		return nil, fmt.Errorf("%w: a second does not open with this key", ErrRecording)
	}
	return plain, nil
}

func endChunk(samples int64, missing uint64, cut bool, number uint32, header []byte, salt [8]byte, aead cipher.AEAD) []byte {
	b := make([]byte, chunkHead+endLen, chunkHead+endLen+16)
	binary.BigEndian.PutUint64(b[chunkHead:], uint64(samples))
	binary.BigEndian.PutUint32(b[chunkHead+8:], uint32(min(missing, 1<<32-1)))
	if cut {
		binary.BigEndian.PutUint32(b[chunkHead+12:], flagCutShort)
	}
	return sealChunk(b, kindEnd, 0, number, header, salt, aead)
}

// end writes what is left, up to total samples, and the end.
func (f *recFile) end(total int64, missing uint64, cut bool, scratch *[]byte) {
	for f.err == nil && f.samples < total {
		f.writeSecond(int(min(secondSamples, total-f.samples)), scratch)
	}
	f.info.CutShort, f.info.Missing = cut, uint32(min(missing, 1<<32-1))
	if f.err == nil {
		f.write(endChunk(f.samples, missing, cut, f.number, f.header, f.salt, f.aead))
	}
}

// sync brings the file to the disk, at most once a second, and says how long it had waited (ns).
func (f *recFile) sync(now int64) (waited int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil || now-f.syncedAt < second || !f.dirty.Swap(false) {
		return 0
	}
	if f.syncedAt > 0 {
		waited = now - f.syncedAt
	}
	f.syncedAt = now
	_ = syncData(f.f.Fd()) // what does not reach the disk is said when it is complete
	return waited
}

// complete syncs and closes the file, gives it its name and says how it is.
func (f *recFile) complete() telephony.Recorded {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := telephony.Recorded{Recording: f.info.ID, Millis: f.samples * 1000 / sound.Rate, Channels: f.info.Channels, CutShort: f.info.CutShort}
	err := f.err
	if f.f != nil {
		if e := f.f.Sync(); err == nil {
			err = e
		}
		if e := f.f.Close(); err == nil {
			err = e
		}
		f.f = nil
		if err == nil {
			err = settle(f.dir, f.info.ID)
		}
	}
	if err != nil {
		out.Err, out.CutShort = err.Error(), true
		return out
	}
	out.SHA256 = hex.EncodeToString(f.sum.Sum(nil))
	return out
}

// settle moves a complete recording to its place, for good.
func settle(dir string, id intake.RecordingID) error {
	to := RecordingPath(dir, id)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(openPath(dir, id), to); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Recovered is a recording that a crash left open, now complete as far as it goes.
type Recovered struct {
	telephony.Recorded
	Contact intake.ContactID
	Started time.Time
}

// Recover completes the recordings that a crash left open: what is torn at the end is cut off, the rest is kept and marked as cut short. key
// gives their keys, as Config.Key does; nil when none is sealed. Call it before Open. A recording that cannot be completed stays where it is, and
// its Err says why.
func Recover(dir string, key func(intake.RecordingID, time.Time) ([]byte, error)) ([]Recovered, error) {
	entries, err := os.ReadDir(filepath.Join(dir, openDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("media: recover: %w", err)
	}
	var out []Recovered
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || !fitsFile(id) {
			continue
		}
		r := Recovered{Recorded: telephony.Recorded{Recording: intake.RecordingID(id), CutShort: true}}
		if err := r.recover(dir, key); err != nil {
			r.Err = err.Error()
		}
		out = append(out, r)
	}
	return out, nil
}

func (r *Recovered) recover(dir string, key func(intake.RecordingID, time.Time) ([]byte, error)) error {
	path := openPath(dir, r.Recording)
	info, err := ReadInfo(path)
	if err != nil {
		return err
	}
	r.Contact, r.Started, r.Channels = info.Contact, info.Started, info.Channels
	var secret []byte
	if info.Sealed {
		if key == nil {
			return fmt.Errorf("%w: it is sealed and there is no key", ErrRecording)
		}
		if secret, err = key(r.Recording, info.Started); err != nil {
			return err
		}
	}
	rec, err := OpenRecording(path, secret)
	if err != nil {
		return err
	}
	whole, err := rec.trim()
	header, salt, aead, number := rec.header, rec.salt, rec.aead, rec.chunks
	info = rec.info
	_ = rec.Close()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if !info.Complete {
		if err := f.Truncate(whole); err != nil {
			return err
		}
		if _, err := f.WriteAt(endChunk(info.Samples, 0, true, uint32(number), header, salt, aead), whole); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	r.Millis, r.CutShort, r.SHA256 = info.Samples*1000/sound.Rate, info.CutShort || !info.Complete, hex.EncodeToString(sum.Sum(nil))
	return settle(dir, r.Recording)
}
