// Package media carries the sound of the calls: packets between two legs, prompts and music to one, recordings to disk.
//
// How it is used: Open a Plane once. For each leg of a call NewLeg takes a pair of ports (RTP even, RTCP odd); Local says which, for our SDP;
// SetRemote says what the far side's SDP said. Then Play, Bridge, Record and their opposites, in any order and by name; what is
// ordered of a leg that is over is silently nothing. What happens is told by Config.Report: Digit, Played, Heard, Quiet, MediaLost, Recorded.
//
//	plane, err := media.Open(media.Config{Address: addr, PortMin: 20000, PortMax: 29999, Report: loop.Send, …})
//	leg, err := plane.NewLeg("a")       // ErrFull, ErrPorts: refuse the call
//	leg.SetRemote(media.Remote{RTP: …, Codec: "PCMA", PayloadType: 8, EventType: 101, Send: true, Receive: true})
//	leg.Play(1, []string{"greeting"}, "", false, 0)
//	plane.Bridge("a", "b")
//
// Towards each far side we are one steady source: one SSRC, a sequence without a hole and a timestamp that never steps back, from the
// first prompt over the bridge and the music on hold to the next bridge. Bridged packets are forwarded as they come, bit for bit where both
// sides speak the same codec; A-law and µ-law are swapped by a table; G.722 and G.711 meet in G.722's lower band. While a leg is up and has
// nothing to hear it is sent silence, so that gateways and NATs keep the way open.
//
// A source is latched after three packets of one SSRC in order (four when they come from elsewhere than the SDP said) and stays until SetRemote
// says otherwise; what others send is counted and dropped. One bad packet never ends anything.
//
// Who owns what. Goroutines, all ended by Close:
//   - "media thread", one per core, locked to a thread of the system. It owns the sockets' reading and everything about its legs. It wakes on
//     an absolute clock every millisecond while there is much to do, and at once by epoll while there is little. Nothing else touches a leg:
//     orders go to it through a list. Two legs that are bridged or recorded together live on the same thread; Bridge moves one if need be.
//   - "recorder", one per media thread: takes what the thread put into a bounded ring, seals it in seconds and appends it to the file.
//     When it cannot keep up the ring is full, packets are missing from the recording, and that is counted.
//   - "syncer", one per recorder: fsync, each file at most once a second.
//
// Open raises GOMAXPROCS by the number of media threads, so that a thread that wakes never waits for a busy goroutine.
//
// What it does not do: no SIP, no SDP, no jitter buffer, no mixing of three, no SRTP, no DTMF in the sound itself. Linux only
// (sys_linux.go holds every system call).
package media
