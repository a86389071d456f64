package monitor

import (
	"sync/atomic"

	"github.com/crossroom/crossroom/backplane/observe"
)

// Counters are those of observe.Stats.
type Counters struct {
	Broadcasts, BroadcastBytes atomic.Uint64
	_                          [64]byte // senders and receivers do not share a cache line
	Received, ReceivedBytes, HeadersDropped, Deliveries, Skipped, Echoes, Unwanted, Foreign, Undecodable,
	Served, Refused, RefusedBroadcasts, Asked, Partial, Stray, Panics, Stalls, Interruptions, Unreported, MembershipLost, ChangesLost, Unverified atomic.Uint64
}

// Stats returns what has been counted.
func (c *Counters) Stats() observe.Stats {
	return observe.Stats{
		Broadcasts: c.Broadcasts.Load(), BroadcastBytes: c.BroadcastBytes.Load(),
		Received: c.Received.Load(), ReceivedBytes: c.ReceivedBytes.Load(), HeadersDropped: c.HeadersDropped.Load(), Deliveries: c.Deliveries.Load(), Skipped: c.Skipped.Load(),
		Echoes: c.Echoes.Load(), Unwanted: c.Unwanted.Load(), Foreign: c.Foreign.Load(),
		Undecodable: c.Undecodable.Load(), Served: c.Served.Load(), Refused: c.Refused.Load(), RefusedBroadcasts: c.RefusedBroadcasts.Load(),
		Requests: c.Asked.Load(), Partial: c.Partial.Load(), StrayResponses: c.Stray.Load(),
		Panics: c.Panics.Load(), Stalls: c.Stalls.Load(), Interruptions: c.Interruptions.Load(),
		Unreported: c.Unreported.Load(), MembershipLost: c.MembershipLost.Load(), ChangesLost: c.ChangesLost.Load(), Unverified: c.Unverified.Load(),
	}
}

// HeaderDropped counts dropped entries of a header.
func (c *Counters) HeaderDropped(entries int) {
	if entries > 0 {
		c.HeadersDropped.Add(uint64(entries))
	}
}
