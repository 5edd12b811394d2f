package app

import (
	"context"
	"net/http"

	"yingda/intake/stream"
	"yingda/internal/store"
)

// Server is the door.
type Server struct{ config Config }

type hooks struct{}

// New makes a Server ready and starts it.
func New(ctx context.Context, c Config) (*Server, error) { return &Server{c}, nil }

// Close ends it: what is under way is finished, webhooks that are not delivered stay in the table.
func (s *Server) Close() error { return nil }

// Patterns are those of http.ServeMux that are to lead to the Server.
func Patterns() []string { return []string{"/api/v1/submissions", "/api/v1/submissions/", "/open311/"} }

// ServeHTTP answers under Patterns.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("to come") }

// Submit takes a submission. It is durable when the error is nil. Errors: *Invalid, ErrConflict, ErrLater, ErrClosed, the context's.
func (s *Server) Submit(ctx context.Context, sub Submission) (Receipt, error) { panic("to come") }

// Status says how a submission stands. receipt is written with or without its space; last4 is Receipt.Code. Errors: ErrNotFound, ErrTooOften.
func (s *Server) Status(ctx context.Context, receipt, last4 string) (Status, error) { panic("to come") }

// Apply is the consumer, inside the caller's transaction.
func (s *Server) Apply(ctx context.Context, tx *store.Tx, records []stream.Record) error {
	panic("to come")
}

// SaveKey sets limits and webhook of a token; the webhook's secret is given when its URL is new, and not again.
func SaveKey(ctx context.Context, db *store.DB, k Key) (secret string, err error) { panic("to come") }
