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

// Operator selects sockets of the whole fleet, as Socket.IO's BroadcastOperator
// does, and says what to do with them. It is a small value: each method returns a
// changed copy, so that one may be kept, shared between goroutines and built upon.
//
// Make one with Namespace.To, Except, Local, Volatile, Compress or Timeout, or with
// Emitter.To or Except.
//
// To broadcast from a socket, which is to reach everybody but itself, except its
// id: ns.To("room").Except(id).
type Operator struct {
	ns      *Namespace // nil for an emitter's
	emitter *Emitter
	target  wire.Selection
	timeout time.Duration
}

// To adds rooms: sockets in any of them are selected. As in Socket.IO, an operator
// to which no room was ever added selects everybody, so look out for
// To(list...) with an empty list. A socket's id is a room.
func (o Operator) To(rooms ...string) Operator {
	o.target = o.target.To(rooms...)
	return o
}

// Except leaves out sockets that are in any of the rooms, which may be ids. Servers older
// than 6.1 understand only ids; see Emit. An Emitter cannot ask which sockets of such servers
// are in a room. So with dialect V5 all its names must look like the ids of sockets there: 20
// letters, digits, - and _, in namespaces other than "/" behind the namespace and #.
// Otherwise its Emit returns an error that wraps errors.ErrUnsupported. With dialect V6
// servers of 6.0 ignore its rooms: their sockets get the event.
func (o Operator) Except(rooms ...string) Operator {
	o.target = o.target.Not(rooms...)
	return o
}

// Local selects sockets of this server only; nothing is sent to others.
func (o Operator) Local() Operator {
	o.target.LocalOnly = true
	return o
}

// Remote selects sockets of other servers only, for a server that reaches its own by itself.
func (o Operator) Remote() Operator {
	o.target.RemoteOnly = true
	return o
}

// Volatile lets clients that are not ready to receive miss the event.
func (o Operator) Volatile() Operator {
	o.target.Flags |= wire.Volatile
	return o
}

// Compress says whether compressing the event is worth while; it is by default.
func (o Operator) Compress(on bool) Operator {
	o.target.Flags &^= wire.NoCompress
	if !on {
		o.target.Flags |= wire.NoCompress
	}
	return o
}

// Timeout is how long EmitWithAck waits for clients. Zero or negative:
// Options.RequestsTimeout.
func (o Operator) Timeout(d time.Duration) Operator {
	o.timeout = d
	return o
}

// Emit sends an event to the selected sockets: to local ones first, whatever state
// the broker is in, then to the other nodes. nil means accepted by the broker, not
// delivered.
//
// The event's name may be empty, as in Socket.IO. Arguments have the shape that
// encoding/json would give them, but []byte and arrays of bytes arrive as binary and
// time.Time as a date. Integers of more than 64 bits are rounded to a float64, and what
// a float64 cannot hold is null for clients. Strings must be valid UTF-8, and nothing be
// nested deeper than 500 levels. Arguments are encoded before Emit returns and not kept.
//
// Servers older than 6.1 (see "Older servers" in the package documentation) cannot leave
// out rooms. If some are there, and Except has names that are not ids of this server's
// sockets, Emit first asks which of their sockets are in these rooms. So it waits, for
// RequestsTimeout at most: do not call it from a Deliver method then. A socket that enters
// such a room meanwhile may get the event. If a server does not say, the error
// wraps ErrExcept, and no socket gets the event, here or elsewhere.
//
// Where Node.js servers can be, a few keys, and more than Options.MaxAttachments binary
// values, are refused with a *HarmError: see "What never
// happens to Node.js servers" in the package documentation.
//
// Errors before anything is sent: *ArgumentError, *HarmError, ErrExcept, *backplane.NameError
// (also for events that Socket.IO keeps for itself), *broker.PayloadError,
// backplane.ErrClosed, an ended context's error. After local sockets have got it: the
// broker's error (broker.ErrClosed if that has been closed, before the server) or, while its
// queue was full, the context's. With several links each of them may fail on its own
// (*LinkError), and Emit waits for all. An Emitter's Emit reaches no sockets by itself: nil
// means accepted by the broker (Emitter.Flush).
func (o Operator) Emit(ctx context.Context, event string, args ...any) error {
	if o.emitter != nil {
		return o.emitter.emit(ctx, &o.target, event, args)
	}
	if err := o.check(); err != nil {
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
	for _, rooms := range [...][]string{o.target.Rooms, o.target.Except} {
		for _, room := range rooms {
			tail += len(room) + 14 // with its length, and as a number if it looks like one
		}
	}
	buf.buf = slices.Grow(all, tail)
	payload := buf.buf[messageLead:len(all)]
	o.target.Lead = buf.buf[:messageLead]
	o.target.Flags |= flags
	if o.target.LocalOnly {
		return o.ns.home.broadcast(ctx, payload, o.target)
	}
	return o.ns.fleet.emit(ctx, payload, o.target, o.ns.isLocal)
}

// What stands before and behind an event in a message, but for the names of rooms, seldom
// needs more.
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
		return dst, 0, &backplane.NameError{What: "event", Name: event, Reason: "not valid UTF-8"}
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

// To selects sockets in any of the rooms; see Operator.To.
func (ns *Namespace) To(rooms ...string) Operator { return Operator{ns: ns}.To(rooms...) }

// Except selects everybody but the sockets in any of the rooms.
func (ns *Namespace) Except(rooms ...string) Operator { return Operator{ns: ns}.Except(rooms...) }

// Local selects the sockets of this server.
func (ns *Namespace) Local() Operator { return Operator{ns: ns}.Local() }

// Remote selects the sockets of all other servers.
func (ns *Namespace) Remote() Operator { return Operator{ns: ns}.Remote() }

// Volatile selects everybody; see Operator.Volatile.
func (ns *Namespace) Volatile() Operator { return Operator{ns: ns}.Volatile() }

// Compress selects everybody; see Operator.Compress.
func (ns *Namespace) Compress(on bool) Operator { return Operator{ns: ns}.Compress(on) }

// Timeout selects everybody; see Operator.Timeout.
func (ns *Namespace) Timeout(d time.Duration) Operator { return Operator{ns: ns}.Timeout(d) }

// Emit sends an event to everybody; see Operator.Emit.
func (ns *Namespace) Emit(ctx context.Context, event string, args ...any) error {
	return Operator{ns: ns}.Emit(ctx, event, args...)
}

// EmitWithAck sends an event to everybody; see Operator.EmitWithAck.
func (ns *Namespace) EmitWithAck(ctx context.Context, event string, args ...any) (*Acks, error) {
	return Operator{ns: ns}.EmitWithAck(ctx, event, args...)
}

// FetchSockets returns everybody; see Operator.FetchSockets.
func (ns *Namespace) FetchSockets(ctx context.Context) (*Sockets, error) {
	return Operator{ns: ns}.FetchSockets(ctx)
}

// SocketsJoin puts everybody into rooms; see Operator.SocketsJoin.
func (ns *Namespace) SocketsJoin(ctx context.Context, rooms ...string) error {
	return Operator{ns: ns}.SocketsJoin(ctx, rooms...)
}

// SocketsLeave takes everybody out of rooms; see Operator.SocketsLeave.
func (ns *Namespace) SocketsLeave(ctx context.Context, rooms ...string) error {
	return Operator{ns: ns}.SocketsLeave(ctx, rooms...)
}

// DisconnectSockets disconnects everybody; see Operator.DisconnectSockets.
func (ns *Namespace) DisconnectSockets(ctx context.Context, connection bool) error {
	return Operator{ns: ns}.DisconnectSockets(ctx, connection)
}
