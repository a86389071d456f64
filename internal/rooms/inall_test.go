package rooms_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/rooms"
)

// A filter selects what its words say, for random memberships and filters.
func TestFilters(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(most int) (names []string) {
		for range rnd.IntN(most + 1) {
			names = append(names, []string{"a", "b", "c", "m1", "m7", "nowhere"}[rnd.IntN(6)])
		}
		return names
	}
	for round := range 60 {
		r := rooms.New[int]()
		in := map[string][]string{}
		for i := range []int{3, 12, 200}[round%3] {
			id := fmt.Sprint("m", i)
			r.Add(i, id)
			in[id] = slices.DeleteFunc(pick(4), func(name string) bool { return name == "nowhere" })
			r.Join(id, in[id])
			in[id] = append(in[id], id)
			if rnd.IntN(8) == 0 {
				r.Leave(id, []string{id})
				in[id] = slices.DeleteFunc(in[id], func(name string) bool { return name == id })
			}
		}
		var s rooms.Selection[int]
		for range 20 {
			f := rooms.Filter{Rooms: pick(3), All: pick(2), Except: pick(2)}
			var want []string
			for id, names := range in {
				has := func(name string) bool { return slices.Contains(names, name) }
				hasNot := func(name string) bool { return !has(name) }
				if (len(f.Rooms) == 0 || slices.ContainsFunc(f.Rooms, has)) && !slices.ContainsFunc(f.All, hasNot) && !slices.ContainsFunc(f.Except, has) {
					want = append(want, id)
				}
			}
			s.Find(r, f)
			got := names(&s)
			slices.Sort(want)
			slices.Sort(got)
			require.True(t, slices.Equal(want, got), "%+v of %v: %v instead of %v", f, in, got, want)
			require.Equal(t, len(want) > 0, r.Selects(f))
			require.Equal(t, len(want), r.Count(f))
			s.Reset()
		}
	}
}
