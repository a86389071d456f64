package adapter

import (
	"context"
	"fmt"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Emitter sends to a Socket.IO fleet from a process that has no sockets: a cron job, a worker, a command. It only
// publishes: it subscribes to nothing, is not counted as a server and gets no responses. It is safe for concurrent use.
type Emitter struct {
	broker    broker.Broker
	out       wire.Sender
	dialect   Dialect
	namespace string
	unusable  error // the defect of the namespace's name; nil if the name is good
}

// EmitterOptions of an Emitter. Nil means all defaults.
type EmitterOptions struct {
	// Namespace to emit to. Empty: "/".
	Namespace string
	// Dialect of the fleet. Zero means V6, or Sharded on a broker with sharded pub/sub. With V5, binary data is sent in
	// v5's form, which v5's clients need. An emitter does not know the connected servers: if newer Node.js servers
	// share the prefix, such a message disconnects their clients.
	Dialect Dialect
	// MaxAttachments is that of Options.
	MaxAttachments int
	// Keys, if not nil, sign all messages: see Options.Keys.
	Keys *backplane.Keyring
	// Observers are called for broadcasts (PublishStart, PublishEnd) and for all other messages, as requests without a
	// response.
	Observers []observe.Observer
}

// NewEmitter makes an emitter on a broker, which may be shared with other users. It does no I/O. It returns a
// *backplane.OptionError, or a *backplane.NameError for an invalid namespace.
func NewEmitter(b broker.Broker, opts *EmitterOptions) (*Emitter, error) {
	var o EmitterOptions
	if opts != nil {
		o = *opts
	}
	if wire.IsNil(b) {
		return nil, wire.FromAdapter(&backplane.OptionError{Option: "Broker", Reason: "nil"})
	}
	var reason string
	if o.Dialect, reason = o.Dialect.on(b); reason != "" {
		return nil, wire.FromAdapter(&backplane.OptionError{Option: "Dialect", Reason: reason})
	}
	c := newCodec(o.Dialect, b, o.MaxAttachments)
	c.UseBinary5(true)
	on := b
	if o.Dialect >= Sharded {
		on = shardLayout{b}
	}
	out, err := wire.NewSender(on, socketio.EmitterUID, c, &backplane.EmitterOptions{Keys: o.Keys, Observers: o.Observers})
	if err != nil {
		return nil, err
	}
	e := (&Emitter{broker: b, out: out, dialect: o.Dialect}).Of(o.Namespace)
	if e.unusable != nil {
		return nil, e.unusable
	}
	return e, nil
}

// Of returns an emitter for another namespace. As with Server.Of, "chat" is "/chat". If the name cannot be used, every
// later call fails with a *backplane.NameError.
func (e *Emitter) Of(namespace string) *Emitter {
	c := *e
	c.namespace = rooted(namespace)
	c.unusable = checkNamespace(c.namespace)
	return &c
}

// check refuses names that cannot be sent.
func (e *Emitter) check(lists ...[]string) error {
	switch {
	case e.out == nil:
		return errNoEmitter
	case e.unusable != nil:
		return e.unusable
	}
	for _, rooms := range lists {
		if err := checkNames("room", rooms); err != nil {
			return err
		}
	}
	return nil
}

// Flush waits until the broker's system has all accepted messages, or until ctx ends. Call it before the process ends,
// or close the broker, which does the same. It returns a *broker.LossError, the context's error or broker.ErrClosed.
func (e *Emitter) Flush(ctx context.Context) error {
	switch {
	case e.out == nil:
		return errNoEmitter
	case ctx == nil:
		return backplane.ErrNilContext
	}
	return e.broker.Flush(ctx)
}

// Close ends the emitter, and those of Of, and waits like Flush. Later sends return backplane.ErrClosed. On a broker that
// counts, Close then counts the servers of the first 64 namespaces that were sent to, until ctx ends. If one has only
// nodes of package backplane, which got nothing, the error is a *backplane.OpError with backplane.ErrOtherWire. Errors
// are otherwise those of Flush. The broker stays open.
func (e *Emitter) Close(ctx context.Context) error {
	switch {
	case e.out == nil:
		return errNoEmitter
	case ctx == nil:
		return backplane.ErrNilContext
	}
	return wire.FromAdapter(e.out.Close(ctx))
}

// ServerSideEmit sends an event to all servers of the namespace, like Namespace.ServerSideEmit.
func (e *Emitter) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	if ctx == nil {
		return backplane.ErrNilContext
	}
	if e.dialect == V5 {
		return unsupported("ServerSideEmit", V5, "")
	}
	payload, err := serverPayload(event, args)
	if err != nil {
		return err
	}
	return e.request(ctx, &wire.Request{Op: wire.OpEvent, Payload: payload})
}

func (e *Emitter) request(ctx context.Context, r *wire.Request) error {
	if err := e.check(r.Rooms, r.All, r.Except, r.Targets); err != nil {
		return err
	}
	return e.out.Request(ctx, e.namespace, r)
}

// To selects sockets in any of the rooms; see Operator.To. The Operator's methods that need no response
// work. Local, EmitWithAck and FetchSockets lead to errors that wrap errors.ErrUnsupported. So do SocketsJoin,
// SocketsLeave and DisconnectSockets in dialect V5; in V6 no server confirms them. Timeout has no effect.
func (e *Emitter) To(rooms ...string) Operator { return Operator{emitter: e}.To(rooms...) }

// All selects all sockets.
func (e *Emitter) All() Operator { return Operator{emitter: e} }

// Emit sends an event to all sockets; see Operator.Emit. nil means accepted by the broker: see Flush. Errors are those
// of Operator.Emit; also broker.ErrClosed once the broker has been closed.
func (e *Emitter) Emit(ctx context.Context, event string, args ...any) error {
	return e.emit(ctx, &wire.Selection{}, event, args)
}

func (e *Emitter) emit(ctx context.Context, t *wire.Selection, event string, args []any) error {
	if ctx == nil {
		return backplane.ErrNilContext
	}
	if t.LocalOnly {
		return errEmitterAsks
	}
	if err := e.check(t.Rooms, t.All, t.Except); err != nil {
		return err
	}
	if e.dialect == V5 {
		for _, room := range t.Except {
			if !socketio.NamesSocket(room) {
				return unsupported(fmt.Sprintf("Emit with Except(%.100q)", room), V5,
					"servers can leave out single sockets only, and an emitter cannot ask which are in a room")
			}
		}
	}
	payload := scratchPool.Get().(*scratch)
	defer payload.release()
	data, flags, err := appendEvent(payload.buf[:0], event, args)
	if err != nil {
		return err
	}
	payload.buf = data
	if t.Nobody() {
		return nil
	}
	return e.out.Broadcast(ctx, e.namespace, &wire.Broadcast{
		Rooms: t.Rooms, All: t.All, Except: t.Except, Flags: t.Flags | flags, Payload: data,
	})
}

// change makes other servers carry out an operation on the selected sockets.
func (e *Emitter) change(ctx context.Context, operation string, t *wire.Selection, r *wire.Request) error {
	if ctx == nil {
		return backplane.ErrNilContext
	}
	switch {
	case t.LocalOnly:
		return errEmitterAsks
	case e.dialect == V5:
		return unsupported(operation, V5, "")
	}
	r.Rooms, r.All, r.Except = t.Rooms, t.All, t.Except
	if r.Op == wire.OpDisconnect {
		r.Header = wire.WithReason(nil, t.Reason)
	}
	if t.Nobody() {
		return e.check(r.Rooms, r.All, r.Except, r.Targets)
	}
	return e.request(ctx, r)
}
