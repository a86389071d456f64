package backplane

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Options.Observer may implement any of the interfaces below; New finds out once
// which. Their methods are called on the path they observe and must be quick. A
// Start method returns the context that its End method gets; nil is the one it was
// given. Data structs and what they point to are valid only during the call. A panic
// is reported and changes nothing about what is observed. Without an observer none of
// this costs anything.

// PublishObserver sees this node's broadcasts. PublishStart may set d.Header, which
// is nil or a map of its own, to send something along.
type PublishObserver interface {
	PublishStart(ctx context.Context, d *PublishData) context.Context
	PublishEnd(ctx context.Context, d *PublishData)
}

// PublishData describes a broadcast on its way out.
type PublishData struct {
	Namespace     string
	Channel       broker.Channel
	Rooms, Except []string
	// Bytes of the payload, and of the whole message at the end.
	PayloadBytes, MessageBytes int
	Header                     Header
	// Local deliveries and the outcome, at the end.
	Delivered int
	Err       error
}

// DeliverObserver sees broadcasts of other nodes that are decoded here. DeliverEnd
// always follows.
type DeliverObserver interface {
	DeliverStart(ctx context.Context, d *DeliverData) context.Context
	DeliverEnd(ctx context.Context, d *DeliverData)
}

// DeliverData describes a broadcast on its way in.
type DeliverData struct {
	Namespace     string
	Channel       broker.Channel
	Origin        string
	Rooms, Except []string
	Header        Header
	MessageBytes  int
	// Matched members at the start; Delivered, Skipped and Panicked at the end.
	Matched, Delivered, Skipped, Panicked int
}

// RequestObserver sees this node's questions to the fleet. RequestStart may set
// d.Header, as PublishStart may. RequestAnswer is called once for each answer.
type RequestObserver interface {
	RequestStart(ctx context.Context, d *RequestData) context.Context
	RequestAnswer(ctx context.Context, d *RequestData, node string)
	RequestEnd(ctx context.Context, d *RequestData)
}

// RequestData describes a question.
type RequestData struct {
	Namespace string
	Op        Op
	ID        string
	Header    Header
	// Expected answers: of named and of unannounced nodes.
	Expected, ExpectedUnnamed int
	// At the end: who answered and who is missing, and why the question was not
	// asked, or was cut short.
	Fleet Fleet
	Err   error
}

// ServeObserver sees other nodes' requests being carried out here. An event ends
// when it is answered or OnEvent returns, whichever is first.
type ServeObserver interface {
	ServeStart(ctx context.Context, d *ServeData) context.Context
	ServeEnd(ctx context.Context, d *ServeData)
}

// ServeData describes a request from another node.
type ServeData struct {
	Namespace string
	Op        Op
	ID        string
	Origin    string
	Header    Header
	Err       error // at the end: what the application's callback said, or publishing the answer
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
}

func observersOf(o any) (obs observers) {
	obs.publish, _ = o.(PublishObserver)
	obs.deliver, _ = o.(DeliverObserver)
	obs.request, _ = o.(RequestObserver)
	obs.serve, _ = o.(ServeObserver)
	obs.drop, _ = o.(DropObserver)
	obs.link, _ = o.(LinkObserver)
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

// observedStart calls a Start method of the observer.
func (n *Node) observedStart(ctx context.Context, what string, call func() context.Context) context.Context {
	started := ctx
	n.observed(what, func() {
		if c := call(); c != nil {
			started = c
		}
	})
	return started
}
