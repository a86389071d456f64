package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// one is a node alone with one namespace.
func one(t testing.TB, opts *backplane.Options, no *nsOptions) *backplane.Namespace {
	t.Helper()
	return oneOn(t, memorybroker.New(nil), opts, no)
}

func oneOn(t testing.TB, b broker.Broker, opts *backplane.Options, no *nsOptions) *backplane.Namespace {
	t.Helper()
	node, err := backplane.New(b, opts)
	require.NoError(t, err)
	ns, err := openNamespace(t.Context(), node, chat, no)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, errors.Join(node.Close(ctx), b.Close(ctx)))
	})
	return ns
}

// roomModel is the simplest possible registry.
type roomModel map[string]map[string]bool

func (m roomModel) add(id string) { m[id] = map[string]bool{id: true} }

func (m roomModel) selects(id string, target backplane.Target) bool {
	t := backplane.SelectionOf(target)
	in := len(t.Rooms) == 0 && !t.Picked
	for _, r := range t.Rooms {
		in = in || m[id][r]
	}
	for _, r := range t.All {
		in = in && m[id][r]
	}
	for _, r := range t.Except {
		in = in && !m[id][r]
	}
	return in
}

func (m roomModel) selected(t backplane.Target) []string {
	ids := []string{}
	for id := range m {
		if m.selects(id, t) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (m roomModel) names() []string {
	set := map[string]bool{}
	for _, rooms := range m {
		maps.Copy(set, rooms)
	}
	return slices.Sorted(maps.Keys(set))
}

func TestRoomsAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	ns := one(t, nil, nil)
	ctx := t.Context()
	model := roomModel{}
	sockets := map[string]*socket{}

	var ids, names []string
	for i := range 40 {
		ids = append(ids, fmt.Sprint("m", i))
	}
	for i := range 60 { // so many that members get an index
		names = append(names, fmt.Sprint("r", i))
	}
	names = append(names, "", "m0", "m1", "m2") // rooms that may be members too
	pick := func(from []string, n int) []string {
		list := make([]string, 0, n)
		for range n {
			list = append(list, from[rnd.IntN(len(from))])
		}
		return list
	}
	target := func() backplane.Target {
		t := backplane.All().InAll(pick(names, rnd.IntN(6)/4)...).Except(pick(names, rnd.IntN(3))...).Local()
		if rooms := pick(names, rnd.IntN(4)); len(rooms) > 0 || rnd.IntN(2) == 0 {
			t = t.To(rooms...)
		}
		return t
	}

	for step := range 6000 {
		id := ids[rnd.IntN(len(ids))]
		_, exists := model[id]
		switch op := rnd.IntN(20); {
		case op < 3: // add
			s := newSocket(id)
			err := ns.Add(ctx, s)
			require.NotEqual(t, exists, err == nil, "step %d: Add(%s): %v, there is one", step, id, err)
			if !exists {
				model.add(id)
				sockets[id] = s
			}
		case op == 3: // remove
			require.Equal(t, exists, ns.Remove(id), "step %d: Remove(%s), there is one", step, id)
			delete(model, id)
		case op < 10: // join, sometimes many at once
			if !exists {
				continue
			}
			rooms := pick(names, 1+rnd.IntN(1+rnd.IntN(40)))
			if rnd.IntN(10) == 0 {
				rooms = append(rooms, id)
			}
			require.NoError(t, ns.Join(ctx, id, rooms...))
			for _, r := range rooms {
				model[id][r] = true
			}
		case op < 15: // leave
			if !exists {
				continue
			}
			rooms := pick(names, 1+rnd.IntN(30))
			if rnd.IntN(5) == 0 {
				rooms = append(rooms, id)
			}
			require.NoError(t, ns.Leave(ctx, id, rooms...))
			for _, r := range rooms {
				delete(model[id], r)
			}
		case op == 15: // all selected join
			to, rooms := target(), pick(names, 1+rnd.IntN(3))
			want := model.selected(to)
			got, err := ns.JoinAll(ctx, to, rooms...)
			require.NoError(t, err, "step %d: JoinAll(%v): %+v", step, to, got)
			require.Equal(t, len(want), got.Total, "step %d: JoinAll(%v): %+v", step, to, got)
			for _, id := range want {
				for _, r := range rooms {
					model[id][r] = true
				}
			}
		case op == 16: // all selected leave, also the rooms that select them
			to := target()
			rooms := append(pick(names, 1+rnd.IntN(3)), backplane.SelectionOf(to).Rooms...)
			want := model.selected(to)
			got, err := ns.LeaveAll(ctx, to, rooms...)
			require.NoError(t, err, "step %d: LeaveAll(%v): %+v", step, to, got)
			require.Equal(t, len(want), got.Total, "step %d: LeaveAll(%v): %+v", step, to, got)
			for _, id := range want {
				for _, r := range rooms {
					delete(model[id], r)
				}
			}
		case op == 17: // a message
			to := target()
			require.NoError(t, ns.Broadcast(ctx, []byte("x"), to))
			for id := range model {
				want := 0
				if model.selects(id, to) {
					want = 1
				}
				require.Equal(t, want, len(sockets[id].all()), "step %d: %s messages for %v", step, id, to)
			}
		default: // look
			to := target()
			members, err := ns.MembersDetail(ctx, to)
			require.NoError(t, err)
			var got []string
			for _, m := range members.List {
				got = append(got, m.ID)
				assert.ElementsMatch(t, slices.Sorted(maps.Keys(model[m.ID])), m.Rooms, "rooms of "+m.ID)
			}
			assert.ElementsMatch(t, model.selected(to), got, "step %d: members of %v", step, to)
			assert.ElementsMatch(t, model.names(), ns.LocalRooms(), "step %d: names", step)
			rooms, ok := ns.LocalRoomsOf(id)
			require.Equal(t, exists, ok, "step %d: RoomsOf(%s)", step, id)
			require.Equal(t, len(model), ns.Len(), "step %d: RoomsOf(%s)", step, id)
			if ok {
				assert.ElementsMatch(t, slices.Sorted(maps.Keys(model[id])), rooms, "RoomsOf")
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// The room's list shrinks, and members keep their places in it.
func TestRoomShrinks(t *testing.T) {
	ns := one(t, nil, nil)
	ctx := t.Context()
	const n = 3000
	for i := range n {
		id := fmt.Sprint(i)
		require.NoError(t, ns.Add(ctx, newNull(id)))
		require.NoError(t, ns.Join(ctx, id, "big", "other"))
	}
	for i := range n - 2 {
		id := fmt.Sprint(i)
		if i%2 == 0 {
			ns.Remove(id)
		} else if err := ns.Leave(ctx, id, "big"); err != nil {
			t.Fatal(err)
		}
	}
	m, err := ns.Members(ctx, backplane.To("big").Local())
	require.NoError(t, err)
	require.Len(t, m.List, 2, "members are left")
	m, _ = ns.Members(ctx, backplane.To("other").Local())
	assert.Len(t, m.List, n/2+1, "members in the other room")
}

// null is a member that drops everything.
type null string

func newNull(id string) null { return null(id) }

func (n null) ID() string               { return string(n) }
func (null) Deliver(*backplane.Message) {}
func (null) Disconnect(bool)            {}

// Names from messages must neither keep the messages in memory nor change with them.
func TestRoomsKeepNoMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		f.socket(0, "a")
		w := f.wire("stranger")
		buf, err := backplane.NativeCodec().AppendRequest(nil, chat, &wire.Request{
			ID: "stranger.1", Op: wire.OpJoin, Origin: "stranger", ByID: true, Member: "a", Targets: []string{"room"},
		})
		require.NoError(t, err)
		// The bus delivers a copy, so the message is handled directly here.
		f.ns[0].HandleForTest(requestsChannel, buf)
		settle()
		for i := range buf {
			buf[i] = 'X'
		}
		assert.ElementsMatch(t, []string{"a", "room"}, f.ns[0].LocalRooms(), "names")
		assert.Len(t, w.saw(kindNodeResponses), 1, "no answer")
	})
}

func TestSelectionOfRepeatedNames(t *testing.T) {
	ns := one(t, nil, nil)
	const n = 2000
	for i := range n {
		id := fmt.Sprint(i)
		require.NoError(t, ns.Add(t.Context(), newNull(id)))
		require.NoError(t, ns.Join(t.Context(), id, "lobby"))
	}
	// A repetition must not cost a visit of every member.
	rooms := slices.Repeat([]string{"lobby", "nowhere"}, 100_000)
	assert.Equal(t, 3, backplane.PlacesOf(ns, rooms, append(rooms, "1")), "looked at rooms")
	m, err := ns.Members(t.Context(), backplane.To(rooms...).Except(rooms[1:2]...).Local())
	require.NoError(t, err)
	assert.Len(t, m.List, n, "members")
}

// embedded is a member with an embedded entry.
type embedded struct {
	rooms.Embed[backplane.Member]
	id  string
	got int
}

func (m *embedded) ID() string                 { return m.id }
func (m *embedded) Deliver(*backplane.Message) { m.got++ }
func (m *embedded) Disconnect(bool)            {}

// An Entry behind a nil pointer is an error, not a crash.
func TestNilEntry(t *testing.T) {
	ns := one(t, nil, nil)
	for _, m := range []backplane.Member{
		struct {
			backplane.Member
			*rooms.Embed[backplane.Member]
		}{newNull("a"), nil},
		struct {
			*rooms.Embed[backplane.Member]
			null
		}{nil, newNull("b")},
		struct {
			backplane.Member
			*base
		}{newNull("c"), nil},
	} {
		err := ns.Add(t.Context(), m)
		ne, ok := errors.AsType[*backplane.NameError](err)
		if assert.True(t, ok, "Add: %v", err) {
			assert.Equal(t, m.ID(), ne.Name, "Add: %v", err)
		}
	}
	assert.Zero(t, ns.Len(), "members")
}

type base struct {
	_ int
	rooms.Embed[backplane.Member]
}

// TestEmbeddedEntry adds one member to two registries, and again to one that it left. Each has its
// own state of it.
func TestEmbeddedEntry(t *testing.T) {
	a, b := one(t, nil, nil), one(t, nil, nil)
	m := &embedded{id: "m"}
	ctx := t.Context()
	expect := func(ns *backplane.Namespace, room string, want int) {
		t.Helper()
		m.got = 0
		require.NoError(t, ns.Broadcast(ctx, pack([]any{"x"}), backplane.To(room).Local()))
		assert.Equal(t, want, m.got, "deliveries in room %q", room)
	}
	for _, err := range []error{a.Add(ctx, m), b.Add(ctx, m), a.Join(ctx, "m", "red"), b.Join(ctx, "m", "blue")} {
		require.NoError(t, err)
	}
	expect(a, "red", 1)
	expect(a, "blue", 0)
	expect(b, "red", 0)
	expect(b, "blue", 1)
	a.Remove("m")
	expect(a, "red", 0)
	expect(b, "blue", 1)
	require.NoError(t, a.Add(ctx, m))
	expect(a, "red", 0)
	expect(a, "m", 1)
	expect(b, "blue", 1)
}

// TestMovesOfManyMembers moves all members of a large room, of which some or none are RoomMembers: the list of the room, which
// the registry lends, stays as it is.
func TestMovesOfManyMembers(t *testing.T) {
	for _, roomMembers := range []int{0, 100} {
		for node := range 2 {
			t.Run(fmt.Sprint(roomMembers, " of 200, moved by node ", node), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFleet(t, 2, backplane.Options{}, nil)
					var all []*socket
					for i := range 200 {
						s := newSocket(fmt.Sprint("s", i))
						all = append(all, s)
						if i < roomMembers {
							f.join(0, &roomSocket{socket: s})
						} else {
							f.join(0, s)
						}
					}
					count, err := f.ns[node].JoinAll(t.Context(), backplane.All(), "room")
					require.NoError(t, err)
					assert.Equal(t, 200, count.Total)
					f.broadcast(1, "to the room", backplane.To("room"))
					f.broadcast(1, "to all", backplane.All())
					settle()
					_, err = f.ns[node].LeaveAll(t.Context(), backplane.To("room"), "room")
					require.NoError(t, err)
					f.broadcast(1, "to none", backplane.To("room"))
					f.broadcast(1, "to all again", backplane.All())
					settle()
					for _, s := range all {
						assert.Equal(t, []string{"to the room", "to all", "to all again"}, s.all(), s.id)
					}
				})
			})
		}
	}
}

// roomSocket is a socket that is a RoomMember.
type roomSocket struct{ *socket }

func (roomSocket) Joined([]string) {}
func (roomSocket) Left([]string)   {}
