package request

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Foreign peers (Node.js servers) do not announce themselves. A node knows their number, and what this file keeps.

// ForeignWait limits the wait for foreign peers that missed the deadline of the last request of the same kind. A
// quarter of the request timeout is the limit if that is shorter.
const ForeignWait = 250 * time.Millisecond

// foreignPeers is a namespace's knowledge of its foreign peers.
type foreignPeers struct {
	// number of them at the last count.
	number atomic.Int64

	mu sync.Mutex
	// timeouts has, by kind of request, how many did not respond to the last one.
	timeouts map[wire.Op]foreignTimeout
	// responders are the ids with a response channel of their own. Broker.Responders, which returned them, may be
	// slow.
	responders []string
	peers      int       // Snapshot.Peers at that time
	until      time.Time // the end of their validity
}

// foreignTimeout: of total foreign peers, missing ones did not respond.
type foreignTimeout struct{ total, missing int }

const responderMemory = 2 * time.Second

// missed records a deadline that foreign peers missed.
func (f *foreignPeers) missed(op wire.Op, total, missing int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timeouts == nil {
		f.timeouts = make(map[wire.Op]foreignTimeout)
	}
	f.timeouts[op] = foreignTimeout{total, missing}
}

// slow returns for how many of total foreign peers a request waits only during ForeignWait.
func (f *foreignPeers) slow(op wire.Op, total int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.timeouts[op]; s.total == total {
		return s.missing
	}
	return 0
}

// forget forgets missed deadlines: a response has come.
func (f *foreignPeers) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.timeouts)
}

// Expect returns how many responses to a request will come from the foreign peers of a snapshot. An error refuses the
// request.
func (t *Table) Expect(req *wire.Request, s *Snapshot) (wire.Expected, error) {
	return t.expect(req, s.Foreign)
}

// expect calls the codec. In a protocol without foreign peers, subscribers that are not known by name are nodes that
// have not introduced themselves, and all respond.
func (t *Table) expect(req *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	if codec, ok := t.o.Codec.(wire.ForeignPeers); ok {
		return codec.Expect(t.o.Name, req, p)
	}
	return wire.Expected{Answers: p.Total}, nil
}

// mayRespond reports whether a foreign peer that was not counted would respond.
func (t *Table) mayRespond(req *wire.Request) bool {
	if t.protocol == broker.Native {
		return false // there are none
	}
	one, err := t.expect(req, wire.Unannounced{Total: 1, Responding: -1})
	return err != nil || one.Answers > 0
}

// respondingPeers counts the foreign peers with a response channel of their own. The number may be cached unless fresh
// is set, and is -1 if the broker cannot tell.
func (t *Table) respondingPeers(ctx context.Context, s *Snapshot, fresh bool) (int, error) {
	f := &t.foreign
	f.mu.Lock()
	ids, known := f.responders, !fresh && f.peers == s.Peers() && time.Now().Before(f.until)
	f.mu.Unlock()
	if !known {
		// Without the lock, because no context could end a wait for it: a few concurrent requests may each query the
		// broker.
		var err error
		if ids, err = t.o.Broker.Responders(ctx, t.protocol, t.o.Name); ids == nil {
			return -1, err
		}
		f.mu.Lock()
		f.until, f.peers, f.responders = time.Now().Add(responderMemory), s.Peers(), ids
		f.mu.Unlock()
	}
	// Count each time: a node that was unknown then may have introduced itself.
	n := 0
	for _, id := range ids {
		if _, known := s.nodes[id]; id != t.o.Node && !known {
			n++
		}
	}
	return min(n, s.Foreign.Total), nil
}

// foreignCount counts the responses to one request of foreign peers, and of nodes that were counted without a name.
type foreignCount struct {
	counted  int // responses that were expected at first
	expected int // … without those of peers that are not subscribed any more, or are known by name meanwhile
	answered int
	named    int  // nodes that have become known by name
	slow     int  // of expected: waited for only during ForeignWait
	givenUp  int  // slow, when ForeignWait has elapsed
	all      bool // every foreign peer should respond
	acks     int  // number of pending acknowledgements
	tooLarge int  // of answered: those that exceed a limit
}

// open reports whether responses are missing.
func (f *foreignCount) open() bool { return f.answered < f.expected-f.givenUp }

// limit records that at most n foreign peers can still respond.
func (f *foreignCount) limit(n int) {
	if over := f.expected - f.answered - n; over > 0 {
		f.expected -= over
		f.slow, f.givenUp = max(f.slow-over, 0), max(f.givenUp-over, 0)
	}
}

// missing lists the foreign peers whose responses did not come. enough: the wait has ended by itself, not by the
// deadline.
func (f *foreignCount) missing(enough bool) (list []Missing) {
	if f.tooLarge > 0 {
		list = append(list, Missing{Count: f.tooLarge, State: TooLarge})
	}
	switch n := f.expected - f.answered; {
	case n <= 0:
	case !enough:
		list = append(list, Missing{Count: n, State: TimedOut})
	case f.givenUp > 0:
		list = append(list, Missing{Count: min(n, f.givenUp), State: Unresponsive})
	}
	if left := f.counted - f.expected - f.named; left > 0 {
		list = append(list, Missing{Count: left, State: Lost})
	}
	return list
}
