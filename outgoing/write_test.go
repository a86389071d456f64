package outgoing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/outgoing"
)

func TestBatches(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int
		want  string // numbers of messages
	}{
		{"one", []int{1}, "1"},
		{"few", []int{1, 1, 1}, "3"},
		{"many", make([]int, 150), "64 64 22"},
		{"up to 64 KiB", []int{32 << 10, 32 << 10, 1}, "2 1"},
		{"a large one alone", []int{1, 100 << 10, 1, 1}, "1 1 2"},
		{"large ones", []int{100 << 10, 100 << 10, 0}, "1 1 1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := newConn(nil)
			release := conn.hold()
			conn.queue.Push("first", 0, false)
			synctest.Wait()
			want := []string{"first"}
			for i, size := range c.sizes {
				want = append(want, fmt.Sprint(i))
				conn.queue.Push(fmt.Sprint(i), size, false)
			}
			release()
			assert.NoError(t, conn.queue.Close(t.Context()))
			assert.Equal(t, strings.Join(want, " "), conn.got(), "%s: written", c.name)
			var numbers []string
			for _, b := range conn.batches[1:] {
				numbers = append(numbers, fmt.Sprint(len(b)))
			}
			assert.Equal(t, c.want, strings.Join(numbers, " "), "%s: batches of messages", c.name)
		})
	}
}

// A batch that is being written does not count against the limits.
func TestRoomWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newConn(&outgoing.Options{MaxMessages: 2, MaxBytes: 2, WhenFull: outgoing.DropNewest})
		release := conn.hold()
		conn.queue.Push("a", 9, false)
		synctest.Wait()
		for _, want := range []bool{true, true, false} {
			assert.Equal(t, want, conn.queue.Push("b", 1, false))
		}
		assert.Equal(t, outgoing.Stats{Messages: 3, Bytes: 11, Dropped: 1}, conn.queue.Stats())
		release()
		conn.queue.Close(t.Context())
	})
}

// Impossible sizes are replaced by the nearest possible ones.
func TestStrangeSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newConn(&outgoing.Options{MaxBytes: 10, WriteTimeout: -1})
		release := conn.hold()
		conn.queue.Push("a", -5, false)
		synctest.Wait()
		require.True(t, conn.queue.Push("b", 1<<40, false))
		assert.Equal(t, outgoing.Stats{Messages: 2, Bytes: 1<<31 - 1}, conn.queue.Stats())
		release()
		synctest.Wait()
		again := conn.hold()
		conn.queue.Push("c", 0, false)
		synctest.Wait()
		for _, want := range []bool{true, true, false} {
			assert.Equal(t, want, conn.queue.Push("d", 5, false))
		}
		again()
		conn.queue.Close(t.Context())
	})
}

// Every other outcome of write than nil ends the queue.
func TestWriteFails(t *testing.T) {
	reset := errors.New("connection reset")
	for _, c := range []struct {
		name string
		set  func(*conn)
		want string // in the error
		is   error
	}{
		{"error", func(c *conn) { c.fail = reset }, "connection reset", reset},
		{"panic", func(c *conn) { c.perform = func() { panic("oh no") } }, "write panicked: oh no\n", nil},
		{"panic with an error", func(c *conn) { c.perform = func() { panic(io.ErrShortWrite) } }, "write panicked: short write\n", io.ErrShortWrite},
		{"Goexit", func(c *conn) { c.perform = runtime.Goexit }, "write called runtime.Goexit", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := newConn(nil)
				conn.queue.Push("fine", 4, false)
				synctest.Wait()
				c.set(conn)
				conn.queue.Push("a", 1, false)
				conn.queue.Push("b", 2, false)
				synctest.Wait()
				r := conn.reason(t)
				if r == nil || r.Messages != 2 || r.Bytes != 3 || !strings.Contains(r.Error(), c.want) || c.is != nil && !errors.Is(r, c.is) {
					t.Fatalf("disconnected with %v", r)
				}
				if strings.Contains(c.name, "panic") && !strings.Contains(r.Error(), "write_test.go:") {
					t.Errorf("no stack in %v", r)
				}
				assert.False(t, conn.queue.Push("c", 1, false), "the queue takes more")
				<-conn.queue.Done()
				assert.Same(t, error(r), conn.queue.Close(t.Context()))
				got, want := conn.queue.Stats(), (outgoing.Stats{Written: 1})
				assert.Equal(t, want, got)
				assert.Equal(t, "fine", conn.got(), "written")
			})
		})
	}
}

func TestWriteTimeout(t *testing.T) {
	for _, c := range []struct {
		opts *outgoing.Options
		want time.Duration
	}{{nil, 30 * time.Second}, {&outgoing.Options{WriteTimeout: time.Second}, time.Second}, {&outgoing.Options{WriteTimeout: -1}, 0}} {
		synctest.Test(t, func(t *testing.T) {
			conn := newConn(c.opts)
			conn.deaf = true // so Done stays open
			limit := c.want
			if limit == 0 {
				limit = time.Hour
			}
			// Writes of one goroutine that are just fast enough.
			for range 3 {
				release := conn.hold()
				conn.queue.Push("a", 1, false)
				synctest.Wait()
				conn.queue.Push("b", 1, false)
				time.Sleep(limit - 1)
				release()
				again := conn.hold()
				synctest.Wait()
				time.Sleep(limit - 1)
				again()
				synctest.Wait()
				time.Sleep(2 * limit) // idle
			}
			release := conn.hold()
			began := time.Now()
			conn.queue.Push("c", 5, false)
			synctest.Wait()
			conn.queue.Push("d", 6, false)
			if c.want == 0 {
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				assert.Nil(t, conn.reason(t), "disconnected")
				release()
				conn.queue.Close(t.Context())
				return
			}
			time.Sleep(c.want)
			synctest.Wait()
			assert.Equal(t, &outgoing.Error{Messages: 2, Bytes: 11, Err: outgoing.ErrTimeout}, conn.reason(t), "disconnected")
			assert.False(t, conn.queue.Push("e", 1, false), "the queue takes more")
			select {
			case <-conn.queue.Done():
				t.Error("done while write has not returned")
			default:
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := conn.queue.Close(ctx)
			assert.ErrorIs(t, err, outgoing.ErrTimeout)
			assert.Equal(t, c.want+time.Second, time.Since(began))
			release()
			<-conn.queue.Done()
			assert.Equal(t, outgoing.Stats{Written: 6}, conn.queue.Stats())
		})
	}
}

// write and disconnect may use the queue.
func TestReentrance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var queue *outgoing.Queue[int]
		var written []int
		ended := make(chan error)
		queue = outgoing.New(func(batch []int) error {
			for _, n := range batch {
				if written = append(written, n); n > 0 {
					queue.Push(n-1, 1, false)
				}
				if n == 1 && queue.Stats().Messages != 2 {
					return fmt.Errorf("%+v", queue.Stats())
				}
			}
			if len(written) == 5 {
				return io.ErrClosedPipe
			}
			return nil
		}, func(error) {
			queue.Push(7, 1, false)
			ended <- queue.Close(context.Background())
		}, nil)
		queue.Push(4, 1, false)
		err := <-ended
		assert.ErrorIs(t, err, io.ErrClosedPipe)
		assert.Equal(t, "[4 3 2 1 0]", fmt.Sprint(written))
	})
}

func TestNewChecks(t *testing.T) {
	for _, f := range []func(){
		func() { outgoing.New[int](nil, func(error) {}, nil) },
		func() { outgoing.New(func([]int) error { return nil }, nil, nil) },
	} {
		func() {
			defer func() {
				assert.NotNil(t, recover(), "New takes nil")
			}()
			f()
		}()
	}
}
