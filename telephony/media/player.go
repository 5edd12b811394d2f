package media

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"yingda/telephony/sound"
)

// Recording is a recording opened for listening: a WAV file of 16 bit PCM, 8,000 a second, with as many channels as it has, the resident first.
// It is an io.ReadSeeker, fit for http.ServeContent. Not for several goroutines at once.
type Recording struct {
	f      *os.File
	info   Info
	header []byte
	salt   [8]byte
	aead   cipher.AEAD
	chunks int64 // of sound, whole ones and the last
	last   int   // samples of the last chunk

	wav   []byte // header of the WAV file
	at    int64  // where Read goes on
	chunk int64  // which second is in pcm; −1: none
	codes []byte // its A-law codes, channel after channel
	buf   []byte
}

func (r *Recording) tag() int {
	if r.info.Sealed {
		return 16
	}
	return 4
}

// chunkSize is what a chunk with so many samples takes in the file.
func (r *Recording) chunkSize(samples int) int64 {
	return int64(chunkHead + samples*r.info.Channels + r.tag())
}

func (r *Recording) offset(chunk int64) int64 {
	return int64(len(r.header)) + chunk*r.chunkSize(secondSamples)
}

// ReadInfo says what can be known without the key: all but Missing and CutShort, when it is sealed.
func ReadInfo(path string) (Info, error) {
	r, err := openFrame(path)
	if err != nil {
		return Info{}, err
	}
	defer r.Close()
	return r.info, nil
}

// OpenRecording opens a recording. key is nil when it is not sealed. ErrRecording: it is none, or the key does not fit.
func OpenRecording(path string, key []byte) (*Recording, error) {
	r, err := openFrame(path)
	if err != nil {
		return nil, err
	}
	if r.info.Sealed {
		if r.aead, err = newCipher(key); err != nil {
			_ = r.Close()
			return nil, err
		}
	}
	if r.info.Complete {
		err = r.readEnd()
	} else {
		_, err = r.trim()
	}
	if err == nil && r.chunks > 0 {
		err = r.load(0)
	}
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	r.wav = sound.HeaderWAV(sound.PCM16, r.info.Channels, r.info.Samples*int64(2*r.info.Channels))
	return r, nil
}

// openFrame reads the header and finds the chunks by their heads.
func openFrame(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := &Recording{f: f, chunk: -1}
	head := make([]byte, maxHeader)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = f.Close()
		return nil, err
	}
	var length int
	if r.info, r.salt, length, err = parseHeader(head[:n]); err != nil {
		_ = f.Close()
		return nil, err
	}
	r.header = head[:length]
	if err := r.frame(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

// frame counts whole chunks. All but the last have one second, so that it suffices to look at the end.
func (r *Recording) frame() error {
	stat, err := r.f.Stat()
	if err != nil {
		return err
	}
	size := stat.Size()
	full := max(0, (size-r.offset(0))/r.chunkSize(secondSamples))
	// The last place may hold a full second, or a short one and the end, which together are longer; its head says which.
	for r.chunks = max(0, full-1); ; r.chunks++ {
		kind, samples, err := r.head(r.chunks, r.chunks, size)
		if err != nil || kind == 0 {
			break
		}
		if kind == kindEnd {
			r.info.Complete = true
			break
		}
		if samples < secondSamples {
			r.last = samples
			r.chunks++
			kind, _, err := r.headAt(r.offset(r.chunks-1)+r.chunkSize(samples), r.chunks, size)
			r.info.Complete = err == nil && kind == kindEnd
			break
		}
	}
	if r.last == 0 && r.chunks > 0 {
		r.last = secondSamples
	}
	r.count()
	return nil
}

func (r *Recording) count() {
	r.info.Samples = 0
	if r.chunks > 0 {
		r.info.Samples = (r.chunks-1)*secondSamples + int64(r.last)
	}
}

func (r *Recording) head(chunk, number, size int64) (kind byte, samples int, err error) {
	return r.headAt(r.offset(chunk), number, size)
}

// headAt reads a chunk's head; kind is 0 when there is no whole chunk of that number.
func (r *Recording) headAt(at, number, size int64) (kind byte, samples int, err error) {
	var h [chunkHead]byte
	if at+chunkHead > size {
		return 0, 0, nil
	}
	if _, err := r.f.ReadAt(h[:], at); err != nil {
		return 0, 0, err
	}
	kind, samples = h[0], int(binary.BigEndian.Uint16(h[2:]))
	length := r.chunkSize(samples)
	if kind == kindEnd {
		length = int64(chunkHead + endLen + r.tag())
	}
	if kind != kindSound && kind != kindEnd || samples > secondSamples || kind == kindSound && samples == 0 ||
		int64(binary.BigEndian.Uint32(h[4:])) != number || at+length > size {
		return 0, 0, nil
	}
	return kind, samples, nil
}

func (r *Recording) endOffset() int64 {
	if r.chunks == 0 {
		return r.offset(0)
	}
	return r.offset(r.chunks-1) + r.chunkSize(r.last)
}

func (r *Recording) readEnd() error {
	b := make([]byte, chunkHead+endLen+r.tag())
	if _, err := r.f.ReadAt(b, r.endOffset()); err != nil {
		return err
	}
	plain, err := openChunk(b, r.header, r.salt, r.aead)
	if err != nil {
		return err
	}
	if n := int64(binary.BigEndian.Uint64(plain)); n != r.info.Samples {
		return fmt.Errorf("%w: it has %d samples, its end says %d", ErrRecording, r.info.Samples, n)
	}
	r.info.Missing = binary.BigEndian.Uint32(plain[8:])
	r.info.CutShort = binary.BigEndian.Uint32(plain[12:])&flagCutShort != 0
	return nil
}

// trim drops chunks at the end of a recording without an end that do not open: a power cut may leave a whole chunk of zeros. It gives the
// file's length up to there.
func (r *Recording) trim() (int64, error) {
	if r.info.Complete {
		return r.endOffset(), nil
	}
	for r.chunks > 0 {
		err := r.load(r.chunks - 1)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrRecording) {
			return 0, err
		}
		if r.chunks == 1 && r.info.Sealed {
			return 0, err // nothing opens: more likely the wrong key
		}
		r.chunks--
		r.last = secondSamples
	}
	r.count()
	return r.endOffset(), nil
}

// load brings one second into memory.
func (r *Recording) load(chunk int64) error {
	if r.chunk == chunk {
		return nil
	}
	samples := secondSamples
	if chunk == r.chunks-1 {
		samples = r.last
	}
	n := int(r.chunkSize(samples))
	if cap(r.buf) < n {
		r.buf = make([]byte, r.chunkSize(secondSamples))
	}
	b := r.buf[:n]
	r.chunk = -1
	if _, err := r.f.ReadAt(b, r.offset(chunk)); err != nil {
		return err
	}
	if b[0] != kindSound || int64(binary.BigEndian.Uint32(b[4:])) != chunk || int(binary.BigEndian.Uint16(b[2:])) != samples {
		return fmt.Errorf("%w: second %d is not where it should be", ErrRecording, chunk)
	}
	plain, err := openChunk(b, r.header, r.salt, r.aead)
	if err != nil {
		return err
	}
	r.codes, r.chunk = plain, chunk
	return nil
}

// Info is what the recording says about itself.
func (r *Recording) Info() Info { return r.info }

// Close closes the file.
func (r *Recording) Close() error { return r.f.Close() }

// size is the length of the WAV file.
func (r *Recording) size() int64 {
	return int64(len(r.wav)) + r.info.Samples*int64(2*r.info.Channels)
}

// Seek as io.Seeker has it.
func (r *Recording) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size()
	case io.SeekStart:
	default:
		return 0, fmt.Errorf("media: seek from %d", whence)
	}
	if offset < 0 {
		return 0, fmt.Errorf("media: seek before the beginning")
	}
	r.at = offset
	return offset, nil
}

// Read as io.Reader has it. ErrRecording: a second in the middle is damaged.
func (r *Recording) Read(b []byte) (n int, err error) {
	if r.at >= r.size() {
		return 0, io.EOF
	}
	for n < len(b) && r.at < r.size() {
		if r.at < int64(len(r.wav)) {
			m := copy(b[n:], r.wav[r.at:])
			n, r.at = n+m, r.at+int64(m)
			continue
		}
		width := int64(2 * r.info.Channels)
		pos := r.at - int64(len(r.wav))
		frame := pos / width
		if err := r.load(frame / secondSamples); err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		samples := len(r.codes) / r.info.Channels
		for i, k := int(frame%secondSamples), pos%width; i < samples && n < len(b); i, k = i+1, 0 {
			for ; k < width && n < len(b); k++ {
				v := sound.ALaw[r.codes[int(k/2)*samples+i]]
				b[n] = byte(v >> (8 * (k % 2)))
				n++
				r.at++
			}
		}
	}
	return n, nil
}

// Peaks gives the shape of the sound for a picture: n columns of the whole, per channel the largest magnitude of each (0 … 32,767).
func (r *Recording) Peaks(n int) ([][]uint16, error) {
	if n < 1 || n > 1<<20 {
		return nil, fmt.Errorf("media: %d columns", n)
	}
	out := make([][]uint16, r.info.Channels)
	for ch := range out {
		out[ch] = make([]uint16, n)
	}
	for c := range r.chunks {
		if err := r.load(c); err != nil {
			return nil, err
		}
		samples := len(r.codes) / r.info.Channels
		for ch := range out {
			for i, code := range r.codes[ch*samples : (ch+1)*samples] {
				column := (c*secondSamples + int64(i)) * int64(n) / r.info.Samples
				out[ch][column] = max(out[ch][column], loudness[alaw][code])
			}
		}
	}
	return out, nil
}
