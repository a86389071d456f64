package presence_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/fleettest"
	"github.com/crossroom/crossroom/presence"
)

// TestWhoKeepsMembers: a node that is cut off or frozen keeps the members of all others, who remove its own when it has
// expired. If all are cut off, all keep all. Afterwards all agree, within 2.2 Intervals.
func TestWhoKeepsMembers(t *testing.T) {
	for _, c := range []struct {
		name        string
		fault, undo func(a, b *fleettest.Node)
		a, b        int // members that each knows in the fault
	}{
		{"one cut", func(_, b *fleettest.Node) { b.Cut() }, func(_, b *fleettest.Node) { b.Heal() }, 1, 3},
		{"one frozen", func(_, b *fleettest.Node) { b.Freeze() }, func(_, b *fleettest.Node) { b.Thaw() }, 1, 3},
		{"all cut", func(a, b *fleettest.Node) { a.Cut(); b.Cut() }, func(a, b *fleettest.Node) { a.Heal(); b.Heal() }, 2, 3},
	} {
		fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
			nodes := []*fleettest.Node{f.Node("a", nil), f.Node("b", nil)}
			var views []*presence.Presence
			for _, n := range nodes {
				p, err := presence.New(t.Context(), n.Node, nil)
				require.NoError(t, err)
				t.Cleanup(func() { assert.NoError(t, p.Close(context.Background())) })
				require.NoError(t, p.Join("r", presence.Member{ID: n.ID()}))
				views = append(views, p)
			}
			require.NoError(t, views[0].AwaitSync(t.Context()))
			require.NoError(t, views[1].AwaitSync(t.Context()))
			members := func() (counts [2]int) {
				for i, p := range views {
					_, counts[i] = p.Count("r")
				}
				return counts
			}
			c.fault(nodes[0], nodes[1])
			require.NoError(t, views[1].Join("r", presence.Member{ID: "new"}))
			time.Sleep(10 * time.Second)
			assert.Equal(t, [2]int{c.a, c.b}, members(), "%s: in the fault", c.name)
			c.undo(nodes[0], nodes[1])
			time.Sleep(2200 * time.Millisecond)
			assert.Equal(t, [2]int{3, 3}, members(), "%s: afterwards", c.name)
		})
	}
}

// TestWithoutItsNode: calls on a closed node, and on a closed Presence.
func TestWithoutItsNode(t *testing.T) {
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		n := f.Node("a", nil)
		p, err := presence.New(t.Context(), n.Node, nil)
		require.NoError(t, err)
		var kinds []presence.Kind
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for c := range p.Watch(t.Context(), "r") {
				kinds = append(kinds, c.Kind)
			}
		}()
		f.Settle()
		for _, m := range []presence.Member{
			{ID: "x", User: "u"}, {ID: "x", User: "u"}, {ID: "x", User: "u", State: []byte("s")}, {ID: "x", User: "v"},
		} {
			require.NoError(t, p.Join("r", m))
		}
		require.NoError(t, n.Close(t.Context()))
		require.NoError(t, p.Join("r", presence.Member{ID: "y"}), "on a closed node")
		assert.ErrorIs(t, p.AwaitSync(t.Context()), presence.ErrClosed, "on a closed node")
		f.Settle()
		require.NoError(t, p.Close(t.Context()))
		<-ended
		assert.Equal(t, []presence.Kind{
			presence.Snapshot, presence.Joined, presence.Updated, presence.Left, presence.Joined, presence.Joined,
		}, kinds, "the same State again is no change; another User is another member")
		assert.False(t, p.Leave("r", "x"))
		assert.Zero(t, p.Remove("x"))
		for range p.Watch(t.Context(), "r") {
			t.Error("a change after Close")
		}
		assert.ErrorIs(t, p.Join("r", presence.Member{ID: "z"}), presence.ErrClosed)
	})
}
