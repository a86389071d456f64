package brokerkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
)

const (
	windowBytes = 256 << 10
	batchBytes  = 32 << 10
)

// testOutbox is an outbox without a sender.
func testOutbox(opts OutboxOptions) *Outbox[struct{}] {
	o := NewOutbox[struct{}](opts, nil)
	o.started.Store(true)
	return o
}

// put adds a message that begins with its length.
func put(ctx context.Context, o *Outbox[struct{}], payload string) error {
	text := wire(payload)
	return o.Put(ctx, Size{Payload: len(payload), Wire: len(text)}, struct{}{}, func(buf []byte) []byte { return append(buf, text...) })
}

func wire(payloads ...string) string {
	var b strings.Builder
	for _, p := range payloads {
		fmt.Fprintf(&b, "%010d%s", len(p), p)
	}
	return b.String()
}

func mustPut(t testing.TB, o *Outbox[struct{}], payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		require.NoError(t, put(t.Context(), o, p))
	}
}

// take takes a batch, and returns its bytes.
func take(o *Outbox[struct{}]) (*Batch[struct{}], string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.take()
	if b == nil {
		return nil, ""
	}
	return b, string(b.Bytes())
}

// wrote ends the write of a batch of which n bytes were written.
func wrote(o *Outbox[struct{}], b *Batch[struct{}], n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wrote(b, b.Whole(n), err)
}

// takeOut takes what can be sent, and pretends that n bytes of it were written.
func takeOut(o *Outbox[struct{}], n int) string {
	b, text := take(o)
	if b == nil {
		return ""
	}
	var err error
	if n < len(text) {
		err = net.ErrClosed
	}
	wrote(o, b, n, err)
	return text
}

const all = 1 << 30

func TestOutboxBatches(t *testing.T) {
	o := testOutbox(OutboxOptions{})
	long := strings.Repeat("x", batchBytes)
	mustPut(t, o, "one", "", "\r\n", long, "last")
	for _, want := range []string{wire("one", "", "\r\n"), wire(long), wire("last")} {
		require.Equal(t, want, takeOut(o, all))
	}
	require.True(t, o.Settle(5, nil), "the responses do not match the flight")
	require.False(t, o.Settle(1, nil), "the responses do not match the flight")
	var s broker.Stats
	o.Fill(&s)
	require.Equal(t, broker.Stats{Accepted: 5, Sent: 5}, s)
}

func TestOutboxWritesInPart(t *testing.T) {
	one := len(wire("a"))
	for n := range 3*one + 1 {
		o := testOutbox(OutboxOptions{})
		mustPut(t, o, "a", "b", "c")
		require.Equal(t, wire("a", "b", "c"), takeOut(o, min(n, 3*one)))
		mustPut(t, o, "d")
		o.Abandon(errEnd)
		var s broker.Stats
		o.Fill(&s)
		// The system can act only on whole messages.
		require.Equal(t, n/one, int(s.Uncertain), "%d bytes written", n)
		require.Equal(t, 4-n/one, s.QueuedMessages, "%d bytes written", n)
		require.Equal(t, 4-n/one, s.QueuedBytes, "%d bytes written", n)
		var rest string
		for got := takeOut(o, all); got != ""; got = takeOut(o, all) {
			rest += got
		}
		require.Equal(t, wire("a", "b", "c", "d")[n/one*one:], rest, "%d bytes written, then", n)
	}
}

// The system may acknowledge a message before its write has failed.
func TestOutboxWritesInPartAndHasAnswers(t *testing.T) {
	one := len(wire("a"))
	for answers := range 3 {
		for n := answers * one; n < 3*one; n++ {
			o := testOutbox(OutboxOptions{})
			mustPut(t, o, "a", "b", "c")
			b, _ := take(o)
			require.True(t, o.Settle(answers, nil), "no response was due")
			wrote(o, b, n, errEnd)
			o.Abandon(errEnd)
			var s broker.Stats
			o.Fill(&s)
			assert.Equal(t, answers, int(s.Sent), "%d bytes written, %d responses", n, answers)
			assert.Equal(t, n/one-answers, int(s.Uncertain), "%d bytes written, %d responses", n, answers)
			assert.Equal(t, 3-n/one, s.QueuedMessages, "%d bytes written, %d responses", n, answers)
			rest, want := takeOut(o, all), wire("a", "b", "c")[n/one*one:]
			assert.Equal(t, want, rest, "%d bytes written, %d responses, then", n, answers)
		}
	}
}

var errEnd = errors.New("end")

func TestOutboxWindow(t *testing.T) {
	o := testOutbox(OutboxOptions{})
	payload := strings.Repeat("x", 1000)
	for range 1000 {
		mustPut(t, o, payload)
	}
	flying := 0
	for got := takeOut(o, all); got != ""; got = takeOut(o, all) {
		flying += len(got)
	}
	require.LessOrEqual(t, flying, windowBytes)
	require.GreaterOrEqual(t, flying, windowBytes-batchBytes)
	require.True(t, o.Settle(batchBytes/1000, nil), "no room in the window after responses")
	require.NotEmpty(t, takeOut(o, all), "no room in the window after responses")
	// One message of any size is always allowed.
	o = testOutbox(OutboxOptions{})
	mustPut(t, o, strings.Repeat("x", 2*windowBytes))
	require.NotEmpty(t, takeOut(o, all), "a message larger than the window is never sent")
}

func TestOutboxWaitsWhileFull(t *testing.T) {
	for name, opts := range map[string]OutboxOptions{
		"messages": {Messages: 4},
		"bytes":    {Bytes: 4*len(wire("1")) + 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := testOutbox(opts)
				mustPut(t, o, "1", "2", "3", "4")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				err := put(ctx, o, "5")
				require.Equal(t, context.DeadlineExceeded, err, "put into a full outbox")
				require.Equal(t, time.Minute, time.Since(start), "put into a full outbox")
				done := make(chan error, 1)
				go func() { done <- put(t.Context(), o, "5") }()
				synctest.Wait()
				select {
				case err := <-done:
					t.Fatalf("did not wait: %v", err)
				default:
				}
				takeOut(o, all)
				o.Settle(4, nil)
				require.NoError(t, <-done)
				mustPut(t, o, "6", "7", "8") // these fill it again
				go func() { done <- put(t.Context(), o, "9") }()
				synctest.Wait()
				o.Stop(nil)
				require.Equal(t, broker.ErrClosed, <-done, "put beside close")
				require.Equal(t, broker.ErrClosed, put(t.Context(), o, ""), "put after close")
			})
		})
	}
}

func TestOutboxTooLargeForItsLimit(t *testing.T) {
	o := testOutbox(OutboxOptions{Bytes: 10})
	mustPut(t, o, "larger than the limit, but alone")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, context.Canceled, put(ctx, o, "x"), "a second one")
}

func TestOutboxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(OutboxOptions{Age: 10 * time.Second})
		for i := range 4 {
			mustPut(t, o, fmt.Sprint(i))
			time.Sleep(3 * time.Second)
		}
		require.Equal(t, time.Second, o.expire(false, o.opts.TooOld), "the next one is too old")
		time.Sleep(time.Second)
		require.Equal(t, 3*time.Second, o.expire(false, o.opts.TooOld), "the next one is too old")
		require.Equal(t, wire("2", "3"), takeOut(o, all), "left")
		news := o.books.takeReports()
		require.Len(t, news, 1)
		require.Equal(t, broker.Loss{Messages: 2, Bytes: 2, Err: o.opts.TooOld}, news[0])
	})
}

func TestOutboxNeverTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(OutboxOptions{Age: -1})
		mustPut(t, o, "x")
		time.Sleep(1000 * time.Hour)
		left := o.expire(false, o.opts.TooOld)
		require.Zero(t, left)
		require.Empty(t, o.books.takeReports())
	})
}

// TestOutboxForwards: a message that another outbox has accepted is settled, and counts as neither accepted nor sent.
func TestOutboxForwards(t *testing.T) {
	o := testOutbox(OutboxOptions{})
	mustPut(t, o, "one", "two", "three")
	_, waiting := o.Next()
	assert.False(t, waiting, "nothing is in flight")
	b, _ := take(o)
	wrote(o, b, 1<<20, nil)
	_, flies := o.Next()
	assert.True(t, flies)
	require.True(t, o.Settle(1, nil))
	require.True(t, o.Settle(1, func(struct{}) error { return ErrForwarded }))
	accepted, settled := o.Progress()
	assert.EqualValues(t, 3, accepted)
	assert.EqualValues(t, 2, settled)
	require.True(t, o.Settle(1, nil))
	require.NoError(t, o.Flush(t.Context()))
	var s broker.Stats
	o.Fill(&s)
	assert.Equal(t, broker.Stats{Accepted: 2, Sent: 2}, s)
}

// TestOutboxFlushReportsEachLossOnce also checks that a Flush reports exactly the losses of its messages.
func TestOutboxFlushReportsEachLossOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(OutboxOptions{})
		boom := errors.New("boom")
		flush := func() chan error {
			ch := make(chan error, 1)
			go func() { ch <- o.Flush(context.Background()) }()
			synctest.Wait()
			return ch
		}
		mustPut(t, o, "1", "2", "3")
		gaveUp, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, context.Canceled, o.Flush(gaveUp))
		first := flush()
		mustPut(t, o, "4", "5")
		second := flush()
		takeOut(o, all)
		o.Settle(1, nil)
		o.Settle(1, func(struct{}) error { return boom }) // 2
		require.Empty(t, first, "the flush did not wait for all")
		o.Abandon(errEnd) // 3, 4, 5
		var loss *broker.LossError
		require.ErrorAs(t, <-first, &loss)
		require.Equal(t, 2, loss.Messages)
		require.True(t, loss.Uncertain, "first: %v", loss)
		require.Equal(t, errEnd, loss.Err)
		err := <-second
		require.ErrorAs(t, err, &loss)
		require.GreaterOrEqual(t, loss.Messages, 2)
		require.NoError(t, <-flush(), "third")
		news := o.books.takeReports()
		require.Len(t, news, 2)
		require.Equal(t, boom, news[0].Err)
		require.Equal(t, 1, news[0].Messages)
		require.Equal(t, 3, news[1].Messages)
		require.True(t, news[1].Uncertain, "reported %+v", news)
	})
}

// refusing is a writer that marks messages as ones that the system will refuse, and settles some during the write.
type refusing struct {
	out     *Outbox[struct{}]
	refused map[int]error
	settle  int // settled before Write returns
	n       int
	err     error
}

func (w *refusing) Write(b *Batch[struct{}]) (int, error) {
	for i, err := range w.refused {
		b.Refuse(i, err)
	}
	if w.settle > 0 && !w.out.Settle(w.settle, nil) {
		panic("nothing to settle")
	}
	return w.n, w.err
}

// A refused message is lost for its own reason, whichever of its batch were settled during the write.
func TestRefusedMessages(t *testing.T) {
	errRefused := errors.New("too large")
	for settle := range 2 {
		o := testOutbox(OutboxOptions{})
		mustPut(t, o, "a", "b", "c")
		w := &refusing{out: o, refused: map[int]error{1: errRefused}, settle: settle, n: 3}
		require.True(t, o.pump(w))
		flushed := make(chan error, 1)
		require.Equal(t, 3-settle, o.InFlight(nil))
		go func() { flushed <- o.Flush(context.Background()) }()
		for !o.Awaited() {
			runtime.Gosched()
		}
		require.True(t, o.Settle(3-settle, nil))
		var loss *broker.LossError
		require.ErrorAs(t, <-flushed, &loss)
		require.ErrorIs(t, loss, errRefused)
		require.Equal(t, 1, loss.Messages)
		require.False(t, loss.Uncertain)
		var s broker.Stats
		o.Fill(&s)
		require.EqualValues(t, 2, s.Sent)
	}
	// What is written again is not refused for the earlier reason.
	o := testOutbox(OutboxOptions{})
	mustPut(t, o, "a", "b")
	require.False(t, o.pump(&refusing{out: o, refused: map[int]error{1: errRefused}, n: 1, err: errEnd}))
	o.Abandon(errEnd)
	require.True(t, o.pump(&refusing{out: o, n: 1}))
	require.True(t, o.Settle(1, nil))
	var s broker.Stats
	o.Fill(&s)
	require.EqualValues(t, 1, s.Sent)
	require.EqualValues(t, 1, s.Uncertain)
}

// A message that Put itself could not write begins to wait then.
func TestAgeAfterAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(OutboxOptions{Inline: 100, Age: time.Minute})
		o.attach(&refusing{err: errEnd})
		time.Sleep(time.Hour)
		mustPut(t, o, "a")
		require.Equal(t, time.Minute, o.expire(false, errEnd))
		time.Sleep(time.Minute)
		require.Zero(t, o.expire(false, errEnd))
		var s broker.Stats
		o.Fill(&s)
		require.EqualValues(t, 1, s.Lost)
	})
}

func TestWindowOfBatches(t *testing.T) {
	o := testOutbox(OutboxOptions{WindowBatches: 2, BatchBytes: 1})
	mustPut(t, o, "a", "b", "c", "d", "e")
	for _, want := range []string{"a", "b"} {
		require.Equal(t, wire(want), takeOut(o, all))
	}
	require.Empty(t, takeOut(o, all), "two batches are in flight")
	require.True(t, o.Settle(1, nil))
	require.Equal(t, wire("c"), takeOut(o, all))
	require.Empty(t, takeOut(o, all))
	o.Abandon(errEnd)
	for _, want := range []string{"d", "e"} {
		require.Equal(t, wire(want), takeOut(o, all))
	}
}
