package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

func TestOptions(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, c := range []struct {
		bad string // the option that is refused, empty for none
		o   backplane.Options
	}{
		{"", backplane.Options{}},
		{"", backplane.Options{ID: "a b/ü", Name: "web-1.example_org"}},
		{"", backplane.Options{ID: long[:128], Name: long[:64]}},
		{"", backplane.Options{RequestsTimeout: 1, Heartbeat: 1, PeerTimeout: 2, StallTimeout: 1}},
		{"", backplane.Options{StallTimeout: -1}},
		{"", backplane.Options{StallTimeout: math.MinInt64, RequestsTimeout: math.MaxInt64}},
		{"ID", backplane.Options{ID: long[:129]}},
		{"ID", backplane.Options{ID: "a#b"}},
		{"ID", backplane.Options{ID: "a\xffb"}},
		{"Name", backplane.Options{Name: long[:65]}},
		{"Name", backplane.Options{Name: "a b"}},
		{"Name", backplane.Options{Name: "ü"}},
		{"Name", backplane.Options{Name: "a~b"}},
		{"RequestsTimeout", backplane.Options{RequestsTimeout: -1}},
		{"Heartbeat", backplane.Options{Heartbeat: -1}},
		{"PeerTimeout", backplane.Options{PeerTimeout: -1}},
		{"PeerTimeout", backplane.Options{Heartbeat: time.Second, PeerTimeout: time.Second}},
		{"PeerTimeout", backplane.Options{PeerTimeout: time.Second / 2}}, // with Heartbeat's default
		{"PeerTimeout", backplane.Options{Heartbeat: math.MaxInt64 / 2}}, // whose default would overflow
		{"Observers", backplane.Options{Observers: []observe.Observer{nil}}},
	} {
		n, err := backplane.New(memorybroker.New(nil), &c.o)
		var oe *backplane.OptionError
		switch {
		case c.bad == "" && err != nil:
			t.Errorf("%+v: %v", c.o, err)
		case c.bad != "" && (n != nil || !errors.As(err, &oe) || oe.Option != c.bad):
			t.Errorf("%+v: %v, want a complaint about %s", c.o, err, c.bad)
		}
	}
	var oe *backplane.OptionError
	_, err := backplane.New(nil, nil)
	require.ErrorAs(t, err, &oe)
	assert.Equal(t, "Broker", oe.Option, "New(nil)")
}

func TestNodeID(t *testing.T) {
	b := memorybroker.New(nil)
	ids := map[string]bool{}
	for range 1000 {
		n, err := backplane.New(b, nil)
		require.NoError(t, err)
		require.False(t, ids[n.ID()], "id %q", n.ID())
		require.True(t, regexp.MustCompile(`^([A-Za-z0-9._-]{1,64}~)?[A-Z2-7]{19}$`).MatchString(n.ID()), "id %q", n.ID())
		ids[n.ID()] = true
	}
	named, _ := backplane.New(b, &backplane.Options{Name: "web"})
	require.True(t, strings.HasPrefix(named.ID(), "web~"))
	assert.Len(t, named.ID(), 4+19)
	if host, err := os.Hostname(); err == nil && regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString(host) {
		unnamed, _ := backplane.New(b, nil)
		require.True(t, strings.HasPrefix(unnamed.ID(), host+"~"), "id %q of a node on %s", unnamed.ID(), host)
	}
	fixed, _ := backplane.New(b, &backplane.Options{Name: "web", ID: "me"})
	if fixed.ID() != "me" || fixed.Broker() != broker.Broker(b) {
		t.Errorf("id %q", fixed.ID())
	}
}

func TestNamespaceResults(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx := t.Context()
		b := memorybroker.New(nil)
		n, err := backplane.New(b, nil)
		require.NoError(t, err)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := n.Namespace(ended, "/a", nil); err != context.Canceled {
			t.Errorf("with an ended context: %v", err)
		}
		for _, name := range []string{"\xff", strings.Repeat("x", broker.MaxNameLen+1)} {
			_, err := n.Namespace(ctx, name, nil)
			var ne *broker.NameError
			var nse *backplane.OpError
			require.ErrorAs(t, err, &ne)
			require.ErrorAs(t, err, &nse)
			assert.Equal(t, name, nse.Namespace, "a bad name")
		}
		a, err := n.Namespace(ctx, "/a", nil)
		require.NoError(t, err)
		assert.Equal(t, "/a", a.Name())
		assert.Same(t, n, a.Node())
		_, err = n.Namespace(ctx, "/a", nil)
		assert.ErrorIs(t, err, backplane.ErrNamespaceExists, "twice")
		for _, name := range []string{"", "/", "#", "a b", strings.Repeat("ü", broker.MaxNameLen/2)} {
			_, err := n.Namespace(ctx, name, nil)
			assert.NoError(t, err, "name %.20q", name)
		}
		require.NoError(t, a.Close(ctx))
		_, err = n.Namespace(ctx, "/a", nil)
		assert.NoError(t, err, "again after Close")
		assert.Len(t, n.Namespaces(), 6)

		// Interrupted before it is live: no resource stays behind.
		memorytest.Cut(b, nil)
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = n.Namespace(short, "/b", nil)
		assert.Equal(t, context.DeadlineExceeded, err, "while interrupted")
		assert.Len(t, n.Namespaces(), 6)
		memorytest.Heal(b)
		_, err = n.Namespace(ctx, "/b", nil)
		assert.NoError(t, err, "after the outage")

		assert.NoError(t, n.Close(ctx))
		_, err = n.Namespace(ctx, "/c", nil)
		assert.Equal(t, backplane.ErrClosed, err, "after Close")
		assert.Empty(t, n.Namespaces())
		b.Close(ctx)
		n, _ = backplane.New(b, nil)
		_, err = n.Namespace(ctx, "/c", nil)
		assert.ErrorIs(t, err, broker.ErrClosed, "on a closed broker")
		assert.NoError(t, n.Close(ctx))
	})
}

// refusing is a broker that refuses subscriptions to some kinds of channels, and counts
// which register for losses.
type refusing struct {
	*memorybroker.Broker
	kind    broker.Kind
	losses  int
	refused error
}

func (r *refusing) Subscribe(ctx context.Context, to broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if r.kind != 0 && slices.ContainsFunc(filters, func(f broker.Filter) bool { return f.Channel().Kind() == r.kind }) {
		return nil, r.refused
	}
	return r.Broker.Subscribe(ctx, to, filters...)
}

func (r *refusing) OnLoss(f func(broker.Loss)) func() {
	r.losses++
	stop := r.Broker.OnLoss(f)
	return func() { r.losses--; stop() }
}

// A first namespace that fails leaves no subscription and no goroutine behind.
func TestFirstNamespaceFails(t *testing.T) {
	denied := errors.New("denied")
	for name, c := range map[string]struct {
		kind  broker.Kind
		space string
		ended bool
		want  error
	}{
		"the control channel is refused": {kind: kindControl, space: chat, want: denied},
		"its broadcasts are refused":     {kind: kindBroadcast, space: chat, want: denied},
		"its requests are refused":       {kind: kindRequests, space: chat, want: denied},
		"its answers are refused":        {kind: kindNodeResponses, space: chat, want: denied},
		"a bad name":                     {space: "\xff", want: nil},
		"too long to be announced":       {space: strings.Repeat("x", 2000), want: nil},
		"an ended context":               {space: chat, ended: true, want: context.Canceled},
	} {
		bubble(t, func(t *testing.T) {
			bus := memorybroker.NewBus(&memorybroker.Options{MaxPayload: 1000})
			b := &refusing{Broker: bus.Broker(), kind: c.kind, refused: denied}
			n, err := backplane.New(b, nil)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			if c.ended {
				cancel()
			}
			if _, err := n.Namespace(ctx, c.space, nil); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
			time.Sleep(10 * time.Second)
			settle()
			st := b.Stats()
			assert.Zero(t, st.Subscriptions, "%s: %+v, %d are notified of losses", name, st, b.losses)
			assert.Zero(t, st.Accepted, "%s: %+v, %d are notified of losses", name, st, b.losses)
			assert.Zero(t, b.losses, "%s: %+v, %d are notified of losses", name, st, b.losses)
			// No goroutine runs: otherwise the bubble would not end. No lock is held.
			b.kind = 0
			_, err = n.Namespace(t.Context(), chat, nil)
			assert.NoError(t, err, "%s: afterwards", name)
			assert.NoError(t, n.Close(t.Context()), name)
			assert.NoError(t, b.Close(t.Context()), name)
		})
		bubble(t, func(t *testing.T) { // without the second attempt
			b := &refusing{Broker: memorybroker.NewBus(&memorybroker.Options{MaxPayload: 1000}).Broker(), kind: c.kind, refused: denied}
			n, err := backplane.New(b, nil)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			if c.ended {
				cancel()
			}
			defer cancel()
			_, err = n.Namespace(ctx, c.space, nil)
			assert.Error(t, err, "%s: no error", name)
		})
	}
}

// A context that ends during the call, while the broker's queue is full, ends it after local
// delivery. One that has ended before prevents delivery (TestEndedContext).
func TestBroadcastWhileTheQueueIsFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleetOn(t, &memorybroker.Options{OutboxMessages: 8}, 2, backplane.Options{Heartbeat: time.Hour}, nil)
		s := f.socket(0, "s")
		memorytest.Cut(f.brokers[0], nil)
		settle()
		for i := range 8 {
			f.broadcast(0, fmt.Sprint(i), backplane.All())
		}
		s.all()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, f.ns[0].Broadcast(ctx, []byte("full"), backplane.All()), "returned")
		assert.Equal(t, []string{"full"}, s.all(), "local members")
		assert.Equal(t, context.DeadlineExceeded, f.ns[0].Broadcast(ctx, []byte("ended"), backplane.All()), "returned")
		assert.Empty(t, s.all(), "local members")
		memorytest.Heal(f.brokers[0])
		settle()
		for _, log := range f.errs {
			log.take()
		}
	})
}

// The channels of the fleet's namespaces are different, whatever their names begin with.
func TestNamespacesAreApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		names := []string{"", "/", "/a", "/ab", "/a/b", "/a#b", "*", "/chat?"}
		sockets := make([][]*socket, 2)
		spaces := make([][]*backplane.Namespace, 2)
		for i, n := range f.nodes {
			for _, name := range names {
				ns, err := n.Namespace(t.Context(), name, nil)
				require.NoError(t, err)
				s := newSocket("s" + fmt.Sprint(i))
				require.NoError(t, ns.Add(t.Context(), s))
				require.NoError(t, ns.Join(t.Context(), s.id, "b"))
				sockets[i], spaces[i] = append(sockets[i], s), append(spaces[i], ns)
			}
		}
		settle()
		for i, ns := range spaces[0] {
			for _, to := range []backplane.Target{backplane.All(), backplane.To("b"), backplane.To("b", "c"), backplane.To("s1")} {
				require.NoError(t, ns.Broadcast(t.Context(), []byte(names[i]), to))
			}
		}
		settle()
		for i, s := range sockets[1] {
			assert.Equal(t, []string{names[i], names[i], names[i], names[i]}, s.all(), "in "+names[i])
		}
		m, err := spaces[0][2].Members(t.Context(), backplane.All())
		require.NoError(t, err, "Members: %+v", m)
		assert.Len(t, m.List, 2, "Members: %+v", m)
	})
}

func TestCloseOrders(t *testing.T) {
	ctx := context.Background()
	for name, shut := range map[string]func(t *testing.T, f *fleet){
		"node twice": func(t *testing.T, f *fleet) {
			for range 2 {
				assert.NoError(t, f.nodes[0].Close(ctx))
			}
		},
		"namespace, namespace, node, namespace": func(t *testing.T, f *fleet) {
			for _, c := range []func(context.Context) error{f.ns[0].Close, f.ns[0].Close, f.nodes[0].Close, f.ns[0].Close} {
				assert.NoError(t, c(ctx))
			}
		},
		"broker first": func(t *testing.T, f *fleet) {
			assert.NoError(t, f.brokers[0].Close(ctx))
			assert.NoError(t, f.nodes[0].Close(ctx))
		},
		"broker killed": func(t *testing.T, f *fleet) {
			memorytest.Kill(f.brokers[0])
			assert.NoError(t, f.nodes[0].Close(ctx))
		},
		"ended context": func(t *testing.T, f *fleet) {
			ended, cancel := context.WithCancel(ctx)
			cancel()
			if err := f.nodes[0].Close(ended); err != nil && err != context.Canceled {
				t.Error(err)
			}
		},
		"interrupted": func(t *testing.T, f *fleet) {
			memorytest.Cut(f.brokers[0], nil)
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := f.nodes[0].Close(short); err != nil && err != context.DeadlineExceeded {
				t.Error(err)
			}
		},
		"frozen": func(t *testing.T, f *fleet) {
			memorytest.Freeze(f.brokers[0])
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := f.nodes[0].Close(short); err != nil && err != context.DeadlineExceeded {
				t.Error(err)
			}
		},
		"all at the same time": func(t *testing.T, f *fleet) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { f.ns[0].Close(ctx) })
				wg.Go(func() { f.nodes[0].Close(ctx) })
				wg.Go(func() { f.brokers[0].Close(ctx) })
				wg.Go(func() { f.ns[0].Members(ctx, backplane.All()) })
				wg.Go(func() { f.ns[0].Broadcast(ctx, []byte("x"), backplane.All()) })
				wg.Go(func() { f.nodes[0].Namespace(ctx, "/other", nil) })
			}
			wg.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { // it fails if a goroutine is left
				f := newFleet(t, 2, backplane.Options{}, nil)
				f.socket(0, "a")
				for range 100 {
					f.broadcast(1, "x", backplane.All())
				}
				shut(t, f)
			})
		})
	}
}

// A namespace that waits for an unreachable broker does not delay Close.
func TestCloseEndsPendingNamespace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		memorytest.Cut(f.brokers[0], nil)
		result := make(chan error, 1)
		go func() {
			_, err := f.nodes[0].Namespace(context.Background(), "/other", nil)
			result <- err
		}()
		settle()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.nodes[0].Close(ended); err != nil && err != context.Canceled {
			t.Error(err)
		}
		assert.Equal(t, backplane.ErrClosed, <-result, "Namespace")
		_, err := f.nodes[0].Namespace(t.Context(), "/other", nil)
		assert.Equal(t, backplane.ErrClosed, err, "Namespace after Close")
	})
}

func TestSecondCloseWaitsForTheFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		memorytest.Freeze(f.brokers[0]) // so that the first has to wait for the goodbye
		first := make(chan error, 1)
		go func() { first <- f.nodes[0].Close(context.Background()) }()
		settle()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, f.nodes[0].Close(short), "the second returned")
		memorytest.Thaw(f.brokers[0])
		assert.NoError(t, <-first)
		assert.NoError(t, f.nodes[0].Close(t.Context()))
	})
}

// Messages that wait for the broker belong to the broker: a node that is closed during an outage
// does not wait for its end.
func TestCloseDuringAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		memorytest.Cut(f.brokers[0], errors.New("cable"))
		defer memorytest.Heal(f.brokers[0])
		settle()
		f.broadcast(0, "waits", backplane.All())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		require.NoError(t, f.nodes[0].Close(ctx))
		assert.LessOrEqual(t, time.Since(began), 2*time.Second)
	})
}
