package outgoing_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
		require.NoError(t, conn.queue.Close(t.Context()))
		assert.Equal(t, time.Second, time.Since(began))
		<-conn.queue.Done()
		assert.Equal(t, outgoing.Stats{Written: 100}, conn.queue.Stats())
		require.False(t, conn.queue.Push("y", 1, false), "a push after Close")
		assert.Zero(t, conn.queue.Stats().Dropped, "a push after Close")
		assert.NoError(t, conn.queue.Close(t.Context()), "the second time")
		assert.Nil(t, conn.reason(t), "disconnected")
	})
}

// Push accepts nothing from the start of Close.
func TestPushWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newConn(nil)
		release := conn.hold()
		conn.queue.Push("a", 1, false)
		closed := make(chan error)
		go func() { closed <- conn.queue.Close(context.Background()) }()
		synctest.Wait()
		assert.False(t, conn.queue.Push("b", 1, false), "the queue takes more")
		release()
		require.NoError(t, <-closed)
		assert.Equal(t, "a", conn.got())
	})
}

func TestCloseUntilContextEnds(t *testing.T) {
	cause := errors.New("deadline of the caller")
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
			require.ErrorAs(t, err, &e)
			assert.Equal(t, outgoing.Error{Messages: 2, Bytes: 11, Err: cause}, *e)
			assert.Equal(t, time.Second, time.Since(began))
			synctest.Wait()
			assert.Same(t, e, conn.reason(t), "disconnected")
			over := false
			select {
			case <-conn.queue.Done():
				over = true
			default:
			}
			assert.NotEqual(t, deaf, over, "Done before write returned")
			release()
			<-conn.queue.Done()
			assert.Equal(t, outgoing.Stats{}, conn.queue.Stats())
		})
	}
}

// Close with an expired context ends the queue at once. It returns an error only if messages were waiting.
func TestCloseNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		idle := newConn(nil)
		idle.queue.Push("a", 1, false)
		synctest.Wait()
		fresh := newConn(nil)
		for _, c := range []*conn{idle, fresh} {
			err := c.queue.Close(ctx)
			if assert.NoError(t, err) {
				assert.False(t, c.queue.Push("b", 1, false), "or it takes more")
			}
			<-c.queue.Done()
		}
		busy := newConn(nil)
		busy.hold()
		busy.queue.Push("a", 1, false)
		assert.ErrorIs(t, busy.queue.Close(ctx), context.Canceled)
		<-busy.queue.Done()
		assert.Empty(t, busy.got(), "written")
	})
}

// The context that ends first ends the queue for all callers of Close.
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
			assert.ErrorIs(t, <-results, context.DeadlineExceeded)
		}
		assert.Equal(t, time.Second, time.Since(began))
		conn.reason(t)
	})
}

// Close inside write waits for that write until its context ends.
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
		err := queue.Close(t.Context())
		assert.Same(t, inside, err)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// Done is closed for callers that call it before, during and after the end.
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
