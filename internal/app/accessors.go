package app

import (
	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/residents"
	"yingda/internal/users"
	"yingda/routing/casebook"
)

// What the demo fills before the first start, and a test looks at.

// Users are the accounts.
func (s *Store) Users() *users.Book { return s.users }

// Cases is the case book.
func (s *Store) Cases() *casebook.Book { return s.cases }

// Residents are the residents' cards.
func (s *Store) Residents() *residents.Book { return s.residents }

// Token makes a caller's token of a number.
func (s *Store) Token(n pii.Phone) intake.Token { return s.token(n) }
