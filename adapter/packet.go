package adapter

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// Packet is one event as sockets receive it. It is made once for each broadcast and shared by all sockets: the results
// of its methods must not be changed. It may be kept. Decoding and encoding happen on the first call that needs them,
// once for all sockets. It is safe for concurrent use.
type Packet struct {
	ns    *Namespace
	msg   backplane.Message // Payload is MessagePack of [event, args...]
	again bool              // sockets have received it over another link

	// Most packets, in large numbers, need only one of the two: so they are separate.
	decode, encode sync.Once
	decoded        *decoded
	encoded        *encoded

	own   sync.Once
	value any
}

// decoded is a packet as values.
type decoded struct {
	event string
	args  []any
	err   error
}

// newMessage is wire.Options.NewMessage: the message is part of the packet that is its
// Value.
func (ns *Namespace) newMessage() any {
	p := &Packet{ns: ns}
	p.msg.Value = p
	return &p.msg
}

// prepare is backplane.NamespaceOptions.Prepare.
func (ns *Namespace) prepare(m *backplane.Message) {
	if m.Origin != "" && m.Header != nil {
		if mark := m.Header[relayHeader]; mark != "" {
			m.Value.(*Packet).again = !ns.dedup.Fresh(mark)
		}
	}
}

// Namespace returns the namespace of the event, with its slash.
func (p *Packet) Namespace() string { return p.msg.Namespace }

// Origin returns the uid of the sending server, or "emitter" for an emitter.
func (p *Packet) Origin() string {
	if p.msg.Origin == "" {
		return p.ns.server.UID()
	}
	return p.msg.Origin
}

// Volatile reports whether it may be dropped for a client that is not ready for it.
func (p *Packet) Volatile() bool { return p.msg.Volatile }

// Compress reports whether compressing the packet is worthwhile. It is, unless the sender set Compress(false).
func (p *Packet) Compress() bool { return !p.msg.NoCompress }

// Header returns the data that travelled with the packet, such as trace context; nil if there was none.
func (p *Packet) Header() map[string]string { return p.msg.Header }

// Event returns the event's name. It is empty if the name is empty, as Socket.IO allows, and if another server sent a
// message without one; then Err is set.
func (p *Packet) Event() string { return p.values().event }

// Args returns the event's arguments as Go values: nil, bool, int64 (uint64 above its range), float64, string, []byte,
// time.Time, []any and map[string]any. A date that came as JSON is a string (see Operator.EmitWithAck); Bind converts
// it.
func (p *Packet) Args() []any { return p.values().args }

// Err returns why a packet of another server could not be read. Event and Args are then empty, and Frames too if the
// packet has no form for clients.
func (p *Packet) Err() error { return p.values().err }

// Value returns what the first call of Value for the packet made: a place for an encoding of the host's own, such as a
// compressed frame, which is made once for all sockets and shared by them. make must not call Value.
func (p *Packet) Value(make func() any) any {
	p.own.Do(func() { p.value = make() })
	return p.value
}

// Bind stores the arguments in the variables to which dst points, in order. A nil skips one, and arguments beyond dst
// are ignored. Simple types are stored directly, others like encoding/json: structs by their json tags, []byte from
// binary, time.Time from a date. The caller owns what Bind stores, except in a *any, which shares the packet's value.
// It returns Err if that is set, and an *ArgumentError for the first argument that is missing or does not fit; those
// before it are stored.
func (p *Packet) Bind(dst ...any) error {
	v := p.values()
	if v.err != nil {
		return v.err
	}
	return BindArgs(v.args, dst...)
}

func (p *Packet) values() *decoded {
	p.decode.Do(func() { p.decoded = decodePacket(p.msg.Payload) })
	return p.decoded
}

func decodePacket(payload []byte) *decoded {
	v, err := msgpack.Decode(payload)
	if err != nil {
		return &decoded{err: fmt.Errorf("adapter: unreadable packet: %w", err)}
	}
	list, _ := v.([]any)
	if len(list) == 0 {
		return &decoded{err: errors.New("adapter: unreadable packet: not a list that begins with an event name")}
	}
	d := &decoded{args: list[1:len(list):len(list)]}
	switch e := list[0].(type) {
	case string:
		d.event = e
	case int64: // JavaScript allows numbers as event names
		d.event = strconv.FormatInt(e, 10)
	case uint64:
		d.event = msgpack.FormatNumber(float64(e))
	case float64:
		d.event = msgpack.FormatNumber(e)
	case time.Time: // clients get it as text
		d.event = e.Format("2006-01-02T15:04:05.000Z")
	default:
		return &decoded{err: fmt.Errorf("adapter: unreadable packet: event name of type %T", e)}
	}
	return d
}
