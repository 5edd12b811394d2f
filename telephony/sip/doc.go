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
//	forward.go onward.go   the proxy: what another node has to decide goes on to it, beside sipgo and without state (docs/decisions/0008)
//	(sipgo)           parsing, transport, transactions
//	server.go         finds the owner of a message, holds what came before its dialog
//	leg.go uas.go uac.go indialog.go session.go   our dialog layer
//	registrar.go digest.go book.go nodes.go       phones, and by which node they are reached
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
//	sip.keeper          one: ends registrations that have run out, asks phones, trunks and nodes whether they are there (OPTIONS)
//	sip.bookkeeper      one: writes registrations into the tables, until they take it; ends with Close
//	sip.loader          reads the registrations, at the start and when the switchboard has come; ends when they are read
//	sip.onward          one for each TCP connection over which something was passed on: writes it; ends with the connection
//	sip.again           one for each request that came by TCP and is passed on by UDP: repeats it until something comes back
//
// What it does not do: it decides nothing about a call, knows no queue, touches no packet of audio, offers no WebSocket (browsers
// signal elsewhere), never follows a redirection (3xx) or a REFER, and calls no number that was not ordered by Dial.
package sip
