package brokerkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// put puts a message that begins with its length.
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
		if err := put(t.Context(), o, p); err != nil {
			t.Fatal(err)
		}
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

// takeOut takes what can be sent and pretends that n bytes of it were written.
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
		if got := takeOut(o, all); got != want {
			t.Fatalf("took %.80q, want %.80q", got, want)
		}
	}
	if !o.Settle(5, nil) || o.Settle(1, nil) {
		t.Fatal("answers do not match the flight")
	}
	var s broker.Stats
	o.Fill(&s)
	if s != (broker.Stats{Accepted: 5, Sent: 5}) {
		t.Fatalf("Stats %+v", s)
	}
}

func TestOutboxWritesInPart(t *testing.T) {
	one := len(wire("a"))
	for n := range 3*one + 1 {
		o := testOutbox(OutboxOptions{})
		mustPut(t, o, "a", "b", "c")
		if got := takeOut(o, min(n, 3*one)); got != wire("a", "b", "c") {
			t.Fatalf("took %q", got)
		}
		mustPut(t, o, "d")
		o.Abandon(errEnd)
		var s broker.Stats
		o.Fill(&s)
		// Only what was written whole can have been acted upon.
		if int(s.Uncertain) != n/one || s.QueuedMessages != 4-n/one || s.QueuedBytes != 4-n/one {
			t.Fatalf("%d bytes written: %+v", n, s)
		}
		var rest string
		for got := takeOut(o, all); got != ""; got = takeOut(o, all) {
			rest += got
		}
		if want := wire("a", "b", "c", "d")[n/one*one:]; rest != want {
			t.Fatalf("%d bytes written, then %q, want %q", n, rest, want)
		}
	}
}

// A message may be answered before the write that it belongs to has failed.
func TestOutboxWritesInPartAndHasAnswers(t *testing.T) {
	one := len(wire("a"))
	for answers := range 3 {
		for n := answers * one; n < 3*one; n++ {
			o := testOutbox(OutboxOptions{})
			mustPut(t, o, "a", "b", "c")
			b, _ := take(o)
			if !o.Settle(answers, nil) {
				t.Fatal("no answer was due")
			}
			wrote(o, b, n, errEnd)
			o.Abandon(errEnd)
			var s broker.Stats
			o.Fill(&s)
			if int(s.Sent) != answers || int(s.Uncertain) != n/one-answers || s.QueuedMessages != 3-n/one {
				t.Errorf("%d bytes written, %d answers: %+v", n, answers, s)
			}
			if rest, want := takeOut(o, all), wire("a", "b", "c")[n/one*one:]; rest != want {
				t.Errorf("%d bytes written, %d answers, then %q, want %q", n, answers, rest, want)
			}
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
	if flying > windowBytes || flying < windowBytes-batchBytes {
		t.Fatalf("%d bytes on the wire, the window is %d", flying, windowBytes)
	}
	if !o.Settle(batchBytes/1000, nil) || takeOut(o, all) == "" {
		t.Fatal("no room in the window after answers")
	}
	// Whatever its size, one may always go.
	o = testOutbox(OutboxOptions{})
	mustPut(t, o, strings.Repeat("x", 2*windowBytes))
	if takeOut(o, all) == "" {
		t.Fatal("a message larger than the window never goes")
	}
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
				if err := put(ctx, o, "5"); err != context.DeadlineExceeded || time.Since(start) != time.Minute {
					t.Fatalf("put into a full outbox: %v after %v", err, time.Since(start))
				}
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
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				mustPut(t, o, "6", "7", "8") // with which it is full again
				go func() { done <- put(t.Context(), o, "9") }()
				synctest.Wait()
				o.Stop(nil)
				if err := <-done; err != broker.ErrClosed {
					t.Fatalf("put beside close: %v", err)
				}
				if err := put(t.Context(), o, ""); err != broker.ErrClosed {
					t.Fatalf("put after close: %v", err)
				}
			})
		})
	}
}

func TestOutboxTooLargeForItsLimit(t *testing.T) {
	o := testOutbox(OutboxOptions{Bytes: 10})
	mustPut(t, o, "larger than the limit, but alone")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := put(ctx, o, "x"); err != context.Canceled {
		t.Fatalf("a second one: %v", err)
	}
}

func TestOutboxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(OutboxOptions{Age: 10 * time.Second})
		for i := range 4 {
			mustPut(t, o, fmt.Sprint(i))
			time.Sleep(3 * time.Second)
		}
		if left := o.expire(false, o.opts.TooOld); left != time.Second {
			t.Fatalf("the next one is too old in %v, want 1s", left)
		}
		time.Sleep(time.Second)
		if left := o.expire(false, o.opts.TooOld); left != 3*time.Second {
			t.Fatalf("the next one is too old in %v, want 3s", left)
		}
		if got, want := takeOut(o, all), wire("2", "3"); got != want {
			t.Fatalf("left is %q, want %q", got, want)
		}
		news := o.books.takeReports()
		if len(news) != 1 || news[0].Messages != 2 || news[0].Bytes != 2 || news[0].Uncertain || !errors.Is(news[0].Err, o.opts.TooOld) {
			t.Fatalf("told %+v", news)
		}
	})
}

func TestOutboxNeverTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(OutboxOptions{Age: -1})
		mustPut(t, o, "x")
		time.Sleep(1000 * time.Hour)
		if left := o.expire(false, o.opts.TooOld); left != 0 || len(o.books.takeReports()) != 0 {
			t.Fatalf("left %v", left)
		}
	})
}

// TestOutboxFlushTellsEachLossOnce also checks that a flush tells exactly what
// concerns it.
func TestOutboxFlushTellsEachLossOnce(t *testing.T) {
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
		if err := o.Flush(gaveUp); err != context.Canceled {
			t.Fatal(err)
		}
		first := flush()
		mustPut(t, o, "4", "5")
		second := flush()
		takeOut(o, all)
		o.Settle(1, nil)
		o.Settle(1, func(struct{}) error { return boom }) // 2
		if len(first) != 0 {
			t.Fatal("the flush did not wait for all")
		}
		o.Abandon(errEnd) // 3, 4, 5
		var loss *broker.LossError
		if err := <-first; !errors.As(err, &loss) || loss.Messages != 2 || !loss.Uncertain || loss.Err != errEnd {
			t.Fatalf("first: %v", err)
		}
		if err := <-second; !errors.As(err, &loss) || loss.Messages < 2 {
			t.Fatalf("second: %v", err)
		}
		if err := <-flush(); err != nil {
			t.Fatalf("third: %v, want nil", err)
		}
		news := o.books.takeReports()
		if len(news) != 2 || news[0].Err != boom || news[0].Messages != 1 || news[1].Messages != 3 || !news[1].Uncertain {
			t.Fatalf("told %+v", news)
		}
	})
}
