package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/rooms"
)

// The ways in which a member's methods are called.
var calls = []struct {
	name   string
	remote func(f *fleet) error // from node 1 to members of node 0
	local  func(f *fleet) error // by node 0 itself
	what   string
}{
	{"Deliver", func(f *fleet) error { return f.ns[1].Broadcast(f.t.Context(), []byte("x"), backplane.To("red")) },
		func(f *fleet) error { return f.ns[0].Broadcast(f.t.Context(), []byte("x"), backplane.To("red")) }, "Deliver"},
	{"DeliverAck", func(f *fleet) error { return ackOnly(f, 1) }, func(f *fleet) error { return ackOnly(f, 0) }, "DeliverAck"},
	{"Disconnect", func(f *fleet) error { return disconnectAll(f, 1) }, func(f *fleet) error { return disconnectAll(f, 0) }, "Disconnect"},
}

func ackOnly(f *fleet, node int) error {
	_, err := f.ns[node].BroadcastAck(f.t.Context(), []byte("x"), backplane.To("red"), 100*time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // it panics or blocks
	}
	return err
}

func disconnectAll(f *fleet, node int) error {
	_, err := f.ns[node].DisconnectAll(f.t.Context(), backplane.To("red"), true)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func TestPanicsOfMembers(t *testing.T) {
	const n = 4
	for _, c := range calls {
		for _, where := range []string{"remote", "local"} {
			do := c.remote
			if where == "local" {
				do = c.local
			}
			for mask := range 1 << n { // the members that panic
				t.Run(fmt.Sprintf("%s/%s/%04b", c.name, where, mask), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						f := newFleet(t, 2, backplane.Options{}, nil)
						var sockets []*socket
						panics := 0
						for i := range n {
							s := newSocket(fmt.Sprint(i))
							if mask>>i&1 == 1 {
								panics++
								s.onDeliver = func() { panic("boom") }
								s.onDisconnect = s.onDeliver
							}
							f.join(0, s, "red")
							sockets = append(sockets, s)
						}
						require.NoError(t, do(f))
						settle()
						for i, s := range sockets {
							want := 1 - mask>>i&1
							assert.Equal(t, want, len(s.got)+len(s.gone), "calls of member %d with success", i)
						}
						seen := map[string]bool{}
						for _, err := range f.errs[0].take() {
							p, ok := errors.AsType[*backplane.PanicError](err)
							if !ok || p.What != c.what || p.Value != "boom" || !strings.Contains(string(p.Stack), "onDeliver") && !strings.Contains(string(p.Stack), "fanout_test.go") {
								t.Errorf("reported %v", err)
								continue
							}
							seen[p.Member] = true
						}
						st := f.nodes[0].Stats()
						assert.Len(t, seen, panics, "panics reported, stats %+v", st)
						assert.Equal(t, uint64(panics), st.Panics, "panics reported, stats %+v", st)
						assert.Zero(t, st.Skipped, "panics reported, stats %+v", st)
						if c.name != "Disconnect" && st.Deliveries != uint64(n-panics) {
							t.Errorf("%d deliveries, want %d", st.Deliveries, n-panics)
						}
					})
				})
			}
		}
	}
}

// The stated behaviour for a member that does not return: it is reported once, the others continue
// in order, its missed messages are counted, and it gets messages again after it has returned.
func TestStalledMember(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		before, stuck, after := f.socket(0, "before", "red"), newSocket("stuck"), newSocket("after")
		release := make(chan struct{})
		stuck.onDeliver = func() { <-release }
		f.join(0, stuck, "red")
		f.join(0, after, "red")

		for i := range 10 {
			f.broadcast(1, fmt.Sprint(i), backplane.To("red"))
		}
		began := time.Now()
		want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
		for _, s := range []*socket{before, after} {
			for _, w := range want {
				require.Equal(t, w, s.next(t), s.id)
			}
		}
		d := time.Since(began)
		assert.GreaterOrEqual(t, d, 400*time.Millisecond, "the others waited")
		assert.LessOrEqual(t, d, 450*time.Millisecond, "the others waited")
		settle()
		stall := reportedStall(t, f.errs[0])
		assert.Equal(t, "stuck", stall.Name, "reported")
		assert.Equal(t, chat, stall.Namespace, "reported")
		st := f.nodes[0].Stats()
		assert.EqualValues(t, 1, st.Stalls)
		assert.EqualValues(t, 9, st.Skipped)
		assert.EqualValues(t, 20, st.Deliveries)

		// It also misses what this node sends on the caller's goroutine.
		f.broadcast(0, "local", backplane.To("red"))
		require.Empty(t, stuck.got, "stats %+v", f.nodes[0].Stats())
		assert.EqualValues(t, 10, f.nodes[0].Stats().Skipped, "stats %+v", f.nodes[0].Stats())

		close(release)
		settle()
		f.broadcast(1, "again", backplane.To("red"))
		settle()
		assert.Equal(t, []string{"0", "again"}, stuck.all(), "stuck")
		assert.Equal(t, []string{"local", "again"}, after.all(), "after")
		f.errs[0].none(t)
		st = f.nodes[0].Stats()
		assert.EqualValues(t, 1, st.Stalls)
		assert.EqualValues(t, 10, st.Skipped)
	})
}

// Stalls of every method, in every position, several in one message.
func TestStallsEverywhere(t *testing.T) {
	const n = 3
	for _, c := range calls {
		for mask := 1; mask < 1<<n; mask++ {
			t.Run(fmt.Sprintf("%s/%03b", c.name, mask), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFleet(t, 2, backplane.Options{RequestsTimeout: 20 * time.Second}, nil)
					release := make(chan struct{})
					var sockets []*socket
					stalls := uint64(0)
					for i := range n {
						s := newSocket(fmt.Sprint(i))
						if mask>>i&1 == 1 {
							stalls++
							s.onDeliver = func() { <-release }
							s.onDisconnect = s.onDeliver
						}
						f.join(0, s, "red")
						sockets = append(sockets, s)
					}
					require.NoError(t, c.remote(f))
					f.broadcast(1, "next", backplane.To("red"))
					time.Sleep(10 * time.Second) // of the bubble's clock: more than all stalls take
					settle()
					for i, s := range sockets {
						assert.Equal(t, 2*(1-mask>>i&1), len(s.got)+len(s.gone), "member %d calls", i)
					}
					st := f.nodes[0].Stats()
					assert.Equal(t, stalls, st.Stalls, "stats")
					assert.Equal(t, stalls, st.Skipped, "stats")
					names := map[string]int{}
					for _, err := range f.errs[0].take() {
						if s, ok := errors.AsType[*backplane.OpError](err); ok && errors.Is(err, backplane.ErrStalled) {
							names[s.Name]++
						} else {
							t.Errorf("reported %v", err)
						}
					}
					assert.Len(t, names, int(stalls), "stalled")
					close(release)
					settle()
					f.broadcast(1, "last", backplane.To("red"))
					settle()
					for i, s := range sockets {
						all := s.all()
						if assert.NotEmpty(t, all, "member %d", i) {
							assert.Equal(t, "last", all[len(all)-1], "member %d", i)
						}
					}
				})
			})
		}
	}
}

// One member may be stalled in several calls, of both nodes that share it.
func TestStalledMemberOfTwoNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		shared := rooms.New[backplane.Member]()
		f := newFleet(t, 3, backplane.Options{}, func(i int) *nsOptions {
			if i < 2 {
				return &nsOptions{Rooms: shared}
			}
			return nil
		})
		release := make(chan struct{})
		stuck := newSocket("stuck")
		stuck.onDeliver = func() { <-release }
		f.join(0, stuck)
		f.broadcast(2, "1", backplane.All()) // both of the two nodes call it
		time.Sleep(5 * time.Second)
		settle()
		f.broadcast(2, "2", backplane.All())
		settle()
		for i := range 2 {
			st := f.nodes[i].Stats()
			assert.EqualValues(t, 1, st.Stalls, "node %d", i)
			assert.EqualValues(t, 1, st.Skipped, "node %d", i)
		}
		close(release)
		settle()
		f.broadcast(2, "3", backplane.All())
		settle()
		assert.Equal(t, []string{"1", "1", "3", "3"}, stuck.all(), "stuck")
	})
}

// A member that ends its goroutine (as testing.T.FailNow does) counts as one that has not returned.
func TestMemberEndsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		rude := newSocket("rude")
		rude.onDeliver = runtime.Goexit
		f.join(0, rude)
		polite := f.socket(0, "polite")
		f.broadcast(1, "1", backplane.All())
		f.broadcast(1, "2", backplane.All())
		time.Sleep(2 * time.Second)
		settle()
		assert.Equal(t, []string{"1", "2"}, polite.all(), "polite")
		reportedStall(t, f.errs[0])
	})
}

func TestStalledMemberIsRemoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		release := make(chan struct{})
		stuck := newSocket("a")
		stuck.onDeliver = func() { <-release }
		f.join(0, stuck)
		f.broadcast(1, "1", backplane.All())
		time.Sleep(2 * time.Second)
		f.ns[0].Remove("a")
		fresh := f.socket(0, "a")
		f.broadcast(1, "2", backplane.All())
		settle()
		assert.Equal(t, []string{"2"}, fresh.all(), "fresh")
		close(release)
		settle()
		f.broadcast(1, "3", backplane.All())
		settle()
		assert.Equal(t, []string{"1"}, stuck.all(), "stuck")
		assert.Equal(t, []string{"3"}, fresh.all(), "fresh")
	})
}

// Applications disconnect stalled members by their ids.
func TestStalledMemberIsDisconnected(t *testing.T) {
	for _, from := range []int{0, 1} {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 2, backplane.Options{}, nil)
			release := make(chan struct{})
			stuck := newSocket("a")
			stuck.onDeliver = func() { <-release }
			f.join(0, stuck)
			f.broadcast(1, "1", backplane.All())
			time.Sleep(2 * time.Second)
			touched, err := f.ns[from].DisconnectAll(t.Context(), backplane.All(), true)
			if assert.NoError(t, err, "DisconnectAll: %+v", touched) {
				assert.Zero(t, touched.Total, "DisconnectAll: %+v", touched)
			}
			err = f.ns[from].Disconnect(t.Context(), "a", true)
			if assert.NoError(t, err) {
				assert.Len(t, stuck.gone, 1)
			}
			close(release)
		})
	}
}

func TestNoStallTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{StallTimeout: -1}, nil)
		release := make(chan struct{})
		stuck, other := newSocket("a"), newSocket("b")
		stuck.onDeliver = func() { <-release }
		f.join(0, stuck)
		f.broadcast(1, "1", backplane.All())
		settle()
		f.join(0, other)
		f.broadcast(1, "2", backplane.All())
		time.Sleep(time.Hour)
		settle()
		require.Empty(t, other.got, "went on without the member: %+v", f.nodes[0].Stats())
		assert.Zero(t, f.nodes[0].Stats().Stalls, "went on without the member: %+v", f.nodes[0].Stats())
		close(release)
		settle()
		assert.Equal(t, []string{"1", "2"}, stuck.all(), "stuck")
		assert.Equal(t, []string{"2"}, other.all(), "other")
	})
}

// On the goroutine of a local broadcast's caller a blocked member blocks this caller, and the other
// callers that reach it, until it returns. Messages of other nodes, to it and to others, continue.
func TestLocalBroadcastBlocksItsCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log errorLog
		f := newFleet(t, 2, backplane.Options{OnError: log.add}, nil)
		release := make(chan struct{})
		stuck := newSocket("a")
		stuck.onDeliver = func() { <-release }
		f.join(0, stuck, "red")
		c := f.socket(0, "c", "red")
		b := f.socket(0, "b", "blue")
		done := make(chan error, 1)
		go func() { done <- f.ns[0].Broadcast(t.Context(), []byte("x"), backplane.To("red")) }()
		time.Sleep(time.Minute)
		settle()
		select {
		case err := <-done:
			t.Fatalf("returned %v", err)
		default:
		}
		log.none(t)
		f.broadcast(1, "y", backplane.To("blue"))
		settle()
		assert.Equal(t, []string{"y"}, b.all(), "b")

		// The worker gives up the member. Then other callers skip it, too.
		f.broadcast(1, "z", backplane.To("red"))
		time.Sleep(time.Second)
		settle()
		e := reportedStall(t, &log)
		assert.Equal(t, "a", e.Name)
		assert.Equal(t, chat, e.Namespace)
		f.broadcast(0, "w", backplane.To("red")) // does not block
		st := f.nodes[0].Stats()
		assert.EqualValues(t, 1, st.Skipped)
		assert.EqualValues(t, 1, st.Stalls)
		close(release)
		assert.NoError(t, <-done)
		settle()
		f.broadcast(0, "last", backplane.To("red"))
		settle()
		assert.ElementsMatch(t, []string{"last", "x", "z"}, stuck.all(), "stuck")
		assert.ElementsMatch(t, []string{"last", "w", "x", "z"}, c.all(), "c")
	})
}

func TestCloseWithStuckMember(t *testing.T) {
	for _, what := range []string{"node", "namespace"} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{}, nil)
				release := make(chan struct{})
				stuck := newSocket("a")
				stuck.onDeliver = func() { <-release }
				f.join(0, stuck)
				f.broadcast(1, "x", backplane.All())
				settle()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				shut := f.nodes[0].Close
				if what == "namespace" {
					shut = f.ns[0].Close
				}
				began := time.Now()
				err := shut(ctx)
				assert.ErrorIs(t, err, context.DeadlineExceeded, "Close returned")
				assert.Equal(t, 3*time.Second, time.Since(began), "Close returned")
				close(release) // the abandoned goroutine ends
				settle()
				assert.NoError(t, shut(t.Context()), "Close again")
			})
		})
	}
}

// The queue in front of a blocked member is bounded: the broker must wait, and reports what it
// could not hold.
func TestQueueInFrontOfStuckMember(t *testing.T) {
	// The worker takes the whole queue at once, so twice as much is held, and one more message is
	// in transit.
	const holds = 2*backplane.InboundMessages + 1 + memoryQueue
	for _, more := range []int{0, 1000} {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 2, backplane.Options{StallTimeout: -1}, nil)
			release := make(chan struct{})
			stuck := newSocket("a")
			stuck.onDeliver = func() { <-release }
			stuck.got = make(chan *backplane.Message, 1+holds+more)
			f.join(0, stuck)
			send := func(n int) {
				for range n {
					f.broadcast(1, "x", backplane.All())
				}
				settle()
			}
			// The worst case: the member is stuck in the first message of a full queue.
			send(1)
			send(backplane.InboundMessages)
			release <- struct{}{}
			settle()
			send(holds + more - backplane.InboundMessages)
			close(release)
			settle()
			assert.Equal(t, 1+holds, len(stuck.got), "messages")
			if more == 0 {
				f.errs[0].none(t)
				return
			}
			gap := reported[*backplane.InterruptedError](t, f.errs[0])
			loss, ok := errors.AsType[*lossError](gap)
			if assert.True(t, ok, "reported %v", gap) {
				assert.Equal(t, more, loss.Messages, "reported %v", gap)
			}
		})
	}
}

// Order is kept when many goroutines send while members stall.
func TestOrderAcrossStalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, backplane.Options{StallTimeout: 20 * time.Millisecond}, nil)
		good := f.socket(0, "good")
		for i := range 5 {
			s := newSocket(fmt.Sprint("slow", i))
			calls := 0
			s.onDeliver = func() { // blocks for a long time in every tenth message
				if calls++; calls%10 == i {
					time.Sleep(time.Second)
				}
			}
			f.join(0, s)
		}
		const n = 100
		for i := range n {
			f.broadcast(1, fmt.Sprintf("a%03d", i), backplane.All())
			f.broadcast(2, fmt.Sprintf("b%03d", i), backplane.All())
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		settle()
		all := good.all()
		for _, from := range []string{"a", "b"} {
			mine := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !strings.HasPrefix(s, from) })
			assert.Len(t, mine, n, "from %s came %d messages, in order", from, len(mine))
			assert.True(t, slices.IsSorted(mine), "from %s came %d messages, in order", from, len(mine))
		}
		st := f.nodes[0].Stats()
		assert.NotZero(t, st.Stalls, "stats")
		assert.EqualValues(t, 6*2*n, st.Deliveries+st.Skipped+st.Stalls, "stats")
	})
}
