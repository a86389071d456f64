package outgoing_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/outgoing"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// conn is a network connection whose writes can be blocked. Writes fail after disconnect.
type conn struct {
	queue *outgoing.Queue[string]

	mu       sync.Mutex
	held     chan struct{} // closed when writes go on
	broken   chan struct{}
	batches  [][]string
	ended    []error // arguments of disconnect
	deaf     bool    // a write does not return when the connection is closed
	fail     error   // result of the next write
	perform  func()  // called by the next write
	overlaps int
	writing  bool
}

var errBroken = errors.New("connection closed")

func newConn(opts *outgoing.Options) *conn {
	c := &conn{broken: make(chan struct{}, 1)}
	c.queue = outgoing.New(c.write, c.disconnect, opts)
	return c
}

func (c *conn) write(batch []string) error {
	c.mu.Lock()
	if c.writing {
		c.overlaps++
	}
	c.writing = true
	held, fail, perform := c.held, c.fail, c.perform
	c.perform = nil
	c.mu.Unlock()
	if perform != nil {
		perform()
	}
	if held != nil {
		if c.deaf {
			<-held
		} else {
			select {
			case <-held:
			case <-c.broken:
				fail = errBroken
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if fail == nil {
		c.batches = append(c.batches, append([]string(nil), batch...))
	}
	return fail
}

func (c *conn) disconnect(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, err)
	c.broken <- struct{}{} // blocks on a second call
}

// hold blocks all writes until the returned function is called.
func (c *conn) hold() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := make(chan struct{})
	c.held = held
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.held = nil
		close(held)
	}
}

// got returns what was written.
func (c *conn) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, b := range c.batches {
		all = append(all, b...)
	}
	return strings.Join(all, " ")
}

// reason returns the argument of disconnect, or nil if disconnect was not called.
func (c *conn) reason(t *testing.T) *outgoing.Error {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ended) == 0 {
		return nil
	}
	var e *outgoing.Error
	require.LessOrEqual(t, len(c.ended), 1, "disconnected with %v", c.ended)
	require.ErrorAs(t, c.ended[0], &e, "disconnected with %v", c.ended)
	return e
}
