// Package backplane is Crossroom's core: rooms of members, broadcasts to them on
// every node of a fleet, and questions to the whole fleet, over any broker.Broker.
//
// A [Node] is one server. In each of its namespaces it has members of its own, which
// it adds and removes; with the same few methods it reaches the members of all other
// nodes. Package adapter puts Socket.IO's packets, operators and wire on top.
//
// # Delivery
//
// Broadcast delivers to the calling node's members first, on the calling goroutine,
// and then hands the message to the broker. Each member gets it at most once.
// Messages of one goroutine to the same rooms arrive in order. Between two nodes'
// messages, or messages of one node to different selections of rooms, there is an
// order only if the broker promises one (Capabilities.OrderAcrossChannels). What
// happens when the broker is away is the broker's to say: package redisbroker, for
// one, holds messages back for a while; whatever it loses in the end it reports, and
// the node passes that on to Options.OnError. Receivers learn of gaps as
// *InterruptedError, and observers (package observe) in their place in the order. A
// process without members sends with an [Emitter].
//
// # Requests
//
// The methods that reach the whole fleet have one contract: Members, MembersDetail,
// RoomsOf, AllRooms, Join, Leave, Disconnect, their forms for selections, Request,
// EventAck, BroadcastAck, Peers and Count.
//
//   - They wait for other nodes, and return by the deadline: Options.RequestsTimeout or
//     the context's, whichever is first.
//   - If nodes are missing, the value holds what the other nodes answered, and the
//     error is a *[PartialError] that names the missing nodes.
//   - Any other error means that the request was not sent and that nothing was done:
//     the context's error, [ErrClosed], a *[NameError], a *broker.PayloadError, an error
//     that wraps errors.ErrUnsupported if the protocol cannot express the operation, or,
//     in a namespace of package adapter, the refusal of a request that would harm a
//     Node.js server.
//   - An operation on a selection is carried out on this node first, whatever the state
//     of the broker. If the request is then refused, the error is a *PartialError that
//     wraps the refusal, and no other node was asked.
//
// A question goes to every node that listens at that moment. Nodes announce
// themselves to each other, so an answer can say who answered and who is missing:
// see [Coverage]. A partial answer is returned together with a *[PartialError] and never
// later than Options.RequestsTimeout. A node that said goodbye, that is known to be
// gone, or that has been silent since it missed an earlier deadline is not waited
// for.
//
// A node that has just started, or whose link has just returned, waits until the others
// have introduced themselves, where the broker cannot say who they are: at most 250 ms,
// or a quarter of RequestsTimeout if that is shorter. It does so in Node.Namespace, which
// the others wait for too in this way, and in questions. A node that is known by name and
// has not introduced itself after that time is missing with [ErrNotIntroduced], which is
// also the error of an answer that may lack nodes nobody can name. A node that heard of
// no other takes itself for alone.
//
// Death is noticed by the next question on brokers that count subscribers, also by
// one that has waited for a quarter of its time already; otherwise, on any broker, at
// most Options.PeerTimeout and half a Heartbeat after the node's last sign of life.
// Questions that wait for it end at that moment. A node that died without goodbye is
// named as missing, with [ErrPeerLost], until PeerTimeout is over, and then forgotten;
// if the broker still counts it, as it does a frozen process, then as long as it does.
//
// A node that is gone without a word costs all requests together at most one
// RequestsTimeout. A node that missed a deadline is asked for a sign of life. It is waited
// for until it has been silent for nine tenths of RequestsTimeout since it was asked. After
// that it is asked, and not waited for ([ErrPeerUnresponsive]) until something is heard of it.
// Foreign peers are known by their number only: if some missed a deadline, later requests of
// the same kind wait for that many responses for 250 ms (or a quarter of RequestsTimeout if
// that is shorter), until the number changes or the missing responses come.
//
// Operations on one member are acknowledged: nil means that the node that has it did
// it, and [ErrNoSuchMember] comes as soon as every node has said no.
//
// # Callbacks
//
// Members' methods and the other callbacks run on the node's goroutines and must not
// block. A member that writes to a network connection does it through a queue of package
// outgoing, which never blocks and ends if the client is too slow:
//
//	c.queue = outgoing.New(c.write, c.disconnected, nil) // write gets batches of payloads
//
//	func (c *client) Deliver(m *backplane.Message) {
//		c.queue.Push(m.Payload, len(m.Payload), m.Volatile)
//	}
//
// If a callback blocks or panics:
//
//   - A panic is reported as *[PanicError]; the next member is called.
//   - Messages of other nodes come from one worker goroutine. If a member's method does
//     not return to it for Options.StallTimeout, the member is reported as *[StalledError],
//     and a new worker goes on with the next member. The stalled member gets nothing, from
//     any node, until its call returns. What it misses is counted.
//   - Each member that stalls leaves a quarter of the time to the next, down to 1/256 of
//     StallTimeout (at least 1 ms), until none has stalled for a StallTimeout. So 40
//     blocked members hold up a node for about one and a half StallTimeouts.
//   - Broadcast, BroadcastAck, JoinAll, LeaveAll, Disconnect and DisconnectAll call members
//     of this node on the goroutine of their caller. BroadcastAckFunc calls its functions there. A member that blocks, blocks that caller until it
//     returns, and the other callers that reach it. It holds up no message of another node.
//   - MembersDetail calls Describe on goroutines of its own. A call that does not return
//     in such a time is reported as *[StalledError], too. Its member is listed without what
//     it says, and Describe is not called again before it has returned.
//   - Each OnRequest and OnEvent call has a goroutine of its own. There are at most
//     256 in a namespace; see "Limits" for the others.
//   - OnError and the logger have a goroutine to themselves.
//   - Prepare and observers are trusted not to block. Their panics are reported. One of
//     Prepare ends the message for the members here, one of an observer changes nothing.
//
// Close waits for callbacks until its context ends.
//
// # Limits
//
// The inbound queue of a namespace holds 8,192 messages and 64 MiB of payloads. The worker
// takes the whole queue at once, so up to twice as much is in memory. While the queue is
// full, the broker's reader waits for the worker, and the broker's own buffers fill: its
// documentation says what follows. A header has at most [MaxHeader] bytes, a name at
// most broker.MaxNameLen.
//
// Requests of other nodes that cannot be carried out at once wait: in each namespace
// 65,536 queries about members and rooms, as many calls of OnRequest and OnEvent, and as
// many answers, but no more than 64 MiB of each, a request counting with 512 bytes besides
// its own. More are refused with [ErrBusy], which is reported and their askers are told.
// So are calls that have waited for three quarters of RequestsTimeout behind callbacks that
// do not return. Queries that are the same and wait get one answer.
//
// Four queries are answered at a time. A list for a Crossroom node is made and sent in
// messages of about 256 KiB. Other servers take a list in one message only: of such
// answers with details of more than 256 members a node makes one at a time. If the list is
// larger than a message may be, they get it with less of what members say of themselves,
// or with fewer members; that is reported as an *[OpError].
//
// The responses to one request are taken in up to 64 MiB and 4,096 messages from one node,
// and up to 256 MiB from all, counted as they lie in memory: a member counts with 96 bytes
// and a name with 16 besides their own. A node that exceeds this is missing with
// [ErrTooLarge]; the result has what came before. docs/LIMITS.md lists all limits.
//
// # Bad input
//
// The ids of requests cannot be guessed. A response is taken from a node that was counted or
// that this node knows. If nodes were counted without a name, it is also taken from as many
// unknown nodes and 64 more. Others are counted in Stats.StrayResponses.
//
// What other nodes announce is remembered up to 4,096 nodes, 65,536 namespaces of one node
// and 64 MiB for all names; more is refused and reported as *[MembershipError].
//
// Bytes that cannot be read are counted, reported as *[DecodeError] with their channel,
// and change nothing. What comes on the channel of a room that no member here is in is
// not read, unless an observer wants it (observe.Unwanted): it counts as unwanted,
// whatever it is. Answers to unknown or finished questions, second
// answers of one node and unknown operations are counted.
package backplane
