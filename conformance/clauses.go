package conformance

import "strconv"

// Clause is one promise. B1 and following are the clauses of package broker, F1 and following those of a fleet, in
// this package's documentation.
type Clause int

// The clauses of a fleet.
const (
	fleetBase Clause = 1000 + iota // the numbers of a fleet's clauses follow this one
	f1
	f2
	f3
	f4
	f5
	f6
	f7
	f8
	f9
	f10
	f11
	f12
	f13
	f14
	f15
	f16
	f17
	f18
	f19
	f20
	f21
	f22
	f23
)

// BrokerClauses returns B1 to the last clause of package broker. The caller owns the slice.
func BrokerClauses() []Clause { return numbered(0, len(clauses)-1) }

// FleetClauses returns F1 to the last clause of a fleet. The caller owns the slice.
func FleetClauses() []Clause { return numbered(fleetBase, len(fleetClauses)-1) }

func numbered(after Clause, n int) []Clause {
	list := make([]Clause, n)
	for i := range list {
		list[i] = after + 1 + Clause(i)
	}
	return list
}

// String returns the clause's name, such as B7 or F12.
func (c Clause) String() string {
	if c > fleetBase {
		return "F" + strconv.Itoa(int(c-fleetBase))
	}
	return "B" + strconv.Itoa(int(c))
}

// Text returns the text of the clause.
func (c Clause) Text() string {
	switch {
	case c > 0 && int(c) < len(clauses):
		return clauses[c]
	case c > fleetBase && int(c-fleetBase) < len(fleetClauses):
		return fleetClauses[c-fleetBase]
	}
	return "unknown clause " + c.String()
}

// clauses is the text of package broker's documentation, so that a failure can quote it. A test requires both to be
// equal.
var clauses = [...]string{
	1: "A nil error from Subscribe or Add means live: every message that any node publishes afterwards on a " +
		"matching channel is delivered, unless a gap (B14) or a loss (B18) is reported for it.",
	2: "Messages of one publisher on one channel arrive in the order of their Publish calls. Calls that run at " +
		"the same time have no order.",
	3: "A message is delivered at most once to a subscription, also when several of its filters match and " +
		"also across an outage.",
	4: "Only published messages are delivered: payloads arrive byte for byte, on an equal Channel, and never " +
		"on a channel that no filter matches. Namespaces, rooms and node ids are compared as whole names: " +
		"\"/a\" and \"/ab\", or \"/a\" room \"b\" and \"/a/b\", never meet. Neither do two protocols.",
	5: "Any valid UTF-8 name up to MaxNameLen bytes works, whatever characters it has, or both Publish and " +
		"Subscribe refuse it with a *NameError. Invalid UTF-8 and longer names are always refused.",
	6: "Publish refuses a payload larger than Capabilities.MaxPayload with a *PayloadError before anything " +
		"is sent. Every size up to MaxPayload arrives, the empty one too.",
	7: "Publish does not keep the payload after it returns: the caller may overwrite it at once.",
	8: "A receiver may read a delivered payload for as long as it likes. No component writes to it again, " +
		"and receivers may share it.",
	9: "The broker's goroutines call the receiver of a subscription one call at a time, in order. A slow " +
		"receiver delays other subscriptions by no more than a time that the broker states (SlowReceiver of our " +
		"brokers' Options). Then it misses messages (B14).",
	10: "A subscribed publisher receives its own messages, in their place in the order.",
	11: "When Subscription.Remove, Subscription.Close or Close has returned, no call of the receiver runs or " +
		"begins for the removed filters, the closed subscription or the closed broker. Only after the context's " +
		"error may a call of the receiver still run. A receiver's method must not call any of the three: it would " +
		"wait for itself, or for a receiver that waits for it.",
	12: "Removing one filter, or closing one subscription, leaves the others live without a gap. To exchange " +
		"filters for others that select the same channels, add the new ones first, and then remove the old ones: " +
		"no message is lost, repeated or out of order.",
	13: "Adding an active filter and removing an unknown one are no errors and change nothing.",
	14: "When messages may have been missed, the broker notifies the receiver: Interrupted(err) comes after the " +
		"last message from before the gap, and Resumed() before the first message from after it. The two " +
		"alternate, starting with Interrupted. No message arrives between them. Only if err is a *GapError, " +
		"perhaps wrapped, messages on the channels that are not affected arrive.",
	15: "After an outage the broker restores all subscriptions by itself. Resumed means live in the sense of " +
		"B1.",
	16: "Publish puts a message into a bounded, ordered queue and returns. It waits only while that queue is " +
		"full, and until its context ends.",
	17: "Flush returns nil once every message accepted before it has been sent. If one of them was lost or may " +
		"have been, Flush returns a *LossError. Each loss is in the result of at least one Flush or Close.",
	18: "Every accepted message that was lost, or that may have been, is counted in Stats and reported to the " +
		"functions given to OnLoss.",
	19: "If the context has ended before the call, every method with a context except Close and " +
		"Subscription.Close returns its error, unwrapped, without effect. Subscribers and Responders may return " +
		"errors.ErrUnsupported instead. If the context ends during the call and Publish, Subscribe or Add returns " +
		"its error, the call had no effect; Remove takes effect all the same. A failed Subscribe leaves nothing " +
		"behind.",
	20: "Every call that can wait ends when its context does.",
	21: "Close sends the accepted messages (until its context ends), stops every subscription, waits for its " +
		"goroutines and is idempotent. Afterwards Publish, Flush, Subscribe and Add return ErrClosed. So do " +
		"Subscribers and Responders, if the broker supports them. Remove and a subscription's Close return nil.",
	22: "Subscribers counts, for each channel, the brokers that hold an Exactly subscription to it, each " +
		"once, the calling broker included. EveryRoom and Uncounted do not count. A broker that cannot count " +
		"returns errors.ErrUnsupported, and its Capabilities say so.",
	23: "Responders lists the node ids for which some broker, the calling one included, holds Exactly of " +
		"NodeResponses(ns, id), each id once. A broker that cannot list them returns errors.ErrUnsupported, and " +
		"its Capabilities say so.",
	24: "All methods may be called at the same time from any goroutine.",
	25: "Capabilities never changes during a broker's life, and claims only what the broker does.",
	26: "If a receiver is a Prefilter, the broker may drop a message on a room's channel for which Wants " +
		"returned false. While a message on a channel of another kind is queued or being delivered, it does not " +
		"call Wants, and delivers all messages: that message may be a request to join a room.",
	27: "If a receiver is a TryReceiver, the broker may call TryDeliver in place of Deliver, under the same " +
		"rules (B9, B11). A message for which TryDeliver returned false is passed to Deliver, before anything " +
		"else.",
	28: "A subscription that the system withdraws after granting it is interrupted: Interrupted has the system's " +
		"reason. The broker requests it again by itself, and calls Resumed when all filters are granted. A " +
		"message that the system refuses is lost (B18), and Loss.Err has the reason.",
	29: "A server that still responds but does not carry the system's messages any more, such as a demoted " +
		"primary, is an outage (B14, B15, B18), although no connection was closed. The broker finds the " +
		"server that took its place. Afterwards counts (B22, B23) are right again.",
	30: "Subscribers and Responders see every subscriber, wherever in the system it is connected. If they did not " +
		"look everywhere, or may not look at all, they return an *InexactError with the reason. The returned " +
		"numbers are then lower bounds, or nil. The returned list may be incomplete, or is nil.",
	31: "Protocols are open. Every broker carries Native and SocketIO. It either carries another protocol in the " +
		"sense of all other clauses, or Publish, Subscribe, Add, Subscribers and Responders refuse it with a " +
		"*ProtocolError, without effect. A broker may refuse single kinds of channels and filters of a protocol " +
		"with a *ProtocolError. If its Capabilities say OnlyExactly, it refuses every EveryRoom and Uncounted.",
}
