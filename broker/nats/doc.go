// Package natsbroker is a [broker.Broker] on core NATS, without JetStream: it carries the messages between the nodes of
// a fleet, which are all processes with one prefix. It uses github.com/nats-io/nats.go. A fleet on NATS has Crossroom
// nodes only: Node.js servers do not use these subjects. NATS stores nothing, and does not count subscribers; package
// backplane then waits for the nodes that it knows (see its Options.PeerTimeout and Coverage). Choose broker/redis if
// there are Node.js servers, or for payloads above 1 MiB.
//
//	b, err := natsbroker.Open("tls://a:4222,tls://b:4222,tls://c:4222", &natsbroker.Options{Prefix: "shop"})
//	                                   // or New(nc, nil), where nc is a *nats.Conn
//	node, err := backplane.New(b, nil) // or adapter.New
//	...
//	err = node.Close(ctx)
//	err = b.Close(ctx) // after its node
//
// The broker keeps the clauses of package broker, which say what is promised about order, duplicates, callbacks, waits,
// ownership and errors. In addition the messages of one publisher keep their order across channels. The exceptions are
// what NATS itself does:
//
//   - Nothing is counted (B22, B23).
//   - A server may deny a user one room of a namespace to which the user may subscribe with EveryRoom. It skips the
//     messages to that room and reports nothing (B1, B14).
//   - A cluster loses the messages in flight between two of its servers that lose each other. It reports them to no
//     client (B14, B18).
//   - Across leaf nodes and gateways a subscription may become live later than its call returns (B1).
//   - On a cluster a late message may come out of order in three rare cases, which section Cluster lists (B2).
//   - Another client whose user may publish to the subjects can publish messages in the name of a node (B4).
//
// # Calls that wait
//
// Each of them ends when its context does.
//
//	New, Open                   no; an option of Options.NATS may read a file, as nats.RootCAs does
//	Publish                     while QueueMessages or QueueBytes are queued and in flight
//	Flush                       until the server has acknowledged each earlier message, or the message is lost
//	Subscribe, Add              until the server has accepted the filters, and on a cluster until all servers know
//	                            them (see Cluster). If no subscription of this broker is interrupted, they fail
//	                            after one attempt to connect to each server, of at most ProbeTimeout for each
//	                            of its IP addresses and ProbeTimeout for the handshake;
//	                            else they wait for the end of the outage
//	Remove, Subscription.Close  for a running call of the receiver; never for a server
//	Broker.Close                until the queue is sent or too old, and for running calls of receivers
//	all others                  no
//
// Close on a server that is up takes as long as the queue needs to be sent. If the server stays down, it takes until
// the last message is too old: QueueAge, 30 seconds. With a negative QueueAge only its context ends it. Close drops
// received messages that are not delivered yet.
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
//	                     P.mark.*           to learn which servers know a subscription (see Cluster)
//
// N, R and I are one token each. Every name has a token, and different names have different tokens:
//
//	. * > % space, control characters    % and two upper-case hexadecimal digits
//	the empty name                       %
//	a name whose token would have        %h and the name's SHA-256 in hexadecimal digits; the name
//	  more than 1,024 bytes              itself is in the message, and receivers compare it
//
// So a subject has at most 2,560 bytes, and the default of a server's max_control_line, 4,096, is enough. A prefix is
// one or more tokens that need no escaping, of at most 255 bytes in all. The first does not begin with $, because those
// subjects are the servers' own. None after it is "cast", "request", "response", "control" or "mark". Another prefix is
// refused with a *PrefixError, and a protocol named like one of these five words with a *broker.ProtocolError.
//
// A room's subscription is for exactly that room's subject (Exactly), and a whole namespace is one subscription
// (EveryRoom). A message carries a frame before its payload: the id of the publisher's connection and the message's
// number, 16 bytes, and the names if the subject has a hash in place of one. With the frame a subscription recognises
// copies, whichever filters or servers they come by. Messages of other programs on these subjects, without such a
// frame, are ignored. NATS headers are not used.
//
// # Connections
//
// The broker uses one *nats.Conn of its own at a time, for publishing and subscribing. When that connection ends, the
// broker makes another one. It does not use the reconnecting of nats.go, for two reasons. After reconnecting,
// nats.go sends its buffer without knowing which part the server has already. And it delivers messages from after a gap
// before the gap can be reported.
//
// From a connection given to New the broker copies, during that call, how to reach the servers: addresses, including
// those that the servers have announced, credentials and their callbacks, TLS, name and dialer. The broker
// does not use, change or close that connection. Its event handlers, and its settings about reconnecting, pings, echo
// and buffers, do not apply.
//
// The broker also tries servers that the cluster announces, unless nats.IgnoreDiscoveredServers is among the options,
// and sends them the same credentials. It demands TLS of an announced server if it uses TLS with the server that
// announced it. With an address of nats:// and a server that demands no TLS, the broker sends the credentials
// unencrypted. The same holds for the servers that this one announces. Use tls:// if the credentials cross a network.
// Addresses are nats:// and tls://; another scheme, such as that of websockets, is an *AddressError.
//
// Dialers and callbacks for credentials are called for each new connection, on goroutines of the broker and possibly
// several at once. They must not call the broker. A call that does not return delays no call of the broker beyond that
// call's context, but may outlast Close. A Logger's handler is called by goroutines of the broker, partly with a lock
// held. It must not call the broker, and should not block.
//
// # Publishing
//
// Publish passes the message to nats.go, which writes several messages at once. These writes never wait: a goroutine
// writes the bytes that the operating system does not accept at once. A server does not acknowledge messages. The
// broker sends a ping after them, whose reply acknowledges them. It does this at once when a quarter of 4 MiB
// (Options.WindowBytes) is in flight, when a call waits, and after a message that this broker's own subscriptions
// select; otherwise after 50 milliseconds. At most 4 MiB are in flight without a reply; further messages wait in the
// queue. What is queued or in flight is at most 65,536 messages and 32 MiB (Options.QueueMessages, QueueBytes). After
// the limit was reached, waiting calls continue when half of it is free. In an outage a message waits for at most 30
// seconds (QueueAge).
//
// While the server is down the queue stays, and is sent afterwards in order. All messages in flight when a connection
// broke are lost as uncertain, and are not sent again. Most of them have usually arrived: the server had processed
// them, but its reply was missing. A message is lost for certain in these cases, with a Loss.Err that wraps
//
//	ErrTooOld                    it waited for longer than QueueAge
//	nats.ErrPermissionViolation  the server does not allow it
//	*broker.PayloadError         the server accepts less, and Publish did not know that before the connection
//	the context's error          it was still queued when Close's context ended
//
// Each loss is counted in Stats and reported to the functions of OnLoss. Flush and Close return it, unless a Flush
// returned it before they began.
//
// Sent and flushed mean that the server has processed the message. A node that is not subscribed at that moment does
// not get the message. After an outage the messages in the queue are not sent at once, because other nodes have not
// resubscribed yet. They wait until the server has granted or refused the filters of this broker, and then for as long
// as the pauses of other brokers may last: from 100 milliseconds (twice BackoffMin) after a short outage to 2 seconds
// (BackoffMax) after a long one. Close ends this wait. A node that takes longer to return has a gap, which its broker
// reports; the messages that it misses count as sent.
//
// Capabilities.MaxPayload is the limit of the options, and does not change. A server whose max_payload leaves less
// room makes Publish return a *broker.PayloadError with that limit, from the first connection to it on.
//
// The server does not send a message back to the connection that published it. The broker itself delivers such a
// message to its own subscriptions when the server has acknowledged it.
//
// # Subscribing
//
// All subscriptions of a broker share the connection. Each filter of a subscription is one subscription on the server.
// All received messages have one order, also across filters. nats.go drops messages when its buffer for a subscription
// is full ("slow consumer"). That does not happen here: the broker empties the buffer before each read, and one read
// returns less than the buffer holds.
//
// Each subscription has a goroutine that calls its receiver. Only Prefilter.Wants and TryReceiver.TryDeliver are called
// by other goroutines: by those of the connection, and Wants also by the caller of Publish. Messages that wait for the
// receiver are in a buffer of 16 MiB (Options.ReceiveBuffer). While a buffer is full, the connection, and with it every
// subscription, waits for that receiver: for at most 1 second (Options.SlowReceiver), or less if the waits for all
// receivers would take more than a quarter of the time in the long run. Then the receiver misses messages until half of
// the buffer is free: Interrupted, with a *broker.LossError that counts them, and Resumed are called in their place. A
// receiver that blocks during several interruptions, without a message between them, gets one call of Interrupted. Its
// error has the sum of all messages known to be missed.
//
// If an attempt to connect fails while no subscription of this broker is interrupted, Subscribe and Add return its
// error. Queued messages stay, and the broker continues to connect for them. A filter that the server refuses is an
// error at once. A nil receiver is an error too.
//
// # Outages
//
// If a connection receives nothing for 1 second, the broker sends a ping. It gives the connection up if nothing arrives
// for 3 seconds after that (Options.ProbeInterval, ProbeTimeout). So a frozen server or a dead link is noticed within 4
// seconds. A closed connection is noticed at once. Then receivers get Interrupted, and the broker tries to connect, to
// each server in turn, until it succeeds. It pauses after each round. Each pause is random, below a limit that doubles
// from 50 milliseconds to 2 seconds (Options.BackoffMin, BackoffMax). After a connection that lasted for at least
// BackoffMax, the first round comes without a pause. Receivers get Resumed when all of their filters are live.
//
// A dead link is noticed late, and messages written to it meanwhile become uncertain. To limit their number, the broker
// holds further messages in the queue while an acknowledgement is late: nothing has arrived for 200 milliseconds after
// the ping, which is about 250 milliseconds after the link has failed. On a link whose slowest recent reply took longer
// than 100 milliseconds, the broker waits for twice the time of that reply instead of the 200 milliseconds. A late
// acknowledgement alone does not end a connection; only ProbeTimeout does.
//
// # Rights that a server withdraws
//
// A server reports when a reload of its configuration or of an account withdraws a right. A subscription with an
// affected filter gets Interrupted with an error that wraps nats.ErrPermissionViolation. Nothing is delivered to it
// until it gets Resumed; all others continue. After pauses as in Outages, the broker requests one refused filter of
// each such subscription again. When the server has granted it, the broker requests the others. Meanwhile Add returns
// the violation. Removing all refused filters ends the interruption.
//
// A message that the server refuses is lost, with its violation; those before and after it are not. The server reports
// how many messages in flight it has refused, but not which. The number of lost messages is always right. If the
// permission changed more than once among the messages in flight, the broker may mistake which of them were lost. Its
// own subscriptions get those that it takes for sent.
//
// A server usually sends the reason before it closes a connection. The receivers get the reason: an error that wraps
// nats.ErrAuthExpired, nats.ErrAccountAuthExpired, nats.ErrAuthRevoked, nats.ErrAuthorization,
// nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded, nats.ErrMaxSubscriptionsExceeded or
// nats.ErrMaxPayload. Losses have the reason too. Add returns nats.ErrMaxSubscriptionsExceeded for filters beyond the
// server's maximum; other filters stay live. If a later connection is granted fewer subscriptions than there are
// filters, no filter is live until a server grants them all.
//
// A server that removes a user closes its connections without a reason, and gives the reason when it refuses the next
// one. So if a connection was closed without a reason, receivers get Interrupted after the next attempt to connect, at
// most BackoffMin and 250 milliseconds later.
//
// # Cluster
//
// A broker is connected to one server of a cluster, and to another one when that fails. Servers forward subscriptions
// to each other with a delay. A nil error from Subscribe, and Resumed, nevertheless mean live for publishers on any
// server. For this the broker also connects to the other servers: those of its addresses, and those that the servers
// announce. It publishes a mark after the subscriptions, and waits until each of these servers has forwarded the mark.
// Servers keep the order, so each of them then knows the subscriptions. These connections are closed after 15 seconds
// without use.
//
// If a server cannot be reached, or does not forward the mark within ProbeTimeout, the log gets a line, and no call
// waits for it for 5 seconds. It has crashed or is cut off from the others, and messages published there do not arrive
// anyway. An announced server is forgotten when it cannot be reached and is not announced any more. The broker does not
// wait for servers across leaf nodes and gateways.
//
// When a publisher connects to another server, a message that it left behind at the first one may arrive after a later
// message. A receiver does not get that late message. It gets Interrupted, with a *broker.LossError that counts it, and
// Resumed. So one publisher's messages keep their order across channels and servers.
//
// Each connection of a publisher has an id, by which a receiver knows the later of two connections. An id is a hash (56
// bits of SHA-256) of the next connection's id. So only the publisher knows the next id, and a forged message cannot
// displace a real one. A publisher makes 4,096 ids in advance. A subscription remembers 8,192 to 16,384 ids: three for
// each publisher, and one for each later connection. A late message may be delivered out of order in three cases:
//
//   - More ids have come since than the subscription remembers.
//   - The publisher has made 16 connections of whose messages the receiver got none.
//   - The publisher has used up its 4,096 ids and begun with new ones.
//
// # Errors
//
// In addition to those of package broker:
//
//	*AddressError, *PrefixError,   New, Open                correct the argument; a nil connection is an error too
//	  errors of Options.NATS
//	errors.ErrUnsupported          Subscribers, Responders  none: NATS cannot count
//	nats.ErrPermissionViolation    Subscribe, Add,          grant the permission (see Permissions)
//	                               Interrupted, losses
//	nats.ErrAuthorization,         Subscribe, Add,          correct the credentials, or raise the server's limit
//	  ErrAuth…, ErrAccount…,       Interrupted, losses      (see Rights that a server withdraws)
//	  ErrMax…
//	ErrTooOld                      losses                   send the state anew; a longer outage needs a larger QueueAge
//	network and TLS errors,        Subscribe, Add,          before the first connection: check address, TLS and
//	  *broker.TimeoutError         Interrupted, losses      network. Later the broker reconnects; call again what failed.
//
// A loss arrives at functions of OnLoss and, in a *broker.LossError, from Flush or Close. It counts messages and does
// not have them: a program that must repeat them keeps them itself. An error of an option arrives wrapped from New or
// Open; a file that nats.go reads later, for each connection, is an error of the connection.
//
// # Permissions
//
// A user needs to publish and subscribe to P.native.control and P.native.control.*, and for each of its namespaces to
// P.W.cast.N.>, P.W.request.N, P.W.response.N and P.W.response.N.*; in a cluster also to P.mark.*. P.> allows it all.
// Without P.mark.* the log has a line, and on a cluster Subscribe may return before all servers know the subscription.
package natsbroker
