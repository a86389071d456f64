package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/wire"
)

// A node that gets thousands of requests at once responds to all of them, in time.
func TestManyRequestsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, func(int) *nsOptions {
			return &nsOptions{
				OnRequest: func(context.Context, string, []byte) ([]byte, error) {
					time.Sleep(10 * time.Millisecond)
					return []byte("done"), nil
				},
				OnEvent: func(_ context.Context, _ string, _ []byte, reply func([]byte)) { reply(nil) },
			}
		})
		for i := range 10 {
			f.socket(1, fmt.Sprint(i), "room").gone = make(chan bool, 3000)
		}
		ns, ctx := f.ns[0], t.Context()
		all := map[string]func(i int) error{
			"Members":       func(int) error { _, err := ns.Members(ctx, backplane.All()); return err },
			"MembersDetail": func(int) error { _, err := ns.MembersDetail(ctx, backplane.To("room")); return err },
			"AllRooms":      func(int) error { _, err := ns.AllRooms(ctx); return err },
			"RoomsOf":       func(i int) error { _, err := ns.RoomsOf(ctx, fmt.Sprint(i%10)); return err },
			"Join":          func(i int) error { return ns.Join(ctx, fmt.Sprint(i%10), "other") },
			"Disconnect":    func(i int) error { return ns.Disconnect(ctx, fmt.Sprint(i%10), false) },
			"JoinAll":       func(int) error { _, err := ns.JoinAll(ctx, backplane.All(), "new"); return err },
			"Request":       func(int) error { _, err := ns.Request(ctx, nil); return err },
			"EventAck":      func(int) error { _, err := ns.EventAck(ctx, nil); return err },
			"BroadcastAck":  func(int) error { _, err := ns.BroadcastAck(ctx, nil, backplane.To("0"), 0); return err },
		}
		for name, ask := range all {
			var wg sync.WaitGroup
			var failed atomic.Int32
			for i := range 3000 {
				wg.Go(func() {
					if err := ask(i); err != nil && failed.Add(1) == 1 {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wg.Wait()
			assert.LessOrEqual(t, failed.Load(), int32(0), "%s: of 3000 failed", name)
			for i := range 10 {
				m, _ := f.ns[1].Member(fmt.Sprint(i))
				s := m.(*socket)
				s.all()
				for len(s.gone) > 0 {
					<-s.gone
				}
			}
		}
		f.errs[1].none(t)
		st := f.nodes[1].Stats()
		assert.Zero(t, st.Refused, "stats %+v", st)
	})
}

// Callbacks that do not return keep their places. Requests behind them wait, and are refused while
// their requesters still wait. Other requests are not delayed.
func TestRequestsBehindStuckCallbacks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		f := newFleet(t, 2, backplane.Options{RequestsTimeout: time.Minute}, func(int) *nsOptions {
			return &nsOptions{OnRequest: func(context.Context, string, []byte) ([]byte, error) {
				<-release
				return []byte("done"), nil
			}}
		})
		var wg sync.WaitGroup
		for range 256 {
			wg.Go(func() {
				r, err := f.ns[0].Request(t.Context(), nil)
				if err != nil || len(r.List) != 1 || string(r.List[0].Payload) != "done" {
					t.Errorf("%+v, %v", r, err)
				}
			})
		}
		settle()
		for range 3 { // while another one waits, and afterwards
			wg.Go(func() {
				began := time.Now()
				r, err := f.ns[0].Request(t.Context(), nil)
				if !errors.Is(err, backplane.ErrBusy) || len(r.List) != 0 || len(r.Missing) != 1 || r.Missing[0].Node != f.nodes[1].ID() {
					t.Errorf("Request: %+v, %v", r, err)
				}
				assert.Equal(t, 45*time.Second, time.Since(began), "the refusal")
			})
			time.Sleep(5 * time.Second)
		}
		began := time.Now()
		a := f.socket(1, "a")
		f.broadcast(0, "x", backplane.To("a"))
		assert.NoError(t, f.ns[0].Join(t.Context(), "a", "r"))
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		require.NoError(t, err, "Members: %+v", m)
		assert.Len(t, m.List, 1, "Members: %+v", m)
		if d := time.Since(began); d > 0 {
			t.Errorf("that took %v", d)
		}
		assert.Equal(t, []string{"x"}, a.all(), "a")
		time.Sleep(42 * time.Second)
		st := f.nodes[1].Stats()
		assert.EqualValues(t, 3, st.Refused, "stats %+v", st)
		for _, err := range f.errs[1].take() {
			ae, ok := errors.AsType[*backplane.OpError](err)
			if assert.True(t, ok, "reported %v", err) {
				assert.Equal(t, backplane.ErrBusy, ae.Err, "reported %v", err)
				assert.Equal(t, f.nodes[0].ID(), ae.Name, "reported %v", err)
			}
		}
		// One that waits is carried out when there is a place.
		wg.Go(func() {
			r, err := f.ns[0].Request(t.Context(), nil)
			if assert.NoError(t, err, "%+v", r) {
				assert.Len(t, r.List, 1, "%+v", r)
			}
		})
		settle()
		close(release)
		wg.Wait()
	})
}

// The waiting requests are bounded. Further ones are refused; the requester gets an error, and the
// refusal is reported.
func TestTooManyRequests(t *testing.T) {
	for _, c := range []struct {
		what        string
		count, size int
	}{
		{"in number", backplane.MaxWaiting, 0},
		{"in bytes", 4 * 64, 1 << 18}, // of 64 MiB
	} {
		bubble(t, func(t *testing.T) {
			release := make(chan struct{})
			f := newFleet(t, 2, backplane.Options{RequestsTimeout: time.Minute}, func(int) *nsOptions {
				return &nsOptions{OnRequest: func(context.Context, string, []byte) ([]byte, error) {
					<-release
					return nil, nil
				}}
			})
			w := f.wire("")
			req := &wire.Request{Op: wire.OpCustom, Origin: "asker", Native: true, Payload: make([]byte, c.size)}
			for i := range 256 + c.count {
				req.ID = fmt.Sprint("asker.", i)
				buf, err := backplane.NativeCodec().AppendRequest(nil, chat, req)
				require.NoError(t, err)
				w.send(requestsChannel, buf)
				if i%1000 == 0 {
					settle()
				}
			}
			settle()
			refused := f.nodes[1].Stats().Refused
			if c.size == 0 && refused != 0 {
				t.Errorf("%s: %d were refused", c.what, refused)
			}
			r, err := f.ns[0].Request(t.Context(), make([]byte, c.size))
			assert.ErrorIs(t, err, backplane.ErrBusy, "%s: %+v", c.what, r)
			assert.Empty(t, r.List, "%s: %+v", c.what, r)
			close(release)
			settle()
			if st := f.nodes[1].Stats(); st.Refused != refused+1 || st.Served != uint64(256+c.count)+1 || c.size > 0 && refused > 10 {
				t.Errorf("%s: stats %+v, before %d", c.what, st, refused)
			}
		})
	}
}

// Requests that wait are limited by their memory, not by their messages: a name of no bytes takes one in a message.
func TestMemoryOfWaitingNames(t *testing.T) {
	const names = 1 << 18 // 4 MiB in memory, so that 15 of them wait
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{RequestsTimeout: time.Minute, StallTimeout: -1}, nil)
		s := &countingDescriber{socket: newSocket("a"), release: make(chan struct{})}
		f.join(0, s, "x")
		w := f.wire("")
		send := func(i int, rooms []string) {
			req := &wire.Request{Op: wire.OpMembers, Origin: "asker", Native: true, Detail: true, ID: fmt.Sprint("asker.", i), Rooms: append(rooms, "x", fmt.Sprint(i))}
			buf, err := backplane.NativeCodec().AppendRequest(nil, chat, req)
			require.NoError(t, err)
			w.send(requestsChannel, buf)
			settle()
		}
		for i := range 4 { // all that are carried out at a time
			send(i, nil)
		}
		for i := range 30 {
			send(4+i, make([]string, names))
		}
		assert.InDelta(t, 30-13, f.nodes[0].Stats().Refused, 5)
		close(s.release)
		settle()
	})
}

// Queries that are the same and wait share one look at the members; others do not.
func TestSameQueriesShareAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{RequestsTimeout: time.Minute, StallTimeout: -1}, nil)
		s := &countingDescriber{socket: newSocket("a"), release: make(chan struct{})}
		f.join(1, s, "x", "y")
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				to := backplane.To("x")
				if i%2 == 1 {
					to = backplane.To("y")
				}
				m, err := f.ns[0].MembersDetail(t.Context(), to)
				if err != nil || len(m.List) != 1 || string(m.List[0].Data) != "said" {
					t.Errorf("%+v, %v", m, err)
				}
			})
		}
		settle()
		close(s.release)
		wg.Wait()
		assert.LessOrEqual(t, s.calls.Load(), int32(6), "calls of the member")
	})
}

type countingDescriber struct {
	*socket
	calls   atomic.Int32
	release chan struct{}
}

func (s *countingDescriber) Describe() []byte {
	s.calls.Add(1)
	<-s.release
	return []byte("said")
}

// sizes is a codec that measures the responses in progress.
type sizes struct {
	wire.Codec
	foreign      bool // all requesters are of another kind
	largest, now *atomic.Int64
	atOnce       *atomic.Int64
}

func (c sizes) DecodeRequest(payload []byte, ns string, r *wire.Request) error {
	err := c.Codec.DecodeRequest(payload, ns, r)
	r.Native = r.Native && !c.foreign
	return err
}

func (c sizes) AppendResponse(dst []byte, ns string, r *wire.Response) ([]byte, error) {
	large := len(r.Members) > 1000
	if large {
		if now := c.now.Add(1); now > c.atOnce.Load() {
			c.atOnce.Store(now)
		}
		defer c.now.Add(-1)
	}
	buf, err := c.Codec.AppendResponse(dst, ns, r)
	if n := int64(len(buf)); n > c.largest.Load() {
		c.largest.Store(n)
	}
	return buf, err
}

// Small requests with large responses do not make all responses at once: responses to Crossroom
// nodes are made in parts, and of those that must be one message one is made at a time.
func TestLargeAnswersAreMadeFewAtATime(t *testing.T) {
	const members, each = 5000, 1000
	for _, foreign := range []bool{false, true} {
		var largest, now, atOnce atomic.Int64
		f := newFleet(t, 2, backplane.Options{RequestsTimeout: time.Minute}, func(int) *nsOptions {
			return &nsOptions{Codec: sizes{backplane.NativeCodec(), foreign, &largest, &now, &atOnce}}
		})
		about := []byte(strings.Repeat("x", each))
		for i := range members {
			f.socket(1, fmt.Sprint(i), fmt.Sprint("room", i%2)).about = about
		}
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				m, err := f.ns[0].MembersDetail(t.Context(), backplane.All().Except(fmt.Sprint("none", i)))
				if assert.NoError(t, err) {
					assert.Len(t, m.List, members)
				}
			})
		}
		wg.Wait()
		if n := largest.Load(); !foreign && n > 400<<10 || foreign && n < members*each {
			t.Errorf("foreign %t: the largest answer had %d bytes", foreign, n)
		}
		assert.LessOrEqual(t, atOnce.Load(), int64(1), "foreign %t: large answers were made at a time", foreign)
	}
}

// A requester that reads only one message gets as much as fits into it: shorter descriptions, or
// fewer members. It waits no longer than necessary, and what is omitted is reported.
func TestAnswersThatHaveToFit(t *testing.T) {
	const limit = 10_000
	for _, c := range []struct {
		what           string
		members, about int
		ask            func(context.Context, *backplane.Namespace) (list, said int, err error)
		least, most    int
		said           bool
	}{
		{"all of it", 100, 10, membersDetail, 100, 100, true},
		{"without what members say", 100, 1000, membersDetail, 100, 100, false},
		{"some members", 2000, 10, membersDetail, 400, 1999, false},
		{"some ids", 2000, 0, members, 400, 1999, false},
		{"some rooms", 5000, 0, allRooms, 1000, 4999, false},
	} {
		bubble(t, func(t *testing.T) {
			var a, b, d atomic.Int64
			f := newFleetOn(t, &memorybroker.Options{MaxPayload: limit}, 2, backplane.Options{}, func(int) *nsOptions {
				return &nsOptions{Codec: sizes{backplane.NativeCodec(), true, &a, &b, &d}}
			})
			for i := range c.members {
				f.socket(1, fmt.Sprint("m", i)).about = make([]byte, c.about)
			}
			began := time.Now()
			list, said, err := c.ask(t.Context(), f.ns[0])
			require.NoError(t, err, c.what)
			assert.GreaterOrEqual(t, list, c.least, c.what)
			assert.LessOrEqual(t, list, c.most, c.what)
			assert.Equal(t, c.said, said > 0, c.what)
			if d := time.Since(began); d > 0 {
				t.Errorf("%s: took %v", c.what, d)
			}
			settle()
			if c.most == c.members && c.said {
				f.errs[1].none(t)
				return
			}
			ae := reported[*backplane.OpError](t, f.errs[1])
			size, ok := errors.AsType[*broker.PayloadError](ae)
			if assert.True(t, ok, "%s: reported %v", c.what, ae) {
				assert.Equal(t, limit, size.Max, "%s: reported %v", c.what, ae)
			}
		})
	}
}

func membersDetail(ctx context.Context, ns *backplane.Namespace) (list, said int, err error) {
	m, err := ns.MembersDetail(ctx, backplane.All())
	for _, info := range m.List {
		if info.Data != nil {
			said++
		}
	}
	return len(m.List), said, err
}

func members(ctx context.Context, ns *backplane.Namespace) (list, said int, err error) {
	m, err := ns.Members(ctx, backplane.All())
	return len(m.List), 0, err
}

func allRooms(ctx context.Context, ns *backplane.Namespace) (list, said int, err error) {
	l, err := ns.AllRooms(ctx)
	return len(l.List), 0, err
}

// An acknowledgement that does not fit is replaced by an error, which its requester gets at once.
func TestAckTooLarge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleetOn(t, &memorybroker.Options{MaxPayload: 1000}, 2, backplane.Options{}, nil)
		f.socket(1, "short")
		f.socket(1, "long").reply = func([]byte) []byte { return make([]byte, 1000) }
		began := time.Now()
		a, err := f.ns[0].BroadcastAck(t.Context(), nil, backplane.All(), 0)
		p, ok := errors.AsType[*backplane.PartialError](err)
		if !ok || len(a.Values) != 1 || a.Expected != 2 || len(p.Coverage.Missing) != 1 || time.Since(began) > 0 {
			t.Fatalf("%+v, %v after %v", a, err, time.Since(began))
		}
		assert.ErrorIs(t, p.Coverage.Missing[0].Reason, backplane.ErrRefused)
		settle()
		reported[*backplane.OpError](t, f.errs[1])
	})
}
