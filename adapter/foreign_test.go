package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

const (
	oldID  = "old4567890abcdefghij" // in room x of the older server
	freeID = "free567890abcdefghij" // in none
)

func TestExceptRoomsAmongOlderServers(t *testing.T) {
	for _, c := range []struct {
		name    string
		d       adapter.Dialect
		version string
		besides []string
	}{
		{"5.4", adapter.V5, "5.4", nil},
		{"6.0", adapter.V6, "6.0", nil},
		{"6.0 beside 6.1", adapter.V6, "6.0", []string{"6.1"}},
		{"6.0 beside 8.3", adapter.V6, "6.0", []string{"8.3", "6.1"}},
		{"6.0 twice", adapter.V6, "6.0", []string{"6.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				bus := memorybroker.NewBus(nil)
				s := newForeign(t, bus, c.version, map[string][]string{oldID: {"x", "y"}, freeID: nil})
				var others []*foreignServer
				for i, v := range c.besides {
					others = append(others, newForeign(t, bus, v, map[string][]string{fmt.Sprint("in", i): {"x"}, fmt.Sprint("out", i): {"y"}}))
				}
				opts := adapter.Options{Dialect: c.d, RequestsTimeout: time.Second}
				a, b := newNode(t, bus, opts), newNode(t, bus, opts)
				acquainted(t, a, b)
				here, there := a.add(t, "here", "x"), b.add(t, "there", "x")
				// Rooms with any name: that of an id, of a number, of an object's property.
				names := []string{"x", "abcdefghij0123456789", "42", "__proto__", "", "a#b"}
				s.mu.Lock()
				s.sockets[oldID] = append(s.sockets[oldID], names...)
				s.mu.Unlock()
				for i, room := range names {
					ok(t, a.ns.All().Except(room).Emit(t.Context(), fmt.Sprint("all", i)))
					ok(t, a.ns.To("y").Except("unknown", room).Emit(t.Context(), fmt.Sprint("y", i)))
				}
				ok(t, a.ns.All().Except(oldID).Emit(t.Context(), "id"))
				ok(t, a.ns.Emit(t.Context(), "end"))
				require.Equal(t, []string{"all1", "all2", "all3", "all4", "all5", "id"}, here.until(t, "end"), "here")
				require.Equal(t, []string{"all1", "all2", "all3", "all4", "all5", "id"}, there.until(t, "end"), "there")
				time.Sleep(time.Second)
				assert.Equal(t, "end", s.events(oldID), "the excluded socket")
				assert.Equal(t, "all0 all1 all2 all3 all4 all5 id end", s.events(freeID), "the other")
				for i, o := range others {
					got := o.events(fmt.Sprint("in", i))
					assert.NotContains(t, got, "all0", "%s: the excluded socket", o.version)
					assert.Contains(t, got, "all1", "%s: the excluded socket", o.version)
					got = o.events(fmt.Sprint("out", i))
					assert.True(t, strings.HasPrefix(got, "all0 y0 all1 y1"), "%s: the other got %s", o.version, got)
				}
			})
		})
	}
}

// Without a response no socket gets the event, local or not, on any link.
func TestExceptRoomsRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		d       adapter.Dialect
		version []string
	}{
		{"5.4 mute", adapter.V5, []string{"5.4 mute"}},
		{"6.0 mute", adapter.V6, []string{"6.0 mute"}},
		{"6.0, another mute", adapter.V6, []string{"6.0", "6.1 mute"}},
		{"5.4 in dialect v6", adapter.V6, []string{"5.4", "6.1"}},
		{"6.0 in dialect v5", adapter.V5, []string{"5.4", "6.0"}},
	} {
		for _, links := range []string{"one link", "two links"} {
			t.Run(c.name+", "+links, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					bus := memorybroker.NewBus(nil)
					var all []*foreignServer
					for _, v := range c.version {
						version, mute, _ := strings.Cut(v, " ")
						s := newForeign(t, bus, version, map[string][]string{"id-" + version: {"x"}})
						s.mute = mute != ""
						all = append(all, s)
					}
					opts := adapter.Options{Dialect: c.d, RequestsTimeout: time.Second}
					if links != "one link" {
						other := memorybroker.NewBus(nil)
						link := map[adapter.Dialect]adapter.Dialect{adapter.V5: adapter.V6, adapter.V6: adapter.V5}[c.d]
						version := map[adapter.Dialect]string{adapter.V5: "5.4", adapter.V6: "8.3"}[link]
						all = append(all, newForeign(t, other, version, map[string][]string{"far": nil}))
						opts.Links = []adapter.Link{{Broker: other.Broker(), Dialect: link}}
					}
					n := newNode(t, bus, opts)
					here := n.add(t, "here")
					began := time.Now()
					err := n.ns.All().Except("x").Emit(t.Context(), "no")
					assert.ErrorIs(t, err, adapter.ErrUnresolved)
					assert.ErrorContains(t, err, `["x"]`)
					assert.LessOrEqual(t, time.Since(began), time.Second)
					ok(t, n.ns.All().Except("here").Emit(t.Context(), "a local id"))
					ok(t, n.ns.Emit(t.Context(), "end"))
					require.Empty(t, here.until(t, "end"), "here")
					time.Sleep(time.Second)
					for _, s := range all {
						for id := range s.sockets {
							assert.Equal(t, "a local id end", s.events(id), "%s of %s", id, s.version)
						}
					}
				})
			})
		}
	}
}

// counting counts the queries of a broker.
type counting struct {
	*memorybroker.Broker
	asked atomic.Int64
}

func (b *counting) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	b.asked.Add(1)
	return b.Broker.Subscribers(ctx, channels...)
}

func (b *counting) Responders(ctx context.Context, w broker.Protocol, ns string) ([]string, error) {
	b.asked.Add(1)
	return b.Broker.Responders(ctx, w, ns)
}

// If all servers support rooms in Except, they cost no query.
func TestExceptRoomsAmongNewerServersCostsNothing(t *testing.T) {
	for _, versions := range [][]string{nil, {"8.3"}, {"6.1"}, {"6.1", "8.3"}} {
		t.Run(fmt.Sprint(versions), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				bus := memorybroker.NewBus(nil)
				var all []*foreignServer
				for _, v := range versions {
					all = append(all, newForeign(t, bus, v, map[string][]string{"in": {"x"}, "out": nil}))
				}
				b := &counting{Broker: bus.Broker()}
				server, err := adapter.New(b, &adapter.Options{Heartbeat: time.Second, RequestsTimeout: time.Second})
				ok(t, err)
				ns, err := server.Of(t.Context(), chat)
				ok(t, err)
				ok(t, ns.Add(t.Context(), newSocket("local")))
				time.Sleep(3 * time.Second)
				before := b.asked.Load()
				ok(t, ns.Join(t.Context(), "local", "y"))
				ok(t, ns.Leave(t.Context(), "local", "y"))
				_, err = ns.ClientRooms(t.Context(), "local")
				ok(t, err)
				ok(t, ns.Join(t.Context(), "remote"))
				ok(t, ns.All().Except("local").Emit(t.Context(), "id"))
				ok(t, ns.All().Local().Except("x").Emit(t.Context(), "local"))
				assert.Zero(t, b.asked.Load()-before, "queries to the broker for what is local")
				ns.Remove("local")                                   // it has room for few packets
				ok(t, ns.All().Except("x").Emit(t.Context(), "all")) // counts
				before = b.asked.Load()
				requests := func() (n int) {
					for _, s := range all {
						n += s.requests("0") + s.requests("5")
					}
					return n
				}
				asked := requests()
				for range 1000 {
					ok(t, ns.All().Except("x").Emit(t.Context(), "all"))
				}
				assert.Zero(t, b.asked.Load()-before, "queries to the broker")
				// 10 s: counted every 2 s, not probed.
				for range 100 {
					time.Sleep(100 * time.Millisecond)
					ok(t, ns.All().Except("x").Emit(t.Context(), "all"))
				}
				assert.LessOrEqual(t, b.asked.Load()-before, int64(5*4), "queries to the broker in 10 s")
				assert.Zero(t, requests()-asked, "requests to the servers")
				time.Sleep(time.Second)
				for _, s := range all {
					in, out := s.events("in"), strings.Count(s.events("out"), "all")
					assert.Equal(t, "id", in, "%s: the excluded socket", s.version)
					assert.Equal(t, 1101, out, "%s: the excluded socket", s.version)
				}
				ok(t, server.Close(t.Context()))
				ok(t, b.Close(t.Context()))
			})
		})
	}
}

// A server of 6.0 that connects is noticed two Heartbeats later. If it replaces another
// server it is noticed after 20.
func TestOlderServersAreNoticed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		newForeign(t, bus, "6.1", nil)
		n := newNode(t, bus, adapter.Options{Heartbeat: time.Second, RequestsTimeout: time.Second})
		ok(t, n.ns.All().Except("x").Emit(t.Context(), "before"))
		s := newForeign(t, bus, "6.0", map[string][]string{oldID: {"x"}})
		time.Sleep(2 * time.Second)
		ok(t, n.ns.All().Except("x").Emit(t.Context(), "joined"))
		ok(t, n.ns.All().Except("y").Emit(t.Context(), "other"))
		time.Sleep(time.Second)
		assert.Equal(t, "other", s.events(oldID))
		ok(t, s.broker.Close(t.Context()))
		newForeign(t, bus, "6.1", nil)
		time.Sleep(20 * time.Second)
		ok(t, n.ns.All().Except("x").Emit(t.Context(), "before"))
		ok(t, n.broker.Flush(t.Context()))
		next := newForeign(t, bus, "6.1", nil)
		time.Sleep(2 * time.Second)
		ok(t, n.ns.All().Except("x").Emit(t.Context(), "before"))
		ok(t, next.broker.Close(t.Context()))
		s = newForeign(t, bus, "6.0", map[string][]string{oldID: {"x"}})
		time.Sleep(20 * time.Second)
		ok(t, n.ns.All().Except("x").Emit(t.Context(), "replaced"))
		ok(t, n.ns.Emit(t.Context(), "end"))
		time.Sleep(time.Second)
		assert.Equal(t, "end", s.events(oldID))
	})
}

// During an outage local sockets are served if all servers supported rooms in Except.
func TestExceptRoomsDuringAnOutage(t *testing.T) {
	for _, c := range []struct {
		d        adapter.Dialect
		versions []string
	}{{adapter.V6, nil}, {adapter.V5, nil}, {adapter.V6, []string{"6.1", "8.3"}}} {
		bubble(t, func(t *testing.T) {
			bus := memorybroker.NewBus(nil)
			for _, v := range c.versions {
				newForeign(t, bus, v, nil)
			}
			n := newNode(t, bus, adapter.Options{Dialect: c.d, Heartbeat: time.Second, RequestsTimeout: time.Second})
			here := n.add(t, "here")
			memorytest.Cut(n.broker, errors.New("out"))
			time.Sleep(3 * time.Second)
			began := time.Now()
			ok(t, n.ns.All().Except("x").Emit(t.Context(), "hello"))
			if here.next(t).Event() != "hello" || time.Since(began) > 0 {
				t.Errorf("took %v", time.Since(began))
			}
			memorytest.Heal(n.broker)
		})
	}
}

// No request waits for responses that servers of 6.0 cannot send. They respond to the others.
func TestQueriesAmongOlderServers(t *testing.T) {
	for _, besides := range []string{"", "6.1", "8.3"} {
		t.Run("beside "+besides, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				bus := memorybroker.NewBus(nil)
				s := newForeign(t, bus, "6.0", map[string][]string{oldID: {"x"}, freeID: {"y"}})
				var newer *foreignServer
				want := []string{freeID, "here", oldID, "there"}
				if besides != "" {
					newer = newForeign(t, bus, besides, map[string][]string{"newer": {"x"}})
					want = []string{freeID, "here", "newer", oldID, "there"}
				}
				opts := adapter.Options{RequestsTimeout: time.Second, Heartbeat: time.Second}
				a, b := newNode(t, bus, opts), newNode(t, bus, opts)
				acquainted(t, a, b)
				a.add(t, "here", "x")
				b.add(t, "there", "x")
				ctx := t.Context()
				ns := a.ns
				_, err := ns.All().Clients(ctx) // probes; the other node has connected
				ok(t, err)
				began := time.Now()
				quick := func(what string, err error) {
					t.Helper()
					if took := time.Since(began); err != nil || took > 0 {
						t.Errorf("%s: %v, after %v", what, err, took)
					}
				}
				clients, err := ns.All().Clients(ctx)
				quick("Clients", err)
				require.Equal(t, want, clients.IDs, "clients")
				sockets, err := ns.All().FetchSockets(ctx)
				quick("FetchSockets", err)
				require.Equal(t, want, ids(sockets.List), "sockets")
				for _, remote := range sockets.List {
					assert.Equal(t, remote.Rooms != nil, remote.ID != oldID && remote.ID != freeID, "rooms of %s: %v", remote.ID, remote.Rooms)
				}
				foreign := 1
				if newer != nil {
					foreign = 2
				}
				assert.Equal(t, foreign, sockets.Foreign, "fleet %+v", sockets.Coverage)
				assert.Zero(t, sockets.Unconfirmed, "fleet %+v", sockets.Coverage)
				assert.Len(t, sockets.Answered, 1, "fleet %+v", sockets.Coverage)
				sockets, err = ns.To("x", "y").Except("x").FetchSockets(ctx)
				quick("FetchSockets except", err)
				require.Equal(t, []string{freeID}, ids(sockets.List), "sockets")
				rooms, err := ns.AllRooms(ctx)
				quick("AllRooms", err)
				assert.Contains(t, rooms.List, "y")

				quick("SocketsJoin", ns.To("x").Except("there").SocketsJoin(ctx, "a", "b"))
				quick("SocketsLeave", ns.To("x").SocketsLeave(ctx, "b"))
				assert.Equal(t, "a x", s.rooms(oldID), oldID)
				assert.Equal(t, "y", s.rooms(freeID), freeID)
				if newer != nil {
					assert.Equal(t, "a x", newer.rooms("newer"))
				}
				quick("Join", ns.Join(ctx, oldID, "c"))
				quick("Leave", ns.Leave(ctx, oldID, "a"))
				assert.Equal(t, "c x", s.rooms(oldID), oldID)
				_, err = ns.ClientRooms(ctx, oldID)
				if assert.True(t, unsupported(err, "ClientRooms"), "ClientRooms: %v", err) {
					assert.ErrorContains(t, err, "6.0", "ClientRooms: %v", err)
				}
				_, err = ns.ClientRooms(ctx, "unknown")
				assert.ErrorIs(t, err, backplane.ErrNoSuchMember, "ClientRooms of an unknown socket")
				quick("ClientRooms", nil)
				quick("DisconnectSockets", ns.To("y").DisconnectSockets(ctx, false))
				quick("Disconnect", ns.Disconnect(ctx, oldID, true))
				assert.Empty(t, s.sockets, "left")
			})
		})
	}
}

// Servers of v5 must not share the prefix of newer ones. If they do, results list them as
// missing, and no request waits for them.
func TestQueriesAmongDeafServers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		newForeign(t, bus, "5.4", map[string][]string{oldID: {"x"}})
		newForeign(t, bus, "6.1", map[string][]string{"newer": {"x"}})
		n := newNode(t, bus, adapter.Options{RequestsTimeout: time.Second, Heartbeat: time.Second})
		ctx := t.Context()
		began := time.Now()
		missing := func(what string, err error) {
			t.Helper()
			e, partial := errors.AsType[*backplane.PartialError](err)
			if took := time.Since(began); !partial || len(e.Coverage.Missing) != 1 || e.Coverage.Missing[0].Count != 1 || took > 0 {
				t.Errorf("%s: %v, after %v", what, err, took)
			}
		}
		clients, err := n.ns.All().Clients(ctx)
		missing("Clients", err)
		require.Equal(t, []string{"newer"}, clients.IDs, "clients")
		sockets, err := n.ns.All().FetchSockets(ctx)
		missing("FetchSockets", err)
		require.Equal(t, []string{"newer"}, ids(sockets.List), "sockets")
		require.NotNil(t, sockets.List[0].Rooms)
		assert.Equal(t, 1, sockets.Foreign)
		_, err = n.ns.AllRooms(ctx)
		missing("AllRooms", err)
		missing("SocketsJoin", n.ns.To("x").SocketsJoin(ctx, "a"))
		// A server that does not respond may have the socket.
		for what, err := range map[string]error{
			"Join": n.ns.Join(ctx, oldID, "a"), "ClientRooms": func() error { _, err := n.ns.ClientRooms(ctx, oldID); return err }(),
		} {
			_, partial := errors.AsType[*backplane.PartialError](err)
			if took := time.Since(began); !partial || errors.Is(err, backplane.ErrNoSuchMember) || took > 0 {
				t.Errorf("%s: %v, after %v", what, err, took)
			}
		}
	})
}

// A broadcast that a bridge passes on also leaves out the excepted sockets of older servers.
func TestBridgeSparesSocketsOfOlderServers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGenerations()
		sockets := map[string][]string{oldID: {"x", "42"}, freeID: nil}
		on5, on6 := newForeign(t, g.v5, "5.4", sockets), newForeign(t, g.v6, "6.0", sockets)
		newForeign(t, g.v6, "6.1", nil)
		n := g.onBoth(t, adapter.Options{Bridge: &adapter.Bridge{}, RequestsTimeout: time.Second})
		from5, from8 := g.onV5(t), g.onV6(t)
		time.Sleep(10 * time.Second)
		for _, from := range []*node{from5, from8, n} {
			ok(t, from.ns.All().Except("x").Emit(t.Context(), "x"))
			ok(t, from.ns.All().Except("42", "y").Emit(t.Context(), "42"))
			ok(t, from.ns.All().Except(oldID).Emit(t.Context(), "id"))
			ok(t, from.ns.All().Except("y").Emit(t.Context(), "y"))
			time.Sleep(time.Second)
		}
		for _, s := range []*foreignServer{on5, on6} {
			assert.Equal(t, "y y y", s.events(oldID), "%s: the excluded socket", s.version)
			assert.Equal(t, "x 42 id y x 42 id y x 42 id y", s.events(freeID), "%s: the other", s.version)
		}
	})
}
