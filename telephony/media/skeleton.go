package media

import (
	"net/netip"

	"yingda/intake"
	"yingda/telephony"
)

type Plane struct{}
type Leg struct{}

func Open(c Config) (*Plane, error)                      { panic("soon") }
func (p *Plane) NewLeg(id telephony.LegID) (*Leg, error) { panic("soon") }
func (p *Plane) Bridge(a, b telephony.LegID)             { panic("soon") }
func (p *Plane) Unbridge(a, b telephony.LegID)           { panic("soon") }
func (p *Plane) StopRecord(rec intake.RecordingID)       { panic("soon") }
func (p *Plane) Overloaded() bool                        { panic("soon") }
func (p *Plane) Stats() Stats                            { panic("soon") }
func (p *Plane) Close() error                            { panic("soon") }
func (p *Plane) Record(rec intake.RecordingID, contact intake.ContactID, resident, other telephony.LegID) {
	panic("soon")
}

func (l *Leg) ID() telephony.LegID               { panic("soon") }
func (l *Leg) Local() (rtp, rtcp netip.AddrPort) { panic("soon") }
func (l *Leg) SetRemote(r Remote)                { panic("soon") }
func (l *Leg) Play(play telephony.PlayID, prompts []string, dialect string, loop bool, gain int) {
	panic("soon")
}
func (l *Leg) Stop()            { panic("soon") }
func (l *Leg) Digit(key string) { panic("soon") }
func (l *Leg) Close()           { panic("soon") }
func (l *Leg) Stats() LegStats  { panic("soon") }
