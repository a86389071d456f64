package backplane

import (
	"context"
	"sync"

	"github.com/crossroom/crossroom/backplane/internal/monitor"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// outgoing is the reusable memory of one broadcast being sent.
type outgoing struct {
	b        wire.Broadcast
	buf      []byte // for messages that are not written around their payloads
	size     int    // of the message
	delivery delivery
	data     observe.Publish
}

var outgoingPool = sync.Pool{New: func() any { return new(outgoing) }}

// Larger buffers are left to the garbage collector.
const keepBytes = 64 << 10

func (o *outgoing) release() {
	if cap(o.buf) > keepBytes {
		o.buf = nil
	}
	o.b = wire.Broadcast{}
	o.delivery.Reset()
	outgoingPool.Put(o)
}

// Broadcast sends payload to the members that t selects, on every node. Local members get it first, on the calling
// goroutine, whatever the state of the broker. Then the message goes to the broker's queue. Broadcast waits for the
// methods of local members, and while that queue is full. Members get a copy of payload: the caller owns it again when
// Broadcast returns.
//
// nil means accepted, not delivered. An error means that other nodes did not get the message. ErrClosed, a *NameError,
// a *broker.PayloadError, and the error of a context that had ended before the call come before any member gets the
// message. The broker's error, and that of a context that ended while the broker's queue was full, are returned as they
// are, and come after local members got the message.
func (ns *Namespace) Broadcast(ctx context.Context, payload []byte, t Target) error {
	return ns.broadcast(ctx, payload, &t.sel)
}

func (ns *Namespace) broadcast(ctx context.Context, payload []byte, t *wire.Selection) error {
	if t.Selected != nil {
		*t.Selected = 0
	}
	if err := ns.target(ctx, t); err != nil || t.Nobody() {
		return err
	}
	o := outgoingPool.Get().(*outgoing)
	defer o.release()
	o.b = wire.Broadcast{
		Origin: ns.node.id, Rooms: t.Rooms, All: t.All, Except: t.Except, Flags: t.Flags,
		Header: t.Header, Payload: payload, Relay: t.Relay, Lead: t.Lead,
	}
	if po := ns.node.monitor.Observers.Publish; po != nil {
		return ns.sendObserved(ctx, po, o, t)
	}
	_, err := ns.send(ctx, o, t)
	return err
}

// sendObserved is separate from Broadcast, which then needs no memory for observed data.
func (ns *Namespace) sendObserved(ctx context.Context, po observe.Observer, o *outgoing, t *wire.Selection) error {
	payload := o.b.Payload
	defer func() { o.data = observe.Publish{} }()
	o.data = observe.Publish{
		Source: ns.node.monitor.Source, Namespace: ns.name, Channel: ns.codec.BroadcastChannel(ns.name, &o.b),
		Rooms: t.Rooms, All: t.All, Except: t.Except, LocalOnly: t.LocalOnly, PayloadBytes: len(payload), Header: t.Header.Clone(),
	}
	ctx = monitor.Start(ctx, &ns.node.monitor, "PublishStart", observe.Observer.PublishStart, po, &o.data)
	o.b.Header = o.data.Header
	delivered, err := ns.send(ctx, o, t)
	o.data.MessageBytes, o.data.Delivered, o.data.Err = o.size, delivered, err
	ns.node.monitor.Observed("PublishEnd", func() { po.PublishEnd(ctx, &o.data) })
	return err
}

func (ns *Namespace) send(ctx context.Context, o *outgoing, t *wire.Selection) (delivered int, err error) {
	var message []byte
	o.size = 0
	if !t.LocalOnly {
		o.b.Seq = ns.seq.Add(1)
		if o.buf == nil {
			o.buf = make([]byte, 0, 512)
		}
		message, err = ns.codec.AppendBroadcast(o.buf[:0], ns.name, &o.b)
		if o.size = len(message); len(o.b.Lead) == 0 {
			o.buf = message
		}
		if err == nil {
			err = within(ns.node.limit, o.size)
		}
		if err != nil {
			ns.seq.CompareAndSwap(o.b.Seq, o.b.Seq-1) // no observer and no member has seen it
			return 0, err
		}
	}
	if !t.RemoteOnly {
		delivered = ns.deliverLocal(ctx, o, t.Selected)
	}
	if t.LocalOnly {
		return delivered, nil
	}
	if err = ns.node.broker.Publish(ctx, ns.codec.BroadcastChannel(ns.name, &o.b), message); err == nil {
		ns.node.monitor.Broadcasts.Add(1)
		ns.node.monitor.BroadcastBytes.Add(uint64(len(o.b.Payload)))
	}
	return delivered, err
}

// deliverLocal delivers a broadcast of this node to its local members.
func (ns *Namespace) deliverLocal(ctx context.Context, o *outgoing, selected *int) int {
	d := &o.delivery
	d.Find(ns.rooms, filterOf(o.b.Rooms, o.b.All, o.b.Except))
	if selected != nil {
		*selected = len(d.List)
	}
	if len(d.List) == 0 {
		return 0
	}
	m := ns.localMessage(Message{Namespace: ns.name, Seq: o.b.Seq, Header: o.b.Header.Clone(), Payload: o.b.Payload}, o.b.Flags)
	if !ns.prepare(m) {
		return 0
	}
	d.Call, d.Context = (*deliverCall)(m), ctx
	ns.deliver(d)
	return d.Delivered()
}

// within refuses a message that is larger than limit, unless limit is zero.
func within(limit, size int) error {
	if limit > 0 && size > limit {
		return &broker.PayloadError{Size: size, Max: limit}
	}
	return nil
}
