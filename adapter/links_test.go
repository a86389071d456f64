package adapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// two generations: a bus for each, and servers on one or both.
type generations struct {
	v6, v5 *memorybroker.Bus
}

func newGenerations() generations {
	return generations{memorybroker.NewBus(nil), memorybroker.NewBus(nil)}
}

func (g generations) onBoth(t testing.TB, opts adapter.Options) *node {
	opts.Links = []adapter.Link{{Broker: g.v5.Broker(), Dialect: adapter.V5}}
	return newNode(t, g.v6, opts)
}

func (g generations) onV6(t testing.TB) *node { return newNode(t, g.v6, adapter.Options{}) }

func (g generations) onV5(t testing.TB) *node {
	return newNode(t, g.v5, adapter.Options{Dialect: adapter.V5})
}

// mixed is two servers on both links and one on each link only, which all know each other.
func (g generations) mixed(t testing.TB, opts adapter.Options) (both [2]*node, new, old *node) {
	both = [2]*node{g.onBoth(t, opts), g.onBoth(t, opts)}
	new, old = g.onV6(t), g.onV5(t)
	knows := func(n *node, uids ...string) {
		eventually(t, "acquainted", func() bool {
			var known []string
			for _, p := range n.KnownPeers() {
				if slices.Contains(p.Namespaces, chat) {
					known = append(known, p.ID)
				}
			}
			slices.Sort(uids)
			return slices.Equal(known, uids)
		})
	}
	knows(both[0], both[1].UID(), new.UID(), old.UID())
	knows(both[1], both[0].UID(), new.UID(), old.UID())
	knows(new, both[0].UID(), both[1].UID())
	knows(old, both[0].UID(), both[1].UID())
	// Peers merges links. The count is right only when each knows the other on both.
	for _, n := range both {
		eventually(t, "all counted", func() bool {
			count, err := n.ns.ServerCount(t.Context())
			ok(t, err)
			return count == 4
		})
	}
	return both, new, old
}

func TestEmitOnSeveralLinksArrivesOnce(t *testing.T) {
	both, new, old := newGenerations().mixed(t, adapter.Options{})
	sockets := []*socket{both[0].add(t, "b0", "x"), both[1].add(t, "b1", "x"), new.add(t, "new", "x"), old.add(t, "old", "x")}
	const rounds = 50
	for range rounds {
		ok(t, both[0].ns.To("x").Emit(t.Context(), "e"))
	}
	ok(t, both[0].ns.Emit(t.Context(), "end"))
	// b1 receives every message twice, on two links. When it has responded to a request on
	// both, no message is in transit.
	_, err := both[0].ns.All().Clients(t.Context())
	ok(t, err)
	for _, s := range sockets {
		for i := range rounds + 1 {
			p, want := s.next(t), "e"
			if i == rounds {
				want = "end"
			}
			assert.Equal(t, want, p.Event(), "%s: %d", s.id, i)
			assert.Equal(t, both[0].UID(), p.Origin(), "%s: %d", s.id, i)
		}
		assert.Empty(t, s.packets, "%s too many", s.id)
	}
}

// held is a socket whose first packet takes until release.
type held struct {
	*socket
	entered, release chan struct{}
	called           atomic.Bool
}

func (h *held) Deliver(p *adapter.Packet) {
	if h.called.CompareAndSwap(false, true) {
		close(h.entered)
		<-h.release
	}
	h.socket.Deliver(p)
}

// While a message from one link is being delivered, later messages of the same server from
// another link wait. No message waits for a stalled socket.
func TestOrderOverSeveralLinks(t *testing.T) {
	for _, stalls := range []bool{false, true} {
		t.Run(fmt.Sprintf("stalls=%v", stalls), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				both, _, _ := newGenerations().mixed(t, adapter.Options{})
				h := &held{socket: newSocket("held"), entered: make(chan struct{}), release: make(chan struct{})}
				both[1].addSocket(t, h, "x")
				other := both[1].add(t, "other", "x")
				const messages = 20
				for n := range messages {
					ok(t, both[0].ns.To("x").Emit(t.Context(), fmt.Sprint(n)))
				}
				<-h.entered
				synctest.Wait() // all other goroutines are blocked
				assert.LessOrEqual(t, len(h.packets), 0, "overtook the first")
				inOrder := func(s *socket) {
					t.Helper()
					for n := range messages {
						require.Equal(t, fmt.Sprint(n), s.next(t).Event(), s.id)
					}
				}
				if stalls {
					inOrder(other)
					close(h.release)
					return
				}
				close(h.release)
				inOrder(h.socket)
				inOrder(other)
			})
		})
	}
}

// A message that was missed on one link arrives late over the other, and once.
func TestOrderAfterAGapOfOneLink(t *testing.T) {
	bubble(t, func(t *testing.T) {
		both, _, _ := newGenerations().mixed(t, adapter.Options{})
		s := both[1].add(t, "s")
		slow := both[1].Links()[1].Broker.(*memorybroker.Broker)
		emit := func(event string) {
			ok(t, both[0].ns.Emit(t.Context(), event))
			synctest.Wait()
		}
		memorytest.Freeze(slow)
		emit("before")
		memorytest.Cut(both[1].broker, errors.New("cable"))
		emit("meanwhile")
		memorytest.Heal(both[1].broker)
		synctest.Wait()
		emit("after")
		memorytest.Thaw(slow)
		synctest.Wait()
		emit("end")
		require.Equal(t, []string{"before", "after", "meanwhile"}, s.until(t, "end"), "events")
	})
}

func TestQueriesOverLinks(t *testing.T) {
	both, new, old := newGenerations().mixed(t, adapter.Options{})
	both[0].add(t, "b0", "x")
	both[1].addSocket(t, &talker{socket: newSocket("b1"), about: adapter.Description{Data: 1}}, "x")
	new.add(t, "new", "x", "only new")
	old.add(t, "old", "x", "only old")
	ctx, ns := t.Context(), both[0].ns

	clients, err := ns.To("x").Clients(ctx)
	ok(t, err)
	require.Equal(t, []string{"b0", "b1", "new", "old"}, clients.IDs, "clients")
	want := []string{both[1].UID(), new.UID(), old.UID()}
	slices.Sort(want)
	slices.Sort(clients.Answered)
	require.Equal(t, want, clients.Answered, "answered")

	rooms, err := ns.AllRooms(ctx)
	ok(t, err)
	require.Equal(t, []string{"b0", "b1", "new", "old", "only new", "only old", "x"}, rooms.List, "rooms")

	sockets, err := ns.All().Except("b0").FetchSockets(ctx)
	ok(t, err)
	require.Equal(t, []string{"b1", "new", "old"}, ids(sockets.List), "sockets")
	assert.Equal(t, "1", string(sockets.List[0].Data), "b1's data")

	for _, id := range []string{"b0", "b1", "new", "old"} {
		ok(t, ns.Join(ctx, id, "y"))
		got, err := ns.ClientRooms(ctx, id)
		ok(t, err)
		assert.Contains(t, got, "y", id)
	}
	assert.ErrorIs(t, ns.Join(ctx, "unknown", "y"), backplane.ErrNoSuchMember)

	ok(t, ns.To("x").Except("b1").SocketsLeave(ctx, "y"))
	clients, err = ns.To("y").Clients(ctx)
	ok(t, err)
	require.Equal(t, []string{"b1"}, clients.IDs, "y")
}

func TestDisconnectOverLinksOnce(t *testing.T) {
	both, new, old := newGenerations().mixed(t, adapter.Options{})
	sockets := []*socket{both[0].add(t, "b0"), both[1].add(t, "b1"), new.add(t, "new"), old.add(t, "old")}
	ok(t, both[0].ns.All().DisconnectSockets(t.Context(), true))
	for _, s := range sockets {
		assert.Equal(t, 1, len(s.ended), "%s: disconnections", s.id)
		<-s.ended
	}
	for _, s := range sockets { // one by one
		ok(t, both[0].ns.Disconnect(t.Context(), s.id, false))
		assert.False(t, <-s.ended, "%s: connection closed", s.id)
	}
}

// A node on both links that responds on one of them is not missing.
func TestAResponseOnOneLinkIsEnough(t *testing.T) {
	bubble(t, func(t *testing.T) {
		both, _, old := newGenerations().mixed(t, adapter.Options{RequestsTimeout: 100 * time.Millisecond})
		both[1].add(t, "b1")
		second := both[1].Links()[1].Broker.(*memorybroker.Broker)
		memorytest.Freeze(second)
		got, err := both[0].ns.All().Clients(t.Context())
		ok(t, err)
		require.Equal(t, []string{"b1"}, got.IDs, "sockets")
		ok(t, both[0].ns.Join(t.Context(), "b1", "x"))
		memorytest.Freeze(both[1].broker)
		defer memorytest.Thaw(both[1].broker)
		defer memorytest.Thaw(second)
		var partial *backplane.PartialError
		got, err = both[0].ns.All().Clients(t.Context())
		require.ErrorAs(t, err, &partial)
		require.Len(t, partial.Coverage.Missing, 1)
		assert.Equal(t, both[1].UID(), partial.Coverage.Missing[0].Node)
		assert.Contains(t, got.Answered, old.UID())
	})
}

func TestRequestsOverLinksRunOnce(t *testing.T) {
	var runs atomic.Int32
	hook := func(_ context.Context, ns *adapter.Namespace, _ json.RawMessage) (any, error) {
		runs.Add(1)
		return ns.Server().UID(), nil
	}
	both, new, old := newGenerations().mixed(t, adapter.Options{})
	var uids []string
	for _, n := range []*node{both[0], both[1], new, old} {
		n.ns.OnCustomRequest(hook)
		uids = append(uids, n.UID())
		_, err := n.ns.OnServerSideEmit("ask", func(_ context.Context, e *adapter.ServerEvent) {
			runs.Add(1)
			ok(t, e.Ack(n.UID()))
		})
		ok(t, err)
	}
	replies, err := both[0].ns.CustomRequest(t.Context(), 1)
	ok(t, err)
	check := func(want []string) {
		t.Helper()
		var got []string
		for _, r := range replies.List {
			var uid string
			ok(t, r.Bind(&uid))
			got = append(got, uid)
		}
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, got, "replies")
		assert.Equal(t, len(want), int(runs.Swap(0)), "callbacks ran")
	}
	check(slices.Clone(uids))
	replies, err = both[0].ns.ServerSideEmitWithAck(t.Context(), "ask")
	ok(t, err)
	check([]string{both[1].UID(), new.UID()}) // v5 has no such request
}

func TestAcksOverLinks(t *testing.T) {
	both, new, old := newGenerations().mixed(t, adapter.Options{})
	for _, n := range []*node{both[0], both[1], new, old} {
		n.addSocket(t, answering("s"+n.UID()))
	}
	acks, err := both[0].ns.All().EmitWithAck(t.Context(), "x")
	ok(t, err)
	assert.Equal(t, 3, acks.Expected)
	require.Len(t, acks.Values, 3)
	assert.Equal(t, 1, acks.Unconfirmed)
	l := acks.Links
	require.Len(t, l, 2)
	assert.Equal(t, "v6", l[0].Prefix)
	require.Len(t, l[0].Answered, 2)
	assert.Equal(t, "v5", l[1].Prefix)
	assert.Equal(t, 1, l[1].Unconfirmed)
}

// prefixed is a broker with a prefix: two of them may be of one dialect.
type prefixed struct {
	*memorybroker.Broker
	prefix string
}

func (p prefixed) Capabilities() broker.Capabilities {
	c := p.Broker.Capabilities()
	c.Prefix = p.prefix
	return c
}

// Two prefixes with servers of one generation, and Go nodes on both, which receive every
// request twice.
func TestTwoLinksOfOneGeneration(t *testing.T) {
	one, two := memorybroker.NewBus(nil), memorybroker.NewBus(nil)
	var nodes []*node
	for range 3 {
		nodes = append(nodes, newNode(t, one, adapter.Options{Links: []adapter.Link{{Broker: prefixed{two.Broker(), "two"}}}}))
	}
	single := newNode(t, two, adapter.Options{})
	for _, n := range nodes {
		eventually(t, "all counted", func() bool {
			count, err := n.ns.ServerCount(t.Context())
			ok(t, err)
			return count == 4 && len(n.KnownPeers()) == 3
		})
	}
	var talkers []*talker
	for _, n := range append(nodes, single) {
		s := answering("s" + n.UID())
		n.addSocket(t, s)
		n.add(t, "mute"+n.UID())
		_, err := n.ns.OnServerSideEmit("ask", func(_ context.Context, e *adapter.ServerEvent) { ok(t, e.Ack(n.UID())) })
		ok(t, err)
		talkers = append(talkers, s)
	}
	const rounds = 10
	for range rounds {
		acks, err := nodes[1].ns.All().EmitWithAck(t.Context(), "question")
		ok(t, err)
		require.Equal(t, 4, acks.Expected)
		require.Len(t, acks.Values, 4)
		replies, err := nodes[1].ns.ServerSideEmitWithAck(t.Context(), "ask")
		ok(t, err)
		require.Len(t, replies.List, 3, "got %+v", replies)
		for _, r := range replies.List {
			var uid string
			ok(t, r.Bind(&uid))
			assert.Equal(t, r.Node, uid)
		}
	}
	ok(t, nodes[1].ns.Emit(t.Context(), "end"))
	for i, s := range talkers {
		assert.Equal(t, rounds, len(s.until(t, "end")), "%d events", i)
	}
}

func TestBridge(t *testing.T) {
	g := newGenerations()
	both, new, old := g.mixed(t, adapter.Options{Bridge: &adapter.Bridge{}})
	sockets := []*socket{both[0].add(t, "b0", "x"), both[1].add(t, "b1", "x"), new.add(t, "new", "x"), old.add(t, "old", "x")}
	// No node forwards before it has been the lowest for a while, in either
	// direction.
	atNew, atOld := new.add(t, "at new", "to new"), old.add(t, "at old", "to old")
	eventually(t, "new receives from old", func() bool {
		ok(t, old.ns.To("to new").Emit(t.Context(), "probe"))
		return len(atNew.packets) > 0
	})
	eventually(t, "old receives from new", func() bool {
		ok(t, new.ns.To("to old").Emit(t.Context(), "probe"))
		return len(atOld.packets) > 0
	})
	const rounds = 20
	for range rounds {
		ok(t, old.ns.To("x").Except("b0").Emit(t.Context(), "from old", []byte{1}))
		ok(t, new.ns.To("new", "old", "b1", "b0").Emit(t.Context(), "from new"))
		ok(t, both[1].ns.Emit(t.Context(), "from both"))
	}
	for _, n := range []*node{new, old, both[1]} {
		ok(t, n.ns.Emit(t.Context(), "end of "+n.UID()))
	}
	counts := make([]map[string]int, len(sockets))
	take := func(i int, p *adapter.Packet) (end bool) {
		if counts[i] == nil {
			counts[i] = map[string]int{}
		}
		event := p.Event()
		if end = strings.HasPrefix(event, "end"); end {
			event = "end"
		}
		counts[i][event]++
		return end
	}
	// new and old get each other's events only over the bridge. When they have all of them,
	// and all servers on their link have responded to a request, the bridge has delivered
	// everything.
	for i := 2; i < 4; i++ {
		for ends := 0; ends < 3; {
			if take(i, sockets[i].next(t)) {
				ends++
			}
		}
	}
	for _, n := range []*node{new, old} {
		_, err := n.ns.All().Clients(t.Context())
		ok(t, err)
	}
	for i, s := range sockets {
		for len(s.packets) > 0 {
			take(i, <-s.packets)
		}
		want := map[string]int{"from old": rounds, "from new": rounds, "from both": rounds, "end": 3}
		if i == 0 {
			delete(want, "from old")
		}
		assert.Equal(t, want, counts[i], s.id)
	}
}

// When the leader of the bridge leaves, another node takes over.
func TestBridgeElection(t *testing.T) {
	both, new, old := newGenerations().mixed(t, adapter.Options{Bridge: &adapter.Bridge{}, Heartbeat: 20 * time.Millisecond})
	s := new.add(t, "new")
	var last, sent int64 // probes
	heard := func() bool {
		sent++
		ok(t, old.ns.Emit(t.Context(), "probe", sent))
		for len(s.packets) > 0 {
			last = (<-s.packets).Args()[0].(int64)
		}
		return last > 0
	}
	eventually(t, "a node forwards", heard)
	leader := both[0]
	if both[1].UID() < leader.UID() {
		leader = both[1]
	}
	ok(t, leader.Close(t.Context()))
	before := sent
	eventually(t, "the other passes on", func() bool { return heard() && last > before })
}

func TestLinkOptions(t *testing.T) {
	var bad *backplane.OptionError
	b := memorybroker.New(nil)
	for what, try := range map[string]func() (*adapter.Server, error){
		"no broker":            func() (*adapter.Server, error) { return adapter.New(nil, nil) },
		"unknown dialect":      func() (*adapter.Server, error) { return adapter.New(b, &adapter.Options{Dialect: 7}) },
		"bridge without links": func() (*adapter.Server, error) { return adapter.New(b, &adapter.Options{Bridge: &adapter.Bridge{}}) },
		"nil link":             func() (*adapter.Server, error) { return adapter.New(b, &adapter.Options{Links: []adapter.Link{{}}}) },
		"same prefix twice": func() (*adapter.Server, error) {
			return adapter.New(b, &adapter.Options{Links: []adapter.Link{{Broker: memorybroker.New(nil)}}})
		},
		"bad name": func() (*adapter.Server, error) { return adapter.New(b, &adapter.Options{Name: "a#b"}) },
		"no observer": func() (*adapter.Server, error) {
			return adapter.New(b, &adapter.Options{Observers: []observe.Observer{nil}})
		},
	} {
		s, err := try()
		if assert.ErrorAs(t, err, &bad, what) {
			assert.Nil(t, s, what)
		}
	}
}

// forgetful does not publish requests that contain a text.
type forgetful struct {
	broker.Broker
	text *atomic.Value
}

func (f forgetful) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if text, _ := f.text.Load().(string); ch.Kind() == broker.KindRequests && text != "" && strings.Contains(string(payload), text) {
		return nil
	}
	return f.Broker.Publish(ctx, ch, payload)
}

// In dialect v5 a selection with exceptions needs two lists. If a server is missing from
// either of them, the result is partial, also over several links.
func TestExceptWithAListMissing(t *testing.T) {
	for _, lost := range []string{`["x"]`, `["y"]`} {
		for what, do := range map[string]func(context.Context, adapter.Operator) error{
			"SocketsJoin":  func(ctx context.Context, o adapter.Operator) error { return o.SocketsJoin(ctx, "z") },
			"FetchSockets": func(ctx context.Context, o adapter.Operator) error { _, err := o.FetchSockets(ctx); return err },
		} {
			for _, several := range []bool{true, false} {
				bubble(t, func(t *testing.T) {
					g, text := newGenerations(), new(atomic.Value)
					old := g.onV5(t)
					old.add(t, "far", "x", "y")
					b := forgetful{g.v5.Broker(), text}
					opts := adapter.Options{RequestsTimeout: time.Second, Links: []adapter.Link{{Broker: b, Dialect: adapter.V5}}}
					at := g.v6.Broker()
					var on broker.Broker = at
					if !several {
						opts, on = adapter.Options{RequestsTimeout: time.Second, Dialect: adapter.V5}, b
						defer at.Close(context.Background())
					}
					s, err := adapter.New(on, &opts)
					ok(t, err)
					ns, err := s.Of(t.Context(), chat)
					ok(t, err)
					time.Sleep(time.Minute)
					text.Store(lost)
					err = do(t.Context(), ns.To("x").Except("y"))
					p, partial := errors.AsType[*backplane.PartialError](err)
					require.True(t, partial, "%s, list %s missing, several links %t: %v", what, lost, several, err)
					require.Len(t, p.Coverage.Missing, 1, "%s, list %s missing, several links %t: %v", what, lost, several, err)
					assert.Equal(t, old.UID(), p.Coverage.Missing[0].Node, "%s, list %s missing, several links %t: %v", what, lost, several, err)
					assert.NotContains(t, roomsOf(old.ns, "far"), "z", "%s: joined, although it is excepted", what)
					ok(t, s.Close(t.Context()))
					for _, l := range s.Links() {
						ok(t, l.Broker.Close(t.Context()))
					}
				})
			}
		}
	}
}

// A request that is refused before it is sent has no responses, over one link or several.
func TestRefusedRequestsHaveNoResponses(t *testing.T) {
	for _, links := range []int{1, 2} {
		bubble(t, func(t *testing.T) {
			buses := []*memorybroker.Bus{memorybroker.NewBus(&memorybroker.Options{MaxPayload: 1000}), memorybroker.NewBus(&memorybroker.Options{MaxPayload: 1000})}
			var nodes []*node
			for range 2 {
				opts := adapter.Options{}
				if links == 2 {
					opts.Links = []adapter.Link{{Broker: buses[1].Broker(), Dialect: adapter.V5}}
				}
				nodes = append(nodes, newNode(t, buses[0], opts))
			}
			acquainted(t, nodes...)
			large := strings.Repeat("x", 1000)
			custom, err1 := nodes[0].ns.CustomRequest(t.Context(), large)
			event, err2 := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "event", large)
			for what, err := range map[string]error{"CustomRequest": err1, "ServerSideEmitWithAck": err2} {
				var size *broker.PayloadError
				var partial *backplane.PartialError
				if assert.ErrorAs(t, err, &size, "%s over %d links", what, links) {
					assert.NotErrorAs(t, err, &partial, "%s over %d links", what, links)
				}
			}
			assert.Nil(t, custom, "over %d links", links)
			assert.Nil(t, event, "over %d links", links)
		})
	}
}
