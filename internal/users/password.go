package users

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"yingda/intake"
	"yingda/internal/store"
)

// Params of argon2id (RFC 9106). They stand in each hash, so they can be raised without making old hashes unreadable.
type Params struct {
	Memory uint32 // KiB
	Time   uint32 // passes
	Lanes  uint8
}

// DefaultParams take about 50 ms on one core of an office server and 32 MiB while they run; at most two run at once.
var DefaultParams = Params{Memory: 32 * 1024, Time: 2, Lanes: 1}

const saltLen, keyLen = 16, 32

func (p Params) hash(password string) string {
	salt := make([]byte, saltLen)
	_, _ = rand.Read(salt) // never fails since Go 1.24
	return p.encode(salt, argon2.IDKey([]byte(password), salt, p.Time, p.Memory, p.Lanes, keyLen))
}

func (p Params) encode(salt, key []byte) string {
	e := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.Memory, p.Time, p.Lanes, e.EncodeToString(salt), e.EncodeToString(key))
}

// decoy is a hash that no password has.
func (p Params) decoy() string { return p.encode(make([]byte, saltLen), make([]byte, keyLen)) }

// matches says whether hash is that of password. A hash that cannot be read matches nothing.
func matches(hash, password string) bool {
	part := strings.Split(hash, "$")
	if len(part) != 6 || part[1] != "argon2id" {
		return false
	}
	var version int
	var p Params
	if _, err := fmt.Sscanf(part[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.Memory, &p.Time, &p.Lanes); err != nil || p.Time == 0 || p.Lanes == 0 || p.Memory > 1<<20 || p.Time > 64 {
		return false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(part[4])
	want, err2 := base64.RawStdEncoding.DecodeString(part[5])
	if err1 != nil || err2 != nil || len(want) < 16 || len(want) > 64 {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, p.Time, p.Memory, p.Lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}

// turn waits until a password may be hashed.
func (b *Book) turn(ctx context.Context) (done func(), err error) {
	select {
	case b.hashes <- struct{}{}:
		return func() { <-b.hashes }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *Book) hash(ctx context.Context, password string) (string, error) {
	done, err := b.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return b.c.Params.hash(password), nil
}

func (b *Book) check(ctx context.Context, hash, password string) (bool, error) {
	done, err := b.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	return matches(hash, password), nil
}

// Letters of secrets that people read from a screen and type: none that is taken for another.
const letters = "abcdefghjkmnpqrstuvwxyz23456789"

// readable gives n letters drawn at random, 4.95 bits each.
func readable(n int) string {
	out := make([]byte, n)
	for i := range out {
		var raw [4]byte
		for {
			_, _ = rand.Read(raw[:])
			v := binary.BigEndian.Uint32(raw[:])
			if v < ^uint32(0)/uint32(len(letters))*uint32(len(letters)) { // the rest would favour the first letters
				out[i] = letters[v%uint32(len(letters))]
				break
			}
		}
	}
	return string(out)
}

// oneTime is a password like kx7m-9tqa-w3hd, 59 bits.
func oneTime() string { r := readable(12); return r[:4] + "-" + r[4:8] + "-" + r[8:] }

// checkPassword says whether a person may choose that: long rather than motley (NIST SP 800-63B § 3.1.1.2).
func checkPassword(login, old, chosen string) error {
	if n := utf8.RuneCountInString(chosen); n < 10 || n > 128 || !utf8.ValidString(chosen) {
		return ErrWeak
	}
	if chosen == old || strings.EqualFold(chosen, login) || strings.Count(chosen, chosen[:1]) == len(chosen) {
		return ErrWeak
	}
	return nil
}

// ChangePassword sets a password that the person chose, after checking the old one, and ends all their sessions but keep
// (the secret of the one that they use; "" ends all). Wrong old passwords are throttled as sign-ins are.
func (b *Book) ChangePassword(ctx context.Context, id intake.UserID, old, chosen, from, keep string) error {
	u, err := b.ByID(ctx, id)
	if err != nil {
		return err
	}
	if err := checkPassword(u.Login, old, chosen); err != nil {
		return err
	}
	var hash string
	if err := b.db.QueryRow(ctx, "SELECT hash FROM users WHERE id = ?", id).Scan(&hash); err != nil {
		return orUnknown(err)
	}
	keys := throttleKeys(u.Login, from)
	if err := b.waiting(ctx, keys); err != nil {
		return err
	}
	ok, err := b.check(ctx, hash, old)
	if err != nil {
		return err
	}
	if !ok {
		return errors.Join(ErrWrong, b.failed(ctx, keys))
	}
	fresh, err := b.hash(ctx, chosen)
	if err != nil {
		return err
	}
	return b.db.Tx(ctx, func(tx *store.Tx) error {
		if err := touched(tx.ExecContext(ctx, "UPDATE users SET hash = ?, must_change = 0 WHERE id = ? AND hash = ?", fresh, id, hash)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE user_id = ? AND key <> ?", id, digest(keep))
		return err
	})
}
