// Package web is what people see: the pages of operators, supervisors, grid workers, auditors and administrators, and the
// HTTP API by which others audit us.
//
// Use: fill an Office (each part a small interface that the wiring implements over the books, the index, the case book and the
// switchboard), make a Server with New, and mount it; its Close ends the pages that keep themselves fresh. Pages are rendered by
// the server from typed templates. A page is a shell around one part; the part is sent again over SSE whenever something changed
// and is morphed in place by assets/live.js, so that what somebody types stays. A page whose data takes longer than 400 ms is
// sent as a skeleton, and its part follows by the same way. Everything but that works without a script.
//
// Words are in message files (package words), Chinese first. Pictures (call-line, heat map) are drawn by package draw from plain numbers.
//
// Who may do what is users.May: each route names its deed, and nothing is reached without one. Every request that changes something
// needs the session's CSRF token and must come from our own pages (http.CrossOriginProtection).
//
// Goroutines: one per open SSE stream, owned by its request; it ends with the request, with Close, or when the session does. One
// more per page request, which reads the part's data while the request waits for it at most 400 ms; it ends with that reading.
//
// What it does not do: it keeps nothing but the last list of unreturned callers, decides nothing about calls or cases, and
// terminates no TLS. Time-outs of the HTTP server are the wiring's.
package web
