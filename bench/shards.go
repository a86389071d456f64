package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/child"
)

const (
	// shardRooms are the rooms of these measurements, spread over the masters by their names.
	shardRooms = 256
	// shardReceivers have all rooms.
	shardReceivers = 8
)

// shardRoom is the name of a room; all have one length.
func shardRoom(i int) string { return fmt.Sprintf("room %03d", i) }

// busiest is the processor time that the busiest master used, for each message published, beyond what it uses without
// messages: the masters exchange messages of their own, and brokers examine them once a second, however many messages
// there are. quiet is the most that a master uses without messages in a second.
const (
	busiest = "CPU ns of the busiest master"
	quiet   = "CPU µs a second of a quiet master"
)

// masterMeter measures the masters of a cluster, between the turns of a contender and in them.
type masterMeter struct {
	*cluster
	since time.Time
	used  []time.Duration
}

// read returns what each master has used since the last call, and how long that was.
func (m *masterMeter) read() (used []time.Duration, took time.Duration) {
	now, before := time.Now(), m.used
	m.used = make([]time.Duration, len(m.masters))
	used = make([]time.Duration, len(m.masters))
	for i, server := range m.masters {
		m.used[i] = processCPU(server.Pid())
		if before != nil {
			used[i] = m.used[i] - before[i]
		}
	}
	took, m.since = now.Sub(m.since), now
	return used, took
}

// sharding measures a Redis Cluster of three masters.
func sharding() measurement {
	return measurement{
		name: "shards",
		what: fmt.Sprintf("a 128-byte message to one of %d rooms on a Redis Cluster of three masters, received by %d subscribers of all rooms", shardRooms, shardReceivers),
		contenders: []contender{
			{"raw SPUBLISH", onShards(rawShards)},
			{"classic", onShards(brokersOnShards(false))},
			{"sharded", onShards(brokersOnShards(true))},
		},
		bars: []bar{
			atMost(1./3, "a message on three shards: CPU of the busiest master, times classic pub/sub's", times(busiest, "sharded", "classic")),
			atMost(1.3, "a message on three shards: CPU of the busiest master, times raw SPUBLISH", times(busiest, "sharded", "raw SPUBLISH")),
		},
	}
}

// shardedAlone measures a single server.
func shardedAlone() measurement {
	return measurement{
		name: "sharded, one server",
		what: "a 128-byte event to one room on a single server, by classic and by sharded pub/sub, to a subscriber of the room",
		contenders: []contender{
			{"classic", flooded(exactly(false))},
			{"sharded", flooded(exactly(true))},
		},
		bars: []bar{
			atMost(1.05, "a message by sharded pub/sub on one server: CPU, times classic", times(cpu, "sharded", "classic")),
		},
	}
}

// exactly is a broker that publishes to a room's channel, and another that is subscribed to it.
func exactly(sharded bool) way {
	return func(ctx context.Context, s *stage, arrived func()) (publish, error) {
		var both [2]broker.Broker
		for i := range both {
			var err error
			if both[i], err = with(ctx, s, func(s *stage) (broker.Broker, error) {
				return redisbroker.Open(s.redis.URL, &redisbroker.Options{Sharded: sharded})
			}); err != nil {
				return nil, err
			}
		}
		channel, payload := broker.Native.Room("/", room), []byte(event)
		_, err := both[1].Subscribe(ctx, brokerSink(arrived), broker.Exactly(channel))
		return func(ctx context.Context) error { return both[0].Publish(ctx, channel, payload) }, err
	}
}

// cluster is a Redis Cluster of three masters.
type cluster struct{ masters []*child.Server }

// startCluster makes one, and stops it with the stage.
func startCluster(ctx context.Context, s *stage) (*cluster, error) {
	const slots, size = 1 << 14, 3
	c := &cluster{}
	var clients []*redis.Client
	for i := range size {
		m, err := child.StartRedisNode(ctx)
		if err != nil {
			return nil, err
		}
		s.later(m.Stop)
		s.count(m.Pid())
		client := redis.NewClient(&redis.Options{Addr: m.Addr})
		s.later(client.Close)
		c.masters, clients = append(c.masters, m), append(clients, client)
		if err := client.ClusterAddSlotsRange(ctx, i*slots/size, (i+1)*slots/size-1).Err(); err != nil {
			return nil, err
		}
		if err := client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return nil, err
		}
	}
	bus, err := clients[0].ConfigGet(ctx, "cluster-port").Result()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(c.masters[0].Addr)
	if err != nil {
		return nil, err
	}
	for _, client := range clients[1:] {
		if err := client.Do(ctx, "CLUSTER", "MEET", host, port, bus["cluster-port"]).Err(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, client := range clients {
		for {
			info, err := client.ClusterInfo(ctx).Result()
			if err != nil {
				return nil, err
			}
			links, err := client.Do(ctx, "CLUSTER", "LINKS").Slice()
			if err != nil {
				return nil, err
			}
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384") && len(links) >= 2*(size-1) {
				break
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return nil, fmt.Errorf("a cluster of three masters: %w: %s", ctx.Err(), info)
			}
		}
	}
	return c, nil
}

// shardsWay is a way on a cluster. write publishes batch messages; arrived is called for the copies that receivers get.
type shardsWay func(ctx context.Context, s *stage, c *cluster, arrived func(n int)) (write func(context.Context) error, batch int64, err error)

// onShards publishes at full speed, and counts a message as arrived when as many copies have come as it has receivers.
func onShards(w shardsWay) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		c, err := startCluster(ctx, s)
		if err != nil {
			return nil, err
		}
		f := newFlow()
		var copies atomic.Int64
		write, batch, err := w(ctx, s, c, func(n int) {
			now := copies.Add(int64(n))
			if whole := now/shardReceivers - (now-int64(n))/shardReceivers; whole > 0 {
				f.arrived(whole)
			}
		})
		meter := &masterMeter{cluster: c}
		meter.read()
		return func(ctx context.Context) (int64, figures, error) {
			select {
			case <-time.After(time.Until(meter.since.Add(time.Second))): // in the first round; later others have had their turns
			case <-ctx.Done():
			}
			idle, waited := meter.read()
			n, _, err := f.write(ctx, s.length, batch, func() error { return write(ctx) })
			used, took := meter.read()
			if err != nil || n == 0 {
				return n, nil, errors.Join(err, ctx.Err())
			}
			most, without := 0.0, 0.0
			for i := range used {
				rate := float64(idle[i]) / float64(waited)
				most = max(most, float64(used[i])-rate*float64(took))
				without = max(without, rate)
			}
			return n, figures{{busiest, most / float64(n)}, {quiet, 1e6 * without}}, nil
		}, err
	}
}

// brokersOnShards has one broker that publishes, and others that are subscribed to every room.
func brokersOnShards(sharded bool) shardsWay {
	return func(ctx context.Context, s *stage, c *cluster, arrived func(int)) (func(context.Context) error, int64, error) {
		var hosts []string
		for _, m := range c.masters {
			hosts = append(hosts, m.Addr)
		}
		open := func(*stage) (broker.Broker, error) {
			return redisbroker.Open("redis+cluster://"+strings.Join(hosts, ","), &redisbroker.Options{Sharded: sharded})
		}
		var channels []broker.Channel
		var filters []broker.Filter
		for i := range shardRooms {
			channels = append(channels, broker.Native.Room("/", shardRoom(i)))
			filters = append(filters, broker.Exactly(channels[i]))
		}
		for range shardReceivers {
			b, err := with(ctx, s, open)
			if err != nil {
				return nil, 0, err
			}
			if _, err := b.Subscribe(ctx, brokerSink(func() { arrived(1) }), filters...); err != nil {
				return nil, 0, err
			}
		}
		b, err := with(ctx, s, open)
		payload := []byte(event)
		return func(ctx context.Context) error {
			for _, ch := range channels {
				if err := b.Publish(ctx, ch, payload); err != nil {
					return err
				}
			}
			return nil
		}, shardRooms, err
	}
}

// rawShards is the limit of Redis: many SPUBLISH commands to the same channels, written at a time to a plain connection of
// each master, and readers that only count bytes.
func rawShards(ctx context.Context, s *stage, c *cluster, arrived func(int)) (func(context.Context) error, int64, error) {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.masters[0].Addr}})
	s.later(client.Close)
	names := make(map[string][]string) // by master
	for i := range shardRooms {
		name := "crossroom#/#" + shardRoom(i) + "#" // the channels of the others
		m, err := client.MasterForKey(ctx, name)
		if err != nil {
			return nil, 0, err
		}
		names[m.Options().Addr] = append(names[m.Options().Addr], name)
	}
	var publishers []net.Conn
	var commands [][]byte
	for addr, list := range names {
		for range shardReceivers {
			if err := rawShardReceiver(s, addr, list, arrived); err != nil {
				return nil, 0, err
			}
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, 0, err
		}
		s.later(conn.Close)
		go func() { _, _ = io.Copy(io.Discard, conn) }() // the replies; ends when conn is closed
		var batch strings.Builder
		for _, name := range list {
			fmt.Fprintf(&batch, "*3\r\n$8\r\nSPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(name), name, len(event), event)
		}
		publishers, commands = append(publishers, conn), append(commands, []byte(batch.String()))
	}
	return func(context.Context) error {
		for i, conn := range publishers {
			if _, err := conn.Write(commands[i]); err != nil {
				return err
			}
		}
		return nil
	}, shardRooms, nil
}

// rawShardReceiver subscribes to names of one length.
func rawShardReceiver(s *stage, addr string, names []string, arrived func(int)) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	s.later(conn.Close)
	r := bufio.NewReaderSize(conn, 64<<10)
	for _, name := range names {
		if _, err := fmt.Fprintf(conn, "*2\r\n$10\r\nSSUBSCRIBE\r\n$%d\r\n%s\r\n", len(name), name); err != nil {
			return err
		}
		for range 6 { // *3, $10, ssubscribe, $n, the name, :i
			if _, err := r.ReadSlice('\n'); err != nil {
				return err
			}
		}
	}
	message := len(fmt.Sprintf("*3\r\n$8\r\nsmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(names[0]), names[0], len(event), event))
	go func() { // ends when conn is closed
		buf, rest := make([]byte, 64<<10), 0
		for {
			n, err := r.Read(buf)
			if err != nil {
				return
			}
			rest += n
			arrived(rest / message)
			rest %= message
		}
	}()
	return nil
}
