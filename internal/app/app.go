// Package app is the whole program as one value: it wires the arms to the stream and to one another.
package app
