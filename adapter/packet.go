package adapter

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// Packet is one event as sockets get it. It is made once for each broadcast and
// shared by all sockets: what its methods return must not be changed. It may be
// kept. Decoding and encoding happen when first asked for, once for all sockets.
// Safe for concurrent use.
type Packet struct {
	namespace string
	origin    string
	flags     backplane.Flags
	header    backplane.Header
	payload   []byte // MessagePack of [event, args...]
	again     bool   // sockets have it already, from another link

	decode sync.Once
	event  string
	args   []any
	err    error

	encode sync.Once
	frames Frames
	ackAt  int // where in frames.Engine an acknowledgement id goes
}

// prepare is backplane.NamespaceOptions.Prepare.
func (ns *Namespace) prepare(m *backplane.Message) {
	p := &Packet{namespace: m.Namespace, origin: m.Origin, flags: m.Flags, header: m.Header}
	if m.Origin == "" {
		// This node's own: the payload is in a buffer that Emit will use again.
		p.origin = ns.server.UID()
		m.Payload = bytes.Clone(m.Payload)
	}
	p.payload = m.Payload
	if mark := m.Header[relayHeader]; mark != "" && m.Origin != "" {
		p.again = !ns.relays.fresh(mark)
	}
	m.Value = p
}

// Namespace returns the namespace it was sent in, with its slash.
func (p *Packet) Namespace() string { return p.namespace }

// Origin returns the uid of the server that sent it, "emitter" if that was an
// emitter.
func (p *Packet) Origin() string { return p.origin }

// Volatile reports whether it may be dropped for a client that is not ready for it.
func (p *Packet) Volatile() bool { return p.flags&backplane.Volatile != 0 }

// Compress reports whether compressing it is worth while; it is unless the sender
// said otherwise.
func (p *Packet) Compress() bool { return p.flags&backplane.NoCompress == 0 }

// Header returns what travelled beside it, such as trace context; nil if nothing did.
func (p *Packet) Header() map[string]string { return p.header }

// Event returns the event's name. It is empty if another server sent something
// that has no name; see Err.
func (p *Packet) Event() string {
	p.decode.Do(p.decodeAll)
	return p.event
}

// Args returns the event's arguments as Go values: nil, bool, int64 (uint64 above
// its range), float64, string, []byte, time.Time, []any and map[string]any.
func (p *Packet) Args() []any {
	p.decode.Do(p.decodeAll)
	return p.args
}

// Err says why a packet of another server could not be read; Event and Args are
// then empty, and Frames too if it has no form for clients.
func (p *Packet) Err() error {
	p.decode.Do(p.decodeAll)
	return p.err
}

// Bind stores the arguments in what dst point to, in order; a nil skips one, and
// arguments beyond dst are ignored. Simple types are stored directly, others as
// encoding/json would: structs by their json tags, []byte from binary, time.Time
// from a date. Errors are *ArgumentError.
func (p *Packet) Bind(dst ...any) error {
	p.decode.Do(p.decodeAll)
	if p.err != nil {
		return p.err
	}
	return bindAll(p.args, dst)
}

func (p *Packet) decodeAll() {
	v, err := msgpack.Decode(p.payload)
	if err != nil {
		p.err = fmt.Errorf("adapter: unreadable packet: %w", err)
		return
	}
	list, _ := v.([]any)
	if len(list) == 0 {
		p.err = fmt.Errorf("adapter: unreadable packet: not a list that begins with an event name")
		return
	}
	switch e := list[0].(type) {
	case string:
		p.event = e
	case int64: // JavaScript lets numbers be event names
		p.event = strconv.FormatInt(e, 10)
	default:
		p.err = fmt.Errorf("adapter: unreadable packet: event name of type %T", e)
		return
	}
	p.args = list[1:len(list):len(list)]
}
