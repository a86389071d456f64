package backplane

import "sync/atomic"

// Stats counts what a node has done since it was made.
//
// Each message that was received comes to exactly one end. Any may be counted in
// Echoes, Foreign or Undecodable. Apart from these, a broadcast has selected members
// here or is Unwanted, a request is Served (among them those Refused), and a response
// belongs to an open question or is one of StrayResponses. To each selected member a
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
	// Requests answered or obeyed for other nodes, and refused because too many
	// were under way.
	Served, Refused uint64
	// Asked: requests made by this node; Partial: those not everybody answered.
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

type counters struct {
	broadcasts, broadcastBytes atomic.Uint64
	_                          [64]byte // senders and receivers do not share a cache line
	received, receivedBytes, headersDropped, deliveries, skipped, echoes, unwanted, foreign, undecodable,
	served, refused, asked, partial, stray, panics, stalls, interruptions, unreported, membershipLost atomic.Uint64
}

func (c *counters) snapshot() Stats {
	return Stats{
		Broadcasts: c.broadcasts.Load(), BroadcastBytes: c.broadcastBytes.Load(),
		Received: c.received.Load(), ReceivedBytes: c.receivedBytes.Load(), HeadersDropped: c.headersDropped.Load(), Deliveries: c.deliveries.Load(), Skipped: c.skipped.Load(),
		Echoes: c.echoes.Load(), Unwanted: c.unwanted.Load(), Foreign: c.foreign.Load(),
		Undecodable: c.undecodable.Load(), Served: c.served.Load(), Refused: c.refused.Load(),
		Requests: c.asked.Load(), Partial: c.partial.Load(), StrayResponses: c.stray.Load(),
		Panics: c.panics.Load(), Stalls: c.stalls.Load(), Interruptions: c.interruptions.Load(),
		Unreported: c.unreported.Load(), MembershipLost: c.membershipLost.Load(),
	}
}
