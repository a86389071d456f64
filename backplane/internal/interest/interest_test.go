package interest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/internal/rooms"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// system stands for a broker's subscription. Each call takes some time.
type system struct {
	t       testing.TB
	takes   time.Duration
	members *rooms.Registry[any]

	mu      sync.Mutex
	filters map[broker.Filter]bool
	adds    int
	removes int
	busy    bool
	refuse  func(broker.Filter) error
	stopped chan struct{} // while it is not nil, Add waits for it
}

func (s *system) begin() {
	s.mu.Lock()
	assert.False(s.t, s.busy, "two calls of the subscription at a time")
	s.busy = true
	stopped := s.stopped
	s.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
	if s.takes > 0 {
		time.Sleep(s.takes)
	}
	s.mu.Lock()
	s.busy = false
}

func (s *system) Add(ctx context.Context, filters ...broker.Filter) error {
	s.begin()
	defer s.mu.Unlock()
	s.adds++
	if s.refuse != nil {
		for _, f := range filters {
			if err := s.refuse(f); err != nil {
				return err
			}
		}
	}
	for _, f := range filters {
		s.filters[f] = true
	}
	return ctx.Err()
}

// Remove also checks that all rooms with members are subscribed to.
func (s *system) Remove(_ context.Context, filters ...broker.Filter) error {
	s.begin()
	defer s.mu.Unlock()
	s.removes++
	for _, f := range filters {
		delete(s.filters, f)
	}
	for _, name := range s.members.Names() {
		assert.True(s.t, s.covers(name), "room %q has a member and no filter", name)
	}
	return nil
}

func (s *system) Close(context.Context) error { return nil }

// covers reports whether messages to a room are received. mu is held.
func (s *system) covers(room string) bool {
	return s.filters[broker.Native.EveryRoom("/")] ||
		s.filters[broker.Exactly(broker.Native.Room("/", room))] && s.filters[broker.Exactly(broker.Native.Broadcast("/"))]
}

func (s *system) has(room string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.covers(room)
}

// restart continues the waiting calls.
func (s *system) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.stopped)
	s.stopped = nil
}

func (s *system) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.filters)
}

// fixture is a set with members. Its end checks that no goroutine and no subscription is left.
type fixture struct {
	*Set
	*system
	members *rooms.Registry[any]
	workers sync.WaitGroup
	lost    []string
	refused []error
}

func newFixture(t *testing.T, o Options) *fixture {
	f := &fixture{members: rooms.New[any]()}
	f.system = &system{t: t, members: f.members, filters: map[broker.Filter]bool{}}
	o.Protocol, o.Namespace, o.Members, o.Workers = broker.Native, "/", f.members, &f.workers
	o.Lost = func(rooms []string, _ error) { f.lost = append(f.lost, rooms...) }
	o.Refused = func(err error) { f.refused = append(f.refused, err) }
	f.Set = New(o)
	for _, filter := range f.Filters() {
		f.filters[filter] = true
	}
	f.members.Watch(f.Left)
	ctx, cancel := context.WithCancel(t.Context())
	f.Start(ctx, f.system)
	t.Cleanup(func() {
		f.Set.Close()
		cancel()
		f.workers.Wait()
	})
	return f
}

func (f *fixture) add(ctx context.Context, id string) error {
	return f.Enter(ctx, []string{id}, func() { f.members.Add(id, id) })
}

func (f *fixture) join(ctx context.Context, id string, rooms ...string) error {
	return f.Enter(ctx, rooms, func() { f.members.Join(id, rooms) })
}

// turn changes the mode as the judge does.
func (f *fixture) turn(dynamic bool) {
	f.Set.mu.Lock()
	defer f.Set.mu.Unlock()
	f.goal = dynamic
	f.wake()
}

func TestRoomIsLiveWhenEnterReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true})
		f.takes = time.Millisecond
		require.NoError(t, f.add(t.Context(), "m"))
		assert.True(t, f.has("m"))
		require.NoError(t, f.join(t.Context(), "m", "red", "blue", "red", ""))
		assert.True(t, f.has("red") && f.has("blue"))
		assert.Equal(t, Stats{Dynamic: true, Rooms: 3}, f.Stats())

		before := f.adds
		require.NoError(t, f.join(t.Context(), "m", "red"))
		synctest.Wait()
		assert.Equal(t, before, f.adds, "calls for a room that is subscribed to")
	})
}

func TestRoomLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true, Linger: time.Second})
		require.NoError(t, f.add(t.Context(), "m"))
		require.NoError(t, f.join(t.Context(), "m", "red", "blue", ""))
		f.members.Leave("m", []string{"red", "blue", ""})
		time.Sleep(900 * time.Millisecond)
		assert.True(t, f.has("red"))
		require.NoError(t, f.join(t.Context(), "m", "blue"))
		time.Sleep(time.Second)
		synctest.Wait()
		assert.False(t, f.has("red"))
		assert.True(t, f.has("blue") && f.has("m"))
		assert.True(t, f.has(""), "the empty room")
		f.members.Remove("m")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, 2, f.len(), "filters without members")
		assert.Zero(t, f.Stats().Rooms)
		assert.Empty(t, f.rooms)
	})
}

func TestManyJoinsAreFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true})
		f.takes = time.Millisecond
		require.NoError(t, f.add(t.Context(), "m"))
		var all sync.WaitGroup
		for i := range 20_000 {
			all.Go(func() { assert.NoError(t, f.join(t.Context(), "m", fmt.Sprint(i))) })
		}
		all.Wait()
		assert.Less(t, f.adds, 12)
		assert.Equal(t, 20_003, f.len())
	})
}

func TestEndedContextLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true})
		require.NoError(t, f.add(t.Context(), "m"))
		f.stopped = make(chan struct{})
		for i := range 1000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			require.ErrorIs(t, f.join(ctx, "m", fmt.Sprint("room", i)), context.DeadlineExceeded)
			cancel()
		}
		assert.LessOrEqual(t, len(f.rooms), 2, "rooms that no call waits for")
		assert.Less(t, len(f.pending), 200)
		f.restart()
		names, _ := f.members.RoomsOf("m")
		assert.Equal(t, []string{"m"}, names)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Equal(t, 3, f.len())
	})
}

var errDenied = errors.New("denied")

func deny(rooms ...string) func(broker.Filter) error {
	return func(f broker.Filter) error {
		for _, room := range rooms {
			if !f.IsEveryRoom() && f.Channel().Kind() == broker.KindRoom && f.Channel().Name() == room {
				return errDenied
			}
		}
		return nil
	}
}

func TestRefusedRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true})
		f.takes = time.Millisecond
		require.NoError(t, f.add(t.Context(), "m"))
		f.refuse = deny("secret")
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { assert.NoError(t, f.join(t.Context(), "m", fmt.Sprint(i))) })
		}
		all.Go(func() { assert.ErrorIs(t, f.join(t.Context(), "m", "fine", "secret"), errDenied) })
		all.Wait()
		held, _ := f.members.RoomsOf("m")
		assert.Len(t, held, 101)
		assert.False(t, f.has("secret"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.False(t, f.has("fine"), "a room that was asked for beside one that was refused")
		assert.True(t, f.Dynamic())
	})
}

func TestRefusalMakesAutomaticStatic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true, Automatic: true})
		require.NoError(t, f.add(t.Context(), "m"))
		f.refuse = deny("secret", "secret2")
		require.NoError(t, f.join(t.Context(), "m", "fine", "secret"))
		synctest.Wait()
		assert.False(t, f.Dynamic())
		assert.Equal(t, 1, f.len())
		assert.Equal(t, []error{errDenied}, f.refused)
		require.NoError(t, f.join(t.Context(), "m", "secret2"))
		unwanted(f, 10_000, time.Minute)
		assert.False(t, f.Dynamic(), "after a refusal")
	})
}

func TestRefusalOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true, Automatic: true})
		require.NoError(t, f.add(t.Context(), "m"))
		f.refuse = func(f broker.Filter) error {
			if f.IsEveryRoom() {
				return errDenied
			}
			return deny("secret")(f)
		}
		require.ErrorIs(t, f.join(t.Context(), "m", "secret"), errDenied)
		require.NoError(t, f.join(t.Context(), "m", "fine"))
		require.ErrorIs(t, f.join(t.Context(), "m", "secret"), errDenied)
		assert.True(t, f.Dynamic())
	})
}

func TestRefusalInTheMiddleOfAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Automatic: true})
		f.takes = time.Millisecond
		require.NoError(t, f.add(t.Context(), "m"))
		require.NoError(t, f.join(t.Context(), "m", "fine", "secret", "other"))
		f.refuse = deny("secret")
		f.turn(true)
		require.NoError(t, f.join(t.Context(), "m", "more"))
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		assert.False(t, f.Dynamic())
		assert.Equal(t, 1, f.len())
	})
}

// During an interruption of the subscription, calls do not wait. The end of the interruption is
// passed on when all rooms are subscribed to.
func TestInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true})
		require.NoError(t, f.add(t.Context(), "m"))
		f.stopped = make(chan struct{})
		waits := make(chan error)
		go func() { waits <- f.join(t.Context(), "m", "before") }()
		synctest.Wait()
		f.Interrupted()
		require.NoError(t, <-waits)
		require.NoError(t, f.join(t.Context(), "m", "during"))
		for i := range 1000 { // churn in an outage
			room := fmt.Sprint("room", i)
			require.NoError(t, f.join(t.Context(), "m", room))
			f.members.Leave("m", []string{room})
		}
		assert.Less(t, len(f.rooms), 10)
		assert.Less(t, len(f.pending), 200)
		var resumed atomic.Int32
		f.Resumed(func() { resumed.Add(1) })
		synctest.Wait()
		assert.Zero(t, resumed.Load())
		f.Interrupted()
		assert.EqualValues(t, 1, resumed.Load(), "the end of the first interruption, before the second")
		f.refuse = deny("during")
		f.Resumed(func() { resumed.Add(1) })
		f.restart()
		synctest.Wait()
		assert.EqualValues(t, 2, resumed.Load())
		assert.True(t, f.has("before"))
		assert.Equal(t, []string{"during"}, f.lost)
		f.Interrupted()
		f.Resumed(func() { resumed.Add(1) })
		assert.EqualValues(t, 3, resumed.Load())
	})
}

func TestEnterFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true})
		f.takes = time.Millisecond
		require.NoError(t, f.add(t.Context(), "m"))
		enter := func(wait bool, rooms ...string) func(context.Context) error {
			return f.EnterFirst(rooms, wait, func() { f.members.Join("m", rooms) })
		}
		live := enter(true, "red")
		require.NotNil(t, live)
		assert.True(t, f.members.Holds("red"))
		assert.False(t, f.has("red"))
		require.NoError(t, live(t.Context()))
		assert.True(t, f.has("red"))
		assert.Nil(t, enter(true, "red"))
		assert.Nil(t, enter(false, "blue"))
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		assert.True(t, f.has("blue"))

		f.refuse = deny("no", "never")
		assert.ErrorIs(t, enter(true, "no")(t.Context()), errDenied)
		assert.Nil(t, enter(false, "never"))
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, []string{"never"}, f.lost)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorIs(t, enter(true, "late")(ended), context.Canceled)
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		assert.True(t, f.has("late"), "its member is in the room")
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dynamic: true})
		require.NoError(t, f.add(t.Context(), "m"))
		stopped := make(chan struct{})
		f.stopped = stopped
		failed := make(chan error)
		go func() { failed <- f.join(t.Context(), "m", "red") }()
		synctest.Wait()
		f.Set.Close()
		assert.ErrorIs(t, <-failed, broker.ErrClosed)
		assert.ErrorIs(t, f.join(t.Context(), "m", "blue"), broker.ErrClosed)
		f.members.Leave("m", []string{"m"})
		close(stopped)
	})
}

// unwanted delivers so many messages that no member wants, evenly.
func unwanted(f *fixture, n int, during time.Duration) {
	for range n {
		f.Unwanted()
		time.Sleep(during / time.Duration(n))
	}
}

func TestAutomaticMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Automatic: true})
		for i := range 1000 { // with which more than 11 a second are too many
			require.NoError(t, f.add(t.Context(), fmt.Sprint(i)))
		}
		unwanted(f, 1000, 100*time.Second)
		assert.False(t, f.Dynamic(), "10 messages a second")
		unwanted(f, 200, 10*time.Second)
		synctest.Wait()
		assert.True(t, f.Dynamic(), "20 messages a second")
		assert.Equal(t, 1002, f.len())
		assert.EqualValues(t, 1, f.Stats().Changes)

		// Rooms that are created and deleted.
		for i := range 2000 {
			room := fmt.Sprint("room", i)
			require.NoError(t, f.join(t.Context(), "0", room))
			f.members.Leave("0", []string{room})
			time.Sleep(3 * time.Millisecond)
		}
		assert.False(t, f.Dynamic(), "333 new rooms a second")
		assert.Equal(t, 1, f.len())
		unwanted(f, 700, 7*time.Second)
		assert.False(t, f.Dynamic(), "right after a change")
		unwanted(f, 700, 7*time.Second)
		assert.True(t, f.Dynamic(), "ten seconds after a change")

		// Rooms that cost four messages each.
		f.turn(false)
		synctest.Wait()
		time.Sleep(time.Minute)
		f.Set.mu.Lock()
		f.judge.since = time.Now()
		f.Set.mu.Unlock()
		for i := range 6400 {
			f.Unwanted()
			if i%3 == 0 {
				room := fmt.Sprint("room", i)
				require.NoError(t, f.join(t.Context(), "0", room))
				f.members.Leave("0", []string{room})
			}
			time.Sleep(time.Millisecond)
		}
		assert.False(t, f.Dynamic(), "one change of rooms for 3 messages")
	})
}

func TestNodeThatOnlySends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Automatic: true})
		unwanted(f, 256, 4*time.Second)
		synctest.Wait()
		assert.True(t, f.Dynamic())
		assert.False(t, f.has("room"))
	})
}

func TestUnawaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Automatic: true, Dynamic: true})
		f.Unawaited()
		synctest.Wait()
		assert.False(t, f.Dynamic())
		unwanted(f, 10_000, 10*time.Minute)
		assert.False(t, f.Dynamic())

		fixed := newFixture(t, Options{Dynamic: true})
		fixed.Unawaited()
		synctest.Wait()
		assert.True(t, fixed.Dynamic())
	})
}

// TestChurn enters and leaves rooms while the mode changes and some calls of the subscription fail.
// At each moment every room with a member is subscribed to.
func TestChurn(t *testing.T) {
	const people, steps = 16, 400
	f := newFixture(t, Options{Dynamic: true, Linger: time.Millisecond})
	f.takes = 50 * time.Microsecond
	for i := range people {
		require.NoError(t, f.add(t.Context(), fmt.Sprint(i)))
	}
	var all sync.WaitGroup
	for i := range people {
		all.Go(func() {
			id := fmt.Sprint(i)
			for range steps {
				room := fmt.Sprint("room", rand.IntN(40))
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(20))*100*time.Microsecond)
				if err := f.join(ctx, id, room); err == nil {
					assert.True(t, f.has(room), "%s is not subscribed to", room)
				} else {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				}
				cancel()
				f.members.Leave(id, []string{room})
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
	}()
	for dynamic := false; ; dynamic = !dynamic {
		f.turn(dynamic)
		select {
		case <-time.After(3 * time.Millisecond):
			continue
		case <-done:
		}
		break
	}
	f.turn(true)
	require.Eventually(t, func() bool { return f.len() == people+2 && f.Stats().Rooms == people }, 10*time.Second, time.Millisecond)
	f.turn(false)
	require.Eventually(t, func() bool { return f.len() == 1 }, 10*time.Second, time.Millisecond)
}
