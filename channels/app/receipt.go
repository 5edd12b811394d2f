package app

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
)

// A receipt number is eight digits, written in two groups of four so that it can be read out over the telephone. Seven are drawn at random,
// the eighth is Damm's check digit (H. M. Damm, 2004): it finds every single wrong digit and every pair of neighbours that changed
// places, which are what people do to numbers. It is no secret; the four digits that go with it are.

// damm is the totally anti-symmetric quasigroup of order 10 of Damm's dissertation.
var damm = [10][10]byte{
	{0, 3, 1, 7, 5, 9, 8, 6, 4, 2},
	{7, 0, 9, 2, 1, 5, 4, 8, 6, 3},
	{4, 2, 0, 6, 8, 7, 1, 3, 5, 9},
	{1, 7, 5, 0, 9, 8, 3, 4, 2, 6},
	{6, 1, 2, 3, 0, 4, 5, 9, 7, 8},
	{3, 6, 7, 4, 2, 0, 9, 5, 8, 1},
	{5, 8, 6, 9, 7, 2, 0, 1, 3, 4},
	{8, 9, 4, 5, 3, 6, 2, 0, 1, 7},
	{9, 4, 3, 8, 6, 1, 7, 2, 0, 5},
	{2, 5, 8, 1, 4, 3, 6, 7, 9, 0},
}

// check gives the check digit of a string of digits; of one that ends with its check digit, 0.
func check(digits string) byte {
	c := byte(0)
	for i := range len(digits) {
		c = damm[c][digits[i]-'0']
	}
	return c
}

// drawReceipt draws a receipt number, without its space.
func drawReceipt() string {
	seven := fmt.Sprintf("%07d", below(10_000_000))
	return seven + string('0'+check(seven))
}

// drawCode draws four digits.
func drawCode() string { return fmt.Sprintf("%04d", below(10_000)) }

// below draws a number below n, each as likely as the other.
func below(n uint64) uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails
		if v := binary.BigEndian.Uint64(b[:]); v < 1<<63/n*n {
			return v % n
		}
	}
}

// grouped writes a receipt number for people.
func grouped(receipt string) string {
	if len(receipt) != 8 {
		return receipt
	}
	return receipt[:4] + " " + receipt[4:]
}

// parseReceipt reads what somebody typed: digits, full-width ones too, with spaces and dashes anywhere. ok is false when there are not eight digits
// or the check digit is wrong.
func parseReceipt(s string) (receipt string, ok bool) {
	receipt, ok = digits(s, 8)
	return receipt, ok && check(receipt) == 0
}

// digits keeps the digits of s; ok when there are exactly n and nothing else but spaces and dashes.
func digits(s string, n int) (string, bool) {
	if len(s) > 64 {
		return "", false
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case r >= '０' && r <= '９':
			b.WriteRune(r - '０' + '0')
		case r == ' ' || r == '-' || r == '\u3000' || r == '\u00a0' || r == '－' || r == '–':
		default:
			return "", false
		}
	}
	return b.String(), b.Len() == n
}
