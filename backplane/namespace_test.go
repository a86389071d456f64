package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/wire"
)

// methods are all that take a context.
var methods = []struct {
	name string
	call func(ctx context.Context, ns *backplane.Namespace) error
}{
	{"Broadcast", func(ctx context.Context, ns *backplane.Namespace) error {
		return ns.Broadcast(ctx, []byte("x"), backplane.All())
	}},
	{"BroadcastAck", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.BroadcastAck(ctx, []byte("x"), backplane.All(), 0)
		return err
	}},
	{"Members", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.Members(ctx, backplane.All())
		return err
	}},
	{"MembersDetail", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.MembersDetail(ctx, backplane.All())
		return err
	}},
	{"AllRooms", func(ctx context.Context, ns *backplane.Namespace) error { _, err := ns.AllRooms(ctx); return err }},
	{"RoomsOf", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.RoomsOf(ctx, "b")
		return err
	}},
	{"Join", func(ctx context.Context, ns *backplane.Namespace) error { return ns.Join(ctx, "b", "new") }},
	{"Leave", func(ctx context.Context, ns *backplane.Namespace) error { return ns.Leave(ctx, "b", "red") }},
	{"Disconnect", func(ctx context.Context, ns *backplane.Namespace) error { return ns.Disconnect(ctx, "b", true) }},
	{"JoinAll", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.JoinAll(ctx, backplane.All(), "new")
		return err
	}},
	{"LeaveAll", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.LeaveAll(ctx, backplane.All(), "red")
		return err
	}},
	{"DisconnectAll", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.DisconnectAll(ctx, backplane.All(), true)
		return err
	}},
	{"Request", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.Request(ctx, []byte("x"))
		return err
	}},
	{"Event", func(ctx context.Context, ns *backplane.Namespace) error { return ns.Event(ctx, []byte("x")) }},
	{"EventAck", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.EventAck(ctx, []byte("x"))
		return err
	}},
	{"Count", func(ctx context.Context, ns *backplane.Namespace) error { _, err := ns.Count(ctx); return err }},
}

// untouched fails if anybody has noticed anything.
func untouched(t *testing.T, f *fleet, w *rawPeer, sockets ...*socket) {
	t.Helper()
	settle()
	for _, s := range sockets {
		if len(s.got)+len(s.gone) > 0 {
			t.Errorf("%s was called", s.id)
		}
	}
	for _, k := range []broker.Kind{kindBroadcast, kindRoom, kindRequests} {
		if n := len(w.saw(k)); n > 0 {
			t.Errorf("%d messages went out on %v channels", n, k)
		}
	}
	for i, ns := range f.ns {
		for _, name := range ns.LocalRooms() {
			if name == "new" {
				t.Errorf("node %d has the new room", i)
			}
		}
	}
}

func TestEndedContext(t *testing.T) {
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{}, nil)
				a, b := f.socket(0, "a", "red"), f.socket(1, "b", "red")
				w := f.wire("wire")
				for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
					ctx, cancel := context.WithCancel(t.Context())
					if want == context.DeadlineExceeded {
						ctx, cancel = context.WithTimeout(t.Context(), 0)
					}
					cancel()
					if err := m.call(ctx, f.ns[0]); err != want {
						t.Errorf("returned %v, want %v", err, want)
					}
				}
				untouched(t, f, w, a, b)
			})
		})
	}
}

func TestClosedNamespace(t *testing.T) {
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			for _, what := range []string{"namespace", "node"} {
				bubble(t, func(t *testing.T) {
					f := newFleet(t, 2, backplane.Options{}, nil)
					a, b := f.socket(0, "a", "red"), f.socket(1, "b", "red")
					w := f.wire("wire")
					shut := f.ns[0].Close
					if what == "node" {
						shut = f.nodes[0].Close
					}
					if err := shut(t.Context()); err != nil {
						t.Fatal(err)
					}
					if err := m.call(t.Context(), f.ns[0]); err != backplane.ErrClosed {
						t.Errorf("after %s.Close: %v", what, err)
					}
					if err := f.ns[0].Add(newNull("c")); err != backplane.ErrClosed {
						t.Errorf("Add: %v", err)
					}
					untouched(t, f, w, a, b)
				})
			}
		})
	}
}

// With a closed broker local members are reached, and everything says why the others
// are not.
func TestClosedBroker(t *testing.T) {
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{}, nil)
				a := f.socket(0, "a", "red")
				f.socket(1, "b", "red")
				if err := f.brokers[0].Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err := m.call(t.Context(), f.ns[0])
				if !errors.Is(err, broker.ErrClosed) || time.Since(began) > 0 {
					t.Errorf("returned %v after %v", err, time.Since(began))
				}
				if m.name == "Broadcast" || m.name == "BroadcastAck" {
					equal(t, "a", a.all(), []string{"x"})
				}
				if p, ok := errors.AsType[*backplane.PartialError](err); ok {
					if len(p.Coverage.Missing) != 1 || p.Coverage.Missing[0].Node != f.nodes[1].ID() || !errors.Is(p.Coverage.Missing[0].Reason, broker.ErrClosed) {
						t.Errorf("missing %+v", p.Coverage.Missing)
					}
				}
			})
		})
	}
}

// Close ends questions that are under way.
func TestCloseEndsQuestions(t *testing.T) {
	for _, m := range methods {
		if m.name == "Broadcast" || m.name == "Event" || m.name == "Count" {
			continue // do not wait for anybody
		}
		t.Run(m.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{}, nil)
				memorytest.Freeze(f.brokers[1])
				result := make(chan error, 1)
				go func() { result <- m.call(t.Context(), f.ns[0]) }()
				settle()
				began := time.Now()
				if err := f.ns[0].Close(t.Context()); err != nil {
					t.Error(err)
				}
				if err := <-result; !errors.Is(err, backplane.ErrClosed) || time.Since(began) > 0 {
					t.Errorf("returned %v after %v", err, time.Since(began))
				}
			})
		})
	}
}

func TestMembers(t *testing.T) {
	ns := one(t, nil, nil)
	ctx := t.Context()
	long := strings.Repeat("x", broker.MaxNameLen)
	for _, m := range []backplane.Member{nil, newNull(""), newNull("a\xff"), newNull(long + "x")} {
		if ne, ok := errors.AsType[*backplane.NameError](ns.Add(m)); !ok {
			t.Errorf("Add of a bad member: %v", ne)
		}
	}
	for _, id := range []string{"a", " ", "#", "ü*?[\x00]", long} {
		if err := ns.Add(newNull(id)); err != nil {
			t.Errorf("Add(%.20q): %v", id, err)
		}
		if got, err := ns.RoomsOf(ctx, id); err != nil || len(got) != 1 || got[0] != id {
			t.Errorf("RoomsOf(%.20q): %.40q, %v", id, got, err)
		}
	}
	err := ns.Add(newNull("a"))
	if me, ok := errors.AsType[*backplane.OpError](err); !ok || me.Name != "a" || !errors.Is(err, backplane.ErrMemberExists) {
		t.Errorf("Add twice: %v", err)
	}
	if !ns.Remove("a") || ns.Remove("a") || ns.Remove("nobody") || ns.Remove("") {
		t.Error("Remove")
	}
	if err := ns.Add(newNull("a")); err != nil {
		t.Errorf("Add again: %v", err)
	}
	for range 2 {
		if err := ns.Join(ctx, "a", "red", "red"); err != nil {
			t.Errorf("Join: %v", err)
		}
	}
	if got, _ := ns.RoomsOf(ctx, "a"); len(got) != 2 {
		t.Errorf("joined twice: %q", got)
	}
	for range 2 {
		if err := ns.Leave(ctx, "a", "red", "nowhere"); err != nil {
			t.Errorf("Leave: %v", err)
		}
	}
	if got, _ := ns.RoomsOf(ctx, "a"); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
	if m, ok := ns.Member("a"); !ok || m.ID() != "a" {
		t.Error("Rooms.Member")
	}
	if _, ok := ns.Member("nobody"); ok {
		t.Error("Rooms.Member of nobody")
	}
}

// Bad names are refused before anything is done, whichever argument they are in.
func TestBadNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		a, b := f.socket(0, "a", "red"), f.socket(1, "b", "red")
		w := f.wire("wire")
		ctx, ns := t.Context(), f.ns[0]
		for _, bad := range []string{"a\xff", strings.Repeat("x", broker.MaxNameLen+1)} {
			for _, to := range []backplane.Target{backplane.To("red", bad), backplane.All().Except("blue", bad)} {
				_, e1 := ns.BroadcastAck(ctx, nil, to, 0)
				_, e2 := ns.Members(ctx, to)
				_, e3 := ns.MembersDetail(ctx, to)
				_, e4 := ns.JoinAll(ctx, to, "new")
				_, e5 := ns.LeaveAll(ctx, to, "red")
				_, e6 := ns.DisconnectAll(ctx, to, true)
				for i, err := range []error{ns.Broadcast(ctx, nil, to), e1, e2, e3, e4, e5, e6} {
					if ne, ok := errors.AsType[*backplane.NameError](err); !ok || ne.What != "room" || ne.Name != bad || len(err.Error()) > 600 {
						t.Errorf("call %d: %v", i, err)
					}
				}
			}
			_, e1 := ns.RoomsOf(ctx, bad)
			_, e2 := ns.JoinAll(ctx, backplane.All(), "new", bad)
			_, e3 := ns.LeaveAll(ctx, backplane.All(), "red", bad)
			for i, err := range []error{
				e1, e2, e3, ns.Join(ctx, bad, "new"), ns.Join(ctx, "a", "new", bad), ns.Leave(ctx, bad, "red"),
				ns.Leave(ctx, "a", "red", bad), ns.Disconnect(ctx, bad, true),
			} {
				if _, ok := errors.AsType[*backplane.NameError](err); !ok {
					t.Errorf("call %d: %v", i, err)
				}
			}
		}
		untouched(t, f, w, a, b)
		equal(t, "red", func() (ids []string) {
			m, _ := ns.Members(ctx, backplane.To("red"))
			for _, i := range m.List {
				ids = append(ids, i.ID)
			}
			return sorted(ids)
		}(), []string{"a", "b"})
	})
}

// What is too large for the broker reaches nobody, local members included.
func TestPayloadTooLarge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const limit = 10_000
		f := newFleetOn(t, &memorybroker.Options{MaxPayload: limit}, 2, backplane.Options{}, nil)
		a, b := f.socket(0, "a", "red"), f.socket(1, "b", "red")
		w := f.wire("wire")
		ctx, ns := t.Context(), f.ns[0]
		big := make([]byte, limit)
		header := wire.Header{"k": string(big)}
		_, e1 := ns.BroadcastAck(ctx, big, backplane.All(), 0)
		_, e2 := ns.Request(ctx, big)
		_, e3 := ns.EventAck(ctx, big)
		_, e4 := ns.JoinAll(ctx, backplane.All().Header(header), "new")
		_, e5 := ns.LeaveAll(ctx, backplane.All().Header(header), "red")
		_, e6 := ns.DisconnectAll(ctx, backplane.All().Header(header), true)
		_, e7 := ns.Members(ctx, backplane.All().Header(header))
		for i, err := range []error{
			ns.Broadcast(ctx, big, backplane.All()), e1, e2, e3, e4, e5, e6, e7, ns.Event(ctx, big),
			ns.Broadcast(ctx, nil, backplane.All().Header(header)),
		} {
			if pe, ok := errors.AsType[*broker.PayloadError](err); !ok || pe.Max != limit || pe.Size <= limit {
				t.Errorf("call %d: %v", i, err)
			}
		}
		untouched(t, f, w, a, b)

		// Up to the limit, to the byte.
		size := 0
		for n := limit; ; n-- {
			err := ns.Broadcast(ctx, big[:n], backplane.All())
			if err == nil {
				size = n
				break
			}
			if pe, ok := errors.AsType[*broker.PayloadError](err); !ok || pe.Size != limit+1 && n < limit-200 {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
		settle()
		if sent := w.saw(kindBroadcast); len(sent) != 1 || len(sent[0]) != limit {
			t.Errorf("the largest payload of %d bytes is not of the largest size", size)
		}
		if len(a.got) != 1 || len(b.got) != 1 {
			t.Fatalf("it came to %d and %d", len(a.got), len(b.got))
		}
		if m := <-b.got; m.Seq != 1 {
			t.Errorf("what was refused has used up %d numbers", m.Seq-1)
		}
		// What stays here has no limit.
		if err := ns.Broadcast(ctx, make([]byte, 2*limit), backplane.All().Local()); err != nil || len(a.got) != 2 {
			t.Errorf("local: %v", err)
		}
	})
}

// A list that is too large for one message comes in several.
func TestLongAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleetOn(t, &memorybroker.Options{MaxPayload: 1000}, 3, backplane.Options{}, nil)
		var want []string
		for i := range 400 {
			id := fmt.Sprintf("member-%03d", i)
			s := f.socket(1+i%2, id)
			s.about = []byte(strings.Repeat("x", i%50))
			want = append(want, id)
		}
		began := time.Now()
		for _, list := range []func(context.Context, backplane.Target) (*backplane.Members, error){f.ns[0].Members, f.ns[0].MembersDetail} {
			m, err := list(t.Context(), backplane.All())
			if err != nil || len(m.Answered) != 2 {
				t.Fatalf("%v, answered by %v", err, m.Answered)
			}
			slices.SortFunc(m.List, func(a, b backplane.MemberInfo) int { return strings.Compare(a.ID, b.ID) })
			var got []string
			for i, info := range m.List {
				got = append(got, info.ID)
				if info.Node != f.nodes[1+i%2].ID() || info.Rooms != nil && len(info.Data) != i%50 {
					t.Errorf("%s on %s with %d bytes", info.ID, info.Node, len(info.Data))
				}
			}
			equal(t, "members", got, want)
		}
		l, err := f.ns[0].AllRooms(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "rooms", l.Rooms, want)
		if took := time.Since(began); took > 0 {
			t.Errorf("that took %v", took)
		}
		for i := range f.errs {
			f.errs[i].none(t)
		}
	})
}

// A member that is too large by itself goes without what it says of itself; one whose
// very name is too large makes the answer none, and both sides are told.
func TestAnswerTooLarge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleetOn(t, &memorybroker.Options{MaxPayload: 1000}, 2, backplane.Options{}, nil)
		for i := range 10 {
			f.socket(1, fmt.Sprintf("member-%d", i)).about = []byte("about")
		}
		f.socket(1, "talkative").about = make([]byte, 1000)
		m, err := f.ns[0].MembersDetail(t.Context(), backplane.All())
		if err != nil || len(m.List) != 11 {
			t.Fatalf("%v with %d members", err, len(m.List))
		}
		for _, info := range m.List {
			if want := "about"; info.ID == "talkative" && info.Data != nil || info.ID != "talkative" && string(info.Data) != want {
				t.Errorf("%s says %.20q", info.ID, info.Data)
			}
		}
		tooLarge := func() {
			t.Helper()
			settle()
			ae := reported[*backplane.OpError](t, f.errs[1])
			if _, ok := errors.AsType[*broker.PayloadError](ae); !ok || ae.Name != f.nodes[0].ID() || ae.Op != "respond to members" {
				t.Errorf("reported %v", ae)
			}
		}
		tooLarge()

		f.socket(1, strings.Repeat("long", 250))
		began := time.Now()
		_, err = f.ns[0].Members(t.Context(), backplane.All())
		p, ok := errors.AsType[*backplane.PartialError](err)
		if !ok || len(p.Coverage.Missing) != 1 || time.Since(began) > 0 {
			t.Fatalf("Members: %v after %v", err, time.Since(began))
		}
		if r, ok := errors.AsType[*backplane.RefusedError](p.Coverage.Missing[0].Reason); !ok || p.Coverage.Missing[0].Node != f.nodes[1].ID() {
			t.Errorf("missing because of %v", r)
		}
		tooLarge()
	})
}

// tongueTied is a codec that cannot write lists of members.
type tongueTied struct{ wire.Codec }

var errTongueTied = errors.New("cannot say it")

func (c tongueTied) AppendResponse(dst []byte, ns string, r *wire.Response) ([]byte, error) {
	if len(r.Members) > 0 {
		return dst, errTongueTied
	}
	return c.Codec.AppendResponse(dst, ns, r)
}

// The same for an answer that cannot be written. Nobody waits for it, also not the
// questions that follow.
func TestAnswerThatCannotBeWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, func(int) *nsOptions {
			return &nsOptions{Codec: tongueTied{backplane.NativeCodec()}}
		})
		f.socket(1, "there")
		began := time.Now()
		_, err := f.ns[0].Members(t.Context(), backplane.All())
		p, ok := errors.AsType[*backplane.PartialError](err)
		if !ok || len(p.Coverage.Missing) != 1 {
			t.Fatalf("Members: %v", err)
		}
		r, ok := errors.AsType[*backplane.RefusedError](p.Coverage.Missing[0].Reason)
		if !ok || !strings.Contains(r.Error(), errTongueTied.Error()) || p.Coverage.Missing[0].Node != f.nodes[1].ID() {
			t.Errorf("missing because of %v", p.Coverage.Missing[0].Reason)
		}
		if _, err := f.ns[0].AllRooms(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("that took %v", took)
		}
		settle()
		if ae := reported[*backplane.OpError](t, f.errs[1]); !errors.Is(ae, errTongueTied) {
			t.Errorf("reported %v", ae)
		}
	})
}

func TestTargetIsAValue(t *testing.T) {
	base := backplane.To("a", "b", "c").To("d", "e").Except("1", "2", "3").Except("4", "5")
	x, y := base.To("x").Except("x"), base.To("y").Except("y")
	from := []string{"r"}
	z := backplane.To(from...)
	from[0] = "changed"
	for _, c := range []struct {
		of            backplane.Target
		rooms, except []string
	}{
		{base, []string{"a", "b", "c", "d", "e"}, []string{"1", "2", "3", "4", "5"}},
		{x, []string{"a", "b", "c", "d", "e", "x"}, []string{"1", "2", "3", "4", "5", "x"}},
		{y, []string{"a", "b", "c", "d", "e", "y"}, []string{"1", "2", "3", "4", "5", "y"}},
		{z, []string{"r"}, nil},
	} {
		s := backplane.SelectionOf(c.of)
		equal(t, "rooms", s.Rooms, c.rooms)
		equal(t, "except", s.Except, c.except)
	}
	s := backplane.SelectionOf(base.Local().Volatile().Compress(false))
	if !s.LocalOnly || s.RemoteOnly || s.Flags != wire.Volatile|wire.NoCompress || backplane.SelectionOf(base).LocalOnly {
		t.Errorf("%+v", s)
	}
	s = backplane.SelectionOf(base.Remote().Compress(false).Compress(true))
	if !s.RemoteOnly || s.LocalOnly || s.Flags != 0 {
		t.Errorf("%+v", s)
	}
}
