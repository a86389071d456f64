package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	{"Count", func(ctx context.Context, ns *backplane.Namespace) error {
		_, err := ns.Count(ctx, backplane.All())
		return err
	}},
}

// untouched fails if a node or member noticed a call.
func untouched(t *testing.T, f *fleet, w *rawPeer, sockets ...*socket) {
	t.Helper()
	settle()
	for _, s := range sockets {
		assert.LessOrEqual(t, len(s.got)+len(s.gone), 0, "%s was called", s.id)
	}
	for _, k := range []broker.Kind{kindBroadcast, kindRoom, kindRequests} {
		assert.LessOrEqual(t, len(w.saw(k)), 0, "messages went out on %v channels", k)
	}
	for i, ns := range f.ns {
		for _, name := range ns.LocalRooms() {
			assert.NotEqual(t, "new", name, "node %d has the new room", i)
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
					assert.Equal(t, want, m.call(ctx, f.ns[0]))
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
					require.NoError(t, shut(t.Context()))
					assert.Equal(t, backplane.ErrClosed, m.call(t.Context(), f.ns[0]), "after %s.Close", what)
					assert.Equal(t, backplane.ErrClosed, f.ns[0].Add(t.Context(), newNull("c")))
					untouched(t, f, w, a, b)
				})
			}
		})
	}
}

// With a closed broker local members are reached, and every call returns why the others are not.
func TestClosedBroker(t *testing.T) {
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{}, nil)
				a := f.socket(0, "a", "red")
				f.socket(1, "b", "red")
				require.NoError(t, f.brokers[0].Close(t.Context()))
				began := time.Now()
				err := m.call(t.Context(), f.ns[0])
				if !errors.Is(err, broker.ErrClosed) || time.Since(began) > 0 {
					t.Errorf("returned %v after %v", err, time.Since(began))
				}
				if m.name == "Broadcast" || m.name == "BroadcastAck" {
					assert.Equal(t, []string{"x"}, a.all(), "a")
				}
				if p, ok := errors.AsType[*backplane.PartialError](err); ok {
					if assert.Len(t, p.Coverage.Missing, 1) {
						assert.Equal(t, f.nodes[1].ID(), p.Coverage.Missing[0].Node)
						assert.ErrorIs(t, p.Coverage.Missing[0].Reason, broker.ErrClosed)
					}
				}
			})
		})
	}
}

// Close ends requests in progress.
func TestCloseEndsQuestions(t *testing.T) {
	for _, m := range methods {
		if m.name == "Broadcast" || m.name == "Event" || m.name == "Count" {
			continue // these do not wait
		}
		t.Run(m.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{}, nil)
				memorytest.Freeze(f.brokers[1])
				result := make(chan error, 1)
				go func() { result <- m.call(t.Context(), f.ns[0]) }()
				settle()
				began := time.Now()
				assert.NoError(t, f.ns[0].Close(t.Context()))
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
		ne, ok := errors.AsType[*backplane.NameError](ns.Add(ctx, m))
		assert.True(t, ok, "Add of a bad member: %v", ne)
	}
	for _, id := range []string{"a", " ", "#", "ü*?[\x00]", long} {
		assert.NoError(t, ns.Add(ctx, newNull(id)), "Add(%.20q)", id)
		got, err := ns.RoomsOf(ctx, id)
		require.NoError(t, err, "RoomsOf(%.20q)", id)
		require.Len(t, got, 1, "RoomsOf(%.20q)", id)
		assert.Equal(t, id, got[0], "RoomsOf(%.20q)", id)
	}
	err := ns.Add(ctx, newNull("a"))
	if me, ok := errors.AsType[*backplane.OpError](err); !ok || me.Name != "a" || !errors.Is(err, backplane.ErrMemberExists) {
		t.Errorf("Add twice: %v", err)
	}
	require.True(t, ns.Remove("a"))
	require.False(t, ns.Remove("a"))
	require.False(t, ns.Remove("unknown"))
	assert.False(t, ns.Remove(""))
	assert.NoError(t, ns.Add(ctx, newNull("a")), "Add again")
	for range 2 {
		assert.NoError(t, ns.Join(ctx, "a", "red", "red"))
	}
	got, _ := ns.RoomsOf(ctx, "a")
	assert.Len(t, got, 2, "joined twice")
	for range 2 {
		assert.NoError(t, ns.Leave(ctx, "a", "red", "nowhere"))
	}
	got, _ = ns.RoomsOf(ctx, "a")
	assert.Len(t, got, 1, "left")
	m, ok := ns.Member("a")
	require.True(t, ok, "Rooms.Member")
	assert.Equal(t, "a", m.ID(), "Rooms.Member")
	_, ok = ns.Member("unknown")
	assert.False(t, ok, "Rooms.Member of an unknown member")
}

// Bad names are refused before any effect, whichever argument has them.
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
					ne, ok := errors.AsType[*backplane.NameError](err)
					require.True(t, ok, "call %d: %v", i, err)
					assert.Equal(t, "room", ne.What, "call %d: %v", i, err)
					assert.Equal(t, bad, ne.Name, "call %d: %v", i, err)
					assert.LessOrEqual(t, len(err.Error()), 600, "call %d: %v", i, err)
				}
			}
			_, e1 := ns.RoomsOf(ctx, bad)
			_, e2 := ns.JoinAll(ctx, backplane.All(), "new", bad)
			_, e3 := ns.LeaveAll(ctx, backplane.All(), "red", bad)
			for i, err := range []error{
				e1, e2, e3, ns.Join(ctx, bad, "new"), ns.Join(ctx, "a", "new", bad), ns.Leave(ctx, bad, "red"),
				ns.Leave(ctx, "a", "red", bad), ns.Disconnect(ctx, bad, true),
			} {
				_, ok := errors.AsType[*backplane.NameError](err)
				assert.True(t, ok, "call %d: %v", i, err)
			}
		}
		untouched(t, f, w, a, b)
		assert.Equal(t, []string{"a", "b"}, func() (ids []string) {
			m, _ := ns.Members(ctx, backplane.To("red"))
			for _, i := range m.List {
				ids = append(ids, i.ID)
			}
			return sorted(ids)
		}(), "red")
	})
}

// A message that is too large for the broker reaches no member, not even local ones.
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
			pe, ok := errors.AsType[*broker.PayloadError](err)
			if assert.True(t, ok, "call %d: %v", i, err) {
				assert.Equal(t, limit, pe.Max, "call %d: %v", i, err)
				assert.Greater(t, pe.Size, limit, "call %d: %v", i, err)
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
		sent := w.saw(kindBroadcast)
		require.Len(t, sent, 1, "the largest payload of %d bytes is not of the largest size", size)
		assert.Len(t, sent[0], limit, "the largest payload of %d bytes is not of the largest size", size)
		require.Len(t, a.got, 1, "came")
		require.Len(t, b.got, 1, "came")
		m := <-b.got
		assert.EqualValues(t, 1, m.Seq, "what was refused has used up %d numbers", m.Seq-1)
		// Local messages have no limit.
		require.NoError(t, ns.Broadcast(ctx, make([]byte, 2*limit), backplane.All().Local()))
		assert.Len(t, a.got, 2)
	})
}

// A list that is too large for one message is sent in several.
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
		for _, list := range []func(context.Context, backplane.Target) (*backplane.Result[backplane.MemberInfo], error){f.ns[0].Members, f.ns[0].MembersDetail} {
			m, err := list(t.Context(), backplane.All())
			require.NoError(t, err)
			require.Len(t, m.Answered, 2)
			slices.SortFunc(m.List, func(a, b backplane.MemberInfo) int { return strings.Compare(a.ID, b.ID) })
			var got []string
			for i, info := range m.List {
				got = append(got, info.ID)
				if info.Node != f.nodes[1+i%2].ID() || info.Rooms != nil && len(info.Data) != i%50 {
					t.Errorf("%s on %s with %d bytes", info.ID, info.Node, len(info.Data))
				}
			}
			assert.Equal(t, want, got, "members")
		}
		l, err := f.ns[0].AllRooms(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, l.List, "rooms")
		if took := time.Since(began); took > 0 {
			t.Errorf("that took %v", took)
		}
		for i := range f.errs {
			f.errs[i].none(t)
		}
	})
}

// A member that is too large for a message is listed without its description. If its name alone is
// too large, there is no response, and both sides get an error.
func TestAnswerTooLarge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleetOn(t, &memorybroker.Options{MaxPayload: 1000}, 2, backplane.Options{}, nil)
		for i := range 10 {
			f.socket(1, fmt.Sprintf("member-%d", i)).about = []byte("about")
		}
		f.socket(1, "talkative").about = make([]byte, 1000)
		m, err := f.ns[0].MembersDetail(t.Context(), backplane.All())
		require.NoError(t, err)
		require.Len(t, m.List, 11)
		for _, info := range m.List {
			if want := "about"; info.ID == "talkative" && info.Data != nil || info.ID != "talkative" && string(info.Data) != want {
				t.Errorf("%s says %.20q", info.ID, info.Data)
			}
		}
		tooLarge := func() {
			t.Helper()
			settle()
			ae := reported[*backplane.OpError](t, f.errs[1])
			_, ok := errors.AsType[*broker.PayloadError](ae)
			if assert.True(t, ok, "reported %v", ae) {
				assert.Equal(t, f.nodes[0].ID(), ae.Name, "reported %v", ae)
				assert.Equal(t, "respond to members", ae.Op, "reported %v", ae)
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
		r := p.Coverage.Missing[0].Reason
		require.ErrorIs(t, r, backplane.ErrRefused)
		assert.Equal(t, f.nodes[1].ID(), p.Coverage.Missing[0].Node, "missing because of %v", r)
		tooLarge()
	})
}

// tongueTied is a codec that cannot encode lists of members.
type tongueTied struct{ wire.Codec }

var errTongueTied = errors.New("cannot say it")

func (c tongueTied) AppendResponse(dst []byte, ns string, r *wire.Response) ([]byte, error) {
	if len(r.Members) > 0 {
		return dst, errTongueTied
	}
	return c.Codec.AppendResponse(dst, ns, r)
}

// The same for a response that cannot be encoded. No requester waits for it, and neither do the
// next requests.
func TestAnswerThatCannotBeWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, func(int) *nsOptions {
			return &nsOptions{Codec: tongueTied{backplane.NativeCodec()}}
		})
		f.socket(1, "there")
		began := time.Now()
		_, err := f.ns[0].Members(t.Context(), backplane.All())
		p, ok := errors.AsType[*backplane.PartialError](err)
		require.True(t, ok, "Members: %v", err)
		require.Len(t, p.Coverage.Missing, 1, "Members: %v", err)
		r := p.Coverage.Missing[0].Reason
		require.ErrorIs(t, r, backplane.ErrRefused)
		assert.Contains(t, r.Error(), errTongueTied.Error(), "missing because of %v", p.Coverage.Missing[0].Reason)
		assert.Equal(t, f.nodes[1].ID(), p.Coverage.Missing[0].Node, "missing because of %v", p.Coverage.Missing[0].Reason)
		_, err = f.ns[0].AllRooms(t.Context())
		assert.NoError(t, err)
		if took := time.Since(began); took > 0 {
			t.Errorf("that took %v", took)
		}
		settle()
		assert.ErrorIs(t, reported[*backplane.OpError](t, f.errs[1]), errTongueTied)
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
		assert.Equal(t, c.rooms, s.Rooms, "rooms")
		assert.Equal(t, c.except, s.Except, "except")
	}
	s := backplane.SelectionOf(base.Local().Volatile().Compress(false))
	assert.True(t, s.LocalOnly)
	assert.False(t, s.RemoteOnly)
	assert.Equal(t, wire.Volatile|wire.NoCompress, s.Flags)
	assert.False(t, backplane.SelectionOf(base).LocalOnly)
	s = backplane.SelectionOf(base.Remote().Compress(false).Compress(true))
	assert.True(t, s.RemoteOnly)
	assert.False(t, s.LocalOnly)
	assert.Zero(t, s.Flags)
}
