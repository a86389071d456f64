package request

import "time"

// State is what a request knows of one node.
type State uint8

const (
	// Unknown: the node is not in the snapshot.
	Unknown State = iota
	// Absent: the node is known and does not listen, or leaves. It is not expected to
	// respond.
	Absent
	// Waiting: it listens, and its response is waited for.
	Waiting
	// Unresponsive: it listens, has missed a deadline and was not heard of since. It is not
	// waited for.
	Unresponsive
	// Departed: it left or expired, and the broker still counts it. It is not waited for.
	Departed
	// Lost: it does not listen any more, or has left since it was asked.
	Lost
	// NotIntroduced: it lives, and has not said whether it serves the namespace.
	NotIntroduced
	// Unreachable: the broker could not say whether it listens, or the request was not sent.
	Unreachable
	// Answered: its response has come.
	Answered
	// Busy: it had too many requests under way.
	Busy
	// Refused: it responded with an error.
	Refused
	// TooLarge: its response exceeds a limit. What came before is in the result.
	TooLarge
	// TimedOut: it was waited for in vain.
	TimedOut
)

// listens reports whether the broker counts a node of that state, and it has not left.
func (s State) listens() bool { return s == Waiting || s == Unresponsive }

// node is one node of a request.
type node struct {
	state State
	// until limits the wait for a node that missed a deadline and is probed; zero for others.
	until time.Time
	text  string // with Refused
	// acked is why acknowledgements of the node are missing: Lost, Refused, or Unknown if
	// none are.
	acked State
	// acks is how many acknowledgements are still to come. It is below zero while
	// acknowledgements are here before their number is.
	acks int
	// bytes and parts are those of its responses.
	bytes, parts int
}

// Missing is a node, or several foreign peers, whose response did not come.
type Missing struct {
	Node  string // empty for foreign peers
	Count int    // 1 for a node
	State State
	Text  string // of a node that Refused
	Err   error  // Unreachable
}

// Result says whose responses a request has.
type Result struct {
	Answered []string // nodes, sorted
	Foreign  int      // responses of foreign peers
	Missing  []Missing
	// Inexact is why foreign peers may exist that were not counted; nil if none may.
	Inexact error
	// Unsettled: there may be nodes that are not known.
	Unsettled bool
}
