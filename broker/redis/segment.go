package redisbroker

import (
	"time"

	"github.com/crossroom/crossroom/broker/internal/ledger"
)

// message is what the outbox remembers of one that it holds encoded.
type message struct {
	ledger.Size
	at time.Duration // when it was accepted, after outbox.born
}

// segment is a run of encoded messages. Those before head are done with.
type segment struct {
	buf  []byte
	off  int // where in buf the first message that is not done with begins
	msgs []message
	head int
}

func (s *segment) size() int { return len(s.buf) - s.off }

// drop is done with the first message.
func (s *segment) drop() message {
	m := s.msgs[s.head]
	s.head++
	s.off += m.Wire
	return m
}

func (s *segment) empty() bool { return s.head == len(s.msgs) }
