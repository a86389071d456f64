// Package backplane is Crossroom's core: rooms of members, broadcasts to members on every node of a fleet, and
// requests to the whole fleet, over any broker.Broker. A fleet is all nodes, Go and Node.js, that share one broker
// system and prefix.
//
// A [Node] is one server. In each of its namespaces it has local members, which it adds and removes. The same few
// methods reach the members of all other nodes. A member is usually a connection to a client:
//
//	node, err := backplane.New(b, nil)                  // b is the broker of this node alone
//	chat, err := node.Namespace(ctx, "/chat", nil)      // live when it returns
//	err = chat.Add(ctx, m)                              // m implements Member
//	err = chat.Join(ctx, m.ID(), "lobby")
//	err = chat.Broadcast(ctx, payload, backplane.To("lobby"))
//	...
//	err = node.Close(ctx)                               // first the node
//	err = b.Close(ctx)                                  // then its broker
//
// Packages broker/memory, broker/redis, broker/nats and broker/dial make brokers. The package has no connections to
// clients and knows no client protocol: bring a WebSocket or SSE server. It stores no messages. Package adapter adds
// Socket.IO's packets, operators and wire. A process without members sends with an [Emitter].
//
// # Delivery
//
// Broadcast delivers to the local members first, on the calling goroutine, and then passes the message to the broker.
// Each member gets it at most once. Messages of one goroutine to the same selection of rooms arrive in order. Its
// messages to different selections are in order only if the broker promises that (Capabilities.OrderAcrossChannels).
// Messages of two nodes have no common order.
//
// While the broker's servers are down, the broker keeps messages in its queue, within the limits in its documentation.
// Broadcast waits only while that queue is full. Requests return by their deadline, with a *[PartialError].
// Node.Namespace waits for the servers until its context ends. The node reports lost messages to Options.OnError. When
// the servers return, the broker restores the subscriptions and sends the queued messages. Messages that other nodes
// sent meanwhile may be missed: receivers report that as an *[InterruptedError], and observers (package observe) see it
// in its place in the order. Nothing is sent again.
//
// # Subscriptions
//
// A namespace receives broadcasts in one of two modes. [NamespaceOptions.Subscription] fixes
// the mode of a namespace, or leaves it to the node, which is the default.
//
//	                               static                    dynamic
//	subscriptions                  one                       one for each room with members here, also
//	                                                         for the ids of members, and two more
//	receives broadcasts to         every room                rooms with members here, several rooms, all
//	Join, JoinAll, Add             do no I/O                 wait for the broker if a room is new here
//	memory for a room              none                      about 0.5 KiB here with Redis, 0.9 KiB with
//	                                                         NATS, and what the server needs
//	a room without members         costs nothing             stays subscribed for 2 s
//
// In dynamic mode, what is sent to a room after Join, JoinAll or Add has returned reaches the
// member, also if it is the first one in that room here. Calls that come together share one
// round trip. A call whose room cannot be subscribed to returns an *[OpError] with the
// broker's or the context's error, and changes nothing. While the broker is interrupted, the
// calls do not wait: the rooms are subscribed to after the outage, and Resumed of observers
// comes after that. If the broker refuses a room then, the members here leave it, and the
// refusal is reported.
//
// A node that puts members of another node into a room, and waits for its response, finds the
// room subscribed to. An [Emitter] and a Node.js server do not wait. The node misses what they
// send to the room before the node has subscribed to it.
//
// An automatic namespace begins static, or dynamic if the node has 64 namespaces already. It
// compares these numbers, the rates as averages of at least two seconds:
//
//	U    messages in a second for rooms without members here
//	L    rooms that lost their last member here, in a second
//	N    rooms that are new here, in a second
//	R    rooms with members here, those of the members' ids included
//
// The rules are these:
//
//   - It becomes dynamic if U is more than 1 + R/100 + 4 L, and R is at most 50,000.
//   - It becomes static if N is more than 250 and more than half of the U that made it dynamic,
//     or if R is more than 75,000. Then it stays static for at least 10 s. This time doubles
//     with each such change, up to 10 min.
//   - It stays static for good after a request of a process that put members here into rooms
//     and waits for no response; and, with a report, after the broker has refused a room's
//     subscription.
//   - It is always dynamic on a broker without a subscription to every room
//     (Capabilities.OnlyExactly), where StaticSubscription is an *[OptionError].
//   - It is always static with an observer of observe.Unwanted, and in package adapter with
//     several links or Options.OnBroadcast: these need all broadcasts.
//
// A change of the mode loses, repeats and reorders nothing: the new subscriptions are added
// first, and the old ones removed when all of these are live (broker clause B12). In dynamic
// mode, messages to different rooms come by different channels. They keep an order if
// Capabilities.OrderAcrossChannels says so, as in static mode. observe.Snapshot has the mode
// of each namespace.
//
// # Requests
//
// The methods that reach the whole fleet have one contract: Members, MembersDetail, RoomsOf, AllRooms, Join, Leave,
// Disconnect, their forms for selections, Count, Request, EventAck and BroadcastAck. BroadcastAck has a timeout of its
// own in place of RequestsTimeout. Peers queries the broker and no node. It returns by the same deadline, and describes
// its own errors.
//
//   - They wait for other nodes, and return by the deadline: Options.RequestsTimeout or that of the context, whichever is
//     first.
//   - If nodes are missing, the value holds the responses of the other nodes, and the error is a *[PartialError] that
//     names the missing nodes. A missing node may have carried out the request. Use the value, or repeat the request:
//     all except Request, EventAck and BroadcastAck have the same effect when they are repeated.
//   - Any other error means that the request was not sent and nothing was done: the context's error, [ErrClosed], a
//     *[NameError], a *broker.PayloadError, or an error that wraps errors.ErrUnsupported if the protocol cannot express
//     the operation. In a namespace of package adapter it may also be the refusal of a request that would harm a
//     Node.js server. ErrClosed is final. Of the others only those of the context and the broker can succeed when
//     repeated.
//   - An operation on a selection is carried out on this node first, whatever the state of the broker. If the request is
//     then refused, the error is a *PartialError that wraps the refusal, and no other node got the request.
//
// A request goes to every node that is subscribed at that moment. Nodes announce themselves to each other, so a result
// can name the nodes that responded and those that are missing: see [Coverage]. Peers that announce themselves are
// known peers. Foreign peers do not announce themselves: Node.js servers, and other programs on the request channel.
//
// Operations on one member are acknowledged: nil means that the node with the member carried out the operation. They
// wrap a *[PartialError], and the errors of the broker, in an *[OpError]: use errors.Is and errors.As.
// [ErrNoSuchMember] is returned as soon as every node has responded that it does not have the member.
//
// # How long a request waits
//
//	the node                                        the request waits for it
//	responds or is live                             until the deadline
//	missed a deadline                               until 9/10 of RequestsTimeout have elapsed without a sign of life
//	did that, and is still unresponsive             not at all: ErrPeerUnresponsive
//	left, expired, or is no longer counted          not at all: ErrPeerLost
//	is a foreign peer of a kind that timed out      250 ms: ErrPeerUnresponsive
//
// A node that missed a deadline is asked for a sign of life. Any message from it makes it live again. An unresponsive
// node still gets requests. So a node that crashes without goodbye costs all requests together at most one
// RequestsTimeout. Foreign peers are known only by their number. If some of them missed a deadline, later requests of
// the same kind wait 250 ms for that many responses, until the number of foreign peers changes or the missing
// responses come.
//
// On a broker that counts subscribers, the next request notices a crash. A request that already waits notices it when a
// quarter of its time has elapsed. On any broker a crash is noticed at most Options.PeerTimeout and half a Heartbeat
// after the node's last sign of life. Requests that wait for the node end at that moment. A node that crashed without
// goodbye is missing with [ErrPeerLost] until PeerTimeout has elapsed, and then forgotten. If the broker still counts
// it, as it does a frozen process, it is missing for as long as the broker counts it.
//
// Where the broker cannot count, a node that has just started, or whose link was just restored, waits until the others
// have introduced themselves: at most 250 ms. Node.Namespace waits in this way, and so do requests. A known peer that
// has not introduced itself after that time is missing with [ErrNotIntroduced]. The same error reports a result that
// may lack unknown nodes. A node that received no message of another node assumes that it is alone.
//
// Each 250 ms of this section is a quarter of RequestsTimeout if that is shorter.
//
// # Callbacks
//
// Members' methods and the other callbacks run on the node's goroutines, or on that of a caller (below), and must not
// block. Functions of OnRequest and OnEvent may block. A member that writes to a network connection uses a queue of
// package outgoing, which never blocks, and which ends if the client is too slow:
//
//	c.queue = outgoing.New(c.write, c.disconnected, nil) // write gets batches of payloads
//
//	func (c *client) Deliver(m *backplane.Message) {
//		c.queue.Push(m.Payload, len(m.Payload), m.Volatile)
//	}
//
// A callback may call Broadcast, Event, Remove, and the methods that do no I/O. It must not call a request to the
// fleet, because its response waits behind the callback, and not Close, which waits for the callback: call these on
// another goroutine. Functions of OnRequest and OnEvent may call requests.
//
// Messages and payloads that a callback gets are shared and read-only; it may keep them. Slices and maps that a method
// returns belong to the caller, but the bytes of Reply.Payload, MemberInfo.Data and Acks.Values are read-only. Slices
// that are passed to a method are not kept.
//
// If a callback blocks or panics:
//
//   - A panic is reported as *[PanicError]; the next member is called.
//   - One worker goroutine delivers the messages of other nodes. If a member's method does not return to it for
//     Options.StallTimeout, the member is reported in an *[OpError] with [ErrStalled], and a new worker continues with the next member. The
//     stalled member gets no message, from any node, until its call returns. The missed messages are counted.
//   - After each stalled member the limit for the next ones is a quarter of the last limit, down to 1/256 of
//     StallTimeout, but at least 1 ms. When no member has stalled for a StallTimeout, the limit is StallTimeout again.
//     So 40 blocked members delay a node for about one and a half StallTimeouts.
//   - Broadcast, BroadcastAck, JoinAll, LeaveAll, Disconnect and DisconnectAll call local members on the goroutine of
//     their caller. BroadcastAckFunc calls its functions there. A member that blocks, blocks that caller, and the other
//     callers that reach it. It delays no message of another node.
//   - MembersDetail calls Describe on goroutines of its own. A call that does not return in StallTimeout is reported as
//     [ErrStalled], too. Its member is listed without data, and Describe is not called again before it has returned.
//   - Each OnRequest and OnEvent call has a goroutine of its own, at most 256 in a namespace. See "Limits" for the others.
//   - OnError and the logger have one goroutine, which does nothing else.
//   - Prepare and observers must not block. Their panics are reported. A panic of Prepare drops the message for the local
//     members; a panic of an observer changes nothing.
//
// Close waits for callbacks until its context ends. A callback that never returns stays behind. Without blocked
// callbacks Close takes some round trips to the broker. If foreign peers are connected it takes 200 ms more, and
// another 200 ms if they send requests meanwhile. A broker that does not respond can use all of the context's time:
// give it a deadline.
//
// # Limits
//
// The inbound queue of a namespace holds 8,192 messages and 64 MiB of payloads. The worker takes the whole queue at
// once, so up to twice as much is in memory. While the queue is full, the broker's reader waits for the worker, and
// the broker's own buffers fill: its documentation describes the effect. A header has at most [MaxHeader] bytes, a
// name at most broker.MaxNameLen.
//
// Requests of other nodes that cannot be carried out at once wait. Each namespace has room for 65,536 queries about
// members and rooms, as many calls of OnRequest and OnEvent, and as many responses, but no more than 64 MiB of each. A
// request counts with 512 bytes besides its own. The node refuses further requests with [ErrBusy], which it reports and
// the requesters get. It also refuses a call that has waited for three quarters of RequestsTimeout behind callbacks
// that do not return, and a query that has waited as long behind others. In namespaces of package adapter, queries wait
// for at least 3.75 s, because Node.js servers do. Equal queries that wait share the work, and one that comes again
// while it waits gets one response.
//
// A node makes four responses to queries at a time, and one large response: with more than 256 members with details, or
// with more than 4,096 names. Together they take about 100 MiB at most. A list for a Crossroom node is made and sent in
// messages of about 256 KiB, as long as the requester waits: until RequestsTimeout has elapsed, or it leaves. A large
// response for which the broker counts no listener is not made. Other servers accept a list in one message only. If the
// list is larger than the broker allows, or than 24 MiB, the data of members is omitted, and then members; that is
// reported as an *[OpError]. The data of one member is limited to [MaxDescription] bytes.
//
// The responses to one request are limited to 64 MiB and 4,096 messages from one node, and to 256 MiB from all nodes.
// The sizes are those in memory: each member counts with 96 bytes besides its own, and each name with 16. A node that
// exceeds this is missing with [ErrTooLarge]; the result has what came before. docs/LIMITS.md lists all limits.
//
// # Signing
//
// Without [Options].Keys, a node trusts every process that may publish on its channels. With a [Keyring] of secrets that
// the processes of the fleet share, nodes and emitters sign everything they publish, and a node takes in what one of its
// keys has signed: for that channel and that broker's prefix, not older than [MaxMessageAge], and once. Everything else
// is refused: counted in Stats.Unverified and reported as a *[MessageError] with the reason. It is not decoded and
// changes nothing.
//
// All holders of a key trust each other. A signature shows that the fleet sent a message, not which node, and hides
// nothing. Signing and verifying take about half a microsecond each for a short message, and a message becomes 47 to 82
// bytes longer; the largest payload of the broker is smaller by that.
//
// Keyring.Set exchanges keys while nodes run. Options.UnsignedNodes lets a fleet begin to sign. Foreign peers (Node.js
// servers) ignore signatures and cannot sign: Options.Unsigned says what a node accepts from them. A message that says it
// is of a Crossroom node is refused without a signature, whatever Unsigned says. docs/guides/operations.md has the steps.
//
// # Operations of other nodes
//
// A request of another node passes three checks before it changes anything here:
//
//	Options.Keys, Options.Unsigned   the requester: a process with a key, or any process for the kinds in Unsigned
//	NamespaceOptions.Refuse          the kind: these kinds are refused for every requester
//	NamespaceOptions.OnOperation     the content: the application decides, with the origin, the rooms and the payload
//
// By default all processes are trusted and all kinds carried out. [Operations] names the kinds for the first two checks.
// An operation that Refuse or OnOperation refuses is counted in Stats.Refused or Stats.RefusedBroadcasts, and reported as
// an *[OpError] with [ErrRefused]. For a Crossroom node that waits for it, this node is missing with ErrRefused;
// foreign peers have no form for that, and time out. Calls on this node are never refused.
//
// A node logs the disconnects that it carries out for other nodes at level info, and their joins and leaves at level
// debug: four lines of a kind and namespace at once, and those that follow as one in a second, with their number.
//
// # Invalid input
//
// The ids of requests cannot be guessed. A response is accepted from a node that was counted or that this node knows.
// The broker may also have counted nodes that this node does not know by name. Then this node accepts the responses of
// as many unknown nodes, and of 64 more. Others are counted in Stats.StrayResponses.
//
// A node remembers the announcements of 4,096 nodes, 65,536 namespaces of one node and 64 MiB of names. More are
// refused and reported in an *[OpError] with [ErrTooLarge].
//
// Unreadable bytes are counted, reported as *[MessageError] with their channel, and change nothing. A flood of bad messages
// causes few reports: of errors with one cause the first four come at once, and those that follow as one in a second,
// with their number in More. Messages on the
// channel of a room without local members are not read, unless an observer wants them (observe.Unwanted): they count
// as unwanted, whatever they are. Responses to unknown or finished requests, second responses of one node and unknown
// operations are counted.
package backplane
