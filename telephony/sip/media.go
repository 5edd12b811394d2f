package sip

import (
	"net/netip"
	"time"

	"yingda/intake"
	"yingda/telephony"
)

// Media is what this package needs of the media plane. NewLeg is called from many goroutines; all else from one only
// (sip.orders), so the plane sees orders in the order in which they were given.
type Media interface {
	// NewLeg makes room for a leg's audio and binds its ports. An error means there is no room: the call is reported with Overload.
	NewLeg(id telephony.LegID) (MediaLeg, error)
	Bridge(a, b MediaLeg) error
	Unbridge(a, b MediaLeg)
	// Record begins to write down two legs; other is nil when there is only the resident.
	Record(rec intake.RecordingID, contact intake.ContactID, resident, other MediaLeg) error
	StopRecord(rec intake.RecordingID)
	// Overloaded says that another call's audio could not be carried in time.
	Overloaded() bool
}

// MediaLeg is one leg's audio. After Close nothing is called any more.
type MediaLeg interface {
	// Local is where we listen. An unspecified address is replaced in the SDP by the advertised one.
	Local() (rtp, rtcp netip.AddrPort)
	SetRemote(MediaRemote)
	Play(play telephony.PlayID, prompts []string, dialect string, loop bool, gain int)
	Stop()
	// Digit is a key that came by INFO; the plane reports it unless it has reported the same press from RFC 4733.
	Digit(key string)
	Close()
}

// MediaRemote is what the two sides have agreed about a leg's audio, from our side.
type MediaRemote struct {
	RTP     netip.AddrPort // where the far side listens; unspecified address: hold of the old kind, send nothing
	RTCP    netip.AddrPort // its RTCP; zero: the port after RTP
	Codec   string         // PCMA, PCMU, G722
	Payload int            // the far side's payload type for Codec: what we send
	Event   int            // the far side's payload type for telephone-event, −1 when it has none
	EventIn int            // ours, if another
	PTime   time.Duration  // packet length it wants, 20 ms when it does not say
	Send    bool           // we may send
	Receive bool           // we are to be sent something
	Relatch bool           // a new offer has come: the source of its packets may have changed
}
