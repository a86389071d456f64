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

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/wire"
)

// questions are the operations that everybody answers. got says how many members or
// nodes other than the asker's had their say in the result, of one each.
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
		return len(l.Rooms), l.Coverage, err
	}},
	{"JoinAll", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		m, err := ns.JoinAll(ctx, backplane.All(), "x")
		return m.Count, m.Coverage, err
	}},
	{"LeaveAll", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		m, err := ns.LeaveAll(ctx, backplane.All(), "x")
		return m.Count, m.Coverage, err
	}},
	{"DisconnectAll", func(ctx context.Context, ns *backplane.Namespace) (int, backplane.Coverage, error) {
		m, err := ns.DisconnectAll(ctx, backplane.All(), false)
		return m.Count, m.Coverage, err
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

// answering is a node's options with which it answers everything.
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

// trio is a fleet of an asker without members and two nodes with one each.
func trio(t *testing.T, opts backplane.Options) *fleet {
	f := newFleet(t, 3, opts, answering)
	f.socket(1, "b")
	f.socket(2, "c")
	return f
}

// missing checks an answer in which node 2 is missing and node 1 is not.
func (f *fleet) missing(got int, fleet backplane.Coverage, err, reason, end error) {
	f.t.Helper()
	p, ok := errors.AsType[*backplane.PartialError](err)
	if !ok {
		f.t.Errorf("error %v", err)
		return
	}
	if got != 1 {
		f.t.Errorf("%d results, want that of the other node", got)
	}
	for _, fl := range []backplane.Coverage{fleet, p.Coverage} {
		equal(f.t, "answered", fl.Answered, f.ids(1))
		if len(fl.Missing) != 1 || fl.Missing[0].Node != f.nodes[2].ID() || fl.Missing[0].Count != 1 || !errors.Is(fl.Missing[0].Reason, reason) {
			f.t.Errorf("missing %+v, want node 2 because of %v", fl.Missing, reason)
		}
	}
	if !errors.Is(err, end) {
		f.t.Errorf("%v does not wrap %v", err, end)
	}
	if !strings.Contains(err.Error(), f.nodes[2].ID()) {
		f.t.Errorf("%q does not name the node", err)
	}
}

func TestQuestionsWithAFault(t *testing.T) {
	for _, q := range questions {
		for _, c := range []struct {
			name        string
			before      func(f *fleet) // the question
			middle      func(f *fleet) // while it waits; nil for nothing
			reason, end error          // nil: node 2 answers after all
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
					if d := time.Since(began); d != c.lasts {
						t.Errorf("took %v, want %v", d, c.lasts)
					}
					if c.reason != nil {
						f.missing(got, fleet, err, c.reason, c.end)
						return
					}
					if err != nil || got != 2 || len(fleet.Missing) != 0 {
						t.Errorf("%d results, missing %v, %v", got, fleet.Missing, err)
					}
					equal(t, "answered", fleet.Answered, f.ids(1, 2))
				})
			})
		}
	}
}

// The asker's own outage: in the middle of a question, and before it.
func TestQuestionsWhileCutOff(t *testing.T) {
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := trio(t, backplane.Options{})
				memorytest.Cut(f.brokers[0], nil)
				began := time.Now()
				got, fleet, err := q.ask(t.Context(), f.ns[0])
				if d := time.Since(began); d != time.Second || got != 0 || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%d results after %v, %v", got, d, err)
				}
				if p, ok := errors.AsType[*backplane.PartialError](err); !ok || len(p.Coverage.Missing) != 2 || len(fleet.Missing) != 2 {
					t.Errorf("%+v, %v", fleet, err)
				}

				// In the middle: the answers miss their way.
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
				if got, _, err = q.ask(t.Context(), f.ns[0]); got != 0 || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%d results, %v", got, err)
				}

				// That was nobody's fault but the asker's: nobody is suspect now.
				memorytest.Freeze(f.brokers[2])
				memorytest.Heal(f.brokers[0])
				settle()
				for _, p := range f.nodes[0].KnownPeers() {
					if p.Suspect {
						t.Errorf("%s is suspect", p.ID)
					}
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

// A user's context ends a question as the deadline does, and accuses nobody.
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
			if f.nodes[0].KnownPeers()[1].Suspect {
				t.Errorf("%s: suspect after less than the request timeout", q.name)
			}
		})
	}
}

// A node that missed a deadline is asked, but not waited for, until it gives a sign.
func TestSuspects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trio(t, backplane.Options{Heartbeat: time.Minute})
		ask := func(wantReason, wantEnd error, lasts time.Duration) {
			t.Helper()
			began := time.Now()
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			if d := time.Since(began); d != lasts {
				t.Errorf("took %v, want %v", d, lasts)
			}
			if wantReason == nil {
				if err != nil || len(m.List) != 2 {
					t.Errorf("%+v, %v", m, err)
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
		equal(t, "suspects", suspects(), f.ids(2))
		ask(backplane.ErrPeerUnresponsive, backplane.ErrPeerUnresponsive, 0)
		ask(backplane.ErrPeerUnresponsive, backplane.ErrPeerUnresponsive, 0)

		// Its answers to the questions so far come late, and are signs of life.
		stray := f.nodes[0].Stats().StrayResponses
		memorytest.Thaw(f.brokers[2])
		settle()
		if n := f.nodes[0].Stats().StrayResponses - stray; n != 3 {
			t.Errorf("%d late answers were counted, want 3", n)
		}
		equal(t, "suspects", suspects(), nil)
		ask(nil, nil, 0)

		// A broadcast of it is a sign as well.
		memorytest.Freeze(f.brokers[2])
		ask(backplane.ErrNoResponse, context.DeadlineExceeded, time.Second)
		if err := f.ns[2].Broadcast(t.Context(), nil, backplane.All()); err != nil {
			t.Fatal(err)
		}
		equal(t, "suspects", suspects(), f.ids(2))
		memorytest.Thaw(f.brokers[2])
		settle()
		equal(t, "suspects", suspects(), nil)
		f.errs[0].none(t)
	})
}

// Members unknown to all are reported so at once, as long as everybody answers.
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
					if d := time.Since(began); d != lasts {
						t.Errorf("took %v, want %v", d, lasts)
					}
					me, ok := errors.AsType[*backplane.OpError](err)
					if want == nil {
						if err != nil {
							t.Error(err)
						}
					} else if !ok || me.Op != op.String() || me.Name != id || !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
				}
				check("nobody", backplane.ErrNoSuchMember, 0)
				check("", backplane.ErrNoSuchMember, 0)
				check("c", nil, 0)
				// A frozen node may have it; but others' members are not its business.
				memorytest.Freeze(f.brokers[2])
				check("b", nil, 0)
				check("nobody", context.DeadlineExceeded, time.Second)
				check("nobody", backplane.ErrPeerUnresponsive, 0)
				memorytest.Kill(f.brokers[2])
				check("nobody", backplane.ErrPeerLost, 0)
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

// A node that has not announced itself is counted, waited for, and answers by name.
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
			if err != nil || len(m.List) != 3 || time.Since(began) != delay {
				t.Errorf("%+v after %v, %v", m, time.Since(began), err)
			}
			equal(t, "answered", m.Answered, slices.Sorted(slices.Values(append(f.ids(1, 2), "ghost"))))
		}
		if n, err := f.ns[0].Count(t.Context()); n != 4 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		// If it does not answer it is missed, without a name.
		w.onRequest(nil)
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		if len(m.Missing) != 1 || m.Missing[0].Node != "" || m.Missing[0].Count != 1 || !errors.Is(m.Missing[0].Reason, backplane.ErrNoResponse) {
			t.Errorf("missing %+v", m.Missing)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 unnamed") {
			t.Errorf("%v", err)
		}
		// Answers without a name count as well.
		w.onRequest(func(r *wire.Request) { w.answer(r, "", wire.Response{}) })
		if m, err = f.ns[0].Members(t.Context(), backplane.All()); err != nil || m.Foreign != 1 || len(m.Answered) != 2 {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// A node that nobody knew by name may leave before it has answered.
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
					want = 250 * time.Millisecond // it is looked after now and then
				}
				m, err := f.ns[0].Members(t.Context(), backplane.All())
				if d := time.Since(began); d != want || !errors.Is(err, backplane.ErrPeerLost) || len(m.List) != 2 {
					t.Errorf("%+v, %v after %v", m, err, d)
				}
				if len(m.Missing) != 1 || m.Missing[0].Node != "" || m.Missing[0].Count != 1 {
					t.Errorf("missing %+v", m.Missing)
				}
			})
		})
	}
}

// A node that dies between its number of acknowledgements and the last of them.
func TestNodeDiesOwingAcks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		f.join(1, newAcker("slow"))
		f.socket(1, "b")
		timer := time.AfterFunc(300*time.Millisecond, func() { memorytest.Kill(f.brokers[1]) })
		defer timer.Stop()
		began := time.Now()
		a, err := f.ns[0].BroadcastAck(t.Context(), nil, backplane.All(), time.Minute)
		if d := time.Since(began); d != 500*time.Millisecond || !errors.Is(err, backplane.ErrPeerLost) {
			t.Errorf("%v after %v", err, d)
		}
		if a.Expected != 2 || len(a.Values) != 1 || len(a.Missing) != 1 || a.Missing[0].Node != f.nodes[1].ID() || len(a.Answered) != 1 {
			t.Errorf("%+v", a)
		}
	})
}

// Whoever comes while a question is under way does not disturb it.
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
			if got != 2 || err != nil {
				t.Errorf("%s: %d results, %v", q.name, got, err)
			}
			equal(t, "answered", fleet.Answered, f.ids(1, 2))
			settle()
			if got, _, err = q.ask(t.Context(), f.ns[0]); got < 3 || err != nil {
				t.Errorf("%s: then %d results, %v", q.name, got, err)
			}
		})
	}
}

// Nodes that leave are not waited for, however the goodbye and the question cross.
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
					if err := shut(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			for range 20 {
				for _, q := range questions[:3] {
					_, fleet, err := q.ask(t.Context(), f.ns[0])
					for _, m := range fleet.Missing {
						if !slices.Contains(f.ids(1, 2), m.Node) || !errors.Is(m.Reason, backplane.ErrPeerLost) {
							t.Errorf("missing %+v, %v", m, err)
						}
					}
				}
			}
			wg.Wait()
			settle()
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			if err != nil || !slices.Equal(m.Answered, f.ids(3)) {
				t.Errorf("at the end: %+v, %v", m, err)
			}
			// A node that has said goodbye is waited for until it is counted no more.
			if d := time.Since(began); d > 100*time.Millisecond {
				t.Errorf("somebody waited %v", d)
			}
		})
	}
}

// A node that said that it leaves, and still listens when it had the time to stop, is
// missing, unless it answers. It is not waited for until the deadline, and no second time.
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
				if !errors.Is(err, backplane.ErrPeerLost) || len(m.List) != 2 || len(m.Missing) != 1 || m.Missing[0].Node != "leaver" || time.Since(began) != lasts {
					t.Errorf("%s: %+v, %v after %v", how, m, err, time.Since(began))
				}
			}
			ghost := f.wire("ghost") // the leaver does not count for one that stays
			ghost.onRequest(func(r *wire.Request) {
				w.answer(r, "leaver", wire.Response{}) // it may answer all the same
				time.AfterFunc(100*time.Millisecond, func() { w.answer(r, "ghost", wire.Response{}) })
			})
			began := time.Now()
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			if err != nil || len(m.List) != 2 || !slices.Contains(m.Answered, "ghost") || time.Since(began) != 100*time.Millisecond {
				t.Errorf("%s: %+v, %v after %v", how, m, err, time.Since(began))
			}
			if n, err := f.ns[0].Count(t.Context()); n != 5 || err != nil {
				t.Errorf("Count: %d, %v", n, err)
			}
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

// A goodbye that comes between the counting and the question is not overheard.
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

// slowCounter has something happen after it has counted the first channel.
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

// Answers that nobody wants are counted and change nothing.
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

		// One node answers three times, and as somebody else; the other in the end.
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
			w.answer(&wire.Request{ID: r.ID + "0", Origin: r.Origin}, "w", info("4")) // a question never asked
			w.answer(&wire.Request{ID: "other.1", Origin: r.Origin}, "w", info("5"))  // somebody else's
			w.answer(r, "w", info("6"))
			time.AfterFunc(100*time.Millisecond, func() { x.answer(r, "x", info("x")) })
		})
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		if err != nil || len(m.List) != 2 || m.List[0].ID != "1" || m.List[0].Node != "w" || m.List[1].ID != "x" {
			t.Errorf("%+v, %v", m, err)
		}
		equal(t, "answered", m.Answered, []string{"w", "x"})
		if s, u, fo, e := stats(); s != 3 || u != 1 || fo != 1 || e != 2 { // the question itself comes back too
			t.Errorf("stray %d, undecodable %d, foreign %d, echoes %d", s, u, fo, e)
		}
		reported[*backplane.DecodeError](t, f.errs[0])

		w.answer(last, "w", info("late"))
		settle()
		if s, _, _, _ := stats(); s != 4 {
			t.Errorf("stray %d after a late answer", s)
		}

		// Acknowledgements nobody asked for, and of a question without them.
		w.onRequest(func(r *wire.Request) {
			w.answer(r, "w", wire.Response{Ack: true, Payload: []byte("?")})
			w.answer(r, "w", wire.Response{Count: 7})
			x.answer(r, "x", wire.Response{})
		})
		touched, err := f.ns[0].JoinAll(t.Context(), backplane.All(), "r")
		if err != nil || touched.Count != 7 {
			t.Errorf("JoinAll: %+v, %v", touched, err)
		}
		f.errs[0].none(t)
	})
}

// One node's id may be the beginning of another's.
func TestIDsWithACommonBeginning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &fleet{t: t, bus: newFleet(t, 0, backplane.Options{}, nil).bus}
		for _, id := range []string{"web", "web.1", "web.1.1"} {
			f.add(&backplane.Options{ID: id}, nil)
		}
		f.meet()
		for i := range f.ns {
			m, err := f.ns[i].Members(t.Context(), backplane.All())
			if err != nil || len(m.Answered) != 2 {
				t.Errorf("%s: %+v, %v", f.nodes[i].ID(), m, err)
			}
		}
		for i, n := range f.nodes {
			if st := n.Stats(); st.StrayResponses+st.Foreign != 0 {
				t.Errorf("node %d: %+v", i, st)
			}
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
		if lasted != time.Second {
			t.Errorf("its context ended after %v", lasted)
		}
		// The answer and the deadline come at the same moment.
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
		by := func(r *backplane.Replies, node int) *backplane.Reply {
			for i := range r.List {
				if r.List[i].Node == f.nodes[node].ID() {
					return &r.List[i]
				}
			}
			t.Errorf("no reply of node %d", node)
			return new(backplane.Reply)
		}
		r, err := f.ns[0].Request(t.Context(), []byte("hi"))
		if err != nil || string(by(r, 1).Payload) != f.nodes[0].ID()+": hi" || by(r, 2).Err == "" || by(r, 2).Payload != nil {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err = f.ns[0].Request(t.Context(), []byte("panic")); err != nil || !strings.Contains(by(r, 1).Err, "panic") {
			t.Errorf("%+v, %v", r, err)
		}
		settle()
		if p := reported[*backplane.PanicError](t, f.errs[1]); p.What != "OnRequest" || p.Value != "request" {
			t.Errorf("reported %v", p)
		}
		if r, err = f.ns[0].EventAck(t.Context(), []byte("panic")); err != nil || !strings.Contains(by(r, 1).Err, "panic") || by(r, 2).Err != "" {
			t.Errorf("%+v, %v", r, err)
		}
		settle()
		if p := reported[*backplane.PanicError](t, f.errs[1]); p.What != "OnEvent" || p.Value != "event" {
			t.Errorf("reported %v", p)
		}
		if r, err = f.ns[0].EventAck(t.Context(), []byte("twice")); err != nil || string(by(r, 1).Payload) != "1" || len(r.List) != 2 {
			t.Errorf("%+v, %v", r, err)
		}
		began := time.Now()
		if r, err = f.ns[0].EventAck(t.Context(), []byte("later")); err != nil || by(r, 1).Payload != nil || time.Since(began) != 500*time.Millisecond {
			t.Errorf("%+v, %v", r, err)
		}
		began = time.Now()
		r, err = f.ns[0].EventAck(t.Context(), []byte("never"))
		if !errors.Is(err, context.DeadlineExceeded) || len(r.Missing) != 1 || r.Missing[0].Node != f.nodes[1].ID() || time.Since(began) != time.Second {
			t.Errorf("%+v, %v", r, err)
		}
		if err := f.ns[0].Event(t.Context(), []byte("plain")); err != nil {
			t.Error(err)
		}
		settle()
		var got []string
		for len(events) > 0 {
			got = append(got, <-events)
		}
		equal(t, "events", got, []string{"panic", "twice", "later", "never", "plain"})
		if st := f.nodes[1].Stats(); st.Served != 7 || st.Panics != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}

// A member that panics while it is described is listed all the same, without data.
func TestDescribePanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		for i := range f.ns {
			f.join(i, &rudeDescriber{newSocket(fmt.Sprint("rude", i))})
			f.socket(i, fmt.Sprint("polite", i))
		}
		m, err := f.ns[0].MembersDetail(t.Context(), backplane.All())
		if err != nil || len(m.List) != 4 {
			t.Fatalf("%+v, %v", m, err)
		}
		for _, i := range m.List {
			if want := strings.HasPrefix(i.ID, "polite"); (i.Data != nil) != want || len(i.Rooms) != 1 {
				t.Errorf("%+v", i)
			}
		}
		settle()
		for i, log := range f.errs {
			if p := reported[*backplane.PanicError](t, log); p.What != "Describe" || p.Member != fmt.Sprint("rude", i) {
				t.Errorf("reported %v", p)
			}
		}
	})
}

type rudeDescriber struct{ *socket }

func (*rudeDescriber) Describe() []byte { panic("no") }

// A broker that cannot count who listens: those who have not announced themselves
// are not waited for, but told.
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
		if err != nil || len(m.List) != 1 || len(m.Answered) != 1 {
			t.Errorf("%+v, %v", m, err)
		}
		if n, err := f.ns[0].Count(t.Context()); n != 2 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		if err := f.nodes[1].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle()
		w.saw(kindRequests)
		for _, q := range questions {
			if got, _, err := q.ask(t.Context(), f.ns[0]); got != 0 || err != nil {
				t.Errorf("%s: %d results, %v", q.name, got, err)
			}
			settle()
			if n := len(w.saw(kindRequests)); n != 1 {
				t.Errorf("%s was heard %d times by a node that nobody knows", q.name, n)
			}
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
