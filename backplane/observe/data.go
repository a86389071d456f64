package observe

import "github.com/crossroom/crossroom/broker"

// Source identifies what is observed: a node or an emitter. Each has one Source that never changes. It may be kept.
// Compare Sources by address.
type Source struct {
	// Node is the node's id; for an emitter, its id on the wire.
	Node string
	// System and Prefix are those of broker.Capabilities.
	System, Prefix string
}

// Publish describes a broadcast being sent.
type Publish struct {
	Source    *Source
	Namespace string
	Channel   broker.Channel
	// Rooms, All and Except select the members: those in any of Rooms, without Rooms all, that are in every one of All,
	// and in none of Except.
	Rooms, All, Except []string
	LocalOnly          bool // it does not leave the node
	// PayloadBytes and MessageBytes are the sizes of the payload and of the whole message. MessageBytes is set at the
	// end.
	PayloadBytes, MessageBytes int
	Header                     map[string]string
	// Delivered is the number of local members that got it, and Err the cause if it was not published. Both are set at
	// the end.
	Delivered int
	Err       error
	State     any
}

// Delivery describes a received broadcast.
type Delivery struct {
	Source             *Source
	Namespace          string
	Channel            broker.Channel
	Origin             string
	Rooms, All, Except []string // as in Publish
	Header             map[string]string
	// HeaderDropped is the number of header entries that were dropped: too large, not text, or duplicates.
	HeaderDropped int
	// PayloadBytes and MessageBytes are the sizes of the payload and of the whole message.
	PayloadBytes, MessageBytes int
	// Matched is the number of selected members. Delivered, Skipped and Panicked are set at the end. The rest stalled, or
	// Prepare panicked.
	Matched, Delivered, Skipped, Panicked int
	State                                 any
}

// Request describes a request of this node to the fleet.
type Request struct {
	Source    *Source
	Namespace string
	// Op is as in backplane.PartialError.
	Op string
	// ID is empty with NoReply: the request wants no response.
	ID                 string
	NoReply            bool
	Rooms, All, Except []string // as in Publish
	PayloadBytes       int
	Header             map[string]string
	// Expected and ExpectedForeign are the numbers of responses that healthy known nodes and foreign peers will send.
	// They are zero at the start of a broadcast with acknowledgements, which local members get first.
	Expected, ExpectedForeign int
	// Responded, the number of nodes and foreign peers that responded, and Missing, those that did not, are set at the
	// end. Err is the cause if the request was not sent, or ended early.
	Responded int
	Missing   []Missing
	Err       error
	State     any
}

// Serve describes a request of another node.
type Serve struct {
	Source    *Source
	Namespace string
	// Op is as in backplane.PartialError.
	Op string
	// ID is empty if no response is wanted.
	ID, Origin string
	NoReply    bool
	Header     map[string]string
	// HeaderDropped is as in Delivery.
	HeaderDropped int
	PayloadBytes  int
	// Err is set at the end: the refusal, the error of the application's callback, or the cause if the response was not
	// published.
	Err   error
	State any
}

// DropReason is the reason for dropping a message.
type DropReason uint8

const (
	// DropUnwanted: it selects no local member. Most messages of a large fleet end like this.
	DropUnwanted DropReason = iota + 1
	// DropEcho: this node published it.
	DropEcho
	// DropForeign: it belongs to another namespace.
	DropForeign
	// DropUndecodable: it was reported as a *backplane.MessageError.
	DropUndecodable
	// DropStray: it is a response to no pending request.
	DropStray
	// DropUnverified: its signature is missing or wrong.
	DropUnverified
	// DropRefused: backplane.NamespaceOptions refused the broadcast.
	DropRefused
)

var dropNames = [...]string{"", "unwanted", "echo", "foreign", "undecodable", "stray", "unverified", "refused"}

// String returns the reason in one lower-case word.
func (r DropReason) String() string {
	if int(r) < len(dropNames) {
		return dropNames[r]
	}
	return ""
}
