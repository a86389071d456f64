package backplane

import (
	"bytes"
	"sync/atomic"

	"github.com/crossroom/crossroom/backplane/internal/inbound"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// The registry's record of a member, the selection for a message, and the delivery to its members.
type (
	entry     = rooms.Entry[Member]
	selection = rooms.Selection[Member]
	filter    = rooms.Filter
	delivery  = inbound.Delivery[Member]
)

func filterOf(rooms, all, except []string) filter {
	return filter{Rooms: rooms, All: all, Except: except}
}

// The calls of members' methods.
type (
	deliverCall Message
	ackCall     struct {
		msg *Message
		// each handles an acknowledgement; every member may give one.
		each func(payload []byte)
	}
	disconnectCall struct {
		close  bool // the connection too
		reason string
	}
	roomsCall struct {
		left  bool
		rooms []string
	}
)

func (c *deliverCall) Do(e *entry)  { e.Member.Deliver((*Message)(c)) }
func (*deliverCall) Method() string { return "Deliver" }

func (c *ackCall) Do(e *entry) {
	acking, ok := e.Member.(AckMember)
	if !ok {
		e.Member.Deliver(c.msg)
		return
	}
	acking.DeliverAck(c.msg, (&ackOnce{do: c.each}).call)
}
func (*ackCall) Method() string { return "DeliverAck" }

func (c disconnectCall) Do(e *entry) {
	if m, ok := e.Member.(ReasonMember); ok {
		m.DisconnectFor(c.reason, c.close)
		return
	}
	e.Member.Disconnect(c.close)
}
func (disconnectCall) Method() string { return "Disconnect" }

// ackOnce lets the application acknowledge at most once.
type ackOnce struct {
	used atomic.Bool
	do   func(payload []byte)
}

func (o *ackOnce) call(payload []byte) {
	if o.used.CompareAndSwap(false, true) {
		o.do(payload)
	}
}

func (c *roomsCall) Do(e *entry) {
	if m := e.Member.(RoomMember); c.left {
		m.Left(c.rooms)
	} else {
		m.Joined(c.rooms)
	}
}

func (c *roomsCall) Method() string {
	if c.left {
		return "Left"
	}
	return "Joined"
}

// moved prepares d to notify the selected members that are RoomMembers of a change. It returns false if there are
// none.
func moved(d *delivery, left bool, rooms []string) bool {
	d.Keep(func(e *entry) bool {
		_, ok := e.Member.(RoomMember)
		return ok
	})
	d.Call = &roomsCall{left, rooms}
	return len(d.List) > 0
}

// acking counts the selected members that can acknowledge a message, and are ready.
func acking(list []*entry) (n int) {
	for _, e := range list {
		if _, ok := e.Member.(AckMember); ok && e.Ready() {
			n++
		}
	}
	return n
}

// deliver calls the members of d on this goroutine: local delivery.
func (ns *Namespace) deliver(d *delivery) {
	d.Run(&ns.inbound)
	ns.node.tally(d)
}

// tally adds the counts of a delivery.
func (n *Node) tally(d *delivery) {
	switch d.Call.(type) {
	case *deliverCall, *ackCall:
		n.monitor.Deliveries.Add(uint64(d.Delivered()))
	}
	if skipped := d.Skipped(); skipped > 0 {
		n.monitor.Skipped.Add(uint64(skipped))
	}
}

// inlineBytes is the largest payload that shares one allocation with its message.
const inlineBytes = 160

type inlineMessage struct {
	Message
	payload [inlineBytes]byte
}

// localMessage returns a copy of m with a copy of the payload. The caller owns the payload again after local delivery,
// while members may keep the message.
func (ns *Namespace) localMessage(m Message, flags wire.Flags) *Message {
	if n := len(m.Payload); ns.extra.NewMessage == nil && n > 0 && n <= inlineBytes {
		m.Volatile, m.NoCompress = flags&wire.Volatile != 0, flags&wire.NoCompress != 0
		own := &inlineMessage{Message: m}
		copy(own.payload[:], m.Payload)
		own.Payload = own.payload[:n:n]
		return &own.Message
	}
	m.Payload = bytes.Clone(m.Payload)
	return ns.message(m, flags)
}

// message returns a copy of m. It shares the payload, which is never written to.
func (ns *Namespace) message(m Message, flags wire.Flags) *Message {
	m.Volatile, m.NoCompress = flags&wire.Volatile != 0, flags&wire.NoCompress != 0
	if ns.extra.NewMessage == nil {
		own := m // m itself stays on the stack
		return &own
	}
	made := ns.extra.NewMessage().(*Message)
	m.Value = made.Value
	*made = m
	return made
}

// prepare calls Prepare before local members get a message. They do not get it if Prepare panics, because Value is
// then missing.
func (ns *Namespace) prepare(m *Message) (ok bool) {
	if ns.opts.Prepare == nil {
		return true
	}
	defer func() {
		if v := recover(); v != nil {
			ns.node.monitor.Panicked("Prepare", "", v)
		}
	}()
	ns.opts.Prepare(m)
	return true
}

// moved notifies the selected members of a change, and returns the number of selected members.
func (ns *Namespace) moved(d *delivery, left bool, rooms []string) int {
	n := len(d.List)
	if moved(d, left, rooms) {
		ns.deliver(d)
	}
	return n
}
