package outgoing_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/outgoing"
)

// peer stands for a connection with its buffers.
type peer struct {
	queue *outgoing.Queue[[]byte]
	wrote chan<- int
}

func (p *peer) write(batch [][]byte) error { p.wrote <- len(batch); return nil }
func (p *peer) disconnect(error)           {}

// TestIdleConnection measures the memory of an idle queue: before its first message, after one message, and after a
// burst.
func TestIdleConnection(t *testing.T) {
	const conns, limit = 20_000, 384
	wrote := make(chan int, 100)
	peers := make([]peer, conns)
	payload := make([]byte, 100)
	goroutines, before := footprint()
	for i := range peers {
		p := &peers[i]
		p.wrote = wrote
		p.queue = outgoing.New(p.write, p.disconnect, nil)
	}
	for _, burst := range []int{0, 1, 50} {
		for i := range peers {
			for range burst {
				peers[i].queue.Push(payload, len(payload), false)
			}
			for n := 0; n < burst; {
				n += <-wrote
			}
		}
		for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
			runtime.Gosched()
		}
		g, after := footprint()
		each := int(after-before) / conns
		t.Logf("after %d messages: %d bytes a connection, %d goroutines for all", burst, each, g-goroutines)
		assert.LessOrEqual(t, g, goroutines)
		assert.LessOrEqual(t, each, limit)
	}
	runtime.KeepAlive(peers)
}

func footprint() (goroutines int, heap uint64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

// TestPushAllocates requires that a push allocates nothing once the queue has grown.
func TestPushAllocates(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{}, 100)
	q := outgoing.New(func([][]byte) error { started <- struct{}{}; <-release; return nil }, func(err error) { t.Error(err) },
		&outgoing.Options{MaxMessages: 100, WhenFull: outgoing.DropOldest})
	payload := make([]byte, 100)
	q.Push(payload, len(payload), false)
	<-started
	for range 200 {
		q.Push(payload, len(payload), false)
	}
	assert.Zero(t, testing.AllocsPerRun(1000, func() { q.Push(payload, len(payload), false) }), "allocations a push")
	close(release)
	assert.NoError(t, q.Close(context.Background()))
}

// TestWakeAllocates limits a push to an idle queue to its goroutine, its timer and the batch. The ring is not
// allocated again.
func TestWakeAllocates(t *testing.T) {
	wrote := make(chan int, 1)
	p := &peer{wrote: wrote}
	p.queue = outgoing.New(p.write, p.disconnect, nil)
	payload := make([]byte, 100)
	n := testing.AllocsPerRun(1000, func() {
		p.queue.Push(payload, len(payload), false)
		<-wrote
	})
	t.Logf("%v allocations", n)
	assert.LessOrEqual(t, n, 4.0, "want at most 4")
	p.queue.Close(context.Background())
}

// TestLetsGo requires that written, dropped and unsent messages can be collected while the queue and a blocked write
// still exist.
func TestLetsGo(t *testing.T) {
	type message = *[64]byte
	const waiting = 40
	gone := make(chan struct{}, 1000)
	push := func(q *outgoing.Queue[message], volatile bool) {
		v := new([64]byte)
		runtime.AddCleanup(v, func(int) { gone <- struct{}{} }, 0)
		q.Push(v, 64, volatile)
	}
	release, started := make(chan struct{}), make(chan struct{}, 100)
	idle := outgoing.New(func([]message) error { started <- struct{}{}; return nil }, func(error) {}, nil)
	push(idle, false)
	<-started
	stuck := outgoing.New(func([]message) error { started <- struct{}{}; <-release; return nil }, func(error) {},
		&outgoing.Options{MaxMessages: waiting, WhenFull: outgoing.DropOldest})
	stuck.Push(nil, 0, false)
	<-started
	push(stuck, true)
	for range 2 * waiting {
		push(stuck, false) // half of them replace the others
	}
	expect := func(n int) { t.Helper(); collected(t, gone, n) }
	expect(1 + 1 + waiting)
	now, cancel := context.WithCancel(context.Background())
	cancel()
	assert.Error(t, stuck.Close(now), "closed without an error")
	expect(waiting)
	close(release)
	<-stuck.Done()
	runtime.KeepAlive(idle)
	runtime.KeepAlive(stuck)
}

// TestLetsGoOfBatch requires that a batch keeps no message of the larger batch before it.
func TestLetsGoOfBatch(t *testing.T) {
	gone, started, step := make(chan struct{}, 10), make(chan struct{}), make(chan struct{})
	q := outgoing.New(func([]*[64]byte) error { started <- struct{}{}; <-step; return nil }, func(error) {}, nil)
	q.Push(nil, 0, false)
	<-started
	for range 3 {
		v := new([64]byte)
		runtime.AddCleanup(v, func(int) { gone <- struct{}{} }, 0)
		q.Push(v, 64, false)
	}
	step <- struct{}{}
	<-started // the three
	q.Push(nil, 0, false)
	step <- struct{}{}
	<-started
	collected(t, gone, 3)
	step <- struct{}{}
	assert.NoError(t, q.Close(t.Context()))
}

func collected(t *testing.T, gone <-chan struct{}, n int) {
	t.Helper()
	for range n {
		runtime.GC()
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Fatal("a message is still held")
		}
	}
}

// BenchmarkPush pushes to a queue whose writer is always running.
func BenchmarkPush(b *testing.B) {
	q := outgoing.New(func([][]byte) error { return nil }, func(error) {}, &outgoing.Options{WhenFull: outgoing.DropOldest})
	payload := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		q.Push(payload, len(payload), false)
	}
	q.Close(context.Background())
}

// BenchmarkWake pushes to a queue whose writer starts for each message.
func BenchmarkWake(b *testing.B) {
	wrote := make(chan int, 1)
	p := &peer{wrote: wrote}
	p.queue = outgoing.New(p.write, p.disconnect, nil)
	payload := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		p.queue.Push(payload, len(payload), false)
		<-wrote
	}
	p.queue.Close(context.Background())
}

// BenchmarkFanOut pushes one message into each of 20,000 idle queues, as a broadcast does,
// and waits until all have been written.
func BenchmarkFanOut(b *testing.B) {
	const conns = 20_000
	var left atomic.Int64
	all := make(chan struct{})
	write := func(batch [][]byte) error {
		if left.Add(-int64(len(batch))) == 0 {
			all <- struct{}{}
		}
		return nil
	}
	queues := make([]*outgoing.Queue[[]byte], conns)
	for i := range queues {
		queues[i] = outgoing.New(write, func(error) {}, nil)
	}
	payload := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		left.Store(conns)
		for _, q := range queues {
			q.Push(payload, len(payload), false)
		}
		<-all
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/conns, "ns/conn")
}
