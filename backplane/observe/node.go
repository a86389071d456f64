package observe

import (
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Node is what an Observer may read of a node between NodeStart and NodeEnd, from any
// goroutine.
type Node interface {
	Source() *Source
	Snapshot() Snapshot
}

// Snapshot is the state of a node at one moment.
type Snapshot struct {
	Stats  Stats
	Broker broker.Stats
	// Peers is how many other nodes this one knows.
	Peers int
	// LastMessage is when the control channel last brought something, be it this node's
	// own heartbeat; zero if nothing came yet.
	LastMessage time.Time
	Namespaces  []Namespace
}

// Namespace is a part of a Snapshot.
type Namespace struct {
	Name, Protocol string
	// Members of this node, and the rooms that they have joined together, without those of
	// their own ids.
	Members, Rooms int
	// Shared: the members are also those of a namespace of another node of this process,
	// which counts them.
	Shared bool
	// LastMessage is when the subscription last brought something; zero if nothing came yet.
	LastMessage time.Time
}

// Stats counts what a node has done since it was made.
//
// Each message that was received comes to exactly one end. Any may be counted in
// Echoes, Foreign or Undecodable. Apart from these, a broadcast has selected members
// here or is Unwanted, a request is Served (among them those Refused), and a response
// belongs to a pending request or is one of StrayResponses. To each selected member a
// broadcast is one of Deliveries, Skipped, Panics or Stalls; if Prepare panics, to
// none.
type Stats struct {
	// Broadcasts published, and payload bytes.
	Broadcasts, BroadcastBytes uint64
	// Received messages of all kinds from the broker, and their bytes, if they were read.
	Received, ReceivedBytes uint64
	// Deliveries to local members: calls of Deliver and DeliverAck that returned.
	Deliveries uint64
	// Skipped deliveries: the member was stalled, or removed in the middle.
	Skipped uint64
	// Echoes of this node's own messages.
	Echoes uint64
	// Unwanted broadcasts: no member here is selected.
	Unwanted uint64
	// Foreign messages: of another namespace on the same channel name.
	Foreign uint64
	// Undecodable messages.
	Undecodable uint64
	// HeadersDropped: entries of the headers of readable messages that were left out,
	// because they were too large, not text, or there twice.
	HeadersDropped uint64
	// Served: requests of other nodes carried out; Refused: because too many were
	// pending.
	Served, Refused uint64
	// Requests made by this node; Partial: those that some nodes did not respond to.
	Requests, Partial uint64
	// StrayResponses: to requests that are finished or were never made, or second
	// answers of one node.
	StrayResponses uint64
	// Panics of callbacks, and Stalls: calls given up waiting for.
	Panics, Stalls uint64
	// Interruptions of the namespaces' subscriptions.
	Interruptions uint64
	// Unreported errors: OnError was too slow for them.
	Unreported uint64
	// MembershipLost: announcements of other nodes that came too fast to be taken in, or
	// exceeded the limits of what is remembered of them.
	MembershipLost uint64
}
