package redisbroker

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

var testRoom = broker.SocketIO.Room("/", "r")

func testOutbox(t testing.TB, opts *Options) *outbox {
	o := opts.withDefaults()
	return newOutbox(mustNaming(t, o.Prefix), &o)
}

func (o *outbox) mustPut(t testing.TB, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := o.put(t.Context(), testRoom, []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
}

// takeOut takes what can be sent and pretends that n bytes of it were written; a
// negative n counts from the end.
func (o *outbox) takeOut(n int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.takeLocked()
	if b == nil {
		return ""
	}
	var err error
	if n < 0 {
		n += len(b)
		err = net.ErrClosed
	} else if n < len(b) {
		err = net.ErrClosed
	}
	text := string(b)
	o.wrote(n, err)
	return text
}

const all = 1 << 30

func wire(payloads ...string) string {
	var b []byte
	for _, p := range payloads {
		b = appendCommand(b, "PUBLISH", "socket.io#/#r#", p)
	}
	return string(b)
}

func TestOutboxEncodes(t *testing.T) {
	o := testOutbox(t, nil)
	long := strings.Repeat("x", segmentSize)
	o.mustPut(t, "one", "", "\r\n", long, "last")
	for _, want := range []string{wire("one", "", "\r\n"), wire(long), wire("last")} {
		if got := o.takeOut(all); got != want {
			t.Fatalf("took %.80q, want %.80q", got, want)
		}
	}
	if !o.answered(5) || o.answered(1) {
		t.Fatal("answers do not match the flight")
	}
	var s broker.Stats
	o.books.Fill(&s)
	if s != (broker.Stats{Accepted: 5, Sent: 5}) {
		t.Fatalf("Stats %+v", s)
	}
}

func TestOutboxWritesInPart(t *testing.T) {
	one := len(wire("a"))
	for n := range 3*one + 1 {
		o := testOutbox(t, nil)
		o.mustPut(t, "a", "b", "c")
		if got := o.takeOut(min(n, 3*one)); got != wire("a", "b", "c") {
			t.Fatalf("took %q", got)
		}
		o.mustPut(t, "d")
		o.disconnected(errEnd)
		var s broker.Stats
		o.books.Fill(&s)
		// Only what was written whole can have been acted upon.
		if int(s.Uncertain) != n/one || s.QueuedMessages != 4-n/one || s.QueuedBytes != 4-n/one {
			t.Fatalf("%d bytes written: %+v", n, s)
		}
		var rest string
		for got := o.takeOut(all); got != ""; got = o.takeOut(all) {
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
			o := testOutbox(t, nil)
			o.mustPut(t, "a", "b", "c")
			o.mu.Lock()
			o.takeLocked()
			o.mu.Unlock()
			if !o.answered(answers) {
				t.Fatal("no answer was due")
			}
			o.mu.Lock()
			o.wrote(n, errEnd)
			o.mu.Unlock()
			o.disconnected(errEnd)
			var s broker.Stats
			o.books.Fill(&s)
			if int(s.Sent) != answers || int(s.Uncertain) != n/one-answers || s.QueuedMessages != 3-n/one {
				t.Errorf("%d bytes written, %d answers: %+v", n, answers, s)
			}
			if rest, want := o.takeOut(all), wire("a", "b", "c")[n/one*one:]; rest != want {
				t.Errorf("%d bytes written, %d answers, then %q, want %q", n, answers, rest, want)
			}
		}
	}
}

var errEnd = errors.New("end")

func TestOutboxWindow(t *testing.T) {
	o := testOutbox(t, nil)
	payload := strings.Repeat("x", 1000)
	for range 1000 {
		o.mustPut(t, payload)
	}
	flying := 0
	for got := o.takeOut(all); got != ""; got = o.takeOut(all) {
		flying += len(got)
	}
	if flying > windowBytes || flying < windowBytes-segmentSize {
		t.Fatalf("%d bytes on the wire, the window is %d", flying, windowBytes)
	}
	if !o.answered(segmentSize/1000) || o.takeOut(all) == "" {
		t.Fatal("no room in the window after answers")
	}
	// Whatever its size, one may always go.
	o = testOutbox(t, nil)
	o.mustPut(t, strings.Repeat("x", 2*windowBytes))
	if o.takeOut(all) == "" {
		t.Fatal("a message larger than the window never goes")
	}
}

func TestOutboxWaitsWhileFull(t *testing.T) {
	for name, opts := range map[string]*Options{
		"messages": {QueueMessages: 4},
		"bytes":    {QueueBytes: 4*len(wire("1")) + 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := testOutbox(t, opts)
				o.mustPut(t, "1", "2", "3", "4")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				if err := o.put(ctx, testRoom, []byte("5")); err != context.DeadlineExceeded || time.Since(start) != time.Minute {
					t.Fatalf("put into a full outbox: %v after %v", err, time.Since(start))
				}
				done := make(chan error, 1)
				go func() { done <- o.put(t.Context(), testRoom, []byte("5")) }()
				synctest.Wait()
				select {
				case err := <-done:
					t.Fatalf("did not wait: %v", err)
				default:
				}
				o.takeOut(all)
				o.answered(4)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				o.mustPut(t, "6", "7", "8") // with which it is full again
				go func() { done <- o.put(t.Context(), testRoom, []byte("9")) }()
				synctest.Wait()
				if b := o.close(); b == nil {
					t.Fatal("no barrier")
				}
				if err := <-done; err != broker.ErrClosed {
					t.Fatalf("put beside close: %v", err)
				}
				if err := o.put(t.Context(), testRoom, nil); err != broker.ErrClosed {
					t.Fatalf("put after close: %v", err)
				}
			})
		})
	}
}

func TestOutboxTooLargeForItsLimit(t *testing.T) {
	o := testOutbox(t, &Options{QueueBytes: 10})
	o.mustPut(t, "larger than the limit, but alone")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.put(ctx, testRoom, []byte("x")); err != context.Canceled {
		t.Fatalf("a second one: %v", err)
	}
}

func TestOutboxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(t, &Options{QueueAge: 10 * time.Second})
		for i := range 4 {
			o.mustPut(t, fmt.Sprint(i))
			time.Sleep(3 * time.Second)
		}
		if left := o.expire(false, ErrTooOld); left != time.Second {
			t.Fatalf("the next one is too old in %v, want 1s", left)
		}
		time.Sleep(time.Second)
		if left := o.expire(false, ErrTooOld); left != 3*time.Second {
			t.Fatalf("the next one is too old in %v, want 3s", left)
		}
		if got, want := o.takeOut(all), wire("2", "3"); got != want {
			t.Fatalf("left is %q, want %q", got, want)
		}
		news := o.books.News()
		if len(news) != 1 || news[0].Messages != 2 || news[0].Bytes != 2 || news[0].Uncertain || !errors.Is(news[0].Err, ErrTooOld) {
			t.Fatalf("told %+v", news)
		}
	})
}

func TestOutboxNeverTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(t, &Options{QueueAge: -1})
		o.mustPut(t, "x")
		time.Sleep(1000 * time.Hour)
		if left := o.expire(false, ErrTooOld); left != 0 || len(o.books.News()) != 0 {
			t.Fatalf("left %v", left)
		}
	})
}

// TestOutboxFlushTellsEachLossOnce also checks that a flush tells exactly what
// concerns it.
func TestOutboxFlushTellsEachLossOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOutbox(t, nil)
		boom := errors.New("boom")
		flush := func() chan error {
			ch := make(chan error, 1)
			go func() { ch <- o.flush(context.Background()) }()
			synctest.Wait()
			return ch
		}
		o.mustPut(t, "1", "2", "3")
		gaveUp, cancel := context.WithCancel(t.Context())
		cancel()
		if err := o.flush(gaveUp); err != context.Canceled {
			t.Fatal(err)
		}
		first := flush()
		o.mustPut(t, "4", "5")
		second := flush()
		o.takeOut(all)
		o.answered(1)
		o.refused(boom) // 2
		if len(first) != 0 {
			t.Fatal("the flush did not wait for all")
		}
		o.disconnected(errEnd) // 3, 4, 5
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
		news := o.books.News()
		if len(news) != 2 || news[0].Err != boom || news[0].Messages != 1 || news[1].Messages != 3 || !news[1].Uncertain {
			t.Fatalf("told %+v", news)
		}
	})
}
