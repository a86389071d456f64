// Package redisbroker is a [broker.Broker] on Redis pub/sub: it carries the messages between the nodes of a fleet,
// which are all processes with one prefix. It uses github.com/redis/go-redis/v9. Its channels have the names that
// socket.io-redis and @socket.io/redis-adapter use, so that nodes and Node.js servers can share one Redis: a single
// server, one behind Sentinel, or a cluster. It stores nothing, and it is not for a *redis.Ring, whose servers are
// independent.
//
//	b, err := redisbroker.Open("redis://localhost:6379", nil) // or New(client, &redisbroker.Options{Prefix: "shop"})
//	node, err := backplane.New(b, nil)                        // or adapter.New
//	...
//	err = node.Close(ctx)
//	err = b.Close(ctx) // after its node; a client given to New is closed last
//
// Choose it if the fleet has Node.js servers, or if you run Redis already. Choose broker/nats for payloads below 1 MiB
// and Crossroom nodes alone, and broker/memory for tests.
//
// The broker keeps the clauses of package broker, which say what is promised about order, duplicates, callbacks, waits,
// ownership and errors. The exceptions are what Redis itself does:
//
//   - Before the broker notices that a server has lost its place (see Outages), messages published there count as sent,
//     but reach only the subscribers that are still connected there (B18, B29).
//   - If a DNS name is moved to another server while the former one still calls itself a primary, the broker stays
//     connected to the former one (B29). With Sentinel and on a cluster the broker notices former primaries.
//   - A cluster loses the messages in flight between two of its servers that lose each other. It reports them to no
//     client (B14, B18).
//   - On a cluster the messages of one publisher keep their order (B2) while it uses the same server. After a change of
//     servers a new message may overtake those that are still between servers. The broker waits before it sends again,
//     for at least twice BackoffMin (100 milliseconds).
//   - Some servers are not counted, without an error: see Counting (B30).
//   - A server may allow smaller payloads than Capabilities.MaxPayload, and disconnects every subscriber after a
//     payload that is too large for it: see Limits (B6, B17).
//
// On a single server and with Sentinel the messages of one publisher also keep their order across channels
// (Capabilities.OrderAcrossChannels).
//
// # Calls that wait
//
// Each of them ends when its context does.
//
//	New, Open                   no; Open only reads the files of its TLS parameters
//	Publish                     while the queue is full
//	Flush                       until the server has replied to each earlier message, or the message is lost
//	Subscribe, Add              until the server has confirmed the filters. If no subscription of this broker is
//	                            interrupted, they fail after one attempt to connect to each server, of at most
//	                            ProbeTimeout each; else they wait for the end of the outage
//	Remove, Subscription.Close  for a running call of the receiver, and until the server has unsubscribed;
//	                            during an outage only for the former
//	Subscribers, Responders     for a reply of each server, see Counting
//	Broker.Close                until the queue is sent or too old, and for running calls of receivers
//	all others                  no
//
// Close on a server that is up takes as long as the queue needs to be sent. If the server stays down, it takes until
// the last message is too old: QueueAge, 30 seconds. With a negative QueueAge only its context ends it. Close drops
// received messages that are not delivered yet.
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
// With the default prefix, crossroom stands in place of P-crossroom, so that a fleet without Socket.IO has no names of
// Socket.IO. The prefix crossroom itself is refused.
//
// In patterns the characters * ? [ and \ of P and N are escaped with a backslash. No two channels have the same name,
// because some names are refused. A namespace that contains '#' is a *broker.NameError. A prefix that contains '#', or
// ends in -request, -response, -control or -crossroom, is a *PrefixError. So is one that is not valid UTF-8 or longer
// than broker.MaxNameLen. Rooms and ids may contain anything. Another protocol is a *broker.ProtocolError. The broker
// ignores messages of other programs on names that match a pattern but have none of these forms.
//
// # Clients
//
// A client is a *redis.Client, for a single server (from Redis 2.6 on; 6 for users) or with Sentinel, or a
// *redis.ClusterClient. Any other is a *ClientError, and so is one with a URL as its address. The caller owns a client
// given to New or in Options.SubscribeClient, and closes it after the broker.
//
// The broker opens connections of its own: one for publishing, one for subscribing, and one for queries to each server.
// Queries are made by Subscribers and Responders, and by the broker itself for the check of section Sharded pub/sub. It
// takes from the client how to reach the servers: dialer (with TLS), credentials or their provider, client name, and a
// cluster's masters or Sentinel's master. The client's hooks, OnConnect, database, timeouts, retries and pool do not
// apply. There are three reasons. go-redis may send a command twice, which breaks "at most once". It reconnects a
// subscriber without notice, which hides the gap. It cannot end a call that waits for a frozen server.
//
// The broker calls the dialer and the provider of credentials for each new connection, on goroutines of its own. Calls
// may run at the same time, but at most eight calls of the provider. They must not call the broker. One that ignores
// its context delays no call of the broker beyond that call's context, but may outlast Close. The query for the masters
// and slots of a cluster, or for Sentinel's master, may outlast Close too. Expired credentials need no action: the
// server closes the connection, and the next one gets new credentials.
//
// # Publishing
//
// Publish encodes the message into the queue and returns. A goroutine writes the queued messages, up to 32 KiB in one
// write. Up to 256 KiB, or one larger message, are in flight, which means written and without a reply of the server.
// Publish itself writes a message of up to 4 KiB if no other is queued or in flight. That write does not wait, because
// the operating system has an empty buffer for it. If the dialer returns connections without a buffer, as net.Pipe
// does, it waits for at most ProbeTimeout, whatever Publish's context. While the server is up and Options.MaxRate is
// not set, no message waits for a timer.
//
// The queue holds at most 65,536 messages and 32 MiB (Options.QueueMessages, QueueBytes). Messages in flight count too.
// After it was full, waiting calls continue when half of it is free. In an outage, and with MaxRate, a message waits
// for at most 30 seconds (QueueAge).
//
// While the server is down the queue stays, and is sent afterwards in order. A message that was written whole and had
// no reply when a connection broke is lost as uncertain: it may have arrived, and is not sent again. A message that was
// not written, or only in part, is sent later, because a server cannot act on a part of a command. A message is lost
// for certain in these cases, with a Loss.Err that wraps
//
//	ErrTooOld            it waited for longer than QueueAge
//	*ServerError         the server refuses it, such as with NOPERM
//	the context's error  it was still queued when Close's context ended
//
// Each loss is counted in Stats and reported to the functions of OnLoss. Flush and Close return it, unless a Flush
// returned it before they began.
//
// Sent and flushed mean that the server has replied. A node that is not subscribed at that moment does not get the
// message.
//
// # Subscribing
//
// All subscriptions of a broker share one connection, which stays for as long as there are filters, and one
// subscription on the server per name. At most 4 commands of at most 1,000 names are without a confirmation at a time,
// so that 100,000 rooms can be subscribed to at once. The connection speaks RESP3, which Redis has from version 6 on,
// and RESP2 where the server does not know HELLO.
//
// Each subscription has a goroutine that calls its receiver. Only Prefilter.Wants and TryReceiver.TryDeliver are called
// by the goroutine that reads the connection. Messages that wait for the receiver are in a buffer of 16 MiB
// (Options.ReceiveBuffer). While a buffer is full, the connection, and with it every subscription, waits for that
// receiver: for at most 1 second (Options.SlowReceiver), or less if the waits for all receivers would take more than a
// quarter of the time in the long run. Then the receiver misses messages until half of the buffer is free: Interrupted,
// with a *broker.LossError that counts them, and Resumed are called in their place. A receiver that blocks during
// several interruptions, without a message between them, gets one call of Interrupted. Its error has the sum of all
// messages known to be missed.
//
// If an attempt to connect fails while no subscription of this broker is interrupted, Subscribe and Add return its
// error, and the broker makes no other. With Options.Sharded on a cluster only subscriptions with channels on the same
// master count. A filter that the server refuses is an error at once. A nil receiver is an error too.
//
// # Outages
//
// Once in every second (Options.ProbeInterval) the broker examines the server of each connection, also while messages
// flow: is it alive, and is it a server of the fleet (see Servers)? With the defaults it notices
//
//	a closed connection                             at once
//	a frozen server or a dead link                  within 4 seconds: it has sent nothing for ProbeTimeout, 3 seconds,
//	                                                after an examination
//	a server whose role or place has changed        within 4 seconds, with the reply to an examination
//	  and which knows it
//	a node that its cluster has removed, and        after two or three examinations: it reads the list of masters
//	  which does not know it                        (CLUSTER SLOTS) with each
//	a former master that Sentinel cannot reach      within about 8 seconds: it opens a connection every 4 seconds,
//	                                                whatever the options, to see where Sentinel leads, and closes it
//
// A slow receiver does not make a connection count as lost. A connection for queries is examined together with the
// next query.
//
// When the connection for subscribing is lost, receivers get Interrupted, and the broker tries to connect until it
// succeeds or no filter is left. The connection for publishing is made again while messages wait. Both fail and return
// independently of each other. Between the attempts are pauses. Each is random, below a limit that doubles from 50
// milliseconds to 2 seconds (Options.BackoffMin, BackoffMax). After a connection that lasted for at least BackoffMax,
// the first attempt comes without a pause. A subscription gets Resumed when the server has confirmed all of its
// filters. Messages that arrive for some of them before that are dropped and belong to the gap.
//
// Interrupted has the reason. A server that closes a connection gives none, but usually refuses the next connection
// with the reason (WRONGPASS, NOPERM, the maximum of clients). So receivers get Interrupted up to 300 milliseconds
// (BackoffMin and 250 milliseconds) after the loss of the connection. The log has a line for each reason that the
// server gives.
//
// After an outage the messages in the queue are not sent at once, because other nodes have not resubscribed yet. They
// wait until the interrupted subscriptions of this broker are live, and for as long as the pauses of other brokers may
// last: from 100 milliseconds (twice BackoffMin) after a short outage to 2 seconds (BackoffMax) after a long one. If
// the subscriptions do not return, the wait ends after twice BackoffMax, or 1 second if that is longer. Close ends it
// too. With a SubscribeClient, and with Options.Sharded on a cluster, the messages do not wait for the subscriptions. A
// node that takes longer to return has a gap, which its broker reports. The messages that it misses count as sent.
// After a server turned out not to belong to the fleet, queued messages wait in the same way, for at least one
// ProbeInterval, because other brokers notice later.
//
// A Logger's handler is called by goroutines of the broker, partly with a lock held. It must not call the broker, and
// should not block.
//
// # Errors
//
// In addition to those of package broker:
//
//	*AddressError                 Open                       correct the address; also for a TLS file that cannot be read
//	*PrefixError, *ClientError    New, Open                  correct the argument; a nil client is a *ClientError
//	*ServerError                  Subscribe, Add,            correct the password (WRONGPASS, NOAUTH), or grant the
//	                              Subscribers, Responders,   permission (NOPERM, see Permissions). For another code see
//	                              Interrupted, losses        Reply: some pass by themselves, such as LOADING.
//	*MembershipError              the same calls             correct the address if it recurs: the broker looks for
//	                                                         another server by itself
//	ErrTooOld                     losses                     send the state anew; a longer outage needs a larger QueueAge
//	network and TLS errors,       the same calls             before the first connection: check address, TLS and network.
//	  *broker.TimeoutError                                   Later the broker reconnects; call again what failed.
//
// A loss arrives at functions of OnLoss and, in a *broker.LossError, from Flush or Close. It counts messages and does
// not have them: a program that must repeat them keeps them itself.
//
// # Sharded pub/sub
//
// On a cluster every message that is published by PUBLISH costs every server. With Options.Sharded the broker uses the
// sharded pub/sub of Redis 7 (SPUBLISH, SSUBSCRIBE): a message costs only the servers of the shard that serves the slot
// of its channel. On a single server it works too, and saves nothing. Channels have the names above. Sharded and
// classic pub/sub are apart: brokers with and without the option never receive each other's messages, and do not count
// each other. So all nodes of a fleet must have the same setting.
//
// A broker with Control or a Socket.IO namespace among its filters checks whether others use its prefix with the other
// setting. It counts the subscribers that these have with that setting when it subscribes, and then once in every 30
// ProbeIntervals. The log has one line when it finds some, and one when they have left. Processes that only publish are
// not noticed. The check needs PUBSUB NUMSUB and SHARDNUMSUB; without them, or before Redis 7, it is left out.
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
//     publishing to each master in use, with a queue of its own. Options.QueueMessages, QueueBytes, QueueAge and
//     MaxRate hold for each. A command has names of one slot.
//   - When a slot moves, the servers say so: they withdraw its subscriptions, and refuse what is sent for it with
//     MOVED. The broker follows them. It requests the list of slots (CLUSTER SLOTS) when it is first used, when it has
//     lost a server, and while a slot has no master.
//   - A message that was refused with MOVED is sent to the new master 50 milliseconds later, in its place in the order,
//     so that subscribers can move first. It is lost, with the refusal, if the queue of messages without a known
//     master is full, or if its slot moves once more before it is sent.
//   - Messages to a slot without a master wait, at most QueueAge. The first ones may be lost, because the server
//     refuses them with CLUSTERDOWN before the broker knows. If the cluster's option
//     cluster-allow-pubsubshard-when-down is off, its servers refuse all messages while the cluster is down, and these
//     are lost.
//   - A subscription that loses some of its channels gets Interrupted with a *broker.GapError, which has their filters.
//     Messages on other channels arrive meanwhile. Channels that fail later become a part of the interruption. The
//     receiver owns the list of filters; it does not change. If some channels return and others do not for twice
//     BackoffMax, the receiver gets Resumed and, directly after it, Interrupted with the filters of the others.
//   - Add does not wait for a master that cannot be reached, if other channels of the subscription are live: the
//     filters of that master become a part of the interruption, or begin one.
//
// # Servers
//
// PING proves that a server is alive, not that it carries the messages of the whole fleet. So a connection is used only
// if its server is of the following kind. The broker examines that when it has opened the connection, and then as in
// Outages.
//
//	single server, Sentinel               a primary
//	  by Options.SubscribeClient          a primary, or a replica whose link to it is up
//	node of a cluster                     a master that serves slots
//	  by a *redis.Client                  any node
//
// A single server must keep the role that it had when the connection was opened. A node of a cluster must
//
//   - know masters that serve slots, and reach most of them,
//   - be of the same cluster as the nodes that the broker used before, and
//   - be listed as a master by other nodes.
//
// Otherwise the connection ends with a *MembershipError: receivers get Interrupted, messages wait, and the broker looks
// for another server. Slots that no master serves (cluster_state:fail) do not matter to pub/sub. A new cluster under
// the addresses of an old one is accepted once no node of the old one responds.
//
// Subscribers leave a master of a cluster that becomes a replica, although it would continue to deliver: Node.js
// servers with node-redis count on masters only.
//
// The broker also uses a server about which it knows less. If the user lacks ROLE and CLUSTER NODES, the broker knows
// the server's role from HELLO, which needs no permission, and its place in a cluster from CLUSTER SLOTS, which
// go-redis needs. It does not notice then that a replica has lost its link, or that a node reaches only a minority.
// Without HELLO (before Redis 6, and behind some proxies) the broker knows nothing of the server.
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
// server counts once, whatever addresses lead to it. They end with their context. Without a deadline, an unresponsive
// server costs the following:
//
//	a single server, or all nodes of a cluster   about ProbeTimeout, then a *broker.TimeoutError and no number
//	a replica, or some nodes of a cluster        at most ProbeTimeout, then the sum of the others and a
//	                                             *broker.InexactError
//
// With a deadline, the wait of the second row is at most half of the time until then. A goroutine tries such a server
// again. One query in several seconds waits for that, at most an eighth of the time until its deadline, or ProbeTimeout
// without one. The others do not wait for the server. A server that refuses connections causes no wait, and its error
// comes in the same way. If a reply on an open connection takes 250 milliseconds (on a slow link four round trips), or
// a quarter of the time until the deadline if that is less, the query is repeated once on a new connection.
//
// These are not counted, without an error:
//
//   - Subscribers at a cluster node that refuses new connections and that most masters regard as failed: it is not
//     running.
//   - Subscribers at a replica of a single server to which this broker could never connect, as behind many a managed
//     primary. The logger gets one line.
//   - Subscribers at replicas of a single server if the user lacks INFO.
//
// A cluster's user that lacks CLUSTER NODES gets an *InexactError with the numbers of the masters that the client
// knows.
//
// # Limits
//
// A server keeps what a subscriber has not read yet, and disconnects the subscriber if that is too much
// (client-output-buffer-limit pubsub, by default 32 MiB, or 8 MiB for 60 seconds). Its receivers get Interrupted. Such
// a disconnection has two causes:
//
//   - Subscribers read more slowly than all nodes together publish. The link from the server is the usual reason,
//     because every message leaves it once for each node.
//   - One payload exceeds a limit by itself. Above the hard limit the server disconnects every subscriber at once.
//     Above the soft limit it does so with the second such payload, if more than 60 seconds have elapsed since the
//     first, even if the subscriber has read everything in between. Flush returns nil nevertheless, because the server
//     has accepted the message. (Redis 7.0.15 with default settings does this from 7 MiB on, 7,340,032 bytes: its
//     allocator rounds a little more than 7 MiB up to 8 MiB.)
//
// Therefore the default of Options.MaxPayload is 4 MiB. The broker reads the limits of the server of each new
// connection (CONFIG GET client-output-buffer-limit, proto-max-bulk-len). If one of them is too small for MaxPayload,
// the logger gets a line, and Publish refuses larger payloads with a *broker.PayloadError. The broker takes as that
// server's limit 4/5 of the smaller of the two buffer limits, less 64 KiB, or proto-max-bulk-len if that is less:
// 6,645,350 bytes with default settings. Messages accepted before the first connection are sent nevertheless. On a
// cluster the limits are those of the servers in use, and of all servers after a call of Subscribers or Responders. A
// server that refuses CONFIG GET, as most managed ones do, is assumed to allow MaxPayload. Settings that change are
// read by the next connection.
//
// Options.MaxRate helps subscribers that read too slowly: the node sends no faster, and Publish waits when the queue is
// full. Node.js servers need it most: on node-redis a server of @socket.io/redis-adapter 7.2 or 8.3 may
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
//	+publish
//	+subscribe +psubscribe +unsubscribe +punsubscribe
//	+spublish +ssubscribe +sunsubscribe   with Options.Sharded, in place of the two lines above
//	+pubsub|numsub +pubsub|channels       for Subscribers and Responders; with Options.Sharded
//	                                      +pubsub|shardnumsub +pubsub|shardchannels
//	+info                                 for them, on a single server with replicas
//	+cluster|nodes +cluster|myid          for them, and for Servers, on a cluster
//	+cluster|slots +cluster|shards +hello +client +readonly +command
//	+role                                 for a SubscribeClient that leads to replicas
//	+ping                                 optional: a refusal proves as well that the server is alive
//	+config|get                           optional, see Limits
//
// Redis allows PSUBSCRIBE of a pattern only if the user has literally the same pattern. For namespace /chat of a
// Socket.IO fleet give &socket.io#/chat#* (with the backslashes, if it has escaped characters),
// &socket.io-request#/chat#, and &socket.io-response#/chat#*. All nodes also need &crossroom-control#*, on
// which they announce themselves. A wider pattern such as &socket.io* allows PUBLISH and SUBSCRIBE for all names, but
// not PSUBSCRIBE. With backplane.DynamicSubscription nodes do not need PSUBSCRIBE for broadcasts. Then
// &socket.io#/chat#* allows all rooms, and the names of single rooms may be given in its place.
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
// their responses, and each result that lacks them comes with a *backplane.PartialError with Coverage.Uncounted set.
// A crashed node is reported as lost only after backplane.Options.PeerTimeout.
//
// # Cluster and Sentinel
//
// In a cluster a message published on any server reaches subscribers on all. So the broker uses one master, chosen at
// random, for publishing, and one for subscribing. When such a master fails or is demoted, the broker uses another one.
// With Options.Sharded it uses the master of each channel: see above.
//
// With Sentinel each new connection goes to the master of that moment. Sentinel demotes a former master that it can
// reach. A former master that only the clients can reach still calls itself a master, until the broker notices it (see
// Outages).
package redisbroker
