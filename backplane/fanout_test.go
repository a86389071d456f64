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
		return nil // of those that panic or block
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
			for mask := range 1 << n { // which of them panic
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
						if err := do(f); err != nil {
							t.Fatal(err)
						}
						settle()
						for i, s := range sockets {
							want := 1 - mask>>i&1
							if got := len(s.got) + len(s.gone); got != want {
								t.Errorf("member %d was called %d times with success, want %d", i, got, want)
							}
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
						if len(seen) != panics || st.Panics != uint64(panics) || st.Skipped != 0 {
							t.Errorf("%d panics reported, stats %+v, want %d", len(seen), st, panics)
						}
						if c.name != "Disconnect" && st.Deliveries != uint64(n-panics) {
							t.Errorf("%d deliveries, want %d", st.Deliveries, n-panics)
						}
					})
				})
			}
		}
	}
}

// What is stated of a member that does not return: reported once, the others go on in
// order, it misses what is counted, and gets messages again once it has returned.
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
				if got := s.next(t); got != w {
					t.Fatalf("%s got %s, want %s", s.id, got, w)
				}
			}
		}
		if d := time.Since(began); d < 400*time.Millisecond || d > 450*time.Millisecond {
			t.Errorf("the others waited %v, want 400 ms and up to an eighth more", d)
		}
		settle()
		stall := reported[*backplane.StalledError](t, f.errs[0])
		if stall.Member != "stuck" || stall.Namespace != chat {
			t.Errorf("reported %+v", stall)
		}
		if st := f.nodes[0].Stats(); st.Stalls != 1 || st.Skipped != 9 || st.Deliveries != 20 {
			t.Errorf("stats %+v", st)
		}

		// It also misses what this node sends, on the caller's goroutine.
		f.broadcast(0, "local", backplane.To("red"))
		if len(stuck.got) != 0 || f.nodes[0].Stats().Skipped != 10 {
			t.Errorf("stats %+v", f.nodes[0].Stats())
		}

		close(release)
		settle()
		f.broadcast(1, "again", backplane.To("red"))
		settle()
		equal(t, "stuck", stuck.all(), []string{"0", "again"})
		equal(t, "after", after.all(), []string{"local", "again"})
		f.errs[0].none(t)
		if st := f.nodes[0].Stats(); st.Stalls != 1 || st.Skipped != 10 {
			t.Errorf("stats %+v", st)
		}
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
					if err := c.remote(f); err != nil {
						t.Fatal(err)
					}
					f.broadcast(1, "next", backplane.To("red"))
					time.Sleep(10 * time.Second) // of the bubble's clock: more than all stalls take
					settle()
					for i, s := range sockets {
						got, want := len(s.got)+len(s.gone), 2*(1-mask>>i&1)
						if got != want {
							t.Errorf("member %d got %d calls, want %d", i, got, want)
						}
					}
					st := f.nodes[0].Stats()
					if st.Stalls != stalls || st.Skipped != stalls {
						t.Errorf("stats %+v, want %d stalls, each of which missed one message", st, stalls)
					}
					names := map[string]int{}
					for _, err := range f.errs[0].take() {
						if s, ok := errors.AsType[*backplane.StalledError](err); ok {
							names[s.Member]++
						} else {
							t.Errorf("reported %v", err)
						}
					}
					if len(names) != int(stalls) {
						t.Errorf("stalled: %v, want %d members", names, stalls)
					}
					close(release)
					settle()
					f.broadcast(1, "last", backplane.To("red"))
					settle()
					for i, s := range sockets {
						if all := s.all(); len(all) == 0 || all[len(all)-1] != "last" {
							t.Errorf("member %d got %v", i, all)
						}
					}
				})
			})
		}
	}
}

// One member may be stuck in several calls, of both nodes that share it.
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
			if st := f.nodes[i].Stats(); st.Stalls != 1 || st.Skipped != 1 {
				t.Errorf("node %d: %+v", i, st)
			}
		}
		close(release)
		settle()
		f.broadcast(2, "3", backplane.All())
		settle()
		equal(t, "stuck", stuck.all(), []string{"1", "1", "3", "3"})
	})
}

// A member that ends its goroutine (as testing.T.FailNow does) has not returned.
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
		equal(t, "polite", polite.all(), []string{"1", "2"})
		reported[*backplane.StalledError](t, f.errs[0])
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
		equal(t, "fresh", fresh.all(), []string{"2"})
		close(release)
		settle()
		f.broadcast(1, "3", backplane.All())
		settle()
		equal(t, "stuck", stuck.all(), []string{"1"})
		equal(t, "fresh", fresh.all(), []string{"3"})
	})
}

// A stalled member is one that somebody wants to get rid of: by its id that works.
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
			if touched, err := f.ns[from].DisconnectAll(t.Context(), backplane.All(), true); err != nil || touched.Count != 0 {
				t.Errorf("DisconnectAll: %+v, %v", touched, err)
			}
			if err := f.ns[from].Disconnect(t.Context(), "a", true); err != nil || len(stuck.gone) != 1 {
				t.Errorf("Disconnect: %v, %d calls", err, len(stuck.gone))
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
		if len(other.got) != 0 || f.nodes[0].Stats().Stalls != 0 {
			t.Errorf("went on without the member: %+v", f.nodes[0].Stats())
		}
		close(release)
		settle()
		equal(t, "stuck", stuck.all(), []string{"1", "2"})
		equal(t, "other", other.all(), []string{"2"})
	})
}

// On the goroutine of a local broadcast's caller a member blocks its caller, and other
// callers that reach it, until it returns. Messages of other nodes, to it and to others,
// go on.
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
		equal(t, "b", b.all(), []string{"y"})

		// The worker leaves it behind; then other callers pass it by, too.
		f.broadcast(1, "z", backplane.To("red"))
		time.Sleep(time.Second)
		settle()
		if e := reported[*backplane.StalledError](t, &log); e.Member != "a" || e.Namespace != chat {
			t.Errorf("reported %v", e)
		}
		f.broadcast(0, "w", backplane.To("red")) // does not block
		if st := f.nodes[0].Stats(); st.Skipped != 1 || st.Stalls != 1 {
			t.Errorf("stats %+v", st)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		settle()
		f.broadcast(0, "last", backplane.To("red"))
		settle()
		equal(t, "stuck", sorted(stuck.all()), []string{"last", "x", "z"})
		equal(t, "c", sorted(c.all()), []string{"last", "w", "x", "z"})
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
				if err := shut(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
					t.Errorf("Close returned %v after %v", err, time.Since(began))
				}
				close(release) // the goroutine that was left behind ends
				settle()
				if err := shut(t.Context()); err != nil {
					t.Errorf("Close again: %v", err)
				}
			})
		})
	}
}

// The queue in front of a stuck member is bounded: the broker has to wait, and tells
// of what it could not hold.
func TestQueueInFrontOfStuckMember(t *testing.T) {
	// The worker takes all that the queue holds at once, so that it may hold as much
	// again; one more is on its way to it.
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
			if got := len(stuck.got); got != 1+holds {
				t.Errorf("%d messages came, want %d", got, 1+holds)
			}
			if more == 0 {
				f.errs[0].none(t)
				return
			}
			gap := reported[*backplane.InterruptedError](t, f.errs[0])
			if loss, ok := errors.AsType[*lossError](gap); !ok || loss.Messages != more {
				t.Errorf("reported %v, want %d messages lost", gap, more)
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
			s.onDeliver = func() { // stalls in every tenth message, each time for long
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
			if len(mine) != n || !slices.IsSorted(mine) {
				t.Errorf("from %s came %d messages, in order: %t", from, len(mine), slices.IsSorted(mine))
			}
		}
		st := f.nodes[0].Stats()
		if st.Stalls == 0 || st.Deliveries+st.Skipped+st.Stalls != 6*2*n {
			t.Errorf("stats %+v do not add up to %d", st, 6*2*n)
		}
	})
}
