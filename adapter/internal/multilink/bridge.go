package multilink

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Reasons why messages were not forwarded.
var (
	errBridgeFull    = errors.New("adapter: bridge: the window is full (Bridge.Messages, Bridge.Bytes)")
	errBridgeOld     = errors.New("adapter: bridge: the messages waited longer than Bridge.Age")
	errBridgeDoubt   = errors.New("adapter: bridge: the former leader may have forwarded the messages")
	errBridgeSkipped = errors.New("adapter: bridge: the former leader forwarded later messages of the same sender")
	errBridgeClosed  = errors.New("adapter: bridge: closed while no other node can forward the messages")
)

// BridgeOptions has the fields of adapter.Bridge, with the defaults filled in.
type BridgeOptions struct {
	Messages, Bytes int
	Age             time.Duration
	Repeat          bool

	// Heartbeat and PeerTimeout of all nodes.
	Heartbeat, PeerTimeout time.Duration
	// Report is called with the losses on the way to a link.
	Report func(link string, err error)
	// Passed counts the forwarded messages.
	Passed *atomic.Uint64
}

// bridge forwards broadcasts that are received on one of a set's links only to the others.
type bridge struct {
	set       *Set
	opts      BridgeOptions
	opened    time.Time
	crossings []*crossing
	ctx       context.Context
	cancel    context.CancelFunc
	changed   chan struct{} // holds a token after a leader has handed over
	stop      chan struct{}
	carriers  sync.WaitGroup
	elector   sync.WaitGroup
	hashes    []*hasher // by link; each is used only by the worker of its link

	mu     sync.Mutex
	closed bool
}

func newBridge(set *Set, o *BridgeOptions) *bridge {
	b := &bridge{set: set, opts: *o, changed: make(chan struct{}, 1), stop: make(chan struct{})}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// rests returns how long a node that misses messages leaves the lead to others: until a
// leader that was killed has expired and another node has taken over.
func (b *bridge) rests() time.Duration { return b.opts.PeerTimeout + 2*b.opts.Heartbeat }

// start starts the elector and the carriers. All links are live.
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

// close forwards the messages in the window, if this node leads, and hands over. It stops
// when ctx ends.
func (b *bridge) close(ctx context.Context) {
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	all := b.crossings
	b.mu.Unlock()
	defer context.AfterFunc(ctx, b.cancel)()
	if first {
		for _, c := range all {
			c.finish()
		}
		b.carriers.Wait() // returns soon after ctx ends
		close(b.stop)
	}
	b.elector.Wait()
	b.cancel()
}

// offer adds a broadcast that was received on a link. It does not block.
func (b *bridge) offer(i int, in *wire.Broadcast) {
	sum := b.hashes[i].sum(in)
	m := &bridged{
		id: sum, origin: in.Origin, payload: in.Payload, // immutable
		target: wire.Selection{
			Rooms: slices.Clone(in.Rooms), All: slices.Clone(in.All), Except: slices.Clone(in.Except), RemoteOnly: true,
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

// copied handles the mark of another node's copy from one link to another: that node has
// forwarded the message with the sum in note, or hands over.
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

// interrupted handles an interruption of link i. A nil err ends it.
func (b *bridge) interrupted(i int, err error) {
	for _, c := range b.crossings {
		switch b.set.links[i] {
		case c.to:
			c.copiesMissed(err != nil)
		case c.from:
			c.originalsMissed()
		}
	}
}

// elect decides every Heartbeat/4, and when a leader hands over, in which directions this
// node leads. It also reports losses.
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

// rivals returns this node, and the other Go nodes that serve the namespace on both links.
// A node has a start time on each link; that on the link with the lower key counts.
func (b *bridge) rivals(one, other *Link) (self candidate, all []candidate) {
	if other.Key < one.Key {
		one, other = other, one
	}
	peers := other.Peers()
	for _, p := range one.Peers() {
		if serves(p, b.set.namespace) && slices.ContainsFunc(peers, func(q observe.Peer) bool {
			return q.ID == p.ID && serves(q, b.set.namespace)
		}) {
			all = append(all, candidate{p.ID, p.Since})
		}
	}
	// Without the monotonic clock, as the time is sent.
	return candidate{b.set.uid, time.Unix(0, one.Node.Since().UnixNano())}, all
}

// loss counts lost messages and their bytes.
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
