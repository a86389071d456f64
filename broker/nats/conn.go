package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
)

// inboxSize is more messages than one read can bring: nats.go reads up to 32 KiB,
// TLS holds up to about 128 KiB, and a message takes 40 bytes or more. So nats.go
// never finds the inbox full, in which case it would drop messages.
const inboxSize = 8192

// conn is one connection to one server, from its making to its end: the *nats.Conn
// never reconnects. All its subscriptions put what arrives into the inbox, in the
// order of arrival, and the reading goroutine takes it out again before it reads on.
type conn struct {
	nc         *nats.Conn
	net        *netConn
	to         endpoint
	born       time.Time
	inbox      chan *nats.Msg
	target     func(*conn, *nats.Msg)
	violations *violations
	closed     chan struct{} // closed when nats.go has told all that it had to tell
	trip       time.Duration // about how long the slowest of the last answers to pings took; the sender's own
	leaving    atomic.Bool   // the server has said that it is shutting down

	draining sync.Mutex // held by who passes on
	over     bool       // nothing is passed on any more

	mu      sync.Mutex
	busy    bool          // somebody passes on
	drained chan struct{} // closed and replaced when nobody does any more
	cause   error         // why we ended it
}

// dial connects to the first server that can be reached.
func dial(ctx context.Context, e *endpoints, target func(*conn, *nats.Msg)) (*conn, error) {
	var failures []error
	for _, p := range e.all() {
		l := &conn{to: p, inbox: make(chan *nats.Msg, inboxSize), target: target, violations: newViolations(), drained: make(chan struct{}), closed: make(chan struct{})}
		nc, err := e.connect(ctx, p, func(c net.Conn) net.Conn {
			l.net = newNetConn(c, l.drain)
			return l.net
		}, handlers{failed: l.failed, leaving: func() { l.leaving.Store(true) }, closed: func() { close(l.closed) }})
		if err == nil {
			l.nc, l.born = nc, time.Now()
			e.learn(p, nc.DiscoveredServers())
			return l, nil
		}
		if l.net != nil {
			l.net.writing.Wait()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		e.failed(p)
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// drain passes on what has arrived. The reading goroutine calls it before each read.
func (l *conn) drain() {
	if len(l.inbox) == 0 {
		return // also while connecting, when locks are held by whom nobody knows
	}
	l.draining.Lock()
	defer l.draining.Unlock()
	l.passing(true)
	defer l.passing(false)
	for !l.over {
		select {
		case m := <-l.inbox:
			l.target(l, m)
		default:
			return
		}
	}
}

func (l *conn) passing(busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy = busy; !busy {
		close(l.drained)
		l.drained = make(chan struct{})
	}
}

// caughtUp waits until everything has been passed on that had arrived before the call.
func (l *conn) caughtUp(ctx context.Context) error {
	for {
		l.mu.Lock()
		drained := l.drained
		done := len(l.inbox) == 0 && !l.busy
		l.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-drained:
		case <-l.net.broken:
			return l.reason()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end passes on what has arrived for the last time.
func (l *conn) end() {
	l.drain()
	l.draining.Lock()
	defer l.draining.Unlock()
	l.over = true
}

// failed takes an error that nats.go tells of. All but the transient ones are the end: the
// server closes the connection after them, or nats.go has dropped messages.
func (l *conn) failed(err error) {
	if transient(err) {
		l.violations.note(err)
		return
	}
	l.kill(l.named(err))
}

// named adds the server's name to an error.
func (l *conn) named(err error) error { return fmt.Errorf("nats %s: %w", l.to.url.Host, err) }

// kill ends the connection for a reason of ours.
func (l *conn) kill(cause error) {
	l.mu.Lock()
	if l.cause == nil {
		l.cause = cause
	}
	l.mu.Unlock()
	l.net.Close()
}

// close ends the connection and waits for what it has running here.
func (l *conn) close() {
	l.net.Close()
	l.nc.Close()
	l.net.writing.Wait()
}

// reason is why the connection has ended. It ends it if it has not.
func (l *conn) reason() error {
	l.net.Close()
	l.nc.Close()
	<-l.closed // so that failed was called for what the server said before it closed
	l.mu.Lock()
	err := l.cause
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.net.mu.Lock()
	err = l.net.err
	l.net.mu.Unlock()
	// nats.go closes the connection when the server has said that it will.
	if last := l.nc.LastError(); last != nil && (err == nil || errors.Is(err, net.ErrClosed)) {
		err = last
	}
	switch said := l.violations.unclaimed(); {
	case said != nil:
		err = said
	case err == nil:
		err = net.ErrClosed
	case l.leaving.Load():
		err = fmt.Errorf("%w: %w", errLeaving, err)
	}
	return l.named(typed(err))
}

// ping waits until the server has dealt with everything sent before, and until what
// it had sent before its answer has been passed on. It gives the connection up if the
// server is silent for longer than patience.
func (l *conn) ping(ctx context.Context, patience time.Duration) error {
	for {
		short, cancel := context.WithTimeout(ctx, patience)
		err := l.nc.FlushWithContext(short)
		cancel()
		switch {
		case err == nil:
			return l.caughtUp(ctx)
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			l.net.Close() // as nats.go is about to
			return l.reason()
		}
		if silent := l.net.silent(); silent >= patience {
			l.kill(&broker.TimeoutError{System: "nats", Addr: l.to.url.Host, After: silent})
			return l.reason()
		}
	}
}
