package redisbroker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// spread sends the messages of a cluster's shard channels, each to the master that serves the channel's slot. Every
// master in use has a lane, an outbox with a connection of its own, so no master waits for another. One more lane, home,
// holds the messages of unknown masters: before the list of slots has come, and while no master serves a slot.
//
// A message that a server refuses with MOVED goes home, waits there until subscribers have probably moved, and is then
// sent to the new master. So are messages in the lane of a master that serves no slots any more. Detours keep the order
// of each slot's messages.
type spread struct {
	slots *slots
	names *naming
	opts  *Options
	home  *lane

	forwarded atomic.Uint64 // messages put from one lane into another
	switched  atomic.Uint64 // changes in last

	ctx    context.Context // of the lanes that are being closed
	cancel context.CancelFunc
	works  sync.WaitGroup // these

	mu      sync.Mutex
	closed  bool
	table   *slotTable // the last one seen; nil before the first
	lanes   map[string]*lane
	last    [clusterSlots]*lane // of each slot's last message
	detours map[uint16]*detour
	leaving map[*lane]bool // being closed
	past    broker.Stats   // of lanes that were closed
	hooks   []*hook
	calling sync.Mutex // held while a function of OnLoss is called
}

// message is what a lane keeps of a message until the server has replied: another server may have to get it.
type message struct {
	slot    uint16
	payload int
	born    time.Time
	wire    []byte
}

// detour is the way of a slot's messages while earlier ones are in other lanes than that of the slot's master: through
// via until it has settled until messages, and then through home until it has settled home messages.
type detour struct {
	via   *lane // nil: only home
	until uint64
	home  uint64
}

func (d *detour) leftVia() bool { return d.via == nil || d.via.settled() >= d.until }

func newSpread(s *slots, names *naming, opts *Options) *spread {
	p := &spread{slots: s, names: names, opts: opts, lanes: map[string]*lane{}, detours: map[uint16]*detour{}, leaving: map[*lane]bool{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.home = p.newLane("")
	return p
}

// put accepts a message, and waits while its lane has no room.
func (p *spread) put(ctx context.Context, ch broker.Channel, payload []byte) error {
	out := p.home.out // any lane's encodes
	wire := out.encode(make([]byte, 0, out.size(ch, payload)), ch, payload)
	m := &message{slot: slotOf(p.names.name(ch)), payload: len(payload), born: time.Now(), wire: wire}
	for {
		c, err := p.choose(m.slot)
		if err != nil {
			return err
		}
		err = c.lane.put(ctx, m)
		if c.detour || c.lane == p.home || p.switched.Load() != c.switched {
			p.follow(m.slot, c.lane)
		}
		if !errors.Is(err, broker.ErrClosed) || p.isClosed() {
			return err
		}
		// The lane was closed because its master serves no slots any more.
	}
}

func (p *spread) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// choice is the lane for a new message.
type choice struct {
	lane     *lane
	detour   bool
	switched uint64 // spread.switched, as it was
}

// choose returns the lane for a new message. After a detour, or if switched has changed when the message is in the lane,
// follow must be called.
func (p *spread) choose(slot uint16) (choice, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return choice{}, broker.ErrClosed
	}
	before := p.switched.Load()
	to := p.target(slot)
	if from := p.last[slot]; from != to {
		p.last[slot] = to
		if from != nil && from != p.home { // follow has been called for each message in home
			p.switched.Add(1)
			p.divert(slot, from)
		}
	}
	d := p.detours[slot]
	switch {
	case d == nil:
		return choice{to, false, before}, nil
	case !d.leftVia():
		return choice{d.via, true, before}, nil
	case p.home.settled() < d.home:
		return choice{p.home, true, before}, nil
	}
	delete(p.detours, slot)
	return choice{to, false, before}, nil
}

// follow makes the next messages of a slot follow the one that was just put into l.
func (p *spread) follow(slot uint16, l *lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last[slot] != l || l == p.home || p.detours[slot] != nil {
		p.divert(slot, l)
	}
}

// divert makes the next messages of a slot follow those that are in a lane. The caller holds mu.
func (p *spread) divert(slot uint16, via *lane) {
	d := p.detours[slot]
	if d == nil {
		d = &detour{}
		p.detours[slot] = d
	}
	switch accepted, _ := via.out.Progress(); {
	case via == p.home:
		d.home = accepted
	case via == d.via || d.leftVia():
		d.via, d.until = via, accepted
	}
}

// target returns the lane of the slot's master, or home if no master is known. The caller holds mu.
func (p *spread) target(slot uint16) *lane {
	if table, _ := p.slots.now(); table != p.table {
		p.table = table
		p.sweep()
	}
	if p.table == nil || p.table.owner(slot) == "" {
		return p.home
	}
	addr := p.table.owner(slot)
	l := p.lanes[addr]
	if l == nil {
		l = p.newLane(addr)
		p.lanes[addr] = l
	}
	return l
}

// sweep closes the empty lanes of masters that serve no slots any more. The caller holds mu.
func (p *spread) sweep() {
	for addr, l := range p.lanes {
		if accepted, settled := l.out.Progress(); accepted > settled || p.table.serves(addr) {
			continue
		}
		delete(p.lanes, addr)
		p.leaving[l] = true
		p.works.Go(func() {
			_ = l.out.Close(p.ctx) // its losses were counted and reported
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.leaving, l)
			l.addTo(&p.past)
		})
	}
}

var (
	errNoMaster = errors.New("no master of the cluster serves the slot")
	errNoRoom   = errors.New("the queue is full")
	errTwice    = errors.New("the slot has moved again")
)

// full is the context of a Put that must not wait.
var full = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// pass puts a message that is in one lane into the next. Nil means that the next lane has accepted it. Only the
// goroutine that settles the messages of from calls it.
func (p *spread) pass(m *message, from *lane) error {
	p.mu.Lock()
	to := p.home
	switch d := p.detours[m.slot]; {
	case from == p.home:
		to = p.target(m.slot)
		if to == p.home {
			p.mu.Unlock()
			return errNoMaster
		}
	case d != nil && d.via != from && !d.leftVia():
		p.mu.Unlock()
		return errTwice // its place among the messages in via is not known
	default:
		p.divert(m.slot, from)
	}
	p.mu.Unlock()
	if err := to.put(full, m); err != nil {
		if errors.Is(err, context.Canceled) {
			return errNoRoom
		}
		return err
	}
	p.forwarded.Add(1)
	if to == p.home {
		p.mu.Lock()
		p.divert(m.slot, to)
		p.mu.Unlock()
	}
	return nil
}
