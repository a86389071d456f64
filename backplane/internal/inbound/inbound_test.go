package inbound_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/backplane/internal/inbound"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/internal/rooms"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// member is a member that a test registers.
type member interface{ take(text string) }

type entry = rooms.Entry[member]

type call string

func (c call) Do(e *entry)  { e.Member.take(string(c)) }
func (call) Method() string { return "take" }

// fixture is a queue whose handler delivers every message to all members.
type fixture struct {
	q       inbound.Queue[member]
	t       *testing.T
	rooms   *rooms.Registry[member]
	workers sync.WaitGroup

	mu       sync.Mutex
	events   []string // the calls of the handler, in order
	stalled  []string
	panicked []string
}

func newFixture(t *testing.T, timeout time.Duration) *fixture {
	f := &fixture{t: t, rooms: rooms.New[member]()}
	f.q.Init(f, inbound.Options{StallTimeout: timeout, Workers: &f.workers})
	f.q.Start()
	return f
}

func (f *fixture) add(id string, take func(text string)) {
	f.rooms.Add(taker(take), id)
}

type taker func(text string)

func (t taker) take(text string) { t(text) }

// send delivers a message to all members.
func (f *fixture) send(text string) { f.q.Deliver(broker.Native.Broadcast("/"), []byte(text)) }

// close ends the worker after it has handled everything.
func (f *fixture) close() {
	f.q.Close()
	f.workers.Wait()
}

func (f *fixture) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, fmt.Sprintf(format, args...))
}

func (f *fixture) told() (events, stalled, panicked []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events), slices.Clone(f.stalled), slices.Clone(f.panicked)
}

func (f *fixture) Wants(ch broker.Channel) bool       { return ch.Name() != "unwanted" }
func (f *fixture) Unread(ch broker.Channel, size int) { f.note("unread %s %d", ch.Name(), size) }
func (f *fixture) Interrupted(err error)              { f.note("interrupted: %v", err) }
func (f *fixture) Resumed()                           { f.note("resumed") }
func (f *fixture) Delivered(d *inbound.Delivery[member]) {
	f.note("%d of %d", d.Delivered(), len(d.List))
}

func (f *fixture) Message(ch broker.Channel, payload []byte, d *inbound.Delivery[member]) bool {
	f.note("%s", payload)
	if ch.Kind() == broker.KindRequests {
		return false
	}
	d.Find(f.rooms, rooms.Filter{})
	d.Call = call(payload)
	return true
}

func (f *fixture) Stalled(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = append(f.stalled, id)
}

func (f *fixture) Panicked(_ context.Context, method, id string, v any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.panicked = append(f.panicked, fmt.Sprint(method, " of ", id, ": ", v))
}

// TestLast: with a clock the queue records when it got its last message.
func TestLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, clock := range []bool{true, false} {
			f := &fixture{t: t, rooms: rooms.New[member]()}
			f.q.Init(f, inbound.Options{Workers: &f.workers, Clock: clock})
			f.q.Start()
			synctest.Wait()
			assert.True(t, f.q.Last().IsZero(), "before the first message")
			for range 2 {
				time.Sleep(time.Second)
				f.send("x")
				synctest.Wait()
				if clock {
					assert.Equal(t, time.Now().UnixNano(), f.q.Last().UnixNano())
				} else {
					assert.True(t, f.q.Last().IsZero(), "without a clock")
				}
			}
			f.close()
		}
	})
}

// Everything has one order, from an outage to a delivery.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, time.Second)
		var got []string
		f.add("a", func(text string) { got = append(got, text) })
		f.add("b", func(text string) { panic("not " + text) })
		f.send("1")
		f.q.Interrupted(nil)
		f.q.Deliver(broker.Native.Requests("/"), []byte("request"))
		f.q.Deliver(broker.Native.Room("/", "unwanted"), []byte("xyz"))
		f.q.Resumed()
		f.send("2")
		f.close()
		events, stalled, panicked := f.told()
		assert.Equal(t, []string{"1", "1 of 2", "interrupted: the broker gave no reason", "request", "unread unwanted 3", "resumed", "2", "1 of 2"}, events, "events")
		assert.Equal(t, []string{"1", "2"}, got, "a")
		assert.Empty(t, stalled, "stalled")
		assert.Equal(t, []string{"take of b: not 1", "take of b: not 2"}, panicked, "panicked")
	})
}

// A stalled member misses messages until its call returns. The message is delivered to the others,
// in order, and the abandoned worker ends.
func TestTakeover(t *testing.T) {
	for _, id := range []string{"a", "b", "c"} { // the member whose call does not return
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, 80*time.Millisecond)
			release := make(chan struct{})
			got := map[string][]string{}
			var mu sync.Mutex
			for _, m := range []string{"a", "b", "c"} {
				f.add(m, func(text string) {
					if m == id && text == "1" {
						<-release
					}
					mu.Lock()
					defer mu.Unlock()
					got[m] = append(got[m], text)
				})
			}
			began := time.Now()
			f.send("1")
			f.send("2")
			synctest.Wait()
			if _, stalled, _ := f.told(); len(stalled) > 0 {
				t.Errorf("%s has stalled at once", stalled)
			}
			time.Sleep(90 * time.Millisecond) // the timeout and an eighth of it
			synctest.Wait()
			events, stalled, _ := f.told()
			assert.Equal(t, []string{id}, stalled, "stalled")
			assert.Equal(t, []string{"1", "2 of 3", "2", "2 of 3"}, events, "events")
			close(release)
			synctest.Wait()
			f.send("3")
			f.close()
			for _, m := range []string{"a", "b", "c"} {
				want := []string{"1", "2", "3"}
				if m == id {
					want = []string{"1", "3"}
				}
				assert.Equal(t, want, got[m], m)
			}
			assert.Equal(t, 90*time.Millisecond, time.Since(began))
		})
	}
}

// A call is late after eight checks, and not after a time: a process that was stopped made no
// checks, and its members had no time either.
func TestWatchCountsLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inbound.NewPatience(80 * time.Millisecond).Watch()
		for i := range 8 {
			assert.Equal(t, 10*time.Millisecond, w.Pause(), "look %d", i)
			time.Sleep(time.Hour)
			assert.Equal(t, i == 7, w.Late(), "late at look %d", i)
		}
	})
}

// After each stall the limit of the next member is a quarter, until no member has stalled for a
// StallTimeout.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := inbound.NewPatience(1024 * time.Millisecond)
		for range 2 {
			for _, want := range []int{1024, 256, 64, 16, 4, 4} {
				assert.Equal(t, time.Duration(want)*time.Millisecond, p.Left(), "left")
				p.Lose()
			}
			time.Sleep(1024 * time.Millisecond)
			assert.Equal(t, 4*time.Millisecond, p.Left(), "it came back too early")
			time.Sleep(time.Nanosecond)
		}
		assert.EqualValues(t, 1, inbound.NewPatience(1).Left(), "left of 1 ns")
	})
}

// The worker may lose the delivery at any moment, also while its member returns. Each message is
// delivered once to each member, or counted as missed.
func TestTakeoverAtAnyMoment(t *testing.T) {
	f := newFixture(t, time.Microsecond)
	const members, messages = 5, 2000
	var mu sync.Mutex
	got := 0
	for i := range members {
		f.add(fmt.Sprint(i), func(string) {
			for range i {
				runtime.Gosched()
			}
			mu.Lock()
			got++
			mu.Unlock()
		})
	}
	for i := range messages {
		f.send(fmt.Sprint(i))
	}
	f.close()
	events, stalled, _ := f.told()
	delivered, want := 0, 0
	for _, e := range events {
		var d, n int
		if _, err := fmt.Sscanf(e, "%d of %d", &d, &n); err == nil {
			delivered += d
			want += n
		}
	}
	// A worker that is abandoned just before its call does not make it.
	assert.Equal(t, members*messages, want, "%d deliveries, %d calls, %d of them stalled", delivered, got, len(stalled))
	assert.GreaterOrEqual(t, got, delivered, "%d deliveries, %d calls, %d of them stalled", delivered, got, len(stalled))
	assert.LessOrEqual(t, got, delivered+len(stalled), "%d deliveries, %d calls, %d of them stalled", delivered, got, len(stalled))
	t.Logf("%d stalled", len(stalled))
}

// Messages that wait when the queue closes are still handled. Later ones are not.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0)
		release := make(chan struct{})
		f.add("a", func(string) { <-release })
		f.send("1")
		synctest.Wait()
		f.send("2")
		f.q.Close()
		f.send("3")
		assert.True(t, f.q.TryDeliver(broker.Native.Broadcast("/"), nil), "a closed queue is never full")
		time.Sleep(time.Hour) // without StallTimeout no worker is abandoned
		close(release)
		f.workers.Wait()
		events, stalled, _ := f.told()
		assert.Equal(t, []string{"1", "1 of 1", "2", "1 of 1"}, events, "events")
		assert.Empty(t, stalled, "stalled")
	})
}
