package switchboard

import (
	"time"

	"yingda/intake"
	"yingda/telephony"
)

// Switchboard is the machine. It is owned by one goroutine.
type Switchboard struct{}

// New makes one without lines.
func New(c Config) *Switchboard { panic("begun") }

// Step takes what happened and says what is to be done, in order.
func (s *Switchboard) Step(now time.Time, in telephony.Input) []telephony.Effect { panic("begun") }

// Wake does what has become due. Deadline is when it wants to be woken, zero for never.
func (s *Switchboard) Wake(now time.Time) []telephony.Effect { panic("begun") }
func (s *Switchboard) Deadline() time.Time                   { panic("begun") }

// Live is the number of calls and calls back under way: when draining, the program may end when it is 0.
func (s *Switchboard) Live() int { panic("begun") }

// Snapshot is how things stand at now.
func (s *Switchboard) Snapshot(now time.Time) Snapshot { panic("begun") }

// Interrupted gives the provisional contact.ended of each contact that the last run left open, to be appended before any call is taken.
func (s *Switchboard) Interrupted(now time.Time, open []Open) []intake.Event { panic("begun") }
