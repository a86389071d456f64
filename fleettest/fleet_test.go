package fleettest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/fleettest"
)

// three makes three nodes of package backplane with one namespace.
func three(t *testing.T, f *fleettest.Fleet) (nodes [3]*fleettest.Node, spaces [3]*backplane.Namespace) {
	t.Helper()
	for i, id := range []string{"a", "b", "c"} {
		nodes[i] = f.Node(id, nil)
		var err error
		spaces[i], err = nodes[i].Namespace(t.Context(), "/", nil)
		require.NoError(t, err)
	}
	f.Settle()
	return nodes, spaces
}

// TestFaults shows the effect of each fault on a query, and how long the query takes on the fleet's clock.
func TestFaults(t *testing.T) {
	type want struct {
		reason error
		lasts  time.Duration
	}
	for _, c := range []struct {
		name             string
		fault            func(n *fleettest.Node)
		counted, without want
		heal             func(n *fleettest.Node) // nil: the node stays missing
	}{
		{"none", func(*fleettest.Node) {}, want{}, want{}, func(*fleettest.Node) {}},
		{"Kill", func(n *fleettest.Node) { n.Kill() }, want{backplane.ErrPeerLost, 0}, want{backplane.ErrNoResponse, time.Second}, nil},
		{"Cut", func(n *fleettest.Node) { n.Cut() }, want{backplane.ErrPeerLost, 0}, want{backplane.ErrNoResponse, time.Second}, func(n *fleettest.Node) { n.Heal() }},
		{"Freeze", func(n *fleettest.Node) { n.Freeze() }, want{backplane.ErrNoResponse, time.Second}, want{backplane.ErrNoResponse, time.Second}, func(n *fleettest.Node) { n.Thaw() }},
		{"Close", func(n *fleettest.Node) { n.Close(context.Background()) }, want{}, want{}, nil},
	} {
		for _, uncounted := range []bool{false, true} {
			name, want := c.name+" counted", c.counted
			if uncounted {
				name, want = c.name+" uncounted", c.without
			}
			t.Run(name, func(t *testing.T) {
				real := time.Now()
				fleettest.Run(t, &fleettest.Options{Uncounted: uncounted}, func(t *testing.T, f *fleettest.Fleet) {
					nodes, spaces := three(t, f)
					ask := func() (answered []string, missing []observe.Missing, lasted time.Duration) {
						began := time.Now()
						m, err := spaces[0].Members(t.Context(), backplane.All())
						assert.Equal(t, len(m.Missing) == 0, err == nil, "%v, missing %v", err, m.Missing)
						return m.Answered, m.Missing, time.Since(began)
					}
					c.fault(nodes[2])
					f.Settle()
					answered, missing, lasted := ask()
					assert.Equal(t, want.lasts, lasted)
					if want.reason == nil {
						assert.Empty(t, missing)
					} else if assert.Len(t, missing, 1) {
						assert.Equal(t, "c", missing[0].Node)
						assert.ErrorIs(t, missing[0].Reason, want.reason)
						assert.Equal(t, []string{"b"}, answered)
					}
					if c.heal == nil {
						return
					}
					c.heal(nodes[2])
					f.Settle()
					answered, missing, lasted = ask()
					assert.Len(t, answered, 2, "healed")
					assert.Empty(t, missing, "healed")
					assert.Zero(t, lasted, "healed")
					time.Sleep(10 * time.Minute)
				})
				assert.LessOrEqual(t, time.Since(real), 20*time.Second, "ten minutes of the fleet")
			})
		}
	}
}

// A fleet with faults still closes without errors.
func TestBrokenFleetIsClosed(t *testing.T) {
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		nodes, _ := three(t, f)
		nodes[0].Freeze()
		nodes[1].Cut()
		nodes[2].Freeze()
		nodes[2].Kill()
	})
}

// Code that makes its own nodes uses a broker of the fleet.
func TestBroker(t *testing.T) {
	for _, uncounted := range []bool{false, true} {
		var called atomic.Bool
		opts := &fleettest.Options{Uncounted: uncounted, Bus: &memorybroker.Options{MaxPayload: 1000}}
		fleettest.Run(t, opts, func(t *testing.T, f *fleettest.Fleet) {
			p := f.Broker("mine")
			if c := p.Capabilities(); p.Name() != "mine" || c.CountsSubscribers == uncounted || c.ListsResponders == uncounted || c.MaxPayload != 1000 {
				t.Errorf("%s: %+v", p.Name(), c)
			}
			_, err := p.Subscribers(t.Context(), broker.Control())
			_, also := p.Responders(t.Context(), broker.Native, "/")
			assert.Equal(t, uncounted, errors.Is(err, errors.ErrUnsupported), "%v, %v", err, also)
			assert.Equal(t, uncounted, errors.Is(also, errors.ErrUnsupported), "%v, %v", err, also)
			mine, err := adapter.New(p, nil)
			require.NoError(t, err)
			t.Cleanup(func() {
				assert.NoError(t, mine.Close(context.Background()))
			})
			theirs := f.Server("theirs", &adapter.Options{Name: "overridden"})
			for _, s := range []*adapter.Server{mine, theirs.Server} {
				_, err := s.Of(t.Context(), "/")
				require.NoError(t, err)
			}
			f.Settle()
			peers := mine.KnownPeers()
			if assert.Len(t, peers, 1) {
				assert.Equal(t, "theirs", adapter.NodeName(peers[0].ID))
				assert.Equal(t, "theirs", theirs.Name())
			}
			p.Kill()
			time.Sleep(4 * time.Second)
			assert.Empty(t, theirs.KnownPeers())
			f.After(time.Second, func() { called.Store(true) })
			f.After(time.Hour, func() { t.Error("called after the end") })
			time.Sleep(time.Second)
			f.Settle()
		})
		assert.True(t, called.Load(), "After did not call")
	}
}

// A node uses the given options, except that the fleet sets its name.
func TestOptionsArePassedOn(t *testing.T) {
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		s := f.Server("s", &adapter.Options{RequestsTimeout: 7 * time.Second})
		assert.Equal(t, 7*time.Second, s.RequestsTimeout())
		var heard atomic.Int32
		n := f.Node("n", &backplane.Options{ID: "overridden", OnError: func(error) { heard.Add(1) }})
		_, err := n.Namespace(t.Context(), "/", nil)
		require.NoError(t, err)
		assert.Equal(t, "n", n.ID())
		n.Cut()
		f.Settle()
		assert.NotZero(t, heard.Load(), "OnError was not called")
	})
}

// member records the payloads that it gets.
type member struct {
	id  string
	got []string
}

func (m *member) ID() string                     { return m.id }
func (m *member) Deliver(msg *backplane.Message) { m.got = append(m.got, string(msg.Payload)) }
func (m *member) Disconnect(bool)                {}

// TestMessagesInAFault: what becomes of the messages of a disturbed node, and of those that are sent to it.
func TestMessagesInAFault(t *testing.T) {
	for _, c := range []struct {
		name        string
		fault, undo func(n *fleettest.Node)
		gets, sends []string // after undo
	}{
		{"Freeze", func(n *fleettest.Node) { n.Freeze() }, func(n *fleettest.Node) { n.Thaw() }, []string{"to"}, []string{"from"}},
		{"Cut", func(n *fleettest.Node) { n.Cut() }, func(n *fleettest.Node) { n.Heal() }, nil, []string{"from"}},
		{"Kill", func(n *fleettest.Node) { n.Kill() }, func(*fleettest.Node) {}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
				nodes, spaces := three(t, f)
				here, there := &member{id: "here"}, &member{id: "there"}
				require.NoError(t, spaces[0].Add(t.Context(), here))
				require.NoError(t, spaces[1].Add(t.Context(), there))
				c.fault(nodes[0])
				began := time.Now()
				err := spaces[0].Broadcast(t.Context(), []byte("from"), backplane.To("there"))
				if c.sends == nil {
					require.ErrorIs(t, err, broker.ErrClosed, "Broadcast of a killed node")
				} else {
					require.NoError(t, err)
				}
				require.NoError(t, spaces[1].Broadcast(t.Context(), []byte("to"), backplane.To("here")))
				assert.Zero(t, time.Since(began), "Broadcast waited")
				f.Settle()
				assert.Empty(t, append(here.got, there.got...), "in the fault")
				c.undo(nodes[0])
				f.Settle()
				assert.Equal(t, c.gets, here.got)
				assert.Equal(t, c.sends, there.got)
			})
		})
	}
}
