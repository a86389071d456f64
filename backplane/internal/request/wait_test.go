package request_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/wire"
)

// counter is a broker that records its calls of Count.
type counter struct {
	broker.Broker
	mu    sync.Mutex
	since time.Time
	at    []time.Duration
	block bool // a count lasts until its context ends
}

func (c *counter) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	c.mu.Lock()
	c.at = append(c.at, time.Since(c.since))
	block := c.block
	c.mu.Unlock()
	if block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return c.Broker.Subscribers(ctx, channels...)
}

// counts returns the times of the calls.
func (c *counter) counts() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.at)
}

// counted is a request to one known node, whose counts are recorded from now on.
func counted(t *testing.T, op wire.Op) (*inquiry, *counter) {
	bus := memorybroker.NewBus(nil)
	me := newPeer(t, bus, broker.Native, "me")
	me.open()
	newPeer(t, bus, broker.Native, "other").open()
	c := &counter{Broker: me.b}
	tab := request.NewTable(request.Options{Name: space, Node: me.id, Codec: codec{protocol: broker.Native}, Broker: c, Members: me.members, Timeout: time.Second})
	q := &inquiry{t: t, tab: tab, req: &wire.Request{Op: op}, done: make(chan struct{})}
	q.p = tab.New(q.req, func(*wire.Response) bool { return false })
	var err error
	q.snap, err = tab.Snapshot(t.Context(), op)
	require.NoError(t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since, c.at = time.Now(), nil
	return q, c
}

func (q *inquiry) runFor(d time.Duration) {
	ctx, cancel := context.WithTimeout(q.t.Context(), d)
	defer cancel()
	defer close(q.done)
	q.r, q.err = q.p.Run(ctx, q.snap, q.exp, true)
}

// A request counts again at each quarter of the request timeout. After that the pauses
// double.
func TestPausesOfRecounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, c := counted(t, wire.OpBroadcast)
		q.runFor(20 * time.Second)
		const ms = time.Millisecond
		assert.Equal(t, []time.Duration{250 * ms, 500 * ms, 750 * ms, 1000 * ms, 1500 * ms, 2500 * ms, 4500 * ms, 8500 * ms, 16500 * ms}, c.counts())
		assert.Equal(t, []request.Missing{{Node: "other", Count: 1, State: request.TimedOut}}, q.r.Missing)
	})
}

// A count in progress ends with its request.
func TestRecountEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, c := counted(t, wire.OpMembers)
		c.mu.Lock()
		c.block = true
		c.mu.Unlock()
		go q.runFor(time.Second)
		time.Sleep(300 * time.Millisecond)
		assert.Equal(t, []time.Duration{250 * time.Millisecond}, c.counts())
		q.respond("other")
		assert.False(t, q.running(), "the request waits for a count")
		assert.Equal(t, []string{"other"}, q.r.Answered)
	})
}

// A request that has not been published counts nothing.
func TestNoRecountOfWhatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, c := counted(t, wire.OpMembers)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := q.p.Run(ctx, q.snap, q.exp, false)
		assert.NoError(t, err)
		assert.Empty(t, c.counts())
	})
}
