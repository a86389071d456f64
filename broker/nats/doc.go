// Package natsbroker is a broker on NATS, on github.com/nats-io/nats.go: core NATS, without JetStream.
//
//	b, err := natsbroker.Open("tls://a:4222,tls://b:4222,tls://c:4222", &natsbroker.Options{Prefix: "shop"})
//	                                   // or New(nc, nil), where nc is a *nats.Conn
//	node, err := backplane.New(b, nil) // or adapter.New
//	...
//	err = node.Close(ctx)
//	err = b.Close(ctx) // after its node
//
// A fleet on NATS has Crossroom nodes only: Node.js servers do not use these subjects.
//
// The broker keeps all clauses of package broker, about order, duplicates, callbacks, ownership of payloads and errors,
// except counting (B22, B23), because NATS does not count subscribers. That holds on a single server, and on a cluster
// as described below. In addition the messages of one publisher keep their order across channels.
//
// Publish, Flush, Remove and Close wait as broker.Broker says. Subscribe and Add wait for the server, until their
// context ends. Subscribers and Responders do no I/O. The Close of the broker waits until the queue is sent, or until
// its context ends.
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
// N, R and I are one token each. Every name has a token, and different names have different tokens:
//
//	. * > % space, control characters    % and two upper-case hexadecimal digits
//	the empty name                       %
//	more than 1,024 bytes after that     %h and the name's SHA-256 in hexadecimal digits; the name
//	                                     itself is in the message, and receivers compare it
//
// So a subject has at most 2,560 bytes, and the default of a server's max_control_line, 4,096, is enough. A prefix is
// one or more tokens that need no escaping, of at most 255 bytes in all. The first does not begin with $, because those
// subjects are the servers' own. None after it is "cast", "request", "response", "control" or "mark". Another prefix is
// refused with a *PrefixError, and a protocol named like one of these five words with a *broker.ProtocolError.
//
// A room's subscription is for exactly that room's subject (Exactly), and a whole namespace is one subscription
// (EveryRoom). A message carries a frame of 16 bytes before its payload: the id of the publisher's connection, and the
// message's number. With it a subscription recognises copies, whichever filters or servers they come by. Messages of
// other programs on these subjects, without such a frame, are ignored. NATS headers are not used.
//
// # Connections
//
// The broker uses one *nats.Conn of its own at a time, for publishing and subscribing. When that connection ends, the
// broker makes another one. It does not use the reconnecting of nats.go, for two reasons. That would send its buffer
// again without knowing which part had been sent before. And it would deliver messages from after a gap before the gap
// can be reported.
//
// From a connection given to New the broker copies, during that call, how to reach the servers: addresses, including
// those that the servers have announced, credentials and their callbacks, TLS, name and dialer. That connection is not
// used, not changed, and not closed. Its event handlers, and its settings about reconnecting, pings, echo and buffers,
// do not apply. ReconnectBufSize is an example: nothing is given to nats.go while there is no connection.
//
// The broker also tries servers that the cluster announces, unless nats.IgnoreDiscoveredServers is among the options,
// and sends them the same credentials. It demands TLS of them if the address of the server that announced them is
// tls://, or if that server was connected to by TLS. A server at an address with nats:// that demands no TLS gets the
// credentials without it, and so do those that it announces: use tls:// if there is a network between them.
// Addresses are nats:// and tls://; websockets are refused. Dialers and callbacks for credentials are called for each
// new connection, on the broker's goroutines and possibly several at once. A call that does not return may outlast
// Close.
//
// # Publishing
//
// Publish passes the message to nats.go, which writes gathered messages in one piece. These writes never wait: a
// goroutine writes the bytes that the operating system does not accept at once. A server does not acknowledge messages.
// The broker sends a ping after them, whose reply acknowledges them: when a quarter of 4 MiB (Options.WindowBytes) is
// in flight, when a Flush or Close waits, and otherwise after 50 milliseconds. At most 4 MiB are in flight without a
// reply; further messages wait in the queue. Both together are at most 65,536 messages and 32 MiB, and none waits in
// the queue for more than 30 seconds (Options.QueueMessages, QueueBytes, QueueAge). After the limit was reached,
// waiting calls continue when half of it is free.
//
// While the server is down the queue stays, and is sent afterwards in order. All messages in flight when a connection
// broke count as uncertain and are not sent again. Most of them have usually arrived: the server had processed them,
// but its reply was missing. Messages are lost for certain if they wait for longer than QueueAge (ErrTooOld), if the
// server does not allow them (nats.ErrPermissionViolation), if they were accepted without a connection and are larger
// than the server accepts (*broker.PayloadError), or at the end of Close's context. Each loss is counted in Stats,
// reported to OnLoss functions, and returned by one Flush.
//
// Sent and flushed mean that the server has processed the message. Core NATS stores nothing: a node that is not
// subscribed at that moment does not get the message. After an outage queued messages wait until this broker's own
// subscriptions are live, and also for the longest pause that another broker with the same options may be in: twice the
// limit that the pauses had reached, at most BackoffMax. Close ends this wait.
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
// All received messages have one order, also across filters. nats.go never drops a message as one of a slow consumer:
// the broker empties the channel of nats.go before each read, and one read returns less than the channel holds.
//
// Each subscription has a goroutine that calls its receiver, and a buffer of 16 MiB (Options.ReceiveBuffer). When that
// is full the connection, and with it all subscriptions, waits for that receiver: for all receivers together 1 second
// at once (Options.SlowReceiver), and a quarter of the time in the long run. Later messages are missed until half of
// the buffer is free: Interrupted, with a *broker.LossError that counts them, and Resumed are called in their place. A
// receiver that blocks through several interruptions without a message between them gets one call, which counts all
// messages known to be missed.
//
// Subscribe fails at once if the first connection cannot be made or the server refuses. During an interruption it
// waits for the end of it, or of its context.
//
// # Outages
//
// If a connection receives nothing for 1 second, the broker sends a ping. It gives the connection up if no reply comes
// within 3 more seconds (Options.ProbeInterval, ProbeTimeout). So a frozen server or a dead link is noticed within 4
// seconds. A closed connection is noticed at once. Then receivers get Interrupted, and the broker tries to connect, to
// each server in turn, until it succeeds. It pauses after each round. Each pause is random, below a limit that doubles
// from 50 milliseconds to 2 seconds (Options.BackoffMin, BackoffMax). The first round comes without a pause if the lost
// connection had lasted for at least twice the limit of the last pause (not less than twice BackoffMin, not more than
// BackoffMax). Receivers get Resumed when all filters are live.
//
// A dead link is noticed late, and messages written to it meanwhile become uncertain. To limit their number, the broker
// holds further messages in the queue while an acknowledgement is late: nothing has arrived for 200 milliseconds after
// the ping. That is about 250 milliseconds after the link has failed. On a link whose slowest recent reply took longer
// than 100 milliseconds, the limit is twice that time, so a slow link loses no speed. A late acknowledgement alone does
// not end a connection; only ProbeTimeout does.
//
// # What a server withdraws
//
// A server reports when a reload of its configuration or of an account withdraws a right. A subscription with an
// affected filter gets Interrupted with an error that wraps nats.ErrPermissionViolation. Nothing is delivered to it
// until it gets Resumed; all others continue. The broker requests the filter again after the pauses that apply to
// connections, for one filter of each subscription at a time. Add returns the violation meanwhile, and Remove of the
// filter ends the interruption.
//
// A message that the server refuses is lost, with its violation; those before and after it are not. The server reports
// how many messages in flight it has refused, but not which. The broker assumes that the right changed once among them.
// A server does not report that it denies a part of what EveryRoom selects, such as one room: it skips these messages.
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
// subjects with a delay. A nil error from Subscribe, and Resumed, nevertheless mean live for publishers on any server.
// For this the broker also connects to the other servers: those of its addresses, and those that the servers announce.
// It publishes a mark after the subscriptions, and waits until each of these servers has forwarded the mark. Servers
// keep the order, so each of them then knows the subscriptions. These connections are closed after 15 seconds without
// use.
//
// A server that cannot be reached, or does not forward the mark within ProbeTimeout, is left out for 5 seconds, with a
// line in the log. It has crashed or is cut off from the others, and messages published there do not arrive anyway. An
// announced server is forgotten when it cannot be reached and is not announced any more. Across leaf nodes and gateways
// none of this is promised: there a subscription is live when NATS has spread it.
//
// Messages in flight between two servers that lose each other are lost without a report. A publisher's message that was
// left behind at a lost server, and arrives after a later message of that publisher, is not delivered. It is reported
// as a gap. So one publisher's messages keep their order across channels and servers.
//
// Another client that may publish can forge messages of a publisher, but not keep the publisher's own from being
// delivered. The id of each connection is the hash of the id of the next one (SHA-256, 56 bits), so a forger has no id
// that is later than the publisher's. A message counts as a copy only if its subject and all of its bytes are the same.
// Receivers remember 8,192 to 16,384 ids. If more are in use, or after 16 connections from which a receiver got nothing,
// or 4,096 connections of a publisher, a late message may be delivered after a later one.
//
// # Errors
//
// In addition to those of package broker:
//
//	*AddressError, *PrefixError,   New, Open                correct the argument
//	  errors of Options.NATS
//	errors.ErrUnsupported          Subscribers, Responders  none: NATS cannot count
//	nats.ErrPermissionViolation    Subscribe, Add,          grant the permission (see Permissions)
//	                               Interrupted, losses
//	nats.ErrAuthorization and the  the same                 correct the credentials, or raise the server's limit
//	  others of the list above
//	ErrTooOld                      losses                   publish again; a longer outage needs a larger QueueAge
//	network and TLS errors,        the same as              none after the first connection: the broker
//	  *broker.TimeoutError         the violation            reconnects; else check address, TLS and network
//
// A loss arrives at functions of OnLoss and, in a *broker.LossError, from Flush or Close. The list above is that of
// section "What a server withdraws".
//
// # Permissions
//
// A user needs to publish and subscribe to P.native.control and P.native.control.*, and for each of its namespaces to
// P.W.cast.N.>, P.W.request.N, P.W.response.N and P.W.response.N.*; in a cluster also to P.mark.*. P.> allows it all.
// Without P.mark.*, of which the log has a line, a subscription on a cluster is live when NATS has spread it.
package natsbroker
