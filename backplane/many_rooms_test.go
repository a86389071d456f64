package backplane_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// rooming counts the calls that add and remove filters, and keeps how many filters there are.
type rooming struct {
	broker.Broker
	adds, removes, filters atomic.Int64
}

func (r *rooming) Subscribe(ctx context.Context, to broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	sub, err := r.Broker.Subscribe(ctx, to, filters...)
	return &roomingSubscription{sub, r}, err
}

type roomingSubscription struct {
	broker.Subscription
	r *rooming
}

func (s *roomingSubscription) Add(ctx context.Context, filters ...broker.Filter) error {
	s.r.adds.Add(1)
	s.r.filters.Add(int64(len(filters)))
	return s.Subscription.Add(ctx, filters...)
}

func (s *roomingSubscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	s.r.removes.Add(1)
	s.r.filters.Add(-int64(len(filters)))
	return s.Subscription.Remove(ctx, filters...)
}

// live returns the size of live objects in bytes.
func live() int64 {
	runtime.GC()
	runtime.GC() // the second frees what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Many rooms on one node: their subscriptions take few calls, each room little memory, and the
// subscriptions go with the members. docs/SCALE.md has the figures of a million rooms on Redis.
func TestManyRooms(t *testing.T) {
	const members, each = 400, 100
	const rooms = members * (each + 1) // with that of each one's id
	bubble(t, func(t *testing.T) {
		r := &rooming{Broker: memorybroker.New(nil)}
		node, err := backplane.New(r, nil)
		require.NoError(t, err)
		ns, err := node.Namespace(t.Context(), chat, &backplane.NamespaceOptions{Subscription: backplane.DynamicSubscription})
		require.NoError(t, err)
		defer func() {
			assert.NoError(t, node.Close(context.Background()))
			assert.NoError(t, r.Broker.Close(context.Background()))
		}()
		r.filters.Store(0)
		before := live()
		var all sync.WaitGroup
		for i := range members {
			all.Go(func() {
				m := &light{id: fmt.Sprint("m", i)}
				assert.NoError(t, ns.Add(t.Context(), m))
				names := make([]string, each)
				for j := range names {
					names[j] = fmt.Sprintf("room %d of %d", j, i)
				}
				assert.NoError(t, ns.Join(t.Context(), m.id, names...))
			})
		}
		all.Wait()
		settle()
		size := (live() - before) / rooms
		t.Logf("%d rooms: %d calls, %d bytes each", rooms, r.adds.Load(), size)
		assert.EqualValues(t, rooms, r.filters.Load())
		assert.LessOrEqual(t, r.adds.Load(), int64(members), "as the rooms of a call wait together")
		assert.Less(t, size, int64(1500), "with the filters of the memory broker")
		for i := range members {
			require.True(t, ns.Remove(fmt.Sprint("m", i)))
		}
		time.Sleep(time.Minute)
		settle()
		assert.Zero(t, r.filters.Load())
		assert.LessOrEqual(t, r.removes.Load(), int64(64))
		assert.Less(t, (live()-before)/rooms, size*2/3, "of which the maps keep their capacity")
	})
}
