package sip

import (
	"yingda/telephony"
)

// order queues work for the media plane.
func (s *Server) order(f func()) { s.orders.put(f, 0) }

// runOrders is sip.orders: one after the other, so that the plane sees them as they were given. A panic costs the one order.
func (s *Server) runOrders() {
	defer s.wg.Done()
	for {
		for _, f := range s.orders.take() {
			s.guarded(f)
		}
		select {
		case <-s.orders.wake:
		case <-s.ordersEnd:
			for _, f := range s.orders.close() {
				s.guarded(f)
			}
			return
		}
	}
}

func (s *Server) guarded(f func()) {
	defer func() {
		if r := recover(); r != nil {
			s.fault("media order", r)
		}
	}()
	f()
}

// sound carries out an order about sound; false when e is none.
func (s *Server) sound(e telephony.Effect) bool {
	switch e := e.(type) {
	case telephony.Play:
		s.order(func() {
			if m := s.mediaOf(e.Leg); m != nil {
				m.Play(e.Play, e.Prompts, e.Dialect, e.Loop, e.Gain)
			}
		})
	case telephony.Stop:
		s.order(func() {
			if m := s.mediaOf(e.Leg); m != nil {
				m.Stop()
			}
		})
	case telephony.Bridge:
		s.order(func() {
			a, b := s.mediaOf(e.A), s.mediaOf(e.B)
			if a == nil || b == nil {
				return
			}
			if err := s.cfg.Media.Bridge(a, b); err != nil {
				s.log.Error("bridge", "a", e.A, "b", e.B, "error", err)
			}
		})
	case telephony.Unbridge:
		s.order(func() {
			if a, b := s.mediaOf(e.A), s.mediaOf(e.B); a != nil && b != nil {
				s.cfg.Media.Unbridge(a, b)
			}
		})
	case telephony.Record:
		s.order(func() {
			resident := s.mediaOf(e.Resident)
			var other MediaLeg
			if e.Other != "" {
				other = s.mediaOf(e.Other)
			}
			if resident == nil || e.Other != "" && other == nil {
				s.cfg.Report(telephony.Recorded{Recording: e.Recording, Err: "the call is over"})
				return
			}
			if err := s.cfg.Media.Record(e.Recording, e.Contact, resident, other); err != nil {
				s.log.Error("record", "recording", e.Recording, "error", err)
				s.cfg.Report(telephony.Recorded{Recording: e.Recording, Err: err.Error()})
			}
		})
	case telephony.StopRecord:
		s.order(func() { s.cfg.Media.StopRecord(e.Recording) })
	default:
		return false
	}
	return true
}

func (s *Server) mediaOf(id telephony.LegID) MediaLeg {
	if l := s.leg(id); l != nil {
		return l.sound()
	}
	return nil
}
