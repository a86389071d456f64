package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/wire"
)

// brokers are those that can count subscribers, and those that cannot.
var brokerKinds = []struct {
	name string
	wrap func(broker.Broker) broker.Broker
}{
	{"counting", nil},
	{"blind", func(b broker.Broker) broker.Broker { return &blindBroker{b} }},
}

// trioOn is trio on wrapped brokers.
func trioOn(t *testing.T, wrap func(broker.Broker) broker.Broker, opts backplane.Options) *fleet {
	t.Helper()
	f := newFleet(t, 0, backplane.Options{}, nil)
	for i := range 3 {
		o := opts
		o.Name = fmt.Sprint("n", i)
		f.addOn(f.bus.Broker(), wrap, &o, answering(i))
	}
	f.meet()
	f.socket(1, "b")
	f.socket(2, "c")
	return f
}

// The promise of Options.PeerTimeout, exact to the tick: no peer is reported as lost before
// PeerTimeout has elapsed, and each crashed peer is lost at most half a heartbeat later.
func TestDeathIsNoticed(t *testing.T) {
	for _, kind := range brokerKinds {
		for _, c := range []struct{ heartbeat, timeout, stall, period time.Duration }{
			{0, 0, -1, 500 * time.Millisecond},
			{0, 0, 0, 62500 * time.Microsecond}, // a quarter of the time for introductions
			{200 * time.Millisecond, 0, -1, 100 * time.Millisecond},
			{time.Second, 1100 * time.Millisecond, -1, 500 * time.Millisecond},
			{10 * time.Second, time.Minute, -1, 5 * time.Second},
		} {
			for _, phase := range []time.Duration{0, 1, 333, 999} { // thousandths of a heartbeat
				t.Run(fmt.Sprintf("%s/%v %v %v", kind.name, c.heartbeat, c.timeout, phase), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						start := time.Now()
						f := trioOn(t, kind.wrap, backplane.Options{Heartbeat: c.heartbeat, PeerTimeout: c.timeout, StallTimeout: c.stall})
						beat, timeout := c.heartbeat, c.timeout
						if beat == 0 {
							beat = time.Second
						}
						if timeout == 0 {
							timeout = beat * 7 / 2
						}
						if kind.wrap != nil {
							start = start.Add(250 * time.Millisecond) // the first waits for others
						}
						time.Sleep(time.Until(start.Add(10 * beat))) // the last two nodes send their heartbeats
						settle()
						last := time.Now()
						time.Sleep(phase * beat / 1000)
						memorytest.Kill(f.brokers[2])
						time.Sleep(time.Until(last.Add(timeout)))
						settle()
						assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), "before the timeout has elapsed")
						time.Sleep(c.period)
						settle()
						assert.Equal(t, f.ids(1), peerIDs(f.nodes[0]), "after it")
						assert.LessOrEqual(t, c.period, beat/2, "it took longer")
					})
				})
			}
		}
	}
}

// A request that waits for a node ends when the node is known to be lost or to leave.
func TestQuestionEndsWithTheNode(t *testing.T) {
	for _, q := range questions {
		for _, how := range []string{"dies", "leaves"} {
			t.Run(q.name+"/"+how, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := trioOn(t, brokerKinds[1].wrap, backplane.Options{RequestsTimeout: time.Minute, StallTimeout: -1})
					memorytest.Freeze(f.brokers[2])
					want := 4 * time.Second // PeerTimeout, and half a heartbeat at most
					least := 3 * time.Second
					if how == "leaves" {
						want, least = 2*time.Second, 2*time.Second
						timer := time.AfterFunc(want, func() {
							// Frames that it has not read yet will not be read.
							f.wire("").control(bye, f.nodes[2].ID(), since(f.nodes[0], f.nodes[2].ID()), 1)
						})
						defer timer.Stop()
					}
					began := time.Now()
					got, fleet, err := q.ask(t.Context(), f.ns[0])
					d := time.Since(began)
					assert.LessOrEqual(t, d, want)
					assert.GreaterOrEqual(t, d, least)
					f.missing(got, fleet, err, backplane.ErrPeerLost, backplane.ErrPeerLost)
				})
			})
		}
	}
}

// A node that crashes without goodbye costs at most one request its deadline: no second one before
// PeerTimeout has elapsed, and none afterwards.
func TestGhosts(t *testing.T) {
	for _, kind := range brokerKinds {
		for _, q := range questions {
			t.Run(kind.name+"/"+q.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := trioOn(t, kind.wrap, backplane.Options{})
					counts := kind.wrap == nil
					ask := func(what string, reason, end error, lasts time.Duration) {
						t.Helper()
						began := time.Now()
						got, fleet, err := q.ask(t.Context(), f.ns[0])
						assert.Equal(t, lasts, time.Since(began), what)
						if reason != nil {
							f.missing(got, fleet, err, reason, end)
						} else if err != nil {
							t.Errorf("%s: %v", what, err)
						}
					}
					ask("all there", nil, nil, 0)
					// A frozen process, or a machine without power: the broker still has
					// its subscriptions.
					memorytest.Freeze(f.brokers[2])
					ask("frozen", backplane.ErrNoResponse, context.DeadlineExceeded, time.Second)
					for range 3 {
						ask("again", backplane.ErrPeerUnresponsive, backplane.ErrPeerUnresponsive, 0)
					}
					time.Sleep(5 * time.Second) // PeerTimeout and more
					assert.Equal(t, f.ids(1), peerIDs(f.nodes[0]), "peers")
					for range 3 {
						if counts {
							ask("forgotten, but counted", backplane.ErrPeerLost, backplane.ErrPeerLost, 0)
						} else {
							ask("forgotten", nil, nil, 0)
						}
					}
					memorytest.Thaw(f.brokers[2])
					time.Sleep(time.Second)
					settle()
					ask("back", nil, nil, 0)
					assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), "peers")

					memorytest.Freeze(f.brokers[2])
					time.Sleep(5 * time.Second)
					memorytest.Kill(f.brokers[2])
					ask("at last not counted any more", nil, nil, 0)

					memorytest.Kill(f.brokers[1])
					if !counts {
						ask = func(string, error, error, time.Duration) { q.ask(t.Context(), f.ns[0]) }
						ask("", nil, nil, 0)
					}
					for range 3 {
						began := time.Now()
						if _, _, err := q.ask(t.Context(), f.ns[0]); err == nil || time.Since(began) > 0 {
							t.Errorf("killed: %v after %v", err, time.Since(began))
						}
					}
				})
			})
		}
	}
}

// A ghost is counted as itself, not as an unknown server, and its goodbye is accepted.
func TestGhostsAreCountedByName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trio(t, backplane.Options{})
		here := func(what string, list, gone, ghosts []string, total int) {
			t.Helper()
			p, err := f.ns[0].Peers(t.Context())
			if err != nil || !p.Counted || p.Foreign != 0 || p.Total() != total {
				t.Errorf("%s: %+v, %v", what, p, err)
			}
			var ids []string
			for _, p := range p.List {
				ids = append(ids, p.ID)
			}
			assert.Equal(t, list, ids, what+", list")
			assert.Equal(t, gone, p.Lost, what+", gone")
			assert.Equal(t, ghosts, p.Unresponsive, what+", ghosts")
			n, err := serversOf(t.Context(), f.ns[0])
			assert.Equal(t, total, n, "%s: count", what)
			assert.NoError(t, err, "%s: count", what)
		}
		here("all there", f.ids(1, 2), nil, nil, 3)
		memorytest.Freeze(f.brokers[2])
		here("frozen", f.ids(1, 2), nil, nil, 3)
		time.Sleep(5 * time.Second)
		here("a ghost", f.ids(1), nil, f.ids(2), 3)
		memorytest.Cut(f.brokers[2], nil)
		here("not counted", f.ids(1), nil, nil, 2)
		memorytest.Thaw(f.brokers[2])
		memorytest.Heal(f.brokers[2])
		time.Sleep(time.Second)
		settle()
		here("back", f.ids(1, 2), nil, nil, 3)
		memorytest.Kill(f.brokers[1])
		here("killed", f.ids(2), f.ids(1), nil, 2)

		memorytest.Freeze(f.brokers[2])
		time.Sleep(5 * time.Second)
		here("a ghost again", nil, nil, f.ids(2), 2)
		f.wire("").control(bye, f.nodes[2].ID(), 1, 1)
		settle()
		here("the goodbye of an earlier life", nil, nil, f.ids(2), 2)
		f.wire("").control(bye, f.nodes[2].ID(), time.Now().UnixNano(), 1)
		settle()
		here("the goodbye of a later life", nil, nil, f.ids(2), 2)
	})
}

// Deadlines shorter than the request timeout: requests wait for a ghost until it has been
// silent for nine tenths of a request timeout, all of them together.
func TestShortDeadlines(t *testing.T) {
	for _, q := range questions {
		bubble(t, func(t *testing.T) {
			f := trioOn(t, brokerKinds[1].wrap, backplane.Options{PeerTimeout: time.Minute})
			ask := func(reason, end error, lasts time.Duration) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
				defer cancel()
				began := time.Now()
				got, fleet, err := q.ask(ctx, f.ns[0])
				assert.Equal(t, lasts, time.Since(began), q.name)
				f.missing(got, fleet, err, reason, end)
			}
			memorytest.Freeze(f.brokers[2])
			ask(backplane.ErrNoResponse, context.DeadlineExceeded, 400*time.Millisecond)
			ask(backplane.ErrNoResponse, context.DeadlineExceeded, 400*time.Millisecond)
			ask(backplane.ErrPeerUnresponsive, backplane.ErrPeerUnresponsive, 100*time.Millisecond)
			assert.True(t, f.nodes[0].KnownPeers()[1].Suspect, "%s: not suspect after a second of silence", q.name)
			ask(backplane.ErrPeerUnresponsive, backplane.ErrPeerUnresponsive, 0)
			// Requests wait for a node that sends a sign of life as for any other.
			memorytest.Thaw(f.brokers[2])
			settle()
			got, _, err := q.ask(t.Context(), f.ns[0])
			if assert.NoError(t, err, q.name) {
				assert.Equal(t, 2, got, q.name)
			}
		})
	}
}

// A node that missed a deadline and responds before it is unresponsive is not missing.
func TestProbedNodeAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trioOn(t, brokerKinds[1].wrap, backplane.Options{Heartbeat: time.Minute})
		memorytest.Freeze(f.brokers[2])
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := f.ns[0].Members(short, backplane.All()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		timer := time.AfterFunc(400*time.Millisecond, func() { memorytest.Thaw(f.brokers[2]) })
		defer timer.Stop()
		began := time.Now()
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		require.NoError(t, err, "%+v", m)
		assert.Len(t, m.List, 2, "%+v", m)
		assert.Equal(t, 400*time.Millisecond, time.Since(began), "%+v", m)
	})
}

// A node that crashes between its number of acknowledgements and the last of them has responded.
// The next request waits for it until it has been unresponsive for too long.
func TestGhostOwesAcks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trioOn(t, brokerKinds[1].wrap, backplane.Options{})
		f.join(2, newAcker("slow"))
		timer := time.AfterFunc(300*time.Millisecond, func() { memorytest.Kill(f.brokers[2]) })
		defer timer.Stop()
		_, err := f.ns[0].BroadcastAck(t.Context(), nil, backplane.All(), 0)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		for _, want := range []time.Duration{900 * time.Millisecond, 0, 0} {
			began := time.Now()
			_, err := f.ns[0].Members(t.Context(), backplane.All())
			d := time.Since(began)
			assert.Equal(t, want, d)
			assert.ErrorIs(t, err, backplane.ErrPeerUnresponsive)
		}
	})
}

// A slow node is probed, and is no longer suspect when it responds. The next request waits for it
// as for any other node.
func TestSlowNodesAreNoGhosts(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 0, backplane.Options{}, nil)
			for i := range 3 {
				o := &nsOptions{OnRequest: func(ctx context.Context, _ string, p []byte) ([]byte, error) {
					d, err := time.ParseDuration(string(p))
					if err == nil && i == 2 {
						time.Sleep(d)
					}
					return p, err
				}}
				f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{Heartbeat: time.Hour}, o)
			}
			f.meet()
			for range 3 {
				began := time.Now()
				r, err := f.ns[0].Request(t.Context(), []byte("1500ms"))
				d := time.Since(began)
				assert.Equal(t, time.Second, d, "%s: %+v", kind.name, r)
				assert.ErrorIs(t, err, context.DeadlineExceeded, "%s: %+v", kind.name, r)
				assert.Len(t, r.List, 1, "%s: %+v", kind.name, r)
				settle() // it sends a sign of life
				began = time.Now()
				r, err = f.ns[0].Request(t.Context(), []byte("900ms"))
				d = time.Since(began)
				require.NoError(t, err, kind.name)
				assert.Equal(t, 900*time.Millisecond, d, kind.name)
				assert.Len(t, r.List, 2, kind.name)
			}
		})
	}
}

// A node whose members do not acknowledge is live all the same.
func TestSlowMembersAreNoGhosts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trioOn(t, brokerKinds[1].wrap, backplane.Options{})
		f.join(2, newAcker("slow"))
		for range 3 {
			_, err := f.ns[0].BroadcastAck(t.Context(), nil, backplane.All(), 0)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			began := time.Now()
			if m, err := f.ns[0].Members(t.Context(), backplane.All()); err != nil || len(m.Answered) != 2 || time.Since(began) > 0 {
				t.Errorf("%+v, %v after %v", m, err, time.Since(began))
			}
		}
	})
}

// Many ghosts, each of which had proved itself, are remembered as long as they may be counted.
func TestManyGhosts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		w := f.wire("")
		const n = 200
		for i := range n {
			id := fmt.Sprint("ghost", i)
			w.as(id)
			w.control(hello, id, 1, 1, chat)
		}
		time.Sleep(4 * time.Second) // at most 64 nodes prove themselves in one second
		settle()
		require.Equal(t, n, len(f.nodes[0].KnownPeers()))
		require.NoError(t, w.b.Close(t.Context()))
		time.Sleep(10 * time.Second)
		settle()
		assert.Equal(t, n, f.nodes[0].Ghosts(), "ghosts are remembered")
		p, err := f.ns[0].Peers(t.Context())
		require.NoError(t, err, "%+v", p)
		assert.Equal(t, 1, p.Total(), "%+v", p)
		assert.Empty(t, p.Unresponsive, "%+v", p)
		assert.Zero(t, f.nodes[0].Ghosts(), "ghosts are remembered that no broker counts")
	})
}

// More peers than fit into the table: the known ones keep their places, whether or not the others
// have proved themselves.
func TestLimitOfPeers(t *testing.T) {
	table := backplane.NewTable(t)
	hello := func(id string, proved bool) {
		echo := 0
		if proved {
			table.Take(table.Proof(id), true)
			return
		}
		table.Take(pack([]any{1, full, id, 1, 1, spaces(chat), 0, 0, 1, nil, 0, echo}), true)
	}
	for i := range 4000 {
		hello(fmt.Sprint("known", i), true)
	}
	for i := range 20_000 {
		hello(fmt.Sprint("forged", i), false)
	}
	for i := range 200 {
		hello(fmt.Sprint("later", i), true)
	}
	known, later := 0, 0
	for _, p := range table.KnownPeers() {
		switch {
		case strings.HasPrefix(p.ID, "known"):
			known++
		case strings.HasPrefix(p.ID, "later"):
			later++
		default:
			t.Errorf("%s is known", p.ID)
		}
	}
	assert.Equal(t, 4000, known)
	assert.Equal(t, 96, later)
	assert.LessOrEqual(t, table.Strangers(), 1024)
}

// Servers that do not announce themselves and never respond cost one request of each kind its
// deadline.
func TestSilentUnannounced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trio(t, backplane.Options{})
		w := f.wire("stranger")
		ask := func(op int, missing int, reason error, lasts time.Duration) {
			t.Helper()
			began := time.Now()
			_, fleet, err := questions[op].ask(t.Context(), f.ns[0])
			assert.Equal(t, lasts, time.Since(began), questions[op].name)
			var want []observe.Missing
			if missing > 0 {
				want = []observe.Missing{{Count: missing, Reason: reason}}
			}
			assert.Equal(t, want, fleet.Missing, "%v", err)
			assert.Equal(t, want == nil, err == nil, "%v", err)
		}
		const members, rooms = 0, 2
		ask(members, 1, backplane.ErrNoResponse, time.Second)
		const short = 250 * time.Millisecond
		ask(members, 1, backplane.ErrPeerUnresponsive, short)
		ask(rooms, 1, backplane.ErrNoResponse, time.Second)
		ask(rooms, 1, backplane.ErrPeerUnresponsive, short)
		// One more server belongs to another fleet.
		x := f.wire("another")
		ask(members, 2, backplane.ErrNoResponse, time.Second)
		ask(members, 2, backplane.ErrPeerUnresponsive, short)
		require.NoError(t, x.b.Close(t.Context()))
		ask(members, 1, backplane.ErrNoResponse, time.Second)
		// It responds again, at first too late for nodes that do not expect it.
		lag := short * 2
		w.onRequest(func(r *wire.Request) {
			time.AfterFunc(lag, func() { w.answer(r, "", wire.Response{}) })
		})
		ask(members, 1, backplane.ErrPeerUnresponsive, short)
		time.Sleep(lag)
		settle()
		ask(members, 0, nil, lag)
		ask(rooms, 0, nil, lag)
		// If it responds in time, it is never missing.
		w.onRequest(nil)
		ask(members, 1, backplane.ErrNoResponse, time.Second)
		lag = short / 2
		w.onRequest(func(r *wire.Request) {
			time.AfterFunc(lag, func() { w.answer(r, "", wire.Response{}) })
		})
		ask(members, 0, nil, lag)
		// A request that its caller ends accuses no peer.
		w.onRequest(nil)
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(500*time.Millisecond, cancel)
		defer timer.Stop()
		_, err := f.ns[0].Members(ctx, backplane.All())
		assert.ErrorIs(t, err, context.Canceled)
		ask(members, 1, backplane.ErrNoResponse, time.Second)
		require.NoError(t, w.b.Close(t.Context()))
		ask(members, 0, nil, 0)
	})
}

// While the broker cannot count, as many foreign servers are missing as it counted the last time.
func TestUnannouncedWhileCutOff(t *testing.T) {
	for _, q := range questions {
		bubble(t, func(t *testing.T) {
			f := trio(t, backplane.Options{})
			w := f.wire("stranger")
			w.onRequest(func(r *wire.Request) { w.answer(r, "", wire.Response{}) })
			if _, _, err := q.ask(t.Context(), f.ns[0]); err != nil {
				t.Errorf("%s: %v", q.name, err)
			}
			memorytest.Cut(f.brokers[0], nil)
			_, fleet, err := q.ask(t.Context(), f.ns[0])
			p, ok := errors.AsType[*backplane.PartialError](err)
			if !ok || len(fleet.Missing) != 3 || len(p.Coverage.Missing) != 3 {
				t.Errorf("%s: %+v, %v", q.name, fleet, err)
				return
			}
			m := fleet.Missing[2]
			assert.Empty(t, m.Node, q.name)
			assert.Equal(t, 1, m.Count, q.name)
			assert.ErrorIs(t, m.Reason, context.DeadlineExceeded, q.name)
		})
	}
}

// A goodbye that a node has not sent is believed for a short time only, and once.
func TestForgedGoodbye(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			f := trioOn(t, kind.wrap, backplane.Options{})
			w := f.wire("")
			victim := f.nodes[2].ID()
			born := since(f.nodes[0], victim)
			for _, at := range []int64{1, born - 1, born + 1, time.Now().UnixNano(), 1<<63 - 1} {
				w.control(bye, victim, at, 1)
			}
			settle()
			f.errs[0].take() // one is from too far in the future
			f.errs[2].take()
			assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), kind.name+": of another life")
			for range 20 {
				w.control(bye, victim, born, 1)
				m, err := f.ns[0].Members(t.Context(), backplane.All())
				if err == nil && len(m.List) != 2 {
					t.Errorf("%s: %+v without an error", kind.name, m)
				}
				settle()
				assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), kind.name+": of this life")
			}
			assert.NoError(t, f.ns[0].Disconnect(t.Context(), "c", false), "%s: Disconnect", kind.name)
			// Its own goodbye then has the effect of a crash.
			assert.NoError(t, f.nodes[2].Close(t.Context()))
			time.Sleep(5 * time.Second)
			settle()
			assert.Equal(t, f.ids(1), peerIDs(f.nodes[0]), kind.name+": closed")
		})
	}
}

// A node that does not receive the forged goodbye is missing as long as it is counted.
func TestForgedGoodbyeOfFrozenNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trio(t, backplane.Options{})
		memorytest.Freeze(f.brokers[2])
		f.wire("").control(bye, f.nodes[2].ID(), since(f.nodes[0], f.nodes[2].ID()), 1)
		settle()
		for _, q := range questions {
			got, fleet, err := q.ask(t.Context(), f.ns[0])
			f.missing(got, fleet, err, backplane.ErrPeerLost, backplane.ErrPeerLost)
		}
		err := f.ns[0].Join(t.Context(), "c", "room")
		assert.NotErrorIs(t, err, backplane.ErrNoSuchMember)
		assert.ErrorIs(t, err, backplane.ErrPeerLost)
	})
}
