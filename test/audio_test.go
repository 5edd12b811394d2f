package test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"yingda/intake"
)

// baresip starts a phone that sends a tone all the time and writes down what it hears (module sndfile). Account is a line
// of its accounts file.
func baresip(t *testing.T, account string, tone float64, commands ...string) (p *peer, heard func() []int16) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tone.wav", toneWAV(tone, 60))
	write("accounts", []byte(account+"\n"))
	write("contacts", nil)
	write("config", fmt.Appendf(nil, `sip_listen 127.0.0.1:%s
net_interface 127.0.0.1
rtp_ports 50000-59999
call_max_calls 4
audio_player aubridge,player
audio_source aufile,%[2]s/tone.wav
audio_alert aubridge,alert
audio_channels 1
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
snd_path %[2]s
`, freePort(t), dir))
	args := []string{"-4", "-f", dir}
	for _, c := range commands {
		args = append(args, "-e", c)
	}
	p = run(t, "baresip", args...)
	return p, func() []int16 {
		t.Helper()
		files, _ := filepath.Glob(filepath.Join(dir, "dump-*-dec.wav"))
		if len(files) == 0 {
			t.Fatalf("baresip heard nothing:\n%s", tail(p.out.String(), 30))
		}
		raw, err := os.ReadFile(files[len(files)-1])
		if err != nil || len(raw) < 44 {
			t.Fatalf("%v, %d bytes", err, len(raw))
		}
		return samples(raw[44:], 1, 0)
	}
}

// toneWAV is a sine at −12 dBFS, 8 kHz, 16 bits, one channel.
func toneWAV(f float64, seconds int) []byte {
	n := 8000 * seconds
	b := make([]byte, 44+2*n)
	copy(b, "RIFF")
	binary.LittleEndian.PutUint32(b[4:], uint32(36+2*n))
	copy(b[8:], "WAVEfmt ")
	for i, v := range []uint32{16, 1 | 1<<16, 8000, 16000, 2 | 16<<16} {
		binary.LittleEndian.PutUint32(b[16+4*i:], v)
	}
	copy(b[36:], "data")
	binary.LittleEndian.PutUint32(b[40:], uint32(2*n))
	for i := range n {
		binary.LittleEndian.PutUint16(b[44+2*i:], uint16(int16(8192*math.Sin(2*math.Pi*f*float64(i)/8000))))
	}
	return b
}

// samples of one channel of 16-bit PCM.
func samples(b []byte, channels, channel int) []int16 {
	out := make([]int16, 0, len(b)/(2*channels))
	for i := 2 * channel; i+1 < len(b); i += 2 * channels {
		out = append(out, int16(binary.LittleEndian.Uint16(b[i:])))
	}
	return out
}

// level is how much of the samples' energy is at f, in dB: 0 for a pure tone (Goertzel).
func level(s []int16, f float64) float64 {
	if len(s) == 0 {
		return math.Inf(-1)
	}
	c := 2 * math.Cos(2*math.Pi*f/8000)
	var s1, s2, power float64
	for _, v := range s {
		x := float64(v)
		power += x * x
		s1, s2 = x+c*s1-s2, s1
	}
	if power == 0 {
		return math.Inf(-1)
	}
	at := (s1*s1 + s2*s2 - c*s1*s2) * 2 / (float64(len(s)) * power)
	return 10 * math.Log10(at)
}

// hears wants f, and not the other, in some half second of the samples.
func hears(t *testing.T, who string, s []int16, f, not float64) {
	t.Helper()
	best, worst := math.Inf(-1), math.Inf(-1)
	for i := 0; i+4000 <= len(s); i += 2000 {
		best, worst = max(best, level(s[i:i+4000], f)), max(worst, level(s[i:i+4000], not))
	}
	if best < -1 {
		t.Errorf("%s does not hear %.0f Hz: %.1f dB at best in %d samples", who, f, best, len(s))
	}
	if worst > -12 {
		t.Errorf("%s hears %.0f Hz, its own or the other side's: %.1f dB", who, not, worst)
	}
}

// TestHeard: baresip phones in, baresip is a registered operator; each hears the other's tone and not its own, and the
// recording holds the resident in the first channel, the operator in the second.
func TestHeard(t *testing.T) {
	t.Parallel()
	const resident, operator = 700, 1100
	h := start(t, config(t))
	user, secret := h.operator("zhang")
	desk, operatorHeard := baresip(t, fmt.Sprintf("<sip:%s@%s>;auth_pass=%s;answermode=auto;regint=60", user, h.udp, secret), operator)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the operator's baresip:\n%s", tail(desk.out.String(), 25))
		}
	})
	waitFor(t, "the operator is free", 20*time.Second, func() bool { return h.OperatorState(t.Context(), "zhang") == "idle" })
	caller, residentHeard := baresip(t, "<sip:051255501234@127.0.0.1>;regint=0", resident, fmt.Sprintf("d sip:12345@%s", h.udp))
	waitFor(t, "the call to be answered", 30*time.Second, func() bool {
		c := h.contacts()
		return len(c) == 1 && c[0].AnsweredAt != nil
	})
	pause(4 * time.Second)
	_ = caller.cmd.Process.Signal(os.Interrupt) // hangs up and ends
	e := h.ended(1)[0]
	if *e.Outcome != intake.Answered {
		t.Fatalf("outcome %s", *e.Outcome)
	}
	hears(t, "the operator", operatorHeard(), resident, operator)
	said := residentHeard()
	hears(t, "the resident", said[len(said)/2:], operator, resident) // the greeting comes first
	var file io.ReadSeekCloser
	waitFor(t, "the recording", 15*time.Second, func() bool {
		f, err := h.OpenRecording(t.Context(), e.ID)
		if err != nil {
			return false
		}
		file = f
		return true
	})
	defer file.Close()
	raw, err := io.ReadAll(file)
	if err != nil || len(raw) < 44+4*8000*2 {
		t.Fatalf("recording: %v, %d bytes", err, len(raw))
	}
	hears(t, "the recording's first channel", samples(raw[44:], 2, 0), resident, operator)
	hears(t, "the recording's second channel", samples(raw[44:], 2, 1), operator, resident)
	h.clean()
}
