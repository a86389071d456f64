package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/wire"
)

// questions are the requests to which every node responds. got returns how many members or nodes
// other than the requester's are in the result, one of each.
var questions = []struct {
	name string
	ask  func(ctx context.Context, ns *backplane.Namespace) (got int, f backplane.Coverage, err error)
}{
	{"Members", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		m, err := ns.Members(ctx, backplane.All().Remote())
		return len(m.List), m.Coverage, err
	}},
	{"MembersDetail", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		m, err := ns.MembersDetail(ctx, backplane.All().Remote())
		return len(m.List), m.Coverage, err
	}},
	{"AllRooms", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		l, err := ns.AllRooms(ctx)
		return len(l.List), l.Coverage, err
	}},
	{"JoinAll", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		m, err := ns.JoinAll(ctx, backplane.All(), "x")
		return m.Total, m.Coverage, err
	}},
	{"LeaveAll", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		m, err := ns.LeaveAll(ctx, backplane.All(), "x")
		return m.Total, m.Coverage, err
	}},
	{"DisconnectAll", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		m, err := ns.DisconnectAll(ctx, backplane.All(), false)
		return m.Total, m.Coverage, err
	}},
	{"Request", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		r, err := ns.Request(ctx, nil)
		return len(r.List), r.Coverage, err
	}},
	{"EventAck", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		r, err := ns.EventAck(ctx, nil)
		return len(r.List), r.Coverage, err
	}},
	{"BroadcastAck", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		a, err := ns.BroadcastAck(ctx, nil, backplane.All(), 0)
		return len(a.Values), a.Coverage, err
	}},
}

// answering are a node's options with which it responds to everything.
func answering(int) *nsOptions {
	return &nsOptions{
		OnRequest: func(context.Context, string, []byte) ([]byte, error) { return []byte("request"), nil },
		OnEvent: func(_ context.Context, _ string, _ []byte, reply func([]byte)) {
			if reply != nil {
				reply([]byte("event"))
			}
		},
	}
}

// trio is a fleet of a requester without members and two nodes with one each.
func trio(t *testing.T, opts backplane.Options) *fleet {
	f := newFleet(t, 3, opts, answering)
	f.socket(1, "b")
	f.socket(2, "c")
	return f
}

// missing checks a result in which node 2 is missing and node 1 is not.
func (f *fleet) missing(got int, fleet backplane.Coverage, err, reason, end error) {
	f.t.Helper()
	p, ok := errors.AsType[*backplane.PartialError](err)
	if !ok {
		f.t.Errorf("error %v", err)
		return
	}
	assert.Equal(f.t, 1, got, "results")
	for _, fl := range []backplane.Coverage{fleet, p.Coverage} {
		assert.Equal(f.t, f.ids(1), fl.Answered, "answered")
		if assert.Len(f.t, fl.Missing, 1) {
			assert.Equal(f.t, f.nodes[2].ID(), fl.Missing[0].Node)
			assert.Equal(f.t, 1, fl.Missing[0].Count)
			assert.ErrorIs(f.t, fl.Missing[0].Reason, reason)
		}
	}
	assert.ErrorIs(f.t, err, end)
	assert.Contains(f.t, err.Error(), f.nodes[2].ID(), "%q does not name the node", err)
}

func TestQuestionsWithAFault(t *testing.T) {
	for _, q := range questions {
		for _, c := range []struct {
			name        string
			before      func(f *fleet) // sends the request
			middle      func(f *fleet) // while it waits; nil for nothing
			reason, end error          // nil: node 2 responds after all
			lasts       time.Duration
		}{
			{"killed before", func(f *fleet) { memorytest.Kill(f.brokers[2]) }, nil, backplane.ErrPeerLost, backplane.ErrPeerLost, 0},
			{"interrupted before", func(f *fleet) { memorytest.Cut(f.brokers[2], nil) }, nil, backplane.ErrPeerLost, backplane.ErrPeerLost, 0},
			{"frozen before", func(f *fleet) { memorytest.Freeze(f.brokers[2]) }, nil, backplane.ErrNoResponse, context.DeadlineExceeded, time.Second},
			{"killed in the middle", func(f *fleet) { memorytest.Freeze(f.brokers[2]) }, func(f *fleet) { memorytest.Kill(f.brokers[2]) }, backplane.ErrPeerLost, backplane.ErrPeerLost, 500 * time.Millisecond},
			{"interrupted in the middle", func(f *fleet) { memorytest.Freeze(f.brokers[2]) }, func(f *fleet) { memorytest.Cut(f.brokers[2], nil) }, backplane.ErrPeerLost, backplane.ErrPeerLost, 500 * time.Millisecond},
			{"healed in the middle", func(f *fleet) { memorytest.Freeze(f.brokers[2]) }, func(f *fleet) { memorytest.Thaw(f.brokers[2]) }, nil, nil, 400 * time.Millisecond},
			{"healed before", func(f *fleet) {
				memorytest.Cut(f.brokers[2], nil)
				settle()
				memorytest.Heal(f.brokers[2])
				settle()
			}, nil, nil, nil, 0},
		} {
			t.Run(q.name+"/"+c.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := trio(t, backplane.Options{})
					c.before(f)
					settle()
					if c.middle != nil {
						timer := time.AfterFunc(400*time.Millisecond, func() { c.middle(f) })
						defer timer.Stop()
					}
					began := time.Now()
					got, fleet, err := q.ask(t.Context(), f.ns[0])
					assert.Equal(t, c.lasts, time.Since(began))
					if c.reason != nil {
						f.missing(got, fleet, err, c.reason, c.end)
						return
					}
					if assert.NoError(t, err) {
						assert.Equal(t, 2, got)
						assert.Empty(t, fleet.Missing)
					}
					assert.Equal(t, f.ids(1, 2), fleet.Answered, "answered")
				})
			})
		}
	}
}

// The requester's own outage: during a request, and before it.
func TestQuestionsWhileCutOff(t *testing.T) {
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := trio(t, backplane.Options{})
				memorytest.Cut(f.brokers[0], nil)
				began := time.Now()
				got, fleet, err := q.ask(t.Context(), f.ns[0])
				d := time.Since(began)
				assert.Equal(t, time.Second, d)
				assert.Zero(t, got)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				p, ok := errors.AsType[*backplane.PartialError](err)
				if assert.True(t, ok, "%+v, %v", fleet, err) {
					assert.Len(t, p.Coverage.Missing, 2, "%+v, %v", fleet, err)
					assert.Len(t, fleet.Missing, 2, "%+v, %v", fleet, err)
				}

				// In the middle: the responses are lost.
				memorytest.Heal(f.brokers[0])
				settle()
				memorytest.Freeze(f.brokers[1])
				memorytest.Freeze(f.brokers[2])
				timer := time.AfterFunc(500*time.Millisecond, func() {
					memorytest.Cut(f.brokers[0], nil)
					memorytest.Thaw(f.brokers[1])
					memorytest.Thaw(f.brokers[2])
				})
				defer timer.Stop()
				got, _, err = q.ask(t.Context(), f.ns[0])
				assert.Zero(t, got)
				assert.ErrorIs(t, err, context.DeadlineExceeded)

				// Only the caller ended it: no peer is suspect.
				memorytest.Freeze(f.brokers[2])
				memorytest.Heal(f.brokers[0])
				settle()
				for _, p := range f.nodes[0].KnownPeers() {
					assert.False(t, p.Suspect, "%s is suspect", p.ID)
				}
				memorytest.Thaw(f.brokers[2])
				settle()
				began = time.Now()
				if got, _, err = q.ask(t.Context(), f.ns[0]); got != 2 || err != nil || time.Since(began) > 0 {
					t.Errorf("%d results after %v, %v", got, time.Since(began), err)
				}
			})
		})
	}
}

// A caller's context ends a request like the deadline, and makes no peer suspect.
func TestQuestionContext(t *testing.T) {
	for _, q := range questions {
		bubble(t, func(t *testing.T) {
			f := trio(t, backplane.Options{})
			memorytest.Freeze(f.brokers[2])
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(300*time.Millisecond, cancel)
			defer timer.Stop()
			got, fleet, err := q.ask(ctx, f.ns[0])
			f.missing(got, fleet, err, backplane.ErrNoResponse, context.Canceled)
			assert.False(t, f.nodes[0].KnownPeers()[1].Suspect, "%s: suspect after less than the request timeout", q.name)
		})
	}
}

// A node that missed a deadline gets requests, but is not waited for until it sends a sign of life.
func TestSuspects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trio(t, backplane.Options{Heartbeat: time.Minute})
		ask := func(wantReason, wantEnd error, lasts time.Duration) {
			t.Helper()
			began := time.Now()
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			assert.Equal(t, lasts, time.Since(began))
			if wantReason == nil {
				if assert.NoError(t, err, "%+v", m) {
					assert.Len(t, m.List, 2, "%+v", m)
				}
				return
			}
			f.missing(len(m.List), m.Coverage, err, wantReason, wantEnd)
		}
		suspects := func() (ids []string) {
			for _, p := range f.nodes[0].KnownPeers() {
				if p.Suspect {
					ids = append(ids, p.ID)
				}
			}
			return ids
		}
		ask(nil, nil, 0)
		memorytest.Freeze(f.brokers[2])
		ask(backplane.ErrNoResponse, context.DeadlineExceeded, time.Second)
		assert.Equal(t, f.ids(2), suspects(), "suspects")
		ask(backplane.ErrPeerUnresponsive, backplane.ErrPeerUnresponsive, 0)
		ask(backplane.ErrPeerUnresponsive, backplane.ErrPeerUnresponsive, 0)

		// Its late responses to the earlier requests are signs of life.
		stray := f.nodes[0].Stats().StrayResponses
		memorytest.Thaw(f.brokers[2])
		settle()
		assert.EqualValues(t, 3, f.nodes[0].Stats().StrayResponses-stray, "late answers were counted")
		assert.Empty(t, suspects(), "suspects")
		ask(nil, nil, 0)

		// So is a broadcast of it.
		memorytest.Freeze(f.brokers[2])
		ask(backplane.ErrNoResponse, context.DeadlineExceeded, time.Second)
		require.NoError(t, f.ns[2].Broadcast(t.Context(), nil, backplane.All()))
		assert.Equal(t, f.ids(2), suspects(), "suspects")
		memorytest.Thaw(f.brokers[2])
		settle()
		assert.Empty(t, suspects(), "suspects")
		f.errs[0].none(t)
	})
}

// An unknown member is reported at once if all nodes respond.
func TestUnknownMember(t *testing.T) {
	for op, call := range map[wire.Op]func(ctx context.Context, ns *backplane.Namespace, id string) error{
		wire.OpRoomsOf: func(ctx context.Context, ns *backplane.Namespace, id string) error {
			_, err := ns.RoomsOf(ctx, id)
			return err
		},
		wire.OpJoin: func(ctx context.Context, ns *backplane.Namespace, id string) error { return ns.Join(ctx, id, "x", "y") },
		wire.OpLeave: func(ctx context.Context, ns *backplane.Namespace, id string) error {
			return ns.Leave(ctx, id, "x", "y")
		},
		wire.OpDisconnect: func(ctx context.Context, ns *backplane.Namespace, id string) error {
			return ns.Disconnect(ctx, id, true)
		},
	} {
		t.Run(op.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := trio(t, backplane.Options{})
				check := func(id string, want error, lasts time.Duration) {
					t.Helper()
					began := time.Now()
					err := call(t.Context(), f.ns[0], id)
					assert.Equal(t, lasts, time.Since(began))
					me, ok := errors.AsType[*backplane.OpError](err)
					if want == nil {
						assert.NoError(t, err)
					} else if !ok || me.Op != op.String() || me.Name != id || !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
				}
				check("unknown", backplane.ErrNoSuchMember, 0)
				check("", backplane.ErrNoSuchMember, 0)
				check("c", nil, 0)
				// A frozen node may have it. The members of other nodes do not depend on it.
				memorytest.Freeze(f.brokers[2])
				check("b", nil, 0)
				check("unknown", context.DeadlineExceeded, time.Second)
				check("unknown", backplane.ErrPeerUnresponsive, 0)
				memorytest.Kill(f.brokers[2])
				check("unknown", backplane.ErrPeerLost, 0)
				check("b", nil, 0)
			})
		})
	}
}

func TestNodeWithoutPeersAnswersAtOnce(t *testing.T) {
	for _, q := range questions {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 1, backplane.Options{}, nil)
			began := time.Now()
			if got, fleet, err := q.ask(t.Context(), f.ns[0]); got != 0 || err != nil || len(fleet.Answered)+len(fleet.Missing) != 0 || time.Since(began) > 0 {
				t.Errorf("%s: %d, %+v, %v", q.name, got, fleet, err)
			}
		})
	}
}

// A node that has not announced itself is counted, waited for, and responds with its name.
func TestUnannouncedNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trio(t, backplane.Options{})
		w := f.wire("ghost")
		for _, delay := range []time.Duration{0, 500 * time.Millisecond} {
			w.onRequest(func(r *wire.Request) {
				time.AfterFunc(delay, func() {
					w.answer(r, "ghost", wire.Response{Members: []wire.MemberInfo{{ID: "g"}}})
				})
			})
			began := time.Now()
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			if assert.NoError(t, err, "%+v", m) {
				assert.Len(t, m.List, 3, "%+v", m)
				assert.Equal(t, delay, time.Since(began), "%+v", m)
			}
			assert.Equal(t, slices.Sorted(slices.Values(append(f.ids(1, 2), "ghost"))), m.Answered, "answered")
		}
		if n, err := serversOf(t.Context(), f.ns[0]); n != 4 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		// If it does not respond it is missing, without a name.
		w.onRequest(nil)
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		require.Len(t, m.Missing, 1)
		assert.Empty(t, m.Missing[0].Node)
		assert.Equal(t, 1, m.Missing[0].Count)
		assert.ErrorIs(t, m.Missing[0].Reason, backplane.ErrNoResponse)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "1 foreign")
		// Responses without a name count too.
		w.onRequest(func(r *wire.Request) { w.answer(r, "", wire.Response{}) })
		m, err = f.ns[0].Members(t.Context(), backplane.All())
		require.NoError(t, err, "%+v", m)
		assert.Equal(t, 1, m.Foreign, "%+v", m)
		assert.Len(t, m.Answered, 2, "%+v", m)
	})
}

// A node that was unknown by name may leave before it has responded.
func TestUnannouncedNodeLeaves(t *testing.T) {
	for _, how := range []string{"killed", "announces itself and says goodbye"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := trio(t, backplane.Options{})
				w := f.wire("ghost")
				timer := time.AfterFunc(100*time.Millisecond, func() {
					memorytest.Kill(w.b)
					if how != "killed" {
						f.wire("").control(hello, "ghost", 1, 1, chat)
						f.wire("").control(bye, "ghost", 1, 1)
					}
				})
				defer timer.Stop()
				began, want := time.Now(), 100*time.Millisecond
				if how == "killed" {
					want = 250 * time.Millisecond // it is checked now and then
				}
				m, err := f.ns[0].Members(t.Context(), backplane.All())
				d := time.Since(began)
				assert.Equal(t, want, d, "%+v", m)
				assert.ErrorIs(t, err, backplane.ErrPeerLost, "%+v", m)
				assert.Len(t, m.List, 2, "%+v", m)
				if assert.Len(t, m.Missing, 1) {
					assert.Empty(t, m.Missing[0].Node)
					assert.Equal(t, 1, m.Missing[0].Count)
				}
			})
		})
	}
}

// A node that crashes between its number of acknowledgements and the last of them.
func TestNodeDiesOwingAcks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		f.join(1, newAcker("slow"))
		f.socket(1, "b")
		timer := time.AfterFunc(300*time.Millisecond, func() { memorytest.Kill(f.brokers[1]) })
		defer timer.Stop()
		began := time.Now()
		a, err := f.ns[0].BroadcastAck(t.Context(), nil, backplane.All(), time.Minute)
		d := time.Since(began)
		assert.Equal(t, 500*time.Millisecond, d)
		assert.ErrorIs(t, err, backplane.ErrPeerLost)
		assert.Equal(t, 2, a.Expected)
		require.Len(t, a.Values, 1)
		require.Len(t, a.Missing, 1)
		assert.Equal(t, f.nodes[1].ID(), a.Missing[0].Node)
		assert.Len(t, a.Answered, 1)
	})
}

// A node that joins during a request does not affect the request.
func TestLateJoiner(t *testing.T) {
	for _, q := range questions {
		bubble(t, func(t *testing.T) {
			f := trio(t, backplane.Options{})
			memorytest.Freeze(f.brokers[2])
			timer := time.AfterFunc(100*time.Millisecond, func() {
				f.add(&backplane.Options{Name: "late"}, answering(3))
				f.socket(3, "d")
				memorytest.Thaw(f.brokers[2])
			})
			defer timer.Stop()
			got, fleet, err := q.ask(t.Context(), f.ns[0])
			assert.Equal(t, 2, got, q.name)
			assert.NoError(t, err, q.name)
			assert.Equal(t, f.ids(1, 2), fleet.Answered, "answered")
			settle()
			got, _, err = q.ask(t.Context(), f.ns[0])
			assert.GreaterOrEqual(t, got, 3, "%s: then", q.name)
			assert.NoError(t, err, "%s: then", q.name)
		})
	}
}

// Leaving nodes are not waited for, in every order of goodbye and request.
func TestNodesLeave(t *testing.T) {
	for round := range 40 {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 4, backplane.Options{}, answering)
			began := time.Now()
			var wg sync.WaitGroup
			for i := 1; i <= 2; i++ {
				wg.Go(func() {
					for range round % 7 * i {
						runtime.Gosched()
					}
					shut := f.nodes[i].Close
					if round%2 == 0 {
						shut = f.ns[i].Close
					}
					assert.NoError(t, shut(t.Context()))
				})
			}
			for range 20 {
				for _, q := range questions[:3] {
					_, fleet, err := q.ask(t.Context(), f.ns[0])
					for _, m := range fleet.Missing {
						assert.Contains(t, f.ids(1, 2), m.Node, "missing, %v", err)
						assert.ErrorIs(t, m.Reason, backplane.ErrPeerLost, "missing, %v", err)
					}
				}
			}
			wg.Wait()
			settle()
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			if assert.NoError(t, err, "at the end: %+v", m) {
				assert.Equal(t, f.ids(3), m.Answered, "at the end: %+v", m)
			}
			// A node that has sent its goodbye is waited for until it is no longer counted.
			assert.LessOrEqual(t, time.Since(began), 100*time.Millisecond, "a call waited")
		})
	}
}

// A node that said goodbye and is still subscribed after the time for leaving is missing, unless it
// responds. It is not waited for until the deadline, and not twice.
func TestLeaverThatStillListens(t *testing.T) {
	for _, how := range []string{"node", "namespace"} {
		bubble(t, func(t *testing.T) {
			f := trio(t, backplane.Options{})
			w := f.wire("leaver")
			w.control(full, "leaver", 1, 1, chat)
			settle()
			if how == "node" {
				w.control(bye, "leaver", 1, 1)
			} else {
				w.control(full, "leaver", 1, 2, "/other")
			}
			settle()
			for _, lasts := range []time.Duration{250 * time.Millisecond, 0} {
				began := time.Now()
				m, err := f.ns[0].Members(t.Context(), backplane.All())
				assert.ErrorIs(t, err, backplane.ErrPeerLost, how)
				require.Len(t, m.List, 2, how)
				require.Len(t, m.Missing, 1, how)
				assert.Equal(t, "leaver", m.Missing[0].Node, how)
				assert.Equal(t, lasts, time.Since(began), how)
			}
			ghost := f.wire("ghost") // the leaving node is not taken for one that stays
			ghost.onRequest(func(r *wire.Request) {
				w.answer(r, "leaver", wire.Response{}) // it may still respond
				time.AfterFunc(100*time.Millisecond, func() { w.answer(r, "ghost", wire.Response{}) })
			})
			began := time.Now()
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			require.NoError(t, err, how)
			require.Len(t, m.List, 2, how)
			assert.Contains(t, m.Answered, "ghost", how)
			assert.Equal(t, 100*time.Millisecond, time.Since(began), how)
			n, err := serversOf(t.Context(), f.ns[0])
			assert.Equal(t, 5, n)
			assert.NoError(t, err)
		})
	}
}

// The broker may count its channels one after the other, while a node leaves.
func TestNodeLeavesWhileCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		slow := f.addSlowCounter()
		f.add(&backplane.Options{}, nil)
		f.add(&backplane.Options{}, nil)
		f.meet()
		slow.between = func() { memorytest.Kill(f.brokers[2]) }
		began := time.Now()
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		if !errors.Is(err, backplane.ErrPeerLost) || time.Since(began) > 0 || len(m.Missing) != 1 || m.Missing[0].Node != f.nodes[2].ID() {
			t.Errorf("%+v, %v after %v", m, err, time.Since(began))
		}
	})
}

// A goodbye that arrives between the counting and the request is not missed.
func TestGoodbyeAfterTheCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		slow := f.addSlowCounter()
		w := f.wire("leaver")
		w.control(full, "leaver", 1, 1, chat)
		settle()
		slow.between = func() {
			w.control(bye, "leaver", 1, 1)
			settle()
		}
		began := time.Now()
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		if !errors.Is(err, backplane.ErrPeerLost) || time.Since(began) > 0 || len(m.Missing) != 1 || m.Missing[0].Node != "leaver" {
			t.Errorf("%+v, %v after %v", m, err, time.Since(began))
		}
	})
}

// slowCounter calls a function after it has counted the first channel.
type slowCounter struct {
	broker.Broker
	between func()
}

// addSlowCounter adds a node on a slowCounter.
func (f *fleet) addSlowCounter() *slowCounter {
	f.t.Helper()
	s := new(slowCounter)
	f.addOn(f.bus.Broker(), func(b broker.Broker) broker.Broker {
		s.Broker = b
		return s
	}, &backplane.Options{}, nil)
	return s
}

func (s *slowCounter) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	first, err := s.Broker.Subscribers(ctx, channels[0])
	if err != nil {
		return nil, err
	}
	if s.between != nil {
		s.between()
		s.between = nil
	}
	rest, err := s.Broker.Subscribers(ctx, channels[1:]...)
	return append(first, rest...), err
}

// Unexpected responses are counted and change nothing.
func TestDuplicateLateAndStrayAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		w := f.wire("w")
		w.control(full, "w", 1, 1, chat)
		x := f.wire("x")
		x.control(full, "x", 1, 1, chat)
		settle()
		stats := func() (strays, undecodable, foreign, echoes uint64) {
			st := f.nodes[0].Stats()
			return st.StrayResponses, st.Undecodable, st.Foreign, st.Echoes
		}

		// One node responds three times, and with another id; the other one responds last.
		var last *wire.Request
		info := func(id string) wire.Response {
			return wire.Response{Members: []wire.MemberInfo{{ID: id}}}
		}
		w.onRequest(func(r *wire.Request) {
			last = r
			w.answer(r, "w", info("1"))
			w.answer(r, "w", info("2"))
			w.answer(r, f.nodes[0].ID(), info("3"))
			w.send(broker.Native.NodeResponses(chat, f.nodes[0].ID()), []byte("\xc1"))
			w.answer(&wire.Request{ID: r.ID + "0", Origin: r.Origin}, "w", info("4")) // an unknown request
			w.answer(&wire.Request{ID: "other.1", Origin: r.Origin}, "w", info("5"))  // another node's
			w.answer(r, "w", info("6"))
			time.AfterFunc(100*time.Millisecond, func() { x.answer(r, "x", info("x")) })
		})
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		require.NoError(t, err)
		require.Len(t, m.List, 2)
		assert.Equal(t, "1", m.List[0].ID)
		assert.Equal(t, "w", m.List[0].Node)
		assert.Equal(t, "x", m.List[1].ID)
		assert.Equal(t, []string{"w", "x"}, m.Answered, "answered")
		if s, u, fo, e := stats(); s != 3 || u != 1 || fo != 1 || e != 2 { // the request itself is received too
			t.Errorf("stray %d, undecodable %d, foreign %d, echoes %d", s, u, fo, e)
		}
		reported[*backplane.MessageError](t, f.errs[0])

		w.answer(last, "w", info("late"))
		settle()
		s, _, _, _ := stats()
		assert.EqualValues(t, 4, s, "stray after a late answer")

		// Acknowledgements that were not requested.
		w.onRequest(func(r *wire.Request) {
			w.answer(r, "w", wire.Response{Ack: true, Payload: []byte("?")})
			w.answer(r, "w", wire.Response{Count: 7})
			x.answer(r, "x", wire.Response{})
		})
		touched, err := f.ns[0].JoinAll(t.Context(), backplane.All(), "r")
		require.NoError(t, err, "JoinAll: %+v", touched)
		assert.Equal(t, 7, touched.Total, "JoinAll: %+v", touched)
		f.errs[0].none(t)
	})
}

// One node's id may be a prefix of another's.
func TestIDsWithACommonBeginning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &fleet{t: t, bus: newFleet(t, 0, backplane.Options{}, nil).bus}
		for _, id := range []string{"web", "web.1", "web.1.1"} {
			f.add(&backplane.Options{ID: id}, nil)
		}
		f.meet()
		for i := range f.ns {
			m, err := f.ns[i].Members(t.Context(), backplane.All())
			if assert.NoError(t, err, "%s: %+v", f.nodes[i].ID(), m) {
				assert.Len(t, m.Answered, 2, "%s: %+v", f.nodes[i].ID(), m)
			}
		}
		for i, n := range f.nodes {
			st := n.Stats()
			assert.Zero(t, st.StrayResponses+st.Foreign, "node %d: %+v", i, st)
		}
	})
}

func TestOnRequestUntilItsContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var lasted time.Duration
		f := newFleet(t, 2, backplane.Options{}, func(int) *nsOptions {
			return &nsOptions{OnRequest: func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
				began := time.Now()
				<-ctx.Done()
				lasted = time.Since(began)
				return nil, ctx.Err()
			}}
		})
		r, err := f.ns[0].Request(t.Context(), nil)
		settle()
		assert.Equal(t, time.Second, lasted, "its context ended")
		// The response and the deadline arrive at the same moment.
		if err == nil && (len(r.List) != 1 || r.List[0].Err != context.DeadlineExceeded.Error()) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v, %v", r, err)
		}

		// Close does not wait for the timeout.
		go f.ns[0].Request(t.Context(), nil)
		settle()
		began := time.Now()
		if err := f.nodes[1].Close(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("Close: %v after %v", err, time.Since(began))
		}
	})
}

func TestCallbacksOfRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		events := make(chan string, 10)
		f := newFleet(t, 3, backplane.Options{}, func(i int) *nsOptions {
			if i == 2 {
				return nil // no handlers
			}
			return &nsOptions{
				OnRequest: func(_ context.Context, from string, p []byte) ([]byte, error) {
					if string(p) == "panic" {
						panic("request")
					}
					return append([]byte(from+": "), p...), nil
				},
				OnEvent: func(_ context.Context, from string, p []byte, reply func([]byte)) {
					events <- string(p)
					switch string(p) {
					case "panic":
						panic("event")
					case "twice":
						reply([]byte("1"))
						reply([]byte("2"))
					case "later":
						time.AfterFunc(500*time.Millisecond, func() { reply(nil) })
					case "plain":
						if reply != nil {
							t.Error("an event without answer has a reply function")
						}
					}
				},
			}
		})
		by := func(r *backplane.Result[backplane.Reply], node int) *backplane.Reply {
			for i := range r.List {
				if r.List[i].Node == f.nodes[node].ID() {
					return &r.List[i]
				}
			}
			t.Errorf("no reply of node %d", node)
			return new(backplane.Reply)
		}
		r, err := f.ns[0].Request(t.Context(), []byte("hi"))
		require.NoError(t, err)
		assert.Equal(t, f.nodes[0].ID()+": hi", string(by(r, 1).Payload))
		assert.NotEmpty(t, by(r, 2).Err)
		assert.Nil(t, by(r, 2).Payload)
		r, err = f.ns[0].Request(t.Context(), []byte("panic"))
		require.NoError(t, err, "%+v", r)
		assert.Contains(t, by(r, 1).Err, "panic", "%+v", r)
		settle()
		p := reported[*backplane.PanicError](t, f.errs[1])
		assert.Equal(t, "OnRequest", p.What)
		assert.Equal(t, "request", p.Value)
		r, err = f.ns[0].EventAck(t.Context(), []byte("panic"))
		require.NoError(t, err, "%+v", r)
		assert.Contains(t, by(r, 1).Err, "panic", "%+v", r)
		assert.Empty(t, by(r, 2).Err, "%+v", r)
		settle()
		p = reported[*backplane.PanicError](t, f.errs[1])
		assert.Equal(t, "OnEvent", p.What)
		assert.Equal(t, "event", p.Value)
		r, err = f.ns[0].EventAck(t.Context(), []byte("twice"))
		require.NoError(t, err, "%+v", r)
		assert.Equal(t, "1", string(by(r, 1).Payload), "%+v", r)
		assert.Len(t, r.List, 2, "%+v", r)
		began := time.Now()
		r, err = f.ns[0].EventAck(t.Context(), []byte("later"))
		require.NoError(t, err, "%+v", r)
		assert.Nil(t, by(r, 1).Payload, "%+v", r)
		assert.Equal(t, 500*time.Millisecond, time.Since(began), "%+v", r)
		began = time.Now()
		r, err = f.ns[0].EventAck(t.Context(), []byte("never"))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, r.Missing, 1)
		assert.Equal(t, f.nodes[1].ID(), r.Missing[0].Node)
		assert.Equal(t, time.Second, time.Since(began))
		assert.NoError(t, f.ns[0].Event(t.Context(), []byte("plain")))
		settle()
		var got []string
		for len(events) > 0 {
			got = append(got, <-events)
		}
		assert.Equal(t, []string{"panic", "twice", "later", "never", "plain"}, got, "events")
		st := f.nodes[1].Stats()
		assert.EqualValues(t, 7, st.Served)
		assert.EqualValues(t, 2, st.Panics)
	})
}

// A member that panics in Describe is listed all the same, without data.
func TestDescribePanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		for i := range f.ns {
			f.join(i, &rudeDescriber{newSocket(fmt.Sprint("rude", i))})
			f.socket(i, fmt.Sprint("polite", i))
		}
		m, err := f.ns[0].MembersDetail(t.Context(), backplane.All())
		require.NoError(t, err, "%+v", m)
		require.Len(t, m.List, 4, "%+v", m)
		for _, i := range m.List {
			want := strings.HasPrefix(i.ID, "polite")
			assert.Equal(t, want, i.Data != nil)
			assert.Len(t, i.Rooms, 1)
		}
		settle()
		for i, log := range f.errs {
			p := reported[*backplane.PanicError](t, log)
			assert.Equal(t, "Describe", p.What)
			assert.Equal(t, fmt.Sprint("rude", i), p.Member)
		}
	})
}

type rudeDescriber struct{ *socket }

func (*rudeDescriber) Describe() []byte { panic("no") }

// If the broker cannot count subscribers, a request does not wait for foreign peers, and its result
// is partial.
func TestBrokerThatCannotCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		blind := func(b broker.Broker) broker.Broker { return &blindBroker{b} }
		for range 2 {
			f.addOn(f.bus.Broker(), blind, &backplane.Options{}, answering(0))
		}
		f.meet()
		f.socket(1, "b")
		w := f.wire("ghost")
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		require.NoError(t, err, "%+v", m)
		require.Len(t, m.List, 1, "%+v", m)
		assert.Len(t, m.Answered, 1, "%+v", m)
		n, err := serversOf(t.Context(), f.ns[0])
		assert.Equal(t, 2, n)
		assert.NoError(t, err)
		require.NoError(t, f.nodes[1].Close(t.Context()))
		settle()
		w.saw(kindRequests)
		for _, q := range questions {
			got, _, err := q.ask(t.Context(), f.ns[0])
			assert.Zero(t, got, q.name)
			assert.NoError(t, err, q.name)
			settle()
			assert.Equal(t, 1, len(w.saw(kindRequests)), "%s: received by an unknown node", q.name)
		}
	})
}

type blindBroker struct{ broker.Broker }

func (b *blindBroker) Capabilities() broker.Capabilities {
	c := b.Broker.Capabilities()
	c.CountsSubscribers, c.ListsResponders = false, false
	return c
}

func (*blindBroker) Subscribers(context.Context, ...broker.Channel) ([]int, error) {
	return nil, errors.ErrUnsupported
}

func (*blindBroker) Responders(context.Context, broker.Protocol, string) ([]string, error) {
	return nil, errors.ErrUnsupported
}
