// Package observe shows the work of nodes and emitters to tracing, metrics and tests, through the interface Observer
// and the data that its methods get. Package otel is an implementation. Options.Observers of packages backplane and
// adapter take any number of observers. The package is not for changing messages: an observer can only add to their
// headers. It also has what a node shows on request: Health, Stats, and the peers of a fleet.
//
// An Observer embeds Nop, overrides the methods for the events that it wants, and returns these events from Events.
// Its methods, except Changed, run on the goroutine of the observed operation and delay it. They must be quick and must
// not block: section "Callbacks" of package backplane describes what they may call. Several goroutines call them at the
// same time, except where a method says otherwise.
//
// Each call of a Start method has one call of the End method, also if the operation fails. A Start method returns the
// context for the End method; nil means the context that it got. Several observers are called in their order, for an end
// too. Their contexts nest: the second one's Start method gets the first one's context, and all End methods get the
// innermost. A value that a Start method stores in State is in State of the End method of the same observer.
//
// The data structs, and their slices and maps, are valid only during the call. A *Source, a Node and a Change may be
// kept. The caller of Node.Snapshot owns the result.
//
// A panic of a method changes nothing about the observed operation. A node reports it to Options.OnError as a
// *backplane.PanicError; an emitter ignores it. An observer needs no closing.
package observe

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Observer is called for the events that its method Events names.
type Observer interface {
	// Events returns the events that the observer wants. It is called once for each node and emitter.
	Events() Events

	// NodeStart is called before the first successful call of Node.Namespace returns, and NodeEnd when the node has
	// closed. Messages that arrive at once, and the changes that they cause, may be observed before NodeStart. Waiting
	// changes, and callbacks that Close did not await, may be observed after NodeEnd.
	NodeStart(n Node)
	NodeEnd(n Node)

	// PublishStart is called before a broadcast is encoded. It may add to d.Header, a copy that all observers share, or
	// set it: it is nil if the broadcast has no header. A map that it sets is not used any more after PublishEnd.
	PublishStart(ctx context.Context, d *Publish) context.Context
	PublishEnd(ctx context.Context, d *Publish)

	// DeliverStart is called for a broadcast of another node before local members get it, and DeliverEnd when all
	// members have been called. They are also called for a broadcast that selects none, unless it is to a room without
	// local members (Unwanted). A namespace's calls come one at a time.
	DeliverStart(ctx context.Context, d *Delivery) context.Context
	DeliverEnd(ctx context.Context, d *Delivery)

	// RequestStart is called before this node sends a request, RequestResponse once for
	// each response with the id of the node, empty for a foreign peer, and RequestEnd when
	// the request has ended. All are called by the goroutine that makes the request.
	// RequestStart may add to d.Header, as PublishStart may. A request without responses
	// has no RequestResponse.
	RequestStart(ctx context.Context, d *Request) context.Context
	RequestResponse(ctx context.Context, d *Request, node string)
	RequestEnd(ctx context.Context, d *Request)

	// ServeStart is called before another node's request is carried out, and ServeEnd when the response is published.
	// An event ends when it is answered or when OnEvent returns, whichever is first.
	ServeStart(ctx context.Context, d *Serve) context.Context
	ServeEnd(ctx context.Context, d *Serve)

	// Dropped is called for a message of a namespace that is dropped without reaching a member.
	Dropped(namespace string, ch broker.Channel, reason DropReason)

	// Interrupted is called when a namespace's subscription may miss messages from here on, and Resumed when it is
	// live again, in their places among the messages and on the goroutine that handles these. The namespace is empty for
	// the control channel.
	Interrupted(namespace string, err error)
	Resumed(namespace string, lasted time.Duration)

	// Changed is called for each change of the fleet and of the node's members and their rooms, whatever caused it: a
	// call of this node, or a request of another one. The calls come in the order of the changes, one at a time, on a
	// goroutine that does nothing else and holds no lock: so Changed may block, and may call methods of the node
	// except Close. Up to 65,536 changes wait; what exceeds that is dropped and counted (Change.Lost). With several
	// observers, each waits for the others. Closing a namespace or a node is no change.
	Changed(c Change)
}

// Events are kinds of events.
type Events uint16

const (
	// Nodes is for NodeStart and NodeEnd, and makes nodes record when messages arrived (Snapshot.LastMessage).
	Nodes Events = 1 << iota
	// Publishes is for PublishStart and PublishEnd.
	Publishes
	// Deliveries is for DeliverStart and DeliverEnd.
	Deliveries
	// Unwanted extends Deliveries to broadcasts on the channels of rooms without local members: nodes then read and
	// decode messages that they would skip unread. It needs Deliveries too.
	Unwanted
	// Requests is for RequestStart, RequestResponse and RequestEnd.
	Requests
	// Serves is for ServeStart and ServeEnd.
	Serves
	// Drops is for Dropped.
	Drops
	// Outages is for Interrupted and Resumed.
	Outages
	// Changes is for Changed. Nodes then queue each change, under a lock.
	Changes

	// All events.
	All = Nodes | Publishes | Deliveries | Unwanted | Requests | Serves | Drops | Outages | Changes
)

// Nop is an Observer to embed. It wants all events but Unwanted and Changes, which cost more, and its methods do
// nothing.
type Nop struct{}

// Events implements Observer.
func (Nop) Events() Events { return All &^ (Unwanted | Changes) }

// NodeStart implements Observer.
func (Nop) NodeStart(Node) {}

// NodeEnd implements Observer.
func (Nop) NodeEnd(Node) {}

// PublishStart implements Observer.
func (Nop) PublishStart(ctx context.Context, _ *Publish) context.Context { return ctx }

// PublishEnd implements Observer.
func (Nop) PublishEnd(context.Context, *Publish) {}

// DeliverStart implements Observer.
func (Nop) DeliverStart(ctx context.Context, _ *Delivery) context.Context { return ctx }

// DeliverEnd implements Observer.
func (Nop) DeliverEnd(context.Context, *Delivery) {}

// RequestStart implements Observer.
func (Nop) RequestStart(ctx context.Context, _ *Request) context.Context { return ctx }

// RequestResponse implements Observer.
func (Nop) RequestResponse(context.Context, *Request, string) {}

// RequestEnd implements Observer.
func (Nop) RequestEnd(context.Context, *Request) {}

// ServeStart implements Observer.
func (Nop) ServeStart(ctx context.Context, _ *Serve) context.Context { return ctx }

// ServeEnd implements Observer.
func (Nop) ServeEnd(context.Context, *Serve) {}

// Dropped implements Observer.
func (Nop) Dropped(string, broker.Channel, DropReason) {}

// Interrupted implements Observer.
func (Nop) Interrupted(string, error) {}

// Resumed implements Observer.
func (Nop) Resumed(string, time.Duration) {}

// Changed implements Observer.
func (Nop) Changed(Change) {}
