package backplane

import (
	"sync/atomic"

	"github.com/crossroom/crossroom/backplane/observe"
)

type counters struct {
	broadcasts, broadcastBytes atomic.Uint64
	_                          [64]byte // senders and receivers do not share a cache line
	received, receivedBytes, headersDropped, deliveries, skipped, echoes, unwanted, foreign, undecodable,
	served, refused, asked, partial, stray, panics, stalls, interruptions, unreported, membershipLost atomic.Uint64
}

func (c *counters) snapshot() observe.Stats {
	return observe.Stats{
		Broadcasts: c.broadcasts.Load(), BroadcastBytes: c.broadcastBytes.Load(),
		Received: c.received.Load(), ReceivedBytes: c.receivedBytes.Load(), HeadersDropped: c.headersDropped.Load(), Deliveries: c.deliveries.Load(), Skipped: c.skipped.Load(),
		Echoes: c.echoes.Load(), Unwanted: c.unwanted.Load(), Foreign: c.foreign.Load(),
		Undecodable: c.undecodable.Load(), Served: c.served.Load(), Refused: c.refused.Load(),
		Requests: c.asked.Load(), Partial: c.partial.Load(), StrayResponses: c.stray.Load(),
		Panics: c.panics.Load(), Stalls: c.stalls.Load(), Interruptions: c.interruptions.Load(),
		Unreported: c.unreported.Load(), MembershipLost: c.membershipLost.Load(),
	}
}
