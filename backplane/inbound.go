package backplane

import (
	"context"
	"errors"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/inbound"
	"github.com/crossroom/crossroom/backplane/internal/monitor"
	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// arrivals is the handler of a namespace's inbound queue.
type arrivals struct {
	ns    *Namespace
	queue inbound.Queue[Member]

	// The fields below belong to the worker.
	in        wire.Broadcast  // decoded into, again and again
	downSince time.Time       // the current interruption
	after     func(*delivery) // called after the delivery
	unsigned  bool            // the message has no signature, and needs admitted

	foreign bool // foreign peers speak the protocol

	// The observer's data of a broadcast, its context, and deliverEnded.
	data       observe.Delivery
	ctx        context.Context
	deliverEnd func(*delivery)
}

func (a *arrivals) init(ns *Namespace) {
	a.ns = ns
	_, a.foreign = ns.codec.(wire.ForeignPeers)
	a.deliverEnd = a.deliverEnded
	a.queue.Init(a, inbound.Options{
		StallTimeout: ns.node.opts.StallTimeout, Clock: ns.node.monitor.Observers.Node != nil, Workers: &ns.workers,
	})
}

// Wants implements inbound.Handler. The channel is a cheap filter. The empty name filters nothing, like in
// socket.io-redis.
func (a *arrivals) Wants(ch broker.Channel) bool {
	ns := a.ns
	return ch.Kind() != broker.KindRoom || ch.Name() == "" || ns.extra.OnBroadcast != nil ||
		ns.node.monitor.Observers.Unwanted || ns.rooms.Holds(ch.Name())
}

// Unread implements inbound.Handler.
func (a *arrivals) Unread(ch broker.Channel, size int) {
	a.ns.interest.Unwanted()
	a.count(size)
	a.drop(ch, observe.DropUnwanted, nil)
}

func (a *arrivals) count(size int) {
	c := &a.ns.node.monitor.Counters
	c.Received.Add(1)
	if size > 0 {
		c.ReceivedBytes.Add(uint64(size))
	}
}

// Message implements inbound.Handler.
func (a *arrivals) Message(ch broker.Channel, payload []byte, d *delivery) (deliver bool) {
	// All other callbacks recover where they are called.
	defer a.ns.recovered("OnBroadcast")
	a.count(len(payload))
	if a.ns.node.guard != nil && !a.verified(ch, payload) {
		return false
	}
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

// recovered is deferred around a callback. It reports a panic.
func (ns *Namespace) recovered(what string) {
	if v := recover(); v != nil {
		ns.node.monitor.Panicked(what, "", v)
	}
}

// Interrupted implements inbound.Handler.
func (a *arrivals) Interrupted(err error) {
	n, name := a.ns.node, a.ns.name
	a.ns.interest.Interrupted()
	a.downSince = time.Now()
	n.health.interrupted(a.ns.key(), err)
	n.monitor.Interruptions.Add(1)
	n.monitor.Report(&InterruptedError{Namespace: name, Err: err})
	if n.monitor.Observers.Link != nil {
		n.monitor.Observed("Interrupted", func() { n.monitor.Observers.Link.Interrupted(name, err) })
	}
	a.onLink(err)
}

// Resumed implements inbound.Handler.
func (a *arrivals) Resumed() {
	n, lasted := a.ns.node, time.Since(a.downSince)
	n.health.resumed(a.ns.key())
	if n.monitor.Observers.Link != nil {
		n.monitor.Observed("Resumed", func() { n.monitor.Observers.Link.Resumed(a.ns.name, lasted) })
	}
	a.onLink(nil)
}

func (a *arrivals) onLink(err error) {
	defer a.ns.recovered("OnLink")
	if a.ns.extra.OnLink != nil {
		a.ns.extra.OnLink(err)
	}
}

// drop counts a message that is dropped.
func (a *arrivals) drop(ch broker.Channel, reason observe.DropReason, err error) {
	n := a.ns.node
	switch reason {
	case observe.DropUnwanted:
		n.monitor.Unwanted.Add(1)
	case observe.DropEcho:
		n.monitor.Echoes.Add(1)
	case observe.DropForeign:
		n.monitor.Foreign.Add(1)
	case observe.DropStray:
		n.monitor.Stray.Add(1)
	case observe.DropUndecodable:
		n.monitor.Undecodable.Add(1)
		n.monitor.Report(&MessageError{Channel: ch, Err: err})
	}
	if do := n.monitor.Observers.Drop; do != nil {
		a.dropped(do, ch, reason)
	}
}

// dropped is separate from drop, which runs for every message for other nodes' rooms and should stay small.
func (a *arrivals) dropped(do observe.Observer, ch broker.Channel, reason observe.DropReason) {
	a.ns.node.monitor.Observed("Dropped", func() { do.Dropped(a.ns.name, ch, reason) })
}

func reasonOf(err error) observe.DropReason {
	if errors.Is(err, wire.ErrForeignNamespace) || errors.Is(err, wire.ErrIgnored) {
		return observe.DropForeign
	}
	return observe.DropUndecodable
}

// Memory for more room names than this is released after use.
const keepRooms = 1 << 10

// broadcast handles another node's broadcast.
func (a *arrivals) broadcast(ch broker.Channel, payload []byte, d *delivery) (deliver bool) {
	ns, b := a.ns, &a.in
	b.Header, b.HeaderDropped = nil, 0
	if cap(b.Rooms) > keepRooms || cap(b.All) > keepRooms || cap(b.Except) > keepRooms {
		b.Rooms, b.All, b.Except = nil, nil, nil
	}
	if err := ns.codec.DecodeBroadcast(payload, ns.name, b); err != nil {
		a.drop(ch, reasonOf(err), err)
		return false
	}
	if a.unsigned && !a.admitted(ch, Broadcasts, b.Relay != "", b.Origin) {
		return false
	}
	ns.node.monitor.HeaderDropped(b.HeaderDropped)
	if b.Origin == ns.node.id {
		a.drop(ch, observe.DropEcho, nil)
		return false
	}
	ns.node.members.Heard(b.Origin)
	if a.refusedBroadcast(ch, b) {
		return false
	}
	if ns.extra.OnBroadcast != nil && !ns.extra.OnBroadcast(b) {
		a.drop(ch, observe.DropUnwanted, nil)
		return false
	}
	d.Find(ns.rooms, filterOf(b.Rooms, b.All, b.Except))
	do := ns.node.monitor.Observers.Deliver
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

// response handles another node's response.
func (a *arrivals) response(ch broker.Channel, payload []byte) {
	ns := a.ns
	var r wire.Response
	if err := ns.codec.DecodeResponse(payload, ns.name, &r); err != nil {
		a.drop(ch, reasonOf(err), err)
		return
	}
	if a.unsigned && !a.admitted(ch, Responses, r.Node != "", r.Node) {
		return
	}
	if r.Node == ns.node.id {
		a.drop(ch, observe.DropEcho, nil)
		return
	}
	ns.node.members.Heard(r.Node)
	if r.Ask {
		a.asked(ch, r.Payload)
		return
	}
	// On the shared channel most responses are for other nodes' requests.
	if !ns.requests.Own(r.RequestID) {
		a.drop(ch, observe.DropForeign, nil)
		return
	}
	switch ns.requests.Take(&r) {
	case request.Lacking:
		a.drop(ch, observe.DropUndecodable, errLacking)
	case request.Stray:
		a.drop(ch, observe.DropStray, nil)
	}
}

var errLacking = errors.New("response lacks the requested data")

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
	a.ns.node.monitor.PanickedIn(ctx, method, member, value)
}

// stalled counts and reports a stalled member.
func (ns *Namespace) stalled(member string) {
	ns.node.monitor.Stalls.Add(1)
	ns.node.monitor.Report(&OpError{Op: "deliver", Namespace: ns.name, Name: member, Err: ErrStalled})
}

// deliverStart notifies the observer of the broadcast in a.in, whose members are selected, and arranges the
// notification of its end.
func (a *arrivals) deliverStart(do observe.Observer, ch broker.Channel, size int, d *delivery) {
	n, b := a.ns.node, &a.in
	a.data = observe.Delivery{
		Source: n.monitor.Source, Namespace: a.ns.name, Channel: ch, Origin: b.Origin, Rooms: b.Rooms, All: b.All, Except: b.Except,
		Header: b.Header, HeaderDropped: b.HeaderDropped, PayloadBytes: len(b.Payload), MessageBytes: size,
		Matched: len(d.List),
	}
	a.ctx = monitor.Start(a.ns.ctx, &n.monitor, "DeliverStart", observe.Observer.DeliverStart, do, &a.data)
	d.Context, a.after = a.ctx, a.deliverEnd
}

// deliverEnded ends what deliverStart began. It is a.deliverEnd, which is bound once to avoid an allocation for each
// message.
func (a *arrivals) deliverEnded(d *delivery) {
	n, data := a.ns.node, &a.data
	data.Delivered, data.Skipped, data.Panicked = d.Delivered(), d.Skipped(), d.Panicked()
	do := n.monitor.Observers.Deliver
	n.monitor.Observed("DeliverEnd", func() { do.DeliverEnd(a.ctx, data) })
	if data.Matched == 0 {
		a.drop(data.Channel, observe.DropUnwanted, nil)
	}
	*data = observe.Delivery{}
}

// broadcastEnd notifies the application that another node's broadcast has been delivered.
func (ns *Namespace) broadcastEnd() {
	defer ns.recovered("OnBroadcastEnd")
	if ns.extra.OnBroadcastEnd != nil {
		ns.extra.OnBroadcastEnd()
	}
}
