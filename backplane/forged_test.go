package backplane_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
)

// Forged nodes on the control channel are not waited for and are not missing.
func TestForgedNodes(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			f := trioOn(t, kind.wrap, backplane.Options{})
			w := f.wire("")
			for i := range 100 { // 5 in a second
				id := fmt.Sprint("forged", i)
				w.control([]int{hello, beat, full}[i%3], id, time.Now().UnixNano(), 1, chat)
				settle()
				began := time.Now()
				m, err := f.ns[0].Members(t.Context(), backplane.All())
				require.NoError(t, err, "%s: %+v", kind.name, m)
				assert.Len(t, m.List, 2, kind.name)
				assert.Zero(t, time.Since(began), "%s: a query took that long", kind.name)
				for k := max(0, i-20); k <= i; k++ { // they keep sending
					w.control(beat, fmt.Sprint("forged", k), time.Now().UnixNano(), 1)
				}
				assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), kind.name)
				time.Sleep(200 * time.Millisecond)
			}
			require.ErrorIs(t, f.ns[0].Join(t.Context(), "unknown", "x"), backplane.ErrNoSuchMember, kind.name)
		})
	}
}

// A flood of forged introductions takes little memory, for PeerTimeout only, and no other
// node's place.
func TestFloodOfForgedNodes(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			f := trioOn(t, kind.wrap, backplane.Options{})
			w := f.wire("")
			names := make([]string, 20)
			for i := range names {
				names[i] = fmt.Sprint("/", i, strings.Repeat("x", 1000))
			}
			flood := func(kind int, names ...string) {
				for i := range 1_500 {
					w.control(kind, fmt.Sprint("forged", i), 1, 1, names...)
					if i%500 == 0 {
						settle()
					}
				}
				settle()
			}
			for range 2 {
				flood(hello, names...)
				kept, sum := f.nodes[0].Kept()
				assert.LessOrEqual(t, kept, 5<<20, "%s: bytes kept", kind.name)
				assert.Equal(t, sum, kept, kind.name)
			}
			assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), kind.name)
			for range 4 {
				time.Sleep(time.Second)
				flood(beat)
			}
			kept, _ := f.nodes[0].Kept()
			assert.Less(t, kept, 1000, "%s: bytes kept, after PeerTimeout with signs of life", kind.name)
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			assert.Len(t, m.List, 2, kind.name)
			if err != nil {
				assert.Less(t, len(err.Error()), 2000, kind.name)
			}
			f.errs[0].take()
		})
	}
}

// A beat of a node that does not exist is followed by few frames.
func TestCostOfForgedBeats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size = 8
		c := newLargeFleet(t, size, nil, backplane.Options{})
		w := (&fleet{t: t, bus: c.bus}).wire("")
		before, began := c.published.Load(), time.Now()
		for i := range 1000 {
			w.control(beat, fmt.Sprint("forged", i), 1, 1)
		}
		time.Sleep(time.Second)
		settle()
		got := c.published.Load() - before
		t.Logf("1,000 forged beats: %d nodes sent %d frames in %v", size, got, time.Since(began))
		assert.LessOrEqual(t, got, int64(size*(64+64+8)))
	})
}

// A node that many made-up nodes ask for its list sends each of them one frame at most, and few lists.
func TestCostOfForgedRequestsForLists(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size = 8
		c := newLargeFleet(t, size, nil, backplane.Options{})
		w := (&fleet{t: t, bus: c.bus}).wire("")
		before, began := c.published.Load(), time.Now()
		for i := range 1000 {
			w.send(broker.NodeControl(c.nodes[0].ID()), pack([]any{1, ask, fmt.Sprint("forged", i), 1, 1, nil, 0, 0, 0}))
		}
		time.Sleep(time.Second)
		settle()
		got := c.published.Load() - before
		t.Logf("1,000 forged requests for a list: %d nodes sent %d frames in %v", size, got, time.Since(began))
		assert.LessOrEqual(t, got, int64(1000+64+100+size*8))
	})
}

// A later life of a node, and a later revision of its list, must be its own.
func TestForgedLaterLife(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			f := trioOn(t, kind.wrap, backplane.Options{})
			w := f.wire("")
			victim := f.nodes[2].ID()
			born := since(f.nodes[0], victim)
			complete := func(what string) {
				t.Helper()
				m, err := f.ns[0].Members(t.Context(), backplane.All())
				require.NoError(t, err, "%s, %s: %+v", kind.name, what, m)
				assert.Len(t, m.List, 2, "%s, %s", kind.name, what)
				assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), "%s, %s", kind.name, what)
			}
			for i := range 50 {
				w.control(hello, victim, born+int64(i)+1, 1)
				w.control(bye, victim, born+int64(i)+1, 1)
				settle()
				complete("a later life")
				time.Sleep(100 * time.Millisecond)
			}
			for i := range 20 {
				w.change(victim, born, 1, 2+i, nil, []string{chat})
				settle()
				time.Sleep(300 * time.Millisecond) // it sends its list
				settle()
				complete("a later list")
			}
		})
	}
}
