package observe

import "time"

// Health is the state of a node's link to its fleet at one moment.
type Health struct {
	// Ready reports that a namespace is open, that the node receives and publishes, and that it does not drain
	// (Node.Drain).
	Ready bool
	// Subscribed is about receiving. It is down while a subscription of the node is interrupted. It is also down when
	// the node has received no message of the control channel, not even its own heartbeat, for about three quarters of
	// PeerTimeout.
	Subscribed Direction
	// Publishing is about sending. It is down when none of the heartbeats that the node sent in about three quarters of
	// PeerTimeout has come back from the broker.
	Publishing Direction
	// Queries is about counting subscribers. It is down when the last count failed. While Subscribed or Publishing is
	// down, it is equal to that one. Before the first count, and on a broker that cannot count, it is otherwise equal to
	// Subscribed.
	Queries Direction
}

// Direction is one direction of a Health.
type Direction struct {
	Up bool
	// Since is when Up last changed. It is zero before the node's first namespace is open.
	Since time.Time
	// Err is the last error, also of an outage that has ended. It is nil if there was none, or if its cause is unknown.
	Err error
}
