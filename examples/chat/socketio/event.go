package socketio

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter"
)

// Event is what a client said.
type Event struct {
	Name string
	// Args are its arguments: nil, bool, int64, float64, string, []byte for binary, []any
	// and map[string]any. They are the handler's.
	Args []any

	socket   *Socket
	id       uint64
	asks     bool
	answered atomic.Bool
}

// Async returns a function that has f handle events beside those that follow: see
// Socket.Go.
func Async(f EventFunc) EventFunc {
	return func(_ context.Context, s *Socket, e *Event) {
		s.Go(func(ctx context.Context) { f(ctx, s, e) })
	}
}

// Bind stores the arguments in what dst point to, in order, as adapter.Packet.Bind
// does. Missing arguments and wrong types are *adapter.ArgumentErrors.
func (e *Event) Bind(dst ...any) error { return adapter.BindArgs(e.Args, dst...) }

// WantsAck reports whether the client waits for an answer.
func (e *Event) WantsAck() bool { return e.asks }

// Ack answers the client, at any time and from any goroutine. It does nothing if the
// client does not wait for an answer, or has got one. Arguments are those of
// adapter.Operator.Emit; if one cannot be encoded that is an *adapter.ArgumentError, and
// the event still unanswered.
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

// acks are the answers that a client owes. A client that never answers makes nothing
// grow: above maxOwed the oldest is forgotten, and its asker waits until its time is
// over.
type acks struct {
	mu      sync.Mutex
	next    uint64 // id of the next event that wants an answer
	oldest  uint64 // ids below are not in waiting
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

// forget returns who waits for an answer; nil if nobody does.
func (a *acks) forget(id uint64) func(args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ack := a.waiting[id]
	delete(a.waiting, id)
	return ack
}
