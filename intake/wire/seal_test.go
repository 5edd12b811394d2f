package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"testing"

	"yingda/intake"
)

// The key of a subject is HKDF-SHA256 (RFC 5869) of the month's secret, as anybody's library computes it; also after other months were used.
func TestKeyIsHKDF(t *testing.T) {
	c := New(months{})
	for n, secret := range []string{"a secret of one month, 32 bytes!", "a secret of another, of 32 bytes", "a secret of one month, 32 bytes!"} {
		for _, subject := range []intake.Subject{"contact/0190b4a6-0000-7000-8000-000000000001", "case/0190b4a6-0000-7000-8000-000000000002"} {
			key, err := hkdf.Key(sha256.New, []byte(secret), nil, string(subject), 32)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := aes.NewCipher(key)
			theirs, _ := cipher.NewGCM(block)
			ours, err := c.boxOf([]byte(secret), subject)
			if err != nil {
				t.Fatal(err)
			}
			nonce := make([]byte, ours.NonceSize())
			got, err := theirs.Open(nil, nonce, ours.Seal(nil, nonce, []byte("句"), nil), nil)
			if err != nil || string(got) != "句" {
				t.Errorf("secret %d, %s: %q, %v", n, subject, got, err)
			}
		}
	}
}
