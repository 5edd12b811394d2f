//go:build services

package test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFaultKafka: Kafka is away for 60 s under 10 calls and 50 messages a second. Calls and chats go on, the wall says up to when it is and why, and afterwards nothing
// is missing or double. Beside it stands an office whose small disk fills up in that time: an alarm stands long before, and when there is room again everything arrives.
func TestFaultKafka(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test mounts a small file system and needs root")
	}
	o, small := newOffice(t), newOffice(t)
	s := o.node("n1", "127.0.0.1")
	s.env = append(s.env, "YINGDA_QUEUE_CHATS=15")
	s.start()
	base := func() string { return "http://" + s.http }
	_, taken := o.phone("phone", s, time.Minute)
	super := o.supervisor(base())

	tight := small.node("n1", "127.0.0.4")
	if err := syscall.Mount("tmpfs", tight.data, "tmpfs", 0, "size=48m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(tight.data, syscall.MNT_DETACH) })
	tight.env = append(tight.env, "YINGDA_STREAM_BUDGET=16000000")
	tight.start()
	warden := small.supervisor("http://" + tight.http)

	phones, others, crowd := s.callers(10, time.Second), tight.callers(3, time.Second), o.chatters(base, 26, 3)
	waitFor(t, "people to phone and write", 40*time.Second, func() bool { return crowd.all() > 150 && len(heard(phones)) > 30 && len(heard(others)) > 10 })
	services(t, "kill", "kafka")
	away, had, answered := time.Now(), crowd.all(), taken.Load()

	waitFor(t, "the wall to say that Kafka is away and up to when it is", 30*time.Second, func() bool {
		wall := page(super, base()+"/wall")
		return strings.Contains(wall, "Kafka 不通") && strings.Contains(wall, "数据")
	})
	t.Logf("the wall said so after %s", time.Since(away).Round(100*time.Millisecond))

	// The other office: 42 of 48 MB are taken by something else.
	junk := filepath.Join(tight.data, "junk")
	leave(t, junk, tight.data, 6<<20)
	waitFor(t, "the wall to say that room for events runs out", 30*time.Second, func() bool {
		wall := page(warden, "http://"+tight.http+"/wall")
		if strings.Contains(wall, "磁盘写不进") {
			t.Fatal("the disk was full before an alarm stood")
		}
		return strings.Contains(wall, "留给 Kafka 的事件占的磁盘快满了")
	})
	full := time.Now()
	fillDisk(t, junk)
	waitFor(t, "the program to say that its log does not write", 20*time.Second, func() bool { return tight.metric("yingda_log_degraded") == 1 })
	for time.Since(full) < 15*time.Second {
		fillDisk(t, junk+"2")
		pause(500 * time.Millisecond)
	}
	room := time.Now()
	if err := errors.Join(os.Remove(junk), os.Remove(junk+"2")); err != nil {
		t.Fatal(err)
	}
	pause(time.Until(away.Add(60 * time.Second)))
	back := time.Now()
	n, deaf, slowest := phones.between(away, back.Add(-5*time.Second))
	wrote := crowd.all() - had
	t.Logf("in %s without Kafka: %d calls heard of us, the slowest after %s, %d did not, an operator took %d; %d messages were ticked; %.0f events waited", back.Sub(away).Round(time.Second), n,
		slowest.Round(time.Millisecond), deaf, taken.Load()-answered, wrote, s.metric("yingda_outbox_lag_records"))
	if deaf > 0 || n < 500 || wrote < 60*40 {
		t.Errorf("calls or chats did not go on")
	}
	n, deaf, slowest = others.between(full, room)
	t.Logf("in %s with a full disk: %d calls heard of us, the slowest after %s, %d did not", room.Sub(full).Round(time.Second), n, slowest.Round(time.Millisecond), deaf)
	if deaf > 0 || n < 30 {
		t.Errorf("calls did not go on while the disk was full")
	}
	services(t, "up", "kafka")
	waitFor(t, "the wall to be of now again", 60*time.Second, func() bool {
		wall := page(super, base()+"/wall")
		return wall != "" && !strings.Contains(wall, "Kafka 不通") && s.metric("yingda_outbox_lag_records") < 100
	})
	t.Logf("everything was in Kafka %s after it was started", time.Since(back).Round(100*time.Millisecond))
	pause(2 * time.Second)
	phones.stop()
	others.stop()
	said := crowd.stop()
	o.agree(s, heard(phones), said)
	small.agree(tight, heard(others), nil)
	if _, err := http.Get("http://" + tight.http + "/livez"); err != nil {
		t.Error(err)
	}
}

// leave fills a file until the file system has only so much room.
func leave(t *testing.T, path, on string, room int64) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(on, &st); err != nil {
		t.Fatal(err)
	}
	if size := int64(st.Bavail)*st.Bsize - room; size > 0 {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
