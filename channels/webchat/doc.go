// Package webchat carries conversations between residents' browsers, operators' desks and the machine (package chat).
//
// Use: New with a Config; Restore what the last run left open; mount Residents and Desk; give every effect of the board but ToQueue and Write to Do, on
// the loop's goroutine; run Apply as a consumer of the stream (group "chat") and catch it up before Restore; Close at the end. Pages that have no script
// call Start, Post, History, LeaveNumber and End instead of the WebSocket: the same conversation, the same guarantees.
//
// # What is promised
//
// A message that was ticked is in the log, on disk. A message that was not ticked may be sent again under the same key for as long as one likes, over any
// connection and after a restart: it is in the conversation once. Messages are numbered from 1; whoever connects says the number of the
// last one they have and is given everything after it, in order, then what is new. There is no window of time in any of this.
//
// When another node had the conversation (Config.OthersBefore) the numbers go on after a gap (chat.Gap). What the dead node ticked and had not sent to the stream
// comes late, through Apply, under its own number: those who are connected are sent it at once, whoever comes back with a number beyond the gap is sent
// all that stands before it once more, and browsers pass over numbers that they have.
//
// A message marked unsafe is shown while the disk does not take it; it counts as had only when safe, or the message again without the mark, has come: after a crash its number may be another's.
//
// # The protocol
//
// WebSocket at …/ws, subprotocol "yingda.chat.v1", text frames of one JSON object with the member "t". Frames of a type that is not known here are ignored on
// both sides, and so are members: within v1 things are only added. docs/protocol.md ("Web chat") has the tables; frames.go the types.
//
// A resident's browser says hello, with its token and the last number it has when it has a conversation, and is answered by welcome. Without one,
// start makes it (key: chosen once by the browser, at least 16 random characters; the same key again is the same conversation) and is answered by started, with the token.
//
//	→ {"t":"hello","token":"…","after":3}          ← {"t":"welcome","v":1,"limits":{…},"state":{…}}
//	→ {"t":"start","ref":"1","key":"…","line":""}   ← {"t":"started","ref":"1","token":"…","state":{…}}
//	→ {"t":"say","key":"m1","text":"…","files":[]}  ← {"t":"message","n":4,"from":"you",…} {"t":"tick","key":"m1","n":4}
//	→ {"t":"typing"} {"t":"seen","n":4}             ← {"t":"typing"} {"t":"seen","n":4}
//	→ {"t":"number","ref":"2","number":"13800…","call":true}   ← {"t":"done","ref":"2"}
//	→ {"t":"bye","ref":"3"}                         ← {"t":"done","ref":"3"} {"t":"state",…}
//
// An operator's desk says hello with the last number it has of each conversation, and hears of every conversation that is theirs or offered to them.
//
//	→ {"t":"hello","have":{"<contact>":7}}          ← {"t":"welcome",…} {"t":"chat","contact":…,"state":{…}} {"t":"message","contact":…,"n":8,…}
//	← {"t":"offer","contact":…,"offer":…,"until":…}  → {"t":"accept","contact":…,"offer":…,"ref":"1"} or decline
//	→ {"t":"say","contact":…,"key":…,"text":…}  {"t":"hand","contact":…,"to":"","ref":…}  {"t":"end","contact":…,"ref":…}
//	→ {"t":"read","contact":…,"after":0,"ref":…}    one's own, or with the right to see contacts any
//
// What cannot be done is answered by error with ref or key, a code and a sentence for people (say); the connection stays. Only a frame that is no JSON object, one
// that is too large, and a flood end it: close codes 1007, 1009, 1008. 1012: the server goes; 1013: the reader is too slow; in both cases connect again and go on where you were.
//
// # Limits
//
// Connections in all and per address, conversations per address and hour, frames and messages a second, bytes a frame, files a conversation and bytes a file: Limits. Each
// connection has a bounded list of frames to be sent; one that does not read is closed (1013) and finds everything again when it comes back.
//
// # Goroutines
//
// Two for each connection: its reader, which is net/http's, and "chat writer", owned by the connection, which ends with it; a ping waits for its answer on one of its own. "chat
// keeper", owned by the Server, sweeps files that no message names and forgets addresses; it ends with Close.
//
// # What it does not do
//
// It decides nothing about a conversation, knows no account (Config.Staff does), terminates no TLS, and translates no words: say is in Chinese, code is for programs.
package webchat
