package membership

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Membership is one node's part in the fleet: its announcements, and its knowledge of its peers. All methods are safe
// for concurrent use.
type Membership struct {
	o         Options
	introTime time.Duration
	announcer announcer
	peers     table
	blind     atomic.Bool // the broker cannot count, or may not
	control   broker.Subscription
	stop      chan struct{}

	frames      chan item
	overflow    atomic.Int64  // frames that did not fit and are not reported yet
	lastMessage atomic.Int64  // when the last frame arrived, in Unix nanoseconds, if recorded
	retry       chan struct{} // introductions must be repeated

	// strangers is how many nodes' introductions were awaited without success.
	strangers atomic.Int32

	// The fields below belong to the keeper.
	greeted time.Time // when a loss last made this node greet again
	twins   []int64   // the start times of other nodes with this id
}

// maxIntroduction limits the wait for introductions, unless a quarter of RequestsTimeout is shorter. A node that
// received no message for so long is alone.
const maxIntroduction = 250 * time.Millisecond

// New makes a Membership that announces nothing yet.
func New(o Options) *Membership {
	m := &Membership{
		o: o, introTime: min(maxIntroduction, o.RequestsTimeout/4),
		stop: make(chan struct{}), frames: make(chan item, maxFrames), retry: make(chan struct{}, 1),
	}
	caps := o.Broker.Capabilities()
	m.blind.Store(!caps.CountsSubscribers)
	m.peers.init(m.introTime, &o, caps.CountsSubscribers)
	m.announcer.init(&o, caps.MaxPayload, &m.peers, m.Blind)
	return m
}

// Start subscribes to the control channels and starts the goroutines, which workers counts. An error leaves nothing
// behind.
func (m *Membership) Start(ctx context.Context, workers *sync.WaitGroup) error {
	sub, err := m.o.Broker.Subscribe(ctx, m, broker.Exactly(broker.Control()), broker.Exactly(broker.NodeControl(m.o.ID)))
	if err != nil {
		return err
	}
	m.control = sub
	if m.o.Broker.Capabilities().CountsSubscribers {
		short, cancel := context.WithTimeout(ctx, m.introTime)
		_, err := m.o.Broker.Subscribers(short, broker.Control()) // queries return other errors
		cancel()
		m.Counted(err)
	}
	workers.Go(m.keep)
	workers.Go(m.announcer.beat)
	return nil
}

// Goodbye waits until nothing else is announced, sends this node's goodbye to all nodes and waits until it is sent,
// but no longer than PeerTimeout, after which the others have forgotten this node anyway. During an outage it only
// puts the goodbye into the broker's queue. Options.Life must have ended.
func (m *Membership) Goodbye(ctx context.Context) { m.announcer.goodbye(ctx) }

// Close ends the subscription and the goroutines.
func (m *Membership) Close(ctx context.Context) error {
	err := m.control.Close(ctx)
	close(m.stop)
	return err
}

// IntroTime returns the limit of the wait for introductions.
func (m *Membership) IntroTime() time.Duration { return m.introTime }

// Blind reports whether the broker cannot count subscribers, or may not.
func (m *Membership) Blind() bool { return m.blind.Load() }

// Counted handles the broker's error when it counted subscribers: a server may forbid it.
func (m *Membership) Counted(err error) {
	_, inexact := errors.AsType[*broker.InexactError](err)
	m.o.Events.Counted(err)
	if err == nil || inexact {
		m.blind.Store(inexact)
	}
}

// SilenceLimit returns how long a peer that missed a deadline has, since that request, to send a sign of life.
func (m *Membership) SilenceLimit() time.Duration { return m.peers.silenceLimit() }

// Closing reports whether this node has begun to close.
func (m *Membership) Closing() bool { return m.o.Life.Err() != nil }

// Down reports whether the control channel is interrupted.
func (m *Membership) Down() bool { return m.peers.down.Load() }

// LastMessage returns when the last control frame arrived, including this node's own. It is zero before the first, and
// without Options.NoteArrivals.
func (m *Membership) LastMessage() time.Time {
	if t := m.lastMessage.Load(); t != 0 {
		return time.Unix(0, t)
	}
	return time.Time{}
}

// Lease returns since when this node has received its own frames without a gap, and until when its peers are sure to
// regard it as live. Both are zero before the first frame came back.
func (m *Membership) Lease() (since, until time.Time) { return m.announcer.lease.term() }

// Proven returns what received frames prove.
func (m *Membership) Proven() Proof { return m.announcer.lease.proven() }

// Holds reports whether the lease that began at since holds now.
func (m *Membership) Holds(since time.Time) bool { return m.announcer.lease.holds(since) }

// Announceable returns the *broker.PayloadError of a namespace whose announcement is too large for the broker.
func (m *Membership) Announceable(ns Namespace, speaks string) error {
	return m.announcer.announceable(served{ns, speaks})
}

// Open announces a namespace of this node. It returns the first revision of the list of namespaces that has it.
func (m *Membership) Open(ns Namespace, speaks string) (revision uint64) {
	revision = m.announcer.changed(change{served{ns, speaks}, false})
	if revision == 1 {
		m.introduce()
	} else { // nodes that miss this frame learn of it from the next heartbeat's revision
		signal(m.announcer.wake)
	}
	return revision
}

// Leave announces that this node is about to leave the fleet. A second call does nothing.
func (m *Membership) Leave() {
	if m.announcer.leave() {
		signal(m.announcer.wake)
	}
}

// Withdraw removes a namespace from the list, and announces that at once if now is set. Otherwise the next frame
// announces it, such as the goodbye.
func (m *Membership) Withdraw(ns Namespace, now bool) {
	m.announcer.changed(change{served{Namespace: ns}, true})
	if now {
		signal(m.announcer.wake)
	}
}

// Peers returns the live peers, sorted by id.
func (m *Membership) Peers() []Peer { return m.peers.list() }

// AwaitPeers waits until at least n peers are known and no introduction is awaited. The end of ctx or of the node ends the
// wait too.
func (m *Membership) AwaitPeers(ctx context.Context, n int) { m.peers.awaitPeers(ctx, n) }

// Changed returns a channel that is closed when the next frame of a peer has been taken in.
func (m *Membership) Changed() <-chan struct{} {
	m.peers.mu.Lock()
	defer m.peers.mu.Unlock()
	return m.peers.watch()
}

// PeersOf returns the known ones among these nodes, sorted by id.
func (m *Membership) PeersOf(ids []string) []Peer { return m.peers.of(ids) }

// Heard records a sign of life of a node. Every broadcast calls it; it costs a load as long as no node has missed a
// deadline.
func (m *Membership) Heard(id string) { m.peers.heard(id) }

// Missed records that a node missed the deadline of a request sent at that moment. The node is asked for a sign of
// life: if it was only slow, requests wait for it again.
func (m *Membership) Missed(id string, asked time.Time) {
	if known, ok := m.peers.missed(id, asked); ok {
		m.announcer.note(func(d *due) { d.asks[id] = known })
	}
}

// Trusts reports whether a node is live and has sent a sign of life since it missed a deadline.
func (m *Membership) Trusts(id string) bool { return m.peers.trusts(id) }

// Known reports whether a node has announced itself and is not forgotten.
func (m *Membership) Known(id string) bool { return m.peers.has(id) }

// Serving returns the current knowledge of a namespace.
func (m *Membership) Serving(ns Namespace) View { return m.peers.where(ns) }

// Departed reports whether a node is known to have left a namespace.
func (m *Membership) Departed(id string, ns Namespace) bool { return m.peers.departed(id, ns) }

// Uncounted records that the broker no longer counts some expired peers in a namespace.
func (m *Membership) Uncounted(ns Namespace, ids []string) { m.peers.uncounted(ns, ids) }

// Await waits for pending introductions, for IntroTime at most.
func (m *Membership) Await(ctx context.Context) {
	t := &m.peers
	end := time.Now().Add(m.introTime)
	t.await(ctx, func() time.Time {
		if until := t.pending(time.Now()); !t.down.Load() && until.Before(end) {
			return until
		}
		return end // an outage may be about to end
	})
}

// Pause waits until the knowledge of the peers changes, or for d.
func (m *Membership) Pause(ctx context.Context, d time.Duration) {
	until, first := time.Now().Add(d), true
	m.peers.await(ctx, func() time.Time {
		if !first {
			return time.Time{}
		}
		first = false
		return until
	})
}

// Strangers reports whether to wait for the introductions of n nodes, which is useful once. last: no more waiting.
func (m *Membership) Strangers(n int, last bool) (wait bool) {
	if last || n <= 0 {
		m.strangers.Store(int32(max(n, 0)))
	}
	return n > int(m.strangers.Load())
}

// Meet waits until this node knows the others, and they know its list of namespaces at a revision, where no broker can
// count them.
func (m *Membership) Meet(ctx context.Context, revision uint64) {
	if m.Blind() {
		m.peers.meet(ctx, revision)
	}
}

// introduce begins introductions: this node may not know all others.
func (m *Membership) introduce() {
	m.peers.introduce()
	m.announcer.greet()
	signal(m.retry)
}

// left notifies the node of namespaces that a peer does not serve any more.
func (m *Membership) left(id string, from []Namespace) {
	if from == nil || len(from) > 0 {
		m.o.Events.Left(id, slices.Clip(from))
	}
}
