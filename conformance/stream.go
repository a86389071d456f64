package conformance

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
)

// stream is a sequence of numbered messages from one node on one channel. Only one goroutine at a time may call its
// publish.
type stream struct {
	env     *env
	id      uint32
	node    *Node
	ch      broker.Channel
	started atomic.Uint64 // number of Publish calls
	lossy   atomic.Bool   // the publisher itself may lose some messages
	buf     []byte
}

var magic = [4]byte{0xC5, 0x00, 0x0A, 0x2A}

const header = 4 + 4 + 8 + 4

// probe is the id of messages that no recorder checks.
const probe = ^uint32(0)

// encode encodes message seq of a stream in size bytes, at least those of the header.
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
		return 0, 0, errors.New("a message of this suite, but with altered bytes")
	}
	return binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint64(p[8:]), nil
}

// publish publishes the next message.
func (s *stream) publish(ctx context.Context) error { return s.publishSize(ctx, 0) }

func (s *stream) publishSize(ctx context.Context, size int) error {
	seq := s.started.Add(1)
	s.buf = encode(s.buf, s.id, seq, size)
	err := s.node.Broker.Publish(ctx, s.ch, s.buf)
	// The suite overwrites every payload at once, as B7 allows.
	for i := range s.buf {
		s.buf[i] = 0xEE
	}
	return err
}

// must sends n more messages, with at most a window of them not yet received by the subscriptions: slow machines must
// not make a correct broker overflow.
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
	return fail(16, "Publish on %v failed without a fault: %v", ch, err)
}
