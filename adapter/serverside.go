package adapter

import (
	"context"
	"encoding/json"
	"fmt"
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
	// From is the sending server's uid, "emitter" if that was an emitter; empty if
	// it is not known.
	From string
	// Args are the arguments as encoding/json makes them of JSON: nil, bool,
	// float64, string, []any and map[string]any. They are shared by all handlers:
	// read-only.
	Args []any

	reply func([]byte)
	acked atomic.Bool
}

// Bind stores the arguments in what dst point to, as Packet.Bind does.
func (e *ServerEvent) Bind(dst ...any) error { return bindAll(e.Args, dst) }

// WantsAck reports whether the sender waits for an answer.
func (e *ServerEvent) WantsAck() bool { return e.reply != nil }

// Ack answers the sender, at any time and from any goroutine. The first value
// travels, encoded as JSON; without one the answer is empty. Only one handler can
// answer, and only once: ErrAcknowledged. A value that cannot be encoded is an
// *ArgumentError, and the event still unanswered.
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

// OnServerSideEmit calls handler for each event of that name that another server
// sends with serverSideEmit. Several handlers of one event are called in turn. They
// run in a goroutine of their own, several events at a time; ctx ends after
// Options.RequestsTimeout. A sender that waits is answered by the first Ack; if the
// event has no handler at all here, at once and without a value, so that nobody
// waits for a server that has nothing to say. (A Node.js server would keep silent,
// and the sender's call would time out.) A handler that never acknowledges lets the
// sender wait.
//
// stop ends it; a running call goes on. Errors are *backplane.NameError, for a reserved name and
// for a nil handler.
func (ns *Namespace) OnServerSideEmit(event string, handler func(ctx context.Context, e *ServerEvent)) (stop func(), err error) {
	if err := checkServerEvent(event); err != nil {
		return nil, err
	}
	if handler == nil {
		return nil, &backplane.NameError{What: "handler of event", Name: event, Reason: "nil"}
	}
	return ns.listen(heardEvent{name: event}, handler), nil
}

// OnAnyServerSideEmit calls handler for each event that another server sends with
// serverSideEmit, whatever its name, after the handlers of OnServerSideEmit and like them: so
// each event has a handler then, which is to answer a sender that waits. A nil handler does
// nothing. stop ends it.
func (ns *Namespace) OnAnyServerSideEmit(handler func(ctx context.Context, e *ServerEvent)) (stop func()) {
	if handler == nil {
		return func() {}
	}
	return ns.listen(heardEvent{any: true}, handler)
}

// heardEvent is an event that handlers are for: one of that name, or any.
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

// ServerSideEmit sends an event to all other servers of the namespace. nil means
// accepted by the broker. Arguments are encoded as by Emit, but travel as JSON:
// binary as {"type":"Buffer","data":[…]}, which Bind understands. Errors are those of
// Emit. Dialect v5 has no such thing: the error wraps errors.ErrUnsupported; with several links it
// goes to those that have.
func (ns *Namespace) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	payload, err := ns.serverEvent("ServerSideEmit", event, args)
	if err != nil {
		return err
	}
	return ns.fleet.event(ctx, payload)
}

// ServerSideEmitWithAck sends an event to all other servers of the namespace and
// returns their answers: a Reply without Data for one without a value, or of a Go node
// without a handler. Node.js servers without a handler do not answer: they are waited
// for until RequestsTimeout, and are then missing in the *backplane.PartialError.
func (ns *Namespace) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) (*Replies, error) {
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

// serverPayload is the JSON of an event and its arguments.
func serverPayload(event string, args []any) ([]byte, error) {
	if err := checkServerEvent(event); err != nil {
		return nil, err
	}
	out, err := appendJSON([]byte{'['}, event)
	if err != nil {
		return nil, &backplane.NameError{What: "event", Name: event, Reason: "not valid UTF-8"}
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
		return &backplane.NameError{What: "event", Name: event, Reason: "reserved by Socket.IO"}
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

// serveEvent takes another server's event.
func (ns *Namespace) serveEvent(ctx context.Context, link int, from string, payload []byte, reply func([]byte)) {
	if from != "" && ns.shared.Elsewhere(link, from, wire.OpEvent) {
		if reply != nil {
			reply(nil) // sent on another link too, and answered there
		}
		return
	}
	var list []any
	if err := json.Unmarshal(payload, &list); err != nil || len(list) == 0 {
		ns.server.reportIn(ctx, fmt.Errorf("adapter: unreadable server-side event: %.100q", payload))
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

// handleAll calls the handlers in turn. A panic of one goes on when the others have been
// called; the core reports it, and answers the sender if none of them has.
func handleAll(ctx context.Context, list []*listener, e *ServerEvent) {
	if len(list) > 0 {
		defer handleAll(ctx, list[1:], e)
		list[0].handle(ctx, e)
	}
}
