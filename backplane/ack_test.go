package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/wire"
)

// acker is a socket that keeps the acknowledgement function.
type acker struct {
	*socket
	acks chan func([]byte)
}

func newAcker(id string) *acker { return &acker{newSocket(id), make(chan func([]byte), 10)} }

func (a *acker) DeliverAck(m *backplane.Message, ack func([]byte)) {
	a.got <- m
	a.acks <- ack
}

func values(a *backplane.Acks) []string {
	list := []string{}
	for _, v := range a.Values {
		list = append(list, string(v))
	}
	slices.Sort(list)
	return list
}

func TestAcks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, backplane.Options{}, nil)
		f.socket(0, "a", "red")
		f.socket(1, "b", "red")
		f.socket(2, "c")
		plain := plainSocket{newSocket("plain")}
		f.join(1, plain, "red")
		nothing := f.socket(2, "nothing", "red")
		nothing.reply = func([]byte) []byte { return nil }

		a, err := f.ns[0].BroadcastAck(t.Context(), []byte("x"), backplane.To("red"), 0)
		require.NoError(t, err, "%+v", a)
		require.Equal(t, 3, a.Expected, "%+v", a)
		assert.Equal(t, []string{"", "a", "b"}, values(a), "values")
		assert.Equal(t, f.ids(1, 2), a.Answered, "answered")
		assert.Nil(t, a.Values[slices.IndexFunc(a.Values, func(v []byte) bool { return len(v) == 0 })], "an answer without a value has one")
		settle() // responses may arrive before the last member is called
		assert.Equal(t, []string{"x"}, plain.all(), "plain")

		a, err = f.ns[0].BroadcastAck(t.Context(), []byte("x"), backplane.To("nowhere"), 0)
		require.NoError(t, err)
		assert.Zero(t, a.Expected)
		require.Empty(t, a.Values)
		assert.Len(t, a.Answered, 2)
	})
}

// TestAckFuncs: numbers and acknowledgements are passed on as they arrive, a node's number first. A
// call that waits does not delay what arrives meanwhile.
func TestAckFuncs(t *testing.T) {
	for _, first := range []int{0, 1} {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 2, backplane.Options{}, nil)
			here, there := newAcker("here"), newAcker("there")
			f.join(0, here)
			f.join(1, there)
			var got noted[string]
			note := func(format string, a ...any) {
				got.add(strings.ReplaceAll(fmt.Sprintf(format, a...), f.nodes[1].ID(), "other"))
			}
			done := make(chan error)
			go func() {
				a, err := f.ns[0].BroadcastAckFunc(t.Context(), []byte("?"), backplane.All(), time.Minute, backplane.AckFuncs{
					Sent:     func() { note("sent") },
					Expected: func(node string, n int) { note("%d of %s", n, strings.ReplaceAll(node, f.nodes[0].ID(), "this")) },
					Value:    func(_ string, payload []byte) { note("%s", payload) },
				})
				note("%d returned", len(a.Values))
				done <- err
			}()
			settle()
			assert.Equal(t, []string{"1 of this", "sent", "1 of other"}, got.take(), "at once")
			acks := []*acker{here, there}
			for _, i := range []int{first, 1 - first} {
				time.Sleep(time.Second)
				(<-acks[i].acks)([]byte("from " + acks[i].id))
				settle()
				want := []string{"from " + acks[i].id}
				if i != first {
					want = append(want, "2 returned")
				}
				assert.Equal(t, want, got.take(), "then")
			}
			require.NoError(t, <-done)
		})
	}
}

// A node's number is passed on before its acknowledgements, also if these were given first. The
// acknowledgements are passed on also if the number never arrives.
func TestAckFuncsInOrder(t *testing.T) {
	for _, lost := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 2, backplane.Options{}, nil)
			f.socket(1, "eager")
			var got noted[string]
			if lost {
				memorytest.Freeze(f.brokers[1])
				defer memorytest.Thaw(f.brokers[1])
			}
			_, err := f.ns[0].BroadcastAckFunc(t.Context(), nil, backplane.All(), time.Second, backplane.AckFuncs{
				Expected: func(_ string, n int) { got.add(fmt.Sprint(n)) },
				Value:    func(_ string, payload []byte) { got.add(string(payload)) },
			})
			if lost {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, []string{"0"}, got.take(), "calls") // this node's own
				return
			}
			require.NoError(t, err)
			assert.Equal(t, []string{"0", "1", "eager"}, got.take(), "calls")
		})
	}
}

// plainSocket cannot acknowledge.
type plainSocket struct{ s *socket }

func (p plainSocket) ID() string                   { return p.s.id }
func (p plainSocket) Deliver(m *backplane.Message) { p.s.Deliver(m) }
func (p plainSocket) Disconnect(bool)              {}
func (p plainSocket) all() []string                { return p.s.all() }

func TestAcksHereOrElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		here, there := f.socket(0, "a"), f.socket(1, "b")
		w := f.wire("")
		a, err := f.ns[0].BroadcastAck(t.Context(), []byte("1"), backplane.All().Local(), 0)
		require.NoError(t, err, "local: %+v", a)
		assert.Equal(t, 1, a.Expected, "local: %+v", a)
		assert.Empty(t, a.Answered, "local: %+v", a)
		assert.Equal(t, []string{"a"}, values(a), "values")
		a, err = f.ns[0].BroadcastAck(t.Context(), []byte("2"), backplane.All().Remote(), 0)
		require.NoError(t, err, "remote: %+v", a)
		assert.Equal(t, 1, a.Expected, "remote: %+v", a)
		assert.Len(t, a.Answered, 1, "remote: %+v", a)
		assert.Equal(t, []string{"b"}, values(a), "values")
		settle()
		assert.Equal(t, []string{"1"}, here.all(), "here")
		assert.Equal(t, []string{"2"}, there.all(), "there")
		assert.Zero(t, len(w.saw(kindRequests)))
	})
}

// Acknowledgements that are late, repeated, too late, or missing.
func TestAcksInTheirOwnTime(t *testing.T) {
	for _, where := range []int{0, 1} {
		t.Run(fmt.Sprintf("node %d", where), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{}, nil)
				x, y := newAcker("x"), newAcker("y")
				f.join(where, x)
				f.join(where, y)
				type result struct {
					a   *backplane.Acks
					err error
				}
				ask := func(timeout time.Duration) chan result {
					c := make(chan result, 1)
					go func() {
						a, err := f.ns[0].BroadcastAck(t.Context(), []byte("?"), backplane.All(), timeout)
						c <- result{a, err}
					}()
					settle()
					return c
				}
				began := time.Now()
				c := ask(10 * time.Second)
				time.Sleep(5 * time.Second) // more than the request timeout
				buf := []byte("1")
				ack := <-x.acks
				ack(buf)
				buf[0] = '!' // it belongs to the member again
				ack([]byte("again"))
				time.Sleep(time.Second)
				(<-y.acks)([]byte("2"))
				r := <-c
				if assert.NoError(t, r.err, "%+v", r.a) {
					assert.Equal(t, 2, r.a.Expected, "%+v", r.a)
					assert.Equal(t, 6*time.Second, time.Since(began), "%+v", r.a)
				}
				assert.Equal(t, []string{"1", "2"}, values(r.a), "values")

				for _, timeout := range []time.Duration{0, 3 * time.Second, 100 * time.Millisecond, -1} {
					want := timeout
					if timeout <= 0 {
						want = time.Second
					}
					began = time.Now()
					c = ask(timeout)
					(<-x.acks)(nil)
					r = <-c
					p, ok := errors.AsType[*backplane.PartialError](r.err)
					require.True(t, ok, "timeout %v: %v", timeout, r.err)
					assert.ErrorIs(t, p, context.DeadlineExceeded, "timeout %v: %v", timeout, r.err)
					assert.Empty(t, p.Coverage.Missing, "timeout %v: %v", timeout, r.err)
					assert.Equal(t, want, time.Since(began), "timeout %v: %v", timeout, r.err)
					assert.Equal(t, 2, r.a.Expected, "timeout %v: %+v", timeout, r.a)
					require.Len(t, r.a.Values, 1, "timeout %v: %+v", timeout, r.a)
					assert.Nil(t, r.a.Values[0], "timeout %v: %+v", timeout, r.a)
					before := f.nodes[0].Stats().StrayResponses
					(<-y.acks)([]byte("too late"))
					settle()
					assert.Equal(t, uint64(where), f.nodes[0].Stats().StrayResponses-before, "answers too late were counted")
					assert.Len(t, r.a.Values, 1, "the result changed afterwards: %+v", r.a)
				}
				for _, p := range f.nodes[0].KnownPeers() {
					assert.False(t, p.Suspect, "a node is suspect because of its members")
				}

				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				began = time.Now()
				_, err := f.ns[0].BroadcastAck(ctx, nil, backplane.All(), time.Hour)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, 50*time.Millisecond, time.Since(began))
			})
		})
	}
}

// A node may send its number of acknowledgements and the acknowledgements in any order.
func TestAcksOfAPeer(t *testing.T) {
	ack := func(v string) wire.Response { return wire.Response{Ack: true, Payload: []byte(v)} }
	count := func(n int) wire.Response { return wire.Response{Count: n} }
	for _, c := range []struct {
		name     string
		send     []wire.Response
		then     func(w *rawPeer) // after 100 ms; nil for nothing
		values   int
		expected int
		end      error
		lasts    time.Duration
	}{
		{"in order", []wire.Response{count(2), ack("1"), ack("2")}, nil, 2, 2, nil, 0},
		{"count last", []wire.Response{ack("1"), ack("2"), count(2)}, nil, 2, 2, nil, 0},
		{"count between", []wire.Response{ack("1"), count(2), ack("2")}, nil, 2, 2, nil, 0},
		{"more than it said", []wire.Response{ack("1"), ack("2"), count(1)}, nil, 2, 1, nil, 0},
		{"fewer than it said", []wire.Response{count(2), ack("1")}, nil, 1, 2, context.DeadlineExceeded, time.Second},
		{"counts twice", []wire.Response{count(1), count(5), ack("1")}, nil, 1, 1, nil, 0},
		{"no responder", []wire.Response{count(0)}, nil, 0, 0, nil, 0},
		{"never counts", []wire.Response{ack("1")}, nil, 1, 0, context.DeadlineExceeded, time.Second},
		{"goodbye between", []wire.Response{count(2), ack("1")}, func(w *rawPeer) { w.control(bye, "peer", 5, 1) }, 1, 2, backplane.ErrPeerLost, 100 * time.Millisecond},
		{"restarts between", []wire.Response{count(2), ack("1")}, func(w *rawPeer) { w.control(hello, "peer", 6, 1) }, 1, 2, backplane.ErrPeerLost, 100 * time.Millisecond},
		{"goodbye before it counts", nil, func(w *rawPeer) { w.control(bye, "peer", 5, 1) }, 0, 0, backplane.ErrPeerLost, 100 * time.Millisecond},
		{"leaves the namespace", nil, func(w *rawPeer) { w.control(full, "peer", 5, 2, "/other") }, 0, 0, backplane.ErrPeerLost, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 1, backplane.Options{}, nil)
				own := f.socket(0, "own")
				w := f.wire("peer")
				w.control(hello, "peer", 5, 1, chat)
				settle()
				w.onRequest(func(r *wire.Request) {
					for _, resp := range c.send {
						w.answer(r, "peer", resp)
					}
					if c.then != nil {
						time.AfterFunc(100*time.Millisecond, func() { c.then(w) })
					}
				})
				began := time.Now()
				a, err := f.ns[0].BroadcastAck(t.Context(), []byte("?"), backplane.All(), 0)
				d := time.Since(began)
				assert.Equal(t, c.lasts, d)
				assert.ErrorIs(t, err, c.end)
				if assert.Len(t, a.Values, c.values+1) {
					assert.Equal(t, c.expected+1, a.Expected)
				}
				assert.Equal(t, []string{"?"}, own.all(), "own")
			})
		})
	}
}

// While the broker is down, members of this node are reached, and their acknowledgements arrive.
func TestAcksWhileInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		a := newSocket("a")
		var waited time.Duration
		began := time.Now()
		a.onDeliver = func() { waited = time.Since(began) }
		f.join(0, a)
		memorytest.Cut(f.brokers[0], nil)
		acks, err := f.ns[0].BroadcastAck(t.Context(), []byte("x"), backplane.All(), 0)
		p, ok := errors.AsType[*backplane.PartialError](err)
		require.True(t, ok)
		assert.Len(t, p.Coverage.Missing, 1)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, []string{"a"}, values(acks), "values")
		assert.Equal(t, []string{"x"}, a.all(), "a")
		if waited > 0 {
			t.Errorf("the member here waited %v", waited)
		}
	})
}

// A member that was stalled when the others were counted may still acknowledge.
func TestAckOfAMemberThatComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		release := make(chan struct{})
		stuck := newSocket("stuck")
		stuck.onDeliver = func() { <-release }
		f.join(1, stuck)
		f.socket(1, "b")
		f.broadcast(0, "x", backplane.All())
		time.Sleep(2 * time.Second)
		began := time.Now()
		a, err := f.ns[0].BroadcastAck(t.Context(), nil, backplane.All(), 0)
		if err != nil || a.Expected != 1 || len(a.Values) != 1 || time.Since(began) > 0 {
			t.Errorf("%+v, %v", a, err)
		}
		close(release)
		settle()
		a, err = f.ns[0].BroadcastAck(t.Context(), nil, backplane.All(), 0)
		require.NoError(t, err, "%+v", a)
		assert.Equal(t, 2, a.Expected, "%+v", a)
		assert.Len(t, a.Values, 2, "%+v", a)
	})
}

// Many acknowledgements from many goroutines at once.
func TestAcksAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var seen counter
		f := newFleet(t, 3, backplane.Options{Observers: []observe.Observer{&seen}}, nil)
		const n = 50
		for i := range n {
			for node := range f.ns {
				f.join(node, &asyncAcker{null: newNull(fmt.Sprint(node, "-", i))})
			}
		}
		a, err := f.ns[0].BroadcastAck(t.Context(), nil, backplane.All(), 0)
		require.NoError(t, err)
		assert.Equal(t, 3*n, a.Expected)
		assert.Len(t, a.Values, 3*n)
		settle()
		// Each acknowledgement, and each other node's count.
		assert.Equal(t, 3*n+2, seen.answers(), "the observer saw answers")
	})
}

type asyncAcker struct{ null }

func (a *asyncAcker) DeliverAck(_ *backplane.Message, ack func([]byte)) { go ack([]byte(a.null)) }

// counter observes requests.
type counter struct {
	observe.Nop
	mu sync.Mutex
	n  int
}

func (c *counter) RequestResponse(context.Context, *observe.Request, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *counter) answers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// leaver is a member that closes the namespace when an acknowledgement is requested.
type leaver struct {
	*acker
	ns *backplane.Namespace
}

func (c leaver) DeliverAck(m *backplane.Message, ack func([]byte)) {
	if err := c.ns.Close(context.Background()); err != nil {
		panic(err)
	}
	c.acker.DeliverAck(m, ack)
}

// TestAckAfterClose: the result of BroadcastAck belongs to the caller, also if it ended because the
// namespace was closed.
func TestAckAfterClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		a := newAcker("a")
		f.join(0, leaver{a, f.ns[0]}, "red")
		acks, err := f.ns[0].BroadcastAck(t.Context(), []byte("x"), backplane.To("red"), 0)
		require.ErrorIs(t, err, backplane.ErrClosed, "%+v", acks)
		(<-a.acks)([]byte("late"))
		assert.Empty(t, acks.Values, "came afterwards")
	})
}
