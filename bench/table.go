package main

// table is everything that is measured. To measure something new, add a row; a
// new peer is a contender in a row. The name of a contender says what it measures
// only together with its row: crossroom is always the thing with all its layers.
var table = []measurement{
	{
		name: "throughput",
		what: "128-byte events to one room from 64 goroutines, received by another node; messages delivered a second",
		contenders: []contender{
			{"raw", rawThroughput},
			{"go-redis", throughput(bareRedis)},
			{"centrifuge", throughput(centrifugeBroker)},
			{"node", nodeThroughput},
			{"node, adapter alone", nodeAdapterThroughput},
			{"broker", throughput(brokerOnRedis)},
			{"emitter", throughput(emitter)},
			{"crossroom", throughput(crossroomOn(openRedis))},
		},
		bars: []bar{
			atLeast(2, "throughput, times centrifuge", ratio("msg/s", "crossroom", "centrifuge")),
			atLeast(5, "throughput, times @socket.io/redis-adapter", ratio("msg/s", "crossroom", "node")),
			atLeast(0.35, "throughput, of the raw limit", ratio("msg/s", "crossroom", "raw")),
		},
	},
	{
		name: "latency",
		what: "128-byte events at 2,000 a second, from just before publishing to the receiver's call",
		contenders: []contender{
			{"go-redis", latency(bareRedis)},
			{"broker", latency(brokerOnRedis)},
			{"emitter", latency(emitter)},
			{"crossroom", latency(crossroomOn(openRedis))},
		},
		bars: []bar{
			atMost(1.2, "median latency, times bare go-redis", ratio("p50 µs", "crossroom", "go-redis")),
		},
	},
	{
		name: "fan-out",
		what: "one broadcast to 100,000 local sockets of a room, of the node itself and of another one",
		contenders: []contender{
			{"own", fanoutOwn},
			{"remote", fanoutRemote},
		},
		bars: []bar{
			atMost(60, "own broadcast, ns a socket", value("own", "ns/socket")),
			atMost(60, "remote broadcast, ns a socket", value("remote", "ns/socket")),
			// A broadcast has a few allocations of its own, whatever the number of sockets.
			atMost(0.001, "own broadcast, allocations a socket", value("own", "allocs/socket")),
			atMost(0.001, "remote broadcast, allocations a socket", value("remote", "allocs/socket")),
		},
	},
	{
		name: "memberships",
		what: "100,000 sockets in ten rooms each, of 10,000 rooms: a million memberships",
		once: true,
		contenders: []contender{
			{"crossroom", membershipBytes},
		},
		bars: []bar{
			atMost(250, "membership, bytes", value("crossroom", "B/membership, sockets included")),
		},
	},
	{
		name: "unwanted",
		what: "messages for a room that nobody here holds; core is what comes after the broker, wanted the same with a socket in the room",
		contenders: []contender{
			{"go-redis", goredisUnwanted},
			{"crossroom", crossroomUnwanted},
			{"core", coreUnwanted},
			{"core, wanted", coreWanted},
		},
		bars: []bar{
			// One in 1,024 messages is a marker, which is delivered.
			atMost(0.05, "unwanted message, allocations beyond go-redis'", excess("allocs/msg", "crossroom", "go-redis")),
			atMost(0.05, "unwanted message, allocations after the broker", value("core", "allocs/msg")),
		},
	},
	{
		name: "question",
		what: "all rooms of four nodes, beside a message there and one back; one after another",
		contenders: []contender{
			{"go-redis", goredisExchange},
			{"crossroom", crossroomQuestion},
		},
		bars: []bar{
			atMost(3, "all rooms of 4 nodes, times a bare exchange", ratio("p50 µs", "crossroom", "go-redis")),
		},
	},
}
