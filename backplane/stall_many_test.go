package backplane_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
)

// The delays of many blocked members do not add up: no query waits for its deadline, whether they
// block in one message, in one message each, or in any method.
func TestManyStalledMembers(t *testing.T) {
	for _, n := range []int{40, 200} {
		for what, send := range map[string]func(f *fleet){
			"one message":   func(f *fleet) { f.broadcast(1, "x", backplane.All()) },
			"one each":      func(f *fleet) { each(n, func(i int) { f.broadcast(1, "x", backplane.To(fmt.Sprint("m", i))) }) },
			"disconnection": func(f *fleet) { go f.ns[1].DisconnectAll(f.t.Context(), backplane.All(), false) },
			"acks":          func(f *fleet) { go f.ns[1].BroadcastAck(f.t.Context(), nil, backplane.All(), time.Second) },
		} {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{}, nil)
				release := make(chan struct{})
				for i := range n {
					s := newSocket(fmt.Sprint("m", i))
					s.onDeliver = func() { <-release }
					s.onDisconnect = s.onDeliver
					f.join(0, s)
				}
				fine := f.socket(0, "fine")
				send(f)
				f.broadcast(1, "fine", backplane.To("fine"))
				settle()
				began := time.Now()
				m, err := f.ns[1].Members(t.Context(), backplane.All())
				if assert.NoError(t, err, "%d, %s", n, what) {
					assert.Len(t, m.List, n+1, "%d, %s", n, what)
				}
				assert.NoError(t, f.ns[1].Join(t.Context(), "fine", "room"), "%d, %s", n, what)
				assert.LessOrEqual(t, time.Since(began), 950*time.Millisecond, "%d, %s", n, what)
				settle()
				assert.Contains(t, fine.all(), "fine", "%d, %s: the member that does not block", n, what)
				st := f.nodes[0].Stats()
				assert.Equal(t, uint64(n), st.Stalls, "%d, %s: %d stalls", n, what, st.Stalls)
				close(release)
				settle()
				f.broadcast(1, "again", backplane.All())
				settle()
				st = f.nodes[0].Stats()
				assert.Equal(t, uint64(n), st.Stalls, "%d, %s: %d stalls afterwards", n, what, st.Stalls)
				f.errs[0].take()
			})
		}
	}
}

func each(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

// Describe methods that do not return are reported once each. Their members are listed without
// description until the methods have returned. No query waits for its deadline.
func TestBlockingDescribe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const n = 40
		f := newFleet(t, 2, backplane.Options{}, nil)
		release := make(chan struct{})
		for i := range n {
			f.join(0, &countingDescriber{socket: newSocket(fmt.Sprint("slow", i)), release: release})
			f.socket(0, fmt.Sprint("quick", i))
		}
		look := func(asker int, want int) time.Duration {
			t.Helper()
			began := time.Now()
			m, err := f.ns[asker].MembersDetail(t.Context(), backplane.All())
			said := 0
			for _, info := range m.List {
				if info.Data != nil {
					said++
				}
			}
			if assert.NoError(t, err) {
				assert.Len(t, m.List, 2*n)
				assert.Equal(t, want, said)
			}
			return time.Since(began)
		}
		assert.LessOrEqual(t, look(1, n), 950*time.Millisecond)
		settle()
		stalled := map[string]bool{}
		for _, err := range f.errs[0].take() {
			if s, ok := errors.AsType[*backplane.OpError](err); ok && errors.Is(err, backplane.ErrStalled) {
				stalled[s.Name] = true
			}
		}
		require.Len(t, stalled, n, "reported")
		assert.EqualValues(t, n, f.nodes[0].Stats().Stalls, "reported")
		for asker := range 2 {
			if d := look(asker, n); d > 0 {
				t.Errorf("node %d: the second list took %v", asker, d)
			}
		}
		close(release)
		settle()
		look(1, 2*n)
		look(0, 2*n)
		f.errs[0].none(t)
	})
}

// The limit recovers: when no member has blocked for a while, a slow one has the whole
// StallTimeout.
func TestPatienceComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		release := make(chan struct{})
		for i := range 20 {
			s := newSocket(fmt.Sprint("m", i))
			s.onDeliver = func() { <-release }
			f.join(0, s)
		}
		f.broadcast(1, "x", backplane.All())
		time.Sleep(2 * time.Second)
		slow := newSocket("slow")
		slow.onDeliver = func() { time.Sleep(200 * time.Millisecond) }
		f.join(0, slow)
		f.broadcast(1, "1", backplane.All())
		f.broadcast(1, "2", backplane.All())
		time.Sleep(time.Second)
		assert.Equal(t, []string{"1", "2"}, slow.all(), "slow")
		f.errs[0].take()
		close(release)
		settle()
	})
}
