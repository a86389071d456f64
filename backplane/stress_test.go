package backplane_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
)

// stressNodes start, open and close namespaces and query, stressSteps times each.
const (
	stressNodes      = 6
	stressNamespaces = 5
	stressSteps      = 60
	stressSeeds      = 4 // of each kind of broker, without CROSSROOM_STRESS
)

// stress is one run: the nodes that have a namespace open, as far as every node can know it.
type stress struct {
	t     *testing.T
	what  string // the run, for reports
	fleet *fleet
	opts  func(i int) *nsOptions

	mu      sync.Mutex
	now     int                         // counts the events
	holders map[string]map[string]*held // namespace -> node ID
	history map[string][]string         // of a namespace and a node
	queries int
}

// held is one node's use of one namespace, by the numbers of events.
type held struct {
	opened  int // after Namespace returned
	closing bool
}

// event notes an event in the history. mu is held.
func (s *stress) event(ns, id, what string) int {
	s.now++
	s.history[ns] = append(s.history[ns], fmt.Sprintf("%d %s %s", s.now, id, what))
	return s.now
}

// TestFleetChangesAtRandom: nodes start and stop, and open, query and close namespaces, at
// random. A query without an error has a response of each node whose call of Namespace
// returned before the query began and whose Close began after the query ended.
//
// Of each kind of broker and each protocol it runs four fixed seeds. CROSSROOM_STRESS=1000 runs
// as many random seeds instead. A seed fixes what the nodes do, not the order in which
// goroutines run.
func TestFleetChangesAtRandom(t *testing.T) {
	var seeds []uint64
	if n, err := strconv.Atoi(os.Getenv("CROSSROOM_STRESS")); err == nil {
		for range n {
			seeds = append(seeds, rand.Uint64())
		}
	} else {
		for i := range uint64(stressSeeds) {
			seeds = append(seeds, i)
		}
	}
	var none atomic.Int32
	none.Store(seesNone)
	kinds := append(slices.Clone(brokerKinds), brokerKinds[1])
	kinds[2].name, kinds[2].wrap = "refused", func(b broker.Broker) broker.Broker { return shortsighted{b, &none} }
	for wire, opts := range map[string]func(int) *nsOptions{
		"native": answering,
		"Socket.IO": func(i int) *nsOptions {
			o := answering(i)
			o.Codec = foreign{backplane.NativeCodec()}
			return o
		},
	} {
		for _, kind := range kinds {
			for _, seed := range seeds {
				bubble(t, func(t *testing.T) {
					s := &stress{
						t: t, what: fmt.Sprintf("%s wire, %s, seed %d", wire, kind.name, seed), opts: opts, fleet: newFleet(t, 0, backplane.Options{}, nil),
						holders: map[string]map[string]*held{}, history: map[string][]string{},
					}
					random := rand.New(rand.NewPCG(seed, 7))
					var nodes sync.WaitGroup
					for i := range stressNodes {
						r := rand.New(rand.NewPCG(random.Uint64(), 1))
						nodes.Go(func() { s.node(i, r, kind.wrap) })
					}
					nodes.Wait()
					assert.GreaterOrEqual(t, s.queries, stressNodes*stressSteps/2, "%s: queries, too few to show anything", s.what)
				})
			}
		}
	}
}

// node runs one node from its start to its Close.
func (s *stress) node(i int, r *rand.Rand, wrap func(broker.Broker) broker.Broker) {
	time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
	b := broker.Broker(s.fleet.bus.Broker())
	defer b.Close(context.Background())
	seen := b
	if wrap != nil {
		seen = wrap(b)
	}
	id := fmt.Sprint("n", i)
	node, err := backplane.New(seen, &backplane.Options{ID: id, RequestsTimeout: time.Second, OnError: func(error) {}})
	if err != nil {
		s.t.Errorf("%s: %v", s.what, err)
		return
	}
	open := map[string]*backplane.Namespace{}
	for range stressSteps {
		name := fmt.Sprint("/", r.IntN(stressNamespaces))
		switch ns := open[name]; {
		case ns == nil:
			ns, err := openNamespace(s.t.Context(), node, name, s.opts(i))
			if err != nil {
				s.t.Errorf("%s: Namespace(%s) of %s: %v", s.what, name, id, err)
				continue
			}
			open[name] = ns
			s.opened(name, id)
		case r.IntN(4) == 0:
			s.closing(name, id)
			assert.NoError(s.t, ns.Close(s.t.Context()), "%s: Close of %s on %s", s.what, name, id)
			delete(open, name)
		}
		if ns := open[name]; ns != nil {
			s.query(node, ns, name, id, r.IntN(len(questions)))
		}
		if r.IntN(3) == 0 {
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		}
	}
	for name := range open {
		s.closing(name, id)
	}
	assert.NoError(s.t, node.Close(context.Background()), "%s: Close of %s", s.what, id)
}

func (s *stress) opened(ns, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holders[ns] == nil {
		s.holders[ns] = map[string]*held{}
	}
	s.holders[ns][id] = &held{opened: s.event(ns, id, "opened")}
}

func (s *stress) closing(ns, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.event(ns, id, "closes")
	s.holders[ns][id].closing = true
}

// query makes one query and checks who responded.
func (s *stress) query(node *backplane.Node, ns *backplane.Namespace, name, id string, which int) {
	q := questions[which]
	s.mu.Lock()
	began := s.event(name, id, q.name+" begins")
	want := map[string]*held{}
	for other, h := range s.holders[name] {
		if other != id && !h.closing {
			want[other] = h
		}
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
	_, fleet, err := q.ask(ctx, ns)
	cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries++
	s.event(name, id, q.name+" ends")
	maps.DeleteFunc(want, func(other string, h *held) bool { return h.closing || slices.Contains(fleet.Answered, other) })
	if err == nil && len(want) > 0 {
		s.t.Errorf("%s: %s of %s in %s, begun at event %d, lacks %v and has no error: %+v\npeers: %+v\nevents: %q",
			s.what, q.name, id, name, began, slices.Sorted(maps.Keys(want)), fleet, node.KnownPeers(), s.history[name])
	}
}
