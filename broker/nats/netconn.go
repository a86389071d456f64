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

// netConn is the network connection below a *nats.Conn. Its writes never wait for the network,
// because nats.go writes with its lock held: all callers that publish or subscribe would wait. Bytes
// that the system does not accept at once are kept, and a goroutine writes them. The outbox limits
// their number (see outbox.window).
//
// nats.go's reading goroutine calls Read when it has delivered all messages of the previous read.
// Read then calls onRead.
type netConn struct {
	net.Conn
	raw    syscall.RawConn // nil if the connection has none
	onRead func()          // called before each read
	heard  atomic.Int64    // when bytes last arrived, in nanoseconds after clock
	clock  time.Time
	away   atomic.Bool // onRead is running, so the reader does not read

	mu      sync.Mutex
	kept    []byte // to be written
	busy    bool   // write is writing
	err     error
	failing error         // writing has failed; reading continues for lastWords
	more    chan struct{} // capacity 1
	broken  chan struct{} // closed with err
	writing sync.WaitGroup
}

// maxKept is the largest buffer that is reused, in bytes.
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

// idle returns for how long nothing has arrived. It is zero while the reader waits for receivers,
// as long as Options.SlowReceiver allows, because it does not read then.
func (w *netConn) idle() time.Duration {
	if w.away.Load() {
		return 0
	}
	return time.Since(w.clock) - time.Duration(w.heard.Load())
}

// Write accepts all of p, or returns the error that ended the connection.
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

// write writes the kept bytes until the connection is closed.
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
			w.busy = len(buf) > 0 // further bytes are kept behind buf
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

// lastWords is how long reading continues on a connection that cannot be written to.
const lastWords = 250 * time.Millisecond

// unwritten ends the connection because a write failed, after the reader has read the remaining
// bytes: a server that closes a connection sends the reason first, and later writes to it fail.
func (w *netConn) unwritten(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = err
	w.Conn.SetReadDeadline(time.Now().Add(lastWords))
}

// fail ends the connection. The err of the first call is the cause.
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

// Close closes the connection. Kept bytes are not written. A caller that needs them written pings
// the server first.
func (w *netConn) Close() error {
	w.fail(net.ErrClosed)
	return nil
}

// SetWriteDeadline does nothing, because writes do not wait.
func (w *netConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the deadline for reading.
func (w *netConn) SetDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing != nil {
		return nil // unwritten has set it
	}
	return w.Conn.SetReadDeadline(t)
}
