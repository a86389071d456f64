// Package serve carries out other nodes' requests to a namespace. A Desk works on a few requests at a time and lets
// the others wait in bounded queues, lists members and rooms, and publishes responses, long ones in parts. Package
// backplane itself carries out requests that call members' methods, on the inbound worker, and lets the Desk respond.
package serve

import (
	"context"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/inbound"
	"github.com/crossroom/crossroom/backplane/internal/interest"
	"github.com/crossroom/crossroom/backplane/internal/monitor"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// Options of a Desk. None has a default. M is the type of the members, an interface.
type Options[M any] struct {
	Namespace string
	Node      string // its id
	Codec     wire.Codec
	Broker    broker.Broker // publishes responses
	Rooms     *rooms.Registry[M]
	Interest  *interest.Set // of Rooms
	Monitor   *monitor.Monitor
	// Timeout and StallTimeout are RequestsTimeout and StallTimeout of backplane.Options.
	Timeout, StallTimeout time.Duration
	// Context ends when the namespace has closed. Workers counts the goroutines.
	Context context.Context
	Workers *sync.WaitGroup
	Budget  *Budget // the node's
	// OnRequest and OnEvent are those of backplane.NamespaceOptions.
	OnRequest func(ctx context.Context, from string, payload []byte) ([]byte, error)
	OnEvent   func(ctx context.Context, from string, payload []byte, reply func([]byte))
	// Busy is the error of a refused request. Failed makes the error that reports why a request is not carried out, or
	// its response is incomplete.
	Busy   error
	Failed func(r *wire.Request, err error) error
	// Lost takes all members out of rooms that the broker refuses to subscribe to.
	Lost func(rooms []string, err error)
	// Stalled reports a member whose Describe does not return.
	Stalled func(member string)
	// Oversized reports a member whose data of size bytes is left out.
	Oversized func(member string, size int)
	// Left reports whether a node is known to have left the namespace.
	Left func(node string) bool
}

// Desk carries out the requests of other nodes that the inbound worker does not carry out
// itself. It has four lines: queries about members and rooms, queries with a large response,
// calls of the application's callbacks, and responses that must be published. Each line
// works on a few requests at a time, and the others wait in its bounded queue. If the queue
// is full, further requests are refused.
type Desk[M any] struct {
	o        Options[M]
	part     int  // the size of the parts of a list, in bytes
	counts   bool // the broker counts subscribers
	patience *inbound.Patience

	selections sync.Pool // of *rooms.Selection[M]

	queries, large, calls, answers line[M]
	held                           held // while the namespace closes
}

// New makes the Desk of a namespace.
func New[M any](o Options[M]) *Desk[M] {
	d := &Desk[M]{o: o, part: partBytes, patience: inbound.NewPatience(o.StallTimeout)}
	caps := o.Broker.Capabilities()
	d.counts = caps.CountsSubscribers
	if limit := caps.MaxPayload; limit > 0 {
		d.part = min(partBytes, max(limit/2, 1))
	}
	// A request that waits too long, behind a callback that does not return or behind large
	// responses, is refused before its requester's timeout, if that is the same as here.
	d.calls = line[M]{desk: d, limit: maxCalls, patience: o.Timeout * 3 / 4}
	_, foreign := o.Codec.(wire.ForeignPeers)
	patience := d.timeout(!foreign) * 3 / 4
	d.queries = line[M]{desk: d, limit: maxQueries, patience: patience}
	d.large = line[M]{desk: d, limit: 1, patience: patience}
	d.answers = line[M]{desk: d, limit: maxResponses}
	return d
}

const (
	// maxCalls limits the calls of OnRequest and OnEvent that are running at a time.
	maxCalls = 256
	// maxQueries limits the queries that are carried out at a time. Few at a time are faster
	// than many, and need less memory.
	maxQueries   = fewResponses
	maxResponses = 16
	// MaxWaiting and MaxWaitingBytes limit the requests that wait in one line. Each counts with waitingSize bytes
	// besides its own, and with nameSize bytes for each name.
	MaxWaiting      = 1 << 16
	MaxWaitingBytes = 64 << 20
	waitingSize     = 512
	nameSize        = 16
)

// Begin begins with a request of that many bytes.
func (d *Desk[M]) Begin(r *wire.Request, size int) *Request[M] {
	size += nameSize * (len(r.Rooms) + len(r.All) + len(r.Except) + len(r.Targets))
	q := &Request[M]{desk: d, req: r, size: size, came: time.Now(), Context: d.o.Context}
	q.Response = wire.Response{Request: r, RequestID: r.ID, Node: d.o.Node}
	q.observeStart()
	return q
}

// Take carries out a request that calls no member's method, and responds. It returns false for other requests.
func (d *Desk[M]) Take(r *wire.Request, size int) bool {
	switch r.Op {
	case wire.OpMembers, wire.OpRoomsOf, wire.OpRooms:
		d.query(d.Begin(r, size))
	case wire.OpCustom, wire.OpEvent:
		d.call(d.Begin(r, size))
	default:
		return false
	}
	return true
}

// Hold makes the desk keep back, until Release, the responses to requesters that count responses. The namespace
// closes.
func (d *Desk[M]) Hold() { d.held.begin() }

// Release sends the responses that were held back, after a wait if there are any.
func (d *Desk[M]) Release(wait func()) { d.held.release(wait) }

// timeout returns how long a requester waits for its response: a Crossroom node as long as
// this node, others at least as long as a Node.js server does by default.
func (d *Desk[M]) timeout(native bool) time.Duration {
	if native {
		return d.o.Timeout
	}
	return max(d.o.Timeout, foreignTimeout)
}

const foreignTimeout = 5 * time.Second

// query queues a query. Equal queries that wait share one response.
func (d *Desk[M]) query(s *Request[M]) {
	if !s.wanted() {
		s.done(nil)
		return
	}
	if d.later(s, func() { d.queueQuery(s) }) {
		return
	}
	d.queueQuery(s)
}

// later keeps a request for later if its requester counts responses and the namespace closes.
func (d *Desk[M]) later(s *Request[M], work func()) bool {
	return !s.req.Native && s.wanted() && d.held.hold(s.size, work)
}

func (d *Desk[M]) queueQuery(s *Request[M]) {
	key := s.key()
	s.size += len(key)
	if !d.queries.put(s, key, d.queryAll) {
		d.refuse(s)
	}
}

// call queues a call of OnRequest or OnEvent.
func (d *Desk[M]) call(s *Request[M]) {
	held := func() {
		s.Context = context.WithoutCancel(s.Context) // which ends soon
		d.callBack(s)
	}
	if d.later(s, held) {
		return
	}
	d.callBack(s)
}

func (d *Desk[M]) callBack(s *Request[M]) {
	work := (*Request[M]).custom
	if s.req.Op == wire.OpEvent {
		work = (*Request[M]).event
	}
	if !d.calls.put(s, "", func(list []*Request[M]) { work(list[0]) }) {
		d.refuse(s)
	}
}

// Answer publishes the response to a completed request on another goroutine, so that a full queue of the broker does
// not block the inbound worker. It blocks only if too many responses wait.
func (d *Desk[M]) Answer(s *Request[M]) {
	if s.req.Op == wire.OpBroadcast && d.later(s, s.end) {
		return
	}
	if !s.wanted() || !d.answers.put(s, "", func(list []*Request[M]) { list[0].end() }) {
		s.end()
	}
}

// refuse reports a request that is not carried out, and responds to it if its form has a response for that.
func (d *Desk[M]) refuse(s *Request[M]) { d.Refuse(s, d.o.Busy) }

// Refuse is refuse for another reason than too many requests.
func (d *Desk[M]) Refuse(s *Request[M], err error) {
	s.refused(err)
	d.Answer(s)
}
