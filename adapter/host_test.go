package adapter_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
)

// Tests of the options for a server that keeps its own sockets and rooms.

func TestRemoteSparesThisServer(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d})
		remote(t, nodes[0], nodes[1])
	})
}

func TestRemoteSparesThisServerOnSeveralLinks(t *testing.T) {
	g := newGenerations()
	both, _, _ := g.mixed(t, adapter.Options{})
	remote(t, both[0], both[1])
}

// remote checks the operations with Remote, from one of two nodes.
func remote(t *testing.T, here, there *node) {
	a, b := here.add(t, "a", "red"), there.add(t, "b", "red")
	ctx := t.Context()
	to := here.ns.All().Remote().To("red")
	require.NoError(t, to.Emit(ctx, "news"))
	list, err := to.FetchSockets(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, ids(list.List), "FetchSockets")
	require.NoError(t, to.SocketsJoin(ctx, "new"))
	require.Equal(t, []string{"a", "red"}, roomsOf(here.ns, "a"), "a's rooms")
	require.Equal(t, []string{"b", "red", "new"}, roomsOf(there.ns, "b"), "b's rooms")
	require.NoError(t, to.SocketsLeave(ctx, "red"))
	require.Equal(t, []string{"a", "red"}, roomsOf(here.ns, "a"), "a's rooms")
	require.Equal(t, []string{"b", "new"}, roomsOf(there.ns, "b"), "b's rooms")
	require.NoError(t, here.ns.All().Remote().DisconnectSockets(ctx, true))
	require.True(t, <-b.ended)
	require.NoError(t, here.ns.Emit(ctx, "end"))
	require.Empty(t, a.until(t, "end"), "a")
	require.Equal(t, []string{"news"}, b.until(t, "end"), "b")
	require.Empty(t, a.ended)
}

// ackCalls records the calls of AckFuncs as text.
type ackCalls struct {
	names *strings.Replacer
	list  []string
}

func (c *ackCalls) funcs() adapter.AckFuncs {
	note := func(format string, a ...any) { c.list = append(c.list, c.names.Replace(fmt.Sprintf(format, a...))) }
	return adapter.AckFuncs{
		Sent:     func() { note("sent") },
		Expected: func(node string, n int) { note("%s: %d", node, n) },
		Value:    func(node string, v any) { note("%s: %v", node, v) },
	}
}

func TestEmitWithAckFunc(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	nodes[1].addSocket(t, answerer("b", "text"))
	nodes[1].addSocket(t, answerer("c", nil))
	nodes[0].addSocket(t, answerer("a", 1))
	c := ackCalls{names: strings.NewReplacer(nodes[0].UID(), "here", nodes[1].UID(), "there")}
	acks, err := nodes[0].ns.All().Timeout(patience).EmitWithAckFunc(t.Context(), c.funcs(), "question")
	require.NoError(t, err)
	require.Len(t, acks.Values, 3)
	slices.Sort(c.list[4:]) // acknowledgements have no order
	require.Equal(t, []string{"here: 1", "here: 1", "sent", "there: 2", "there: <nil>", "there: text"}, c.list, "calls")

	// Local sockets only: nothing is sent to other servers.
	c.list = nil
	_, err = nodes[0].ns.All().Local().EmitWithAckFunc(t.Context(), c.funcs(), "question")
	require.NoError(t, err)
	require.Equal(t, []string{"here: 1", "here: 1", "sent"}, c.list, "calls")

	// An event that cannot be sent calls nothing.
	c.list = nil
	_, err = nodes[0].ns.All().Local().EmitWithAckFunc(t.Context(), c.funcs(), "question", func() {})
	require.Error(t, err)
	require.Empty(t, c.list)
}

// answerer is a socket whose client acknowledges with v.
func answerer(id string, v any) *talker {
	return &talker{socket: newSocket(id), answer: func(_ *adapter.Packet, ack func(args ...any)) { ack(v) }}
}

// Over two links each socket gets the request twice and is counted once.
func TestEmitWithAckFuncOnSeveralLinks(t *testing.T) {
	g := newGenerations()
	onBoth := func() *node {
		return newNode(t, g.v6, adapter.Options{Links: []adapter.Link{{Broker: prefixed{g.v5.Broker(), "two"}}}})
	}
	here, there := onBoth(), onBoth()
	acquainted(t, here, there)
	here.addSocket(t, answerer("a", 1))
	there.addSocket(t, answerer("b", 2))
	there.addSocket(t, answerer("c", 2))
	c := ackCalls{names: strings.NewReplacer(here.UID(), "here", there.UID(), "there")}
	_, err := here.ns.All().EmitWithAckFunc(t.Context(), c.funcs(), "question")
	require.NoError(t, err)
	slices.Sort(c.list)
	require.Equal(t, []string{"here: 1", "here: 1", "sent", "there: 2", "there: 2", "there: 2"}, c.list, "calls")
}

// roomy is a socket whose server keeps its rooms.
type roomy struct {
	*socket
	mu   sync.Mutex
	told []string
}

func (s *roomy) Joined(rooms []string) { s.note("+", rooms) }
func (s *roomy) Left(rooms []string)   { s.note("-", rooms) }

func (s *roomy) note(sign string, rooms []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, room := range rooms {
		s.told = append(s.told, sign+room)
	}
}

func (s *roomy) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.told
	s.told = nil
	return list
}

func TestRoomSocketIsNotified(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d})
		s := &roomy{socket: newSocket("s")}
		nodes[0].addSocket(t, s, "red")
		nodes[1].add(t, "plain", "red")
		ctx := t.Context()
		require.NoError(t, nodes[0].ns.Leave(ctx, "s", "red"))
		require.NoError(t, nodes[0].ns.Join(ctx, "s", "red"))
		require.Empty(t, s.take(), "notified of its own server's change")
		for _, n := range nodes {
			require.NoError(t, n.ns.To("red").SocketsJoin(ctx, "blue", "green"))
			require.NoError(t, n.ns.To("blue").SocketsLeave(ctx, "green"))
			require.Equal(t, []string{"+blue", "+green", "-green"}, slices.Compact(s.take()), "calls")
			require.NoError(t, n.ns.Leave(ctx, "s", "blue"))
			s.take()
		}
		require.NoError(t, nodes[1].ns.Join(ctx, "s", "by id"))
		require.NoError(t, nodes[1].ns.Leave(ctx, "s", "by id"))
		require.Equal(t, []string{"+by id", "-by id"}, s.take(), "calls")
	})
}

func TestOnAnyServerSideEmit(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	type call struct {
		handler string
		event   *adapter.ServerEvent
	}
	calls := make(chan call, 10)
	note := func(handler string) func(context.Context, *adapter.ServerEvent) {
		return func(_ context.Context, e *adapter.ServerEvent) {
			calls <- call{handler, e}
			if e.WantsAck() && handler == "any" {
				_ = e.Ack("from " + e.Event)
			}
		}
	}
	_, err := nodes[1].ns.OnServerSideEmit("one", note("one"))
	require.NoError(t, err)
	stop := nodes[1].ns.OnAnyServerSideEmit(note("any"))
	nodes[1].ns.OnAnyServerSideEmit(nil)()
	for event, handlers := range map[string][]string{"one": {"one", "any"}, "other": {"any"}, "": {"any"}} {
		r, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), event, 1)
		require.NoError(t, err)
		require.JSONEq(t, fmt.Sprintf("%q", "from "+event), string(r.List[0].Data))
		for _, want := range handlers {
			got := <-calls
			require.Equal(t, want, got.handler)
			require.Equal(t, event, got.event.Event)
		}
	}
	stop()
	r, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "other")
	require.NoError(t, err)
	require.Nil(t, r.List[0].Data)
}

func TestOnBroadcastSeesEverything(t *testing.T) {
	links := map[string]func(g generations) []adapter.Link{
		"one link":  func(generations) []adapter.Link { return nil },
		"two links": func(g generations) []adapter.Link { return []adapter.Link{{Broker: prefixed{g.v5.Broker(), "two"}}} },
	}
	for name, links := range links {
		t.Run(name, func(t *testing.T) {
			g := newGenerations()
			heard := make(chan string, 100)
			keep := adapter.Options{Links: links(g), OnBroadcast: func(p *adapter.Packet, rooms, except []string) bool {
				heard <- fmt.Sprint(p.Event(), p.Args(), rooms, except, p.Volatile(), !p.Compress(), p.Origin() != "")
				if p.Event() == "panic" {
					panic("boom")
				}
				return p.Event() != "kept"
			}}
			here := newNode(t, g.v6, adapter.Options{Links: links(g)})
			there := newNode(t, g.v6, keep)
			acquainted(t, here, there)
			s := there.add(t, "s")
			ctx := t.Context()
			require.NoError(t, here.ns.Emit(ctx, "kept", 1))
			require.NoError(t, here.ns.To("empty").Except("x").Volatile().Emit(ctx, "elsewhere"))
			require.NoError(t, here.ns.All().Compress(false).Emit(ctx, "panic"))
			require.NoError(t, here.ns.Emit(ctx, "end"))
			require.Empty(t, s.until(t, "end"), "s")
			var got []string
			for range 4 {
				got = append(got, <-heard)
			}
			require.Equal(t, []string{
				"kept[1] [] [] false false true", "elsewhere[] [empty] [x] true false true",
				"panic[] [] [] false true true", "end[] [] [] false false true",
			}, got, "received")
		})
	}
}
