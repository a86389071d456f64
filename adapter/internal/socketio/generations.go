package socketio

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/wire"
)

// generation is a set of servers that understand each other's requests.
type generation uint8

const (
	genNone generation = iota
	gen5               // socket.io-redis up to 5
	gen6               // socket.io-redis 6, @socket.io/redis-adapter
)

// generationClock records when the last request or response of a Node.js server was
// received, by generation. Broadcasts do not show their generation, and an emitter is no
// server.
type generationClock struct {
	v5, v6 atomic.Int64 // Unix nanoseconds; zero: never
	// misreads counts the responses of v5 to request 0 of V6. misread holds a token after
	// such a response.
	misreads atomic.Int64
	misread  chan struct{}
}

func (s *generationClock) note(g generation) {
	switch g {
	case gen5:
		s.v5.Store(time.Now().UnixNano())
	case gen6:
		s.v6.Store(time.Now().UnixNano())
	}
}

// Generations returns when the last request or response of each generation was received on
// the channels of this codec, or the zero time. Two generations on one prefix endanger each
// other [PROTOCOL 12].
func (c *Codec) Generations() (v5, v6 time.Time) {
	at := func(n int64) time.Time {
		if n == 0 {
			return time.Time{}
		}
		return time.Unix(0, n)
	}
	return at(c.seen.v5.Load()), at(c.seen.v6.Load())
}

// misunderstood reports whether a response without request id is the response to a request
// of the other generation, and the generation of the responder: genNone if both
// generations respond like that [PROTOCOL 12].
func misunderstood(v jsonscan.Value) (by generation, ok bool) {
	members := 0
	for key, value := range v.Members() {
		members++
		list := value.Kind() == jsonscan.Array
		switch {
		case key == "sockets" && list: // v6 and later, to 0 of v5
			by, ok = gen6, true
		case key == "clients" && list: // v5, to 0 of v6
			by, ok = gen5, true
		case key == "rooms" && list: // v5 to 2, v6 and later to 1
			ok = true
		case key == "data": // v5, to 5 of v6
			by, ok = gen5, true
		}
	}
	return by, ok || members == 0 // {}: to requests by id
}

func isIgnored(err error) bool { return errors.Is(err, wire.ErrIgnored) }

// Misreads returns how many responses of v5 to request 0 of V6 were read.
func (c *Codec) Misreads() int64 { return c.seen.misreads.Load() }

// Misread returns a channel that holds a token after such a response.
func (c *Codec) Misread() <-chan struct{} { return c.seen.misread }
