package hub_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/outgoing"
)

// tab is a Socket of a browser tab: it reads nothing while it sleeps. Its browser may answer pings for it.
type tab struct {
	fake
	asleep, answers bool
}

func (s *tab) Write(m hub.Message) error {
	if s.asleep {
		<-s.closed
		return errors.New("closed")
	}
	return s.fake.Write(m)
}

func (s *tab) Ping(ctx context.Context) error {
	if s.asleep && !s.answers {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// TestSleepingTab: a tab that sleeps for an hour is broken off within the stated time, counted, and keeps no message
// in memory. When it wakes up, it connects again.
func TestSleepingTab(t *testing.T) {
	for name, c := range map[string]struct {
		answers bool          // pings
		every   time.Duration // messages to all
		code    int
		cause   error
		within  time.Duration
	}{
		"frozen, and nothing is sent":       {false, 0, 1006, hub.ErrUnresponsive, 45 * time.Second},
		"frozen, and much is sent":          {false, time.Millisecond, 1008, outgoing.ErrFull, 2 * time.Second},
		"its browser answers pings":         {true, time.Second, 1008, outgoing.ErrTimeout, 32 * time.Second},
		"its browser answers, much is sent": {true, time.Millisecond, 1008, outgoing.ErrFull, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := memorybroker.NewBus(nil).Broker()
				node, err := backplane.New(b, nil)
				require.NoError(t, err)
				began := time.Now()
				var ended time.Duration
				var reason *hub.CloseError
				h, err := hub.New(t.Context(), node, "hub", &hub.Options{
					OnDisconnect: func(_ *hub.Conn, why *hub.CloseError) { ended, reason = time.Since(began), why },
				})
				require.NoError(t, err)
				open := func(asleep bool) *tab {
					s := &tab{fake{make(chan hub.Message), make(chan hub.Message, 1), make(chan struct{}), 0}, asleep, c.answers}
					h.WebSocket(func(http.ResponseWriter, *http.Request, int) (hub.Socket, error) { return s, nil }).ServeHTTP(nil, &http.Request{})
					synctest.Wait()
					return s
				}
				open(true)
				if c.every > 0 {
					for time.Since(began) < time.Minute && ended == 0 {
						require.NoError(t, h.Send(t.Context(), hub.Everyone(), hub.Text("x")))
						time.Sleep(c.every)
						synctest.Wait()
					}
				}
				time.Sleep(time.Until(began.Add(time.Hour)))
				synctest.Wait()
				require.NotNil(t, reason, "the connection is still there")
				assert.LessOrEqual(t, ended, c.within)
				assert.Equal(t, c.code, reason.Code)
				assert.ErrorIs(t, reason, c.cause)
				assert.Equal(t, map[int]uint64{c.code: 1}, h.Stats().Closed)
				assert.Zero(t, h.Stats().Sockets+h.Namespace().Len())

				awake := open(false)
				require.NoError(t, h.Send(t.Context(), hub.Everyone(), hub.Text("good morning")))
				assert.Equal(t, hub.Text("good morning"), <-awake.out)
				assert.NoError(t, errors.Join(h.Close(t.Context()), node.Close(t.Context()), b.Close(t.Context())))
			})
		})
	}
}

// queued is a Socket whose answers to pings are behind messages that the hub has not read yet.
type queued struct {
	fake
	idle func() bool
}

func (s *queued) Ping(ctx context.Context) error {
	for !s.idle() {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// TestSlowHandler: a client is not broken off because OnMessage takes longer than PingTimeout, alone or with others
// behind it. It is when it does not answer after that.
func TestSlowHandler(t *testing.T) {
	for name, takes := range map[string][]time.Duration{
		"one": {2 * time.Minute}, "several": {9 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := memorybroker.NewBus(nil).Broker()
				node, err := backplane.New(b, nil)
				require.NoError(t, err)
				var left atomic.Int64
				left.Store(int64(len(takes)))
				var reason atomic.Pointer[hub.CloseError]
				h, err := hub.New(t.Context(), node, "hub", &hub.Options{
					OnMessage:    func(context.Context, *hub.Conn, hub.Message) error { time.Sleep(takes[left.Add(-1)]); return nil },
					OnDisconnect: func(_ *hub.Conn, why *hub.CloseError) { reason.Store(why) },
				})
				require.NoError(t, err)
				var dead atomic.Bool
				s := &queued{fake{make(chan hub.Message, len(takes)), make(chan hub.Message, 1), make(chan struct{}), 0}, nil}
				s.idle = func() bool { return !dead.Load() && left.Load() == 0 }
				h.WebSocket(func(http.ResponseWriter, *http.Request, int) (hub.Socket, error) { return s, nil }).ServeHTTP(nil, &http.Request{})
				for range takes {
					s.in <- hub.Text("work")
				}
				time.Sleep(5 * time.Minute)
				require.Nil(t, reason.Load())
				require.Zero(t, left.Load())
				dead.Store(true)
				time.Sleep(time.Minute)
				synctest.Wait()
				require.NotNil(t, reason.Load(), "a client that does not answer")
				assert.ErrorIs(t, reason.Load(), hub.ErrUnresponsive)
				assert.NoError(t, errors.Join(h.Close(t.Context()), node.Close(t.Context()), b.Close(t.Context())))
			})
		})
	}
}

// response is that of an event stream whose client reads nothing.
type response struct {
	http.ResponseWriter
	opened   bool
	mu       sync.Mutex
	deadline *time.Timer
	once     sync.Once
	expired  chan struct{}
}

func (r *response) SetReadDeadline(time.Time) error { return nil }

func (r *response) SetWriteDeadline(at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deadline != nil {
		r.deadline.Stop()
	}
	if !at.IsZero() {
		r.deadline = time.AfterFunc(time.Until(at), func() { r.once.Do(func() { close(r.expired) }) })
	}
	return nil
}

func (r *response) FlushError() error {
	if !r.opened {
		r.opened = true
		return nil
	}
	<-r.expired
	return os.ErrDeadlineExceeded
}

// TestSleepingStream: the event stream of a tab that sleeps is broken off by the first comment that it does not read.
func TestSleepingStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memorybroker.NewBus(nil).Broker()
		node, err := backplane.New(b, nil)
		require.NoError(t, err)
		h, err := hub.New(t.Context(), node, "hub", nil)
		require.NoError(t, err)
		began := time.Now()
		h.SSE().ServeHTTP(&response{ResponseWriter: httptest.NewRecorder(), expired: make(chan struct{})}, httptest.NewRequest(http.MethodGet, "/", nil))
		assert.LessOrEqual(t, time.Since(began), 55*time.Second, "PingInterval and Queue.WriteTimeout")
		assert.Zero(t, h.Stats().Streams+h.Namespace().Len())
		assert.Equal(t, map[int]uint64{1008: 1}, h.Stats().Closed)
		assert.NoError(t, errors.Join(h.Close(t.Context()), node.Close(t.Context()), b.Close(t.Context())))
	})
}
