package backplane

import (
	"context"
	"errors"
	"sync"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// outgoing is the reusable memory of one broadcast on its way out.
type outgoing struct {
	b    wire.Broadcast
	buf  []byte
	fan  fanout
	data PublishData
}

var outgoingPool = sync.Pool{New: func() any { return new(outgoing) }}

// Buffers above this size are left to the garbage collector.
const keepBytes = 64 << 10

func (o *outgoing) release() {
	if cap(o.buf) > keepBytes {
		o.buf = nil
	}
	o.b = wire.Broadcast{}
	o.fan.job = job{}
	o.fan.sel.Reset()
	outgoingPool.Put(o)
}

// Broadcast sends payload to the members that t selects, on every node. Members of
// this node get it first, on the calling goroutine, whatever state the broker is
// in; then it is handed to the broker. payload belongs to the members from then
// on: do not change it after the call.
//
// nil means accepted, not delivered. An error means that it did not go out. Before
// anybody has got it: ErrClosed, a *NameError, a *broker.PayloadError, or the context's
// error if that had ended before the call. After local members have: the broker's error
// or, if it ended while the broker's queue was full, the context's.
func (ns *Namespace) Broadcast(ctx context.Context, payload []byte, t Target) error {
	return ns.broadcast(ctx, payload, &t.sel)
}

func (ns *Namespace) broadcast(ctx context.Context, payload []byte, t *wire.Selection) error {
	if err := ns.ready(ctx); err != nil {
		return err
	}
	if err := checkNames("room", t.Rooms); err != nil {
		return err
	}
	if err := checkNames("room", t.Except); err != nil {
		return err
	}
	o := outgoingPool.Get().(*outgoing)
	defer o.release()
	o.b = wire.Broadcast{
		Origin: ns.node.id, Rooms: t.Rooms, Except: t.Except, Flags: t.Flags,
		Header: t.Header, Payload: payload, Relay: t.Relay,
	}
	if po := ns.node.observe.publish; po != nil {
		return ns.sendObserved(ctx, po, o, t)
	}
	_, err := ns.send(ctx, o, t)
	return err
}

// sendObserved is apart from Broadcast, which then needs no room for what is observed.
func (ns *Namespace) sendObserved(ctx context.Context, po PublishObserver, o *outgoing, t *wire.Selection) error {
	payload := o.b.Payload
	defer func() { o.data = PublishData{} }()
	o.data = PublishData{
		Source: ns.node.source, Namespace: ns.name, Channel: ns.codec.BroadcastChannel(ns.name, &o.b),
		Rooms: t.Rooms, Except: t.Except, LocalOnly: t.LocalOnly, PayloadBytes: len(payload), Header: cloneHeader(t.Header),
	}
	ctx = observedStart(ctx, ns.node, "PublishStart", PublishObserver.PublishStart, po, &o.data)
	o.b.Header = o.data.Header
	delivered, err := ns.send(ctx, o, t)
	o.data.MessageBytes, o.data.Delivered, o.data.Err = len(o.buf), delivered, err
	ns.node.observed("PublishEnd", func() { po.PublishEnd(ctx, &o.data) })
	return err
}

func (ns *Namespace) send(ctx context.Context, o *outgoing, t *wire.Selection) (delivered int, err error) {
	o.buf = o.buf[:0]
	if !t.LocalOnly {
		o.b.Seq = ns.seq.Add(1)
		o.buf, err = ns.codec.AppendBroadcast(o.buf, ns.name, &o.b)
		if limit := ns.node.limit; err == nil && limit > 0 && len(o.buf) > limit {
			err = &broker.PayloadError{Size: len(o.buf), Max: limit}
		}
		if err != nil {
			ns.seq.CompareAndSwap(o.b.Seq, o.b.Seq-1) // nobody has seen it
			return 0, err
		}
	}
	if !t.RemoteOnly {
		delivered = ns.deliverOwn(ctx, o)
	}
	if t.LocalOnly {
		return delivered, nil
	}
	if err = ns.node.broker.Publish(ctx, ns.codec.BroadcastChannel(ns.name, &o.b), o.buf); err == nil {
		ns.node.counters.broadcasts.Add(1)
		ns.node.counters.broadcastBytes.Add(uint64(len(o.b.Payload)))
	}
	return delivered, err
}

// deliverOwn delivers this node's own broadcast to its own members.
func (ns *Namespace) deliverOwn(ctx context.Context, o *outgoing) int {
	f := &o.fan
	f.sel.Find(ns.rooms, o.b.Rooms, o.b.Except)
	if len(f.sel.List) == 0 {
		return 0
	}
	f.call, f.ctx = callDeliver, ctx
	f.msg = ns.message(Message{Namespace: ns.name, Seq: o.b.Seq, Header: cloneHeader(o.b.Header), Payload: o.b.Payload}, o.b.Flags)
	if !ns.prepare(f.msg) {
		return 0
	}
	ns.runOwn(f)
	ns.node.tally(f)
	return f.delivered()
}

// Memory for more room names than this is given back after use.
const keepRooms = 1 << 10

// broadcast takes in another node's broadcast.
func (l *lane) broadcast(ch broker.Channel, payload []byte) bool {
	ns := l.ns
	// A broker that asks has asked, with few exceptions, and those end below.
	if !l.asked.Load() && l.unwanted(ch) {
		l.drop(ch, DropUnwanted, nil)
		return true
	}
	b := &l.in
	b.Header, b.HeaderDropped = nil, 0
	if cap(b.Rooms) > keepRooms || cap(b.Except) > keepRooms {
		b.Rooms, b.Except = nil, nil
	}
	if err := ns.codec.DecodeBroadcast(payload, ns.name, b); err != nil {
		l.drop(ch, reasonOf(err), err)
		return true
	}
	ns.node.headerDropped(b.HeaderDropped)
	if b.Origin == ns.node.id {
		l.drop(ch, DropEcho, nil)
		return true
	}
	ns.node.members.Heard(b.Origin)
	if ns.extra.OnBroadcast != nil && !ns.extra.OnBroadcast(b) {
		l.drop(ch, DropUnwanted, nil)
		return true
	}
	f := &l.fan
	f.sel.Find(ns.rooms, b.Rooms, b.Except)
	do := ns.node.observe.deliver
	if len(f.sel.List) == 0 && do == nil {
		ns.broadcastEnd()
		l.drop(ch, DropUnwanted, nil)
		return true
	}
	if do != nil {
		l.deliverStart(do, ch, len(payload))
	}
	f.call = callDeliver
	if len(f.sel.List) > 0 {
		f.msg = ns.message(Message{Namespace: ns.name, Origin: b.Origin, Seq: b.Seq, Header: b.Header, Payload: b.Payload}, b.Flags)
		if !ns.prepare(f.msg) {
			f.sel.Reset()
		}
	}
	return l.run()
}

// deliverStart tells the observer of the broadcast in l.in, whose members are selected,
// and has it told of the end.
func (l *lane) deliverStart(do DeliverObserver, ch broker.Channel, size int) {
	n, b := l.ns.node, &l.in
	l.data = DeliverData{
		Source: n.source, Namespace: l.ns.name, Channel: ch, Origin: b.Origin, Rooms: b.Rooms, Except: b.Except,
		Header: b.Header, HeaderDropped: b.HeaderDropped, PayloadBytes: len(b.Payload), MessageBytes: size,
		Matched: len(l.fan.sel.List),
	}
	l.ctx = observedStart(l.ns.ctx, n, "DeliverStart", DeliverObserver.DeliverStart, do, &l.data)
	l.fan.ctx, l.after = l.ctx, l.deliverEnd
}

// deliverEnded closes the books of deliverStart. It is l.deliverEnd: bound once, so
// that it takes no allocation for each message.
func (l *lane) deliverEnded() {
	n, d := l.ns.node, &l.data
	d.Delivered, d.Skipped, d.Panicked = l.fan.delivered(), int(l.fan.skipped.Load()), int(l.fan.panicked.Load())
	do := n.observe.deliver
	n.observed("DeliverEnd", func() { do.DeliverEnd(l.ctx, d) })
	if d.Matched == 0 {
		l.drop(d.Channel, DropUnwanted, nil)
	}
	*d = DeliverData{}
}

// message returns what m says in memory of its own.
func (ns *Namespace) message(m Message, flags wire.Flags) *Message {
	m.Volatile, m.NoCompress = flags&wire.Volatile != 0, flags&wire.NoCompress != 0
	if ns.extra.NewMessage == nil {
		own := m // m itself stays where it is
		return &own
	}
	made := ns.extra.NewMessage().(*Message)
	m.Value = made.Value
	*made = m
	return made
}

// broadcastEnd tells the application that another node's broadcast has been delivered.
func (ns *Namespace) broadcastEnd() {
	if ns.extra.OnBroadcastEnd == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			ns.node.panicked("OnBroadcastEnd", "", v)
		}
	}()
	ns.extra.OnBroadcastEnd()
}

// prepare has the application look at a message before members here get it. They do
// not if it panics: what they would expect in Value is not there.
func (ns *Namespace) prepare(m *Message) (ok bool) {
	if ns.opts.Prepare == nil {
		return true
	}
	defer func() {
		if v := recover(); v != nil {
			ns.node.panicked("Prepare", "", v)
		}
	}()
	ns.opts.Prepare(m)
	return true
}

func reasonOf(err error) DropReason {
	if errors.Is(err, wire.ErrForeignNamespace) || errors.Is(err, wire.ErrIgnored) {
		return DropForeign
	}
	return DropUndecodable
}

func cloneHeader(h wire.Header) wire.Header {
	if h == nil {
		return nil
	}
	c := make(wire.Header, len(h))
	for k, v := range h {
		c[k] = v
	}
	return c
}
