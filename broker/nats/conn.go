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

// inboxSize is more than the number of messages that one read can return: nats.go reads up to
// 32 KiB, TLS holds up to about 128 KiB, and a message takes at least 40 bytes. Therefore the
// inbox is never full, in which case nats.go would drop messages.
const inboxSize = 8192

// conn is one connection to one server. Its *nats.Conn never reconnects. All subscriptions of the
// connection put messages into the inbox in the order of arrival. The reading goroutine empties
// the inbox before each read.
type conn struct {
	nc         *nats.Conn
	net        *netConn
	to         endpoint
	born       time.Time
	inbox      chan *nats.Msg
	target     func(*conn, *nats.Msg)
	violations *violations
	closed     chan struct{} // closed after the last callback of nats.go
	trip       time.Duration // about the longest of the last round trips of pings; belongs to the sender
	leaving    atomic.Bool   // the server has announced that it shuts down

	draining sync.Mutex // held while messages are passed on
	ended    bool       // no more messages are passed on

	mu      sync.Mutex
	busy    bool          // messages are being passed on
	drained chan struct{} // closed and replaced when busy ends
	cause   error         // why the broker closed the connection
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
			e.learn(p, nc)
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

// drain passes on the messages in the inbox. The reading goroutine calls it before each read.
func (l *conn) drain() {
	if len(l.inbox) == 0 {
		return // also while connecting, when nats.go may hold any of its locks
	}
	l.draining.Lock()
	defer l.draining.Unlock()
	l.passing(true)
	defer l.passing(false)
	for !l.ended {
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

// caughtUp waits until all messages that arrived before the call have been passed on.
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

// end passes on the messages in the inbox, and stops passing on.
func (l *conn) end() {
	l.drain()
	l.draining.Lock()
	defer l.draining.Unlock()
	l.ended = true
}

// failed handles an error that nats.go reports. After an error that is not transient the server
// closes the connection, or nats.go has dropped messages. Then failed closes the connection.
func (l *conn) failed(err error) {
	if transient(err) {
		l.violations.record(err)
		return
	}
	l.kill(l.named(err))
}

// named adds the server's name to an error.
func (l *conn) named(err error) error { return fmt.Errorf("nats %s: %w", l.to.url.Host, err) }

// kill closes the connection for a reason of the broker.
func (l *conn) kill(cause error) {
	l.mu.Lock()
	if l.cause == nil {
		l.cause = cause
	}
	l.mu.Unlock()
	l.net.Close()
}

// close closes the connection and waits for its writer.
func (l *conn) close() {
	l.net.Close()
	l.nc.Close()
	l.net.writing.Wait()
}

// reason closes the connection, if it is open, and returns why it was closed.
func (l *conn) reason() error {
	l.net.Close()
	l.nc.Close()
	<-l.closed // failed has then been called with everything that the server sent before closing
	l.mu.Lock()
	err := l.cause
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.net.mu.Lock()
	err = l.net.err
	l.net.mu.Unlock()
	// nats.go closes the connection itself after the server has announced that it will.
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

// ping waits until the server has processed everything sent before, and until the messages that
// it sent before its reply have been passed on. It closes the connection if nothing arrives from
// the server for timeout.
func (l *conn) ping(ctx context.Context, timeout time.Duration) error {
	for {
		short, cancel := context.WithTimeout(ctx, timeout)
		err := l.nc.FlushWithContext(short)
		cancel()
		switch {
		case err == nil:
			return l.caughtUp(ctx)
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			l.net.Close() // nats.go is about to close it
			return l.reason()
		}
		if idle := l.net.idle(); idle >= timeout {
			l.kill(&broker.TimeoutError{System: "nats", Addr: l.to.url.Host, After: idle})
			return l.reason()
		}
	}
}
