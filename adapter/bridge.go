package adapter

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Bridge passes broadcasts of nodes that are on one link only on to the other links: those
// of Node.js servers, emitters, and Go nodes that are not on all links. One Go node at a
// time does it, the leader: of those on both links, the one that was made first. The
// others, the followers, hear the same messages and the copies of them. Each keeps the
// messages whose copies it has not heard, the window, and passes them on when it becomes
// the leader, each once and in order.
//
//	what the leader does   what becomes of messages meanwhile
//	Close                  none lost, none repeated; the next leader starts at once
//	loses a link           the same, if it is the link on which it hears the messages
//	is killed              none lost within the window, none repeated; the next leader
//	                       starts PeerTimeout + 1.5 Heartbeat later
//	is stopped, goes on    the same; what it had accepted from the link before is not
//	                       passed on a second time
//
// A node that misses messages on a link leaves the lead to the others for PeerTimeout and two
// Heartbeats, if there are others, when it begins and when it ends.
//
// Messages with the same content are counted, not told apart: a leader that has missed one
// of them may leave out another one. A message that the leader had
// dropped and reported before it was killed may be reported by the next one, too.
//
// Messages are counted and reported to Options.OnError as a *broker.LossError inside a
// *LinkError if the window does not hold them, or if the broker or the content check
// refuses them. All Go nodes with several links must have the same links, Heartbeat and
// PeerTimeout.
type Bridge struct {
	// Messages, Bytes and Age limit the window, for each namespace and direction
	// between two links. The oldest messages are dropped if it is full or if they are
	// older than Age. Bytes counts payloads, names and 384 bytes for each message. Age
	// must be longer than a change of the leader takes. Zero: 262,144 messages, 128 MiB,
	// and 30 s or three times PeerTimeout if that is more.
	Messages, Bytes int
	Age             time.Duration

	// Repeat passes on what may have been passed on before. A node cannot know this of
	// messages from its first Heartbeat, or from an interruption of the other link, if
	// another node led then. By default these messages are dropped, and their number is
	// reported with Uncertain set.
	Repeat bool
}

const (
	defaultBridgeMessages = 1 << 18
	defaultBridgeBytes    = 128 << 20
	defaultBridgeAge      = 30 * time.Second
)

// withDefaults returns a copy for a server with those intervals.
func (b *Bridge) withDefaults(peerTimeout time.Duration) *Bridge {
	if b == nil {
		return nil
	}
	c := *b
	if c.Messages == 0 {
		c.Messages = defaultBridgeMessages
	}
	if c.Bytes == 0 {
		c.Bytes = defaultBridgeBytes
	}
	if c.Age == 0 {
		c.Age = max(defaultBridgeAge, 3*peerTimeout)
	}
	return &c
}

func (b *Bridge) validate(heartbeat, peerTimeout time.Duration) error {
	bad := func(reason string) error { return &backplane.OptionError{Option: "Bridge", Reason: reason} }
	switch {
	case b.Messages < 0 || b.Bytes < 0 || b.Age < 0:
		return bad("a negative limit")
	case b.Age <= peerTimeout+2*heartbeat:
		return bad("Age is not longer than a change of the leader takes (PeerTimeout + 2 Heartbeat)")
	}
	return nil
}

// Why messages were not passed on.
var (
	errBridgeFull    = errors.New("adapter: the bridge's window did not hold them")
	errBridgeOld     = errors.New("adapter: they waited longer than Bridge.Age")
	errBridgeDoubt   = errors.New("adapter: the former leader of the bridge may have passed them on")
	errBridgeSkipped = errors.New("adapter: the former leader of the bridge passed on later ones of the same sender")
	errBridgeClosed  = errors.New("adapter: closed, and no other node is there to pass them on")
)

// bridge is what a namespace does for Options.Bridge.
type bridge struct {
	ns        *Namespace
	opts      Bridge
	beat      time.Duration
	timeout   time.Duration
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

func newBridge(ns *Namespace) *bridge {
	o := &ns.server.opts
	b := &bridge{
		ns: ns, opts: *o.Bridge, beat: o.heartbeat(), timeout: o.peerTimeout(),
		changed: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// rests is how long a node that misses messages leaves the lead to others: until a leader
// that was killed has expired, and one of the others has taken over.
func (b *bridge) rests() time.Duration { return b.timeout + 2*b.beat }

// start begins passing on, once all links are live.
func (b *bridge) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.crossings) > 0 {
		return
	}
	b.opened = time.Now()
	for _, from := range b.ns.legs {
		b.hashes = append(b.hashes, newHasher())
		for _, to := range b.ns.legs {
			if from.link != to.link {
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
func (b *bridge) offer(l *link, in *wire.Broadcast) {
	sum := b.hashes[slices.Index(b.ns.server.links, l)].sum(in)
	m := &bridged{
		id: sum, origin: in.Origin, payload: in.Payload, // never written to, and may be kept
		target: wire.Selection{
			Rooms: slices.Clone(in.Rooms), Except: slices.Clone(in.Except), RemoteOnly: true,
			Flags: in.Flags, Header: maps.Clone(in.Header),
		},
	}
	now := time.Now()
	for _, c := range b.crossings {
		if c.from.link == l {
			c.add(m, now)
		}
	}
}

// copied takes in that another node has passed on, from one link to another, the message
// that note says, or that it hands over.
func (b *bridge) copied(from, to *link, by, note string) {
	for _, c := range b.crossings {
		switch {
		case c.from.link != from || c.to.link != to:
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
func (b *bridge) interrupted(l *link, err error) {
	for _, c := range b.crossings {
		switch l {
		case c.to.link:
			c.deaf(err != nil)
		case c.from.link:
			c.missing()
		}
	}
}

// elect decides, now and then, in which directions this node leads, and reports what was
// lost.
func (b *bridge) elect() {
	tick := time.NewTicker(max(b.beat/4, time.Millisecond))
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
func (b *bridge) rivals(one, other *link) (self candidate, all []candidate) {
	if other.key < one.key {
		one, other = other, one
	}
	there := other.node.KnownPeers()
	for _, p := range one.node.KnownPeers() {
		if holds(p, b.ns.name) && slices.ContainsFunc(there, func(q backplane.Peer) bool {
			return q.ID == p.ID && holds(q, b.ns.name)
		}) {
			all = append(all, candidate{p.ID, p.Since})
		}
	}
	// As it travels: without the monotonic clock.
	return candidate{b.ns.server.uid, time.Unix(0, one.door.Since().UnixNano())}, all
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
		c.b.ns.server.report(&LinkError{Prefix: c.to.key, Err: &broker.LossError{Loss: l}})
	}
}
