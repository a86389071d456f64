package adapter

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
	"github.com/crossroom/crossroom/internal/msgpack"
)

// bridge passes broadcasts of one namespace that were heard on one link on to the
// others: those without a relay mark, whose senders are on that link only.
//
// For each pair of links, the Go node with the lowest uid of those that are on both
// does it. A node that finds itself the lowest waits for two heartbeats, by which
// all others have heard of it; one that hears of a lower one stops at once. So there
// are moments at which nobody passes on, and none at which two do.
type bridge struct {
	ns     *Namespace
	lanes  []*bridgeLane // by destination
	ctx    context.Context
	cancel context.CancelFunc
	stop   chan struct{}
	done   sync.WaitGroup

	mu     sync.Mutex
	opened bool
	closed bool
}

// bridgeLane is the way to one link, with a goroutine that publishes in order.
type bridgeLane struct {
	to    leg
	queue chan crossing
	leads []atomic.Bool // by source: it is this node's to pass on
}

// crossing is a broadcast on its way to another link.
type crossing struct {
	payload []byte
	target  backplane.Target
}

const bridgeQueue = 4096

var errBridgeFull = errors.New("adapter: another link takes messages slower than they come")
var errBridgeClosed = errors.New("adapter: closed before a message could be passed on to another link")

func newBridge(ns *Namespace) *bridge {
	b := &bridge{ns: ns, stop: make(chan struct{})}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// start begins passing on, once all links are live.
func (b *bridge) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened || b.closed {
		return
	}
	b.opened = true
	for _, l := range b.ns.legs {
		lane := &bridgeLane{to: l, queue: make(chan crossing, bridgeQueue), leads: make([]atomic.Bool, len(b.ns.legs))}
		b.lanes = append(b.lanes, lane)
		b.done.Go(func() { b.carry(lane) })
	}
	b.done.Go(b.elect)
}

// close passes on what is waiting, until ctx ends.
func (b *bridge) close(ctx context.Context) {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.stop)
	}
	b.mu.Unlock()
	defer context.AfterFunc(ctx, b.cancel)()
	b.done.Wait() // soon, when the context is cancelled
	b.cancel()
}

// offer takes a broadcast that was heard on a link. It is called in order and does
// not block.
func (b *bridge) offer(from *link, in *backplane.Broadcast) {
	source := slices.Index(b.ns.server.links, from)
	b.mu.Lock() // so that nothing is queued after close
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	var c crossing
	for i, lane := range b.lanes {
		if i == source || !lane.leads[source].Load() {
			continue
		}
		if c.payload == nil {
			c.payload = in.Payload // never written to, and may be kept
			c.target = backplane.Target{
				Rooms: slices.Clone(in.Rooms), Except: slices.Clone(in.Except), RemoteOnly: true,
				Flags: in.Flags, Header: maps.Clone(in.Header),
				Relay: b.ns.relays.mark(b.ns.server.uid) + "@" + from.key,
			}
		}
		select {
		case lane.queue <- c:
		default:
			b.lost(lane, 1, len(c.payload), errBridgeFull)
		}
	}
}

func (b *bridge) lost(lane *bridgeLane, messages, bytes int, err error) {
	loss := broker.Loss{Messages: messages, Bytes: bytes, Err: err}
	b.ns.server.report(&LinkError{Prefix: lane.to.key, Err: &broker.LossError{Loss: loss}})
}

func (b *bridge) carry(lane *bridgeLane) {
	for {
		select {
		case c := <-lane.queue:
			b.pass(lane, c)
			continue
		default:
		}
		select {
		case c := <-lane.queue:
			b.pass(lane, c)
		case <-b.stop:
			for { // what is left
				select {
				case c := <-lane.queue:
					b.pass(lane, c)
				default:
					return
				}
			}
		}
	}
}

func (b *bridge) pass(lane *bridgeLane, c crossing) {
	// Dates as the newest servers write them are not what older ones read.
	err := lane.to.ns.Broadcast(b.ctx, msgpack.Portable(c.payload), c.target)
	if err == nil {
		return
	}
	if b.ctx.Err() != nil {
		err = errBridgeClosed
	}
	b.lost(lane, 1, len(c.payload), err)
}

// elect keeps the leads up to date.
func (b *bridge) elect() {
	beat := b.ns.server.opts.Heartbeat
	if beat <= 0 {
		beat = time.Second
	}
	settle := 2 * beat
	since := make(map[[2]int]time.Time) // when this node became the lowest of a pair
	tick := time.NewTicker(max(beat/4, time.Millisecond))
	defer tick.Stop()
	for now := time.Now(); ; {
		for to, lane := range b.lanes {
			for from := range lane.leads {
				if from == to {
					continue
				}
				pair := [2]int{from, to}
				if !b.lowest(b.ns.legs[from].link, lane.to.link) {
					lane.leads[from].Store(false)
					delete(since, pair)
				} else if start, ok := since[pair]; !ok {
					since[pair] = now
				} else if now.Sub(start) >= settle {
					lane.leads[from].Store(true)
				}
			}
		}
		select {
		case now = <-tick.C:
		case <-b.stop:
			return
		}
	}
}

// lowest reports whether no Go node that serves the namespace on both links has a
// lower uid.
func (b *bridge) lowest(one, other *link) bool {
	there := other.node.Peers()
	for _, p := range one.node.Peers() {
		if p.ID > b.ns.server.uid {
			break // sorted
		}
		if holds(p, b.ns.name) && slices.ContainsFunc(there, func(q backplane.Peer) bool {
			return q.ID == p.ID && holds(q, b.ns.name)
		}) {
			return false
		}
	}
	return true
}
