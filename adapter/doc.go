// Package adapter makes a Go process a full member of a Socket.IO fleet: servers of
// the Node.js packages socket.io-redis and @socket.io/redis-adapter, and other Go
// nodes, on one Redis. The same code runs among Go nodes only, on any broker.
//
// It brings no transport. Your realtime server (WebSocket, SSE, whatever) tells a
// [Namespace] of its sockets, and gets [Packet] values to write, with the frames of
// the Socket.IO protocol ready made:
//
//	server, err := adapter.New(b, nil)         // b is a broker of its own
//	chat, err := server.Of(ctx, "/chat")       // live on return
//	err = chat.Add(ctx, socket)                // ID, Deliver, Disconnect
//	err = chat.Join(ctx, socket.ID(), "lobby")
//	err = chat.To("lobby").Except(socket.ID()).Emit(ctx, "hello", name)
//	who, err := chat.To("lobby").FetchSockets(ctx)
//	err = errors.Join(server.Close(ctx), b.Close(ctx)) // in this order
//
// A process without sockets uses an [Emitter].
//
// # Order
//
// What one server emits to one room, or to everybody, or to one combination of
// rooms, arrives everywhere in the order of the Emit calls. There is no order between
// two servers, and none promised between the channels of one (everybody, one room,
// another room), though most brokers keep it. A socket that another node's request
// joins to a room gets what is sent to the room afterwards.
//
// With several links (Options.Links) a server takes of each message the copy that comes
// first. If one of its links was out, what it missed there comes when another link brings
// it, which may be after later messages that came over the first: late, and once. Only
// what is 2048 messages of its sender late, without an outage between, is taken for a
// copy, and dropped.
//
// # Delivery
//
// At most once. Local sockets get an event before Emit returns, on its goroutine.
// Other nodes get it if they are connected at that time; nothing is repeated. Emit
// returns when the broker has accepted the message into its bounded queue and waits
// only while that is full. What is lost after that is counted and reported to
// Options.OnError as a *broker.LossError.
//
// # Outages
//
// While the broker is away local sockets are served as before, and what is emitted
// waits in the broker's queue within its limits. Questions to the fleet return by
// their deadline with what is known here and a *backplane.PartialError. Subscriptions come
// back by themselves; OnError hears of the interruption, as messages may have been
// missed. Nodes come back one by one: what waited in one node's queue reaches those
// that are back when it is sent (on Redis it waits a moment for them), and is no loss
// that anybody counts for the others.
//
// # Answers
//
// Every question returns by Options.RequestsTimeout, or when its context ends. Its
// result embeds a backplane.Coverage, which says who answered, who is missing and why, and how
// many servers never answer such a question. With several links, Coverage.Links says the same
// for each of them. If somebody is missing, the value comes
// beside a *backplane.PartialError: use what is there, or do not. So it does if a broker could not
// count the Node.js servers, because a server of its system does not respond or the user
// lacks the permission (PUBSUB on Redis): then Coverage.Uncounted is a *broker.InexactError,
// all known Go nodes were waited for, and Node.js servers may be missing.
//
// # Dialects
//
// Everything that any version says is understood at all times and answered in the
// asker's form. Options.Dialect is the form in which this node asks: [V6] for
// socket.io-redis 6 and @socket.io/redis-adapter, [V5] for socket.io-redis 5. What
// v5 has no word for is put together from what it has (FetchSockets, exceptions,
// SocketsJoin and its like), or fails with errors.ErrUnsupported
// (ServerSideEmit, EmitWithAck).
//
// Sockets of Node.js servers can be listed, joined, disconnected and emitted to.
// Only Go nodes have names in a Coverage; the others are counted. To selections of
// sockets (SocketsJoin and its like) Node.js servers of the newer dialect do as they
// are told without confirming it.
//
// # Older servers
//
// Servers of 5.4 and 6.0 lack what came with 6.1. With the right dialect a node makes up
// for it with requests that they have:
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
// Nothing of this happens at one moment: a socket that enters or leaves a room meanwhile may
// be treated either way. If a server does not say which of its sockets are meant, Emit
// returns [ErrExcept] and sends nothing; the others return a *backplane.PartialError.
//
// In dialect V6 the versions are found out by a probe: two requests that each server
// responds to as its version does. Servers of 7.1 and later need none. Server.Of probes, and
// then each operation that depends on it, if the number of servers has changed or the last
// probe is 20 Heartbeats old; the servers are counted every two Heartbeats at most. A probe
// takes an eighth of RequestsTimeout longer than the responses if older servers are there,
// and half of RequestsTimeout if a server does not respond. So in dialect V6 these servers
// are not known yet, and Except(room) does not spare their sockets: a server of 6.0 that came
// less than two Heartbeats ago, and one that took the place of a newer server less than 20
// Heartbeats ago. During an outage what was known before it stands.
//
// Servers of 5.4 that nodes of dialect V6 find on their prefix are named as Missing and not
// waited for, and Except(room) is refused.
//
// # Two generations
//
// Servers of v5 and newer ones on one prefix endanger each other, without any Go node
// there: a custom request of v5 ends newer processes, a remote leave of v5 disconnects
// their sockets. Give each generation a prefix of its own, and put the Go nodes on
// both with Options.Links. They then have one set of sockets and rooms; what they emit
// goes to both prefixes, and what they ask is asked on both and merged, each socket
// and each Go node once. Options.Bridge passes on what the Node.js servers of one
// prefix emit, too: see [Bridge] for what it promises when the node that does it leaves.
// Go nodes on several prefixes must all have the same ones, and the same Bridge setting.
//
// If servers of both generations are heard on one prefix after all, OnError is told
// once, with a *[GenerationsError].
//
// # What never happens to Node.js servers
//
// No message of this package makes a Node.js server that is there when it is sent
// crash, time out, act on a socket that was not meant, or deliver twice. In dialect v5 a custom
// request goes out only after every server has answered a harmless question as v5 does, or
// else is a *[MixedFleetError]; sockets are joined, taken out and disconnected by id
// only when a server of the right generation has listed them; and binary data goes
// in v5's own form only while all servers are known to be v5; otherwise v5's clients get
// it in the form that it has in JSON. Server.Of finds that out before it returns. What
// only Go nodes understand travels in places that all versions were seen to ignore.
//
// Content is checked against what JavaScript makes of it, before anything is published
// or delivered. The check applies where a Node.js server could be, which the broker says
// (broker.Capabilities.OnlyCrossroom): on Redis always, on NATS and memory never. It does
// not depend on which servers are there, since another one may join at any time.
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
// The error is a *[HarmError] with the path of the key or value, or a *backplane.NameError.
// An acknowledgement that is refused is reported to OnError, and the asker gets one without
// a value. What a bridge would pass on and may not is counted and reported as lost.
//
// An [Emitter] only publishes, and asks nobody who is there. With dialect V5 it sends binary
// data in v5's own form: if newer Node.js servers share the prefix, this disconnects their
// clients.
//
// # Servers that join
//
// A server of another generation that comes at this very moment cannot be spared for
// certain, as the wire has no word to call a message back. Who is there is counted right
// before what could harm a newcomer is sent. What is left:
//
//   - A custom request of v5 ends a newer server that subscribes between the count and the
//     request: one round trip to Redis.
//   - The acknowledgements of an EmitWithAck, which Node.js servers publish for all to hear,
//     end an older server that subscribes between the count and the last acknowledgement:
//     as long as clients take to answer.
//   - Binary data in v5's form cuts off those clients of a newer server that have connected
//     within 50 ms after it has subscribed, for which a count is good.
//
// "go test ./internal/interop -run TestServersThatJoin -v" measures the first two, with a
// node that asks without a pause: 2 of 30 servers of 6.1.1 that came among custom requests
// were ended (at one request a second that is 0.0002 for each server that comes), and none of
// 30 among EmitWithAcks that clients answered at once. Node.js
// servers end such a newcomer too, and without looking. Give each generation a prefix.
package adapter
