package outgoing_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crossroom/crossroom/outgoing"
)

func TestCloseFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newConn(nil)
		release := conn.hold()
		for range 100 {
			conn.queue.Push("x", 1, false)
		}
		time.AfterFunc(time.Second, release)
		began := time.Now()
		if err := conn.queue.Close(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		<-conn.queue.Done()
		if got, want := conn.queue.Stats(), (outgoing.Stats{Written: 100}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if conn.queue.Push("y", 1, false) || conn.queue.Stats().Dropped != 0 {
			t.Error("a push after Close")
		}
		if err := conn.queue.Close(t.Context()); err != nil {
			t.Errorf("the second time: %v", err)
		}
		if r := conn.reason(t); r != nil {
			t.Errorf("disconnected with %v", r)
		}
	})
}

// Nothing is accepted from the beginning of Close on.
func TestPushWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newConn(nil)
		release := conn.hold()
		conn.queue.Push("a", 1, false)
		closed := make(chan error)
		go func() { closed <- conn.queue.Close(context.Background()) }()
		synctest.Wait()
		if conn.queue.Push("b", 1, false) {
			t.Error("the queue takes more")
		}
		release()
		if err := <-closed; err != nil || conn.got() != "a" {
			t.Errorf("%v, written %q", err, conn.got())
		}
	})
}

func TestCloseUntilContextEnds(t *testing.T) {
	cause := errors.New("out of patience")
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			conn := newConn(nil)
			conn.deaf = deaf
			release := conn.hold()
			conn.queue.Push("a", 1, false)
			synctest.Wait()
			conn.queue.Push("b", 10, false)
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
			defer cancel()
			began := time.Now()
			err := conn.queue.Close(ctx)
			var e *outgoing.Error
			if !errors.As(err, &e) || *e != (outgoing.Error{Messages: 2, Bytes: 11, Err: cause}) || time.Since(began) != time.Second {
				t.Errorf("%#v after %v", err, time.Since(began))
			}
			synctest.Wait()
			if r := conn.reason(t); r != e {
				t.Errorf("disconnected with %v", r)
			}
			over := false
			select {
			case <-conn.queue.Done():
				over = true
			default:
			}
			if over == deaf {
				t.Errorf("done: %v, but write returned: %v", over, !deaf)
			}
			release()
			<-conn.queue.Done()
			if got := conn.queue.Stats(); got != (outgoing.Stats{}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A context that has ended already ends the queue at once, but not with an error if
// there is nothing to do.
func TestCloseNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		idle := newConn(nil)
		idle.queue.Push("a", 1, false)
		synctest.Wait()
		fresh := newConn(nil)
		for _, c := range []*conn{idle, fresh} {
			if err := c.queue.Close(ctx); err != nil || c.queue.Push("b", 1, false) {
				t.Errorf("%v, or it takes more", err)
			}
			<-c.queue.Done()
		}
		busy := newConn(nil)
		busy.hold()
		busy.queue.Push("a", 1, false)
		if err := busy.queue.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("busy: %v", err)
		}
		<-busy.queue.Done()
		if busy.got() != "" {
			t.Errorf("written %s", busy.got())
		}
	})
}

// The context that ends first ends the queue for all who wait.
func TestConcurrentClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newConn(nil)
		conn.hold()
		conn.queue.Push("a", 1, false)
		began := time.Now()
		results := make(chan error, 10)
		for i := range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
			defer cancel()
			go func() { results <- conn.queue.Close(ctx) }()
		}
		for range 10 {
			if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("after %v", d)
		}
		conn.reason(t)
	})
}

// Close in write waits for that write, and no longer than its context.
func TestCloseInWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var queue *outgoing.Queue[int]
		var inside error
		queue = outgoing.New(func([]int) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			inside = queue.Close(ctx)
			return nil
		}, func(error) {}, nil)
		queue.Push(1, 1, false)
		<-queue.Done()
		if err := queue.Close(t.Context()); err != inside || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v inside, %v outside", inside, err)
		}
	})
}

// Done is closed for those who ask before, during and after.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newConn(nil)
		before := conn.queue.Done()
		release := conn.hold()
		conn.queue.Push("a", 1, false)
		go conn.queue.Close(context.Background())
		synctest.Wait()
		for _, c := range []<-chan struct{}{before, conn.queue.Done()} {
			select {
			case <-c:
				t.Error("done too early")
			default:
			}
		}
		release()
		<-before
		<-conn.queue.Done()

		idle := newConn(nil)
		before = idle.queue.Done()
		idle.queue.Close(t.Context())
		<-before
	})
}
