package redisbroker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// traffic is a publisher and a subscriber of rooms on a cluster's sharded pub/sub, and every message between them.
type traffic struct {
	t       *testing.T
	cluster *servers.RedisCluster
	from    *redisbroker.Broker
	to      *redisbroker.Broker
	sub     broker.Subscription
	rooms   []broker.Channel

	mu       sync.Mutex
	sent     map[broker.Channel]uint64
	got      map[broker.Channel]uint64 // last number
	received uint64
	whole    map[broker.Channel]int // ends of interruptions before it
	missed   map[broker.Channel]uint64
	gap      *broker.GapError
	down     bool
	gaps     []error
	resumed  int
	affected map[broker.Channel]bool // by an interruption so far

	lenient     bool   // messages may be lost by the publisher
	unexplained uint64 // missed without an interruption
}

func (r *traffic) Deliver(ch broker.Channel, payload []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := binary.BigEndian.Uint64(payload)
	assert.Greater(r.t, n, r.got[ch], "%v: repeated, or out of order", ch)
	if n > r.got[ch]+1 {
		r.missed[ch] += n - r.got[ch] - 1
		// Filters may join an interruption that has begun with others.
		if r.whole[ch] >= r.resumed {
			r.unexplained += n - r.got[ch] - 1
			assert.True(r.t, r.lenient, "%v: message %d was missed without an interruption", ch, r.got[ch]+1)
		}
	}
	if r.down {
		assert.NotNil(r.t, r.gap, "%v: delivered during an interruption of everything", ch)
		assert.False(r.t, r.gap != nil && slices.Contains(r.gap.Filters, broker.Exactly(ch)), "%v: delivered during its interruption", ch)
	}
	r.got[ch], r.whole[ch] = n, r.resumed
	r.received++
}

func (r *traffic) Interrupted(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps, r.down, r.gap = append(r.gaps, err), true, nil
	if errors.As(err, &r.gap) {
		for _, f := range r.gap.Filters {
			r.affected[f.Channel()] = true
		}
		return
	}
	for _, ch := range r.rooms {
		r.affected[ch] = true
	}
}

func (r *traffic) Resumed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resumed++
	r.down = false
}

func shardedQuick() *redisbroker.Options {
	o := quick()
	o.Sharded = true
	return o
}

func onCluster(t *testing.T, c *servers.RedisCluster, user string) *redisbroker.Broker {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Username: user, Password: user})
	b, err := redisbroker.New(client, shardedQuick())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	closeLater(t, b)
	return b
}

// flow makes traffic on n rooms, and waits until it flows.
func flow(t *testing.T, c *servers.RedisCluster, n int) *traffic {
	t.Helper()
	r := &traffic{
		t: t, cluster: c, from: onCluster(t, c, ""), to: onCluster(t, c, ""),
		sent: map[broker.Channel]uint64{}, got: map[broker.Channel]uint64{}, whole: map[broker.Channel]int{}, missed: map[broker.Channel]uint64{}, affected: map[broker.Channel]bool{},
	}
	var filters []broker.Filter
	for i := range n {
		ch := broker.Native.Room("/", fmt.Sprint("room ", i))
		r.rooms, filters = append(r.rooms, ch), append(filters, broker.Exactly(ch))
	}
	var err error
	r.sub, err = r.to.Subscribe(within(t, patience), r, filters...)
	require.NoError(t, err)
	r.settle()
	return r
}

func (r *traffic) publish(ch broker.Channel) {
	r.mu.Lock()
	r.sent[ch]++
	n := r.sent[ch]
	r.mu.Unlock()
	assert.NoError(r.t, r.from.Publish(within(r.t, patience), ch, binary.BigEndian.AppendUint64(nil, n)))
}

// load publishes to all rooms until stop is called.
func (r *traffic) load() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for _, ch := range r.rooms {
				r.publish(ch)
			}
			select {
			case <-quit:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(quit); <-done })
	r.t.Cleanup(stop) // after a failure
	return stop
}

// settle waits until each room gets its messages, without an interruption.
func (r *traffic) settle() {
	r.t.Helper()
	eventually(r.t, func() error {
		for _, ch := range r.rooms {
			r.publish(ch)
		}
		if err := r.from.Flush(within(r.t, patience)); err != nil {
			return err
		}
		return r.all()
	})
}

// all waits for what was published last.
func (r *traffic) all() error {
	var err error
	for range 40 {
		err = nil
		r.mu.Lock()
		for _, ch := range r.rooms {
			if r.got[ch] < r.sent[ch] {
				err = fmt.Errorf("%v: %d of %d arrived", ch, r.got[ch], r.sent[ch])
			}
		}
		if r.down {
			err = errors.New("interrupted")
		}
		r.mu.Unlock()
		if err == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

// report logs what became of the messages of a step. Every message was delivered, or its room was affected by an
// interruption, or its loss was counted.
func (r *traffic) report(step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sent, missed uint64
	for _, ch := range r.rooms {
		sent, missed = sent+r.sent[ch], missed+r.missed[ch]
	}
	s := r.from.Stats()
	assert.Equal(r.t, len(r.gaps), r.resumed, "interruptions and their ends")
	assert.Equal(r.t, s.Accepted, s.Sent+s.Lost+s.Uncertain, "%+v", s)
	assert.Equal(r.t, sent, r.received+missed, "accounted for")
	assert.LessOrEqual(r.t, s.Lost+s.Uncertain, missed)
	r.t.Logf("%s: sent %d, delivered %d, missed %d in %d of %d rooms with %d interruptions; lost by the publisher %d, uncertain %d",
		step, sent, r.received, missed, len(r.missed), len(r.rooms), len(r.gaps), s.Lost, s.Uncertain)
}

// slots returns the slots of rooms that a master serves.
func (r *traffic) slots(owner *servers.Redis) (slots []uint16) {
	r.t.Helper()
	admin := redis.NewClient(&redis.Options{Addr: owner.Addr()})
	defer admin.Close()
	//lint:ignore SA1019 as in slots.go
	ranges, err := admin.ClusterSlots(context.Background()).Result()
	require.NoError(r.t, err)
	for _, ch := range r.rooms {
		slot, err := admin.ClusterKeySlot(context.Background(), "crossroom#/#"+ch.Name()+"#").Result()
		require.NoError(r.t, err)
		for _, s := range ranges {
			if s.Nodes[0].Addr == owner.Addr() && s.Start <= int(slot) && int(slot) <= s.End && !slices.Contains(slots, uint16(slot)) {
				slots = append(slots, uint16(slot))
			}
		}
	}
	return slots
}

// TestSlotsMove moves slots under load, one by one and by the hundred. The publisher loses nothing.
func TestSlotsMove(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	r := flow(t, c, 300)
	stop := r.load()
	first := r.slots(c.Nodes[0])
	for _, slot := range first[:10] {
		c.MoveSlots(c.Nodes[0], c.Nodes[1], slot)
	}
	c.MoveSlots(c.Nodes[0], c.Nodes[2], first[10:]...)
	stop()
	r.settle()
	r.report("slots moved")
	s := r.from.Stats()
	assert.Zero(t, s.Lost+s.Uncertain, "%+v", s)
	moved := map[uint16]bool{}
	for _, slot := range first {
		moved[slot] = true
	}
	assert.NotEmpty(t, r.gaps)
	for ch := range r.affected {
		slot := c.Nodes[0].Do("CLUSTER", "KEYSLOT", "crossroom#/#"+ch.Name()+"#").(int64)
		assert.True(t, moved[uint16(slot)], "%v was interrupted, and its slot has not moved", ch)
	}
	counts, err := r.from.Subscribers(within(t, patience), r.rooms...)
	require.NoError(t, err)
	assert.Equal(t, 1, slices.Min(counts))
	assert.Equal(t, 1, slices.Max(counts))
}

// TestShardFailover has a replica take a master's place under load: because it is told to, and because the master
// crashes while rooms are joined.
func TestShardFailover(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	replica, next := c.AddNode(t, c.Nodes[0]), c.AddNode(t, c.Nodes[1])
	r := flow(t, c, 60)
	stop := r.load()
	next.Do("CLUSTER", "FAILOVER")
	eventually(t, func() error {
		if role, _ := next.Do("ROLE").([]any); role[0] != "master" {
			return fmt.Errorf("role %v", role[0])
		}
		return nil
	})
	stop()
	r.settle()
	r.report("failover without a crash")

	before := len(r.gaps)
	stop = r.load()
	c.Nodes[0].Kill()
	eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.gaps) == before {
			return errors.New("not interrupted")
		}
		return nil
	})
	// Rooms of the other masters are live at once, and those of the one that is away with the failover.
	var added []broker.Filter
	for i := range 30 {
		added = append(added, broker.Exactly(broker.Native.Room("/", fmt.Sprint("added ", i))))
	}
	require.NoError(t, r.sub.Add(within(t, patience), added...))
	replica.Do("CLUSTER", "FAILOVER", "TAKEOVER")
	stop()
	for _, f := range added {
		r.rooms = append(r.rooms, f.Channel())
	}
	r.settle()
	r.report("failover after a crash")
	var gap *broker.GapError
	require.ErrorAs(t, r.gaps[before], &gap)
	assert.Less(t, len(gap.Filters), 60, "only one of three masters was killed")
}

// TestMasterComesAndGoes adds a master, which takes slots, gives them back and leaves.
func TestMasterComesAndGoes(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	r := flow(t, c, 60)
	stop := r.load()
	added := c.AddNode(t, nil)
	slots := r.slots(c.Nodes[0])
	c.MoveSlots(c.Nodes[0], added, slots...)
	stop()
	r.settle()
	r.report("a master added")
	stop = r.load()
	c.MoveSlots(added, c.Nodes[1], slots...)
	stop()
	r.settle()
	c.WaitWhole(t)
	c.Forget(t, added)
	added.Kill()
	r.settle()
	r.report("a master removed")
	s := r.from.Stats()
	assert.Zero(t, s.Lost+s.Uncertain, "%+v", s)
}
