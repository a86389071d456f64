package natsbroker

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// netConn is the network connection below a *nats.Conn. It never lets a write wait for
// the network: nats.go writes with its lock held, for which everybody who publishes
// or subscribes would wait. What the system does not take at once is kept and
// written by a goroutine of its own; how much that can be is bounded by who writes
// (see outbox.window).
//
// And it is where the goroutine that reads for nats.go comes by before each read,
// with everything delivered that the last one brought.
type netConn struct {
	net.Conn
	raw    syscall.RawConn // nil if the connection has none
	onRead func()          // before each read
	heard  atomic.Int64    // when something last arrived, in ns of the clock below
	clock  time.Time
	away   atomic.Bool // onRead is running: nobody listens

	mu      sync.Mutex
	kept    []byte // to be written
	busy    bool   // write is writing
	err     error
	failing error         // writing has failed, reading not yet
	more    chan struct{} // capacity 1
	broken  chan struct{} // closed with err
	writing sync.WaitGroup
}

// maxKept is the largest buffer that is used again.
const maxKept = 256 << 10

func newNetConn(c net.Conn, onRead func()) *netConn {
	w := &netConn{Conn: c, onRead: onRead, clock: time.Now(), more: make(chan struct{}, 1), broken: make(chan struct{})}
	if sc, ok := c.(syscall.Conn); ok {
		w.raw, _ = sc.SyscallConn()
	}
	w.writing.Go(w.write)
	return w
}

// Read is called by nats.go, from one goroutine at a time.
func (w *netConn) Read(p []byte) (int, error) {
	w.away.Store(true)
	w.onRead()
	w.heard.Store(int64(time.Since(w.clock)))
	w.away.Store(false)
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(int64(time.Since(w.clock)))
	}
	if err != nil {
		w.fail(err)
	}
	return n, err
}

// silent is for how long nothing has arrived. It is zero while the reader does not listen,
// since it waits for receivers: for each of them as long as SlowReceiver says.
func (w *netConn) silent() time.Duration {
	if w.away.Load() {
		return 0
	}
	return time.Since(w.clock) - time.Duration(w.heard.Load())
}

// Write takes all of p, or returns the error that ended the connection.
func (w *netConn) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	n := 0
	if !w.busy && len(w.kept) == 0 && w.raw != nil {
		n = tryWrite(w.raw, p)
	}
	if n < len(p) {
		w.kept = append(w.kept, p[n:]...)
		lifecycle.Raise(w.more)
	}
	return len(p), nil
}

// write writes what is kept until the connection is closed.
func (w *netConn) write() {
	var buf []byte
	for {
		select {
		case <-w.more:
		case <-w.broken:
			return
		}
		for {
			w.mu.Lock()
			buf, w.kept = w.kept, buf[:0]
			w.busy = len(buf) > 0 // what comes next queues up behind it
			w.mu.Unlock()
			if len(buf) == 0 {
				break
			}
			if _, err := w.Conn.Write(buf); err != nil {
				w.unwritten(err)
				return
			}
			if cap(buf) > maxKept {
				buf = nil
			}
		}
	}
}

// lastWords is how long a connection that cannot be written to is read from.
const lastWords = 250 * time.Millisecond

// unwritten ends the connection because it cannot be written to, when the reader has read
// what is there: a server that closes a connection says why, and what it is sent then
// fails.
func (w *netConn) unwritten(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = err
	w.Conn.SetReadDeadline(time.Now().Add(lastWords))
}

// fail ends the connection, for the reason err if it is the first.
func (w *netConn) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		if w.failing != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = w.failing
		}
		w.err = err
		w.Conn.Close()
		close(w.broken)
	}
}

// Close ends the connection. What is kept is not written: whoever wants that
// written asks the server first whether it has it.
func (w *netConn) Close() error {
	w.fail(net.ErrClosed)
	return nil
}

// SetWriteDeadline has no meaning: writes do not wait.
func (w *netConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is for reading.
func (w *netConn) SetDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing != nil {
		return nil // it has one
	}
	return w.Conn.SetReadDeadline(t)
}
