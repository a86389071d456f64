package main

import (
	"context"

	"github.com/crossroom/crossroom/backplane"
)

// table lists all measurements. A new measurement is a new row; a new peer is a contender in a row. The name of a
// contender has a meaning only within its row: crossroom is always Crossroom with all its layers.
var table = []measurement{
	{
		name:   "throughput",
		what:   "a 128-byte event to one room, published by 64 goroutines at full speed and received by another node",
		speeds: true,
		contenders: []contender{
			{"raw", raw},
			{"go-redis", flooded(goredis)},
			{"rueidis", flooded(rueidisClients)},
			{"centrifuge", flooded(centrifugeBroker)},
			{"broker", flooded(brokerOnRedis)},
			{"emitter", flooded(emitter)},
			{"crossroom", flooded(crossroomOn(onRedis))},
		},
		bars: []bar{
			atMost(2.2, "a message over Redis: CPU, times the raw way", times(cpu, "crossroom", "raw")),
			atMost(1./3, "a message over Redis: CPU, times centrifuge", times(cpu, "crossroom", "centrifuge")),
		},
	},
	{
		name: "node",
		what: "the same beside Node.js servers",
		kept: true,
		contenders: []contender{
			{"node", nodeServers(withClientPackets)},
			{"node, adapter alone", nodeServers(withoutClientPackets)},
			{"crossroom", flooded(crossroomOn(onRedis))},
		},
		bars: []bar{
			atMost(0.2, "a message over Redis: CPU, times @socket.io/redis-adapter", times(cpu, "crossroom", "node")),
		},
	},
	{
		name: "pace",
		what: "a 128-byte event at 2,000 a second, and how long it takes from just before publishing to the receiver's call",
		contenders: []contender{
			{"pacing alone", paced(nothing)},
			{"go-redis", paced(goredis)},
			{"rueidis", paced(rueidisClients)},
			{"broker", paced(brokerOnRedis)},
			{"emitter", paced(emitter)},
			{"crossroom", paced(crossroomOn(onRedis))},
		},
		bars: []bar{
			atMost(1.5, "a message over Redis at 2,000 a second: CPU, times go-redis", timesBeyond("pacing alone", cpu, "crossroom", "go-redis")),
		},
	},
	fanOut(),
	{
		name: "memberships",
		what: "100,000 sockets in ten rooms each, of 10,000 rooms: the bytes for one of a million memberships, the sockets' own entries included",
		once: true,
		contenders: []contender{
			{"two maps of sets", membershipBytes(twoMaps)},
			{"crossroom", membershipBytes(crossroomRegistry)},
		},
		bars: []bar{
			atMost(0.5, "a membership: bytes, times two maps of sets", times(membershipSize, "crossroom", "two maps of sets")),
		},
	},
	{
		name: "unwanted",
		what: "a message for a room that has no socket here",
		contenders: []contender{
			{"go-redis", unwantedThrough(goredisUnwanted)},
			{"crossroom", unwantedThrough(crossroomUnwanted)},
		},
		bars: []bar{
			atMost(1, "an unwanted message: CPU, times go-redis", times(cpu, "crossroom", "go-redis")),
			// One in 1,024 messages is a marker, which is delivered.
			atMost(0.05, "an unwanted message: allocations beyond go-redis'", more(allocs, "crossroom", "go-redis")),
		},
	},
	{
		name: "unwanted, after the broker",
		what: "the same in the core and the adapter alone, and a message for a room that has one socket here",
		kept: true,
		contenders: []contender{
			{"wanted", received(room)},
			{"unwanted", received("elsewhere")},
		},
		bars: []bar{
			atMost(1./3, "an unwanted message, after the broker: CPU, times a wanted one", times(cpu, "unwanted", "wanted")),
			atMost(0.05, "an unwanted message, after the broker: allocations, times a wanted one", times(allocs, "unwanted", "wanted")),
		},
	},
	{
		name: "no interest",
		what: "50,000 messages a second for a room that has no socket here: without a node, and with one in each subscription mode",
		contenders: []contender{
			{"no node", toNodes(backplane.StaticSubscription, 0, 0, 50_000)},
			{"static", toNodes(backplane.StaticSubscription, 1, 0, 50_000)},
			{"dynamic", toNodes(backplane.DynamicSubscription, 1, 0, 50_000)},
		},
		bars: []bar{
			atMost(0, "a node without interest: messages received", more(unwanted, "dynamic", "no node")),
			// Its heartbeats are in it, and the noise of three figures.
			atMost(0.3, "a node without interest: CPU beyond none, times the static mode's", timesBeyond("no node", cpu, "dynamic", "static")),
		},
	},
	{
		name: "room of k nodes",
		what: "5,000 messages a second to one room that some nodes have a socket in",
		contenders: []contender{
			{"no node", toNodes(backplane.StaticSubscription, 0, 0, 5_000)},
			{"1 of 2, dynamic", toNodes(backplane.DynamicSubscription, 2, 1, 5_000)},
			{"1 of 16, dynamic", toNodes(backplane.DynamicSubscription, 16, 1, 5_000)},
			{"8 of 16, dynamic", toNodes(backplane.DynamicSubscription, 16, 8, 5_000)},
			{"1 of 16, static", toNodes(backplane.StaticSubscription, 16, 1, 5_000)},
		},
		bars: []bar{
			// The nodes' heartbeats are in it too.
			atMost(2, "a message to a room of 1 of 16 nodes: CPU beyond none, times 1 of 2", timesBeyond("no node", cpu, "1 of 16, dynamic", "1 of 2, dynamic")),
			atMost(0.5, "a message to a room of 1 of 16 nodes: CPU beyond none, times the static mode's", timesBeyond("no node", cpu, "1 of 16, dynamic", "1 of 16, static")),
		},
	},
	{
		name: "wanted in both modes",
		what: "the event of the first row, between nodes in static and in dynamic mode",
		contenders: []contender{
			{"static", flooded(inMode(backplane.StaticSubscription))},
			{"dynamic", flooded(inMode(backplane.DynamicSubscription))},
		},
		bars: []bar{
			atMost(1.05, "a wanted message in dynamic mode: CPU, times the static mode's", times(cpu, "dynamic", "static")),
		},
	},
	{
		name: "join",
		what: "a room that is new on the node, one after another, beside a bare SUBSCRIBE",
		contenders: []contender{
			{"SUBSCRIBE", subscribes},
			{"static", joins(backplane.StaticSubscription)},
			{"dynamic", joins(backplane.DynamicSubscription)},
		},
		bars: []bar{
			atMost(3, "a Join into a new room: CPU, times a bare SUBSCRIBE", times(cpu, "dynamic", "SUBSCRIBE")),
		},
	},
	{
		name: "presence",
		what: "a change of one member of a room, one after another, until another node's Watch loop has it, beside a 64-byte broadcast to another node's member",
		contenders: []contender{
			{"broadcast", broadcasts},
			{"10 members", changes(10)},
			{"10,000 members", changes(10_000)},
		},
		bars: []bar{
			atMost(2, "a change of presence: CPU, times a broadcast", times(cpu, "10 members", "broadcast")),
			atMost(1.2, "a change in a room of 10,000: CPU, times a room of 10", times(cpu, "10,000 members", "10 members")),
		},
	},
	observedBroadcast.measurement(),
	observedJoin.measurement(),
	{
		name: "request",
		what: "all rooms of four nodes, beside a message to three clients and one back from each; one after another",
		kept: true,
		contenders: []contender{
			{"go-redis", goredisExchange(3)},
			{"go-redis, one client", goredisExchange(1)},
			{"crossroom", crossroomRequest},
		},
		bars: []bar{
			atMost(2.5, "all rooms of four nodes: CPU, times a bare exchange", times(cpu, "crossroom", "go-redis")),
		},
	},
	{
		name: "count",
		what: "how many sockets a room has on four nodes, with 1,000 sockets on each: by their list, and by number; one after another",
		kept: true,
		contenders: []contender{
			{"list", crossroomCount("listed", listed)},
			{"count", crossroomCount("counted", counted)},
		},
		bars: []bar{
			atMost(0.2, "a count of 4,000 sockets on four nodes: CPU, times their list", times(cpu, "count", "list")),
		},
	},
	{
		name: "bridge",
		what: "a 128-byte event at full speed to a node on the same prefix (direct), or on another one over a bridge of one or two Go nodes",
		contenders: []contender{
			{"direct", flooded(crossroomOn(onRedis))},
			{"bridged", flooded(bridgedBy(1))},
			{"bridged, and followed", flooded(bridgedBy(2))},
		},
		bars: []bar{
			atMost(4, "a message over a bridge: CPU, times direct", times(cpu, "bridged", "direct")),
			atMost(6, "a message over a bridge with a follower: CPU, times direct", times(cpu, "bridged, and followed", "direct")),
		},
	},
	{
		name:   "nats",
		what:   "a 128-byte event to one room over NATS, published by 64 goroutines at full speed and received by another node",
		speeds: true,
		contenders: []contender{
			{"nats.go", flooded(bareNATS)},
			{"broker", flooded(brokerOnNATS)},
			{"crossroom", flooded(crossroomOn(onNATS))},
		},
		bars: []bar{
			atLeast(0.75, "a message over NATS: bare nats.go's CPU, times Crossroom's", times(cpu, "nats.go", "crossroom")),
		},
	},
	{
		name: "nats pace",
		what: "the same at 2,000 a second, and how long it takes",
		contenders: []contender{
			{"pacing alone", paced(nothing)},
			{"nats.go", paced(bareNATS)},
			{"broker", paced(brokerOnNATS)},
			{"crossroom", paced(crossroomOn(onNATS))},
		},
		bars: []bar{
			atMost(1.5, "a message over NATS at 2,000 a second: CPU, times bare nats.go", timesBeyond("pacing alone", cpu, "crossroom", "nats.go")),
		},
	},
	{
		name: "nats request",
		what: "which members 8 other nodes have, beside a message that 8 connections respond to; one after another",
		kept: true,
		contenders: []contender{
			{"nats.go", bareScatterGather},
			{"crossroom", natsMembers(responding)},
		},
		bars: []bar{
			atMost(2.5, "members of 8 nodes on NATS: CPU, times a bare scatter-gather", times(cpu, "crossroom", "nats.go")),
		},
	},
	{
		name: "nats growth",
		what: "the same request to 2 to 32 other nodes; the slope of the straight line through the figures, and how straight it is (R²)",
		once: true,
		contenders: []contender{
			{"crossroom", natsGrowth},
		},
	},
	sharding(),
	shardedAlone(),
	signing(),
	signingOverRedis(),
	tracing("tracing, emit in a request", "one broadcast out, in a request whose trace is not sampled",
		emitting(untraced, inRequest), emitting(traced(unsampled), inRequest), spanSent(unsampled, inRequest)),
	tracing("tracing, emit", "one broadcast out that begins a trace, not sampled",
		emitting(untraced, alone), emitting(traced(unsampled), alone), spanSent(unsampled, alone)),
	tracing("tracing, receive", "one broadcast in, of a trace that is not sampled",
		receiving(untraced), receiving(traced(unsampled)), spanReceived(unsampled)),
	// Without bars: the observer's spans say much of a message, and the bare ones nothing.
	tracing("tracing, emit, recorded", "one broadcast out whose span is recorded in memory",
		emitting(untraced, inRequest), emitting(traced(recorded), inRequest), spanSent(recorded, inRequest)).withoutBars(),
	tracing("tracing, receive, recorded", "one broadcast in whose span is recorded in memory",
		receiving(untraced), receiving(traced(recorded)), spanReceived(recorded)).withoutBars(),
}

// fanOut has contenders that call the same sockets.
func fanOut() measurement {
	h := newHall()
	return measurement{
		name: "fan-out",
		what: "one of 100,000 local sockets of a room that gets a broadcast, of the node itself and of another one, beside a loop over one record for each of the same sockets in the same order",
		kept: true,
		contenders: []contender{
			{"loop", h.loop},
			{"loop without records", h.direct},
			{"own", h.own},
			{"remote", h.remote},
		},
		bars: []bar{
			atMost(1.5, "own broadcast to 100,000 sockets: CPU, times a bare loop", times(cpu, "own", "loop")),
			atMost(1.5, "remote broadcast to 100,000 sockets: CPU, times a bare loop", times(cpu, "remote", "loop")),
			// A broadcast has a few allocations of its own, whatever the number of sockets.
			atMost(0.001, "own broadcast: allocations a socket beyond a bare loop's", more(allocs, "own", "loop")),
			atMost(0.001, "remote broadcast: allocations a socket beyond a bare loop's", more(allocs, "remote", "loop")),
		},
	}
}

// tracing compares the cost of an observer with that of the bare span and header.
func tracing(name, what string, without, with, bare func(context.Context, *stage) (round, error)) measurement {
	return measurement{
		name: name,
		what: what + ": without an observer, with one of otel, and a bare span with its header",
		kept: true,
		contenders: []contender{
			{"without", without},
			{"with", with},
			{"bare OpenTelemetry", bare},
		},
		bars: []bar{
			atMost(1.5, name+": CPU added, times bare OpenTelemetry", added(cpu, "with", "without", "bare OpenTelemetry")),
			atMost(1, name+": allocations added, times bare OpenTelemetry", added(allocs, "with", "without", "bare OpenTelemetry")),
		},
	}
}

func (m measurement) withoutBars() measurement {
	m.bars = nil
	return m
}
