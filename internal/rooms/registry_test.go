package rooms

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// model is a registry as sets: the rooms of each member, its own id among them.
type model map[string]map[string]bool

// held returns the rooms that have members.
func (m model) held() map[string]bool {
	all := map[string]bool{}
	for _, in := range m {
		maps.Copy(all, in)
	}
	return all
}

func (m model) holds(room string) bool {
	for _, in := range m {
		if in[room] {
			return true
		}
	}
	return false
}

// joined returns the number of rooms that members have joined, other than their own.
func (m model) joined() int {
	all := map[string]bool{}
	for id, in := range m {
		for room := range in {
			if room != id {
				all[room] = true
			}
		}
	}
	return len(all)
}

func (m model) selected(rooms, except []string) (out []string) {
	in := func(id string, names []string) bool {
		return slices.ContainsFunc(names, func(room string) bool { return m[id][room] })
	}
	for id := range m {
		if (len(rooms) == 0 || in(id, rooms)) && !in(id, except) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

func ids(s *Selection[int]) (out []string) {
	for _, e := range s.List {
		out = append(out, e.ID())
	}
	slices.Sort(out)
	return out
}

// Random operations have the effects that they have on sets, Watch's function is called for exactly the rooms that become
// empty, and the changes that WatchChanges' function gets have the same effects.
func TestRegistryAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 41))
		r, m := New[int](), model{}
		var emptied []string
		r.Watch(func(room string) { emptied = append(emptied, room) })

		shown, watched := map[string]bool{}, model{} // by the changes
		r.WatchChanges(func(c Change, room, member string) {
			switch c {
			case Created:
				require.False(t, shown[room])
				shown[room] = true
			case Joined:
				require.True(t, shown[room])
				if watched[member] == nil {
					watched[member] = map[string]bool{}
				}
				watched[member][room] = true
			case Left:
				require.True(t, watched[member][room])
				if delete(watched[member], room); len(watched[member]) == 0 {
					delete(watched, member)
				}
			case Deleted:
				require.True(t, shown[room] && !watched.holds(room))
				delete(shown, room)
			}
		})

		var members, names []string
		for i := range 30 {
			members = append(members, fmt.Sprint("m", i))
		}
		for i := range 2 * indexAbove {
			names = append(names, fmt.Sprint("r", i))
		}
		names = append(names, members[:4]...) // other members' own rooms
		pick := func(from []string, n int) []string {
			var out []string
			for range n {
				out = append(out, from[rnd.IntN(len(from))])
			}
			return out
		}
		var s Selection[int]
		for step := range 300 {
			id := members[rnd.IntN(len(members))]
			_, exists := m[id]
			before := m.held()
			emptied = nil
			// Rooms that are left and entered again during the operation.
			between := map[string]bool{}
			leave := func(id string, rooms []string) {
				for _, room := range rooms {
					delete(m[id], room)
					if before[room] && !m.holds(room) {
						between[room] = true
					}
				}
			}
			join := func(id string, rooms []string) {
				for _, room := range rooms {
					m[id][room] = true
				}
			}
			rooms, except, targets := pick(names, rnd.IntN(4)), pick(names, rnd.IntN(3)), pick(names, 1+rnd.IntN(3))
			if rnd.IntN(2) == 0 {
				rooms = pick(append(names, members...), rnd.IntN(3*manyNames))
			}
			if rnd.IntN(2) == 0 {
				except = pick(append(names, members...), rnd.IntN(3*manyNames))
			}
			switch rnd.IntN(8) {
			case 0, 1:
				require.Equal(t, !exists, r.Add(step, id))
				if !exists {
					m[id] = map[string]bool{id: true}
				}
			case 2:
				require.Equal(t, exists, r.Remove(id))
				delete(m, id)
			case 3, 4:
				many := append(pick(names, rnd.IntN(2*indexAbove)), pick([]string{id}, rnd.IntN(2))...)
				require.Equal(t, exists, r.Join(id, many))
				if exists {
					join(id, many)
				}
			case 5:
				many := append(pick(names, rnd.IntN(2*indexAbove)), pick([]string{id}, rnd.IntN(2))...)
				require.Equal(t, exists, r.Leave(id, many))
				leave(id, many)
			case 6:
				want := m.selected(rooms, except)
				s.FindAndJoin(r, Filter{Rooms: rooms, Except: except}, targets)
				require.Equal(t, want, ids(&s))
				for _, id := range want {
					join(id, targets)
				}
			case 7:
				want := m.selected(rooms, except)
				s.FindAndLeave(r, Filter{Rooms: rooms, Except: except}, targets)
				require.Equal(t, want, ids(&s))
				for _, id := range want {
					leave(id, targets)
				}
			}
			s.Reset()
			held := m.held()
			for room := range before {
				if !held[room] {
					between[room] = true
				}
			}
			require.Equal(t, sorted(between), slices.Sorted(slices.Values(emptied)), "seed %d, step %d", seed, step)

			require.Equal(t, len(m), r.Len())
			count, joined := r.Counts()
			require.Equal(t, []int{len(m), m.joined()}, []int{count, joined})
			require.Equal(t, sorted(held), slices.Sorted(slices.Values(r.Names())))
			for _, id := range members {
				in, ok := m[id]
				_, is := r.Member(id)
				got, has := r.RoomsOf(id)
				require.Equal(t, []bool{ok, ok, ok}, []bool{is, has, s.FindID(r, id)})
				require.Equal(t, sorted(in), slices.Sorted(slices.Values(got)))
				if in[id] {
					require.Equal(t, id, got[0], "its own id comes first")
				}
			}
			require.Equal(t, sorted(held), sorted(shown))
			for _, room := range names {
				require.Equal(t, held[room], r.Holds(room))
				require.Equal(t, len(m.selected([]string{room}, nil)), r.Count(Filter{Rooms: []string{room}}))
				require.Equal(t, held[room], watched.holds(room))
			}
			want := m.selected(rooms, except)
			require.Equal(t, len(want) > 0, r.Selects(Filter{Rooms: rooms, Except: except}))
			detail := s.FindDetail(r, Filter{Rooms: rooms, Except: except})
			require.Equal(t, want, ids(&s))
			for i, e := range s.List {
				require.Equal(t, sorted(m[e.ID()]), slices.Sorted(slices.Values(detail[i])))
			}
		}
	}
}

func TestEntryState(t *testing.T) {
	r := New[int]()
	r.Add(1, "a")
	var s Selection[int]
	require.True(t, s.FindID(r, "a"))
	e := s.List[0]
	require.True(t, e.Ready())

	e.Stall()
	e.Stall()
	e.Unstall()
	require.False(t, e.Ready(), "one call of two is still stalled")
	e.Unstall()
	require.True(t, e.Ready())
	require.False(t, e.Gone())

	require.True(t, e.Mute())
	require.False(t, e.Mute(), "not the first")
	e.Unmute()
	require.True(t, e.Muted())
	e.Unmute()
	require.False(t, e.Muted())

	e.Stall()
	require.False(t, e.Gone(), "stalled is not removed")
	r.Remove("a")
	e.Unstall()
	require.True(t, e.Gone())
	require.False(t, e.Ready())
}

type embedding struct{ Embed[*embedding] }

type pointing struct{ *Embed[*pointing] }

func TestLacksEntry(t *testing.T) {
	require.True(t, LacksEntry(new(pointing)))
	require.False(t, LacksEntry(&pointing{new(Embed[*pointing])}))
	require.False(t, LacksEntry(new(embedding)))
	require.False(t, LacksEntry(1))
}

// A member that embeds its entry has it in one registry at a time.
func TestEmbeddedEntry(t *testing.T) {
	m := new(embedding)
	first, second := New[*embedding](), New[*embedding]()
	first.Add(m, "a")
	second.Add(m, "b")
	var s Selection[*embedding]
	s.FindID(first, "a")
	require.Same(t, m.embedded(), s.List[0])
	s.FindID(second, "b")
	require.NotSame(t, m.embedded(), s.List[0])
	require.Equal(t, "b", s.List[0].ID())
	require.False(t, s.List[0].Muted(), "an entry in use is not a late call")
	require.False(t, m.embedded().Muted())
}

// A large list is lent and not copied, and a selection with further names does not write to it. Memory of ordinary
// size is reused, and without pointers to the members.
func TestMemoryOfSelections(t *testing.T) {
	r := New[int]()
	for i := range lendFrom {
		id := fmt.Sprint("m", i)
		r.Add(i, id)
		r.Join(id, []string{"large"})
	}
	for i := range lendFrom - 1 {
		r.Join(fmt.Sprint("m", i), []string{"small"})
	}
	large, small := &r.rooms["large"].roster, &r.rooms["small"].roster
	var s Selection[int]

	s.Find(r, Filter{Rooms: []string{"small"}})
	require.False(t, small.lent.Load())
	require.NotSame(t, &small.list[0], &s.List[0])
	own := &s.own[0]
	s.Reset()
	require.Nil(t, *own)
	s.Find(r, Filter{Rooms: []string{"small"}})
	require.Same(t, own, &s.List[0])

	s.Find(r, Filter{Rooms: []string{"large", "small"}})
	require.False(t, large.lent.Load(), "a list that is not selected alone is copied")
	require.Len(t, s.List, lendFrom)
	require.Equal(t, 2, s.Places())
	s.Find(r, Filter{Rooms: []string{"large", "m0"}, Except: []string{"m1", "m2", "m3"}})
	require.Equal(t, 5, s.Places())
	s.Reset()
	require.Equal(t, place[int]{}, s.except[:1][0])
	require.Equal(t, place[int]{}, s.seen[:1][0])

	s.Find(r, Filter{Rooms: []string{"large"}})
	require.True(t, large.lent.Load())
	require.Same(t, &large.list[0], &s.List[0])
	require.Equal(t, len(s.List), cap(s.List), "an append would write to the registry's list")

	s.own, s.except, s.seen = make([]*Entry[int], keepEntries), make([]place[int], keepPlaces), make([]place[int], keepPlaces)
	s.Reset()
	require.Equal(t, []int{keepEntries, keepPlaces, keepPlaces}, []int{cap(s.own), cap(s.except), cap(s.seen)})
	s.own, s.except, s.seen = make([]*Entry[int], 0, keepEntries+1), make([]place[int], 0, keepPlaces+1), make([]place[int], 0, keepPlaces+1)
	s.Reset()
	require.Equal(t, []int{0, 0, 0}, []int{cap(s.own), cap(s.except), cap(s.seen)})
}

// A room that has lost three quarters of its members gives up memory.
func TestRoomsShrink(t *testing.T) {
	r := New[int]()
	const most = 1000
	for i := range most {
		r.Add(i, fmt.Sprint(i))
	}
	before := cap(r.all.list)
	for i := range most - 2 {
		r.Remove(fmt.Sprint(i))
	}
	require.Less(t, cap(r.all.list), before/8)
	require.GreaterOrEqual(t, cap(r.all.list), 32, "a small list is not moved again and again")
	require.Equal(t, 2, r.Len())
}
