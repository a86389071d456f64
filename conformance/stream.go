package conformance

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
)

// stream is a row of numbered messages from one node on one channel. Its publish
// is to be called by one goroutine at a time.
type stream struct {
	env     *env
	id      uint32
	node    *Node
	ch      broker.Channel
	started atomic.Uint64 // Publish was called for this many
	lossy   atomic.Bool   // the publisher itself may lose some
	buf     []byte
}

var magic = [4]byte{0xC5, 0x00, 0x0A, 0x2A}

const header = 4 + 4 + 8 + 4

// probe is the id of messages that nobody looks at.
const probe = ^uint32(0)

// encode makes message seq of a stream, of size bytes but at least the header.
func encode(buf []byte, id uint32, seq uint64, size int) []byte {
	size = max(size, header)
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	copy(buf, magic[:])
	binary.BigEndian.PutUint32(buf[4:], id)
	binary.BigEndian.PutUint64(buf[8:], seq)
	for i := header; i < size; i++ {
		buf[i] = byte(i) ^ byte(i>>8) ^ byte(seq)
	}
	sum := crc32.ChecksumIEEE(buf[:16])
	binary.BigEndian.PutUint32(buf[16:], crc32.Update(sum, crc32.IEEETable, buf[header:]))
	return buf
}

func decode(p []byte) (id uint32, seq uint64, err error) {
	if len(p) < header || [4]byte(p) != magic {
		return 0, 0, errors.New("not a message of this suite")
	}
	sum := crc32.Update(crc32.ChecksumIEEE(p[:16]), crc32.IEEETable, p[header:])
	if sum != binary.BigEndian.Uint32(p[16:]) {
		return 0, 0, errors.New("a message of this suite, but with other bytes than it was published with")
	}
	return binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint64(p[8:]), nil
}

// publish sends one more message.
func (s *stream) publish(ctx context.Context) error { return s.publishSize(ctx, 0) }

func (s *stream) publishSize(ctx context.Context, size int) error {
	seq := s.started.Add(1)
	s.buf = encode(s.buf, s.id, seq, size)
	err := s.node.Broker.Publish(ctx, s.ch, s.buf)
	// The suite overwrites every payload at once, as B7 lets it.
	for i := range s.buf {
		s.buf[i] = 0xEE
	}
	return err
}

// must sends n more messages, never having more than a window of them unseen by
// the subscriptions: slow machines must not make a correct broker overflow.
func (s *stream) must(ctx context.Context, n int, subs ...*sub) error {
	const window = 500
	for range n {
		if err := s.publish(ctx); err != nil {
			return publishFailed(s.ch, err)
		}
		if sent := s.started.Load(); sent%100 == 0 && sent > window {
			for _, sub := range subs {
				if err := sub.expect(ctx, 1, s, sent-window); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func publishFailed(ch broker.Channel, err error) error {
	return fail(16, "Publish on %v failed with nothing wrong: %v", ch, err)
}
