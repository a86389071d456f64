package adapter

import (
	"context"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// Operator selects sockets of the whole fleet, like Socket.IO's BroadcastOperator, and has the operations on them. It
// is a small value: each method returns a changed copy, so an Operator may be kept, shared between goroutines and
// extended.
//
// Make one with All or To of a Namespace or an Emitter: ns.All().Local(), ns.To("room").Volatile().
//
// To broadcast from a socket to all others, exclude its id: ns.To("room").Except(id).
type Operator struct {
	ns      *Namespace // nil for that of an emitter
	emitter *Emitter
	target  wire.Selection
	timeout time.Duration
}

// To adds rooms: sockets in any of them are selected. A socket's id is a room. An operator with To and no room, as by
// To(list...) with an empty list, selects no socket, unlike in Socket.IO: its operations do nothing. For all sockets
// use All.
func (o Operator) To(rooms ...string) Operator {
	o.target = o.target.To(rooms...)
	return o
}

// InAll keeps, of the selected sockets, those that are in every one of the rooms: All().InAll("a", "b") selects the
// sockets in both rooms. Without rooms it keeps all.
//
// Node.js servers have no such selection. On a broker where they are possible (Capabilities.OnlyCrossroom is not set,
// as on Redis), and in dialect V5, each operation first lists the sockets in each of the rooms, and then selects by
// their ids. It waits for the lists, RequestsTimeout at most, and then as without InAll. A socket that enters or
// leaves a room meanwhile may be included or not. If a server does not respond, nothing is done, and the error wraps
// ErrUnresolved; FetchSockets, EachSocket, Clients and Count return what they know, with a *backplane.PartialError. A
// message with more ids than the broker carries is a *broker.PayloadError. An Emitter's operations return an error that
// wraps errors.ErrUnsupported.
func (o Operator) InAll(rooms ...string) Operator {
	o.target = o.target.InAll(rooms...)
	return o
}

// Except excludes sockets in any of the rooms, which may be ids. Servers older than 6.1 understand only ids; see Emit.
// An Emitter cannot query which sockets of such servers are in a room. An Emitter with dialect V5 accepts only names in
// the form of v5's ids: 20 characters that are letters, digits, - or _. In a namespace other than "/", the namespace
// and # stand before these. With another name its Emit returns an error that wraps errors.ErrUnsupported. If an Emitter
// with dialect V6 excepts rooms, servers of 6.0 ignore that: their sockets get the event.
func (o Operator) Except(rooms ...string) Operator {
	o.target = o.target.Not(rooms...)
	return o
}

// CountLocal makes Emit store in n how many sockets of this server it selects, before it returns. Do not share such an
// Operator between goroutines.
func (o Operator) CountLocal(n *int) Operator {
	o.target.Selected = n
	return o
}

// Local selects only sockets of this server; nothing is sent to others.
func (o Operator) Local() Operator {
	o.target.LocalOnly = true
	return o
}

// Remote selects only sockets of other servers, for a server that reaches its own by itself.
func (o Operator) Remote() Operator {
	o.target.RemoteOnly = true
	return o
}

// Volatile lets clients that are not ready to receive miss the event.
func (o Operator) Volatile() Operator {
	o.target.Flags |= wire.Volatile
	return o
}

// Compress sets whether compressing the event is worthwhile. The default is true.
func (o Operator) Compress(on bool) Operator {
	o.target.Flags &^= wire.NoCompress
	if !on {
		o.target.Flags |= wire.NoCompress
	}
	return o
}

// Timeout sets how long EmitWithAck waits for clients. Zero or negative means Options.RequestsTimeout.
func (o Operator) Timeout(d time.Duration) Operator {
	o.timeout = d
	return o
}

// Reason sets the reason that DisconnectSockets gives sockets of Go nodes (ReasonSocket): of a longer one the first 1,024
// bytes. It travels in a key that Node.js servers ignore.
func (o Operator) Reason(text string) Operator {
	o.target.Reason = wire.CutReason(text)
	return o
}

// Emit sends an event to the selected sockets: to local ones first, then to the other nodes. nil means accepted by the
// broker, not delivered.
//
// The event's name may be empty, like in Socket.IO. Arguments have the shape of encoding/json, but []byte and arrays
// of bytes arrive as binary and time.Time as a date. Integers of more than 64 bits are rounded to a float64, and a
// number that a float64 cannot hold is null for clients. Strings must be valid UTF-8, and values at most 500 levels
// deep. Arguments are encoded before Emit returns and not kept.
//
// Emit waits while the broker's queue is full, and for the methods of local sockets. With InAll, with Except, and with
// binary data in dialect V5 it may query the broker or other servers first: see section "Waits" of the package
// documentation. Servers older than 6.1 cannot exclude rooms. If some are connected, and Except has names that are not
// ids of this server's sockets, Emit first lists their sockets in these rooms. A socket that enters such a room
// meanwhile may get the event. If a server does not respond, the error wraps ErrUnresolved, and no socket gets the
// event, local or not.
//
// Where Node.js servers are possible, a few keys, and more than Options.MaxAttachments binary values, are refused with
// a *HarmError: see "What never happens to Node.js servers" in the package documentation.
//
// These errors come before anything is sent: *ArgumentError, *HarmError, ErrUnresolved, *backplane.NameError (also for
// events that Socket.IO reserves), *broker.PayloadError, backplane.ErrClosed, an ended context's error. These come
// after local sockets got the event: the broker's error (broker.ErrClosed if it was closed before the server) or,
// while its queue was full, the context's. With several links each of them may fail on its own (*LinkError), and Emit
// waits for all; the others have sent the event. An Emitter has no local sockets.
func (o Operator) Emit(ctx context.Context, event string, args ...any) error {
	if o.emitter != nil {
		return o.emitter.emit(ctx, &o.target, event, args)
	}
	if err := o.check(ctx); err != nil {
		return err
	}
	buf := scratchPool.Get().(*scratch)
	defer buf.release()
	// The message is written around the payload.
	all, flags, err := appendEvent(slices.Grow(buf.buf[:0], 4*messageLead)[:messageLead], event, args)
	if err != nil {
		return err
	}
	tail := messageTail
	for _, rooms := range [...][]string{o.target.Rooms, o.target.All, o.target.Except} {
		for _, room := range rooms {
			tail += len(room) + 14 // with its length, and as a number if it looks like one
		}
	}
	buf.buf = slices.Grow(all, tail)
	payload := buf.buf[messageLead:len(all)]
	o.target.Lead = buf.buf[:messageLead]
	o.target.Flags |= flags
	if o.target.LocalOnly || o.target.Nobody() {
		return o.ns.home.broadcast(ctx, payload, o.target)
	}
	if o.target, err = o.ns.resolved(ctx, o.target); err != nil {
		return err
	}
	return o.ns.fleet.emit(ctx, payload, o.target, o.ns.isLocal)
}

// The message around an event seldom needs more, apart from the names of rooms.
const (
	messageLead = 160
	messageTail = 512
)

// appendEvent encodes an event as the core's payload. The flags are Binary, socketio.Sound,
// both or none.
func appendEvent(dst []byte, event string, args []any) ([]byte, wire.Flags, error) {
	if err := public(socketio.CheckEventName(event)); err != nil {
		return dst, 0, err
	}
	if !utf8.ValidString(event) {
		return dst, 0, wire.FromAdapter(&backplane.NameError{What: "event", Name: event, Reason: "not valid UTF-8"})
	}
	flags := socketio.Sound
	dst = msgpack.AppendArrayLen(dst, 1+len(args))
	dst = msgpack.AppendString(dst, event)
	for i, arg := range args {
		var traits msgpack.Traits
		var err error
		if dst, traits, err = msgpack.AppendValue(dst, arg); err != nil {
			return dst, 0, &ArgumentError{Index: i, Err: err}
		}
		if traits&msgpack.HasBinary != 0 {
			flags |= wire.Binary
		}
		if traits&^msgpack.HasBinary != 0 {
			flags &^= socketio.Sound
		}
	}
	return dst, flags, nil
}

// All selects all sockets.
func (ns *Namespace) All() Operator { return Operator{ns: ns} }

// To selects sockets in any of the rooms; see Operator.To.
func (ns *Namespace) To(rooms ...string) Operator { return Operator{ns: ns}.To(rooms...) }

// Emit sends an event to all sockets; see Operator.Emit.
func (ns *Namespace) Emit(ctx context.Context, event string, args ...any) error {
	return Operator{ns: ns}.Emit(ctx, event, args...)
}
