package membership

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Options of a Membership. None has a default.
type Options struct {
	Broker broker.Broker
	// Verify reports whether to take in a control frame. The goroutine that delivers it calls Verify. Nil means all.
	Verify func(ch broker.Channel, payload []byte) bool
	// ID of this node, and the time of its start.
	ID    string
	Since time.Time
	// Life ends when the node begins to close: then it announces nothing more by itself, and all waiting ends.
	Life context.Context
	// Heartbeat, PeerTimeout and RequestsTimeout are those of backplane.Options.
	Heartbeat, PeerTimeout, RequestsTimeout time.Duration
	// NoteArrivals enables LastMessage.
	NoteArrivals bool
	// Changed, if not nil, is called for each change of a peer that has proved itself, in order and under a lock.
	Changed func(c Change, id string)
	Events  Events
}

// Change is a change of a peer.
type Change uint8

// The changes, as in package observe.
const (
	Joined Change = iota + 1
	Drains
	Departed
	Lost
	Returned
)

// Events are the notifications of a node. The keeper goroutine calls Left, Interrupted and Resumed, one at a time; the
// others may be called by any goroutine. None may block.
type Events interface {
	// Left: a node does not serve these namespaces any more; nil means all.
	Left(id string, from []Namespace)
	// Interrupted and Resumed: an outage of the control channel begins, and ends.
	Interrupted(err error)
	Resumed(lasted time.Duration)
	// Unreadable: a message on a control channel is not a frame.
	Unreadable(ch broker.Channel, err error)
	// Foreign: a frame is of a kind that a later version has.
	Foreign()
	// Duplicate: another running node has this node's id.
	Duplicate(since time.Time)
	// Overflowed: a frame was lost, because frames came faster than they were handled.
	Overflowed()
	// Incomplete reports later how many frames were lost and how many announcements exceeded a limit.
	Incomplete(lost, refused int)
	// Proven: a part of Proof became true.
	Proven()
	// Counted: the subscribers were counted, or err is why not.
	Counted(err error)
	// Unsent: a frame could not be published.
	Unsent(err error)
}
