package main

// table is everything that is measured. To measure something new, add a row; a
// new peer is a contender in a row.
var table = []measurement{
	{
		name: "throughput",
		what: "128-byte events to one room from 64 goroutines, received by another node; messages delivered a second",
		contenders: []contender{
			{"raw", rawThroughput},
			{"go-redis", goredisThroughput},
			{"centrifuge", centrifugeThroughput},
			{"node", nodeThroughput},
		},
	},
	{
		name: "latency",
		what: "128-byte events at 2,000 a second, from just before publishing to the receiver's call",
		contenders: []contender{
			{"go-redis", goredisLatency},
		},
	},
	{
		name: "question",
		what: "a question to everybody and the last answer, one after another",
		contenders: []contender{
			{"go-redis", goredisExchange},
		},
	},
}
