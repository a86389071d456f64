package presence_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/fleettest"
	"github.com/crossroom/crossroom/presence"
)

// lossy is a broker that loses messages of presence in silence while deaf or mute is set.
type lossy struct {
	*fleettest.Broker
	deaf, mute atomic.Bool
}

type lossyReceiver struct {
	broker.Receiver
	b *lossy
}

func (b *lossy) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if b.mute.Load() && ch.Namespace() == "presence" {
		return nil
	}
	return b.Broker.Publish(ctx, ch, payload)
}

func (b *lossy) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	return b.Broker.Subscribe(ctx, lossyReceiver{r, b}, filters...)
}

func (r lossyReceiver) Deliver(ch broker.Channel, payload []byte) {
	if !r.b.deaf.Load() || ch.Namespace() != "presence" {
		r.Receiver.Deliver(ch, payload)
	}
}

// virtual is a node in virtual time.
type virtual struct {
	*presence.Presence
	link *lossy
	core *backplane.Node
}

func virtuals(t *testing.T, f *fleettest.Fleet, n int) []*virtual {
	list := make([]*virtual, n)
	for i := range list {
		list[i] = virtually(t, f, fmt.Sprintf("node-%02d", i))
	}
	time.Sleep(time.Second)
	for _, v := range list {
		require.NoError(t, v.AwaitSync(t.Context()))
	}
	time.Sleep(time.Second) // what newcomers asked each other for has been answered
	return list
}

func virtually(t *testing.T, f *fleettest.Fleet, id string) *virtual {
	link := &lossy{Broker: f.Broker(id)}
	core, err := backplane.New(link, &backplane.Options{ID: id, OnError: func(error) {}})
	require.NoError(t, err)
	p, err := presence.New(t.Context(), core, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Close(context.Background())
		core.Close(context.Background())
	})
	return &virtual{p, link, core}
}

// within reports whether all nodes have so many members, and miss nothing, within a time.
func within(t *testing.T, limit time.Duration, members int, nodes ...*virtual) {
	t.Helper()
	began := time.Now()
	for {
		fleet := 0
		for _, v := range nodes {
			if v.Stats().Members == members && len(v.Room("").Missing) == 0 {
				fleet++
			}
		}
		if fleet == len(nodes) {
			t.Logf("after %v", time.Since(began))
			return
		}
		if time.Since(began) > limit {
			assert.Fail(t, "the nodes do not agree in time", "%d of %d after %v", fleet, len(nodes), limit)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// The times of the package documentation, section "When all nodes agree", in virtual time: with default options, so an
// Interval is 1 s.
func TestWithinTheStatedTime(t *testing.T) {
	const moment = 100 * time.Millisecond // messages on their way
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		nodes := virtuals(t, f, 9)
		join := func(v *virtual, id string) { require.NoError(t, v.Join("lobby", presence.Member{ID: id})) }

		join(nodes[0], "1")
		within(t, moment, 1, nodes...)

		late := virtually(t, f, "late")
		nodes = append(nodes, late)
		within(t, 400*time.Millisecond+moment, 1, nodes...)

		// A change that is lost on its way to all, to one, and to all except one.
		nodes[3].link.mute.Store(true)
		join(nodes[3], "2")
		time.Sleep(moment)
		nodes[3].link.mute.Store(false)
		within(t, 2200*time.Millisecond, 2, nodes...)
		nodes[5].link.deaf.Store(true)
		join(nodes[3], "3")
		time.Sleep(moment)
		nodes[5].link.deaf.Store(false)
		within(t, 2200*time.Millisecond, 3, nodes...)
		for _, v := range nodes[2:] {
			v.link.deaf.Store(true)
		}
		join(nodes[0], "4")
		time.Sleep(moment)
		for _, v := range nodes[2:] {
			v.link.deaf.Store(false)
		}
		within(t, 2200*time.Millisecond, 4, nodes...)

		// Outages that are shorter and longer than the time after which a node is lost.
		members := 4
		for _, length := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second} {
			for what, fault := range map[string][2]func(){
				"cut":    {nodes[4].link.Cut, nodes[4].link.Heal},
				"frozen": {nodes[4].link.Freeze, nodes[4].link.Thaw},
			} {
				fault[0]()
				join(nodes[4], fmt.Sprint("here ", what, length))
				join(nodes[1], fmt.Sprint("elsewhere ", what, length))
				members += 2
				time.Sleep(length)
				fault[1]()
				within(t, 2200*time.Millisecond, members, nodes...)
			}
		}

		join(nodes[6], "5")
		within(t, moment, members+1, nodes...)
		nodes[6].link.Kill()
		within(t, 4200*time.Millisecond+moment, members, slices.Delete(slices.Clone(nodes), 6, 7)...)

		gone := []*virtual{nodes[4], nodes[3]}
		for _, v := range gone {
			go v.Close(context.Background())
		}
		rest := append(slices.Clone(nodes[:3]), nodes[5], nodes[7], nodes[8], late)
		within(t, moment, members-8, rest...) // node 4 had six, and node 3 two
	})
}

// Without changes, each node sends one message in an Interval, to one node. A change is one message to each node.
func TestTrafficIsProportionalToChanges(t *testing.T) {
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		const fleet, intervals, changes = 20, 10, 3
		nodes := virtuals(t, f, fleet)
		total := func() (sent, received int) {
			for _, v := range nodes {
				sent += int(v.Stats().Sent)
				received += int(v.Stats().Received)
			}
			return sent, received
		}
		for members := range 2 { // whatever the number of members
			for i := range members * 2000 {
				require.NoError(t, nodes[i%fleet].Join("lobby", presence.Member{ID: fmt.Sprint(i)}))
			}
			time.Sleep(3333 * time.Millisecond) // no digest is on its way at such a moment
			sent, received := total()
			time.Sleep(intervals * time.Second)
			sent2, received2 := total()
			assert.Equal(t, fleet*intervals, sent2-sent, "sent without changes")
			assert.Equal(t, fleet*intervals, received2-received, "received without changes")
			for i := range changes {
				require.NoError(t, nodes[i].Join("lobby", presence.Member{ID: "x", State: []byte{byte(members)}}))
				time.Sleep(time.Second)
			}
			sent3, received3 := total()
			assert.Equal(t, changes+fleet*changes, sent3-sent2, "sent with a change in a second")
			assert.Equal(t, changes*(fleet-1)+fleet*changes, received3-received2, "received with a change in a second")
		}
	})
}

// Whatever is lost, in whatever order, all nodes have in the end what each has of its own.
func TestChangesAtRandom(t *testing.T) {
	for seed := range uint64(10) {
		fleettest.Run(t, &fleettest.Options{Uncounted: seed%2 == 1}, func(t *testing.T, f *fleettest.Fleet) {
			random := rand.New(rand.NewPCG(seed, 0))
			nodes := virtuals(t, f, 5)
			own := map[string]map[string]string{} // room and id to state, of each node
			for range 400 {
				v := nodes[random.IntN(len(nodes))]
				mine := own[v.core.ID()]
				if mine == nil {
					mine = map[string]string{}
					own[v.core.ID()] = mine
				}
				room, id := fmt.Sprint("room-", random.IntN(3)), fmt.Sprint(random.IntN(20))
				switch random.IntN(12) {
				case 0:
					v.link.deaf.Store(!v.link.deaf.Load())
				case 1:
					v.link.mute.Store(!v.link.mute.Load())
				case 2:
					v.link.Cut()
				case 3, 4:
					v.link.Heal()
					v.link.Thaw()
				case 5:
					v.link.Freeze()
				case 6, 7:
					v.Leave(room, id)
					delete(mine, room+" "+id)
				default:
					state := fmt.Sprint(random.IntN(100))
					require.NoError(t, v.Join(room, presence.Member{ID: id, User: state[:1], State: []byte(state)}))
					mine[room+" "+id] = state
				}
				time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
			}
			for _, v := range nodes {
				v.link.deaf.Store(false)
				v.link.mute.Store(false)
				v.link.Heal()
				v.link.Thaw()
			}
			healed := time.Now()
			for slices.ContainsFunc(nodes, func(v *virtual) bool { return len(v.core.KnownPeers()) < len(nodes)-1 }) {
				time.Sleep(10 * time.Millisecond)
				require.Less(t, time.Since(healed), time.Minute, "seed %d: the nodes do not know each other", seed)
			}
			known := time.Now()
			for slices.ContainsFunc(nodes, func(v *virtual) bool {
				return len(v.Room("").Missing) > 0 || !maps.EqualFunc(own, v.members(), maps.Equal)
			}) {
				time.Sleep(10 * time.Millisecond)
				require.Less(t, time.Since(known), 3*time.Second, "seed %d", seed)
			}
		})
	}
}

// members are all that a node knows: by node, the state by room and id. Nodes without members are not in it.
func (v *virtual) members() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, room := range v.Rooms() {
		for _, m := range v.Room(room).Members {
			if all[m.Node] == nil {
				all[m.Node] = map[string]string{}
			}
			all[m.Node][room+" "+m.ID] = string(m.State)
		}
	}
	return all
}
