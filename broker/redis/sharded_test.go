package redisbroker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestSlotWithoutMaster takes a slot away from all masters. Other rooms go on, messages to the room of that slot wait,
// and a join does not wait for it.
func TestSlotWithoutMaster(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	r := flow(t, c, 20)
	slot := strconv.Itoa(int(r.slots(c.Nodes[0])[0]))
	for _, n := range c.Nodes {
		n.Do("CLUSTER", "DELSLOTS", slot)
	}
	gone := func(ch broker.Channel) bool {
		return fmt.Sprint(c.Nodes[0].Do("CLUSTER", "KEYSLOT", "crossroom#/#"+ch.Name()+"#")) == slot
	}
	lost := slices.DeleteFunc(slices.Clone(r.rooms), func(ch broker.Channel) bool { return !gone(ch) })
	stay := slices.DeleteFunc(slices.Clone(r.rooms), gone)
	eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.down {
			return errors.New("not interrupted")
		}
		return nil
	})
	require.NotNil(t, r.gap)
	for _, f := range r.gap.Filters {
		assert.Contains(t, lost, f.Channel())
	}
	// The first message learns that the slot has no master. The others wait.
	r.publish(lost[0])
	eventually(t, func() error {
		if r.from.Stats().Lost == 0 {
			return errors.New("not refused")
		}
		return nil
	})
	r.publish(lost[0])
	added := broker.Native.Room("/", "added")
	require.NoError(t, r.sub.Add(within(t, patience), broker.Exactly(added)))
	r.rooms = append(stay, added)
	for _, ch := range r.rooms {
		r.publish(ch)
	}
	eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, ch := range r.rooms {
			if r.got[ch] < r.sent[ch] {
				return fmt.Errorf("%v: %d of %d arrived", ch, r.got[ch], r.sent[ch])
			}
		}
		return nil
	})
	c.Nodes[1].Do("CLUSTER", "ADDSLOTS", slot)
	r.rooms = append(stay, lost...)
	r.settle()
	r.mu.Lock()
	assert.Equal(t, len(r.gaps), r.resumed)
	r.mu.Unlock()
	// Each loss is a message that did not arrive. Messages that were published before the list of slots came are lost too.
	missed := uint64(0)
	r.mu.Lock()
	for _, ch := range lost {
		missed += r.missed[ch]
	}
	r.mu.Unlock()
	s := r.from.Stats()
	assert.Positive(t, s.Lost)
	assert.LessOrEqual(t, s.Lost, missed, "%+v", s)
}

// TestShardedWhenDown has a part of the cluster's slots without a master, and then nodes refuse all messages while
// cluster-allow-pubsubshard-when-down is off. Each refusal is a counted loss, and each subscription returns.
func TestShardedWhenDown(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	r := flow(t, c, 9)
	for _, n := range c.Nodes {
		n.Do("CONFIG", "SET", "cluster-require-full-coverage", "yes")
		n.Do("CLUSTER", "DELSLOTS", "0")
	}
	down := func(want string) {
		for _, n := range c.Nodes {
			n.Do("CONFIG", "SET", "cluster-allow-pubsubshard-when-down", want)
		}
	}
	eventually(t, func() error {
		for _, n := range c.Nodes {
			if info, _ := n.Do("CLUSTER", "INFO").(string); !strings.HasPrefix(info, "cluster_state:fail") {
				return errors.New(info)
			}
		}
		return nil
	})
	r.settle() // the default allows it
	assert.Zero(t, r.from.Stats().Lost)
	down("no")
	r.publish(r.rooms[0])
	err := r.from.Flush(within(t, patience))
	var loss *broker.LossError
	require.ErrorAs(t, err, &loss)
	assert.Equal(t, 1, loss.Messages)
	assert.ErrorContains(t, loss, `SPUBLISH: "CLUSTERDOWN`)
	r.mu.Lock()
	r.got[r.rooms[0]] = r.sent[r.rooms[0]] // which is accounted for
	r.mu.Unlock()
	_, err = r.to.Subscribe(within(t, patience), record(t), broker.Exactly(broker.Native.Room("/", "new")))
	var refused *redisbroker.ServerError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "CLUSTERDOWN", refused.Code())
	down("yes")
	r.settle()
}

// TestShardChannelRights has a user that may use some shard channels only.
func TestShardChannelRights(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{"some on >pw resetchannels &crossroom#/#open* -@all +spublish +ssubscribe +sunsubscribe +ping +pubsub"}})
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), Username: "some", Password: "pw"})
	defer client.Close()
	b, err := redisbroker.New(client, shardedQuick())
	require.NoError(t, err)
	closeLater(t, b)
	open, shut := broker.Native.Room("/", "open"), broker.Native.Room("/", "shut")
	got := record(t)
	sub := subscribe(t, b, got, broker.Exactly(open))
	publish(t, b, open, "one")
	got.Want(open, "one")
	var refused *redisbroker.ServerError
	require.ErrorAs(t, sub.Add(within(t, patience), broker.Exactly(shut)), &refused)
	assert.Equal(t, "NOPERM", refused.Code())
	assert.Equal(t, "SSUBSCRIBE", refused.Command)
	publish(t, b, shut, "lost")
	var loss *broker.LossError
	require.ErrorAs(t, b.Flush(within(t, patience)), &loss)
	require.ErrorAs(t, loss, &refused)
	assert.Equal(t, "SPUBLISH", refused.Command)
	publish(t, b, open, "two")
	got.Want(open, "two")
}

// TestShardedIsApart: brokers with and without Options.Sharded do not receive each other's messages.
func TestShardedIsApart(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	plain, shard := open(t, srv.URL(), quick()), open(t, srv.URL(), shardedQuick())
	a, b := record(t), record(t)
	subscribe(t, plain, a, broker.Exactly(room))
	subscribe(t, shard, b, broker.Exactly(room))
	publish(t, plain, room, "plain")
	publish(t, shard, room, "shard")
	a.Want(room, "plain")
	b.Want(room, "shard")
	for _, one := range []*redisbroker.Broker{plain, shard} {
		counts, err := one.Subscribers(within(t, patience), room)
		require.NoError(t, err)
		assert.Equal(t, []int{1}, counts)
	}
	assert.Equal(t, int64(1), srv.Do("PUBSUB", "SHARDNUMSUB", "socket.io#/#room#").([]any)[1])
}

// TestShardedNeedsRedis7 connects to servers that are too old, and to a node of a cluster as if it were a single server.
func TestShardedNeedsRedis7(t *testing.T) {
	t.Parallel()
	for name, hello := range map[string]string{
		"Redis 6.2": "*6\r\n$7\r\nversion\r\n$5\r\n6.2.7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n",
		"Redis 5":   "-ERR unknown command `HELLO`\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			old := oldServer(t, hello)
			b := open(t, "redis://"+old, shardedQuick())
			_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
			var stray *redisbroker.MembershipError
			require.ErrorAs(t, err, &stray)
			assert.Contains(t, stray.Reason, "needs Redis 7.0")
		})
	}
	c := servers.StartRedisCluster(t)
	b := open(t, c.Nodes[0].URL(), shardedQuick())
	_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
	var stray *redisbroker.MembershipError
	require.ErrorAs(t, err, &stray)
	assert.Contains(t, stray.Reason, "ClusterClient")
}

// oldServer replies to AUTH, HELLO, PING and every other command like an old server.
func oldServer(t *testing.T, hello string) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				// HELLO and PING, then an examination: HELLO or PING, and two limits.
				replies := hello + "+PONG\r\n"
				if hello[0] == '-' {
					replies += "+PONG\r\n*0\r\n*0\r\n"
				} else {
					replies += hello + "*0\r\n*0\r\n"
				}
				_, _ = c.Write([]byte(replies))
				_, _ = io.Copy(io.Discard, c) // until the client has read it and closes
			}()
		}
	}()
	return l.Addr().String()
}

// TestBufferLimitOfOneShard: a master whose output buffer is small disconnects a subscriber. Rooms of the other masters
// are not affected.
func TestBufferLimitOfOneShard(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	r := flow(t, c, 12)
	on := r.slots(c.Nodes[0])
	c.Nodes[0].Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 100kb 0 0")
	for _, ch := range r.rooms {
		if slot := c.Nodes[0].Do("CLUSTER", "KEYSLOT", "crossroom#/#"+ch.Name()+"#").(int64); slices.Contains(on, uint16(slot)) {
			r.sent[ch]++
			require.NoError(t, r.from.Publish(within(t, patience), ch, append(binary.BigEndian.AppendUint64(nil, r.sent[ch]), make([]byte, 300<<10)...)))
			break
		}
	}
	eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.resumed == 0 {
			return errors.New("not resumed")
		}
		return nil
	})
	r.settle()
	r.report("one master disconnected a subscriber")
	for ch := range r.affected {
		slot := c.Nodes[0].Do("CLUSTER", "KEYSLOT", "crossroom#/#"+ch.Name()+"#").(int64)
		assert.Contains(t, on, uint16(slot), "%v is on another master", ch)
	}
	assert.Len(t, r.gaps, 1)
}

// TestAdapterRefusesSharded: servers on several links need all broadcasts, and other dialects have other channels.
func TestAdapterRefusesSharded(t *testing.T) {
	t.Parallel()
	sharded, plain := open(t, "redis://127.0.0.1:1", shardedQuick()), open(t, "redis://127.0.0.1:1", nil)
	refused := func(b broker.Broker, o *adapter.Options, name string) {
		t.Helper()
		_, err := adapter.New(b, o)
		var option *backplane.OptionError
		if assert.ErrorAs(t, err, &option) {
			assert.Equal(t, name, option.Option)
		}
	}
	refused(sharded, &adapter.Options{Dialect: adapter.V5}, "Dialect")
	refused(plain, &adapter.Options{Dialect: adapter.ShardedStatic}, "Dialect")
	refused(plain, &adapter.Options{Dialect: adapter.ShardedPrivate + 1}, "Dialect")
	refused(plain, &adapter.Options{Links: []adapter.Link{{Broker: sharded}}}, "Links")
	refused(sharded, &adapter.Options{Links: []adapter.Link{{Broker: plain}}}, "Broker")
	refused(sharded, &adapter.Options{OnBroadcast: func(*adapter.Packet, []string, []string) bool { return true }}, "Broker")
	_, err := adapter.NewEmitter(sharded, &adapter.EmitterOptions{Dialect: adapter.V5})
	var option *backplane.OptionError
	require.ErrorAs(t, err, &option)
	assert.Equal(t, "Dialect", option.Option)
}

// TestNodesOnSharded opens namespaces: all modes are dynamic, and the static one is refused.
func TestNodesOnSharded(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	n, err := backplane.New(open(t, srv.URL(), shardedQuick()), nil)
	require.NoError(t, err)
	defer n.Close(context.Background())
	_, err = n.Namespace(within(t, patience), "/static", &backplane.NamespaceOptions{Subscription: backplane.StaticSubscription})
	var option *backplane.OptionError
	require.ErrorAs(t, err, &option)
	assert.Equal(t, "Subscription", option.Option)
	_, err = n.Namespace(within(t, patience), "/", nil)
	require.NoError(t, err)
	assert.Equal(t, int64(1), srv.Do("PUBSUB", "SHARDNUMSUB", "crossroom#/#").([]any)[1])
	assert.Empty(t, srv.Do("PUBSUB", "CHANNELS"), "classic subscriptions")
	assert.Equal(t, int64(0), srv.Do("PUBSUB", "NUMPAT"))
}

// TestServersOnSharded has two servers of package adapter with keys, on the wire of the sharded adapter.
func TestServersOnSharded(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	keys, err := backplane.NewKeyring([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	var spaces []*adapter.Namespace
	for _, name := range []string{"a", "b"} {
		s, err := adapter.New(open(t, srv.URL(), shardedQuick()), &adapter.Options{
			Name: name, Keys: keys, RequestsTimeout: patience, OnError: func(err error) { assert.NoError(t, err, name) },
		})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, s.Close(context.Background())) })
		ns, err := s.Of(within(t, patience), "/n")
		require.NoError(t, err)
		spaces = append(spaces, ns)
	}
	a, b := spaces[0], spaces[1]
	bob := shardSocket{"bob", make(chan string, 10)}
	require.NoError(t, errors.Join(b.Add(within(t, patience), bob), b.Join(within(t, patience), "bob", "red")))
	require.NoError(t, a.To("red").Emit(within(t, patience), "one", 1))
	require.NoError(t, a.RemoteJoin(within(t, patience), "bob", "blue"))
	require.NoError(t, a.To("blue").Emit(within(t, patience), "two", []byte{1}))
	require.NoError(t, a.To("bob").Emit(within(t, patience), "three"))
	for _, want := range []string{`["one",1]`, "two", `["three"]`} {
		assert.Contains(t, <-bob.got, want)
	}
	rooms, err := a.AllRooms(within(t, patience))
	require.NoError(t, err)
	assert.Equal(t, []string{"blue", "bob", "red"}, rooms.List)
	found, err := a.To("red").FetchSockets(within(t, patience))
	require.NoError(t, err)
	require.Len(t, found.List, 1)
	assert.ElementsMatch(t, []string{"blue", "bob", "red"}, found.List[0].Rooms)
	names, err := a.ClientRooms(within(t, patience), "bob")
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"blue", "bob", "red"}, names)
	_, err = a.ClientRooms(within(t, patience), "nobody")
	require.ErrorIs(t, err, backplane.ErrNoSuchMember)
	require.ErrorIs(t, a.RemoteLeave(within(t, patience), "nobody", "red"), backplane.ErrNoSuchMember)
	n, err := b.ServerCount(within(t, patience))
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	assert.Empty(t, srv.Do("PUBSUB", "CHANNELS"), "classic subscriptions")
}

type shardSocket struct {
	id  string
	got chan string
}

func (s shardSocket) ID() string                { return s.id }
func (s shardSocket) Deliver(p *adapter.Packet) { s.got <- fmt.Sprintf("%s", p.Frames()) }
func (s shardSocket) Disconnect(bool)           {}
