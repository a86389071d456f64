package backplane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/backplane/internal/monitor"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/observers"
	"github.com/crossroom/crossroom/internal/wire"
)

// Emitter sends to the members of a fleet from a process without members: a cron job, a worker, a command. It only
// publishes: it subscribes to nothing, is no node of the fleet and gets no responses. All methods are safe for
// concurrent use.
//
// A method that sends waits only while the broker's queue is full. nil means that the broker has accepted the message;
// see Flush. Errors are a *NameError, a *broker.PayloadError, an error that wraps errors.ErrUnsupported for a Target
// that is Local, ErrClosed after Close, the context's error, and the broker's error: broker.ErrClosed once the broker
// has been closed.
type Emitter struct{ out *sender }

// EmitterOptions of an Emitter. Nil means all defaults.
type EmitterOptions struct {
	// Keys, if not nil, sign all messages: see Options.Keys.
	Keys *Keyring
	// Observers are called for PublishStart and PublishEnd of broadcasts, and for RequestStart and RequestEnd of other
	// methods. Their panics are ignored, because an emitter has no OnError.
	Observers []observe.Observer
}

// NewEmitter makes an emitter for the namespaces of nodes of this package. For the namespaces of an adapter.Server use
// adapter.NewEmitter. The broker may be shared with other users. NewEmitter does no I/O. The error is an *OptionError,
// also for a nil broker.
func NewEmitter(b broker.Broker, opts *EmitterOptions) (*Emitter, error) {
	var o EmitterOptions
	if opts != nil {
		o = *opts
	}
	s, err := newSender(b, "emitter~"+randomID(), nativeCodec{}, &o)
	if err != nil {
		return nil, err
	}
	return &Emitter{s}, nil
}

// Broadcast sends payload to the members that t selects, on every node. The caller owns payload again after the call.
func (e *Emitter) Broadcast(ctx context.Context, namespace string, payload []byte, t Target) error {
	if err := e.check(ctx, namespace, &t.sel); err != nil || t.sel.Nobody() {
		return err
	}
	return e.out.Broadcast(ctx, namespace, &wire.Broadcast{
		Rooms: t.sel.Rooms, All: t.sel.All, Except: t.sel.Except, Flags: t.sel.Flags, Header: t.sel.Header, Payload: payload,
	})
}

// JoinAll makes the nodes put the members that t selects into rooms.
func (e *Emitter) JoinAll(ctx context.Context, namespace string, t Target, rooms ...string) error {
	return e.onAll(ctx, namespace, &t.sel, &wire.Request{Op: wire.OpJoin, Targets: rooms})
}

// LeaveAll makes the nodes take the members that t selects out of rooms.
func (e *Emitter) LeaveAll(ctx context.Context, namespace string, t Target, rooms ...string) error {
	return e.onAll(ctx, namespace, &t.sel, &wire.Request{Op: wire.OpLeave, Targets: rooms})
}

// DisconnectAll makes the nodes disconnect the members that t selects; with closeConn, including their underlying
// connections.
func (e *Emitter) DisconnectAll(ctx context.Context, namespace string, t Target, closeConn bool) error {
	return e.onAll(ctx, namespace, &t.sel, &wire.Request{Op: wire.OpDisconnect, Close: closeConn})
}

// Event passes payload to the OnEvent of every node.
func (e *Emitter) Event(ctx context.Context, namespace string, payload []byte) error {
	return e.onAll(ctx, namespace, &wire.Selection{}, &wire.Request{Op: wire.OpEvent, Payload: payload})
}

// Flush waits until the broker's system has all accepted messages. Call it before the process ends, or close the
// broker, which does the same. It returns a *broker.LossError, the context's error or broker.ErrClosed.
func (e *Emitter) Flush(ctx context.Context) error {
	switch {
	case e.out == nil:
		return errUnmade
	case ctx == nil:
		return ErrNilContext
	}
	return e.out.broker.Flush(ctx)
}

// Close ends the emitter and waits like Flush, with its errors. On a broker that counts it then checks the first 64
// namespaces that the emitter sent to. If one has servers only on the other wire, the error is an *OpError with
// ErrOtherWire: none of these servers got a message. The broker stays open.
func (e *Emitter) Close(ctx context.Context) error {
	switch {
	case e.out == nil:
		return errUnmade
	case ctx == nil:
		return ErrNilContext
	}
	return e.out.Close(ctx)
}

func (e *Emitter) onAll(ctx context.Context, namespace string, t *wire.Selection, r *wire.Request) error {
	if err := e.check(ctx, namespace, t); err != nil {
		return err
	}
	if err := checkNames("room", r.Targets); err != nil || t.Nobody() {
		return err
	}
	r.Rooms, r.All, r.Except, r.Header, r.Native = t.Rooms, t.All, t.Except, t.Header, true
	if r.Op == wire.OpDisconnect {
		r.Header = wire.WithReason(t.Header, t.Reason)
	}
	return e.out.Request(ctx, namespace, r)
}

var errUnmade = errors.New("backplane: an Emitter must come from NewEmitter")

var errNoMembers = fmt.Errorf("backplane: emitter: the target is Local: %w", errors.ErrUnsupported)

func (e *Emitter) check(ctx context.Context, namespace string, t *wire.Selection) error {
	switch {
	case ctx == nil:
		return ErrNilContext
	case e.out == nil:
		return errUnmade
	case t.LocalOnly:
		return errNoMembers
	}
	return errors.Join(checkName("namespace", namespace), checkNames("room", t.Rooms), checkNames("room", t.All), checkNames("room", t.Except))
}

// sender encodes and publishes without a namespace. Emitters of this package and of package adapter consist of it and
// little else.
type sender struct {
	broker  broker.Broker
	codec   wire.Codec
	id      string
	limit   int // largest message, 0 none
	source  *observe.Source
	observe observers.Set

	closed atomic.Bool
	last   atomic.Pointer[string] // the last namespace that was sent to
	mu     sync.Mutex
	used   map[string]struct{} // namespaces that were sent to
}

// maxUsed limits the namespaces that an emitter remembers.
const maxUsed = 64

// use records a namespace.
func (s *sender) use(ns string) error {
	if s.closed.Load() {
		return ErrClosed
	}
	if last := s.last.Load(); last != nil && *last == ns {
		return nil
	}
	ns = strings.Clone(ns)
	s.last.Store(&ns)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used == nil {
		s.used = make(map[string]struct{})
	}
	if len(s.used) < maxUsed {
		s.used[ns] = struct{}{}
	}
	return nil
}

// Close implements wire.Sender.
func (s *sender) Close(ctx context.Context) error {
	s.closed.Store(true)
	if err := s.broker.Flush(ctx); err != nil || !s.broker.Capabilities().CountsSubscribers {
		return err
	}
	s.mu.Lock()
	used := slices.Sorted(maps.Keys(s.used))
	s.mu.Unlock()
	other := broker.Native
	if s.codec.Protocol() == broker.Native {
		other = broker.SocketIO
	}
	for _, ns := range used {
		counts, err := s.broker.Subscribers(ctx, s.codec.Protocol().Requests(ns), other.Requests(ns))
		if err == nil && counts[0] == 0 && counts[1] > 0 {
			return &OpError{Op: "emit", Namespace: ns, Err: ErrOtherWire}
		}
	}
	return ctx.Err()
}

func newSender(b broker.Broker, id string, c wire.Codec, opts *EmitterOptions) (*sender, error) {
	if wire.IsNil(b) {
		return nil, &OptionError{Option: "Broker", Reason: "nil"}
	}
	set, ok := observers.Of(opts.Observers, func(string, any) {})
	if !ok {
		return nil, &OptionError{Option: "Observers", Reason: "one is nil"}
	}
	if err := opts.Keys.check(); err != nil {
		return nil, err
	}
	b = opts.Keys.signing(b)
	return &sender{broker: b, codec: c, id: id, limit: b.Capabilities().MaxPayload, source: monitor.SourceOf(id, b), observe: set}, nil
}

// scratch is the memory of one message being sent.
type scratch struct{ buf []byte }

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	if cap(s.buf) > keepBytes {
		s.buf = nil
	}
	scratchPool.Put(s)
}

// Broadcast implements wire.Sender.
func (s *sender) Broadcast(ctx context.Context, ns string, b *wire.Broadcast) error {
	b.Origin = s.id
	o := s.observe.Publish
	if o == nil {
		_, err := s.publish(ctx, ns, b)
		return err
	}
	d := &observe.Publish{
		Source: s.source, Namespace: ns, Channel: s.codec.BroadcastChannel(ns, b),
		Rooms: b.Rooms, All: b.All, Except: b.Except, PayloadBytes: len(b.Payload), Header: b.Header.Clone(),
	}
	ctx = guarded(ctx, func() context.Context { return o.PublishStart(ctx, d) })
	b.Header = d.Header
	d.MessageBytes, d.Err = s.publish(ctx, ns, b)
	guarded(ctx, func() context.Context { o.PublishEnd(ctx, d); return nil })
	return d.Err
}

func (s *sender) publish(ctx context.Context, ns string, b *wire.Broadcast) (size int, err error) {
	if err := s.use(ns); err != nil {
		return 0, err
	}
	m := scratchPool.Get().(*scratch)
	defer m.release()
	out, err := s.codec.AppendBroadcast(m.buf[:0], ns, b)
	if err != nil {
		return 0, err
	}
	m.buf = out
	if err := within(s.limit, len(out)); err != nil {
		return 0, err
	}
	return len(out), s.broker.Publish(ctx, s.codec.BroadcastChannel(ns, b), out)
}

// Request implements wire.Sender.
func (s *sender) Request(ctx context.Context, ns string, r *wire.Request) error {
	r.Origin, r.NoReply = s.id, true
	o := s.observe.Request
	if o == nil {
		return s.send(ctx, ns, r)
	}
	d := &observe.Request{
		Source: s.source, Namespace: ns, Op: r.Op.String(), NoReply: true,
		Rooms: r.Rooms, All: r.All, Except: r.Except, PayloadBytes: len(r.Payload), Header: r.Header.Clone(),
	}
	ctx = guarded(ctx, func() context.Context { return o.RequestStart(ctx, d) })
	r.Header = d.Header
	d.Err = s.send(ctx, ns, r)
	guarded(ctx, func() context.Context { o.RequestEnd(ctx, d); return nil })
	return d.Err
}

func (s *sender) send(ctx context.Context, ns string, r *wire.Request) error {
	if err := s.use(ns); err != nil {
		return err
	}
	m := scratchPool.Get().(*scratch)
	defer m.release()
	out, err := s.codec.AppendRequest(m.buf[:0], ns, r)
	if err != nil {
		return err
	}
	m.buf = out
	if err := within(s.limit, len(out)); err != nil {
		return err
	}
	return s.broker.Publish(ctx, s.codec.Protocol().Requests(ns), out)
}

// guarded calls a method of an observer and returns its context, or ctx after a panic.
func guarded(ctx context.Context, call func() context.Context) (out context.Context) {
	out = ctx
	defer func() { _ = recover() }()
	if c := call(); c != nil {
		out = c
	}
	return out
}
