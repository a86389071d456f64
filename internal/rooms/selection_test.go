package rooms_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/rooms"
)

// A selection is a snapshot, although the registry lends it the list of a large room: members that
// are added, leave and are removed change neither it nor a second one.
func TestSelectionIsSnapshot(t *testing.T) {
	for _, selected := range [][]string{nil, {"room"}} {
		for _, size := range []int{1, 2, 127, 128, 300} {
			t.Run(fmt.Sprint(selected, size), func(t *testing.T) {
				r := rooms.New[int]()
				ids := map[string]bool{}
				add := func(i int) {
					id := fmt.Sprint("m", i)
					r.Add(i, id)
					r.Join(id, []string{"room"})
					ids[id] = true
				}
				for i := range size {
					add(i)
				}
				var first, second, after rooms.Selection[int]
				first.Find(r, rooms.Filter{Rooms: selected})
				second.Find(r, rooms.Filter{Rooms: selected})
				before := names(&first)
				require.Len(t, before, size)

				var reading sync.WaitGroup
				reading.Go(func() {
					for range 10 {
						if !slices.Equal(before, names(&first)) {
							t.Error("changed while the registry did")
						}
					}
				})
				for i := range size {
					id := fmt.Sprint("m", i)
					switch i % 3 {
					case 0:
						r.Remove(id)
						delete(ids, id)
					case 1:
						r.Leave(id, []string{"room"})
						delete(ids, id)
						if selected == nil {
							ids[id] = true
						}
					}
					add(size + i)
				}
				reading.Wait()
				require.Equal(t, before, names(&first))
				require.Equal(t, before, names(&second))

				after.Find(r, rooms.Filter{Rooms: selected})
				require.Len(t, after.List, len(ids))
				for _, id := range names(&after) {
					require.Contains(t, ids, id)
				}

				first.Reset() // borrowed memory is not its own
				require.Equal(t, before, names(&second))
				first.Find(r, rooms.Filter{Rooms: []string{"m0", "room"}, Except: []string{fmt.Sprint("m", 2*size-1)}})
				require.NotContains(t, names(&first), fmt.Sprint("m", 2*size-1))
				require.Equal(t, before, names(&second))
			})
		}
	}
}

func names(s *rooms.Selection[int]) (ids []string) {
	for _, e := range s.List {
		ids = append(ids, e.ID())
	}
	return ids
}

// TestManyNames: what a selection costs is proportional to the number of its names. The time limit is far from both: a search in
// lists takes minutes.
func TestManyNames(t *testing.T) {
	const n = 100_000
	r := rooms.New[int]()
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint("member ", i))
		r.Add(i, ids[i])
	}
	var s rooms.Selection[int]
	began := time.Now()
	for name, c := range map[string]struct {
		f    rooms.Filter
		want int
	}{
		"rooms":       {rooms.Filter{Rooms: ids}, n},
		"twice":       {rooms.Filter{Rooms: append(ids, ids...)}, n},
		"exceptions":  {rooms.Filter{Except: ids[1:]}, 1},
		"intersected": {rooms.Filter{All: ids}, 0},
	} {
		s.Find(r, c.f)
		assert.Len(t, s.List, c.want, name)
	}
	assert.Less(t, time.Since(began), 30*time.Second)
}
