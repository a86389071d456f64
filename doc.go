// Package crossroom is a realtime backplane for Go: rooms, broadcasts and requests
// across a fleet of servers, over Redis, NATS or memory. Package hub serves
// plain WebSocket and SSE clients; any other server registers its clients with Crossroom.
//
// This package has documentation only. Import one of these:
//
//	backplane   messages of your own: rooms of members, broadcasts of bytes, requests
//	adapter     the same for Socket.IO clients, in one fleet with Node.js servers
//	hub         connections of plain WebSocket and SSE clients, on backplane
//	outgoing    a bounded queue in front of each client's connection, for both
//	presence    who is in which room, on all nodes: by user, with a small state
//
// Each node needs a broker of its own:
//
//	broker/memory   memorybroker: one process, and tests
//	broker/redis    redisbroker: Redis, Sentinel and Cluster, with Node.js servers if you like
//	broker/nats     natsbroker: NATS, single servers and clusters
//	broker          the contract that they keep, in numbered clauses
//
// For tests and operation:
//
//	fleettest                 a fleet inside one test, in virtual time; nodes that crash
//	broker/memory/memorytest  faults of single nodes on the memory broker
//	otel                      otelbackplane: OpenTelemetry traces and metrics
//	backplane/observe         the interface behind it, for tracing and metrics of your own
//
// For a broker of your own:
//
//	conformance           the suite that every broker passes, alone and under a fleet
//	conformance/tcpproxy  a TCP link that can be cut, delayed and frozen, for the suite
//	broker/brokerkit      an outbox and subscriptions, the parts that are hard
//
// The shortest program is in README.md, guides by task are in docs/guides, and what is
// promised is in docs/PROMISES.md.
//
// # The simplest program
//
//	b := memorybroker.NewBus(nil).Broker()          // or redisbroker.Open, natsbroker.Open
//	node, err := backplane.New(b, nil)              // no I/O
//	room, err := node.Namespace(ctx, "game", nil)   // connects; live on return
//	err = room.Add(ctx, member)                     // a client of this node
//	err = room.Broadcast(ctx, bytes, backplane.To("table 7"))
//	err = errors.Join(node.Close(ctx), b.Close(ctx)) // in this order
//
// # What holds in every package
//
// Delivery is at most once, and nothing is stored or sent again. Local clients get a
// broadcast before the call returns. While the broker is down, messages wait in its bounded
// queue, within limits; requests return by their deadline with the local part of the result.
// Subscriptions are restored when it returns. Losses and interruptions are reported to
// OnError.
//
// Calls with a context may wait for the broker or for other nodes, until the context ends.
// Errors have types: use errors.Is and errors.As. A *backplane.PartialError comes with a
// usable value.
//
// Callbacks run on the node's goroutines and must not block; push messages for a connection
// into an outgoing.Queue. Messages in callbacks are shared and read-only. Slices and maps that
// a method returns belong to the caller.
//
// Each package lists its limits and defaults; docs/LIMITS.md lists those of memory. To stop,
// disconnect the clients, close the node, then its broker: each Close waits until its context
// ends at most.
//
// # Words
//
// A fleet is all nodes, and Node.js servers, that share a prefix on one broker system.
// A node is one server process of a fleet: a backplane.Node or an adapter.Server. A
// member (in adapter: a socket) is one client on one node. A namespace is a part of the
// fleet with members and rooms of its own; a room is a set of its members on any node.
// A query is a request that changes nothing. Foreign peers are servers that are not
// Crossroom nodes, such as Node.js servers: nodes count them, but do not know their names.
package crossroom
