package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// ServerEvent is an event that another server sent to servers, not to sockets.
type ServerEvent struct {
	// Event is its name.
	Event string
	// From is the sending server's uid, or "emitter" for an emitter; empty if unknown.
	From string
	// Args are the arguments as encoding/json decodes them: nil, bool, float64, string, []any and map[string]any. All
	// handlers share them: read-only. They may be kept. BindArgs converts them.
	Args []any

	reply func([]byte)
	acked atomic.Bool
}

// WantsAck reports whether the sender waits for an acknowledgement.
func (e *ServerEvent) WantsAck() bool { return e.reply != nil }

// Ack acknowledges the event, at any time and from any goroutine. The first value travels, encoded as JSON; without
// one the acknowledgement is empty. Only one handler can acknowledge, and only once: later calls return
// ErrAcknowledged, and so does every call if the sender does not wait (WantsAck). A value that cannot be encoded is an
// *ArgumentError, and the event can still be acknowledged. Ack waits while the broker's queue is full, for
// Options.RequestsTimeout at most. An error of sending is reported to Options.OnError.
func (e *ServerEvent) Ack(args ...any) error {
	var value []byte
	if len(args) > 0 {
		var err error
		if value, err = appendJSON(nil, args[0]); err != nil {
			return &ArgumentError{Err: err}
		}
	}
	if e.reply == nil || e.acked.Swap(true) {
		return ErrAcknowledged
	}
	e.reply(value)
	return nil
}

// listener is one handler of OnServerSideEmit or OnAnyServerSideEmit.
type listener struct {
	handle func(ctx context.Context, e *ServerEvent)
}

// OnServerSideEmit calls handler for each event of that name that another server sends with serverSideEmit. Several
// handlers of one event are called in turn, on a goroutine of their own, several events at a time. ctx ends after
// Options.RequestsTimeout. handler may block, and make requests. A waiting sender gets the first Ack. If the event has
// no handler on this server, the sender gets an empty response at once. (A Node.js server would not respond, and the
// sender's call would time out.) A handler that never acknowledges makes the sender wait.
//
// stop removes the handler; a running call continues. OnServerSideEmit returns a *backplane.NameError for a reserved
// name and for a nil handler.
func (ns *Namespace) OnServerSideEmit(event string, handler func(ctx context.Context, e *ServerEvent)) (stop func(), err error) {
	if err := checkServerEvent(event); err != nil {
		return nil, err
	}
	if handler == nil {
		return nil, wire.FromAdapter(&backplane.NameError{What: "handler of event", Name: event, Reason: "nil"})
	}
	return ns.listen(heardEvent{name: event}, handler), nil
}

// OnAnyServerSideEmit calls handler for each event that another server sends with serverSideEmit, whatever its name,
// after the handlers of OnServerSideEmit and like them. Each event then has a handler, which must acknowledge it if
// the sender waits. A nil handler does nothing. stop removes the handler.
func (ns *Namespace) OnAnyServerSideEmit(handler func(ctx context.Context, e *ServerEvent)) (stop func()) {
	if handler == nil {
		return func() {}
	}
	return ns.listen(heardEvent{any: true}, handler)
}

// heardEvent is the key of handlers: an event name, or any.
type heardEvent struct {
	name string
	any  bool
}

func (ns *Namespace) listen(event heardEvent, handler func(ctx context.Context, e *ServerEvent)) (stop func()) {
	l := &listener{handle: handler}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.handlers[event] = append(slices.Clone(ns.handlers[event]), l)
	return func() {
		ns.mu.Lock()
		defer ns.mu.Unlock()
		left := slices.DeleteFunc(slices.Clone(ns.handlers[event]), func(o *listener) bool { return o == l })
		if ns.handlers[event] = left; len(left) == 0 {
			delete(ns.handlers, event)
		}
	}
}

// ServerSideEmit sends an event to all other servers of the namespace. nil means accepted by the broker; the call waits
// only while the broker's queue is full. Arguments are encoded like those of Emit, but travel as JSON: binary as
// {"type":"Buffer","data":[…]}, which BindArgs understands. Errors are those of Emit except ErrUnresolved. Dialect v5 does
// not have this operation: the error wraps errors.ErrUnsupported. With several links the event goes to those that have
// it.
func (ns *Namespace) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	if ctx == nil {
		return backplane.ErrNilContext
	}
	payload, err := ns.serverEvent("ServerSideEmit", event, args)
	if err != nil {
		return err
	}
	return ns.fleet.event(ctx, payload)
}

// ServerSideEmitWithAck sends an event to all other servers of the namespace and returns their responses: a Reply
// without Data for one without a value, or of a Go node without a handler. Node.js servers without a handler do not
// respond: the call waits for them until RequestsTimeout, and they are missing in the *backplane.PartialError. The call
// does not wait for servers older than 7.1, which are Unconfirmed. Other errors are those of ServerSideEmit.
func (ns *Namespace) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) (*Replies, error) {
	if ctx == nil {
		return nil, backplane.ErrNilContext
	}
	payload, err := ns.serverEvent("ServerSideEmitWithAck", event, args)
	if err != nil {
		return nil, err
	}
	in, err := ns.fleet.eventAck(ctx, payload)
	return replies(in), err
}

func (ns *Namespace) serverEvent(operation, event string, args []any) ([]byte, error) {
	if err := ns.fleet.hasEvents(operation); err != nil {
		return nil, err
	}
	payload, err := serverPayload(event, args)
	if err != nil {
		return nil, err
	}
	return payload, ns.fleet.checkServerEvent(payload)
}

// serverPayload returns the JSON of an event and its arguments.
func serverPayload(event string, args []any) ([]byte, error) {
	if err := checkServerEvent(event); err != nil {
		return nil, err
	}
	out, err := appendJSON([]byte{'['}, event)
	if err != nil {
		return nil, wire.FromAdapter(&backplane.NameError{What: "event", Name: event, Reason: "not valid UTF-8"})
	}
	for i, arg := range args {
		if out, err = appendJSON(append(out, ','), arg); err != nil {
			return nil, &ArgumentError{Index: i, Err: err}
		}
	}
	return append(out, ']'), nil
}

// checkServerEvent refuses the names that Socket.IO refuses.
func checkServerEvent(event string) error {
	switch event {
	case "connect", "connection", "new_namespace":
		return wire.FromAdapter(&backplane.NameError{What: "event", Name: event, Reason: "reserved by Socket.IO"})
	}
	return nil
}

// appendJSON encodes a value by the rules of Emit's arguments.
func appendJSON(dst []byte, v any) ([]byte, error) {
	buf := scratchPool.Get().(*scratch)
	defer buf.release()
	raw, _, err := msgpack.AppendValue(buf.buf[:0], v)
	if err != nil {
		return dst, err
	}
	buf.buf = raw
	return msgpack.AppendJSON(dst, raw, nil)
}

var errNoEventName = errors.New("it has no name")

// serveEvent handles another server's event.
func (ns *Namespace) serveEvent(ctx context.Context, link int, from string, payload []byte, reply func([]byte)) {
	if from != "" && ns.shared.ServedElsewhere(link, from, wire.OpEvent) {
		if reply != nil {
			reply(nil) // the event came over another link too, and is served there
		}
		return
	}
	var list []any
	err := json.Unmarshal(payload, &list)
	if err == nil && len(list) == 0 {
		err = errNoEventName
	}
	if err != nil {
		ns.server.reportIn(ctx, wire.FromAdapter(&backplane.OpError{Op: "read server-side event", Namespace: ns.name, Name: from, Err: err}))
		if reply != nil {
			reply(nil)
		}
		return
	}
	e := &ServerEvent{From: from, Args: list[1:len(list):len(list)], reply: reply}
	if name, ok := list[0].(string); ok {
		e.Event = name
	} else {
		e.Event = socketio.EventName(payload)
	}
	ns.mu.RLock()
	handlers := slices.Concat(ns.handlers[heardEvent{name: e.Event}], ns.handlers[heardEvent{any: true}])
	ns.mu.RUnlock()
	if len(handlers) == 0 && reply != nil {
		reply(nil)
	}
	handleAll(ctx, handlers, e)
}

// handleAll calls the handlers in turn. A panic of one continues when the others have been called; the core reports
// it, and responds to the sender if no handler has.
func handleAll(ctx context.Context, list []*listener, e *ServerEvent) {
	if len(list) > 0 {
		defer handleAll(ctx, list[1:], e)
		list[0].handle(ctx, e)
	}
}
