// Package observe is what nodes and emitters show of their work to tracing, metrics and
// tests: the interface Observer, and what its methods are given. Package otel is an
// implementation; Options.Observers of packages backplane and adapter take any number of
// them.
//
// An Observer embeds Nop, overrides the methods for the events that it wants, and returns
// these from Events. Its methods are called on the path that they observe and must be
// quick. They are called by several goroutines at the same time, except where a method
// says otherwise.
//
// A Start method returns the context that the matching End method is given, nil for the
// one that it was given itself. With several observers the contexts nest: the second one's
// Start method gets the first one's context, and all End methods get the innermost. What
// the data structs and their slices and maps hold is valid only during the call. What a
// Start method leaves in State, the End method of the same observer finds there.
//
// A panic of a method is reported to Options.OnError as a *backplane.PanicError and changes
// nothing about what is observed.
package observe

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Observer is called for the events that its method Events names.
type Observer interface {
	// Events returns which events the observer wants. It is called once for each node and
	// emitter.
	Events() Events

	// NodeStart is called before a node's first namespace is live, NodeEnd when the node
	// has closed.
	NodeStart(n Node)
	NodeEnd(n Node)

	// PublishStart is called before a broadcast is encoded. It may add to d.Header, which
	// is nil or a map of its own. After PublishEnd the map is not used any more.
	PublishStart(ctx context.Context, d *Publish) context.Context
	PublishEnd(ctx context.Context, d *Publish)

	// DeliverStart is called for a broadcast of another node before members here get it,
	// DeliverEnd when all members have been called. A namespace's calls come one at a
	// time.
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

	// ServeStart is called before another node's request is carried out here, ServeEnd when
	// the response is published. An event ends when it is answered or OnEvent returns,
	// whichever is first.
	ServeStart(ctx context.Context, d *Serve) context.Context
	ServeEnd(ctx context.Context, d *Serve)

	// Dropped is called for a message that ends here without reaching a member.
	Dropped(namespace string, ch broker.Channel, reason DropReason)

	// Interrupted is called when a namespace's subscription may miss messages from here on,
	// and Resumed when it is live again, in their places in the order of messages. The
	// namespace is empty for the control channel.
	Interrupted(namespace string, err error)
	Resumed(namespace string, lasted time.Duration)
}

// Events are kinds of events.
type Events uint16

const (
	// Nodes is for NodeStart and NodeEnd, and makes nodes note when messages came
	// (Snapshot.LastMessage).
	Nodes Events = 1 << iota
	// Publishes is for PublishStart and PublishEnd.
	Publishes
	// Deliveries is for DeliverStart and DeliverEnd.
	Deliveries
	// Unwanted adds to Deliveries broadcasts that select no member here, on a room's
	// channel too: nodes then read and decode messages that they would skip unread.
	Unwanted
	// Requests is for RequestStart, RequestResponse and RequestEnd.
	Requests
	// Serves is for ServeStart and ServeEnd.
	Serves
	// Drops is for Dropped.
	Drops
	// Outages is for Interrupted and Resumed.
	Outages

	// All events.
	All = Nodes | Publishes | Deliveries | Unwanted | Requests | Serves | Drops | Outages
)

// Nop is an Observer to embed. It wants all events but Unwanted, and its methods do
// nothing.
type Nop struct{}

// Events implements Observer.
func (Nop) Events() Events { return All &^ Unwanted }

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
