package backplane

import (
	"slices"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// More control frames than this cannot wait. What did not fit is made up for: this node
// greets all others again.
const controlQueue = 1024

// Deliver implements broker.Receiver.
func (t *peerTable) Deliver(ch broker.Channel, payload []byte) {
	if t.node.observe.node != nil {
		t.lastMessage.Store(time.Now().UnixNano())
	}
	select {
	case t.frames <- item{ch: ch, payload: payload}:
	default:
		t.node.counters.membershipLost.Add(1)
		t.overflow.Add(1)
	}
}

// Interrupted implements broker.Receiver.
func (t *peerTable) Interrupted(err error) {
	if err == nil {
		err = errUnknownOutage
	}
	t.node.setDown(true) // what is asked from now on may miss nodes
	t.link(item{err: err})
}

// Resumed implements broker.Receiver.
func (t *peerTable) Resumed() { t.link(item{}) }

func (t *peerTable) link(it item) {
	select {
	case t.frames <- it:
	case <-t.node.stop:
	}
}

// setDown notes whether the control channel is down.
func (n *Node) setDown(down bool) {
	n.mu.Lock()
	n.linkDown = down
	n.mu.Unlock()
	n.peers.mu.Lock()
	n.peers.down = down
	n.peers.moved()
	n.peers.mu.Unlock()
}

func (n *Node) isDown() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.linkDown
}

// keep is the keeper goroutine: it takes in control frames, forgets dead peers and
// looks after members that do not return.
func (n *Node) keep() {
	period := n.opts.Heartbeat / 2
	if s := n.opts.StallTimeout; s > 0 {
		period = min(period, s/4)
	}
	period = max(period, time.Millisecond)
	tick := time.NewTicker(period)
	defer tick.Stop()
	insist := time.NewTimer(n.introTime() / 4)
	defer insist.Stop()
	// A clock that all but stands still while this process is stopped: that is held
	// against no member.
	looked := time.Now()
	awake := looked
	var downSince time.Time
	// A node hears its own beats as well. If there is not even that, it is the link
	// that is dead, which the broker may notice only later, or this process was
	// stopped for a while, and not the others.
	heard, silence := time.Now(), max(n.opts.PeerTimeout-n.opts.Heartbeat, 2*n.opts.Heartbeat)
	for {
		select {
		case <-n.stop:
			return
		case it := <-n.peers.frames:
			switch {
			case it.ch.Kind() != 0:
				now := time.Now()
				if now.Sub(heard) > silence {
					n.peers.refresh(now)
				}
				heard = now
				n.peers.take(it)
			case it.err != nil:
				downSince = time.Now()
				n.setLink(it.err, 0)
			default:
				n.peers.refresh(time.Now())
				n.setLink(nil, time.Since(downSince))
			}
		case <-n.peers.retry:
			insist.Reset(n.introTime() / 4)
		case <-insist.C:
			if n.peers.insist() {
				insist.Reset(n.introTime() / 4)
			}
		case now := <-tick.C:
			awake = awake.Add(min(now.Sub(looked), 2*period))
			looked = now
			n.peers.report()
			if now.Sub(heard) <= silence {
				n.peers.expire(now)
			}
			if n.opts.StallTimeout < 0 {
				continue
			}
			for _, ns := range n.live() {
				ns.lane.watch(awake)
				ns.own.watch(ns, awake)
			}
		}
	}
}

// report reports the announcements that were lost or refused.
func (t *peerTable) report() {
	lost := int(t.overflow.Swap(0))
	t.mu.Lock()
	refused := t.refused
	t.refused = 0
	t.mu.Unlock()
	if lost > 0 && time.Since(t.greeted) >= t.node.opts.Heartbeat {
		t.greeted = time.Now()
		t.introduce() // those who were not heard are to say it again
	}
	if lost > 0 || refused > 0 {
		t.node.counters.membershipLost.Add(uint64(refused))
		t.node.reports.report(&MembershipError{Lost: lost, Refused: refused})
	}
}

// setLink notes an outage of the control channel, or its end; then this node
// introduces itself again.
func (n *Node) setLink(err error, lasted time.Duration) {
	if err == nil {
		n.peers.introduce()
		n.setDown(false)
		n.greet()
	} else {
		n.setDown(true)
		n.reports.report(&InterruptedError{Err: err})
	}
	switch o := n.observe.link; {
	case o == nil:
	case err != nil:
		n.observed("Interrupted", func() { o.Interrupted("", err) })
	default:
		n.observed("Resumed", func() { o.Resumed("", lasted) })
	}
}

// take acts on one control frame.
func (t *peerTable) take(it item) {
	n := t.node
	var f controlFrame
	if err := f.decode(it.payload); err != nil {
		if reasonOf(err) == DropForeign {
			n.counters.foreign.Add(1) // a kind of a later version
			return
		}
		n.counters.undecodable.Add(1)
		n.reports.report(&DecodeError{Channel: it.ch, Err: err})
		return
	}
	if f.id == n.id {
		if f.since == n.since.UnixNano() {
			n.lease.echo(f.number)
		}
		switch {
		case f.since != n.since.UnixNano():
			t.twin(&f)
		case f.kind == controlHello:
			t.echo()
		case f.kind == controlBye && n.life.Err() == nil:
			n.reply(everybody) // it is not true
		}
		return
	}
	if f.kind == controlBye {
		t.goodbye(f.id, f.since)
		return
	}
	direct := it.ch.Name() != ""
	news := t.note(&f, direct)
	switch {
	case f.kind == controlHello:
		n.reply(f.id)
	case f.kind == controlAsk && direct:
		n.answer(&f)
	}
	if f.kind == controlFull {
		n.ask(t.introduced(&f)...)
	}
	if news.ask {
		n.ask(f.id)
		signal(t.retry)
	}
	if news.current && n.blind.Load() {
		n.confirm(f.id, revisionOf{f.since, news.revision})
	}
	if len(news.left) == 0 {
		return
	}
	for _, ns := range n.live() {
		if slices.Contains(news.left, nsKey{ns.protocol, ns.name}) {
			ns.calls.lost(f.id)
		}
	}
}
