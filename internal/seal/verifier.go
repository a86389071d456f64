package seal

import (
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// MaxAge is how far the clocks of signer and verifier may be apart, with the time that a message takes. Messages
// beyond that are refused.
const MaxAge = 2 * time.Minute

// Reason is why a message is refused.
type Reason uint8

const (
	// Unsigned: it has no seal.
	Unsigned Reason = iota + 1
	// UnknownKey: it is signed with a key that the ring does not have.
	UnknownKey
	// Forged: the tag is wrong.
	Forged
	// Stale: it is from another time.
	Stale
	// Replayed: it has come before, or so many later ones have come that this is not known.
	Replayed
)

// Failure says why a message is refused.
type Failure struct {
	Reason
	// Key names the key of UnknownKey.
	Key string
	// Age is that of a Stale message; negative if it is from the future.
	Age time.Duration
}

var (
	unsigned = &Failure{Reason: Unsigned}
	forged   = &Failure{Reason: Forged}
	replayed = &Failure{Reason: Replayed}
)

// Verifier verifies the messages that come to one node. It is safe for concurrent use.
type Verifier struct {
	ring   *Ring
	prefix string
	window window
}

// NewVerifier returns a verifier of messages on the channels of a prefix.
func NewVerifier(r *Ring, prefix string) *Verifier { return &Verifier{ring: r, prefix: prefix} }

// Verify returns nil for a message that a holder of a key has signed for the channel, and that is new. It is called
// once for each message.
func (v *Verifier) Verify(ch broker.Channel, message []byte) *Failure {
	body, seal, ok := split(message)
	if !ok {
		return unsigned
	}
	id := seal[idAt : idAt+idSize]
	k := v.ring.find(id)
	if k == nil {
		return &Failure{Reason: UnknownKey, Key: hex.EncodeToString(id)}
	}
	m := k.macs.Get().(*mac)
	same := hmac.Equal(m.tag(v.prefix, ch, seal[:tagAt], body), seal[tagAt:])
	k.macs.Put(m)
	if !same || seal[0] != version {
		return forged
	}
	now := time.Now().UnixMilli()
	age := now - int64(binary.BigEndian.Uint64(seal[timeAt:]))
	if age >= MaxAge.Milliseconds() || -age >= MaxAge.Milliseconds() {
		return &Failure{Reason: Stale, Age: time.Duration(age) * time.Millisecond}
	}
	if !v.window.fresh([8]byte(seal[sessionAt:]), binary.BigEndian.Uint64(seal[counterAt:]), now) {
		return replayed
	}
	return nil
}
