package brokerkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
)

// heard is a receiver that keeps its calls, and waits in Deliver while it is stuck.
type heard struct {
	mu    sync.Mutex
	calls []string
	stuck chan struct{}
}

func (h *heard) add(call string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, call)
}

func (h *heard) Deliver(ch broker.Channel, payload []byte) {
	h.add(string(payload))
	if h.stuck != nil {
		<-h.stuck
	}
}
func (h *heard) Interrupted(err error) { h.add("interrupted: " + err.Error()) }
func (h *heard) Resumed()              { h.add("resumed") }

// take returns the calls since the last take.
func (h *heard) take() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	calls := h.calls
	h.calls = nil
	return calls
}

var (
	red      = broker.Native.Room("/", "red")
	blue     = broker.Native.Room("/", "blue")
	requests = broker.Native.Requests("/")
)

func subscribe(t *testing.T, s *Subscriptions, filters ...broker.Filter) (*heard, broker.Subscription) {
	t.Helper()
	h := &heard{}
	sub, err := s.Subscribe(t.Context(), h, filters...)
	require.NoError(t, err)
	return h, sub
}

func subscriptionsOf(s *Subscriptions) int {
	var st broker.Stats
	s.Fill(&st)
	return st.Subscriptions
}

func TestSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSubscriptions(SubscriptionsOptions{})
		both, sub := subscribe(t, s, broker.Exactly(red), broker.Native.EveryRoom("/"), broker.Exactly(red))
		exact, exactSub := subscribe(t, s, broker.Exactly(red), broker.Exactly(requests))
		every, _ := subscribe(t, s, broker.Native.EveryRoom("/"))
		uncounted, _ := subscribe(t, s, broker.Native.Uncounted("/"))
		other, _ := subscribe(t, s, broker.Native.EveryRoom("/other"), broker.SocketIO.EveryRoom("/"))
		assert.Equal(t, 8, subscriptionsOf(s))

		deliver := func(ch broker.Channel, text string) { s.Deliver(ch, []byte(text)) }
		deliver(red, "red")
		deliver(blue, "blue")
		deliver(broker.Native.Broadcast("/"), "broadcast")
		deliver(requests, "request")
		deliver(broker.Native.Responses("/"), "response")
		assert.Equal(t, []string{"red", "blue", "broadcast"}, both.take())
		assert.Equal(t, []string{"red", "request"}, exact.take())
		assert.Equal(t, []string{"red", "blue", "broadcast"}, every.take())
		assert.Equal(t, []string{"request"}, uncounted.take())
		assert.Empty(t, other.take())

		require.NoError(t, sub.Remove(t.Context(), broker.Native.EveryRoom("/"), broker.Exactly(blue)))
		require.NoError(t, exactSub.Remove(t.Context(), broker.Exactly(red)))
		require.NoError(t, exactSub.Add(t.Context(), broker.Exactly(blue)))
		deliver(red, "red")
		deliver(blue, "blue")
		assert.Equal(t, []string{"red"}, both.take())
		assert.Equal(t, []string{"blue"}, exact.take())
		assert.Equal(t, []string{"red", "blue"}, every.take())

		require.NoError(t, sub.Close(t.Context()))
		require.NoError(t, sub.Close(t.Context()), "again")
		assert.Equal(t, broker.ErrClosed, sub.Add(t.Context(), broker.Exactly(red)))
		assert.NoError(t, sub.Remove(t.Context(), broker.Exactly(red)))
		assert.Equal(t, 6, subscriptionsOf(s))
		synctest.Wait()
		assert.Len(t, s.subs, 4, "a closed one is kept")
		deliver(red, "red")
		assert.Empty(t, both.take())
		assert.Equal(t, []string{"red"}, every.take())

		require.NoError(t, s.Close(t.Context()))
		require.NoError(t, s.Close(t.Context()), "again")
		assert.Zero(t, subscriptionsOf(s))
		assert.Empty(t, s.holders)
		deliver(red, "red")
		assert.Empty(t, every.take())
		_, err := s.Subscribe(t.Context(), &heard{}, broker.Exactly(red))
		assert.Equal(t, broker.ErrClosed, err)
	})
}

func TestSubscribeRefuses(t *testing.T) {
	s := NewSubscriptions(SubscriptionsOptions{})
	_, err := s.Subscribe(t.Context(), nil)
	assert.ErrorContains(t, err, "receiver is nil")
	var name *broker.NameError
	_, err = s.Subscribe(t.Context(), &heard{}, broker.Exactly(red), broker.Native.EveryRoom("no slash\xff"))
	assert.ErrorAs(t, err, &name)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Subscribe(ended, &heard{}, broker.Exactly(red))
	assert.Equal(t, context.Canceled, err)
	assert.Zero(t, subscriptionsOf(s))
	assert.Empty(t, s.holders)
	h, sub := subscribe(t, s, broker.Exactly(red))
	assert.Equal(t, context.Canceled, sub.Remove(ended, broker.Exactly(red)))
	assert.Equal(t, 1, subscriptionsOf(s), "the filter was removed all the same")
	require.NoError(t, s.Close(t.Context()))
	assert.Empty(t, h.calls)
}

func TestInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSubscriptions(SubscriptionsOptions{})
		h, _ := subscribe(t, s, broker.Exactly(red))
		empty, _ := subscribe(t, s)
		s.Resume() // nothing to resume
		s.Interrupt(errors.New("cut"))
		s.Interrupt(errors.New("cut again"))
		assert.Equal(t, []string{"interrupted: cut"}, h.take())

		later := &heard{}
		done := make(chan error, 1)
		go func() {
			_, err := s.Subscribe(t.Context(), later, broker.Exactly(red))
			done <- err
		}()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Subscribe(short, &heard{}, broker.Exactly(red))
		assert.Equal(t, context.DeadlineExceeded, err)
		synctest.Wait()
		require.Empty(t, done, "Subscribe during an interruption")

		s.Resume()
		s.Resume()
		require.NoError(t, <-done)
		s.Deliver(red, []byte("red"))
		assert.Equal(t, []string{"resumed", "red"}, h.take())
		assert.Equal(t, []string{"red"}, later.take())
		assert.Empty(t, empty.take(), "a subscription without filters misses nothing")

		s.Interrupt(errors.New("cut"))
		go func() {
			_, err := s.Subscribe(t.Context(), &heard{}, broker.Exactly(red))
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, s.Close(t.Context()))
		assert.Equal(t, broker.ErrClosed, <-done)
		h.take()
		s.Interrupt(errors.New("after Close"))
		assert.Empty(t, h.take())
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSubscriptions(SubscriptionsOptions{})
		h, _ := subscribe(t, s, broker.Exactly(red))
		s.Pause(true)
		later, _ := subscribe(t, s, broker.Exactly(red))
		s.Deliver(red, []byte("1"))
		assert.Empty(t, h.take())
		assert.Empty(t, later.take())
		s.Pause(false)
		assert.Equal(t, []string{"1"}, h.take())
		assert.Equal(t, []string{"1"}, later.take())
		require.NoError(t, s.Close(t.Context()))
	})
}

// TestSlowReceiver: Deliver waits as long as Patience says, and the receiver is told what it missed.
func TestSlowReceiver(t *testing.T) {
	for _, c := range []struct {
		patience, want time.Duration
	}{{0, time.Second}, {3 * time.Second, 3 * time.Second}, {-1, time.Hour}} {
		t.Run(fmt.Sprint(c.patience), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewSubscriptions(SubscriptionsOptions{Bytes: 2 * 200, Patience: c.patience})
				h := &heard{stuck: make(chan struct{})}
				_, err := s.Subscribe(t.Context(), h, broker.Exactly(red))
				require.NoError(t, err)
				time.AfterFunc(time.Hour, func() { close(h.stuck) })
				began := time.Now()
				n := 0
				for ; time.Since(began) == 0; n++ {
					s.Deliver(red, fmt.Append(nil, n))
				}
				assert.Equal(t, c.want, time.Since(began))
				<-h.stuck
				calls := h.take()
				if c.patience < 0 {
					assert.Len(t, calls, n)
				} else {
					assert.Contains(t, calls[len(calls)-2], "too slow")
					assert.Equal(t, "resumed", calls[len(calls)-1])
				}
				require.NoError(t, s.Close(t.Context()))
			})
		})
	}
}

// TestCloseOfSubscriptions: Close waits for a running call, but not longer than its context.
func TestCloseOfSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSubscriptions(SubscriptionsOptions{})
		h := &heard{stuck: make(chan struct{})}
		sub, err := s.Subscribe(t.Context(), h, broker.Exactly(red))
		require.NoError(t, err)
		s.Deliver(red, []byte("1"))
		s.Deliver(red, []byte("2"))
		assert.Equal(t, []string{"1"}, h.take())
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, sub.Remove(short, broker.Exactly(red)))
		assert.Zero(t, subscriptionsOf(s))
		short, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, s.Close(short))
		close(h.stuck)
		require.NoError(t, sub.Close(t.Context()))
		assert.Empty(t, h.take())
	})
}

// TestFiltersChangeDuringDeliver: while Deliver waits for room, another filter is removed, or the one that selected
// the message.
func TestFiltersChangeDuringDeliver(t *testing.T) {
	for name, c := range map[string]struct {
		removed broker.Channel
		want    []string
	}{
		"another": {blue, []string{"1", "2"}},
		"its own": {red, []string{"1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewSubscriptions(SubscriptionsOptions{Bytes: 1, Patience: -1})
				h := &heard{stuck: make(chan struct{})}
				sub, err := s.Subscribe(t.Context(), h, broker.Exactly(red), broker.Exactly(blue), broker.Exactly(requests))
				require.NoError(t, err)
				s.Deliver(requests, []byte("0"))
				assert.Equal(t, []string{"0"}, h.take())
				s.Deliver(requests, []byte("1")) // fills the queue, and is selected by a filter that stays
				done := make(chan struct{})
				go func() {
					defer close(done)
					s.Deliver(red, []byte("2"))
				}()
				synctest.Wait()
				require.NoError(t, sub.Remove(t.Context(), broker.Exactly(c.removed)))
				synctest.Wait()
				close(h.stuck)
				<-done
				assert.Equal(t, c.want, h.take())
				require.NoError(t, s.Close(t.Context()))
			})
		})
	}
}

// TestQueueByDefault: without a limit a receiver's queue holds 16 MiB.
func TestQueueByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSubscriptions(SubscriptionsOptions{Patience: -1})
		h := &heard{stuck: make(chan struct{})}
		_, err := s.Subscribe(t.Context(), h, broker.Exactly(red))
		require.NoError(t, err)
		s.Deliver(red, nil)
		h.take()
		large := make([]byte, 1<<20)
		for range 15 {
			s.Deliver(red, large)
		}
		full := make(chan struct{})
		go func() {
			defer close(full)
			s.Deliver(red, large) // with what each message costs more than 16 MiB
		}()
		synctest.Wait()
		select {
		case <-full:
			t.Error("Deliver did not wait")
		default:
		}
		close(h.stuck)
		<-full
		require.NoError(t, s.Close(t.Context()))
	})
}
