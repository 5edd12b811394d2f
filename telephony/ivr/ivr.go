// Package ivr is the spoken path of one resident's leg: what a caller hears from the greeting until a person is there.
package ivr
