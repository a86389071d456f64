package backplane_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// largeFleet is a fleet of many nodes whose control frames are counted.
type largeFleet struct {
	*meter
	t       *testing.T
	bus     *memorybroker.Bus
	nodes   []*backplane.Node
	brokers []*memorybroker.Broker
	started time.Time
}

// newLargeFleet starts nodes at random times within a second.
func newLargeFleet(t *testing.T, size int, wrap func(broker.Broker) broker.Broker, opts backplane.Options) *largeFleet {
	t.Helper()
	c := &largeFleet{meter: new(meter), t: t, bus: memorybroker.NewBus(nil), nodes: make([]*backplane.Node, size), brokers: make([]*memorybroker.Broker, size)}
	random := rand.New(rand.NewPCG(uint64(size), 1))
	var all sync.WaitGroup
	for i := range size {
		after := time.Duration(random.Int64N(int64(time.Second)))
		all.Go(func() {
			time.Sleep(after)
			c.start(i, wrap, opts)
		})
	}
	all.Wait()
	t.Cleanup(func() {
		for i, n := range c.nodes {
			memorytest.Thaw(c.brokers[i])
			memorytest.Heal(c.brokers[i])
			if err := n.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if err := c.brokers[i].Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	c.started = time.Now()
	time.Sleep(time.Second)
	settle()
	return c
}

func (c *largeFleet) start(i int, wrap func(broker.Broker) broker.Broker, opts backplane.Options) {
	c.brokers[i] = c.bus.Broker()
	as := broker.Broker(c.brokers[i])
	if wrap != nil {
		as = wrap(as)
	}
	opts.ID, opts.StallTimeout = fmt.Sprintf("n%03d", i), -1
	n, err := backplane.New(&metered{as, c.meter}, &opts)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.nodes[i] = n
	open(c.t, n, chat)
}

// others returns the ids of some nodes without one of them.
func (c *largeFleet) others(nodes []int, me int) []string {
	ids := []string{}
	for _, i := range nodes {
		if i != me {
			ids = append(ids, c.nodes[i].ID())
		}
	}
	slices.Sort(ids)
	return ids
}

// agree reports whether each of some nodes knows the others of them, and no more.
func (c *largeFleet) agree(nodes []int) bool {
	for _, i := range nodes {
		if !slices.Equal(peerIDs(c.nodes[i]), c.others(nodes, i)) {
			return false
		}
	}
	return true
}

// agreed waits until some nodes agree, and returns how long that took.
func (c *largeFleet) agreed(what string, nodes []int, most time.Duration) time.Duration {
	c.t.Helper()
	began := time.Now()
	for {
		settle()
		if c.agree(nodes) {
			return time.Since(began)
		}
		if time.Since(began) > most {
			for _, i := range nodes {
				if got, want := peerIDs(c.nodes[i]), c.others(nodes, i); !slices.Equal(got, want) {
					c.t.Fatalf("%s: %d nodes do not agree after %v: %s knows %d, of %d: %v, not %v", what, len(nodes), most, c.nodes[i].ID(), len(got), len(want), minus(got, want), minus(want, got))
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func (c *largeFleet) all() []int {
	list := make([]int, len(c.nodes))
	for i := range list {
		list[i] = i
	}
	return list
}

// fleetSizes returns the sizes of fleets for a test that counts frames. The race detector slows fleets of more than 64
// nodes down too much: these run without it, as in the stage of .ci/run that has nothing but Go.
//
// With CROSSROOM_SCALE they are those of docs/SCALE.md.
func fleetSizes(sizes ...int) []int {
	if os.Getenv("CROSSROOM_SCALE") != "" {
		return []int{2, 4, 8, 16, 32, 64, 128, 256}
	}
	if raceEnabled {
		return slices.DeleteFunc(sizes, func(n int) bool { return n > 64 })
	}
	return sizes
}

// sent logs what was sent since before, an earlier reading of m.
func (c *largeFleet) sent(what string, took time.Duration, before int64) {
	c.t.Helper()
	n := len(c.nodes)
	beats := int64(took.Seconds() * float64(6*n))
	c.t.Logf("%s of %d nodes: all agree after %v; %d deliveries, of which about %d heartbeats", what, n, took, c.delivered.Load()-before, beats)
}

// Heartbeats take at most 8 N deliveries a second, in every second, for every size of the fleet.
func TestCostOfHeartbeats(t *testing.T) {
	for _, kind := range brokerKinds {
		for _, size := range fleetSizes(2, 5, 6, 16, 64, 256) {
			bubble(t, func(t *testing.T) {
				c := newLargeFleet(t, size, kind.wrap, backplane.Options{})
				c.agreed("start", c.all(), time.Second)
				time.Sleep(5 * time.Second)
				settle()
				seconds, most, sum := 10, int64(0), int64(0)
				for range seconds {
					before := c.delivered.Load()
					time.Sleep(time.Second)
					settle()
					n := c.delivered.Load() - before
					most, sum = max(most, n), sum+n
				}
				mean := float64(sum) / float64(seconds*size)
				t.Logf("%s: %d nodes: heartbeats take %.2f N deliveries a second, %.2f N in the worst", kind.name, size, mean, float64(most)/float64(size))
				if most > int64(8*size) {
					t.Errorf("%s: %d deliveries in a second of %d nodes", kind.name, most, size)
				}
				c.agreed("idle", c.all(), 0)
			})
		}
	}
}

// All nodes know of a crash within PeerTimeout and half a Heartbeat after the last sign of life,
// and not before PeerTimeout if the watchers of the node are live.
func TestDeathsInLargeFleets(t *testing.T) {
	const timeout, heartbeat = 3500 * time.Millisecond, time.Second
	for _, kind := range brokerKinds {
		for _, size := range []int{6, 16, 64} {
			for _, deaths := range []struct {
				name string
				dies func(i int) bool
			}{
				{"one death", func(i int) bool { return i == 3 }},
				{"the death of every second node", func(i int) bool { return i%2 == 0 }},
				{"the death of half of the nodes, side by side", nil},
				{"the death of all but two", func(i int) bool { return i > 1 }},
			} {
				bubble(t, func(t *testing.T) {
					c := newLargeFleet(t, size, kind.wrap, backplane.Options{})
					c.agreed("start", c.all(), time.Second)
					time.Sleep(10 * time.Second)
					dies := deaths.dies
					if dies == nil { // they are neighbours in the ring
						ring := c.all()
						slices.SortFunc(ring, func(a, b int) int { return backplane.CompareInRing(c.nodes[a].ID(), c.nodes[b].ID()) })
						dies = func(i int) bool { return slices.Index(ring, i) < size/2 }
					}
					var living []int
					before, some := c.delivered.Load(), 0
					for i := range c.nodes {
						if dies(i) {
							memorytest.Kill(c.brokers[i])
							some++
						} else {
							living = append(living, i)
						}
					}
					// The last sign of life was at most a heartbeat ago.
					took := c.agreed(deaths.name, living, timeout+heartbeat/2)
					c.sent(kind.name+": "+deaths.name, took, before)
					if least := timeout - heartbeat; took < least {
						t.Errorf("%s: %s was known after %v already", kind.name, deaths.name, took)
					}
					if got, most := c.delivered.Load()-before, int64((8*5+some)*size); got > most {
						t.Errorf("%s: %d deliveries, want %d at most", deaths.name, got, most)
					}
				})
			}
		}
	}
}

// A node that was stopped for less than PeerTimeout is not reported as lost. One that was stopped
// for longer is known to all others again soon.
func TestStoppedNodesOfLargeFleets(t *testing.T) {
	for _, kind := range brokerKinds {
		for _, size := range []int{16, 64} {
			bubble(t, func(t *testing.T) {
				c := newLargeFleet(t, size, kind.wrap, backplane.Options{})
				c.agreed("start", c.all(), time.Second)
				stopped := c.all()[:size/4]
				for _, i := range stopped {
					memorytest.Freeze(c.brokers[i])
				}
				for range 23 {
					time.Sleep(100 * time.Millisecond)
					c.agreed(kind.name+": stopped for a while", c.all(), 0)
				}
				for _, i := range stopped {
					memorytest.Thaw(c.brokers[i])
				}
				for range 50 {
					time.Sleep(100 * time.Millisecond)
					c.agreed(kind.name+": back in time", c.all(), 0)
				}
				for _, i := range stopped {
					memorytest.Freeze(c.brokers[i])
				}
				c.agreed(kind.name+": stopped", c.all()[size/4:], 4*time.Second)
				time.Sleep(10 * time.Second)
				before := c.delivered.Load()
				for _, i := range stopped {
					memorytest.Thaw(c.brokers[i])
				}
				c.sent(kind.name+": the return of stopped nodes", c.agreed(kind.name+": back", c.all(), 2*time.Second), before)
			})
		}
	}
}

// Half of a fleet that is cut off from the broker is reported as lost by the other half. It reports
// no node itself, and all nodes know each other again when the link is restored.
func TestPartitionOfLargeFleets(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			const size = 64
			c := newLargeFleet(t, size, kind.wrap, backplane.Options{OnError: func(error) {}})
			c.agreed("start", c.all(), time.Second)
			time.Sleep(10 * time.Second)
			before := c.delivered.Load()
			for _, b := range c.brokers[:size/2] {
				memorytest.Cut(b, nil)
			}
			c.sent(kind.name+": the loss of half of the links", c.agreed("cut", c.all()[size/2:], 4*time.Second), before)
			time.Sleep(time.Minute)
			settle()
			for _, n := range c.nodes[:size/2] {
				if got := len(n.KnownPeers()); got != size-1 {
					t.Errorf("%s: a node that is cut off has forgotten %d others", kind.name, size-1-got)
				}
			}
			before = c.delivered.Load()
			for _, b := range c.brokers[:size/2] {
				memorytest.Heal(b)
			}
			c.sent(kind.name+": the return of half of the links", c.agreed("healed", c.all(), 3*time.Second), before)
		})
	}
}

// accuse sends accusations in a node's name.
func (w *rawPeer) accuse(by string, since int64, accused ...any) {
	w.t.Helper()
	w.send(broker.Control(), pack([]any{1, accuse, by, since, 1, nil, 0, accused}))
}

// The accused node itself refutes a false accusation.
func TestFalseAccusation(t *testing.T) {
	for _, size := range []int{3, 16} {
		for _, kind := range brokerKinds {
			bubble(t, func(t *testing.T) {
				c := newLargeFleet(t, size, kind.wrap, backplane.Options{})
				c.agreed("start", c.all(), time.Second)
				w := (&fleet{t: t, bus: c.bus}).wire("")
				var accused []any
				for _, id := range c.others(c.all(), 0) {
					accused = append(accused, []any{id, int(since(c.nodes[0], id)), int(time.Hour)})
				}
				before, began := c.delivered.Load(), time.Now()
				for range 200 {
					w.accuse(c.nodes[0].ID(), since(c.nodes[1], c.nodes[0].ID()), accused...)
					time.Sleep(50 * time.Millisecond)
					c.agreed(kind.name+": accused", c.all(), 0)
				}
				got, most := c.delivered.Load()-before, int64(time.Since(began).Seconds()*float64(4*size*size+8*size+20*size+4*3*size))
				t.Logf("%s: %d nodes accused 20 times a second: %d deliveries in %v", kind.name, size, got, time.Since(began))
				if got > most {
					t.Errorf("%s: %d deliveries, want %d at most", kind.name, got, most)
				}
			})
		}
	}
}

// A node whose signs of life reach others, but not its watchers, is not reported as lost.
func TestDeafWatchers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size = 16
		deaf := map[string]bool{}
		var mu sync.Mutex
		c := newLargeFleet(t, size, func(b broker.Broker) broker.Broker {
			return &lossy{b, func(ch broker.Channel, p []byte) bool {
				mu.Lock()
				defer mu.Unlock()
				return ch.Kind() == kindControl && deaf[ch.Name()] && strings.HasPrefix(string(p[3:]), "\xa4n005")
			}}
		}, backplane.Options{})
		c.agreed("start", c.all(), time.Second)
		ring := c.all()
		slices.SortFunc(ring, func(a, b int) int { return backplane.CompareInRing(c.nodes[a].ID(), c.nodes[b].ID()) })
		at := slices.Index(ring, 5)
		mu.Lock()
		for i := 1; i <= 3; i++ {
			deaf[c.nodes[ring[(at+i)%size]].ID()] = true
		}
		mu.Unlock()
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			c.agreed("its own heartbeats do not come", c.all(), 0)
		}
	})
}

// A crashed node is forgotten by all nodes, also by those that missed the accusation.
func TestDeathThatWasMissed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size = 16
		c := newLargeFleet(t, size, nil, backplane.Options{OnError: func(error) {}})
		c.agreed("start", c.all(), time.Second)
		memorytest.Cut(c.brokers[1], nil) // it misses everything
		memorytest.Kill(c.brokers[0])
		time.Sleep(10 * time.Second)
		memorytest.Heal(c.brokers[1])
		c.agreed("after an outage", c.all()[1:], 5*time.Second)
	})
}

// Nodes that start at once, in an empty and in a running fleet.
func TestMassStartAgrees(t *testing.T) {
	for _, kind := range brokerKinds {
		for _, size := range fleetSizes(64, 256) {
			bubble(t, func(t *testing.T) {
				c := newLargeFleet(t, size, kind.wrap, backplane.Options{Heartbeat: time.Hour})
				took := c.agreed("start", c.all(), time.Second)
				n := c.delivered.Load()
				t.Logf("%s: %d nodes within a second: all agree %v after the last; %d deliveries, %.2f N²", kind.name, size, took, n, float64(n)/float64(size*size))
				if n > int64(8*size*size) {
					t.Errorf("%s: %d deliveries", kind.name, n)
				}
			})
		}
	}
}
