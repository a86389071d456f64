package adapter_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// The loops have what the lists have, in both dialects and on several links, and end with the same kind of error.
func TestEachSocket(t *testing.T) {
	check := func(t *testing.T, nodes []*node) {
		for i := range 400 {
			nodes[1].addSocket(t, &talker{socket: newSocket(fmt.Sprint("s", i)), about: adapter.Description{Data: map[string]any{"text": strings.Repeat("x", 1500)}}}, fmt.Sprint("room", i%3))
		}
		nodes[0].add(t, "own", "room1")
		ctx, ns := t.Context(), nodes[0].ns
		for _, o := range []adapter.Operator{ns.All(), ns.To("room1"), ns.All().Except("room2"), ns.To("room1").InAll("s4"), ns.All().Local(), ns.All().Remote(), ns.To()} {
			want, err := o.FetchSockets(ctx)
			ok(t, err)
			var got []adapter.RemoteSocket
			for s, err := range o.EachSocket(ctx) {
				ok(t, err)
				got = append(got, s)
			}
			slices.SortFunc(got, func(a, b adapter.RemoteSocket) int { return strings.Compare(a.ID, b.ID) })
			require.Equal(t, len(want.List), len(got))
			for i, s := range want.List {
				slices.Sort(s.Rooms)
				slices.Sort(got[i].Rooms)
				require.Equal(t, s, got[i])
			}
			for range o.EachSocket(ctx) {
				break
			}
		}
		want, err := ns.AllRooms(ctx)
		ok(t, err)
		got := []string{}
		for room, err := range ns.EachRoom(ctx) {
			ok(t, err)
			got = append(got, room)
		}
		require.Equal(t, want.List, got)
		for range ns.EachRoom(ctx) {
			break
		}
		ok(t, nodes[0].Close(ctx))
		n := 0
		for _, err := range ns.All().EachSocket(ctx) {
			assert.ErrorIs(t, err, backplane.ErrClosed)
			n++
		}
		for _, err := range ns.EachRoom(ctx) {
			assert.ErrorIs(t, err, backplane.ErrClosed)
			n++
		}
		assert.Equal(t, 2, n)
	}
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) { check(t, fleet(t, 3, adapter.Options{Dialect: d})) })
	t.Run("several links", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			both, _, _ := newGenerations().mixed(t, adapter.Options{})
			check(t, both[:])
		})
	})
	for _, err := range (adapter.Operator{}).EachSocket(t.Context()) {
		assert.Error(t, err)
	}
}
