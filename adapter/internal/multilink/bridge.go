package multilink

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Why messages were not passed on.
var (
	errBridgeFull    = errors.New("adapter: the bridge's window did not hold them")
	errBridgeOld     = errors.New("adapter: they waited longer than Bridge.Age")
	errBridgeDoubt   = errors.New("adapter: the former leader of the bridge may have passed them on")
	errBridgeSkipped = errors.New("adapter: the former leader of the bridge passed on later ones of the same sender")
	errBridgeClosed  = errors.New("adapter: closed, and no other node is there to pass them on")
)

// BridgeOptions are what package adapter documents as Bridge, without defaults.
type BridgeOptions struct {
	Messages, Bytes int
	Age             time.Duration
	Repeat          bool

	// Heartbeat and PeerTimeout of all nodes.
	Heartbeat, PeerTimeout time.Duration
	// Report is told what was lost on the way to a link.
	Report func(link string, err error)
	// Passed counts what was passed on.
	Passed *atomic.Uint64
}

// bridge passes on what is heard on one of a set's links only to the others.
type bridge struct {
	set       *Set
	opts      BridgeOptions
	opened    time.Time
	crossings []*crossing
	ctx       context.Context
	cancel    context.CancelFunc
	changed   chan struct{} // a leader has handed over
	stop      chan struct{}
	carriers  sync.WaitGroup
	elector   sync.WaitGroup
	hashes    []*hasher // by link; each its worker's

	mu     sync.Mutex
	closed bool
}

func newBridge(set *Set, o *BridgeOptions) *bridge {
	b := &bridge{set: set, opts: *o, changed: make(chan struct{}, 1), stop: make(chan struct{})}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// rests is how long a node that misses messages leaves the lead to others: until a leader
// that was killed has expired, and one of the others has taken over.
func (b *bridge) rests() time.Duration { return b.opts.PeerTimeout + 2*b.opts.Heartbeat }

// start begins passing on, once all links are live.
func (b *bridge) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.crossings) > 0 {
		return
	}
	b.opened = time.Now()
	for _, from := range b.set.links {
		b.hashes = append(b.hashes, newHasher())
		for _, to := range b.set.links {
			if from != to {
				b.crossings = append(b.crossings, newCrossing(b, from, to))
			}
		}
	}
	for _, c := range b.crossings {
		b.carriers.Go(c.carry)
	}
	b.elector.Go(b.elect)
}

// close passes on what the window holds, if this node leads, and hands over, until ctx
// ends.
func (b *bridge) close(ctx context.Context) {
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	all := b.crossings
	b.mu.Unlock()
	defer context.AfterFunc(ctx, b.cancel)()
	if first {
		for _, c := range all {
			c.end()
		}
		b.carriers.Wait() // soon, when the context is cancelled
		close(b.stop)
	}
	b.elector.Wait()
	b.cancel()
}

// offer takes in a broadcast that was heard on a link, in order. It does not block.
func (b *bridge) offer(i int, in *wire.Broadcast) {
	sum := b.hashes[i].sum(in)
	m := &bridged{
		id: sum, origin: in.Origin, payload: in.Payload, // never written to, and may be kept
		target: wire.Selection{
			Rooms: slices.Clone(in.Rooms), Except: slices.Clone(in.Except), RemoteOnly: true,
			Flags: in.Flags, Header: maps.Clone(in.Header),
		},
	}
	now := time.Now()
	for _, c := range b.crossings {
		if c.from == b.set.links[i] {
			c.add(m, now)
		}
	}
}

// copied takes in that another node has passed on, from one link to another, the message
// that note says, or that it hands over.
func (b *bridge) copied(from, to int, by, note string) {
	for _, c := range b.crossings {
		switch {
		case c.from != b.set.links[from] || c.to != b.set.links[to]:
		case note == noteEnd || note == noteRest:
			c.retire(by, note == noteEnd)
			select {
			case b.changed <- struct{}{}:
			default:
			}
		default:
			if sum, ok := parseSum(note); ok {
				c.copied(by, sum)
			}
		}
	}
}

// interrupted takes in that a link may miss messages from here on, or with nil that this
// has ended.
func (b *bridge) interrupted(i int, err error) {
	for _, c := range b.crossings {
		switch b.set.links[i] {
		case c.to:
			c.deaf(err != nil)
		case c.from:
			c.missing()
		}
	}
}

// elect decides, now and then, in which directions this node leads, and reports what was
// lost.
func (b *bridge) elect() {
	tick := time.NewTicker(max(b.opts.Heartbeat/4, time.Millisecond))
	defer tick.Stop()
	for {
		for _, c := range b.crossings {
			c.elect(time.Now())
			c.report()
		}
		select {
		case <-tick.C:
		case <-b.changed:
		case <-b.stop:
			for _, c := range b.crossings {
				c.report()
			}
			return
		}
	}
}

// candidate is a node that may lead.
type candidate struct {
	id    string
	since time.Time
}

func (a candidate) before(b candidate) bool {
	if c := a.since.Compare(b.since); c != 0 {
		return c < 0
	}
	return a.id < b.id
}

// rivals lists the other Go nodes that serve the namespace on both links, and describes
// this one. Of a node's two times the one on the link with the lower key counts.
func (b *bridge) rivals(one, other *Link) (self candidate, all []candidate) {
	if other.Key < one.Key {
		one, other = other, one
	}
	there := other.Peers()
	for _, p := range one.Peers() {
		if serves(p, b.set.namespace) && slices.ContainsFunc(there, func(q backplane.Peer) bool {
			return q.ID == p.ID && serves(q, b.set.namespace)
		}) {
			all = append(all, candidate{p.ID, p.Since})
		}
	}
	// As it travels: without the monotonic clock.
	return candidate{b.set.uid, time.Unix(0, one.Node.Since().UnixNano())}, all
}

// loss is how much was lost for one reason.
type loss struct{ messages, bytes int }

func (l *loss) add(bytes int) {
	l.messages++
	l.bytes += bytes
}

func (c *crossing) report() {
	c.mu.Lock()
	lost := c.losses
	c.losses = nil
	c.mu.Unlock()
	for _, l := range lost {
		c.b.opts.Report(c.to.Key, &broker.LossError{Loss: l})
	}
}
