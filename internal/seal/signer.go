package seal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Signer signs the messages of one node or emitter, from its making to its end. It is safe for concurrent use.
type Signer struct {
	ring    *Ring
	prefix  string
	session [8]byte
	counter atomic.Uint64
}

// NewSigner returns a signer for messages on the channels of a prefix.
func NewSigner(r *Ring, prefix string) *Signer {
	s := &Signer{ring: r, prefix: prefix}
	_, _ = rand.Read(s.session[:]) // it never fails
	return s
}

// Append appends a message with its seal to dst. It fails for a message that is neither a list nor an object.
func (s *Signer) Append(dst []byte, ch broker.Channel, message []byte) ([]byte, error) {
	start := len(dst)
	dst, err := open(dst, message)
	if err != nil {
		return dst[:start], err
	}
	k := s.ring.signing()
	var seal [sealSize]byte
	seal[0] = version
	copy(seal[idAt:], k.id[:])
	copy(seal[sessionAt:], s.session[:])
	binary.BigEndian.PutUint64(seal[counterAt:], s.counter.Add(1))
	binary.BigEndian.PutUint64(seal[timeAt:], uint64(time.Now().UnixMilli()))
	m := k.macs.Get().(*mac)
	copy(seal[tagAt:], m.tag(s.prefix, ch, seal[:tagAt], dst[start:]))
	k.macs.Put(m)
	if message[0] != '{' {
		return append(dst, seal[:]...), nil
	}
	return append(text.AppendEncode(dst, seal[:]), jsonTail...), nil
}

// Broker returns a broker that signs all that it publishes. Its messages may be so much shorter.
func Broker(b broker.Broker, s *Signer) broker.Broker { return signing{b, s} }

type signing struct {
	broker.Broker
	signer *Signer
}

// keepBytes is the size of the largest buffer that is kept.
const keepBytes = 64 << 10

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Publish implements broker.Broker.
func (b signing) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	buf := buffers.Get().(*[]byte)
	out, err := b.signer.Append((*buf)[:0], ch, payload)
	if err == nil {
		err = b.Broker.Publish(ctx, ch, out)
	}
	if cap(out) > keepBytes {
		out = nil
	}
	*buf = out
	buffers.Put(buf)
	return err
}

// Capabilities implements broker.Broker.
func (b signing) Capabilities() broker.Capabilities {
	c := b.Broker.Capabilities()
	if c.MaxPayload > 0 {
		c.MaxPayload = max(c.MaxPayload-MaxSize, 1)
	}
	return c
}
