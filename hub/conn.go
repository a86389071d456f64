package hub

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/outgoing"
)

// Conn is one connection of this server: a WebSocket or an event stream. All methods are safe for concurrent use, also
// after the connection has ended.
type Conn struct {
	hub      *Hub
	id, user string
	value    any
	since    time.Time
	ctx      context.Context
	cancel   context.CancelCauseFunc
	queue    *outgoing.Queue[*frame]

	socket Socket      // nil for an event stream
	frames frameWriter // nil if the socket does not take frames
	stream *stream     // nil for a WebSocket

	received, comments atomic.Uint64
	heard              atomic.Int64 // when the last message came, in Unix nanoseconds
	handled            atomic.Int64 // when OnMessage returned last, in Unix nanoseconds; notYet while it runs
	beat               *time.Timer

	read chan struct{} // closed when the client is not read any more
	cut  chan struct{} // closed by breakOff
	done chan struct{} // closed when nothing is written any more

	mu     sync.Mutex
	reason *CloseError // of the end; nil before
	broken bool
	acks   []pendingAck
}

type frameWriter interface{ WriteFrames(list [][]byte) error }

type pendingAck struct {
	id  string
	ack func([]byte)
}

// maxAcks limits the acknowledgements that a client can owe. The oldest ones are forgotten.
const maxAcks = 256

func (h *Hub) newConn(who *Identity) *Conn {
	c := &Conn{
		hub: h, id: rand.Text(), user: who.User, value: who.Value, since: time.Now(),
		read: make(chan struct{}), cut: make(chan struct{}), done: make(chan struct{}),
	}
	c.heard.Store(c.since.UnixNano())
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// ID returns the connection's id: random characters, unique in the fleet.
func (c *Conn) ID() string { return c.id }

// User returns the user that Options.Authenticate named.
func (c *Conn) User() string { return c.user }

// Value returns the value of the Identity.
func (c *Conn) Value() any { return c.value }

// Hub returns the hub.
func (c *Conn) Hub() *Hub { return c.hub }

// Context returns a context that ends with the connection. Its cause is the *CloseError.
func (c *Conn) Context() context.Context { return c.ctx }

// Send queues a message for this connection alone. It never waits. It returns a *MessageError or ErrDropped. nil means
// queued, not written.
func (c *Conn) Send(m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	m.Data = append(make([]byte, 0, len(m.Data)), m.Data...)
	if f := (&frame{message: m}); !c.queue.Push(f, f.size(), false) {
		return ErrDropped
	}
	return nil
}

// SendJSON queues v in JSON, as text. An error of encoding/json is wrapped.
func (c *Conn) SendJSON(v any) error {
	m, err := encodeJSON(v)
	if err != nil {
		return err
	}
	return c.Send(m)
}

// Join puts the connection into rooms. When it returns nil, the next messages to the rooms reach the connection, except
// those during an outage. It waits for the broker if a room is new on this server and the subscription is dynamic:
// Namespace.Join of backplane has its errors. If the connection has ended, the error wraps backplane.ErrNoSuchMember.
func (c *Conn) Join(ctx context.Context, rooms ...string) error {
	if err := c.here("join"); err != nil {
		return err
	}
	return c.hub.ns.Join(ctx, c.id, prefixed(roomPrefix, rooms)...)
}

// Leave takes the connection out of rooms, without waiting. If the connection has ended, it does as Join.
func (c *Conn) Leave(ctx context.Context, rooms ...string) error {
	if err := c.here("leave"); err != nil {
		return err
	}
	return c.hub.ns.Leave(ctx, c.id, prefixed(roomPrefix, rooms)...)
}

// here returns an error if the connection has ended: other servers need not be asked for it.
func (c *Conn) here(op string) error {
	if _, ok := c.hub.ns.Member(c.id); ok {
		return nil
	}
	return &backplane.OpError{Op: op, Namespace: c.hub.ns.Name(), Name: c.id, Err: backplane.ErrNoSuchMember}
}

// Rooms returns the connection's rooms, in no order. The caller owns the slice.
func (c *Conn) Rooms() []string {
	list, _ := c.hub.ns.LocalRoomsOf(c.id)
	return unprefixed(list)
}

func unprefixed(list []string) []string {
	rooms := []string{}
	for _, name := range list {
		if room, ok := strings.CutPrefix(name, roomPrefix); ok {
			rooms = append(rooms, room)
		}
	}
	return rooms
}

// Ack acknowledges a message of SendAck, with a value. It returns false if the connection owes no acknowledgement of
// that id: it was given before, the id is unknown, or 256 others were sent since. It may wait while the broker's
// queue is full, for at most RequestsTimeout of backplane.Options. The caller keeps value.
func (c *Conn) Ack(id string, value []byte) bool {
	c.mu.Lock()
	for i, p := range c.acks {
		if p.id == id {
			c.acks = append(c.acks[:i], c.acks[i+1:]...)
			c.mu.Unlock()
			p.ack(append([]byte{}, value...))
			return true
		}
	}
	c.mu.Unlock()
	return false
}

// Close writes the queued messages and closes the connection with a code and a reason, in the background, within
// Options.CloseTimeout. An event stream gets them as an event "close". A code that a close frame cannot have becomes 1011:
// valid are 1000 to 1014, except 1004, 1005 and 1006, and 3000 to 4999. If the connection has ended, it does nothing.
func (c *Conn) Close(code int, reason string) {
	c.end(&CloseError{Code: code, Reason: reason}, true)
}

// attach makes the connection a member of the namespace.
func (c *Conn) attach(rooms []string) error {
	ctx, cancel := context.WithTimeout(c.ctx, attachTimeout)
	defer cancel()
	var member backplane.Member = (*streamMember)(c)
	if c.socket != nil {
		member = (*socketMember)(c)
	}
	if err := c.hub.ns.Add(ctx, member); err != nil {
		return err
	}
	names := prefixed(roomPrefix, rooms)
	if c.user != "" {
		names = append(names, userPrefix+c.user)
	}
	err := c.hub.ns.Join(ctx, c.id, names...)
	if err != nil || c.ending() { // or end removed it before it was there
		c.hub.ns.Remove(c.id)
	}
	return err
}

// attachTimeout limits the wait for the broker while a connection enters its rooms.
const attachTimeout = 5 * time.Second

// checkNames refuses an identity that the backplane cannot take.
func (who *Identity) checkNames() *StatusError {
	for _, name := range append([]string{who.User}, who.Rooms...) {
		if len(name)+len(roomPrefix) > broker.MaxNameLen || !utf8.ValidString(name) {
			return &StatusError{400, "the name of the user or of a room cannot be used"}
		}
	}
	return nil
}

// end ends the connection, once. With polite, the client gets what is queued and is told the reason. Otherwise the
// connection is broken off.
func (c *Conn) end(reason *CloseError, polite bool) {
	manner := cutOff
	if polite {
		manner = flushFirst
	}
	c.endIn(manner, reason)
}

// manner is how a connection ends.
type manner int

const (
	flushFirst manner = iota // queued messages, then the reason
	reasonOnly               // the client has broken a rule
	cutOff                   // it left, or does not respond
)

func (c *Conn) endIn(how manner, reason *CloseError) {
	if !reason.Remote && !sendable(reason.Code) && how != cutOff {
		reason.Code = codeInternal
	}
	reason.Reason = cutText(reason.Reason)
	c.mu.Lock()
	if c.reason != nil {
		c.mu.Unlock()
		return
	}
	c.reason = reason
	c.acks = nil
	if c.beat != nil {
		c.beat.Stop()
	}
	c.mu.Unlock()
	c.cancel(reason)
	c.hub.ns.Remove(c.id)
	go c.farewell(how)
}

// farewell closes the connection, and returns when nothing is written any more.
func (c *Conn) farewell(how manner) {
	defer close(c.done)
	timer := time.AfterFunc(c.hub.opts.CloseTimeout, c.breakOff)
	defer timer.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), c.hub.opts.CloseTimeout)
	defer cancel()
	switch {
	case how == cutOff:
	case c.socket == nil:
		f := &frame{message: Message{Event: "close", Data: closeEvent(c.reason)}}
		if how == reasonOnly || c.queue.Push(f, f.size(), false) && c.queue.Close(ctx) == nil {
			c.release()
			c.stream.expire(c.hub.opts.CloseTimeout) // the HTTP server still writes the end of the response
		}
	case how == reasonOnly || c.queue.Close(ctx) == nil:
		c.queue.Close(expired)
		c.socket.Close(c.reason.Code, c.reason.Reason)
		select {
		case <-c.read: // the client has answered
		case <-c.cut:
		}
	}
	c.breakOff()
	<-c.queue.Done()
}

// breakOff closes the network connection, which ends all reads and writes.
func (c *Conn) breakOff() {
	switch {
	case !c.release():
	case c.socket != nil:
		c.socket.CloseNow()
	default:
		c.stream.breakOff()
	}
}

// release ends the queue and whatever waits for the client. It returns false if that has been done.
func (c *Conn) release() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return false
	}
	c.broken = true
	close(c.cut)
	c.queue.Close(expired)
	return true
}

// expired is a context that has ended.
var expired = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// queueBroken is called by the queue when it has ended early.
func (c *Conn) queueBroken(err error) {
	reason := &CloseError{Code: codeAbnormal, Err: err}
	if errors.Is(err, outgoing.ErrFull) || errors.Is(err, outgoing.ErrTimeout) || errors.Is(err, os.ErrDeadlineExceeded) {
		reason.Code, reason.Reason = codePolicy, "client reads too slowly"
	}
	c.end(reason, false)
}

func (c *Conn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason != nil
}

// finish returns when the connection has ended and nothing of it is left. connected says whether OnConnect was called.
func (c *Conn) finish(connected bool) {
	close(c.read)
	<-c.done
	if f := c.hub.opts.OnDisconnect; f != nil && connected {
		if err := c.hub.guard("OnDisconnect", c.id, func() error { f(c, c.reason); return nil }); err != nil {
			c.hub.reports.report("OnDisconnect", err)
		}
	}
	c.hub.leave(c)
}

// connect enters the rooms and calls OnConnect. called says whether it was called.
func (c *Conn) connect(rooms []string) (called bool) {
	if err := c.attach(rooms); err != nil {
		if !c.ending() {
			c.hub.reports.report("attach", err)
			c.end(&CloseError{Code: codeTryLater, Reason: "the fleet cannot be reached", Err: err}, true)
		}
		return false
	}
	if c.hub.opts.OnConnect != nil {
		c.after("OnConnect", c.hub.guard("OnConnect", c.id, func() error { return c.hub.opts.OnConnect(c.ctx, c) }))
	}
	return true
}

// after ends the connection if a callback has returned an error.
func (c *Conn) after(what string, err error) {
	var asked *CloseError
	switch {
	case err == nil:
	case errors.As(err, &asked):
		own := *asked
		c.end(&own, true)
	case c.ending() && stackOf(err) == nil: // the error may be a consequence of that
	default:
		c.hub.reports.report(what, err)
		c.end(&CloseError{Code: codeInternal, Reason: "internal error", Err: err}, true)
	}
}

// sendable reports whether a close frame may have the code.
func sendable(code int) bool {
	switch code {
	case 1004, codeNoStatus, codeAbnormal:
		return false
	}
	return 1000 <= code && code <= 1014 || 3000 <= code && code <= 4999
}

// cutText makes a text fit into a close frame.
func cutText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxReason {
		return s
	}
	s = s[:maxReason]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// socketMember and streamMember are a Conn as the backplane sees it. Only a WebSocket can acknowledge.
type (
	socketMember Conn
	streamMember Conn
)

func (m *socketMember) ID() string                   { return m.id }
func (m *streamMember) ID() string                   { return m.id }
func (m *socketMember) Deliver(b *backplane.Message) { (*Conn)(m).deliver(b) }
func (m *streamMember) Deliver(b *backplane.Message) { (*Conn)(m).deliver(b) }
func (m *socketMember) Disconnect(bool)              { (*Conn)(m).disconnected() }
func (m *streamMember) Disconnect(bool)              { (*Conn)(m).disconnected() }
func (m *socketMember) Describe() []byte             { return (*Conn)(m).describe() }
func (m *streamMember) Describe() []byte             { return (*Conn)(m).describe() }

func (m *socketMember) DeliverAck(b *backplane.Message, ack func([]byte)) {
	f, _ := b.Value.(*frame)
	if f == nil || f.ack == "" {
		return
	}
	c := (*Conn)(m)
	c.mu.Lock()
	if c.reason == nil {
		if len(c.acks) >= maxAcks {
			c.acks = append(c.acks[:0], c.acks[1:]...)
		}
		c.acks = append(c.acks, pendingAck{f.ack, ack})
	}
	c.mu.Unlock()
	c.deliver(b)
}

func (c *Conn) deliver(b *backplane.Message) {
	if f, ok := b.Value.(*frame); ok {
		c.queue.Push(f, f.size(), b.Volatile)
	}
}

// disconnected is called for DisconnectAll of the namespace.
func (c *Conn) disconnected() {
	c.end(&CloseError{Code: codeNormal, Reason: "disconnected by the server"}, true)
}

// describe returns the description that Connections of all servers read: the kind, the time, the user.
func (c *Conn) describe() []byte {
	kind := byte('w')
	if c.socket == nil {
		kind = 's'
	}
	b := binary.BigEndian.AppendUint64([]byte{kind}, uint64(c.since.UnixMilli()))
	return append(b, c.user...)
}
