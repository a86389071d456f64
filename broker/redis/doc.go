// Package redisbroker is a broker on Redis pub/sub, on github.com/redis/go-redis/v9. Its channels have the names that
// socket.io-redis and @socket.io/redis-adapter use, so that nodes and Node.js servers share one Redis.
//
//	b, err := redisbroker.Open("redis://localhost:6379", nil) // or New(client, &redisbroker.Options{Prefix: "shop"})
//	node, err := backplane.New(b, nil)                        // or adapter.New
//	...
//	err = node.Close(ctx)
//	err = b.Close(ctx) // after its node
//
// It keeps all clauses of package broker, about order, duplicates, callbacks, ownership of payloads and errors, on a
// single server and on a cluster. On a single server and by Sentinel the messages of one publisher also keep their
// order across channels.
//
// Publish, Flush and Close wait as broker.Broker says. Subscribe, Add, Subscribers and Responders wait for the server,
// until their context ends. Remove, and the Close of a subscription, also wait until the server has unsubscribed from
// the filters that no other subscription of this broker has. During an outage they do not wait for that. The Close of
// the broker waits until the queue is sent, or until its context ends.
//
// # Names
//
// With prefix P (Options.Prefix, "socket.io" unless said otherwise), namespace N, room R and node id I:
//
//	                     broker.SocketIO      broker.Native
//	Broadcast(N)         P#N#                 P-crossroom#N#
//	Room(N, R)           P#N#R#               P-crossroom#N#R#
//	Requests(N)          P-request#N#         P-crossroom-request#N#
//	Responses(N)         P-response#N#        P-crossroom-response#N#
//	NodeResponses(N, I)  P-response#N#I#      P-crossroom-response#N#I#
//	Control()                                 P-crossroom-control#
//	NodeControl(I)                            P-crossroom-control#I#
//	EveryRoom(N)         PSUBSCRIBE P#N#*     PSUBSCRIBE P-crossroom#N#*
//	Uncounted(N)         PSUBSCRIBE P-request#N[#]  PSUBSCRIBE P-crossroom-request#N[#]
//
// In patterns the characters * ? [ and \ of P and N are escaped with a backslash. No two channels have the same name,
// because some names are refused. A namespace that contains '#' is a *broker.NameError. A prefix that contains '#', or
// ends in -request, -response, -control or -crossroom, is a *PrefixError. So is one that is not valid UTF-8 or longer
// than broker.MaxNameLen. Rooms and ids may contain anything. Another protocol is a *broker.ProtocolError. The broker
// ignores messages of other programs on names that match a pattern but have none of these forms.
//
// # Clients
//
// A client is a *redis.Client, for a single server (from Redis 2.6 on; 6 for users) or by Sentinel, or a
// *redis.ClusterClient. A *redis.Ring is refused with a *ClientError, because its servers are independent. The caller
// owns a client given to New, and closes it after the broker.
//
// The broker opens connections of its own: one for publishing, one for subscribing and, once Subscribers or Responders
// is called, one for such queries to each server. It takes from the client how to reach the servers: dialer (with TLS),
// credentials or their provider, client name, and a cluster's masters or Sentinel's master. The client's hooks,
// OnConnect, timeouts, retries and pool do not apply. The reasons are that go-redis repeats what it could not send in
// one go, which breaks "at most once". It reconnects a subscriber without notice, which hides the gap. It cannot end a
// call that waits for a frozen server.
//
// The broker calls the dialer and the provider of credentials for each new connection, on its own goroutines and
// possibly several at once, of the provider at most 8. A dialer or a provider that ignores its context delays no call of
// the broker beyond that call's context, but may outlast Close. So may the query for a cluster's masters. Expired
// credentials need no action: the server closes the connection, and the next one gets new credentials.
//
// # Publishing
//
// Publish encodes the message into the queue and returns. The sender writes queued messages in one piece, up to 32 KiB
// at a time. Up to 256 KiB are in flight before the server has replied. Publish itself writes a message of up to 4 KiB
// if no other is queued or in flight. That write does not wait, because the connection's buffer in the operating system
// is empty. Only if a dialer returns connections without a buffer it waits, for at most ProbeTimeout, and does not end
// with Publish's context. No message waits for a timer.
//
// The queue holds at most 65,536 messages and 32 MiB, each for at most 30 seconds (Options.QueueMessages, QueueBytes,
// QueueAge). After it was full, waiting calls continue when half of it is free.
//
// While the server is down the queue stays, and is sent afterwards in order. A message that was written whole and had
// no reply when a connection broke counts as uncertain and is not sent again. A message that was not written, or only
// in part, is sent later, because a server cannot act on a part of a command. Messages are lost for certain if they
// wait for longer than QueueAge (ErrTooOld), if the server refuses them (*ServerError, such as NOPERM), or at the end
// of Close's context. Each loss is counted in Stats, reported to OnLoss functions, and returned by one Flush.
//
// Sent and flushed mean that the server has replied. Redis pub/sub stores nothing: a node that is not subscribed at
// that moment does not get the message.
//
// # Subscribing
//
// All subscriptions of a broker share one connection, which stays for as long as there are filters, and one
// subscription on the server per name. The confirmations for up to 4 commands of up to 1,000 names are underway at a
// time, so that 100,000 rooms can be subscribed to at once.
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
// The connection speaks RESP3, which Redis has from version 6 on, and RESP2 where the server does not know HELLO.
//
// # Outages
//
// Once in every second (Options.ProbeInterval) the server of each connection is examined, also while messages flow. A
// connection is given up if the server does not reply within 3 seconds (Options.ProbeTimeout), or if its reply shows
// that it does not belong to the fleet (see Servers). So a frozen server, a dead link and a server that was replaced
// are noticed within 4 seconds, a connection that is closed at once. A connection for queries is examined together
// with the next query. A kept one without a reply within 250 milliseconds, or a quarter of the query's remaining time,
// is replaced.
//
// When the connection for subscribing is lost, receivers get Interrupted, and the broker tries to connect until it
// succeeds. It pauses between the attempts. Each pause is random, below a limit that doubles from 50 milliseconds to 2
// seconds (Options.BackoffMin, BackoffMax). The first attempt comes without a pause if the lost connection had lasted
// for at least twice the limit of the last pause (not less than twice BackoffMin, not more than BackoffMax). A
// subscription gets Resumed when the server has confirmed all of its filters. Messages that arrive for some of them
// before that are dropped and belong to the gap. The connections of publishing and subscribing fail and return
// independently of each other.
//
// Interrupted has the reason. A server that closes a connection gives none, but usually refuses the next connection
// with the reason (WRONGPASS, NOPERM, the maximum of clients). So receivers get Interrupted up to BackoffMin and 250
// milliseconds after the loss of the connection. The log has a line for each reason that the server gives.
//
// Messages from the outage are not sent as soon as the server is back, because other nodes have not resubscribed yet.
// They wait until this broker's own subscriptions are live, and also for the longest pause that another broker with the
// same options may be in: twice the limit that the pauses had reached, at most BackoffMax. The wait is limited to twice
// BackoffMax or 1 second, whichever is longer, and Close ends it. Nearly all of these messages reach the nodes that
// return. A node that takes longer has a gap, which its broker reports. The messages that it misses count as sent.
//
// After a server turned out not to belong to the fleet, queued messages wait in the same way, for at least one
// ProbeInterval, because other brokers notice later. Messages published before the broker noticed count as sent. They
// have reached only brokers that had not noticed either.
//
// # Errors
//
// In addition to those of package broker:
//
//	*AddressError, *PrefixError,  New, Open                  correct the argument
//	  *ClientError
//	*ServerError                  Subscribe, Add,            correct the password, or grant the
//	                              Subscribers, Responders,   permission (see Permissions)
//	                              Interrupted, losses
//	*MembershipError              the same                   none if it is rare: the broker looks for another
//	                                                         server; else correct the address
//	ErrTooOld                     losses                     publish again; a longer outage needs a larger QueueAge
//	network and TLS errors,       as *ServerError            none after the first connection: the broker
//	  *broker.TimeoutError                                   reconnects; else check address, TLS and network
//
// A loss arrives at functions of OnLoss and, in a *broker.LossError, from Flush or Close.
//
// # Sharded pub/sub
//
// On a cluster every message that is published by PUBLISH costs every server. With Options.Sharded the broker uses the
// sharded pub/sub of Redis 7 (SPUBLISH, SSUBSCRIBE): a message costs only the servers of the shard that serves the slot
// of its channel. On a single server it works too. Channels have the names above. Sharded and classic pub/sub are
// apart: brokers with and without the option never receive each other's messages, and do not count each other. So all
// nodes of a fleet must have the same setting.
//
// There are no patterns: EveryRoom and Uncounted are a *broker.ProtocolError, and Capabilities say OnlyExactly. So
// namespaces of package backplane are dynamic. Package adapter speaks the wire of Socket.IO's sharded adapter on such a
// broker.
//
// A server before Redis 7, and a *redis.Client that leads to a node of a cluster, are a *MembershipError.
//
// On a cluster:
//
//   - There is one connection for subscribing to each master that serves a slot of the subscribed channels, and one for
//     publishing to each master in use, with a queue of its own. Options.QueueMessages, QueueBytes, QueueAge and MaxRate
//     hold for each. A command has names of one slot.
//   - When a slot moves, the servers say so: they withdraw its subscriptions, and refuse what is sent for it with MOVED.
//     The broker follows them. It requests the list of slots (CLUSTER SLOTS) when it is first used, when it has lost a
//     server, and while a slot has no master.
//   - A message that was refused with MOVED is sent to the new master 50 milliseconds later, so that subscribers can move
//     first, in its place in the order. It is lost with that refusal if its slot has moved once more meanwhile.
//   - Messages to a slot without a master wait, at most QueueAge. The first ones may be lost, because the server refuses
//     them with CLUSTERDOWN before the broker knows. So are all while the cluster is down and its option
//     cluster-allow-pubsubshard-when-down is off.
//   - A subscription that loses some of its channels gets Interrupted with a *broker.GapError, which has their filters.
//     Messages on other channels arrive meanwhile. Channels that fail during the interruption become a part of it. If
//     some return and others do not for twice BackoffMax, the interruption ends, and another one with the others begins.
//   - Add does not wait for a master that cannot be reached, if other channels of the subscription are live: these
//     filters become a part of the interruption, or begin one.
//
// # Servers
//
// PING proves that a server is alive, not that it carries the fleet's messages. When a connection has been opened, and
// then as above, its server must be:
//
//	single server, Sentinel               a primary
//	  by Options.SubscribeClient          a primary, or a replica whose link to it is up
//	node of a cluster                     a master that serves slots
//	  by a *redis.Client                  any node
//
// A single server must keep the role that it had when the connection was opened. A node of a cluster must know nodes
// that serve slots, must reach most of these masters, must be of the same cluster as the nodes before, and must be
// listed as a master by others. Otherwise the connection ends with a *MembershipError: receivers get Interrupted,
// messages wait, and the broker looks for another server. Slots that no master serves (cluster_state:fail) do not
// matter to pub/sub. A new cluster under the addresses of an old one is accepted once no node of the old one responds.
//
// Subscribers leave a master of a cluster that becomes a replica, although it would continue to deliver: Node.js
// servers with node-redis count on masters only.
//
// Missing information about a server is not a reason to refuse it. A user without permission for ROLE and CLUSTER
// NODES is served. The broker then knows the server's role from HELLO, which needs no permission, and its place in a
// cluster from CLUSTER SLOTS, which go-redis needs. It does not notice in this case that a replica has lost its link,
// or that a node reaches only a minority. Without HELLO (before Redis 6, and behind some proxies) the broker knows
// nothing of the server. In no case does it notice a former primary that still calls itself one, if the name that led
// to it leads to another server for new connections.
//
// # Counting
//
// Subscribers (PUBSUB NUMSUB) and Responders (PUBSUB CHANNELS) query every server that a message reaches, since each
// knows its own connections only:
//
//	single server, Sentinel   the server, its replicas and theirs (INFO replication): a
//	                          replica passes on what is published on its primary
//	cluster                   all nodes (CLUSTER NODES): masters and replicas, with and
//	                          without slots, healthy or not
//
// They send each query to all servers at the same time, and read in the same round trip which servers there are. A
// server counts once, whatever addresses lead to it.
//
// If a server does not respond, both return the sum of the others and a *broker.InexactError. They wait half of their
// context's time, at most ProbeTimeout. Later queries do not wait for that server; a goroutine tries it. If a single
// server, or every node of a cluster, does not respond, both return the connection's error and no number.
//
// These are not counted, without an error:
//
//   - Connections to a cluster node that refuses connections while most masters say that
//     it failed: it is not running.
//   - Connections to a replica of a single server to which this broker could never connect,
//     as behind many a managed primary. The logger gets one line.
//   - Connections to replicas of a single server if the user lacks INFO.
//
// A cluster's user that lacks CLUSTER NODES gets an *InexactError with the numbers of the masters that the client
// knows.
//
// # Limits
//
// A server keeps what a subscriber has not read yet, and disconnects the subscriber if that is too much
// (client-output-buffer-limit pubsub, by default 32 MiB, or 8 MiB for 60 seconds). For the broker this is an
// interruption. It has two causes:
//
//   - Subscribers read more slowly than all nodes together publish. The link from the server
//     is the usual reason, because every message leaves it once for each node.
//   - One payload exceeds a limit by itself. Above the hard limit the server disconnects
//     every subscriber at once. Above the soft limit it notes the time. It deletes the note
//     only when a later message finds less waiting, not when the subscriber has read
//     everything. So a second such payload, more than 60 seconds after the first,
//     disconnects every subscriber. Flush returns nil nevertheless, because the server has
//     accepted the message. (Redis 7.0.15 with default settings does this from 7 MiB on,
//     7,340,032 bytes: its allocator rounds a little more than 7 MiB up to 8 MiB.)
//
// Therefore the default of Options.MaxPayload is 4 MiB. The broker reads the limits of the server of each new
// connection (CONFIG GET client-output-buffer-limit, proto-max-bulk-len). If one of them is too small for MaxPayload,
// the logger gets a line, and Publish refuses larger payloads with a *broker.PayloadError. Its Max is what the server
// allows: 4/5 of the smaller of the two buffer limits, less 64 KiB, or proto-max-bulk-len if that is less. With default
// settings it is 6,645,350 bytes. Messages accepted before the first connection are sent nevertheless. On a cluster the
// limits are those of the servers in use, and of all servers after a call of Subscribers or Responders. A server that
// refuses CONFIG GET, as most managed ones do, is assumed to allow MaxPayload. Settings that change are read by the
// next connection.
//
// Against subscribers that read too slowly there is Options.MaxRate: the node sends no faster, and Publish waits when
// the queue is full. Node.js servers need it most: on node-redis a server of @socket.io/redis-adapter 7.2 or 8.3 may
// crash ("trailing bytes") when the server disconnects it in the middle of a flood, such as 200,000 messages of 128
// bytes. The rates of all nodes together must stay below what the slowest subscriber reads.
//
// # Many namespaces
//
// EveryRoom of each namespace is one pattern on the server, which compares the channel of every message with every
// pattern, however many nodes hold it. The patterns of all fleets on the server count. With 128-byte messages to one
// of the namespaces, one node and its server on two cores of a shared machine:
//
//	namespaces       1       10      100     1,000    10,000
//	messages/s 838,000  446,000  220,000    32,000     1,400
//
// That is about 30 to 70 ns of the server's time for each pattern and message. So use rooms rather than namespaces for
// things that exist in thousands. In automatic mode a node begins with a pattern for each of at most 64 namespaces. In
// further namespaces it subscribes to single rooms, which needs no pattern (package backplane, section
// "Subscriptions"). To measure it with your server:
//
//	go test ./broker/redis -run - -bench Namespaces
//
// # Permissions
//
// With Redis ACLs the user needs these commands, and the channels and patterns above of each of its namespaces.
// CLUSTER, HELLO, CLIENT, READONLY and COMMAND are for clusters and go-redis itself:
//
//	+publish +ping
//	+subscribe +psubscribe +unsubscribe +punsubscribe
//	+spublish +ssubscribe +sunsubscribe   with Options.Sharded, in place of these and +publish
//	+pubsub|numsub +pubsub|channels       for Subscribers and Responders; with Options.Sharded
//	                                      +pubsub|shardnumsub +pubsub|shardchannels
//	+info                                 for them, on a single server with replicas
//	+cluster|nodes +cluster|myid          for them, and for Servers, on a cluster
//	+cluster|slots +cluster|shards +hello +client +readonly +command
//	+role                                 for a SubscribeClient that leads to replicas
//	+config|get                           optional, see Limits
//
// Redis allows PSUBSCRIBE of a pattern only if the user has literally the same pattern. For namespace /chat of a
// Socket.IO fleet give &socket.io#/chat#* (with the backslashes, if it has escaped characters),
// &socket.io-request#/chat#, and &socket.io-response#/chat#*. All nodes also need &socket.io-crossroom-control#*, on
// which they announce themselves. A wider pattern such as &socket.io* allows PUBLISH and SUBSCRIBE for all names, but
// not PSUBSCRIBE. With backplane.DynamicSubscription nodes do not need PSUBSCRIBE for broadcasts. Then
// &socket.io#/chat#* allows all rooms, and the names of single rooms may be given in its place. PING is not required:
// its refusal is a sign of life too.
//
// Permissions may change while a broker is running. When the server refuses a filter that it allowed before, the
// subscription gets Interrupted with the *ServerError. The broker requests the filter again after pauses as in Outages,
// and calls Resumed when the server allows all filters. Other subscriptions continue. Messages that the server refuses
// are lost with the *ServerError. Where the server refuses UNSUBSCRIBE or PUNSUBSCRIBE, Remove and Close succeed, and
// the log has a line. The broker drops what the server still sends for these filters. The server counts this node as a
// subscriber of them until the connection ends.
//
// Without PUBSUB nothing can be counted: Subscribers and Responders return a *broker.InexactError that wraps the
// *ServerError, for as long as the permission is missing. Queries then wait for the known peers, which are all
// Crossroom nodes that have announced themselves. Node.js servers still get every request, but no query waits for
// their responses, so each answer that they could be part of is a *backplane.PartialError with Coverage.Uncounted set.
// A crashed node is reported as lost only after backplane.Options.PeerTimeout.
//
// # Cluster and Sentinel
//
// In a cluster a message published on any server reaches subscribers on all. So the broker uses one master, chosen at
// random, for publishing, and one for subscribing. When such a master fails or is demoted, the broker uses another one.
// A publisher's messages keep their order for as long as it uses the same master, so on a cluster the broker does not
// claim order across channels. Messages in flight between two servers that lose each other are lost without a report.
// None of this holds for sharded pub/sub: see above.
//
// With Sentinel each new connection goes to the master of that moment. Sentinel demotes a former master that it can
// reach. A former master that only the clients can reach still calls itself a master. To notice it, the broker makes a
// connection every 4 seconds to see where Sentinel leads, and closes that connection. This takes up to 8 seconds. In a
// cluster the list of masters (CLUSTER SLOTS) is queried as often as servers are examined.
package redisbroker
