// Package sip is where the telephone network meets us: it takes the calls of residents from trunks, rings the phones of
// operators, and keeps what both sides say to each other (RFC 3261) in order.
//
// Use:
//
//	s, err := sip.Listen(ctx, sip.Config{UDP: "127.0.0.1:5060", TCP: …, Trunks: …, Media: …, Report: inbox.Put})
//	s.Do(effects...)      // what the machines order; never waits
//	err := <-s.Err()      // a listener has ended: fatal
//	s.Drain(); s.Close()
//
// What comes in is told to Report as a telephony.Input; what goes out is ordered by a telephony.Effect.
//
// Layers, from the wire upwards:
//
//	conn.go           the sockets, wrapped: every byte passes the guard before sipgo sees it, every byte that leaves passes the wrapper
//	guard.go shape.go the ingress guard: who may speak, how much, and is it a SIP message at all; puts what it lets through into one plain form
//	(sipgo)           parsing, transport, transactions
//	server.go         finds the owner of a message, holds what came before its dialog
//	leg.go uas.go uac.go indialog.go session.go   our dialog layer
//	registrar.go digest.go qualify.go             phones
//	sdp.go            offers and answers
//	orders.go         drives the media plane
//
// Goroutines, and who ends them:
//
//	sip.udp, sip.tcp    sipgo's readers, one for the UDP socket and one for each TCP connection; end with Close
//	sip.request         sipgo's, one for each request; waits until the leg has dealt with it
//	sip.leg             one for each leg: owns the leg's state and its timers, takes orders and messages from its mailbox; ends with the leg
//	sip.pump            one for each request we send: reads its responses into the leg's mailbox; ends with the transaction
//	sip.orders          one: carries out what is ordered of the media plane, in the order given
//	sip.keeper          one: ends registrations that have run out, asks phones and trunks whether they are there (OPTIONS)
//
// What it does not do: it decides nothing about a call, knows no queue, touches no packet of audio, offers no WebSocket (browsers
// signal elsewhere), never follows a redirection (3xx) or a REFER, and calls no number that was not ordered by Dial.
package sip
