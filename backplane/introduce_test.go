package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// lossy is a broker that loses chosen messages.
type lossy struct {
	broker.Broker
	lose func(ch broker.Channel, payload []byte) bool // nil: nothing
}

func (b *lossy) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if b.lose != nil && b.lose(ch, payload) {
		return ctx.Err()
	}
	return b.Broker.Publish(ctx, ch, payload)
}

// dropping returns brokers of a kind that lose the first n control frames of some kinds.
func dropping(wrap func(broker.Broker) broker.Broker, n int32, kinds ...int) func(broker.Broker) broker.Broker {
	return func(b broker.Broker) broker.Broker {
		if wrap != nil {
			b = wrap(b)
		}
		var lost atomic.Int32
		return &lossy{b, func(ch broker.Channel, p []byte) bool {
			return ch.Kind() == kindControl && slices.Contains(kinds, int(p[2])) && lost.Add(1) <= n
		}}
	}
}

// complete checks that a node's queries, sent at once, have a response of each other node, and
// returns how long the first one took.
func (f *fleet) complete(what string, asker int, ns *backplane.Namespace) time.Duration {
	f.t.Helper()
	var others []string
	for i := range f.nodes {
		if i != asker {
			others = append(others, f.nodes[i].ID())
		}
	}
	slices.Sort(others)
	var first time.Duration
	for i, q := range questions {
		began := time.Now()
		_, fleet, err := q.ask(f.t.Context(), ns)
		if i == 0 {
			first = time.Since(began)
		}
		if assert.NoError(f.t, err, "%s: %s of node %d: answered", what, q.name, asker) {
			assert.Equal(f.t, others, fleet.Answered, "%s: %s of node %d: answered", what, q.name, asker)
		}
	}
	n, err := serversOf(f.t.Context(), ns)
	assert.Equal(f.t, len(f.nodes), n, "%s: count of node %d", what, asker)
	assert.NoError(f.t, err, "%s: count of node %d", what, asker)
	return first
}

// On return of Namespace the node knows the others, and they know it.
func TestQueryRightAfterNamespace(t *testing.T) {
	var none atomic.Int32
	none.Store(seesNone)
	refused := brokerKinds[1]
	refused.name, refused.wrap = "refused", func(b broker.Broker) broker.Broker { return shortsighted{b, &none} }
	for _, kind := range append(slices.Clone(brokerKinds), refused) {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 0, backplane.Options{}, nil)
			for i := range 5 {
				began := time.Now()
				f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{}, answering(i))
				want := time.Duration(0)
				if i == 0 && kind.wrap != nil {
					want = 250 * time.Millisecond // no node responds
				}
				assert.Equal(t, want, time.Since(began), "%s: Namespace of node %d", kind.name, i)
				assert.Zero(t, f.complete(kind.name, i, f.ns[i]), "%s: the first query of node %d", kind.name, i)
				f.complete(kind.name, 0, f.ns[0])
			}
			// Namespaces that running nodes open.
			for round := range 20 {
				name := fmt.Sprint("/later", round)
				spaces := make([]*backplane.Namespace, len(f.nodes))
				for i, n := range f.nodes {
					var err error
					spaces[i], err = openNamespace(t.Context(), n, name, answering(i))
					require.NoError(t, err)
				}
				f.complete(kind.name+", later", round%5, spaces[round%5])
			}
			for _, log := range f.errs {
				log.none(t)
			}
		})
	}
}

// Nodes that start at the same moment.
func TestStartTogether(t *testing.T) {
	for _, kind := range brokerKinds {
		for _, size := range []int{2, 3, 16} {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 0, backplane.Options{}, nil)
				var all sync.WaitGroup
				for i := range size {
					b := f.bus.Broker()
					as := broker.Broker(b)
					if kind.wrap != nil {
						as = kind.wrap(b)
					}
					node, err := backplane.New(as, &backplane.Options{ID: fmt.Sprint("n", i)})
					require.NoError(t, err)
					f.nodes, f.ns, f.brokers = append(f.nodes, node), append(f.ns, nil), append(f.brokers, b)
				}
				for i := range size {
					all.Go(func() {
						var err error
						f.ns[i], err = openNamespace(t.Context(), f.nodes[i], chat, answering(i))
						assert.NoError(t, err)
					})
				}
				all.Wait()
				for i := range size {
					f.complete(fmt.Sprint(kind.name, " ", size), i, f.ns[i])
				}
				f.close()
			})
		}
	}
}

// A node that does not know all others yet names no successors. So a node that responds later is
// waited for, although all known nodes have introduced themselves.
func TestIntroducedByNewcomers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		b := f.bus.Broker()
		node, err := backplane.New(brokerKinds[1].wrap(b), &backplane.Options{ID: "me"})
		require.NoError(t, err)
		f.nodes, f.brokers = append(f.nodes, node), append(f.brokers, b)
		defer f.close()
		opened := make(chan error, 1)
		go func() {
			_, err := node.Namespace(t.Context(), chat, nil)
			opened <- err
		}()
		settle()
		w := f.wire("")
		w.as("a", "b", "c", "z")
		introduces := func(id string, neighbours any) {
			w.says(id, 5)
			w.send(broker.NodeControl("me"), pack([]any{1, full, id, 5, 1, spaces(chat), 0, 0, 1, neighbours}))
			w.send(broker.NodeControl("me"), pack([]any{1, seen, id, 5, 1, nil, 0, int(nodeDoor(node).Since().UnixNano()), 1}))
			settle()
		}
		introduces("a", []any{"b", "c"})
		introduces("b", nil)
		introduces("c", nil)
		assert.Empty(t, opened, "what comes after c is not known")
		introduces("c", []any{"z", "a"})
		assert.Empty(t, opened, "z has not introduced itself")
		introduces("z", []any{"a", "b"})
		assert.Len(t, opened, 1, "all have introduced themselves, and b is between a and c")
		err = <-opened
		require.NoError(t, err)
		assert.Len(t, node.KnownPeers(), 4)
	})
}

// close closes nodes that add did not make.
func (f *fleet) close() {
	for i := range f.nodes {
		assert.NoError(f.t, errors.Join(f.nodes[i].Close(f.t.Context()), f.brokers[i].Close(f.t.Context())))
	}
}

// Lost frames are repeated while introductions are awaited.
func TestIntroductionLost(t *testing.T) {
	for _, kind := range brokerKinds {
		for _, c := range []struct {
			name     string
			old, new func(broker.Broker) broker.Broker
		}{
			{"the greeting", kind.wrap, dropping(kind.wrap, 1, hello)},
			{"two greetings", kind.wrap, dropping(kind.wrap, 2, hello)},
			{"an introduction", dropping(kind.wrap, 1, full), kind.wrap},
			{"confirmations", dropping(kind.wrap, 2, seen), dropping(kind.wrap, 1, seen)},
		} {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 0, backplane.Options{}, nil)
				for i := range 4 {
					wrap := c.old
					if i == 3 {
						wrap = c.new
					}
					if i == 0 {
						wrap = kind.wrap
					}
					f.addOn(f.bus.Broker(), wrap, &backplane.Options{}, answering(i))
				}
				what := kind.name + ", lost: " + c.name
				assert.LessOrEqual(t, f.complete(what, 3, f.ns[3]), 250*time.Millisecond, "%s: the first query", what)
				f.complete(what, 0, f.ns[0])
			})
		}
	}
}

// A node that others know, and that does not introduce itself, is named as missing.
func TestNotIntroduced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trioOn(t, brokerKinds[1].wrap, backplane.Options{})
		time.Sleep(time.Second)
		memorytest.Freeze(f.brokers[2])
		began := time.Now()
		f.addOn(f.bus.Broker(), brokerKinds[1].wrap, &backplane.Options{}, answering(3))
		assert.Equal(t, 250*time.Millisecond, time.Since(began), "Namespace")
		for _, q := range questions {
			began := time.Now()
			_, fleet, err := q.ask(t.Context(), f.ns[3])
			if d := time.Since(began); d > 0 {
				t.Errorf("%s took %v", q.name, d)
			}
			assert.ErrorIs(t, err, backplane.ErrNotIntroduced, q.name)
			require.Len(t, fleet.Missing, 1, q.name)
			assert.ErrorIs(t, fleet.Missing[0].Reason, backplane.ErrNotIntroduced, q.name)
			assert.Equal(t, f.nodes[2].ID(), fleet.Missing[0].Node, q.name)
			assert.Equal(t, f.ids(0, 1), fleet.Answered, q.name)
		}
		err := f.ns[3].Join(t.Context(), "c", "room")
		assert.ErrorIs(t, err, backplane.ErrNotIntroduced, "Join of its member")
		assert.NotErrorIs(t, err, backplane.ErrNoSuchMember, "Join of its member")
		assert.NoError(t, f.ns[3].Join(t.Context(), "b", "room"), "Join of another's member")
		var count *backplane.OpError
		_, err = serversOf(t.Context(), f.ns[3])
		require.ErrorAs(t, err, &count)
		assert.ErrorIs(t, err, backplane.ErrNotIntroduced)
		memorytest.Thaw(f.brokers[2])
		settle()
		f.complete("thawed", 3, f.ns[3])
	})
}

// A node whose link was down knows the others again before it counts on them.
func TestQueryAfterOutage(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			resumed := make(chan struct{}, 1)
			f := newFleet(t, 0, backplane.Options{}, nil)
			f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{Observers: []observe.Observer{outageLog{resumed: resumed}}}, answering(0))
			f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{}, answering(1))
			f.meet()
			memorytest.Cut(f.brokers[0], nil)
			settle()
			// A node joins unnoticed by all others.
			f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{}, answering(2))
			if kind.wrap != nil {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				m, err := f.ns[0].Members(ctx, backplane.All())
				cancel()
				if assert.Error(t, err, "during the outage: %+v", m) {
					assert.Len(t, m.Missing, 1, "during the outage: %+v", m)
				}
				assert.NoError(t, f.nodes[1].Close(t.Context()))
				time.Sleep(10 * time.Second)
				n, err := serversOf(t.Context(), f.ns[0])
				assert.ErrorIs(t, err, backplane.ErrNotIntroduced, "during the outage: %d", n)
			} else if err := f.nodes[1].Close(t.Context()); err != nil {
				t.Error(err)
			}
			memorytest.Heal(f.brokers[0])
			<-resumed
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			assert.Contains(t, m.Answered, f.nodes[2].ID(), "%s: after the outage: %+v, %v", kind.name, m, err)
		})
	}
}

// outageLog records when a namespace's subscription resumed.
type outageLog struct {
	observe.Nop
	resumed chan struct{}
}

func (o outageLog) Resumed(namespace string, _ time.Duration) {
	if namespace != "" {
		o.resumed <- struct{}{}
	}
}

// A context that ends during the wait for introductions.
func TestImpatientQuery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		f.addOn(f.bus.Broker(), brokerKinds[1].wrap, &backplane.Options{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		n, err := backplane.New(brokerKinds[1].wrap(f.bus.Broker()), nil)
		require.NoError(t, err)
		defer n.Close(t.Context())
		memorytest.Freeze(f.brokers[0])
		time.AfterFunc(10*time.Millisecond, cancel)
		ns, err := n.Namespace(ctx, chat, nil)
		require.NoError(t, err, "the namespace is open all the same")
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := ns.Members(short, backplane.All()); !errors.Is(err, backplane.ErrNotIntroduced) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		assert.ErrorIs(t, ns.Join(t.Context(), "a", "b"), backplane.ErrNoSuchMember, "a node that received no message is alone")
	})
}
