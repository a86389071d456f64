// Package adapter makes a Go process a server of a Socket.IO fleet, beside servers of the Node.js packages
// socket.io-redis and @socket.io/redis-adapter, and beside other Go nodes, on one Redis. Among Go nodes only, the same
// code runs on any broker.
//
// The package accepts no connections, and does not parse what clients send. Your realtime server (WebSocket, SSE or
// another) does that. It adds its sockets to a [Namespace], and gets [Packet] values to write, with the frames of the
// Socket.IO protocol:
//
//	server, err := adapter.New(b, nil)         // b is a broker of its own
//	chat, err := server.Of(ctx, "/chat")       // live when it returns
//	err = chat.Add(ctx, socket)                // ID, Deliver, Disconnect
//	err = chat.Join(ctx, socket.ID(), "lobby")
//	err = chat.To("lobby").Except(socket.ID()).Emit(ctx, "hello", name)
//	who, err := chat.To("lobby").FetchSockets(ctx)
//	chat.Remove(socket.ID())                   // when the client has disconnected, whichever side closed
//	...
//	err = server.Close(ctx)                    // after its sockets are disconnected
//	err = b.Close(ctx)                         // with time left to send what is queued
//
// The simplest program calls [New], Server.Of and Namespace.Add, then Emit, Namespace.Remove and Server.Close. A process
// without sockets uses an [Emitter]: NewEmitter, Emit, Flush. Packages broker/redis, broker/nats, broker/memory and
// broker/dial make brokers. For messages of your own instead of Socket.IO clients, see package backplane. Its
// documentation defines node, fleet, known and foreign peer, goodbye, and static and dynamic mode.
//
// # Waits
//
// Only acknowledgements and methods with a context wait. Each wait of a method ends with its context, except the wait
// for a local socket's method:
//
//	Server.Of                        the first call: the broker (section "Outages"); other nodes' introductions, at
//	                                 most 250 ms; the probes of section "Older servers"; in dialect V5 a
//	                                 RequestsTimeout if newer servers are connected
//	Add, Join, SocketsJoin           in dynamic mode the broker, if a room is new here. RequestsTimeout does not limit
//	                                 Add, or Join of a local socket.
//	Emit, Emitter, ServerSideEmit    space in the broker's queue; Emit also what the next table says
//	ServerEvent.Ack, the ack of an   space in the broker's queue, at most RequestsTimeout
//	  AckSocket
//	requests to the fleet            other servers, at most RequestsTimeout, also if they take several steps; before that
//	                                 the lists of InAll in the next table
//	EachSocket, EachRoom             the same, for each part of the list
//	EmitWithAck                      clients, at most Operator.Timeout, and before that what Emit waits for
//	Peers, ServerCount               the broker, at most RequestsTimeout
//	AwaitPeers, Ready, Flush         what their names say
//	Drain, Close                     see "The end"
//
// Emit queries the broker or other servers first in these cases. Requests with InAll do that too:
//
//	InAll                            on Redis, and in dialect V5: lists of the sockets, at most RequestsTimeout
//	Except with names of rooms       on Redis in V6: a count every two Heartbeats. With servers older than 6.1 connected,
//	                                 and in V5: a list of the sockets in these rooms. At most RequestsTimeout for all
//	binary data in dialect V5        a count every 50 ms, at most 100 ms
//
// Emit, EmitWithAck, Disconnect, DisconnectSockets, SocketsJoin and SocketsLeave call the methods of local sockets on
// the goroutine of their caller. A method that blocks, blocks that caller, also after its context has ended.
// FetchSockets and EachSocket wait for the Describe methods of local sockets, within the limits of section "Callbacks"
// of package backplane.
//
// # Order and delivery
//
// Local sockets get an event before Emit returns. nil means that the broker has accepted it for the other servers. A
// server that is not connected when the broker sends the event does not get it later: nothing is sent again. With one
// link each socket gets an event at most once. A lost event is reported to Options.OnError as a *broker.LossError.
//
// Events that a server or an emitter sends one after the other arrive everywhere in that order, if all of them go to the
// same single room, or if none of them goes to a single room. All other pairs, also of an event and SocketsJoin,
// DisconnectSockets or a server-side event, keep their order if the broker's Capabilities say OrderAcrossChannels, as all
// of ours do except Redis Cluster. Different server-side events are handled at the same time, in no order. Events of
// two servers, and those of two goroutines of one server, have no common order: two sockets may get them in different
// orders.
//
// With several links (Options.Links) a server delivers the copy of each event that arrives first. After an outage of one
// link, an event that was missed there may arrive over another link after later events of the first link. The server
// recognises a copy among the last 8,192 events of its sender, and an older one if it has received nearly all events of
// that sender. Otherwise sockets get the event twice. Bridge.Repeat permits further duplicates.
//
// # Outages
//
// While the broker's servers are down, local sockets still get events, and emitted events wait in the broker's queue
// within its limits. Emit, and with InAll also EmitWithAck, SocketsJoin and others like it, fail with ErrUnresolved and
// do nothing if they must list sockets first (section "Waits"). Requests to the fleet return by their deadline with a
// *backplane.PartialError, and have the local part of the result. In dynamic mode Add and Join do not wait during an
// interruption: the rooms are subscribed to after it.
//
// Server.Of waits for the end of an outage that has interrupted a namespace of this server. Otherwise, such as for the
// first namespace while the servers are down, it may return the failure of one attempt to connect: call it again.
//
// When the servers return, the broker restores the subscriptions and sends its queue. Nodes reconnect one by one: queued
// events reach the nodes that are connected when they are sent. Redis and NATS brokers therefore wait a short time
// before they send. Events of other servers may be missed. OnError gets a *backplane.InterruptedError when an
// interruption begins. Observers see both ends, and Server.Ready waits for the end. Then read anew, from your own store,
// what must be complete.
//
// # Requests
//
// The result of a request embeds a backplane.Coverage: which nodes responded, which are missing and why, and how many
// servers never respond to such a request (Unconfirmed). Coverage.Links has the coverage of each of several links.
//
//   - If nodes are missing, the value comes with a *backplane.PartialError, which also wraps the cause: the deadline, the
//     context, or an error of the broker. Use the value, or repeat the request. A missing node may have carried it out,
//     or may do so later: a request in the broker's queue is sent after an outage.
//   - Any other error means that no other server carried out the request. A *LinkError means that of the servers on its
//     link; a value with it has the responses on the other links. Join or Leave of another server's socket with several
//     rooms is one request for each room: those before the error are done.
//   - Operations on a selection (SocketsJoin and others like it) are carried out on this server first, whatever the state
//     of the broker; with InAll after the lists of its sockets.
//   - If a broker could not count the Node.js servers, the error is a *backplane.PartialError too, and
//     Coverage.Uncounted is a *broker.InexactError: a server of the system does not respond, or the user lacks the
//     permission (PUBSUB on Redis). The request has waited for all known Go nodes, and Node.js servers may be missing.
//
// # Callbacks and ownership
//
//	callback                                      goroutine                               it may block
//	Deliver, DeliverWithAck, Disconnect,          the namespace's worker; for calls of    no
//	  Joined, Left                                this server, the caller's
//	OnBroadcast, OnOperation, IsID                the worker; IsID also that of the       no, and it must not call
//	                                              caller of Join or SocketsJoin           the namespace
//	Describe, Redact                              one for each socket, at most 64 for a   no
//	                                              query at a time
//	Refuse                                        the caller's of Server.Of, and for      no
//	                                              Links the server's, at the same time
//	observers                                     that of the observed operation, or one  no
//	                                              of the server's
//	Changed of observers                          one of its own for each link            yes: later changes wait
//	OnServerSideEmit, custom hooks                one for each call, at most 256 in a     until its context ends; more
//	                                              namespace at a time                     calls wait
//	functions of EmitWithAckFunc                  the caller's, or with several links     yes, within the timeout
//	                                              one of the server's
//	hand of Drain                                 the caller's                            no: the next calls wait
//	OnError, Logger                               one for both                            yes: later reports wait
//
// A callback that may not block may call methods without a context, except ServerEvent.Ack. It may also call Emit and
// ServerSideEmit with a context that ends soon, except in the cases in which Emit queries other servers (section
// "Waits"). It calls all other methods on another goroutine, because responses wait behind the callback. Handlers of
// server-side events and custom hooks may make requests. No callback may call Close or Drain, which wait for it.
//
// With several links a namespace has a worker for each link. These workers call OnBroadcast and the methods of sockets
// at the same time, and the limit of 256 calls is that of each link.
//
// Section "Callbacks" of package backplane says what happens if a callback blocks or panics, and its section "Limits"
// holds here too. OnBroadcast, OnOperation and IsID have no StallTimeout: a call that blocks stops its worker.
//
// Packets, and what their methods return, are shared and read-only; they may be kept. Bind copies what it stores, except
// into a *any. What a callback gets is read-only, except the Handshake of Redact. It may be kept, except names of rooms
// (OnBroadcast, Joined, Left), a backplane.Operation and the data of observers. Arguments and slices that are passed to a
// call are not kept. Slices and values that a call returns belong to the caller, but the bytes of Reply.Data are
// read-only.
//
// # Errors
//
// Use errors.Is and errors.As: errors are often in a *backplane.OpError, and with several links in a *[LinkError]. If
// several links fail, their errors are joined. An Emit that fails on a link while sending has sent the event on the
// others, and a repeated Emit duplicates it there.
//
//	*backplane.OptionError     New, NewEmitter, Of, Drain       correct the option
//	*backplane.NameError,      calls with a name                use another name
//	  *broker.NameError
//	*ArgumentError             calls with values, and Bind      correct the value: it cannot be encoded or stored
//	*HarmError                 calls with values                see section "What never happens to Node.js servers"
//	*broker.PayloadError       calls that send values or        send less, or raise the limit of the broker
//	                           names, and Of
//	backplane.ErrClosed        calls of a closed server,        make no more calls
//	                           namespace or Emitter
//	backplane.ErrMemberExists  Add                              remove the other socket, or use another id. Ids on
//	                                                            other servers are not compared.
//	backplane.ErrNoSuchMember  calls with a socket's id         none: no server has the socket
//	*backplane.PartialError    requests                         use the value, if there is one, or repeat the request
//	ErrUnresolved              Emit with Except; with InAll     repeat the call, or select without Except or InAll:
//	                           all calls but lists and counts   nothing was done, and there is no value
//	*MixedFleetError           CustomRequest, EmitWithAck       give each generation a prefix of its own
//	*broker.InexactError,      Peers, ServerCount               use the value as a lower bound, or call again
//	  backplane.ErrNotIntroduced
//	*broker.LossError          Emitter: Flush, Close            send again what must arrive, if duplicates do no harm
//	backplane.ErrOtherWire     Emitter.Close                    its nodes are of package backplane: use the Emitter there
//	ErrAcknowledged            ServerEvent.Ack                  none: the sender has a response, or wants none
//	errors.ErrUnsupported      requests, ServerSideEmit,        use another call: the dialect, or an Emitter, does not
//	                           Emitter                          have the operation
//	backplane.ErrNilContext    every call with a context        pass a context
//	the broker's error         Of, Emit, ServerSideEmit,        call again. After Emit, local sockets have the event.
//	                           Emitter; in dynamic mode Add,    The broker's documentation lists its errors.
//	                           Join, SocketsJoin
//	the context's error        every call with a context        call again with more time. After an Emit that waited for
//	                                                            the queue, local sockets have the event.
//
// OnError gets the errors that no call returns: those that package backplane lists in its section "Errors", with several
// links in a *LinkError that names the link, and
//
//	*GenerationsError      give each generation a prefix of its own
//	*broker.LossError      with Options.Bridge also events that the bridge did not forward. Err has the cause: raise
//	                       Messages, Bytes or Age of the Bridge, or set Repeat
//	*backplane.OpError     a hook failed, or a value could not be encoded: correct it
//
// # The end
//
// Close disconnects no sockets: do that first, with Namespace.All().Local().DisconnectSockets, or call Drain, which hands
// them over and then closes the server. Close the server, and then the brokers of all links, with time left in the
// context. Section "The end" of package backplane says how long Close takes; several links close at the same time. With a
// Bridge, the leader first forwards the events in its window.
//
// A process with an Emitter calls Emitter.Close or Flush, and then closes the broker. Both wait until the broker's system
// has the events. Close then makes one count for each namespace, at most 64.
//
// # Dialects
//
// A node understands requests of all versions at all times, and responds in the form of the request. Options.Dialect
// is the form of this node's own requests: [V6] for socket.io-redis 6 and @socket.io/redis-adapter, [V5] for
// socket.io-redis 5. The package composes operations that v5 does not have of those that it has (FetchSockets,
// exceptions, SocketsJoin and others like it). The others fail with errors.ErrUnsupported (ServerSideEmit, EmitWithAck).
//
// Operations reach sockets of Node.js servers too. Only Go nodes have names in a
// Coverage; the other servers are counted. Node.js servers of the newer dialect carry out operations on selections of
// sockets (SocketsJoin and others like it) without confirming them.
//
// # Older servers
//
// Servers with version 5.4 or 6.0 lack features of 6.1. With the right dialect a node replaces these by requests that
// the servers have:
//
//	                             dialect V5                dialect V6
//	                             with servers of 5.4       with servers of 6.0
//	Emit with Except(room)       lists first which of their sockets are in the room
//	FetchSockets                 ids and rooms             ids only
//	FetchSockets with Except     two lists                 two lists
//	SocketsJoin, SocketsLeave,   a list, then each socket  a filter for newer servers;
//	DisconnectSockets            by its id                 a list, then each socket by its id
//	ClientRooms                  yes                       errors.ErrUnsupported
//	ServerSideEmit               errors.ErrUnsupported     these servers ignore it
//	EmitWithAck                  errors.ErrUnsupported     a *MixedFleetError with servers older than 7.1
//
// None of this is atomic: a socket that enters or leaves a room meanwhile may be included or not. If a server does not
// respond with its sockets, Emit returns [ErrUnresolved] and sends nothing; the other operations return a
// *backplane.PartialError.
//
// In dialect V6 a probe finds the versions: two requests to which each server responds according to its version.
// Servers of 7.1 and later need no probe. Server.Of probes. So does each operation that depends on the versions, if the
// number of servers has changed or the last probe is 20 Heartbeats old. Such an operation counts the servers if the last
// count is two Heartbeats old. After the responses a probe waits an eighth of RequestsTimeout if older servers are
// connected, and in all half of RequestsTimeout if a server does not respond. This time is part of the operation's own.
//
// Until the next probe a node takes a server of 6.0 for a newer one if that server connected less than two Heartbeats
// ago, or replaced a newer server less than 20 Heartbeats ago. Except(room) does not exclude the sockets of such a
// server. During an outage the last result stays in use.
//
// If nodes of dialect V6 find servers of 5.4 on their prefix, these are Missing from results, requests do not wait for
// them, and Emit with Except(room) returns ErrUnresolved.
//
// # The sharded adapter
//
// On a broker with sharded pub/sub (Options.Sharded of package redisbroker) a server uses the protocol of the sharded
// adapter of @socket.io/redis-adapter 8. Its subscription mode is dynamic, or that of Options.Dialect. All servers must
// have the same key (prefix), and those that send the same mode: see [ShardedStatic]. The differences are:
//
//   - Node.js servers confirm no join, leave or disconnect, so these are Unconfirmed.
//   - Dates arrive as text, unless there is binary data in the same event, because other events travel as JSON.
//   - The adapter cannot list rooms. AllRooms lists the sockets of Node.js servers, with their rooms, and costs as much
//     as FetchSockets.
//   - With Links, Options.OnBroadcast or backplane.StaticSubscription, New or Server.Of returns a *backplane.OptionError,
//     because no subscription receives the broadcasts to all rooms.
//
// Servers with the classic adapter on the same prefix neither reach these servers nor are harmed by them, because Redis
// keeps sharded channels apart. No error reports them. On a Redis Cluster the channels of different rooms are on
// different masters and have no common order. Node.js servers do not wait for their subscriptions, so their sockets may
// miss an event that is sent just after they have joined a room.
//
// # Two generations
//
// Servers of v5 and newer ones on one prefix harm each other, even without any Go node. A custom request of v5
// crashes newer processes, and a remote leave of v5 disconnects their sockets. Give each generation a prefix of its
// own, and put the Go nodes on both with Options.Links. They then have one set of sockets and rooms. Their events go
// to both prefixes. Their requests go to both, and the results are merged, with each socket and each Go node once.
// Options.Bridge also forwards the events of the Node.js servers of one prefix to the other: [Bridge] describes its
// promises when the forwarding node leaves. All Go nodes on several prefixes must have the same prefixes, and the same
// Bridge setting.
//
// If messages of both generations arrive on one prefix, OnError gets one *[GenerationsError].
//
// # What never happens to Node.js servers
//
// No message of this package makes a Node.js server that is connected when it is sent crash, time out, act on a wrong
// socket, or deliver twice:
//
//   - In dialect v5 a custom request is sent only after every server has responded, as a v5 server does, to a request
//     that harms no version. Otherwise the error is a *[MixedFleetError].
//   - Sockets are joined, taken out and disconnected by id only when a server of the right generation has listed them.
//   - Binary data is sent in v5's own form only while all servers are known to be v5. Otherwise v5's clients get it in
//     the form that it has in JSON. Server.Of checks the versions before it returns.
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
//	room with the name of a property of every   in dialect v5, where sockets of other nodes join:
//	    object (toString, constructor, …)       Join, SocketsJoin
//	socket id with such a name                  Leave and Disconnect of another node's socket;
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
// A server of another generation that connects at this very moment cannot be protected for certain, because a published
// message cannot be withdrawn. The servers are counted directly before a message that could harm a newcomer. These
// risks remain:
//
//   - A custom request of v5 crashes a newer server that subscribes between the count and the request: one round trip to
//     Redis.
//   - Node.js servers publish the acknowledgements of an EmitWithAck to all servers. They crash an older server that
//     subscribes between the count and the last acknowledgement: as long as clients take to respond.
//   - A count before binary data is used for 50 ms. Binary data in v5's form disconnects clients that connect to a newer
//     server within 50 ms after that server has subscribed.
//
// "go test ./internal/interop -run TestServersThatJoin -v" measures the first two, with a node that sends requests
// without a pause. Of 30 servers of 6.1.1 that connected during custom requests, 2 crashed (at one request a second
// that is 0.0002 for each server that connects). Of 30 during EmitWithAcks that clients acknowledged at once, none
// did. Node.js servers crash such a newcomer too, and without a count. Give each generation a prefix of its own.
package adapter
