// Package search says a second time what it is.
package search
