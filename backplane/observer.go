package backplane

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Options.Observer may implement any of the interfaces below; New finds out once
// which. Their methods are called on the path they observe and must be quick. A
// Start method returns the context that its End method gets; nil is the one it was
// given. Data structs and what they point to are valid only during the call; what a
// Start method leaves in State, the End method of the same data finds there. A panic
// is reported and changes nothing about what is observed. Without an observer none of
// this allocates: TestAllocsOf… hold that, and docs/decisions/0001 has figures.

// Source is who does what is observed: a node, or an emitter. There is one for each,
// and it never changes: use its address to tell them apart.
type Source struct {
	// Node is the node's id; what an emitter calls itself on the wire.
	Node string
	// System and Prefix are those of broker.Capabilities.
	System, Prefix string
}

// NewSource makes the Source of somebody on a broker.
func NewSource(node string, b broker.Broker) *Source {
	caps := b.Capabilities()
	return &Source{Node: node, System: caps.Name, Prefix: caps.Prefix}
}

// NodeObserver hears of nodes: before a node's first namespace is live, and when the
// node has closed.
type NodeObserver interface {
	NodeStart(n *Node)
	NodeEnd(n *Node)
}

// PublishObserver sees this node's broadcasts. PublishStart may set d.Header, which
// is nil or a map of its own, to send something along. After PublishEnd nobody has the
// map any more, and it may be used again.
type PublishObserver interface {
	PublishStart(ctx context.Context, d *PublishData) context.Context
	PublishEnd(ctx context.Context, d *PublishData)
}

// PublishData describes a broadcast on its way out.
type PublishData struct {
	Source        *Source
	Namespace     string
	Channel       broker.Channel
	Rooms, Except []string
	LocalOnly     bool // it does not leave the node
	// Bytes of the payload, and of the whole message at the end.
	PayloadBytes, MessageBytes int
	Header                     map[string]string
	// Local deliveries and the outcome, at the end.
	Delivered int
	Err       error
	State     any
}

// DeliverObserver sees broadcasts of other nodes that are decoded here. DeliverEnd
// always follows.
type DeliverObserver interface {
	DeliverStart(ctx context.Context, d *DeliverData) context.Context
	DeliverEnd(ctx context.Context, d *DeliverData)
}

// UnwantedObserver is a DeliverObserver that can say, when New asks it, that it wants
// to see broadcasts also for single rooms that nobody here is in. They are then read
// and decoded, which is what it otherwise costs nothing to leave out.
type UnwantedObserver interface {
	DeliverObserver
	ObserveUnwanted() bool
}

// DeliverData describes a broadcast on its way in.
type DeliverData struct {
	Source        *Source
	Namespace     string
	Channel       broker.Channel
	Origin        string
	Rooms, Except []string
	Header        map[string]string
	// HeaderDropped is Broadcast.HeaderDropped.
	HeaderDropped int
	// Bytes of the payload, and of the whole message.
	PayloadBytes, MessageBytes int
	// Matched members at the start; Delivered, Skipped and Panicked at the end.
	Matched, Delivered, Skipped, Panicked int
	State                                 any
}

// RequestObserver sees this node's questions to the fleet, and with NoReply set what
// wants no answer. RequestStart may set d.Header, as PublishStart may. RequestAnswer
// is called once for each answer. All are called by the goroutine that asks.
type RequestObserver interface {
	RequestStart(ctx context.Context, d *RequestData) context.Context
	RequestAnswer(ctx context.Context, d *RequestData, node string)
	RequestEnd(ctx context.Context, d *RequestData)
}

// RequestData describes a question.
type RequestData struct {
	Source        *Source
	Namespace     string
	Op            string
	ID            string // empty if NoReply
	NoReply       bool
	Rooms, Except []string
	PayloadBytes  int
	Header        map[string]string
	// Expected answers: of named and of unannounced nodes. At the start of a broadcast
	// with acknowledgements, which this node's members get first, nobody knows yet.
	Expected, ExpectedUnnamed int
	// At the end: who answered and who is missing, and why the question was not
	// asked, or was cut short.
	Coverage Coverage
	Err      error
	State    any
}

// ServeObserver sees other nodes' requests being carried out here. An event ends
// when it is answered or OnEvent returns, whichever is first.
type ServeObserver interface {
	ServeStart(ctx context.Context, d *ServeData) context.Context
	ServeEnd(ctx context.Context, d *ServeData)
}

// ServeData describes a request from another node.
type ServeData struct {
	Source        *Source
	Namespace     string
	Op            string
	ID            string // empty if no answer is wanted
	Origin        string
	NoReply       bool
	Header        map[string]string
	HeaderDropped int // Request.HeaderDropped
	PayloadBytes  int
	Err           error // at the end: what the application's callback said, or publishing the answer
	State         any
}

// DropObserver sees messages that end here without reaching a member. Unlike the
// others it may be called by several goroutines at the same time: a broker may ask
// for unwanted messages before it reads them.
type DropObserver interface {
	Dropped(namespace string, ch broker.Channel, reason DropReason)
}

// DropReason says why a message went no further.
type DropReason uint8

const (
	// DropUnwanted: no member here is selected. The usual fate of most messages.
	DropUnwanted DropReason = iota + 1
	// DropEcho: this node's own.
	DropEcho
	// DropForeign: of another namespace.
	DropForeign
	// DropUndecodable: reported as a *DecodeError too.
	DropUndecodable
	// DropStray: an answer to no open question.
	DropStray
)

var dropNames = [...]string{"", "unwanted", "echo", "foreign", "undecodable", "stray"}

// String returns the reason in one lower-case word.
func (r DropReason) String() string {
	if int(r) < len(dropNames) {
		return dropNames[r]
	}
	return ""
}

// LinkObserver sees outages of a namespace's subscription, in their place in the
// order of messages. The namespace is empty for the control channel.
type LinkObserver interface {
	Interrupted(namespace string, err error)
	Resumed(namespace string, lasted time.Duration)
}

// observers are the parts of an observer; nil where it has none.
type observers struct {
	publish PublishObserver
	deliver DeliverObserver
	request RequestObserver
	serve   ServeObserver
	drop    DropObserver
	link    LinkObserver
	node    NodeObserver
	// unwanted: deliver is an UnwantedObserver that wants it.
	unwanted bool
}

func observersOf(o any) (obs observers) {
	obs.publish, _ = o.(PublishObserver)
	obs.deliver, _ = o.(DeliverObserver)
	obs.request, _ = o.(RequestObserver)
	obs.serve, _ = o.(ServeObserver)
	obs.drop, _ = o.(DropObserver)
	obs.link, _ = o.(LinkObserver)
	obs.node, _ = o.(NodeObserver)
	if u, ok := o.(UnwantedObserver); ok {
		obs.unwanted = u.ObserveUnwanted()
	}
	return obs
}

// observed calls a method of the observer that is no Start.
func (n *Node) observed(what string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			n.panicked(what, "", v)
		}
	}()
	call()
}

// observedStart calls a Start method of the observer o, given as a method expression: that
// of every message costs no closure.
func observedStart[O, D any](ctx context.Context, n *Node, what string, start func(O, context.Context, *D) context.Context, o O, d *D) (started context.Context) {
	started = ctx
	defer func() {
		if v := recover(); v != nil {
			n.panicked(what, "", v)
		}
	}()
	if c := start(o, ctx, d); c != nil {
		started = c
	}
	return started
}
