package natsbroker

import (
	"hash/maphash"

	"github.com/nats-io/nats.go"
)

// publishers records, for one subscription, what has arrived of which broker, so that no message is
// delivered twice or out of order. Several filters may select a message, and the server sends a copy
// for each, one after the other. A broker that moves to another server may leave messages behind
// that arrive later.
//
// Any client that may publish can send frames in the name of a broker. Therefore the numbers do not
// say which message is the later one: only the id of a later connection does, which only the
// broker can make (see identity). And a copy is a copy only if all of it is the same.
//
// It is for one goroutine at a time.
type publishers struct {
	own         *identity
	now, before map[uint64]*publisher // by frame.from; before is an older generation
}

// publisher is one broker. Several ids lead to it.
type publisher struct {
	current uint64             // the id of its latest connection that a message came from
	recent  [recentKept]uint64 // sums of the last messages, at their number modulo recentKept
}

const (
	// idsKept limits the number of ids in a generation.
	idsKept = 8192
	// recentKept is how many messages of a broker are compared with copies. The copies come one
	// after the other.
	recentKept = 16
	// earlierKnown is how many earlier ids of a broker are recorded with the first that is heard.
	earlierKnown = 2
)

// order is what to do with a message.
type order uint8

const (
	inOrder   order = iota // deliver it
	duplicate              // a copy of a message that has arrived
	overtaken              // a message from a later connection of the same broker has arrived before
)

var sumSeed = maphash.MakeSeed()

// sumOf returns a checksum of a message. Copies of a message have the same.
func sumOf(m *nats.Msg) uint64 {
	return maphash.Bytes(sumSeed, m.Data) + maphash.String(sumSeed, m.Subject)
}

// check returns the order of a message with a checksum, and its publisher, whose record must be
// called when the message has been passed on. The publisher is nil for a message of this broker.
func (a *publishers) check(f *frame, sum uint64) (*publisher, order) {
	p := a.find(f.from)
	switch {
	case p == nil:
		return nil, duplicate
	case p.recent[f.seq%recentKept] == sum:
		return p, duplicate
	case p.current != f.from:
		return p, overtaken
	}
	return p, inOrder
}

func (p *publisher) record(f *frame, sum uint64) { p.recent[f.seq%recentKept] = sum }

// find returns the publisher with an id. It is nil if that is an id of this broker.
func (a *publishers) find(id uint64) *publisher {
	p := a.now[id]
	if p != nil {
		return p
	}
	if p = a.before[id]; p == nil {
		if a.own.has(id) {
			return nil
		}
		if p = a.relative(id); p == nil {
			p = &publisher{current: id}
			for range earlierKnown {
				id = idBefore(id)
				a.put(id, p)
			}
			id = p.current
		}
	}
	a.put(id, p)
	return p
}

// relative returns the publisher of another id from which the given one descends. If the given one
// is the id of a later connection, it is now the publisher's current one.
func (a *publishers) relative(id uint64) *publisher {
	ancestor := id
	for range idsSkipped {
		ancestor = idBefore(ancestor)
		p := a.now[ancestor]
		if p == nil {
			p = a.before[ancestor]
		}
		switch {
		case p == nil:
			continue
		case p.current == ancestor:
			p.current = id
			return p
		case descends(p.current, id):
			return p
		}
		return nil
	}
	return nil
}

func (a *publishers) put(id uint64, p *publisher) {
	if a.now == nil || len(a.now) >= idsKept {
		a.before, a.now = a.now, map[uint64]*publisher{}
	}
	a.now[id] = p
}
