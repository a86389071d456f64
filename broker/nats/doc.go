// Package natsbroker is a broker on NATS, on github.com/nats-io/nats.go: core NATS, without JetStream.
//
//	b, err := natsbroker.Open("nats://localhost:4222", nil)
//	b, err := natsbroker.Open("tls://a:4222,tls://b:4222,tls://c:4222", &natsbroker.Options{Prefix: "shop"})
//	b, err := natsbroker.New(nc, nil) // nc is a *nats.Conn
//
// It keeps all clauses of package broker, about order, duplicates, ownership of payloads and errors, except counting
// (B22, B23), because NATS does not count subscribers. That holds on a single server, and on a cluster as described
// below. Publish, Flush and Close wait as broker.Broker says; Subscribe waits for the server, until its context ends.
// Close the broker after its node: Close waits until the queue is sent, or until its context ends.
//
// # Subjects
//
// With prefix P (Options.Prefix, "crossroom" unless said otherwise), W the protocol (native, socketio or another's
// name), namespace N, room R and node id I:
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
// N, R and I are one token each, in which every name fits and no two are the same: the characters . * > and %, the
// space and control characters become % and two upper-case hexadecimal digits; the empty name is % alone; and a name
// that takes more than 1,024 bytes like that becomes %h and its SHA-256 in hexadecimal digits (the name itself is then
// in the message, and compared). So a subject has at most 2,560 bytes, and a server's max_control_line of 4,096, which
// is its default, is enough. A prefix is one or more tokens that need no escaping, of at most 255 bytes in all. The
// first does not begin with $, because those subjects are the servers' own, and none after it is "cast", "request",
// "response", "control" or "mark". Another prefix is refused with a *PrefixError, and a protocol named like one of
// these five words with a *broker.ProtocolError.
//
// A room's subscription is for exactly that room's subject (Exactly), and a whole namespace is one subscription
// (EveryRoom). A message carries a frame of 16 bytes before its payload: who published it, and its number there. With
// it a subscription recognises duplicates, whichever filters or servers they come by. Messages of other programs on
// these subjects, without such a frame, are ignored. NATS headers are not used.
//
// # Connections
//
// The broker uses one *nats.Conn of its own at a time, for publishing and subscribing. When that ends it makes another
// one: nats.go's own reconnecting would send its buffer again without knowing which part had been sent before, and
// would deliver messages from after a gap before the gap can be reported. From a connection given to New it takes,
// when New is called, how to reach the servers: addresses, those too which the servers have told it of, credentials
// and their callbacks, TLS, name, dialer. That connection is not used, not changed, and not closed. Its handlers, and
// its settings about reconnecting, pings, echo and buffers, do not apply: ReconnectBufSize, say, has no meaning here,
// since nothing is given to nats.go while there is no connection.
//
// Servers that the cluster announces are tried as well, unless nats.IgnoreDiscoveredServers is among the options.
// Addresses are nats:// and tls://; websockets are refused. A dialer that does not return may outlast Close.
//
// # Publishing
//
// Publish passes the message to nats.go, which writes gathered messages in one piece, on a connection whose writes
// never wait: a goroutine writes the bytes that the system does not accept at once. A server does not acknowledge
// messages. The broker sends a ping behind them, whose reply acknowledges them: when a quarter of 4 MiB
// (Options.WindowBytes) is in flight, when a Flush or Close waits, and otherwise after 50 milliseconds. No more than
// the 4 MiB is in flight without a reply; further messages wait in the queue. Both together are at most 65,536
// messages and 32 MiB, and none waits for more than 30 seconds (Options.QueueMessages, QueueBytes, QueueAge). After it
// was full, waiting calls continue when half of it is free.
//
// While the server is down the queue stays, and is sent afterwards in order. All messages in flight when a connection
// broke count as uncertain and are not sent again: these are more than the lost ones, because the server had most of
// them. Messages are lost for certain if they wait for longer than QueueAge (ErrTooOld), if the server does not allow
// them (nats.ErrPermissionViolation), if they were accepted without a connection and are larger than the server
// accepts (*broker.PayloadError), or at the end of Close's context. Each loss is counted in Stats, reported to OnLoss
// functions, and returned by one Flush.
//
// Sent and flushed mean that the server has processed the message. Core NATS stores nothing: a node that is not
// subscribed at that moment does not get the message. After an outage queued messages wait until this broker's own
// subscriptions are live, and for as long as others with the same options may still pause before they connect (twice
// the limit that the pauses had reached, at most BackoffMax).
//
// Capabilities.MaxPayload is the limit of the options, and does not change. A server whose max_payload leaves less
// room makes Publish return a *broker.PayloadError with that limit, from the first connection to it on.
//
// A message for subscriptions of the same broker does not come back from the server: it is delivered when the server
// has acknowledged it.
//
// # Subscribing
//
// All subscriptions of a broker share the connection; each has subscriptions on the server of its own, one per filter.
// All received messages have one order, also across filters. nats.go never drops anything as a slow consumer: its
// channel is emptied before each read from the network, which brings less than fits.
//
// Each subscription has a goroutine that calls its receiver, and a buffer of 16 MiB (Options.ReceiveBuffer). When that
// is full the connection, and with it all subscriptions, waits for that receiver, for at most 1 second
// (Options.SlowReceiver). Later messages are missed, until half of the buffer is free: Interrupted, with a
// *broker.LossError that counts them, and Resumed are called in their place. A receiver that blocks through several
// interruptions without a message between them gets one call, which counts all messages known to be missed.
//
// Subscribe fails at once if the first connection cannot be made or the server refuses. During an interruption it
// waits for the end of it, or of its context.
//
// # Outages
//
// If a connection receives nothing for 1 second, the broker sends a ping. It gives the connection up if no reply comes
// within 3 more seconds (Options.ProbeInterval, ProbeTimeout): so a frozen server or a dead link is noticed within 4
// seconds, a connection that is closed at once. Then receivers get Interrupted, and new connections are tried, to each
// server in turn: at once if the connection had lasted (twice the longest that the last pause could be, at least 100
// milliseconds), and then after random pauses below a limit that doubles from 50 milliseconds to 2 seconds
// (Options.BackoffMin, BackoffMax), for ever. Receivers get Resumed when all filters are live.
//
// A dead link is noticed late, and messages written to it meanwhile become uncertain. So when the server has not
// acknowledged sent messages for 200 milliseconds, and nothing else has arrived either, messages wait in the queue
// until it replies: about 250 milliseconds after the link's death. On a link on which the slowest of the last answers
// took longer than 100 milliseconds, the limit is twice that time, so a slow link is as fast as before, and nothing
// but ProbeTimeout ends a connection.
//
// # What a server withdraws
//
// A server reports when a reload of its configuration or of an account withdraws a right. A subscription with an
// affected filter gets Interrupted with an error that wraps nats.ErrPermissionViolation, and nothing is delivered to
// it until it gets Resumed; all others continue. The broker requests the filter again after the pauses that apply to
// connections, for one filter of each subscription at a time. Add returns the violation meanwhile, and Remove of the
// filter ends the interruption. A message that the server refuses is lost, with its violation; those before and after
// it are not. If the right changes among messages in flight, the broker knows how many were refused, and assumes that
// the change happened once. A server does not report that it denies a part of what EveryRoom selects, such as one
// room: it skips these messages.
//
// A server that ends a connection for a reason sends it, and the receivers get the reason: an error that wraps
// nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAuthorization, nats.ErrMaxConnectionsExceeded,
// nats.ErrMaxAccountConnectionsExceeded, nats.ErrMaxSubscriptionsExceeded or nats.ErrMaxPayload. It remains the reason
// of losses and log lines until a connection is made. If there are more filters than the server grants subscriptions,
// none of them is live until it grants them all.
//
// A server that removes a user closes its connections without a reason, and refuses the next one with it. So after a
// connection that was closed without a reason, receivers get Interrupted when the next attempt to connect has
// succeeded or failed, up to BackoffMin and 250 milliseconds later.
//
// # Cluster
//
// A broker is connected to one server of a cluster, and to another one when that fails. Servers spread interest in
// subjects with a delay. So that a nil error from Subscribe, and Resumed, mean live for publishers on any server, the
// broker then also connects to the other servers, of its addresses and of those the servers announce, and waits until
// each has forwarded a mark that was published after the subscriptions: servers keep that order. These connections are
// closed after some 15 seconds without need. A server that cannot be reached, or does not forward the mark within
// ProbeTimeout, is left out for 5 seconds, with a line in the log: it has crashed or is cut off from the others, and
// messages published there do not arrive anyway. An announced server is forgotten when it cannot be reached and is not
// announced any more. Across leaf nodes and gateways none of this is promised: there a subscription is live when NATS
// has spread it.
//
// Messages in flight between two servers that lose each other are lost without a report. A publisher's messages that
// were left behind at a lost server, and arrive after its later messages, are not delivered, but reported as a gap. So
// one publisher's messages keep their order across channels and servers. A message whose number differs by 1,048,576
// or more from those before it begins a sequence of its own, and the other sequence continues: a publisher that uses
// another's id does not suppress the messages of that publisher. If it counts a little ahead, it does suppress that
// many messages, which are reported as a gap: publishers must be trusted.
//
// # Permissions
//
// A user needs to publish and subscribe to P.native.control and P.native.control.*, and for each of its namespaces to
// P.W.cast.N.>, P.W.request.N, P.W.response.N and P.W.response.N.*; in a cluster also to P.mark.*. P.> allows it all.
// Without P.mark.*, of which the log has a line, a subscription on a cluster is live when NATS has spread it.
package natsbroker
