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
	if err != nil {
		t.Fatal(err)
	}
	ns, err := openNamespace(t.Context(), node, chat, no)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(node.Close(ctx), b.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// roomModel is the plainest registry there can be.
type roomModel map[string]map[string]bool

func (m roomModel) add(id string) { m[id] = map[string]bool{id: true} }

func (m roomModel) selects(id string, target backplane.Target) bool {
	t := backplane.SelectionOf(target)
	in := len(t.Rooms) == 0
	for _, r := range t.Rooms {
		in = in || m[id][r]
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
	for i := range 60 { // so many that members get an index of theirs
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
		return backplane.To(pick(names, rnd.IntN(4))...).Except(pick(names, rnd.IntN(3))...).Local()
	}

	for step := range 6000 {
		id := ids[rnd.IntN(len(ids))]
		_, exists := model[id]
		switch op := rnd.IntN(20); {
		case op < 3: // add
			s := newSocket(id)
			if err := ns.Add(s); (err == nil) == exists {
				t.Fatalf("step %d: Add(%s): %v, there is one: %t", step, id, err, exists)
			}
			if !exists {
				model.add(id)
				sockets[id] = s
			}
		case op == 3: // remove
			if ns.Remove(id) != exists {
				t.Fatalf("step %d: Remove(%s), there is one: %t", step, id, exists)
			}
			delete(model, id)
		case op < 10: // join: many at a time, now and then
			if !exists {
				continue
			}
			rooms := pick(names, 1+rnd.IntN(1+rnd.IntN(40)))
			if rnd.IntN(10) == 0 {
				rooms = append(rooms, id)
			}
			if err := ns.Join(ctx, id, rooms...); err != nil {
				t.Fatal(err)
			}
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
			if err := ns.Leave(ctx, id, rooms...); err != nil {
				t.Fatal(err)
			}
			for _, r := range rooms {
				delete(model[id], r)
			}
		case op == 15: // all selected join
			to, rooms := target(), pick(names, 1+rnd.IntN(3))
			want := model.selected(to)
			got, err := ns.JoinAll(ctx, to, rooms...)
			if err != nil || got.Count != len(want) {
				t.Fatalf("step %d: JoinAll(%v): %+v, %v, want %v", step, to, got, err, want)
			}
			for _, id := range want {
				for _, r := range rooms {
					model[id][r] = true
				}
			}
		case op == 16: // all selected leave, also the very rooms they are selected by
			to := target()
			rooms := append(pick(names, 1+rnd.IntN(3)), backplane.SelectionOf(to).Rooms...)
			want := model.selected(to)
			got, err := ns.LeaveAll(ctx, to, rooms...)
			if err != nil || got.Count != len(want) {
				t.Fatalf("step %d: LeaveAll(%v): %+v, %v, want %v", step, to, got, err, want)
			}
			for _, id := range want {
				for _, r := range rooms {
					delete(model[id], r)
				}
			}
		case op == 17: // a message
			to := target()
			if err := ns.Broadcast(ctx, []byte("x"), to); err != nil {
				t.Fatal(err)
			}
			for id := range model {
				want := 0
				if model.selects(id, to) {
					want = 1
				}
				if got := len(sockets[id].all()); got != want {
					t.Fatalf("step %d: %s got %d messages for %v, want %d", step, id, got, to, want)
				}
			}
		default: // look
			to := target()
			members, err := ns.MembersDetail(ctx, to)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range members.List {
				got = append(got, m.ID)
				equal(t, "rooms of "+m.ID, sorted(m.Rooms), slices.Sorted(maps.Keys(model[m.ID])))
			}
			equal(t, fmt.Sprintf("step %d: members of %v", step, to), sorted(got), model.selected(to))
			equal(t, fmt.Sprintf("step %d: names", step), sorted(ns.LocalRooms()), model.names())
			rooms, ok := ns.LocalRoomsOf(id)
			if ok != exists || ns.Len() != len(model) {
				t.Fatalf("step %d: RoomsOf(%s): %t, Len %d, want %d", step, id, ok, ns.Len(), len(model))
			}
			if ok {
				equal(t, "RoomsOf", sorted(rooms), slices.Sorted(maps.Keys(model[id])))
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
		if err := ns.Add(newNull(id)); err != nil {
			t.Fatal(err)
		}
		if err := ns.Join(ctx, id, "big", "other"); err != nil {
			t.Fatal(err)
		}
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
	if err != nil || len(m.List) != 2 {
		t.Fatalf("%d members are left, want 2 (%v)", len(m.List), err)
	}
	if m, _ = ns.Members(ctx, backplane.To("other").Local()); len(m.List) != n/2+1 {
		t.Errorf("%d members in the other room, want %d", len(m.List), n/2+1)
	}
}

// null is a member that drops everything.
type null string

func newNull(id string) null { return null(id) }

func (n null) ID() string               { return string(n) }
func (null) Deliver(*backplane.Message) {}
func (null) Disconnect(bool)            {}

// Names come from messages and must not keep the messages alive, nor change with them.
func TestRoomsKeepNoMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		f.socket(0, "a")
		w := f.wire("stranger")
		buf, err := backplane.NativeCodec().AppendRequest(nil, chat, &wire.Request{
			ID: "stranger.1", Op: wire.OpJoin, Origin: "stranger", ByID: true, Member: "a", Targets: []string{"room"},
		})
		if err != nil {
			t.Fatal(err)
		}
		// The bus hands out a copy of its own, so the message is handed over here.
		f.ns[0].HandleForTest(requestsChannel, buf)
		settle()
		for i := range buf {
			buf[i] = 'X'
		}
		equal(t, "names", sorted(f.ns[0].LocalRooms()), []string{"a", "room"})
		if len(w.saw(kindNodeResponses)) != 1 {
			t.Error("no answer")
		}
	})
}

func TestSelectionOfRepeatedNames(t *testing.T) {
	ns := one(t, nil, nil)
	const n = 2000
	for i := range n {
		id := fmt.Sprint(i)
		if err := ns.Add(newNull(id)); err != nil {
			t.Fatal(err)
		}
		if err := ns.Join(t.Context(), id, "lobby"); err != nil {
			t.Fatal(err)
		}
	}
	// Each repetition must not cost a look at every member.
	rooms := slices.Repeat([]string{"lobby", "nowhere"}, 100_000)
	if places := backplane.PlacesOf(ns, rooms, append(rooms, "1")); places != 3 {
		t.Errorf("looked at %d rooms", places)
	}
	m, err := ns.Members(t.Context(), backplane.To(rooms...).Except(rooms[1:2]...).Local())
	if err != nil || len(m.List) != n {
		t.Errorf("%d members, want %d (%v)", len(m.List), n, err)
	}
}

// embedded is a member with its entry inside.
type embedded struct {
	rooms.Embed[backplane.Member]
	id  string
	got int
}

func (m *embedded) ID() string                 { return m.id }
func (m *embedded) Deliver(*backplane.Message) { m.got++ }
func (m *embedded) Disconnect(bool)            {}

// An Entry behind a nil pointer is an error, and does not end the process.
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
		err := ns.Add(m)
		if ne, ok := errors.AsType[*backplane.NameError](err); !ok || ne.Name != m.ID() {
			t.Errorf("Add: %v", err)
		}
	}
	if n := ns.Len(); n != 0 {
		t.Errorf("%d members", n)
	}
}

type base struct {
	_ int
	rooms.Embed[backplane.Member]
}

// TestEmbeddedEntry has one member in two registries, and again in one that it left:
// each has its own idea of it.
func TestEmbeddedEntry(t *testing.T) {
	a, b := one(t, nil, nil), one(t, nil, nil)
	m := &embedded{id: "m"}
	ctx := t.Context()
	expect := func(ns *backplane.Namespace, room string, want int) {
		t.Helper()
		m.got = 0
		if err := ns.Broadcast(ctx, pack([]any{"x"}), backplane.To(room).Local()); err != nil {
			t.Fatal(err)
		}
		if m.got != want {
			t.Errorf("room %q delivered %d times, want %d", room, m.got, want)
		}
	}
	for _, err := range []error{a.Add(m), b.Add(m), a.Join(ctx, "m", "red"), b.Join(ctx, "m", "blue")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	expect(a, "red", 1)
	expect(a, "blue", 0)
	expect(b, "red", 0)
	expect(b, "blue", 1)
	a.Remove("m")
	expect(a, "red", 0)
	expect(b, "blue", 1)
	if err := a.Add(m); err != nil {
		t.Fatal(err)
	}
	expect(a, "red", 0)
	expect(a, "m", 1)
	expect(b, "blue", 1)
}
