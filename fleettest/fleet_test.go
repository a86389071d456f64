package fleettest_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/fleettest"
)

// three nodes of package backplane in one namespace.
func three(t *testing.T, f *fleettest.Fleet) (nodes [3]*fleettest.Node, spaces [3]*backplane.Namespace) {
	t.Helper()
	for i, id := range []string{"a", "b", "c"} {
		nodes[i] = f.Node(id, nil)
		var err error
		if spaces[i], err = nodes[i].Namespace(t.Context(), "/", nil); err != nil {
			t.Fatal(err)
		}
	}
	f.Settle()
	return nodes, spaces
}

// What each fault does to a question, and how long that takes on the fleet's clock.
func TestFaults(t *testing.T) {
	type want struct {
		reason error
		lasts  time.Duration
	}
	for _, c := range []struct {
		name             string
		fault            func(n *fleettest.Node)
		counted, without want
		heal             func(n *fleettest.Node) // nil: it stays missing
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
					ask := func() (answered []string, missing []backplane.Missing, lasted time.Duration) {
						began := time.Now()
						m, err := spaces[0].Members(t.Context(), backplane.All())
						if (err == nil) != (len(m.Missing) == 0) {
							t.Errorf("%v, missing %v", err, m.Missing)
						}
						return m.Answered, m.Missing, time.Since(began)
					}
					c.fault(nodes[2])
					f.Settle()
					answered, missing, lasted := ask()
					switch {
					case lasted != want.lasts:
						t.Errorf("took %v", lasted)
					case want.reason == nil && len(missing) != 0:
						t.Errorf("missing %v", missing)
					case want.reason != nil && (len(missing) != 1 || missing[0].Node != "c" || !errors.Is(missing[0].Reason, want.reason)):
						t.Errorf("missing %v", missing)
					case want.reason != nil && !slices.Equal(answered, []string{"b"}):
						t.Errorf("answered %v", answered)
					}
					if c.heal == nil {
						return
					}
					c.heal(nodes[2])
					f.Settle()
					if answered, missing, lasted = ask(); len(answered) != 2 || len(missing) != 0 || lasted != 0 {
						t.Errorf("healed: %v, missing %v after %v", answered, missing, lasted)
					}
					time.Sleep(10 * time.Minute)
				})
				if d := time.Since(real); d > 20*time.Second {
					t.Errorf("ten minutes of the fleet took %v", d)
				}
			})
		}
	}
}

// A broken fleet is closed all the same.
func TestBrokenFleetIsClosed(t *testing.T) {
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		nodes, _ := three(t, f)
		nodes[0].Freeze()
		nodes[1].Cut()
		nodes[2].Freeze()
		nodes[2].Kill()
	})
}

// Code that makes its own nodes gets a broker.
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
			if _, also := p.Responders(t.Context(), broker.Native, "/"); errors.Is(err, errors.ErrUnsupported) != uncounted || errors.Is(also, errors.ErrUnsupported) != uncounted {
				t.Errorf("%v, %v", err, also)
			}
			mine, err := adapter.New(p, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := mine.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
			theirs := f.Server("theirs", &adapter.Options{Name: "overridden"})
			for _, s := range []*adapter.Server{mine, theirs.Server} {
				if _, err := s.Of(t.Context(), "/"); err != nil {
					t.Fatal(err)
				}
			}
			f.Settle()
			if peers := mine.KnownPeers(); len(peers) != 1 || adapter.NodeName(peers[0].ID) != "theirs" || theirs.Name() != "theirs" {
				t.Errorf("%v", peers)
			}
			p.Kill()
			time.Sleep(4 * time.Second)
			if peers := theirs.KnownPeers(); len(peers) != 0 {
				t.Errorf("%v", peers)
			}
			f.After(time.Second, func() { called.Store(true) })
			f.After(time.Hour, func() { t.Error("called after the end") })
			time.Sleep(time.Second)
			f.Settle()
		})
		if !called.Load() {
			t.Error("After did not call")
		}
	}
}

// A node gets the options that it was given, but the fleet says its name.
func TestOptionsArePassedOn(t *testing.T) {
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		s := f.Server("s", &adapter.Options{RequestsTimeout: 7 * time.Second})
		if s.RequestsTimeout() != 7*time.Second {
			t.Error(s.RequestsTimeout())
		}
		var heard atomic.Int32
		n := f.Node("n", &backplane.Options{ID: "overridden", OnError: func(error) { heard.Add(1) }})
		if _, err := n.Namespace(t.Context(), "/", nil); err != nil || n.ID() != "n" {
			t.Errorf("%s, %v", n.ID(), err)
		}
		n.Cut()
		f.Settle()
		if heard.Load() == 0 {
			t.Error("OnError was not called")
		}
	})
}
