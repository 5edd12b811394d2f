package queue

import "time"

// Queue is the machine. It is owned by one goroutine.
type Queue struct{}

// New makes an empty one.
func New(c Config) *Queue { panic("begun") }

// Step takes what happened and says what follows, in order. Wake does what has become due. Deadline is when it wants to be woken,
// zero for never.
func (q *Queue) Step(now time.Time, in Input) []Effect { panic("begun") }
func (q *Queue) Wake(now time.Time) []Effect           { panic("begun") }
func (q *Queue) Deadline() time.Time                   { panic("begun") }

// Snapshot is how things stand.
func (q *Queue) Snapshot() Snapshot { panic("begun") }
