package socketio

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter"
)

// Event is an event from a client.
type Event struct {
	Name string
	// Args are its arguments: nil, bool, int64, float64, string, []byte for binary, []any and map[string]any. The
	// handler owns them.
	Args []any

	socket   *Socket
	id       uint64
	asks     bool
	answered atomic.Bool
}

// Async returns a function that handles events with f concurrently with later ones: see Socket.Go.
func Async(f EventFunc) EventFunc {
	return func(_ context.Context, s *Socket, e *Event) {
		s.Go(func(ctx context.Context) { f(ctx, s, e) })
	}
}

// Bind stores the arguments in the variables that dst point to, in order, like adapter.Packet.Bind. Missing arguments
// and wrong types are *adapter.ArgumentErrors.
func (e *Event) Bind(dst ...any) error { return adapter.BindArgs(e.Args, dst...) }

// WantsAck reports whether the client waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.asks }

// Ack acknowledges the event, at any time and from any goroutine. It does nothing if the client does not wait for an
// acknowledgement, or has got one. Arguments are those of adapter.Operator.Emit. If one cannot be encoded, Ack returns
// an *adapter.ArgumentError, and the event is still not acknowledged.
func (e *Event) Ack(args ...any) error {
	if !e.asks || e.answered.Load() {
		return nil
	}
	f, err := e.socket.ns.AnswerFrames(e.id, args...)
	if err != nil {
		return err
	}
	if !e.answered.Swap(true) && e.socket.ctx.Err() == nil {
		e.socket.conn.send(f, false)
	}
	return nil
}

// acks are the pending acknowledgements of a client. Their number is limited: above maxOwed the oldest is removed, and
// its caller waits until its context ends.
type acks struct {
	mu      sync.Mutex
	next    uint64 // id of the next event with an acknowledgement
	oldest  uint64 // smaller ids are not in waiting
	waiting map[uint64]func(args ...any)
}

const maxOwed = 256

func (a *acks) expect(ack func(args ...any)) (id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = make(map[uint64]func(args ...any))
	}
	id = a.next
	a.next++
	a.waiting[id] = ack
	for ; len(a.waiting) > maxOwed; a.oldest++ {
		delete(a.waiting, a.oldest)
	}
	return id
}

// forget removes a pending acknowledgement and returns its function, or nil.
func (a *acks) forget(id uint64) func(args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ack := a.waiting[id]
	delete(a.waiting, id)
	return ack
}
