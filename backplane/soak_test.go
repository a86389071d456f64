package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

// orderly is a member that counts the messages of every sender to all members, in order.
type orderly struct {
	null
	mu   sync.Mutex
	last map[string]int
	bad  int
}

func (o *orderly) Deliver(m *backplane.Message) {
	var from string
	var n int
	if c, _ := fmt.Sscanf(string(m.Payload), "%s %d", &from, &n); c != 2 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if n != o.last[from]+1 {
		o.bad++
	}
	o.last[from] = n
}

func (o *orderly) DeliverAck(m *backplane.Message, ack func([]byte)) { ack(m.Payload) }

// All operations at the same time, on every node. Afterwards each sender's messages have reached
// all members, each once, in order, and all members are in their rooms.
func TestEverythingAtOnce(t *testing.T) {
	const nodes, workers, rounds = 4, 3, 80
	var obs counter
	f := newFleet(t, nodes, backplane.Options{RequestsTimeout: 20 * time.Second, Observers: []observe.Observer{&obs}}, answering)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var steady []*orderly
	for i := range nodes {
		o := &orderly{null: newNull(fmt.Sprint("steady", i)), last: map[string]int{}}
		f.join(i, o, "steady")
		steady = append(steady, o)
	}
	// The members that a worker owns, with their rooms. Only the worker changes them.
	type owned map[string]map[string]bool
	models := make([]owned, nodes*workers)
	var sent atomic.Int64
	var wg sync.WaitGroup
	for w := range nodes * workers {
		models[w] = owned{}
		wg.Go(func() {
			home := w % nodes
			ns, model := f.ns[home], models[w]
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			check := func(what string, err error) {
				// The node that starts and stops may be missing, by name or without.
				if p, ok := errors.AsType[*backplane.PartialError](err); ok && !slices.ContainsFunc(p.Coverage.Missing, func(m observe.Missing) bool {
					return !errors.Is(m.Reason, backplane.ErrPeerLost) || slices.Contains(f.ids(0, 1, 2, 3), m.Node)
				}) {
					return
				}
				assert.NoError(t, err, "worker %d, %s", w, what)
			}
			for round := range rounds {
				if ctx.Err() != nil {
					t.Error("too slow")
					return
				}
				id := fmt.Sprintf("w%d-%d", w, rnd.IntN(8))
				room := fmt.Sprintf("w%d-room%d", w, rnd.IntN(30))
				some := backplane.To("steady").Except(id)
				switch op := rnd.IntN(14); op {
				case 0, 1: // a goroutine of another node does it as often as one of its own
					if model[id] == nil {
						check("Add", ns.Add(ctx, newNull(id)))
						model[id] = map[string]bool{id: true}
					}
					far := f.ns[rnd.IntN(nodes)]
					check("Join", far.Join(ctx, id, room))
					model[id][room] = true
				case 2:
					if model[id] != nil {
						check("Leave", f.ns[rnd.IntN(nodes)].Leave(ctx, id, room))
						delete(model[id], room)
					} else if err := ns.Leave(ctx, id, room); !errors.Is(err, backplane.ErrNoSuchMember) {
						check("Leave of an unknown member", err)
					}
				case 3:
					assert.Equal(t, model[id] != nil, ns.Remove(id), "worker %d: Remove", w)
					delete(model, id)
				case 4:
					m, err := ns.MembersDetail(ctx, backplane.To(room))
					check("MembersDetail", err)
					for _, i := range m.List {
						assert.True(t, model[i.ID][room], "worker %d: %s is in %s", w, i.ID, room)
					}
				case 5:
					acks, err := ns.BroadcastAck(ctx, []byte("ack"), backplane.To("steady"), 0)
					check("BroadcastAck", err)
					assert.Len(t, acks.Values, nodes, "worker %d: acknowledgements", w)
				case 6:
					_, err := ns.AllRooms(ctx)
					check("AllRooms", err)
				case 7:
					r, err := ns.Request(ctx, []byte("x"))
					check("Request", err)
					// And perhaps one of the node that starts and stops.
					r.List = slices.DeleteFunc(r.List, func(r backplane.Reply) bool { return !slices.Contains(f.ids(0, 1, 2, 3), r.Node) })
					assert.Len(t, r.List, nodes-1, "worker %d: replies", w)
				case 8:
					_, err := ns.JoinAll(ctx, some, "crowd")
					check("JoinAll", err)
				case 9:
					_, err := ns.LeaveAll(ctx, some, "crowd")
					check("LeaveAll", err)
				case 10:
					check("Broadcast", ns.Broadcast(ctx, []byte("noise"), backplane.To("crowd", room).Except("steady")))
				case 11:
					check("Event", ns.Event(ctx, nil))
					if model[id] != nil {
						check("Disconnect", f.ns[rnd.IntN(nodes)].Disconnect(ctx, id, false))
					}
				default:
				}
				check("Broadcast", ns.Broadcast(ctx, fmt.Appendf(nil, "w%d %d", w, round+1), backplane.All()))
				sent.Add(1)
			}
		})
	}
	stop := make(chan struct{})
	var looks sync.WaitGroup
	looks.Go(func() { // readers of everything else, and a node that starts and stops
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b := f.bus.Broker()
			n, err := backplane.New(b, nil)
			if err != nil {
				t.Error(err)
				return
			}
			_, err = n.Namespace(ctx, chat, nil)
			assert.NoError(t, err)
			for _, n := range f.nodes {
				n.KnownPeers()
				n.Stats()
				n.Namespaces()
			}
			assert.NoError(t, n.Close(ctx))
			b.Close(ctx)
			time.Sleep(time.Millisecond) // so that it is not connected all the time
		}
	})
	wg.Wait()
	close(stop)
	looks.Wait()

	// A request arrives after every broadcast sent before it.
	for i, ns := range f.ns {
		_, err := ns.LeaveAll(ctx, backplane.To("unknown"), "nowhere")
		assert.NoError(t, err, "node %d", i)
	}
	for i, o := range steady {
		o.mu.Lock()
		total := 0
		for _, n := range o.last {
			total += n
		}
		assert.Equal(t, sent.Load(), int64(total), "node %d", i)
		assert.LessOrEqual(t, o.bad, 0, "node %d", i)
		o.mu.Unlock()
	}
	for w, model := range models {
		rooms := f.ns[w%nodes]
		for id, want := range model {
			got, ok := rooms.LocalRoomsOf(id)
			got = slices.DeleteFunc(got, func(r string) bool { return r == "crowd" })
			require.True(t, ok, "worker %d: rooms of %s", w, id)
			require.Len(t, got, len(want), "worker %d: rooms of %s", w, id)
			assert.False(t, slices.ContainsFunc(got, func(r string) bool { return !want[r] }), "worker %d: rooms of %s", w, id)
		}
	}
	members := 0
	for _, m := range models {
		members += len(m)
	}
	m, err := f.ns[0].Members(ctx, backplane.All())
	require.NoError(t, err)
	assert.Len(t, m.List, members+nodes, "members in the fleet")
	for i, n := range f.nodes {
		st := n.Stats()
		assert.LessOrEqual(t, st.Panics+st.Stalls+st.Undecodable+st.Refused, uint64(0), "node %d: %+v", i, st)
	}
}
