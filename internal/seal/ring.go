package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
)

// MinSecret is the shortest secret, in bytes.
const MinSecret = 32

// Ring is a set of keys: the first one signs, and all verify. It is safe for concurrent use.
type Ring struct{ keys atomic.Pointer[[]*key] }

// key is what is derived from a secret.
type key struct {
	id   [idSize]byte
	macs sync.Pool // of *mac
}

// mac is the state of one computation.
type mac struct {
	hash  hash.Hash
	bound []byte // what a message is bound to
	sum   [sha256.Size]byte
}

// Set replaces the keys by those of other secrets, which it does not keep. The error says what is wrong with them.
func (r *Ring) Set(secrets ...[]byte) error {
	if len(secrets) == 0 {
		return fmt.Errorf("no key")
	}
	keys := make([]*key, len(secrets))
	for i, secret := range secrets {
		if len(secret) < MinSecret {
			return fmt.Errorf("key %d has %d bytes, fewer than %d", i+1, len(secret), MinSecret)
		}
		k, err := newKey(secret)
		if err != nil {
			return err
		}
		for j, other := range keys[:i] {
			if other.id == k.id {
				return fmt.Errorf("keys %d and %d are the same", j+1, i+1)
			}
		}
		keys[i] = k
	}
	r.keys.Store(&keys)
	return nil
}

// newKey derives a key for each purpose from a secret.
func newKey(secret []byte) (*key, error) {
	id, err := hkdf.Key(sha256.New, secret, nil, "crossroom seal 1: key id", idSize)
	if err != nil {
		return nil, err
	}
	authentication, err := hkdf.Key(sha256.New, secret, nil, "crossroom seal 1: authentication", sha256.Size)
	if err != nil {
		return nil, err
	}
	k := &key{id: [idSize]byte(id)}
	k.macs.New = func() any { return &mac{hash: hmac.New(sha256.New, authentication)} }
	return k, nil
}

// Empty reports whether Set has not been called.
func (r *Ring) Empty() bool { return r.keys.Load() == nil }

// signing returns the key that signs.
func (r *Ring) signing() *key { return (*r.keys.Load())[0] }

// find returns the key with an id; nil if there is none.
func (r *Ring) find(id []byte) *key {
	for _, k := range *r.keys.Load() {
		if bytes.Equal(k.id[:], id) {
			return k
		}
	}
	return nil
}

// IDs returns the ids of the keys, in hexadecimal, that of the signing key first.
func (r *Ring) IDs() []string {
	keys := *r.keys.Load()
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = hex.EncodeToString(k.id[:])
	}
	return ids
}
