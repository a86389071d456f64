// Package natsbroker is a broker on NATS, on github.com/nats-io/nats.go: core NATS,
// without JetStream.
//
//	b, err := natsbroker.Open("nats://localhost:4222", nil)
//	b, err := natsbroker.Open("tls://a:4222,tls://b:4222,tls://c:4222", &natsbroker.Options{Prefix: "shop"})
//	b, err := natsbroker.New(nc, nil) // nc is a *nats.Conn
//
// It keeps all clauses of package broker that do not need a server which counts its
// subscribers (B22, B23): on a single server, and on a cluster as said below.
//
// # Subjects
//
// With prefix P (Options.Prefix, "crossroom" unless said otherwise), W the protocol
// (native, socketio or another's name), namespace N, room R and node id I:
//
//	Broadcast(N)         P.W.cast.N.all
//	Room(N, R)           P.W.cast.N.room.R
//	EveryRoom(N)         P.W.cast.N.>
//	Requests(N)          P.W.request.N
//	Responses(N)         P.W.response.N
//	NodeResponses(N, I)  P.W.response.N.I
//	Control()            P.native.control
//	NodeControl(I)       P.native.control.I
//	                     P.mark.*           how far subscriptions have spread (see Cluster)
//
// N, R and I are one token each, in which every name fits and no two are the same: the
// characters . * > and %, the space and control characters become % and two upper-case
// hexadecimal digits; the empty name is % alone; and a name that takes more than 1,024
// bytes like that becomes %h and its SHA-256 in hexadecimal digits (the name itself is
// then in the message, and compared). So a subject has at most 2,560 bytes, and a
// server's max_control_line of 4,096, which is its default, is enough. A prefix is one
// or more tokens that need no escaping, of at most 255 bytes in all. The first does not
// begin with $, because those subjects are the servers' own, and none after it is "cast",
// "request", "response", "control" or "mark". Another prefix is refused with a *PrefixError,
// and a protocol named like one of these five words with a *broker.ProtocolError.
//
// A room's subscription is for exactly that room's subject (Exactly), and a whole
// namespace is one subscription (EveryRoom). A message carries a frame of 16 bytes
// before its payload: who published it, and its number there. With it a subscription
// knows what it has already got, whichever filters or servers it comes by. What others
// publish on these subjects and has no such frame is passed by. NATS headers are not
// used.
//
// # Connections
//
// The broker uses one *nats.Conn of its own at a time, for publishing and subscribing.
// When that ends it makes another one: nats.go's own reconnecting would send its buffer
// without anybody knowing what of it had been sent before, and would bring messages
// from after a gap before it can be told. From a connection given to New it takes,
// when New is called, how to reach the servers: addresses, those too which the servers
// have told it of, credentials and their callbacks, TLS, name, dialer. That connection
// is not used, not changed, and not closed. Its handlers, and its settings about
// reconnecting, pings, echo and buffers, do not apply: ReconnectBufSize, say, has no
// meaning here, since nothing is given to nats.go while there is no connection.
//
// Servers that the cluster tells of are tried as well, unless nats.IgnoreDiscoveredServers
// is among the options. Addresses are nats:// and tls://; websockets are refused. A
// dialer that does not return may outlast Close.
//
// # Publishing
//
// Publish hands the message to nats.go, which writes what has gathered in one piece, on
// a connection on which writing never waits: what the system does not take at once is
// written by a goroutine of its own. A server says nothing of messages that are well;
// it is asked, by a ping behind them, when a quarter of 4 MiB (Options.WindowBytes) is
// on its way, when somebody waits in Flush or Close, and else after 50 milliseconds.
// No more than the 4 MiB is on its way without an answer; the rest waits here. Both
// together are at most 65,536 messages and 32 MiB, and none waits for more than 30
// seconds (Options.QueueMessages, QueueBytes, QueueAge). When it was full, those who
// waited go on when half of it is free.
//
// While the server is away the queue stays, and is sent afterwards in order. Everything
// that was on its way when a connection broke counts as uncertain and is not sent
// again: it is more than what is really lost, since the server had most of it.
// Messages are lost for certain if they wait for longer than QueueAge (ErrTooOld), if
// the server does not allow them (nats.ErrPermissionViolation), if they were accepted
// while no server was there and are larger than it takes (*broker.PayloadError), or at
// the end of Close's context. Each loss is counted in Stats, told to OnLoss functions,
// and returned by one Flush.
//
// Sent and flushed mean that the server has dealt with it. Core NATS keeps nothing:
// whoever is not subscribed at that moment does not get it. After an outage what has
// gathered waits until this broker's own subscriptions are live, and for as long as
// others with the same options may still pause before they connect (twice the limit
// that the pauses had reached, at most BackoffMax).
//
// Capabilities.MaxPayload is the limit of the options, and does not change. A server
// whose max_payload leaves less room makes Publish return a *broker.PayloadError with
// that limit, from the first connection to it on.
//
// A message for subscriptions of the same broker does not come back from the server:
// it is delivered when the server has answered that it has it.
//
// # Subscribing
//
// All subscriptions of a broker share the connection; each has subscriptions on the
// server of its own, one per filter. All that arrives has one order, also across
// filters. nats.go never drops anything as a slow consumer: its channel is emptied
// before each read from the network, which brings less than fits.
//
// Each subscription has a goroutine that calls its receiver, and a buffer of 16 MiB
// (Options.ReceiveBuffer). When that is full the connection, and with it all
// subscriptions, waits for that receiver, for at most 1 second (Options.SlowReceiver).
// What comes after that is missed, until half of the buffer is free: Interrupted, with
// a *broker.LossError that counts it, and Resumed are called in its place. To a receiver
// that is stuck through several interruptions without a message between them they are
// one, which counts all that is known to be missed.
//
// Subscribe fails at once if the first connection cannot be made or the server refuses.
// During an interruption it waits for the end of it, or of its context.
//
// # Outages
//
// A connection that is silent for 1 second is asked for a sign of life, and given up
// if none comes within 3 more (Options.ProbeInterval, ProbeTimeout): so a frozen
// server or a dead link is noticed within 4 seconds, a connection that is closed at
// once. Then receivers get Interrupted, and new connections are tried, to each server
// in turn: at once if the connection had lasted (twice the longest that the last pause
// could be, at least 100 milliseconds), and then after random pauses below a limit that
// doubles from 50 milliseconds to 2 seconds (Options.BackoffMin, BackoffMax), for ever. Receivers get Resumed when all
// filters are live.
//
// A dead link is not known to be dead for a time, and what is written to it is uncertain in
// the end. So when the server has not answered for 200 milliseconds that it has what was
// sent, and nothing else has arrived either, messages wait in the queue until it answers:
// about 250 milliseconds after the link's death. On a link on which the slowest of the last
// answers took longer than 100 milliseconds, the limit is twice that time, so a slow link
// is as fast as before, and nothing but ProbeTimeout ends a connection.
//
// # What a server withdraws
//
// A server says when it takes a right away, by a reload of its configuration or of an
// account. A subscription of which a filter is concerned gets Interrupted with an error
// that wraps nats.ErrPermissionViolation, and nothing is delivered to it until it gets
// Resumed; all others go on. The broker asks for the filter again after the pauses that
// apply to connections, for one filter of each subscription at a time. Add returns the
// violation meanwhile, and Remove of the filter ends the interruption. A message that the
// server refuses is lost, with its violation; those before and after it are not. Where the
// right changes among messages that were on their way together, the broker knows how many
// were refused, and takes the change to have happened once. A server says nothing if it
// denies a part of what EveryRoom selects, such as one room: it passes over those messages.
//
// A server that ends a connection for a reason says so, and the receivers get the reason:
// an error that wraps nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAuthorization,
// nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded,
// nats.ErrMaxSubscriptionsExceeded or nats.ErrMaxPayload. It remains the reason of what is
// lost, and of what is logged, until a connection is made. If there are more filters than
// the server grants subscriptions, none of them is live until it grants them all.
//
// A server that removes a user closes its connections without a reason, and refuses the
// next one with it. So after a connection that was closed without a reason, receivers get
// Interrupted when the next attempt to connect has succeeded or failed, up to BackoffMin
// and 250 milliseconds later.
//
// # Cluster
//
// A broker is connected to one server of a cluster, and to another one when that fails.
// Servers tell each other who listens in their own time. So that a nil error from
// Subscribe, and Resumed, mean live for publishers on any server, the broker then also
// connects to the other servers, of its addresses and of those the servers tell, and
// waits until each has passed on a mark that was published after the subscriptions:
// servers keep that order. These connections are closed after some 15 seconds without
// need. A server that cannot be reached, or does not pass the mark on within
// ProbeTimeout, is left out for 5 seconds, with a line in the log: it is dead, or apart
// from the others, and what is published there does not arrive anyhow. One that servers
// have told of is forgotten when it cannot be reached and they tell of it no more.
// Across leaf nodes and gateways nothing of this is promised: there a subscription is
// live when NATS has spread it.
//
// Messages on their way between two servers that lose each other are lost without
// anybody knowing. What a publisher has left behind at a server that it lost, and
// which arrives after later messages of its, is not delivered, but told as a gap. So
// one publisher's messages keep their order across channels and servers. A message whose
// number differs by 1,048,576 or more from those before it begins a row of its own, beside
// which the other goes on: a publisher that counts in another's name does not keep anybody
// from what that one publishes. One that counts a little ahead of it does, for so many
// messages, which are told as a gap: who may publish has to be trusted.
//
// # Permissions
//
// A user needs to publish and subscribe to P.native.control and P.native.control.*, and
// for each of its namespaces to P.W.cast.N.>, P.W.request.N, P.W.response.N and
// P.W.response.N.*; in a cluster also to P.mark.*. P.> allows it all. Without P.mark.*, of
// which the log has a line, a subscription on a cluster is live when NATS has spread it.
package natsbroker
