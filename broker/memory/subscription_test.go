package memorybroker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// numbers returns n payloads that count from a number on.
func numbers(from, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(from + i)
	}
	return list
}

// stuck makes a node whose receiver blocks in the message "first".
func stuck(t *testing.T, opts *memorybroker.Options) (from, node *memorybroker.Broker, r *recorder, s broker.Subscription, release func()) {
	t.Helper()
	bus := memorybroker.NewBus(opts)
	from, node = bus.Broker(), bus.Broker()
	r, s = subscribe(t, node, broker.Exactly(lobby))
	release = r.hold()
	publish(t, from, lobby, "first")
	r.expect(t, "first")
	return from, node, r, s, release
}

func TestSlowReceiverMissesAndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r, _, release := stuck(t, &memorybroker.Options{QueueMessages: 8, SlowReceiver: time.Minute})
		defer closing(t, a, b)
		quick, _ := subscribe(t, a, broker.Exactly(lobby))

		start := time.Now()
		publish(t, a, lobby, numbers(0, 8)...)
		assert.Zero(t, time.Since(start), "Publish waited with room in the queue")
		publish(t, a, lobby, "missed 1")
		assert.Equal(t, time.Minute, time.Since(start), "Publish waited for the slow receiver")
		publish(t, a, lobby, "missed 2", "missed 3")
		assert.Equal(t, time.Minute, time.Since(start), "Publish waited again for a subscription that misses messages already")
		quick.expect(t, append(numbers(0, 8), "missed 1", "missed 2", "missed 3")...)

		release()
		r.expect(t, numbers(0, 8)...)
		r.expect(t, "interrupted, 3 messages of 24 bytes missed", "resumed")
		publish(t, a, lobby, "after")
		r.expect(t, "after")
	})
}

func TestSlowReceiverCatchesUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r, _, release := stuck(t, &memorybroker.Options{QueueMessages: 8, SlowReceiver: time.Minute})
		defer closing(t, a, b)
		time.AfterFunc(30*time.Second, release)
		publish(t, a, lobby, numbers(0, 100)...)
		r.expect(t, numbers(0, 100)...)
	})
}

func TestSlowReceiverIsNotWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		opts memorybroker.Options
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		do   func(b *memorybroker.Broker)
		want time.Duration
	}{
		"by option":         {opts: memorybroker.Options{SlowReceiver: -1}},
		"beyond a context":  {want: 20 * time.Millisecond},
		"when it is frozen": {do: memorytest.Freeze},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.opts.QueueMessages = 4
				a, b, r, _, release := stuck(t, &c.opts)
				defer closing(t, a, b)
				publish(t, a, lobby, numbers(0, 4)...)
				if c.do != nil {
					c.do(b)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				start := time.Now()
				require.NoError(t, a.Publish(ctx, lobby, []byte("missed")))
				assert.Equal(t, c.want, time.Since(start), "Publish waited")
				release()
				memorytest.Thaw(b)
				r.expect(t, numbers(0, 4)...)
				r.expect(t, "interrupted, 1 messages of 6 bytes missed", "resumed")
			})
		})
	}
}

func TestPublisherToItselfDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memorybroker.New(&memorybroker.Options{QueueMessages: 4})
		defer closing(t, b)
		done := make(chan struct{})
		var missed int
		r := &funcReceiver{
			deliver: func(_ broker.Channel, p []byte) {
				if string(p) == "go" {
					for range 10 {
						b.Publish(t.Context(), lobby, []byte("echo"))
					}
				}
			},
			interrupted: func(err error) {
				var loss *broker.LossError
				if errors.As(err, &loss) {
					missed = loss.Messages
				}
				close(done)
			},
		}
		_, err := b.Subscribe(t.Context(), r, broker.Exactly(lobby))
		require.NoError(t, err)
		publish(t, b, lobby, "go")
		<-done
		assert.Equal(t, 6, missed, "messages missed")
	})
}

type funcReceiver struct {
	deliver     func(broker.Channel, []byte)
	interrupted func(error)
}

func (r *funcReceiver) Deliver(ch broker.Channel, p []byte) { r.deliver(ch, p) }
func (r *funcReceiver) Interrupted(err error) {
	if r.interrupted != nil {
		r.interrupted(err)
	}
}
func (r *funcReceiver) Resumed() {}

func TestQueueIsBoundedInBytes(t *testing.T) {
	a, b, r, _, release := stuck(t, &memorybroker.Options{QueueBytes: 10, SlowReceiver: -1})
	defer closing(t, a, b)
	publish(t, a, lobby, "larger than the whole queue", "missed", "missed too")
	release()
	r.expect(t, "larger than the whole queue", "interrupted, 2 messages of 16 bytes missed", "resumed")
	publish(t, a, lobby, "12345", "12345")
	r.expect(t, "12345", "12345")
}

// A gap that follows an outage without a message in between keeps its count.
func TestGapsInARow(t *testing.T) {
	a, b, r, _, release := stuck(t, &memorybroker.Options{QueueMessages: 1, SlowReceiver: -1})
	defer closing(t, a, b)
	publish(t, a, lobby, "queued", "missed")
	memorytest.Cut(b, errors.New("cut"))
	publish(t, a, lobby, "not counted")
	memorytest.Heal(b)
	publish(t, a, lobby, "missed", "missed")
	memorytest.Cut(b, errors.New("cut again"))
	release()
	r.expect(t, "queued", "interrupted, 3 messages of 18 bytes missed")
	memorytest.Heal(b)
	r.expect(t, "resumed")
	publish(t, a, lobby, "after")
	r.expect(t, "after")
}

// The receiver misses messages again before the end of the first outage is reported.
func TestGapAfterAnOutage(t *testing.T) {
	bus := memorybroker.NewBus(&memorybroker.Options{QueueMessages: 1, SlowReceiver: -1})
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	r, _ := subscribe(t, b, broker.Exactly(lobby))
	release := r.hold()
	memorytest.Cut(b, errors.New("cut"))
	r.expect(t, "interrupted: cut") // the call blocks there
	memorytest.Heal(b)
	publish(t, a, lobby, "fits", "missed")
	memorytest.Cut(b, errors.New("cut again"))
	release()
	r.expect(t, "resumed", "fits", "interrupted, 1 messages of 6 bytes missed")
	memorytest.Heal(b)
	r.expect(t, "resumed")
	publish(t, a, lobby, "after")
	r.expect(t, "after")
}

func TestFlappingIsBounded(t *testing.T) {
	a, b, r, _, release := stuck(t, nil)
	defer closing(t, a, b)
	for range 1000 {
		memorytest.Cut(b, errors.New("cut"))
		memorytest.Heal(b)
	}
	publish(t, a, lobby, "after")
	release()
	r.expect(t, "interrupted: cut", "resumed", "after")
}

func TestRemovedMessagesDoNotComeBack(t *testing.T) {
	a, b, r, s, release := stuck(t, nil)
	defer closing(t, a, b)
	other := broker.Native.Room("/chat", "other")
	require.NoError(t, s.Add(t.Context(), broker.Exactly(other)))
	publish(t, a, other, "queued, then removed")
	require.NoError(t, s.Remove(t.Context(), broker.Exactly(other)))
	require.NoError(t, s.Add(t.Context(), broker.Exactly(other)))
	publish(t, a, other, "after")
	release()
	r.expect(t, "after")
}

// Changing from one filter to another that selects the same channel leaves no gap.
func TestChangingFiltersLeavesNoGap(t *testing.T) {
	a, b, r, s, release := stuck(t, nil)
	defer closing(t, a, b)
	exact, every := broker.Exactly(lobby), broker.Native.EveryRoom("/chat")
	for i := range 10 {
		old, next := exact, every
		if i%2 == 1 {
			old, next = every, exact
		}
		publish(t, a, lobby, fmt.Sprint(2*i))
		require.NoError(t, s.Add(t.Context(), next))
		publish(t, a, lobby, fmt.Sprint(2*i+1))
		require.NoError(t, s.Remove(t.Context(), old))
	}
	release()
	r.expect(t, numbers(0, 20)...)
}

func TestRemoveWaitsForTheRunningCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r, s, release := stuck(t, nil)
		defer closing(t, a, b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, s.Remove(ctx, broker.Exactly(lobby)), "Remove beside a running call")
		publish(t, a, lobby, "removed all the same")
		removed := make(chan error)
		go func() { removed <- s.Remove(t.Context(), broker.Exactly(lobby)) }()
		synctest.Wait()
		select {
		case err := <-removed:
			t.Errorf("Remove returned %v beside a running call", err)
		default:
		}
		release()
		require.NoError(t, <-removed)
		synctest.Wait()
		r.nothing(t)
	})
}

func TestCloseOfASubscription(t *testing.T) {
	ctx := t.Context()
	a, b, r, s, release := stuck(t, nil)
	defer closing(t, a, b)
	publish(t, a, lobby, "never delivered")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	assert.Equal(t, context.Canceled, s.Close(ended), "Close beside a running call")
	release()
	require.NoError(t, s.Close(ctx))
	require.NoError(t, s.Close(ctx))
	r.nothing(t)
	require.NoError(t, s.Remove(ctx, broker.Exactly(lobby)))
	assert.ErrorIs(t, s.Add(ctx, broker.Exactly(lobby)), broker.ErrClosed, "Add to a closed subscription")
	assert.Zero(t, b.Stats().Subscriptions, "filters left")
}

func TestInterruptedTimeIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memorybroker.New(nil)
		defer closing(t, b)
		r, s := subscribe(t, b, broker.Exactly(lobby))
		subscribe(t, b, broker.Exactly(lobby))
		check := func(n uint64, d time.Duration) {
			t.Helper()
			synctest.Wait()
			st := b.Stats()
			assert.Equal(t, n, st.Interruptions)
			assert.Equal(t, d, st.Interrupted)
		}
		memorytest.Cut(b, nil)
		synctest.Wait()
		time.Sleep(time.Second)
		check(2, 2*time.Second)
		memorytest.Heal(b)
		time.Sleep(time.Second)
		check(2, 2*time.Second)
		memorytest.Cut(b, nil)
		synctest.Wait()
		time.Sleep(time.Second)
		require.NoError(t, s.Close(t.Context()))
		time.Sleep(time.Second)
		check(4, 2*time.Second+time.Second+2*time.Second)
		memorytest.Heal(b)
		r.expect(t, "interrupted: memory broker: link cut", "resumed")
	})
}

func TestNilReceiver(t *testing.T) {
	b := memorybroker.New(nil)
	defer closing(t, b)
	_, err := b.Subscribe(t.Context(), nil, broker.Exactly(lobby))
	assert.Error(t, err, "a nil receiver was accepted")
}

// TestSlowReceiversCostOneWait: one Publish waits for all of them together.
func TestSlowReceiversCostOneWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r, _, release := stuck(t, &memorybroker.Options{QueueMessages: 1, SlowReceiver: time.Minute})
		defer closing(t, a, b)
		kitchen := broker.Native.Room("/chat", "kitchen")
		other, _ := subscribe(t, a, broker.Exactly(lobby), broker.Exactly(kitchen))
		releaseOther := other.hold()
		publish(t, a, kitchen, "tea")
		other.expect(t, "tea")
		publish(t, a, lobby, "fits")
		start := time.Now()
		publish(t, a, lobby, "missed")
		assert.Equal(t, time.Minute, time.Since(start), "Publish waited")
		release()
		releaseOther()
		r.expect(t, "fits", "interrupted, 1 messages of 6 bytes missed", "resumed")
		other.expect(t, "fits", "interrupted, 1 messages of 6 bytes missed", "resumed")
	})
}
