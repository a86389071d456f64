// Package adapter makes a Go process a full member of a Socket.IO fleet: of servers of the Node.js packages
// socket.io-redis and @socket.io/redis-adapter, and of other Go nodes, on one Redis. Among Go nodes only, the same
// code runs on any broker.
//
// The package brings no transport and accepts no connections. Your realtime server (WebSocket, SSE or another) adds
// its sockets to a [Namespace], and gets [Packet] values to write, with the frames of the Socket.IO protocol:
//
//	server, err := adapter.New(b, nil)         // b is a broker of its own
//	chat, err := server.Of(ctx, "/chat")       // live when it returns
//	err = chat.Add(ctx, socket)                // ID, Deliver, Disconnect
//	err = chat.Join(ctx, socket.ID(), "lobby")
//	err = chat.To("lobby").Except(socket.ID()).Emit(ctx, "hello", name)
//	who, err := chat.To("lobby").FetchSockets(ctx)
//	err = errors.Join(server.Close(ctx), b.Close(ctx)) // in this order
//
// Packages broker/redis, broker/nats, broker/memory and broker/dial make brokers. A process without sockets uses an
// [Emitter]. For messages of your own instead of Socket.IO clients, see package backplane.
//
// # Order
//
// The events that one server emits to one room, to all sockets, or to one combination of rooms arrive everywhere in
// the order of the Emit calls. Two servers have no common order. Neither have the channels of one server (all sockets,
// one room, another room), though most brokers keep it. A socket that another node's request puts into a room gets the
// later events of the room.
//
// With several links (Options.Links) a server delivers the copy of each message that arrives first. If one of its links
// had an outage, a message that it missed there arrives over another link. That may be after later messages of the
// first link: late, and once. A copy that arrives after 8,192 later messages of its sender is recognised only among
// messages of which this server received nearly all; others are delivered twice.
//
// # Delivery
//
// Delivery is at most once. Local sockets get an event before Emit returns, on its goroutine. Other nodes get it if
// they are connected at that time; nothing is sent again. Emit returns when the broker has accepted the message into
// its bounded queue, and waits only while that queue is full. A later loss is counted and reported to Options.OnError
// as a *broker.LossError.
//
// # Outages
//
// While the broker is down, local sockets still get events, and emitted events wait in the broker's queue within its
// limits. Requests to the fleet return by their deadline, with the local part of the result and a
// *backplane.PartialError. The broker restores subscriptions by itself. OnError gets the interruption, because
// messages may have been missed. Nodes reconnect one by one: the queued messages of one node reach the nodes that are
// connected when they are sent (on Redis they wait a moment for the others). No component counts them as lost for the
// other nodes.
//
// # Results
//
// Every request returns by Options.RequestsTimeout, or when its context ends, also if it takes several steps.
// EmitWithAck returns by Operator.Timeout instead, which may be longer. The result of a request embeds a
// backplane.Coverage: which nodes responded, which are missing and why, and how many servers never respond to such a
// request. With several links, Coverage.Links has the coverage of each link. If nodes are missing, the value comes with
// a *backplane.PartialError: use the partial value, or repeat the request. Any other error means that no other server
// carried out the request. Section "Requests" of package backplane lists these errors. A request also returns the
// errors that its arguments can have: *[ArgumentError], *[HarmError], or an error that wraps errors.ErrUnsupported.
// With several links an error may be in a *[LinkError].
//
// The error is also a *backplane.PartialError if a broker could not count the Node.js servers, because a server of its
// system does not respond or the user lacks the permission (PUBSUB on Redis). Then Coverage.Uncounted is a
// *broker.InexactError, the request has waited for all known Go nodes, and Node.js servers may be missing.
//
// # Callbacks, ownership and limits
//
// Methods of sockets and all other callbacks run on goroutines of the server, and the methods of local sockets also on
// that of the caller of Emit. They must not block. A socket pushes its packets into a queue of package outgoing.
// Packets, and what their methods return, are shared and read-only. Arguments and slices that are passed to a call are
// not kept. Slices that a call returns belong to the caller.
//
// A socket's method may emit, without Except where servers older than 6.1 are connected, and without InAll where
// Node.js servers are possible: these send requests first. It must not make a request to
// the fleet, whose responses wait behind the method, and not call Close: make these calls on another goroutine.
//
// The sections "Callbacks" and "Limits" of package backplane hold here too. A handler of OnServerSideEmit or a custom
// hook has a goroutine of its own, at most 256 in a namespace.
//
// # Dialects
//
// A node understands requests of all versions at all times, and responds in the form of the request. Options.Dialect
// is the form of this node's own requests: [V6] for socket.io-redis 6 and @socket.io/redis-adapter, [V5] for
// socket.io-redis 5. Operations that v5 does not have are composed of those that it has (FetchSockets, exceptions,
// SocketsJoin and others like it), or fail with errors.ErrUnsupported (ServerSideEmit, EmitWithAck).
//
// Sockets of Node.js servers can be listed, joined, disconnected and emitted to. Only Go nodes have names in a
// Coverage; the other servers are counted. Node.js servers of the newer dialect carry out operations on selections of
// sockets (SocketsJoin and others like it) without confirming them.
//
// # Older servers
//
// Servers of 5.4 and 6.0 lack features of 6.1. With the right dialect a node replaces these by requests that the
// servers have:
//
//	                             dialect V5                dialect V6
//	                             beside 5.4                beside 6.0
//	Emit with Except(room)       asks first which of their sockets are in the room
//	FetchSockets                 ids and rooms             ids only
//	FetchSockets with Except     two lists                 two lists
//	SocketsJoin, SocketsLeave,   a list, then each socket  a filter for newer servers;
//	DisconnectSockets            by its id                 a list, then each socket by its id
//	ClientRooms                  yes                       errors.ErrUnsupported
//	ServerSideEmit, EmitWithAck  errors.ErrUnsupported     ignored, or a *[MixedFleetError]
//
// None of this is atomic: a socket that enters or leaves a room meanwhile may be included or not. If a server does not
// respond with its sockets, Emit returns [ErrUnresolved] and sends nothing; the other operations return a
// *backplane.PartialError.
//
// In dialect V6 a probe finds the versions: two requests to which each server responds according to its version.
// Servers of 7.1 and later need no probe. Server.Of probes. So does each operation that depends on the versions, if the
// number of servers has changed or the last probe is 20 Heartbeats old; the servers are counted every two Heartbeats at
// most. A probe takes an eighth of RequestsTimeout longer than the responses if older servers are connected, and half
// of RequestsTimeout if a server does not respond. Until the next probe, a node of dialect V6 takes a server of 6.0 for
// a newer one in two cases. The server connected less than two Heartbeats ago, or it replaced a newer server less than
// 20 Heartbeats ago. Except(room) does not exclude the sockets of such a server. During an outage the last result stays
// in use.
//
// If nodes of dialect V6 find servers of 5.4 on their prefix, these are Missing from results, requests do not wait for
// them, and Except(room) is refused.
//
// # The sharded adapter
//
// On a broker with sharded pub/sub (Options.Sharded of package redisbroker) a server speaks the wire of the sharded
// adapter of @socket.io/redis-adapter 8, in its mode dynamic or in that of Options.Dialect. The key of all servers, and
// the mode of those that send, must be the same: see [ShardedStatic]. All operations work except in these cases:
//
//   - Node.js servers confirm no join, leave or disconnect, so these are Unconfirmed.
//   - Dates arrive as text, unless there is binary data in the same event: that wire is JSON otherwise.
//   - The adapter cannot list rooms. AllRooms lists the sockets of Node.js servers, with their rooms, and costs as much as
//     FetchSockets.
//   - Links, Options.OnBroadcast and backplane.StaticSubscription are a *backplane.OptionError: no subscription receives
//     the broadcasts to all rooms.
//
// Servers with the classic adapter on the same prefix neither reach these servers nor are harmed by them, because Redis
// keeps sharded channels apart. No error reports them. On a Redis Cluster the channels of different rooms are on different
// masters and have no common order. Node.js servers do not wait for their subscriptions, so their sockets may miss an
// event that is sent just after they have joined a room.
//
// # Two generations
//
// Servers of v5 and newer ones on one prefix endanger each other, even without any Go node. A custom request of v5
// crashes newer processes, and a remote leave of v5 disconnects their sockets. Give each generation a prefix of its
// own, and put the Go nodes on both with Options.Links. They then have one set of sockets and rooms. Their events go
// to both prefixes. Their requests go to both, and the results are merged, with each socket and each Go node once.
// Options.Bridge also forwards the events of the Node.js servers of one prefix to the other: [Bridge] describes its
// promises when the forwarding node leaves. All Go nodes on several prefixes must have the same prefixes, and the same
// Bridge setting.
//
// If messages of both generations arrive on one prefix after all, OnError gets one *[GenerationsError].
//
// # What never happens to Node.js servers
//
// No message of this package makes a Node.js server that is connected when it is sent crash, time out, act on a wrong
// socket, or deliver twice:
//
//   - In dialect v5 a custom request is sent only after every server has responded to a harmless request like a v5 server.
//     Otherwise the error is a *[MixedFleetError].
//   - Sockets are joined, taken out and disconnected by id only when a server of the right generation has listed them.
//   - Binary data is sent in v5's own form only while all servers are known to be v5. Otherwise v5's clients get it in the
//     form that it has in JSON. Server.Of finds that out before it returns.
//   - Data that only Go nodes understand travels in places that all tested versions ignore.
//
// The package checks content against JavaScript's behaviour, before anything is published or delivered. The check
// applies where a Node.js server is possible, according to the broker (broker.Capabilities.OnlyCrossroom): on Redis
// always, on NATS and memory never. It does not depend on the connected servers, because another one may join at any
// time.
//
//	refused                                     where
//	key __proto__                               arguments of Emit, of EmitWithAck beside binary data,
//	                                            acknowledgements to Node.js servers
//	key hasOwnProperty beside binary data       arguments of Emit and EmitWithAck
//	key _placeholder with the value true,       arguments of Emit and EmitWithAck
//	    beside binary data
//	more than MaxAttachments binary values      arguments of Emit and EmitWithAck
//	event "error"                               ServerSideEmit, ServerSideEmitWithAck
//	room named as a property of every object    in dialect v5, where sockets of other nodes join:
//	    (toString, constructor, …)              Join, SocketsJoin
//	socket id named so                          Leave and Disconnect of another node's socket;
//	                                            in dialect v5 also Join and ClientRooms
//
// The error is a *[HarmError] with the path of the key or value, or a *backplane.NameError. A refused acknowledgement
// is reported to OnError, and its requester gets one without a value. A message that a bridge must not forward is
// counted and reported as lost.
//
// An [Emitter] only publishes, and makes no request. With dialect V5 it sends binary data in v5's own form: if newer
// Node.js servers share the prefix, this disconnects their clients.
//
// # Servers that join
//
// A server of another generation that connects at this very moment cannot be protected for certain, because the wire
// cannot take a message back. The servers are counted directly before a message that could harm a newcomer. These
// risks remain:
//
//   - A custom request of v5 crashes a newer server that subscribes between the count and the request: one round trip to
//     Redis.
//   - Node.js servers publish the acknowledgements of an EmitWithAck to all servers. They crash an older server that
//     subscribes between the count and the last acknowledgement: as long as clients take to respond.
//   - Binary data in v5's form disconnects clients of a newer server that have connected within 50 ms after the server
//     subscribed, because a count is valid for that time.
//
// "go test ./internal/interop -run TestServersThatJoin -v" measures the first two, with a node that sends requests
// without a pause. Of 30 servers of 6.1.1 that connected during custom requests, 2 crashed (at one request a second
// that is 0.0002 for each server that connects). Of 30 during EmitWithAcks that clients acknowledged at once, none
// did. Node.js servers crash such a newcomer too, and without a count. Give each generation a prefix of its own.
package adapter
