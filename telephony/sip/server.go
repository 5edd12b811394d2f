package sip

import (
	"context"

	"net/netip"

	"github.com/google/uuid"

	"yingda/telephony"
)

// Server listens for SIP and owns all legs. Make one with Listen.
type Server struct{ cfg Config }

// Listen opens the sockets and begins to serve. The error says which address could not be had. Cancelling ctx is Close without the farewell.
func Listen(ctx context.Context, cfg Config) (*Server, error) { panic("begun") }

// Do carries out what is ordered of SIP and media; other effects are passed over. It never waits. Orders for one leg are carried out in
// the order given; orders of sound (Play, Stop, Bridge, Unbridge, Record, StopRecord) also among all legs.
func (s *Server) Do(effects ...telephony.Effect) { panic("begun") }

// Drain stops taking calls: OPTIONS is answered with 503, so that trunks go elsewhere. INVITEs are still reported, so that the machine refuses and writes them down.
func (s *Server) Drain() { panic("begun") }

// Close ends all legs (BYE, CANCEL, 503), waits a little for the answers and closes the sockets.
func (s *Server) Close() error { panic("begun") }

// Err tells of a listener that has ended though nobody closed it. That is fatal.
func (s *Server) Err() <-chan error { panic("begun") }

// Addr gives the addresses that are listened on, zero where there is none.
func (s *Server) Addr() (udp, tcp netip.AddrPort) { panic("begun") }

func newID() string { return uuid.Must(uuid.NewV7()).String() }
