package backplane

import (
	"context"
	"errors"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/inbound"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// arrivals handles what a namespace's inbound queue brings. It is the queue's handler.
type arrivals struct {
	ns    *Namespace
	queue inbound.Queue[Member]

	// The rest is the worker's.
	in        wire.Broadcast  // decoded into, again and again
	downSince time.Time       // the current interruption
	after     func(*delivery) // what to do after the delivery

	// What the observer sees of a broadcast, its context, and deliverEnded.
	data       observe.Delivery
	ctx        context.Context
	deliverEnd func(*delivery)
}

func (a *arrivals) init(ns *Namespace) {
	a.ns = ns
	a.deliverEnd = a.deliverEnded
	a.queue.Init(a, inbound.Options{
		StallTimeout: ns.node.opts.StallTimeout, Clock: ns.node.observe.Node != nil, Workers: &ns.workers,
	})
}

// Wants implements inbound.Handler. The channel is a filter that costs nothing; the empty
// name filters nothing, as in socket.io-redis.
func (a *arrivals) Wants(ch broker.Channel) bool {
	ns := a.ns
	return ch.Kind() != broker.KindRoom || ch.Name() == "" || ns.extra.OnBroadcast != nil ||
		ns.node.observe.Unwanted || ns.rooms.Holds(ch.Name())
}

// Unread implements inbound.Handler.
func (a *arrivals) Unread(ch broker.Channel, size int) {
	a.count(size)
	a.drop(ch, observe.DropUnwanted, nil)
}

func (a *arrivals) count(size int) {
	c := &a.ns.node.counters
	c.received.Add(1)
	if size > 0 {
		c.receivedBytes.Add(uint64(size))
	}
}

// Message implements inbound.Handler.
func (a *arrivals) Message(ch broker.Channel, payload []byte, d *delivery) (deliver bool) {
	// All other callbacks are guarded where they are called.
	defer a.ns.recovered("OnBroadcast")
	a.count(len(payload))
	switch ch.Kind() {
	case broker.KindBroadcast, broker.KindRoom:
		return a.broadcast(ch, payload, d)
	case broker.KindRequests:
		return a.request(ch, payload, d)
	case broker.KindResponses, broker.KindNodeResponses:
		a.response(ch, payload)
	}
	return false
}

// recovered is deferred around a callback; it reports its panic.
func (ns *Namespace) recovered(what string) {
	if v := recover(); v != nil {
		ns.node.panicked(what, "", v)
	}
}

// Interrupted implements inbound.Handler.
func (a *arrivals) Interrupted(err error) {
	n, name := a.ns.node, a.ns.name
	a.downSince = time.Now()
	n.counters.interruptions.Add(1)
	n.reports.report(&InterruptedError{Namespace: name, Err: err})
	if n.observe.Link != nil {
		n.observed("Interrupted", func() { n.observe.Link.Interrupted(name, err) })
	}
	a.onLink(err)
}

// Resumed implements inbound.Handler.
func (a *arrivals) Resumed() {
	n, lasted := a.ns.node, time.Since(a.downSince)
	if n.observe.Link != nil {
		n.observed("Resumed", func() { n.observe.Link.Resumed(a.ns.name, lasted) })
	}
	a.onLink(nil)
}

func (a *arrivals) onLink(err error) {
	defer a.ns.recovered("OnLink")
	if a.ns.extra.OnLink != nil {
		a.ns.extra.OnLink(err)
	}
}

// drop counts a message that ends here.
func (a *arrivals) drop(ch broker.Channel, reason observe.DropReason, err error) {
	n := a.ns.node
	switch reason {
	case observe.DropUnwanted:
		n.counters.unwanted.Add(1)
	case observe.DropEcho:
		n.counters.echoes.Add(1)
	case observe.DropForeign:
		n.counters.foreign.Add(1)
	case observe.DropStray:
		n.counters.stray.Add(1)
	case observe.DropUndecodable:
		n.counters.undecodable.Add(1)
		n.reports.report(&DecodeError{Channel: ch, Err: err})
	}
	if do := n.observe.Drop; do != nil {
		a.dropped(do, ch, reason)
	}
}

// dropped is apart from drop, which is on the way of every message for other nodes'
// rooms and should stay small.
func (a *arrivals) dropped(do observe.Observer, ch broker.Channel, reason observe.DropReason) {
	a.ns.node.observed("Dropped", func() { do.Dropped(a.ns.name, ch, reason) })
}

func reasonOf(err error) observe.DropReason {
	if errors.Is(err, wire.ErrForeignNamespace) || errors.Is(err, wire.ErrIgnored) {
		return observe.DropForeign
	}
	return observe.DropUndecodable
}

// Memory for more room names than this is given back after use.
const keepRooms = 1 << 10

// broadcast handles another node's broadcast.
func (a *arrivals) broadcast(ch broker.Channel, payload []byte, d *delivery) (deliver bool) {
	ns, b := a.ns, &a.in
	b.Header, b.HeaderDropped = nil, 0
	if cap(b.Rooms) > keepRooms || cap(b.Except) > keepRooms {
		b.Rooms, b.Except = nil, nil
	}
	if err := ns.codec.DecodeBroadcast(payload, ns.name, b); err != nil {
		a.drop(ch, reasonOf(err), err)
		return false
	}
	ns.node.headerDropped(b.HeaderDropped)
	if b.Origin == ns.node.id {
		a.drop(ch, observe.DropEcho, nil)
		return false
	}
	ns.node.members.Heard(b.Origin)
	if ns.extra.OnBroadcast != nil && !ns.extra.OnBroadcast(b) {
		a.drop(ch, observe.DropUnwanted, nil)
		return false
	}
	d.Find(ns.rooms, b.Rooms, b.Except)
	do := ns.node.observe.Deliver
	if len(d.List) == 0 && do == nil {
		ns.broadcastEnd()
		a.drop(ch, observe.DropUnwanted, nil)
		return false
	}
	if do != nil {
		a.deliverStart(do, ch, len(payload), d)
	}
	var m *Message
	if len(d.List) > 0 {
		m = ns.message(Message{Namespace: ns.name, Origin: b.Origin, Seq: b.Seq, Header: b.Header, Payload: b.Payload}, b.Flags)
		if !ns.prepare(m) {
			d.Selection.Reset()
		}
	}
	d.Call = (*deliverCall)(m)
	return true
}

// Delivered implements inbound.Handler.
func (a *arrivals) Delivered(d *delivery) {
	a.ns.node.tally(d)
	if _, ok := d.Call.(*deliverCall); ok {
		a.ns.broadcastEnd()
	}
	if after := a.after; after != nil {
		a.after = nil
		after(d)
	}
}

// Stalled implements inbound.Handler.
func (a *arrivals) Stalled(member string) { a.ns.stalled(member) }

// Panicked implements inbound.Handler.
func (a *arrivals) Panicked(ctx context.Context, method, member string, value any) {
	a.ns.node.panickedIn(ctx, method, member, value)
}

// stalled counts and reports a member that was left behind.
func (ns *Namespace) stalled(member string) {
	ns.node.counters.stalls.Add(1)
	ns.node.reports.report(&StalledError{Namespace: ns.name, Member: member})
}

// deliverStart tells the observer of the broadcast in a.in, whose members are selected,
// and has it told of the end.
func (a *arrivals) deliverStart(do observe.Observer, ch broker.Channel, size int, d *delivery) {
	n, b := a.ns.node, &a.in
	a.data = observe.Delivery{
		Source: n.source, Namespace: a.ns.name, Channel: ch, Origin: b.Origin, Rooms: b.Rooms, Except: b.Except,
		Header: b.Header, HeaderDropped: b.HeaderDropped, PayloadBytes: len(b.Payload), MessageBytes: size,
		Matched: len(d.List),
	}
	a.ctx = observedStart(a.ns.ctx, n, "DeliverStart", observe.Observer.DeliverStart, do, &a.data)
	d.Context, a.after = a.ctx, a.deliverEnd
}

// deliverEnded closes the books of deliverStart. It is a.deliverEnd: bound once, so
// that it takes no allocation for each message.
func (a *arrivals) deliverEnded(d *delivery) {
	n, data := a.ns.node, &a.data
	data.Delivered, data.Skipped, data.Panicked = d.Delivered(), d.Skipped(), d.Panicked()
	do := n.observe.Deliver
	n.observed("DeliverEnd", func() { do.DeliverEnd(a.ctx, data) })
	if data.Matched == 0 {
		a.drop(data.Channel, observe.DropUnwanted, nil)
	}
	*data = observe.Delivery{}
}

// broadcastEnd tells the application that another node's broadcast has been delivered.
func (ns *Namespace) broadcastEnd() {
	defer ns.recovered("OnBroadcastEnd")
	if ns.extra.OnBroadcastEnd != nil {
		ns.extra.OnBroadcastEnd()
	}
}
