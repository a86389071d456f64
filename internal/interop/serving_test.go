package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// guest is a Go node in a fleet with one Node.js server, which sends it requests.
type guest struct {
	*testing.T
	ctx    context.Context
	peer   *interop.Peer
	server *adapter.Server
	ns     *adapter.Namespace
	told   chan error
}

const guests = "/guests"

// beside starts a fleet of a Node.js server and a Go node for each generation.
func beside(t *testing.T, generations []interop.Generation, options redisbroker.Options, f func(g *guest)) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, generation := range generations {
		t.Run(string(generation), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			t.Cleanup(cancel)
			g := &guest{T: t, ctx: ctx, told: make(chan error, 10_000)}
			options := options
			options.Prefix = string(generation)
			g.peer = interop.Start(t, interop.Config{
				Generation: generation, Name: string(generation), Redis: redis.URL(), Prefix: options.Prefix,
			})
			b, err := redisbroker.Open(redis.URL(), &options)
			require.NoError(t, err)
			g.server, err = adapter.New(b, &adapter.Options{OnError: func(err error) { g.told <- err }})
			require.NoError(t, err)
			t.Cleanup(func() {
				assert.NoError(t, errors.Join(g.server.Close(ctx), b.Close(ctx)))
			})
			g.ns, err = g.server.Of(ctx, guests)
			require.NoError(t, err)
			_, err = g.ask("namespace", nil)
			require.NoError(t, err)
			f(g)
		})
	}
}

// ask makes the Node.js server send a request.
func (g *guest) ask(op string, a args) (any, error) {
	return g.peer.Call(g.ctx, op, with(args{"nsp": guests}, a))
}

// must is ask for a request that must succeed.
func (g *guest) must(op string, a args) any {
	g.Helper()
	v, err := g.ask(op, a)
	if err != nil {
		g.Errorf("%s: %v", op, err)
	}
	return v
}

func (g *guest) add(s adapter.Socket, rooms ...string) {
	g.Helper()
	if err := errors.Join(g.ns.Add(g.ctx, s), g.ns.Join(g.ctx, s.ID(), rooms...)); err != nil {
		g.Fatal(err)
	}
}

// reported waits until OnError has been called with an error that contains what.
func (g *guest) reported(what string, is func(error) bool) {
	g.Helper()
	for {
		select {
		case err := <-g.told:
			if is(err) {
				return
			}
		case <-time.After(deadline):
			g.Errorf("OnError was not called with %s", what)
			return
		}
	}
}

// odd is a socket whose methods call functions of the test.
type odd struct {
	id       string
	deliver  func()
	describe func() adapter.Description
}

func (s *odd) ID() string { return s.id }
func (s *odd) Deliver(*adapter.Packet) {
	if s.deliver != nil {
		s.deliver()
	}
}
func (s *odd) Disconnect(bool) {}
func (s *odd) Describe() adapter.Description {
	if s.describe != nil {
		return s.describe()
	}
	return adapter.Description{}
}

// TestThousandsAtOnce makes a Node.js server send thousands of requests to a Go node at once.
func TestThousandsAtOnce(t *testing.T) {
	beside(t, []interop.Generation{interop.V5, interop.V6, interop.V8}, redisbroker.Options{}, func(g *guest) {
		g.add(&odd{id: "one"}, "room")
		operations := []operation{{"allRooms", nil}, {"fetchSockets", nil}, {"serverSideEmitWithAck", args{"event": "x", "args": []any{}}}}
		switch g.peer.Generation() {
		case interop.V5:
			operations = []operation{{"allRooms", nil}, {"clients", args{"rooms": []any{}}}, {"customRequest", args{"data": 1}}}
		case interop.V6:
			operations = operations[:2]
		}
		for _, o := range operations {
			const n = 3000
			var asking sync.WaitGroup
			var failed atomic.Int64
			for range n {
				asking.Go(func() {
					if _, err := g.ask(o.name, o.args); err != nil && failed.Add(1) == 1 {
						g.Errorf("%s: %v", o.name, err)
					}
				})
			}
			asking.Wait()
			if n := failed.Load(); n > 0 {
				g.Errorf("%d of 3000 %s failed", n, o.name)
			}
		}
	})
}

// TestBlockedSockets makes a Node.js server send requests to a Go node whose sockets do not return
// from their methods.
func TestBlockedSockets(t *testing.T) {
	beside(t, []interop.Generation{interop.V5, interop.V6, interop.V8}, redisbroker.Options{}, func(g *guest) {
		release := make(chan struct{})
		g.Cleanup(func() { close(release) })
		for i := range 40 {
			g.add(&odd{id: fmt.Sprint("blocked", i), deliver: func() { <-release }}, fmt.Sprint("room", i))
		}
		query, a := "allRooms", args(nil)
		for i := range 40 { // each in a message of its own
			g.must("emit", args{"to": []any{fmt.Sprint("room", i)}, "event": "x", "args": []any{}})
		}
		began := time.Now()
		g.must(query, a)
		g.Logf("40 blocked sockets: answered after %v", time.Since(began))

		if g.peer.Generation() != interop.V5 {
			for i := range 40 {
				g.add(&odd{id: fmt.Sprint("mute", i), describe: func() adapter.Description { <-release; return adapter.Description{} }})
			}
			began := time.Now()
			list, _ := g.must("fetchSockets", nil).([]any)
			if len(list) != 80 {
				g.Errorf("%d sockets of 80 were listed", len(list))
			}
			g.Logf("40 blocked descriptions: answered after %v", time.Since(began))
			g.reported("a blocking Describe", func(err error) bool {
				return strings.Contains(err.Error(), "mute") && strings.Contains(err.Error(), "does not return")
			})
		}
	})
}

// TestCallbacksThatPanic makes a Node.js server send requests that make a callback panic.
func TestCallbacksThatPanic(t *testing.T) {
	beside(t, []interop.Generation{interop.V5, interop.V7, interop.V8}, redisbroker.Options{}, func(g *guest) {
		g.ns.OnCustomRequest(func(context.Context, *adapter.Namespace, json.RawMessage) (any, error) { panic("boom") })
		if _, err := g.ns.OnServerSideEmit("x", func(context.Context, *adapter.ServerEvent) { panic("boom") }); err != nil {
			g.Fatal(err)
		}
		if g.peer.Generation() == interop.V5 {
			g.must("customRequest", args{"data": 1})
		} else {
			g.must("serverSideEmitWithAck", args{"event": "x", "args": []any{}})
		}
		g.reported("a panic", func(err error) bool { return strings.Contains(err.Error(), "boom") })
	})
}

// TestAnswersThatHaveToFit makes a Node.js server request more than fits into a message.
func TestAnswersThatHaveToFit(t *testing.T) {
	const limit = 64 << 10
	beside(t, []interop.Generation{interop.V5, interop.V6, interop.V7, interop.V8}, redisbroker.Options{MaxPayload: limit}, func(g *guest) {
		long := strings.Repeat("x", 2000)
		short := func(err error) bool { return strings.Contains(err.Error(), "sent with") }
		add := func(name string, n int, d adapter.Description) {
			for i := range n {
				g.add(&odd{id: fmt.Sprint(name, i), describe: func() adapter.Description { return d }}, name)
			}
		}
		add("headers", 100, adapter.Description{Data: 1, Handshake: &adapter.Handshake{URL: "/u", Headers: map[string]any{"x-long": long}}})
		add("data", 100, adapter.Description{Data: long})
		add("many", 3000, adapter.Description{})
		many := 3200
		if g.peer.Generation() == interop.V5 {
			list, _ := g.must("allRooms", nil).([]any)
			if len(list) != many+3 {
				g.Errorf("%d rooms of %d", len(list), many+3)
			}
			add("some long name "+long[:500], 200, adapter.Description{})
			_, _ = g.must("clients", args{"rooms": []any{}}).([]any)
			g.reported("a shortened list", short)
			g.ns.OnCustomRequest(func(context.Context, *adapter.Namespace, json.RawMessage) (any, error) {
				return strings.Repeat(long, 100), nil
			})
			g.must("customRequest", args{"data": 1})
			g.reported("a reply that is too large", func(err error) bool { return strings.Contains(err.Error(), "custom") })
			return
		}
		fetch := func(room string, least int) map[string]any {
			g.Helper()
			list, _ := g.must("fetchSockets", args{"to": []any{room}}).([]any)
			if len(list) < least {
				g.Errorf("%d sockets in %s, want %d", len(list), room, least)
				return nil
			}
			g.reported("a shortened list of "+room, short)
			first, _ := list[0].(map[string]any)
			return first
		}
		if s := fetch("headers", 100); interop.Text(s["data"]) != "1" || interop.Text(s["handshake"].(map[string]any)["url"]) != `"/u"` {
			g.Errorf("without headers: %s", interop.Text(s))
		}
		fetch("data", 100)
		fetch("many", 200)
		if g.peer.Generation() == interop.V6 {
			return
		}
		if _, err := g.ns.OnServerSideEmit("x", func(_ context.Context, e *adapter.ServerEvent) { _ = e.Ack(strings.Repeat(long, 100)) }); err != nil {
			g.Fatal(err)
		}
		g.must("serverSideEmitWithAck", args{"event": "x", "args": []any{}})
		g.reported("an acknowledgement that is too large", func(err error) bool { return strings.Contains(err.Error(), "event") })
	})
}
