package observe

import (
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Node is the readable state of a node between NodeStart and NodeEnd. Its methods do no I/O and may be called on any
// goroutine. The caller of Snapshot owns the result.
type Node interface {
	Source() *Source
	Snapshot() Snapshot
}

// Snapshot is the state of a node at one moment.
type Snapshot struct {
	Stats  Stats
	Broker broker.Stats
	// Peers is the number of known peers.
	Peers int
	// LastMessage is when the control channel last received a message, including this node's own heartbeat; zero
	// before the first.
	LastMessage time.Time
	Namespaces  []Namespace
}

// Namespace is a part of a Snapshot.
type Namespace struct {
	Name, Protocol string
	// Members is the number of local members, and Rooms the number of rooms that they have joined, without the rooms
	// of their own ids.
	Members, Rooms int
	// Shared means that the members are also those of a namespace of another node of this process, which counts them.
	Shared bool
	// Dynamic means that the node subscribes to the rooms of its members, of which RoomSubscriptions are active, and not
	// to every room of the namespace. ModeChanges is how often that has changed.
	Dynamic           bool
	RoomSubscriptions int
	ModeChanges       uint64
	// LastMessage is when the subscription last received a message; zero before the first.
	LastMessage time.Time
}

// Stats are counters of a node since it was made.
//
// Each of the Received messages has exactly one outcome:
//
//	any message   Echoes, Foreign, Undecodable or Unverified
//	a broadcast   Unwanted, RefusedBroadcasts, or delivered to local members
//	a request     Served, which includes those Refused
//	a response    StrayResponses, or taken by a pending request
//
// For each selected member a broadcast is one of Deliveries, Skipped, Panics or Stalls; if Prepare panics, it is none of
// them. Messages of the control channel are not in Received, but may be in Foreign, Undecodable and Unverified.
type Stats struct {
	// Broadcasts published, and payload bytes.
	Broadcasts, BroadcastBytes uint64
	// Received messages of all kinds from the broker, and the bytes of those that were read.
	Received, ReceivedBytes uint64
	// Deliveries to local members: calls of Deliver and DeliverAck that returned.
	Deliveries uint64
	// Skipped deliveries: the member was stalled, or removed in the middle.
	Skipped uint64
	// Echoes of this node's own messages.
	Echoes uint64
	// Unwanted broadcasts, which select no local member.
	Unwanted uint64
	// Foreign messages: of another namespace on the same channel name.
	Foreign uint64
	// Undecodable messages.
	Undecodable uint64
	// Unverified messages, of all channels: not signed, not signed with a key of this node, changed, too old, or
	// received before.
	Unverified uint64
	// HeadersDropped counts header entries of readable messages that were dropped because they were too large, not
	// text, or duplicates.
	HeadersDropped uint64
	// Served counts requests of other nodes that were carried out; Refused those that were refused: because too many
	// were pending, or by backplane.NamespaceOptions.
	Served, Refused uint64
	// RefusedBroadcasts counts broadcasts of other nodes that backplane.NamespaceOptions refused.
	RefusedBroadcasts uint64
	// Requests made by this node; Partial are those to which some nodes did not respond.
	Requests, Partial uint64
	// StrayResponses: responses to requests that are finished or were never made, or second responses of one node.
	StrayResponses uint64
	// Panics of callbacks, and Stalls: calls that did not return in time.
	Panics, Stalls uint64
	// Interruptions of the namespaces' subscriptions.
	Interruptions uint64
	// Unreported errors: OnError was too slow for them, or they had too many causes at once.
	Unreported uint64
	// MembershipLost counts announcements of other nodes that came too fast to be handled, or exceeded the limits of
	// memory for them.
	MembershipLost uint64
	// ChangesLost counts changes for which observers were too slow.
	ChangesLost uint64
}
