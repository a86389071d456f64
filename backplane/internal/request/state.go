package request

import "time"

// State is a request's knowledge of one node.
type State uint8

const (
	// Unknown: the node is not in the snapshot.
	Unknown State = iota
	// Absent: the node is known and is not subscribed, or leaves. It should not respond.
	Absent
	// Waiting: it is subscribed, and the request waits for its response.
	Waiting
	// Unresponsive: it is subscribed, has missed a deadline and sent no sign of life since. The request does not wait
	// for it.
	Unresponsive
	// Departed: it left or expired, and the broker still counts it. The request does not wait for it.
	Departed
	// Lost: it is not subscribed any more, or has left since the request was sent.
	Lost
	// NotIntroduced: it is live, and has not announced whether it serves the namespace.
	NotIntroduced
	// Unreachable: the broker could not tell whether it is subscribed, or the request was not sent.
	Unreachable
	// Answered: its response has come.
	Answered
	// Busy: it had too many pending requests.
	Busy
	// Refused: it responded with an error.
	Refused
	// TooLarge: its response exceeds a limit. What came before is in the result.
	TooLarge
	// TimedOut: it did not respond in time.
	TimedOut
)

// listens reports whether the broker counts a node in that state, and it has not left.
func (s State) listens() bool { return s == Waiting || s == Unresponsive }

// node is one node of a request.
type node struct {
	state State
	// until limits the wait for a node that missed a deadline and is probed; zero for others.
	until time.Time
	text  string // with Refused
	// acked is the reason for missing acknowledgements of the node: Lost, Refused, or Unknown if none is missing.
	acked State
	// acks is the number of pending acknowledgements. It is below zero while acknowledgements have arrived before
	// their number.
	acks int
	// bytes and parts of its responses.
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

// Result has the coverage of a request.
type Result struct {
	Answered []string // nodes, sorted
	Foreign  int      // responses of foreign peers
	Missing  []Missing
	// Inexact reports that foreign peers may exist that were not counted; nil if not.
	Inexact error
	// Unsettled: unknown nodes may exist.
	Unsettled bool
}
