package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/errorlog"
	"github.com/crossroom/crossroom/internal/wire"
)

// Hub has the connections of one server, and reaches those of all servers of the fleet. All methods are safe for
// concurrent use.
type Hub struct {
	ns      *backplane.Namespace
	opts    Options
	reports reports

	mu       sync.Mutex
	conns    map[*Conn]struct{} // until OnDisconnect has returned
	pending  int                // admitted, and not in conns yet
	draining bool
	empty    chan struct{} // closed when draining and no connection is left
	stats    Stats
}

// New opens a namespace of the node for connections. Every server of the fleet that opens it is a part of the same
// hub. It waits for the broker as Node.Namespace does, until ctx ends; ctx limits only the call. It returns an *OptionError,
// or an error of Node.Namespace: backplane.ErrNamespaceExists if the node has a hub of that name. The caller closes the
// hub before the node.
func New(ctx context.Context, node *backplane.Node, namespace string, opts *Options) (*Hub, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	var onError func(context.Context, error)
	if o.OnError != nil {
		onError = func(_ context.Context, err error) { o.OnError(err) }
	}
	h := &Hub{
		opts: o, conns: map[*Conn]struct{}{}, empty: make(chan struct{}),
		stats: Stats{Refused: map[int]uint64{}, Closed: map[int]uint64{}},
	}
	h.reports.init(errorlog.New("hub", o.Logger, onError, stackOf), func() { h.count(func(s *Stats) { s.Unreported++ }) })
	h.ns, err = node.Namespace(ctx, namespace, &backplane.NamespaceOptions{
		Prepare: h.prepare, OnRequest: h.serve, Refuse: o.Refuse, OnOperation: o.OnOperation,
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Namespace returns the namespace of the backplane, for operations that the hub does not offer. Its members are connections, and
// its rooms have prefixes of the hub's own. Do not add members, and send messages to it only with Send, SendAck and Emit.
func (h *Hub) Namespace() *backplane.Namespace { return h.ns }

// Send sends a message to the connections that t selects, on every server. nil means accepted: local connections have
// it in their queues, and the broker in its own. It returns a *MessageError, or an error of backplane's
// Namespace.Broadcast: after one of the broker, or of a context that ended during the call, local connections may have
// the message, and no others.
func (h *Hub) Send(ctx context.Context, t Target, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	s, ok := t.selection()
	if !ok {
		return ctx.Err()
	}
	return h.ns.Broadcast(ctx, m.encode(""), s)
}

// SendJSON sends v in JSON, as text. It is encoded once. An error of encoding/json is wrapped.
func (h *Hub) SendJSON(ctx context.Context, t Target, v any) error {
	m, err := encodeJSON(v)
	if err != nil {
		return err
	}
	return h.Send(ctx, t, m)
}

// SendAck sends a message and waits until each selected WebSocket connection has acknowledged it. timeout limits the
// whole call (zero: Options.RequestsTimeout of the node). A connection acknowledges when its server calls Conn.Ack with
// the id, usually in OnMessage: put the id into the message in a form of your own. SendAck returns the values of
// Conn.Ack in the order of their arrival. Event streams get the message and are not waited for. It returns a
// *backplane.PartialError if some acknowledgements did not come, and otherwise the errors of Send. A connection that
// ends without acknowledging keeps SendAck waiting until the timeout, and so does the connection in whose OnMessage it
// is called. The acknowledgements from one server are limited to 4,096; further ones count as missing. Messages that
// wait for acknowledgements at the same time need different ids.
func (h *Hub) SendAck(ctx context.Context, t Target, id string, m Message, timeout time.Duration) ([][]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if id == "" {
		return nil, &MessageError{"the id for acknowledgements is empty"}
	}
	s, ok := t.selection()
	if !ok {
		return nil, ctx.Err()
	}
	acks, err := h.ns.BroadcastAck(ctx, m.encode(id), s, timeout)
	if acks == nil {
		return nil, err
	}
	return acks.Values, err
}

// Emit sends a message from a process without connections: namespace is that of the hubs. Like Send it waits while the
// broker's queue is full. It returns a *MessageError, an error of backplane's Emitter.Broadcast, or one that wraps
// errors.ErrUnsupported if the target is Local.
func Emit(ctx context.Context, e *backplane.Emitter, namespace string, t Target, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	s, ok := t.selection()
	if !ok {
		return ctx.Err()
	}
	return e.Broadcast(ctx, namespace, m.encode(""), s)
}

// Join puts the connections that t selects into rooms, on every server, and returns their number. It waits for all servers.
// With a *backplane.PartialError some did not respond. Other errors are those of backplane's Namespace.JoinAll.
func (h *Hub) Join(ctx context.Context, t Target, rooms ...string) (int, error) {
	return h.change(ctx, t, rooms, h.ns.JoinAll)
}

// Leave takes the connections that t selects out of rooms, on every server. It waits, and fails, like Join.
func (h *Hub) Leave(ctx context.Context, t Target, rooms ...string) (int, error) {
	return h.change(ctx, t, rooms, h.ns.LeaveAll)
}

func (h *Hub) change(ctx context.Context, t Target, rooms []string,
	do func(context.Context, backplane.Target, ...string) (*backplane.Count, error)) (int, error) {
	s, ok := t.selection()
	if !ok || len(rooms) == 0 {
		return 0, ctx.Err()
	}
	changed, err := do(ctx, s, prefixed(roomPrefix, rooms)...)
	if changed == nil {
		return 0, err
	}
	return changed.Total, err
}

// prepare decodes a message for all connections of this server.
func (h *Hub) prepare(m *backplane.Message) {
	f, err := decode(m.Payload)
	if err != nil {
		h.count(func(s *Stats) { s.Unreadable++ })
		h.reports.report("unreadable", fmt.Errorf("hub: reading a message of server %q in namespace %q: %w",
			errorlog.Printable(m.Origin, 128), errorlog.Printable(m.Namespace, 100), err))
		return
	}
	m.Value = f
}

// Drain prepares the server's end: it refuses new connections with 503, and closes the present ones with 1012 (service
// restart), perSecond of them in a second, in random order and at irregular intervals, so that their clients do not
// reconnect all at once. The node leaves its fleet as with Node.Drain of package backplane, which must not be called
// too: Health.Ready is false at once, and the other nodes see Peer.Leaving. Drain returns nil when all connections have
// ended and their callbacks have returned. It returns the context's error, or an *OptionError if perSecond is not
// positive. Call Close after it: until then the hub and the node send and receive. To drain several hubs of one node,
// call Drain of each at the same time.
func (h *Hub) Drain(ctx context.Context, perSecond float64) error {
	if !(perSecond > 0) {
		return &OptionError{"perSecond of Drain", "not positive"}
	}
	wire.NodeOf(h.ns.Node()).Leave()
	conns := h.refuse()
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	interval := float64(time.Second) / perSecond
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, c := range conns {
		// Each has a slot of its own, and a random moment in it: the rate holds also if a timer comes late.
		at := began.Add(time.Duration((float64(i) + rand.Float64()) * interval))
		timer.Reset(time.Until(at))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		c.end(&CloseError{Code: codeRestart, Reason: "server restarts"}, true)
	}
	return h.wait(ctx)
}

// Close refuses new connections, closes the present ones with 1001 (going away), all at once, and leaves the
// namespace. It waits for the connections and their callbacks. When ctx ends first, Close breaks off the remaining
// connections and returns the context's error, which may be joined with one of backplane's Namespace.Close; a callback
// that never returns stays behind. It may be called during a Drain, and again.
func (h *Hub) Close(ctx context.Context) error {
	for _, c := range h.refuse() {
		c.end(&CloseError{Code: codeGoingAway, Reason: "server shuts down"}, true)
	}
	err := h.wait(ctx)
	if err != nil {
		h.mu.Lock()
		for c := range h.conns {
			go c.breakOff()
		}
		h.mu.Unlock()
	}
	return errors.Join(err, h.ns.Close(ctx), h.reports.close(ctx))
}

// refuse makes the hub admit no more connections, and returns the present ones.
func (h *Hub) refuse() []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.draining {
		h.draining = true
		h.settle()
	}
	conns := make([]*Conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	return conns
}

func (h *Hub) wait(ctx context.Context) error {
	select {
	case <-h.empty:
		return nil
	default:
	}
	select {
	case <-h.empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settle wakes Drain and Close when no connection is left. The caller holds h.mu.
func (h *Hub) settle() {
	if h.draining && h.pending == 0 && len(h.conns) == 0 {
		select {
		case <-h.empty:
		default:
			close(h.empty)
		}
	}
}

// reserve takes a place for a connection, and returns the reason if there is none.
func (h *Hub) reserve() *StatusError {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.draining:
		return &StatusError{503, "server restarts"}
	case h.opts.MaxConnections > 0 && h.pending+len(h.conns) >= h.opts.MaxConnections:
		return &StatusError{503, "too many connections"}
	}
	h.pending++
	return nil
}

// enter turns a reserved place into a connection, or gives it back if c is nil. It returns false if the hub closes.
func (h *Hub) enter(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending--
	if c != nil && !h.draining {
		h.conns[c] = struct{}{}
		h.stats.Accepted++
		if c.socket == nil {
			h.stats.Streams++
		} else {
			h.stats.Sockets++
		}
		return true
	}
	h.settle()
	return c == nil
}

// leave forgets a connection that has ended.
func (h *Hub) leave(c *Conn) {
	q := c.queue.Stats()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	if c.socket == nil {
		h.stats.Streams--
	} else {
		h.stats.Sockets--
	}
	h.stats.Closed[c.reason.Code]++
	h.stats.Received += c.received.Load()
	h.stats.Sent += q.Written - min(q.Written, c.comments.Load())
	h.stats.Dropped += q.Dropped + q.DroppedVolatile
	h.settle()
}

func (h *Hub) count(change func(*Stats)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.stats)
}

// guard calls a callback of the host. A panic is counted, reported and returned as an error.
func (h *Hub) guard(what, id string, call func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			h.count(func(s *Stats) { s.Panics++ })
			err = &panicError{what, id, v, debug.Stack()}
		}
	}()
	return call()
}

// Stats are counters of one server.
type Stats struct {
	// Sockets and Streams are the connections: WebSockets and event streams.
	Sockets, Streams int
	// Accepted counts all connections since New. An event stream that is refused because of its rooms, or by Resume, is
	// counted here, in Refused, and in Closed with 1011.
	Accepted uint64
	// Refused counts refused requests, by HTTP status.
	Refused map[int]uint64
	// Closed counts connections that have ended, by close code.
	Closed map[int]uint64
	// Received counts the messages of clients. Sent counts messages that were written to clients, and Dropped those
	// that queues dropped, each message once for each connection.
	Received, Sent, Dropped uint64
	// Panics counts those of callbacks, Unreadable the messages of other servers that could not be read, and Unreported
	// the errors that Logger and OnError did not get because too many waited.
	Panics, Unreadable, Unreported uint64
}

// Stats returns the counters. It visits all connections.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Refused, s.Closed = map[int]uint64{}, map[int]uint64{}
	for k, v := range h.stats.Refused {
		s.Refused[k] = v
	}
	for k, v := range h.stats.Closed {
		s.Closed[k] = v
	}
	for c := range h.conns {
		q := c.queue.Stats()
		s.Sent += q.Written - min(q.Written, c.comments.Load())
		s.Dropped += q.Dropped + q.DroppedVolatile
		s.Received += c.received.Load()
	}
	return s
}
