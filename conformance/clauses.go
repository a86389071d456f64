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

// BrokerClauses returns B1 to the last clause of package broker.
func BrokerClauses() []Clause { return numbered(0, len(clauses)-1) }

// FleetClauses returns F1 to the last clause of a fleet.
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
		"matching channel is delivered.",
	2: "Messages of one publisher on one channel arrive in the order of their Publish calls.",
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
	9: "The broker's goroutines call a receiver's methods one at a time, in order. A slow receiver delays the " +
		"other subscriptions by no more than a stated time. Then it misses messages (B14).",
	10: "A subscribed publisher receives its own messages, in their place in the order.",
	11: "After Subscription.Remove, Subscription.Close or Close returns, no call of the receiver for what was " +
		"removed is running or will begin. The exception is a call that returned its context's error: a call " +
		"of the receiver may then still run. A receiver's method must not make these calls: they would wait " +
		"for that method.",
	12: "Removing one filter, or closing one subscription, leaves the others live without a gap. So filters can be " +
		"exchanged for others that select the same, without a message lost, repeated or out of order: the new ones are " +
		"added first, and then the old ones removed.",
	13: "Adding an active filter and removing an unknown one are no errors and change nothing.",
	14: "When messages may have been missed, the broker notifies the receiver: Interrupted(err) comes after " +
		"the last message from before the gap, and Resumed() before the first message from after it. The two " +
		"alternate, starting with Interrupted. If err is a *GapError, messages arrive meanwhile on channels that " +
		"are not affected, and on no other.",
	15: "After an outage the broker restores all subscriptions by itself. Resumed means live in the sense of " +
		"B1.",
	16: "Publish puts a message into a bounded, ordered queue and returns. It waits only while that queue is " +
		"full, and until its context ends.",
	17: "Flush returns nil once everything accepted before it has been handed to the system. If some of that " +
		"was or may have been lost, it returns a *LossError. Each loss is in the result of at least one Flush " +
		"or Close.",
	18: "Every accepted message that was not or may not have been handed over is counted in Stats and " +
		"reported to the functions given to OnLoss. No loss is silent.",
	19: "An ended context makes Publish, Flush, Subscribe, Add, Remove and Subscribers return its error, " +
		"unwrapped, without effect. A failed Subscribe leaves nothing behind.",
	20: "Every call that can wait ends when its context does.",
	21: "Close hands over the accepted messages (until its context ends), stops every subscription, waits for " +
		"its goroutines and is idempotent. Afterwards Publish, Flush, Subscribe, Add, Subscribers and " +
		"Responders return ErrClosed. Remove and a subscription's Close return nil.",
	22: "Subscribers counts, for each channel, the brokers that hold an Exactly subscription to it, each " +
		"once, the calling broker included. EveryRoom and Uncounted do not count. A broker that cannot count " +
		"returns errors.ErrUnsupported, and its Capabilities say so.",
	23: "Responders lists the node ids for which some broker holds Exactly of NodeResponses(ns, id), on the " +
		"same terms.",
	24: "All methods may be called at the same time from any goroutine.",
	25: "Capabilities never changes during a broker's life and claims nothing that is not so.",
	26: "If a receiver is a Prefilter, a message on a room's channel for which Wants returned false may stay " +
		"undelivered. Wants is called only when Deliver has returned for every earlier message on channels of " +
		"other kinds, so a request to join a room takes effect on the messages after it. Any message for " +
		"which Wants was not called, or returned true, is delivered.",
	27: "If a receiver is a TryReceiver, the broker may call TryDeliver in place of Deliver, under the same " +
		"rules (B9, B11). A message for which TryDeliver returned false is passed to Deliver, before anything " +
		"else.",
	28: "A subscription that the system withdraws after granting it is interrupted: Interrupted has the " +
		"system's reason. The broker requests it again by itself, and calls Resumed when all filters are " +
		"granted. Messages that the system refuses are lost (B18), for its reason.",
	29: "A server that still responds but does not carry the system's messages any more, such as a demoted " +
		"primary, is an outage (B14, B15, B18), although no connection was closed. The broker finds the " +
		"server that took its place. Afterwards counts (B22, B23) are right again.",
	30: "Subscribers and Responders see every subscriber, wherever in the system it is connected. If they did " +
		"not look everywhere, or may not look at all, they return an *InexactError with the reason. The " +
		"returned numbers are then lower bounds and the list may be incomplete, or both are nil.",
	31: "Protocols are open. Every broker carries Native and SocketIO. It either carries another protocol in " +
		"the sense of all other clauses, or Publish, Subscribe, Add, Subscribers and Responders refuse it " +
		"with a *ProtocolError, without effect. It may refuse single kinds of channels and filters of a " +
		"protocol in the same way. If its Capabilities say OnlyExactly, it refuses EveryRoom and Uncounted of " +
		"every protocol so.",
}
