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
// The simplest program with members calls [New], Node.Namespace and Namespace.Add, then Broadcast, and at the end
// Node.Close. A process without members needs only an [Emitter]: NewEmitter, Broadcast, Flush.
//
// Packages broker/memory, broker/redis, broker/nats and broker/dial make brokers. The package accepts no connections
// and knows no client protocol: bring a WebSocket or SSE server, or use package hub. It stores no messages. Package
// adapter is the same for Socket.IO clients.
//
// # Words
//
//	node           one Node, or one Server of package adapter; peers are the other nodes
//	member         what a node delivers to, usually the connection of a client
//	fleet          all nodes, Go and Node.js, that share a broker's system and a prefix
//	known peer     a Crossroom node that has announced itself to this node
//	foreign peer   a server that does not announce itself, such as a Node.js server; only package adapter has them
//	goodbye        the announcement of a node that closes
//	counting       the broker can return how many nodes are subscribed (Redis and memory can, NATS cannot)
//
// # Waits
//
// Only methods with a context wait, and the functions ack of DeliverAck and reply of OnEvent. Each wait of a method
// ends with its context, except the wait for a callback on the caller's goroutine, such as a local member's method:
//
//	Node.Namespace               the broker (section "Outages"); other nodes' introductions, at most 250 ms
//	Add, Join, JoinAll           in dynamic mode the broker, if a room is new here (section "Subscriptions")
//	Broadcast, Event, Emitter    space in the broker's queue
//	requests to the fleet        other nodes, at most RequestsTimeout (section "Requests")
//	Peers                        the broker, and introductions, at most RequestsTimeout
//	AwaitPeers, Ready            what their names say
//	Emitter.Flush, .Close        the broker, until all messages are sent or lost
//	Drain                        the removal of all members, and what Close waits for
//	Node.Close, Namespace.Close  see "The end"
//
// Broadcast, BroadcastAck, JoinAll, LeaveAll, Disconnect and DisconnectAll call the methods of local members on the
// goroutine of their caller. A method that blocks, blocks that caller, also after its context has ended. MembersDetail
// and EachMember wait for the Describe methods of local members, within the limits of section "Callbacks".
//
// # Order and delivery
//
// Broadcast delivers to the local members, and then passes the message to the broker. nil means that the broker has
// accepted it. Each member gets a message at most once, and nothing is sent again. A lost message is reported to
// Options.OnError.
//
// Two messages that a node or an emitter sends one after the other arrive everywhere in that order:
//
//	both are broadcasts to the same single room                            always
//	both are broadcasts to all members or to several rooms                 always
//	both are operations on members, such as JoinAll, or BroadcastAcks      always
//	other pairs, such as a Broadcast and a JoinAll                         if the broker's Capabilities say
//	                                                                       OrderAcrossChannels: all of ours do,
//	                                                                       except Redis Cluster
//
// A broadcast to All().InAll(rooms...) counts as one to the first of the rooms. Nodes carry out operations on members
// in their place among the broadcasts. Queries, such as Members, and each Request and Event run on other goroutines, in
// no order. Messages of two nodes, and those of two goroutines of one node, have no common order: two members may get
// them in different orders.
//
// # Outages
//
// While the broker's servers are down, local members still get broadcasts. The broker keeps messages in its queue,
// within the limits in its documentation, and Broadcast waits only while that queue is full. Requests return by their
// deadline with a *[PartialError], and have the local part of the result. A request that the broker has queued is
// carried out after the outage, although its caller has the error already.
//
// Node.Namespace waits for the end of an outage that has interrupted a namespace of this node. Otherwise, such as for
// the first namespace while the servers are down, it may return the failure of one attempt to connect: call it again.
//
// When the servers return, the broker restores the subscriptions and sends its queue. Messages that other nodes sent
// meanwhile may be missed. OnError gets an *[InterruptedError] when an interruption begins. Observers (package observe)
// see both ends, in their place among the messages. Node.Ready waits for the end. After that, read again from your own
// store what must be complete.
//
// The log has two lines for an outage, however many namespaces it interrupts: a warning when it begins, and one at level
// info three seconds after its end, with its duration, the number of interruptions, and the messages that were lost, or
// may have been. OnError gets the interruptions and losses themselves.
//
// # Subscriptions
//
// A namespace receives broadcasts in one of two modes. [NamespaceOptions.Subscription] fixes
// the mode of a namespace, or leaves it to the node, which is the default.
//
//	                               static                    dynamic
//	subscriptions                  one                       one for each room with members here, one for each
//	                                                         member's id, and two more
//	receives broadcasts to         every room                rooms with members here; those to all members, or
//	                                                         to several rooms
//	Join, JoinAll, Add here        do not wait               wait for the broker if a room is new here
//	memory for a room              none                      about 0.5 KiB here with Redis, 0.9 KiB with
//	                                                         NATS, and what the server needs
//	a room without members         costs nothing             stays subscribed for 2 s
//
// In dynamic mode Join, JoinAll and Add return nil when the room is subscribed to, so messages that are sent afterwards
// reach the member. RequestsTimeout does not limit this wait: give the call a context that ends. Calls at the same time
// share one round trip. A call whose room cannot be subscribed to returns an *[OpError] with the broker's or the
// context's error, and changes nothing. While the broker is interrupted the calls do not wait: they return nil, the
// rooms are subscribed to after the outage, and Resumed of observers comes after that. If the broker refuses a room
// then, this node's members leave it, also if it is that of a member's id, and OnError gets an *[OpError]. The room is
// requested again when a member enters it.
//
// A node that puts another node's member into a room gets the response when the room is subscribed to. An [Emitter] and
// a Node.js server do not wait: the room's messages before that are missed.
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
//   - It becomes static if R is more than 75,000, or if N is more than both 250 and half of the U at which it became
//     dynamic. Then it stays static for at least 10 s. This time doubles with each such change, up to 10 min.
//   - It stays static for good when an Emitter or a Node.js server has put members of this node
//     into rooms; and, with a report to OnError, when the broker has refused a room.
//   - It is always dynamic on a broker without a subscription to every room
//     (Capabilities.OnlyExactly), where StaticSubscription is an *[OptionError].
//   - On other brokers it is always static with an observer of observe.Unwanted, and in package
//     adapter with several links or Options.OnBroadcast: these need all broadcasts.
//
// A change of the mode loses, repeats and reorders nothing (clause B12 of package broker).
// observe.Snapshot has the mode of each namespace.
//
// # Requests
//
// Requests to the fleet have one contract. They are Members, MembersDetail, RoomsOf, AllRooms, Count, Join, Leave,
// Disconnect, JoinAll, LeaveAll, DisconnectAll, Request, EventAck, BroadcastAck, EachMember and EachRoom. Of the last
// two the error comes at the end of the loop, and the deadline is that of each of several requests.
//
//   - They return when every node has responded, and at the latest when Options.RequestsTimeout has elapsed or the
//     context ends. BroadcastAck has a timeout of its own in place of RequestsTimeout. In dynamic mode Join and JoinAll
//     first wait for the broker, without that limit (section "Subscriptions").
//   - A *[PartialError] means that nodes are missing: it names them, with a reason for each. The value holds the
//     responses of the others. PartialError.Err says why the wait ended, such as the deadline, the context, an error of
//     the broker, or ErrClosed. A missing node may have carried out the request, or may still do so. Use the value, or
//     repeat the request: all except Request, EventAck and BroadcastAck have the same effect when they are repeated.
//   - Any other error means that no other node got the request. Section "Errors" lists them.
//   - An operation on a selection, such as JoinAll, is carried out on this node first, whatever the state of the broker.
//     If the request to the others is refused after that, the error is a *PartialError that wraps the refusal.
//   - An operation on one member is acknowledged: nil means that the node with the member carried it out. An error of
//     the request is in an *[OpError], also a *PartialError. [ErrNoSuchMember] comes as soon as every node has
//     responded that it does not have the member.
//
// A request goes to every node that is subscribed at that moment, and each gets it at most once. A result names the
// known peers that responded and those that are missing, and counts the foreign peers: see [Coverage].
//
// # How long a request waits
//
//	state of the node                              the request waits for it
//	live                                           until the deadline
//	missed the deadline of a request               until 9/10 of RequestsTimeout have elapsed since that request
//	and sent no sign of life in that time          not at all: ErrPeerUnresponsive
//	left, expired, or is no longer counted         not at all: ErrPeerLost
//	a foreign peer of a kind that timed out        250 ms: ErrPeerUnresponsive
//
// A node that missed a deadline is asked for a sign of life. Any message from it makes it live again. An unresponsive
// node still gets requests. So a node that crashes without goodbye costs all requests together at most one
// RequestsTimeout. Foreign peers are known only by their number. If some of them missed a deadline, later requests of
// the same kind wait only 250 ms for as many of them, until the number of foreign peers changes or the missing
// responses come.
//
// On a broker that counts, the next request notices a crash, and a waiting request notices it at the end of each
// quarter of its time. On any broker a crash is noticed at most Options.PeerTimeout and half a Heartbeat after the
// node's last sign of life, and requests that wait for the node end at that moment. Once that is noticed, the node
// is missing with [ErrPeerLost] until PeerTimeout has elapsed since its last sign of life. Then it is forgotten. A node
// that the broker still counts, such as a frozen process, is missing as long as it is counted. A node that returns
// announces itself again.
//
// Where the broker cannot count, a node that has just started, or whose link was just restored, waits until the others
// have introduced themselves: at most 250 ms. Node.Namespace, Peers and requests wait in this way. A known peer that
// has not introduced itself after that time is missing with [ErrNotIntroduced]. ErrNotIntroduced without such a peer
// means that the result may lack nodes that this node does not know. A node that received no message of another node
// assumes that it is alone.
//
// Each 250 ms of this section is a quarter of RequestsTimeout if that is shorter.
//
// # Callbacks
//
//	callback                                      goroutine                               it may block
//	Deliver, DeliverAck, Disconnect,              the namespace's worker; for calls of    no
//	  DisconnectFor, Joined, Left, Prepare        this node, the caller's
//	OnOperation, IsID                             the worker; IsID also that of the       no, and it must not call
//	                                              caller of Join or JoinAll               the namespace
//	Describe                                      one for each call, at most 64 for a     no
//	                                              query at a time
//	observers                                     that of the observed operation          no
//	Changed of observers                          one of its own                          yes: later changes wait
//	OnRequest, OnEvent                            one for each call, at most 256 in a     until its context ends; more
//	                                              namespace at a time                     calls wait
//	functions of BroadcastAckFunc                 the caller's                            yes, within the timeout
//	hand of Drain                                 the caller's                            no: the next calls wait
//	OnError, Logger                               one for all calls of both               yes: later reports wait
//
// Except OnOperation and IsID, callbacks that may not block may call methods without a context. They may also call
// Broadcast and Event, which wait while the broker's queue is full: give them a context that ends soon. They call all
// other methods on another goroutine, because responses wait behind the callback. No callback may call Close or Drain,
// which wait for it.
//
// A member that writes to a network connection uses a queue of package outgoing, which never blocks, and which ends if
// the client is too slow:
//
//	c.queue = outgoing.New(c.write, c.disconnected, nil) // write gets batches of payloads
//
//	func (c *client) Deliver(m *backplane.Message) {
//		c.queue.Push(m.Payload, len(m.Payload), m.Volatile)
//	}
//
// If a callback blocks or panics:
//
//   - A panic is reported as *[PanicError], and the node continues with the next call. A panic of Prepare drops the
//     message for the local members. One of OnOperation or IsID refuses the operation. One of OnRequest or OnEvent is an
//     error in the requester's Reply. One of a function of BroadcastAckFunc is not reported: it panics in its caller.
//   - One worker goroutine of a namespace delivers the messages of other nodes. If a member's method does not return to
//     it for Options.StallTimeout, the member is reported in an *[OpError] with [ErrStalled], and a new worker
//     continues with the next member. The stalled member gets no message, from any node, until its call returns. The
//     missed messages are counted.
//   - After each stalled member the limit for the next ones is a quarter of the last limit, but at least 1/256 of
//     StallTimeout and 1 ms. When no member has stalled for a StallTimeout, the limit is StallTimeout again.
//     So 40 blocked members delay a node for about one and a half StallTimeouts.
//   - A member's method that blocks its caller on this node delays no message of another node.
//   - A Describe that does not return in StallTimeout is reported with [ErrStalled], too. Its member is listed without
//     data, and Describe is not called again before it has returned.
//   - OnOperation, IsID, Prepare and observers have no such limit: a call that blocks stops the namespace's worker.
//
// # Ownership
//
// Slices and maps that are passed to a call are not kept: the caller may change them when it has returned. A Target
// copies the names of rooms; it keeps the map of Header, and the pointer of CountLocal. What a callback gets is shared
// and read-only, except Message.Value in Prepare. It may be kept, except the rooms of Joined and Left, an [Operation]
// with its slices, and the data of observers. What Describe and OnRequest return must not be changed afterwards. Slices
// and maps that a method returns belong to the caller, but the bytes of Reply.Payload, MemberInfo.Data and Acks.Values
// are read-only.
//
// # Errors
//
// Use errors.Is and errors.As: errors are often in an *[OpError], which has the operation and the names. The context's
// error is returned as it is if the context had ended before the call.
//
//	*OptionError            New, NewEmitter, NewKeyring,     correct the option
//	                        Keyring.Set, Namespace, Drain
//	*NameError,             calls with a name                use another name
//	  *broker.NameError
//	*broker.PayloadError    Broadcast, Event, requests,      send less, or raise the limit of the broker
//	                        Namespace, Emitter
//	ErrClosed               calls of a closed node or        make no more calls
//	                        namespace
//	ErrNamespaceExists      Namespace                        use that namespace, or close it first
//	ErrMemberExists         Add                              remove the other member first, or use another id
//	ErrNoSuchMember         Join, Leave, Disconnect,         none: no node has the member
//	                        RoomsOf
//	*PartialError           requests                         use the value, or repeat the request
//	ErrNotIntroduced        requests, Peers                  repeat the call: the result may lack nodes that just started
//	errors.ErrUnsupported   Emitter                          none: a Local Target selects no member of an emitter
//	*broker.LossError       Emitter.Flush, Emitter.Close     messages were lost: send again what must arrive
//	ErrOtherWire            Emitter.Close                    use the NewEmitter of the package of the servers
//	ErrNilContext           every call with a context        pass a context
//	the broker's error      Namespace, Broadcast, Event,     call again; the broker's documentation lists its errors.
//	                        Emitter; in dynamic mode Add,    Other nodes did not get the message.
//	                        Join, JoinAll
//	the context's error     every call with a context;       call again with more time
//	                        requests: in *PartialError
//
// OnError gets the errors that no call returns. The sentinels are in an *OpError:
//
//	*InterruptedError                  messages may have been missed: see "Outages"
//	*broker.LossError                  messages of this node were lost: send again what must arrive
//	*PanicError, ErrStalled            correct the callback
//	*MessageError                      find the program that publishes on these channels, or the key that differs
//	ErrOverflow, ErrTooLarge           none if rare; else the fleet has more nodes or namespaces than the limits
//	ErrDuplicateID                     give each node an id of its own
//	ErrDuplicateMember                 give each member an id of its own: members of two nodes have the same
//	ErrRefused, *NameError             none: Refuse, OnOperation or IsID refused an operation
//	ErrBusy                            this node has more requests than it can carry out: send fewer, or add nodes
//	other *OpErrors                    a response was not sent, or not in full, an announcement was not sent, or a room
//	                                   not subscribed to: Err has the cause
//
// # The end
//
// Close disconnects no members: do that first, or call Drain, which hands them over and then closes the node. Close the
// node, and then its broker, with time left in the context. Closing a namespace before is not necessary.
//
// Close sends the goodbye and waits for callbacks. It takes some round trips to the broker. If foreign peers are
// connected it takes 200 ms more, and another 200 ms if they send requests meanwhile. A broker that does not respond, or
// a callback that does not return, can use all of the context's time: give it a deadline. Also with an ended context the
// goodbye is put into the broker's queue. The goroutine of a callback that never returns remains.
//
// An emitter ends with Flush or Emitter.Close, before its broker is closed. Both wait until the broker has sent or lost
// all messages, and at most until the context ends.
//
// # Limits
//
// The limits of this section are fixed; those in [Options] can be changed. The numbers of namespaces, members and rooms
// have no limit here. One request of another node may make 1,048,576 memberships: selected members times rooms. All
// memberships of a namespace that such requests made may take 512 MiB: each counts with 96 bytes and the room's name.
// More is refused: it is reported as an *[OpError], and the requester misses this node with [ErrRefused]. A message,
// which is a payload with its header and the names of its rooms, has at most Capabilities.MaxPayload bytes of the
// broker.
//
// The inbound queue of a namespace holds 8,192 messages and 64 MiB of payloads. The worker takes the whole queue at
// once, so up to twice as much is in memory. While the queue is full, the broker's reader waits for the worker, and
// the broker's own buffers fill: its documentation describes the effect. A header has at most [MaxHeader] bytes, a
// name at most broker.MaxNameLen, 4,096 bytes.
//
// Requests of other nodes that cannot be carried out at once wait. Each namespace has room for 65,536 queries about
// members and rooms, as many calls of OnRequest and OnEvent, and as many responses, but no more than 64 MiB of each. A
// request counts with 512 bytes besides its own. The node refuses further requests with [ErrBusy], which it reports and
// the requesters get. It also refuses a call that has waited for three quarters of RequestsTimeout behind callbacks
// that do not return, and a query that has waited as long behind other queries. In namespaces of package adapter,
// queries wait for at least 3.75 s, because Node.js servers do. Equal queries that wait share the work, and one that
// comes again while it waits gets one response.
//
// A node makes at most four responses to queries at a time, and one large one besides: with more than 256 members with
// details, or with more than 4,096 names. All five together take about 100 MiB at most. A list for a Crossroom node is
// made and sent in messages of about 256 KiB, as long as the requester waits: until RequestsTimeout has elapsed, or it
// leaves. On a broker that counts, a large response is made only if the requester is still subscribed. Other servers
// accept a list in one message only. If the list is larger than the broker allows, or than 24 MiB, the data of members
// is omitted, and then members; that is reported as an *[OpError]. The data of one member is limited to
// [MaxDescription] bytes.
//
// The responses to one request are limited to 64 MiB and 4,096 messages from one node, and to 256 MiB from all nodes.
// The sizes are those in memory: each member counts with 96 bytes besides its own, and each name with 16. A node that
// exceeds this is missing with [ErrTooLarge]; the result has what came before. docs/LIMITS.md lists all limits.
//
// # Signing
//
// Without [Options].Keys, a node trusts every process that may publish on its channels. With a [Keyring] of secrets
// that the processes of the fleet share, nodes and emitters sign everything they publish. A node accepts a message that
// is signed with one of its keys, for that channel and that broker's prefix, is not older than [MaxMessageAge], and has
// not come before. Every other message is refused: counted in Stats.Unverified and reported as a *[MessageError] with
// the reason. It is not decoded and changes nothing.
//
// All holders of a key trust each other. A signature shows that the fleet sent a message, not which node, and hides
// nothing. Signing and verifying take about half a microsecond each for a short message, and a message becomes 47 to 82
// bytes longer; the largest payload of the broker is smaller by that.
//
// Keyring.Set exchanges keys while nodes run. Options.UnsignedNodes lets a fleet begin to sign. Foreign peers (Node.js
// servers) ignore signatures and cannot sign: Options.Unsigned says what a node accepts from them. An unsigned message
// whose sender claims to be a Crossroom node is refused, whatever Unsigned says. docs/guides/operations.md has the
// steps.
//
// # Operations of other nodes
//
// A request of another node passes three checks before it changes anything here:
//
//	Options.Keys, Options.Unsigned   the requester: a process with a key, or any process for the kinds in Unsigned
//	NamespaceOptions.Refuse          the kind: these kinds are refused for every requester
//	NamespaceOptions.OnOperation     the content: the application decides, with the origin, the rooms and the payload
//
// By default all processes are trusted and all kinds carried out. [Operations] names the kinds for the first two
// checks. An operation that Refuse or OnOperation refuses is counted in Stats.Refused or Stats.RefusedBroadcasts, and
// reported as an *[OpError] with [ErrRefused]. For a Crossroom node that waits for it, this node is missing with
// ErrRefused, except that Request and EventAck have the reason in Reply.Err. Foreign peers have no form for that, and
// time out. Refuse and OnOperation do not apply to calls on this node.
//
// A node logs the disconnects that it carries out for other nodes at level info, and their joins and leaves at level
// debug: four lines of a kind and namespace at once, and those that follow as one in a second, with their number.
//
// # Invalid input
//
// The ids of requests cannot be guessed. A response is accepted from a node that was counted or that this node knows.
// While unknown nodes exist, or may exist, it is also accepted from as many unknown nodes as the broker counted, and
// from 64 more. Others are counted in Stats.StrayResponses.
//
// A node remembers the announcements of 4,096 nodes, 65,536 namespaces of one node and 64 MiB of names. More are
// refused and reported in an *[OpError] with [ErrTooLarge].
//
// Unreadable bytes are counted, reported as *[MessageError] with their channel, and change nothing. A flood of bad
// messages causes few reports: of errors with one cause the first four come at once, and those that follow as one in a
// second, with their number in More. Messages on the channel of a room without local members are not read, unless an
// observer wants them (observe.Unwanted): they count as unwanted, whatever they are. Responses to unknown or finished
// requests, second responses of one node and unknown operations are counted.
package backplane
