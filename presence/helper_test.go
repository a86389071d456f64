package presence_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/internal/servers"
	"github.com/crossroom/crossroom/presence"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

const patience = 30 * time.Second

// place is a broker whose link can fail.
type place struct {
	broker                  broker.Broker
	cut, heal, freeze, kill func()
}

// systems start each kind of broker.
var systems = map[string]func(t *testing.T) func() place{
	"memory": func(t *testing.T) func() place {
		bus := memorybroker.NewBus(nil)
		return func() place {
			b := bus.Broker()
			return place{
				broker: b, cut: func() { memorytest.Cut(b, errors.New("cut")) }, freeze: func() { memorytest.Freeze(b) },
				heal: func() { memorytest.Heal(b); memorytest.Thaw(b) }, kill: func() { memorytest.Kill(b) },
			}
		}
	},
	"redis": func(t *testing.T) func() place {
		addr := servers.StartRedis(t, nil).Addr()
		return func() place {
			return behind(t, addr, func(at string) (broker.Broker, error) {
				return redisbroker.Open("redis://"+at, &redisbroker.Options{Logger: slog.New(slog.DiscardHandler)})
			})
		}
	},
	"nats": func(t *testing.T) func() place {
		addr := servers.StartNATS(t, nil).Addr()
		return func() place {
			return behind(t, addr, func(at string) (broker.Broker, error) {
				return natsbroker.Open("nats://"+at, &natsbroker.Options{Logger: slog.New(slog.DiscardHandler)})
			})
		}
	},
}

func behind(t *testing.T, addr string, open func(string) (broker.Broker, error)) place {
	link := tcpproxy.Start(t, addr)
	b, err := open(link.Addr())
	require.NoError(t, err)
	return place{broker: b, cut: link.Cut, freeze: link.HalfOpen, heal: link.Heal, kill: link.Cut}
}

// onEach runs a test on each broker.
func onEach(t *testing.T, test func(t *testing.T, open func() place)) {
	for name, start := range systems {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

type node struct {
	place
	*presence.Presence
	core   *backplane.Node
	killed bool
}

// start starts a node that is closed with the test.
func start(t *testing.T, at place) *node {
	t.Helper()
	return startWith(t, at, &backplane.Options{OnError: func(error) {}}, nil)
}

func startWith(t *testing.T, at place, core *backplane.Options, opts *presence.Options) *node {
	t.Helper()
	n, err := open(t, at, core, opts)
	require.NoError(t, err)
	return n
}

func open(t *testing.T, at place, coreOptions *backplane.Options, opts *presence.Options) (*node, error) {
	t.Helper()
	core, err := backplane.New(at.broker, coreOptions)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := presence.New(ctx, core, opts)
	if err != nil {
		return nil, err
	}
	n := &node{place: at, Presence: p, core: core}
	t.Cleanup(func() {
		if n.killed {
			n.stop(0)
			return
		}
		n.stop(patience)
	})
	return n, nil
}

// stop closes everything, within a time; zero is a process that ends without a word.
func (n *node) stop(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	n.Close(ctx)
	n.core.Close(ctx)
	n.broker.Close(ctx)
}

func (n *node) join(t *testing.T, room string, count int) {
	t.Helper()
	for i := range count {
		m := presence.Member{ID: fmt.Sprint("connection-", i), User: fmt.Sprint("user-", i%7), State: []byte("here")}
		if err := n.Join(room, m); err != nil {
			require.NoError(t, err)
		}
	}
}

// same reports whether two nodes know the same.
func same(a, b *node) bool {
	if !slices.Equal(a.Rooms(), b.Rooms()) {
		return false
	}
	return !slices.ContainsFunc(a.Rooms(), func(room string) bool {
		return !slices.EqualFunc(a.Room(room).Members, b.Room(room).Members, func(m, o presence.Member) bool {
			return m.Node == o.Node && m.ID == o.ID && m.User == o.User && string(m.State) == string(o.State)
		})
	})
}

// agree waits until nodes know the same, with a number of members, and nothing is missing. It returns how long that took.
func agree(t *testing.T, members int, nodes ...*node) time.Duration {
	t.Helper()
	began := time.Now()
	wrong := func(n *node) bool {
		return n.Stats().Members != members || len(n.Room("").Missing) > 0 || !same(nodes[0], n)
	}
	for slices.ContainsFunc(nodes, wrong) {
		require.Less(t, time.Since(began), patience, "the nodes do not agree: %v", counts(nodes))
		time.Sleep(10 * time.Millisecond) // between two looks
	}
	return time.Since(began)
}

func counts(nodes []*node) (all []string) {
	for _, n := range nodes {
		all = append(all, fmt.Sprintf("%+v, missing %v", n.Stats(), n.Room("").Missing))
	}
	return all
}

func (n *node) leaveAll(room string) {
	for _, m := range n.Room(room).Members {
		n.Leave(room, m.ID)
	}
}

func options(remoteBytes int) *presence.Options {
	return &presence.Options{Interval: 50 * time.Millisecond, MaxRemoteBytes: remoteBytes}
}

func remove(list []string, one string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == one })
}
