package backplane

import (
	"strings"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/seal"
)

// Keyring has the secret keys with which the nodes and emitters of a fleet sign what they send, and verify what they
// receive: see "Signing" in the package documentation. One Keyring may serve any number of nodes and emitters. All
// methods are safe for concurrent use.
type Keyring struct{ ring seal.Ring }

// NewKeyring makes a Keyring of secrets of at least 32 bytes each, which should come from a random source. The first
// one signs, and all verify. It does not keep the slices. It returns an *OptionError.
func NewKeyring(secrets ...[]byte) (*Keyring, error) {
	k := new(Keyring)
	if err := k.Set(secrets...); err != nil {
		return nil, err
	}
	return k, nil
}

// Set replaces all secrets, also while nodes and emitters use the Keyring. No message is lost if every process of the
// fleet has a new secret behind the old one before the first process signs with it, and keeps the old one for
// MaxMessageAge after the last process has signed with that. An *OptionError leaves the Keyring as it was.
func (k *Keyring) Set(secrets ...[]byte) error {
	if err := k.ring.Set(secrets...); err != nil {
		return &OptionError{Option: "Keys", Reason: err.Error()}
	}
	return nil
}

// signing returns a broker that signs all that it publishes on b, as one signer; b itself without keys.
func (k *Keyring) signing(b broker.Broker) broker.Broker {
	if k == nil {
		return b
	}
	return seal.Broker(b, seal.NewSigner(&k.ring, b.Capabilities().Prefix))
}

// check refuses a Keyring without keys. Nil is none.
func (k *Keyring) check() error {
	if k != nil && k.ring.Empty() {
		return &OptionError{Option: "Keys", Reason: "not made by NewKeyring"}
	}
	return nil
}

// IDs returns the names of the keys, that of the signing key first. A name reveals nothing about the key: it is in errors
// and may be logged, to find the process with other keys.
func (k *Keyring) IDs() []string { return k.ring.IDs() }

// String returns the names of the keys.
func (k *Keyring) String() string { return "keys " + strings.Join(k.IDs(), ", ") }

// MaxMessageAge, 2 minutes, is the age at which a node refuses a signed message. The age is the time from the
// signature, by the clock of the sender, to the arrival, by the clock of the receiver. A message that is signed as far
// in the future is refused too. The clocks of a fleet must therefore differ by less, and a message that waits longer in
// the queue of its sender's broker is lost.
const MaxMessageAge = seal.MaxAge
