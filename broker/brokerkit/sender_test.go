package brokerkit

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
)

// system is a system that settles what is written at once. It is a Connector, its own Connection and a Writer.
type system struct {
	out *Outbox[struct{}]

	refuse   int           // attempts to connect that fail
	lasts    time.Duration // of the first connection; zero: until it is not needed
	fail     int           // writes that fail, the first of the batch being handed over
	keep     bool          // messages stay in flight
	attempts []time.Time
	outages  []time.Duration // the argument of Serve
	text     bytes.Buffer
}

var errDown = errors.New("the system is down")

func (s *system) Connect(context.Context) (Connection, error) {
	s.attempts = append(s.attempts, time.Now())
	if s.refuse > 0 {
		s.refuse--
		return nil, errDown
	}
	return s, nil
}

func (s *system) Serve(ctx context.Context, outage time.Duration) error {
	s.outages = append(s.outages, outage)
	var end <-chan time.Time
	if s.lasts > 0 {
		end = time.After(s.lasts)
		s.lasts = 0
	}
	err := error(nil)
	s.out.Send(s, func() bool {
		select {
		case <-s.out.Work():
			return s.fail >= 0 // a Put whose write failed wakes the sender
		case <-end:
			err = errDown
		case <-ctx.Done():
		}
		return false
	})
	s.out.Abandon(errDown)
	if err == nil && s.fail < 0 {
		s.fail, err = 0, net.ErrClosed
	}
	return err
}

func (s *system) Write(b *Batch[struct{}]) (int, error) {
	n, err := b.Len(), error(nil)
	switch {
	case s.fail > 0:
		n, err, s.fail = 1, net.ErrClosed, -1
	case s.fail < 0: // the connection is useless
		n, err = 0, net.ErrClosed
	}
	i := 0
	for _, text := range b.All() {
		if i < n {
			s.text.Write(text)
		}
		i++
	}
	if !s.keep && err == nil {
		go s.out.Settle(n, nil) // Write may call no method of the outbox
	}
	return n, err
}

// sending returns an outbox with a sender.
func sending(opts OutboxOptions, s *system) *Outbox[struct{}] {
	s.out = NewOutbox[struct{}](opts, s)
	return s.out
}

// told keeps the losses that OnLoss reports.
type told struct {
	mu   sync.Mutex
	list []broker.Loss
}

func (l *told) add(loss broker.Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, loss)
}

func (l *told) all() []broker.Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func closeOutbox(t *testing.T, o *Outbox[struct{}]) {
	t.Helper()
	require.NoError(t, o.Close(context.Background()))
	require.Equal(t, broker.ErrClosed, put(t.Context(), o, "late"))
	require.Equal(t, broker.ErrClosed, o.Flush(t.Context()))
}

func TestSenderPausesBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &system{refuse: 5}
		o := sending(OutboxOptions{BackoffMin: 100 * time.Millisecond, BackoffMax: time.Second}, s)
		began := time.Now()
		mustPut(t, o, "a", "b")
		require.NoError(t, o.Flush(t.Context()))
		require.Equal(t, wire("a", "b"), s.text.String())
		require.Len(t, s.attempts, 6)
		assert.Equal(t, began, s.attempts[0], "the first attempt")
		for i, limit := range []time.Duration{100, 200, 400, 800, 1000} {
			pause := s.attempts[i+1].Sub(s.attempts[i])
			assert.Positive(t, pause)
			assert.LessOrEqual(t, pause, limit*time.Millisecond, "pause %d", i)
		}
		closeOutbox(t, o)
	})
}

// TestSenderAfterALostConnection: the pause depends on how long the connection lasted.
func TestSenderAfterALostConnection(t *testing.T) {
	for _, c := range []struct {
		name   string
		lasts  time.Duration
		pauses bool
	}{
		{"long", time.Minute, false},
		{"just long enough", 200 * time.Millisecond, false},
		{"too short", 199 * time.Millisecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &system{lasts: c.lasts}
				o := sending(OutboxOptions{BackoffMin: 100 * time.Millisecond, Needed: func() bool { return true }}, s)
				o.Wake()
				time.Sleep(c.lasts + time.Second)
				synctest.Wait()
				require.Len(t, s.attempts, 2)
				pause := s.attempts[1].Sub(s.attempts[0]) - c.lasts
				assert.Equal(t, c.pauses, pause > 0, "pause %v", pause)
				assert.LessOrEqual(t, pause, 100*time.Millisecond)
				require.Len(t, s.outages, 2)
				assert.Zero(t, s.outages[0], "the first connection")
				assert.Equal(t, 200*time.Millisecond, s.outages[1], "the others need two pauses, if they have bad luck")
				closeOutbox(t, o)
			})
		})
	}
}

// TestSenderAfterAFailedWrite: what was not handed over waits for the next connection, also if Put itself wrote.
func TestSenderAfterAFailedWrite(t *testing.T) {
	for name, opts := range map[string]OutboxOptions{"sender": {}, "inline": {Inline: 100}, "non-blocking": {NonBlocking: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &system{}
				o := sending(opts, s)
				mustPut(t, o, "first")
				require.NoError(t, o.Flush(t.Context()))
				require.True(t, o.Idle())
				synctest.Wait()
				if name == "sender" {
					s.fail = 1
					mustPut(t, o, "maybe", "later") // in one batch: the sender has not run yet
				} else {
					s.fail = 1
					mustPut(t, o, "maybe")
					mustPut(t, o, "later")
				}
				err := o.Flush(t.Context())
				var loss *broker.LossError
				require.ErrorAs(t, err, &loss)
				assert.Equal(t, 1, loss.Messages)
				assert.True(t, loss.Uncertain)
				assert.Equal(t, wire("first", "maybe", "later"), s.text.String())
				assert.Len(t, s.attempts, 2, "connections")
				closeOutbox(t, o)
			})
		})
	}
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("the credentials are wrong")
		s := &system{refuse: 1 << 30}
		o := sending(OutboxOptions{}, s)
		losses := &told{}
		o.OnLoss(losses.add)
		mustPut(t, o, "a", "b")
		time.Sleep(time.Minute / 3)
		o.Stop(boom)
		select {
		case <-o.Closing():
		default:
			t.Error("Closing is open after Stop")
		}
		require.Equal(t, broker.ErrClosed, put(t.Context(), o, "c"))
		synctest.Wait()
		require.Len(t, losses.all(), 1, "the sender has not ended by itself")
		assert.Equal(t, 2, losses.all()[0].Messages)
		assert.False(t, losses.all()[0].Uncertain)
		assert.ErrorIs(t, losses.all()[0].Err, boom)
		assert.ErrorIs(t, losses.all()[0].Err, errDown, "the reason for the missing connection")
		tried := len(s.attempts)
		time.Sleep(time.Hour)
		assert.Len(t, s.attempts, tried, "it connects after Stop")
		assert.True(t, o.Done())
		var loss *broker.LossError
		require.ErrorAs(t, o.Close(t.Context()), &loss, "no Flush has returned it")
		assert.Equal(t, 2, loss.Messages)
	})
}

func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &system{refuse: 1 << 30}
		o := sending(OutboxOptions{}, s)
		mustPut(t, o, "a", "b")
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := o.Close(ctx)
		var loss *broker.LossError
		require.ErrorAs(t, err, &loss)
		assert.Equal(t, 2, loss.Messages)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, loss.Err, errDown)
		assert.Equal(t, 5*time.Second, time.Since(began))
		assert.Equal(t, err, o.Close(t.Context()), "a second Close")
	})
}

// TestAgeWithoutAConnection: messages get too old while there is no connection, and the reason says why there is none.
func TestAgeWithoutAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tooOld := errors.New("too old")
		o := sending(OutboxOptions{Age: 3 * time.Second, TooOld: tooOld, BackoffMin: time.Hour, BackoffMax: time.Hour}, &system{refuse: 1 << 30})
		losses := &told{}
		stop := o.OnLoss(losses.add)
		var other atomic.Int64
		o.OnLoss(func(broker.Loss) { other.Add(1) })
		mustPut(t, o, "a")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		mustPut(t, o, "b")
		require.Empty(t, losses.all())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, losses.all(), 1)
		assert.Equal(t, 1, losses.all()[0].Messages)
		assert.ErrorIs(t, losses.all()[0].Err, tooOld)
		assert.ErrorIs(t, losses.all()[0].Err, errDown)
		stop()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Len(t, losses.all(), 1, "reported after stop")
		assert.EqualValues(t, 2, other.Load())
		o.Stop(errDown)
		assert.ErrorIs(t, o.Close(t.Context()), tooOld)
	})
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(OutboxOptions{Inline: 100})
		s := &system{out: o, keep: true}
		o.attach(s)
		mustPut(t, o, "in flight")
		require.Equal(t, wire("in flight"), s.text.String())
		require.Equal(t, 1, o.InFlight(nil))
		assert.False(t, o.Awaited(), "no caller waits")
		require.False(t, o.Hold(), "a message is in flight")
		mustPut(t, o, "held")
		assert.True(t, o.Awaited(), "a message waits for the window")
		require.Equal(t, wire("in flight"), s.text.String())
		for len(o.Work()) > 0 {
			<-o.Work()
		}
		require.True(t, o.pump(s))
		require.Equal(t, wire("in flight"), s.text.String(), "written although it is held")
		require.True(t, o.Settle(1, nil))
		require.Len(t, o.Work(), 1, "the flight is empty, and no waiting call is notified")
		require.True(t, o.Hold())
		require.False(t, o.Idle())
		o.Release()
		require.True(t, o.pump(s))
		require.Equal(t, wire("in flight", "held"), s.text.String())
		o.Hold()
		o.Abandon(errDown)
		mustPut(t, o, "after")
		require.True(t, o.pump(s))
		require.Equal(t, wire("in flight", "held", "after"), s.text.String(), "Abandon has not ended Hold")

		require.False(t, o.Hold())
		for len(o.Work()) > 0 {
			<-o.Work()
		}
		require.True(t, o.Settle(1, nil))
		require.Len(t, o.Work(), 1, "Hold is complete, and the sender is not woken")
		require.True(t, o.Hold())
	})
}

func TestAwaitReturn(t *testing.T) {
	never := make(chan struct{})
	after := func(d time.Duration) <-chan struct{} {
		ch := make(chan struct{})
		time.AfterFunc(d, func() { close(ch) })
		return ch
	}
	own := func(d time.Duration) func() <-chan struct{} {
		return func() <-chan struct{} { return after(d) }
	}
	for _, c := range []struct {
		name        string
		outage      time.Duration
		interrupted func() func() <-chan struct{}
		lost        time.Duration
		ctx         time.Duration
		want        time.Duration
		none        bool
	}{
		{name: "no outage", none: true},
		{name: "no outage, own subscriptions restored", interrupted: func() func() <-chan struct{} { return func() <-chan struct{} { return nil } }, none: true},
		{name: "the others", outage: 3 * time.Second, want: 3 * time.Second},
		{name: "its own", interrupted: func() func() <-chan struct{} { return own(2 * time.Second) }, want: 2 * time.Second},
		{name: "interrupted meanwhile", outage: 3 * time.Second, interrupted: func() func() <-chan struct{} {
			first := true
			return func() <-chan struct{} {
				if first {
					first = false
					return nil
				}
				return after(time.Second)
			}
		}, want: 4 * time.Second},
		{name: "at most twice the longest pause", outage: time.Second, interrupted: func() func() <-chan struct{} {
			return func() <-chan struct{} { return never }
		}, want: 8 * time.Second},
		{name: "lost", outage: 3 * time.Second, lost: time.Second, want: time.Second},
		{name: "ended", outage: 3 * time.Second, ctx: time.Second, want: time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := testOutbox(OutboxOptions{BackoffMax: 4 * time.Second})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.ctx > 0 {
					time.AfterFunc(c.ctx, cancel)
				}
				var lost <-chan struct{}
				if c.lost > 0 {
					lost = after(c.lost)
				}
				never = make(chan struct{})
				var interrupted func() <-chan struct{}
				if c.interrupted != nil {
					interrupted = c.interrupted()
				}
				began := time.Now()
				assert.Equal(t, !c.none, o.AwaitReturn(ctx, c.outage, interrupted, lost))
				assert.Equal(t, c.want, time.Since(began))
			})
		})
	}
	t.Run("closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := testOutbox(OutboxOptions{})
			time.AfterFunc(time.Second, func() { o.Stop(errDown) })
			began := time.Now()
			assert.True(t, o.AwaitReturn(t.Context(), time.Hour, nil, nil))
			assert.Equal(t, time.Second, time.Since(began))
		})
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &system{}
		o := sending(OutboxOptions{Rate: 100, BatchBytes: 10, Age: -1}, s)
		began := time.Now()
		for range 20 {
			mustPut(t, o, "1234567890") // 20 bytes with its length
		}
		require.NoError(t, o.Flush(t.Context()))
		assert.InDelta(t, 4, time.Since(began).Seconds(), 0.35, "400 bytes at 100 a second")
		closeOutbox(t, o)
	})
}

// TestLossIsReportedWhenIdle: a loss with the last connection is reported, although no connection follows.
func TestLossIsReportedWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &system{lasts: time.Minute, keep: true}
		o := sending(OutboxOptions{}, s)
		losses := &told{}
		o.OnLoss(losses.add)
		mustPut(t, o, "a")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, losses.all(), 1)
		assert.True(t, losses.all()[0].Uncertain)
		assert.ErrorIs(t, losses.all()[0].Err, errDown)
		assert.Len(t, s.attempts, 1, "connections")
		assert.Error(t, o.Close(t.Context()))
	})
}

// TestFlushOfAnEndedContext: Flush returns the error of its context, also if no message waits.
func TestFlushOfAnEndedContext(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, context.Canceled, testOutbox(OutboxOptions{}).Flush(ended))
}
