package backplane_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// changeLog records changes.
type changeLog struct {
	observe.Nop
	on func(observe.Change) // called first; may be nil

	mu   sync.Mutex
	list []observe.Change
}

func (*changeLog) Events() observe.Events { return observe.Changes }

func (l *changeLog) Changed(c observe.Change) {
	if l.on != nil {
		l.on(c)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, c)
}

// take returns the recorded changes in words, and forgets them.
func (l *changeLog) take() (words []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.list {
		if c.Peer != "" {
			words = append(words, c.Kind.String()+" "+c.Peer)
			continue
		}
		w := c.Kind.String() + " " + c.Room
		if c.Member != "" {
			w += " " + c.Member
		}
		words = append(words, w)
	}
	l.list = nil
	return words
}

// TestChangesOfRooms: calls of this node and requests of another one cause the same changes.
func TestChangesOfRooms(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log changeLog
		f := newFleet(t, 0, backplane.Options{}, nil)
		f.add(&backplane.Options{Observers: []observe.Observer{&log}}, nil)
		f.add(&backplane.Options{}, nil)
		f.meet()
		settle()
		log.take()
		wants := func(when string, want ...string) {
			t.Helper()
			settle()
			assert.Equal(t, want, log.take(), when)
		}
		ctx := t.Context()
		f.socket(0, "a")
		wants("Add", "room created a", "member joined a a")
		require.NoError(t, f.ns[0].Join(ctx, "a", "x", "y", "x"))
		wants("Join", "room created x", "member joined x a", "room created y", "member joined y a")
		require.NoError(t, f.ns[0].Join(ctx, "a", "x"))
		wants("Join again")
		f.socket(0, "b", "x")
		wants("another member", "room created b", "member joined b b", "member joined x b")
		require.NoError(t, f.ns[0].Leave(ctx, "a", "x", "z"))
		wants("Leave", "member left x a")
		_, err := f.ns[1].JoinAll(ctx, backplane.To("a"), "far")
		require.NoError(t, err)
		wants("JoinAll of another node", "room created far", "member joined far a")
		_, err = f.ns[1].LeaveAll(ctx, backplane.To("a"), "far", "y")
		require.NoError(t, err)
		wants("LeaveAll of another node", "member left far a", "room deleted far", "member left y a", "room deleted y")
		require.NoError(t, f.ns[0].Leave(ctx, "a", "a"))
		wants("leaves the room of its own id", "member left a a", "room deleted a")
		require.NoError(t, f.ns[0].Join(ctx, "b", "a"))
		wants("another member joins that room", "room created a", "member joined a b")
		require.NoError(t, f.ns[0].Join(ctx, "a", "a"))
		wants("and itself again", "member joined a a")
		require.True(t, f.ns[0].Remove("b"))
		wants("Remove", "member left x b", "room deleted x", "member left a b", "member left b b", "room deleted b")
		require.True(t, f.ns[0].Remove("a"))
		wants("Remove of the last one", "member left a a", "room deleted a")
	})
}

// TestChangesOfPeers: on brokers that count, and on those that do not.
func TestChangesOfPeers(t *testing.T) {
	for _, kind := range brokerKinds {
		t.Run(kind.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var log changeLog
				f := newFleet(t, 0, backplane.Options{}, nil)
				f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{Observers: []observe.Observer{&log}}, nil)
				settle()
				assert.Empty(t, log.take(), "alone")
				for range 3 {
					f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{}, nil)
				}
				f.meet()
				settle()
				got := log.take()
				slices.Sort(got)
				want := []string{}
				for _, id := range f.ids(1, 2, 3) {
					want = append(want, "peer joined "+id)
				}
				slices.Sort(want)
				require.Equal(t, want, got)

				require.NoError(t, f.nodes[1].Close(t.Context()))
				settle()
				assert.Equal(t, []string{"peer left " + f.nodes[1].ID()}, log.take())

				memorytest.Cut(f.brokers[2], nil)
				time.Sleep(10 * time.Second)
				settle()
				assert.Equal(t, []string{"peer lost " + f.nodes[2].ID()}, log.take())
				memorytest.Heal(f.brokers[2])
				time.Sleep(10 * time.Second)
				settle()
				assert.Equal(t, []string{"peer returned " + f.nodes[2].ID()}, log.take())

				f.socket(3, "keeps it")
				done := make(chan error, 1)
				go func() {
					done <- f.nodes[3].Drain(t.Context(), 1000, func(ns *backplane.Namespace, m backplane.Member) {
						go func() { time.Sleep(time.Second); ns.Remove(m.ID()) }()
					})
				}()
				require.NoError(t, <-done)
				settle()
				assert.Equal(t, []string{"peer leaving " + f.nodes[3].ID(), "peer left " + f.nodes[3].ID()}, log.take())

				memorytest.Cut(f.brokers[0], nil) // its own outage says nothing about the others
				time.Sleep(time.Minute)
				memorytest.Heal(f.brokers[0])
				time.Sleep(5 * time.Second)
				settle()
				assert.Empty(t, log.take())
			})
		})
	}
}

// TestChangesOfASlowObserver: the node works on. What does not fit is counted, and reported in its place.
func TestChangesOfASlowObserver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const most = 1 << 16
		release := make(chan struct{})
		log := changeLog{on: func(observe.Change) { <-release }}
		f := newFleet(t, 0, backplane.Options{}, nil)
		f.add(&backplane.Options{Observers: []observe.Observer{&log}}, nil)
		f.socket(0, "m")
		settle()
		rooms := make([]string, most)
		for i := range rooms {
			rooms[i] = fmt.Sprint("r", i)
		}
		require.NoError(t, f.ns[0].Join(t.Context(), "m", rooms...)) // two changes each
		lost := f.nodes[0].Stats().ChangesLost
		assert.Greater(t, lost, uint64(most/2))
		settle()
		close(release)
		settle()
		log.take()
		require.NoError(t, f.ns[0].Leave(t.Context(), "m", "r0"))
		settle()
		log.mu.Lock()
		defer log.mu.Unlock()
		require.Len(t, log.list, 2)
		assert.EqualValues(t, lost, log.list[0].Lost)
		assert.Zero(t, log.list[1].Lost)
	})
}

// TestChangesOfARudeObserver: an observer that panics is reported, and one may call the node.
func TestChangesOfARudeObserver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var f *fleet
		rude := &changeLog{on: func(c observe.Change) {
			if c.Kind == observe.MemberJoined {
				panic("rude")
			}
		}}
		greeter := &changeLog{on: func(c observe.Change) {
			if c.Kind == observe.MemberJoined && c.Room == c.Member {
				assert.NoError(t, f.ns[0].Join(t.Context(), c.Member, "everybody"))
			}
		}}
		f = newFleet(t, 0, backplane.Options{}, nil)
		f.add(&backplane.Options{Observers: []observe.Observer{rude, greeter}}, nil)
		f.socket(0, "a")
		settle()
		in, _ := f.ns[0].LocalRoomsOf("a")
		assert.Equal(t, []string{"a", "everybody"}, in)
		assert.Equal(t, []string{"room created a", "member joined a a", "room created everybody", "member joined everybody a"}, greeter.take())
		assert.EqualValues(t, 2, f.nodes[0].Stats().Panics)
		f.errs[0].take()
	})
}

// BenchmarkChanges: what a change costs, and that a node without an observer pays nothing.
func BenchmarkChanges(b *testing.B) {
	for _, observed := range []bool{false, true} {
		name, o := "unset", &backplane.Options{}
		if observed {
			name, o = "observed", &backplane.Options{Observers: []observe.Observer{&changeCounter{}}}
		}
		b.Run("join and leave/"+name, func(b *testing.B) {
			ns := one(b, o, nil)
			require.NoError(b, ns.Add(b.Context(), newNull("m")))
			for b.Loop() {
				_ = ns.Join(b.Context(), "m", "room")
				_ = ns.Leave(b.Context(), "m", "room")
			}
		})
		b.Run("broadcast/"+name, func(b *testing.B) {
			ns := one(b, o, nil)
			for i := range 100 {
				require.NoError(b, ns.Add(b.Context(), newNull(fmt.Sprint("m", i))))
			}
			for b.Loop() {
				_ = ns.Broadcast(b.Context(), []byte("text"), backplane.All())
			}
		})
	}
}

type changeCounter struct {
	observe.Nop
	n int
}

func (*changeCounter) Events() observe.Events { return observe.Changes }

func (c *changeCounter) Changed(observe.Change) { c.n++ }
