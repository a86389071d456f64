package broker

import (
	"context"
	"time"
)

// Broker is one node's place on a publish/subscribe system. Numbers in brackets
// are clauses of the package documentation. All methods are safe for concurrent
// use [B24].
//
// Give every node a Broker of its own: Subscribers counts brokers, not
// subscriptions [B22].
type Broker interface {
	// Publish takes payload for ch into the broker's queue and returns; nil does
	// not mean sent [B16]. The slice is the caller's again when it returns [B7].
	// Errors: *NameError [B5], *ProtocolError [B31], *PayloadError [B6], ErrClosed [B21],
	// the context's error as it is while the queue stayed full [B19].
	Publish(ctx context.Context, ch Channel, payload []byte) error

	// Flush waits until everything accepted before the call has been handed to
	// the system [B17].
	Flush(ctx context.Context) error

	// Subscribe delivers what matches any of the filters to r, live when it
	// returns nil [B1]. The subscription lasts until it or the broker is closed;
	// ctx limits only the call. There may be no filters yet.
	Subscribe(ctx context.Context, r Receiver, filters ...Filter) (Subscription, error)

	// Subscribers returns for each channel how many brokers hold it exactly
	// [B22], or errors.ErrUnsupported. Beside an *InexactError the numbers are lower
	// bounds, or nil [B30].
	Subscribers(ctx context.Context, channels ...Channel) ([]int, error)

	// Responders returns the ids of the nodes that listen for answers of their
	// own in a namespace [B23], in no order, or errors.ErrUnsupported. It may be
	// slow on a large system: callers remember the answer for a while. Beside an
	// *InexactError the list may lack some, or is nil [B30].
	Responders(ctx context.Context, p Protocol, ns string) ([]string, error)

	// OnLoss calls f for every loss of accepted messages [B18] from now on, one
	// call at a time, from the broker's goroutines; f must not block. The
	// returned function ends that; it does not wait for a running call.
	OnLoss(f func(Loss)) (stop func())

	// Stats returns counters since the broker was made, and gauges of now.
	Stats() Stats

	// Capabilities returns what this broker can do; it never changes [B25].
	Capabilities() Capabilities

	// Close ends the broker's work in good order until ctx ends, then at once
	// [B21]. It returns a *LossError if accepted messages were lost, and the
	// context's error if it had to stop at once.
	Close(ctx context.Context) error
}

// Subscription is a live set of filters with one receiver.
type Subscription interface {
	// Add makes more filters live [B1, B13]. All of them or, on error, none.
	Add(ctx context.Context, filters ...Filter) error

	// Remove ends filters [B11, B13].
	Remove(ctx context.Context, filters ...Filter) error

	// Close ends the subscription [B11]. It is idempotent.
	Close(ctx context.Context) error
}

// Receiver takes what a subscription brings. Its methods are called one at a time
// and in order [B9], so it needs no lock of its own for what only they touch. A
// method that blocks holds up this subscription (and, once the broker's buffers
// are full, its connection); a method that panics ends the process, as a panic in
// any goroutine does.
type Receiver interface {
	// Deliver hands over one message. The payload is read-only and may be kept [B8].
	Deliver(ch Channel, payload []byte)

	// Interrupted says that from here on messages may be missed [B14]. err says
	// why; a *LossError has the number of missed messages if it is known.
	Interrupted(err error)

	// Resumed says that every filter is live again [B15].
	Resumed()
}

// Prefilter is a Receiver that says which messages it needs before the broker reads them
// from the system [B26].
type Prefilter interface {
	Receiver
	// Wants reports whether a message on the channel of one room is to be delivered. Unlike
	// the other methods it may be called at any time and by several goroutines; it must not
	// block.
	Wants(ch Channel) bool
}

// TryReceiver is a Receiver with a bounded queue of its own. A broker may hand it messages
// from the goroutine that reads its connection, which spares a queue and a hand-over
// [B27].
type TryReceiver interface {
	Receiver
	// TryDeliver is Deliver, except that it never waits: where it would have to, it does
	// nothing and returns false, and Deliver is called with the same message next. The
	// broker may hold a lock, so TryDeliver must not call it.
	TryDeliver(ch Channel, payload []byte) bool
}

// Capabilities says what a broker can do. It is a struct of values, so that a
// broker wrapped around another passes all of it on.
type Capabilities struct {
	// Name of the system for logs and traces, such as "redis".
	Name string
	// Prefix that the channel names of this broker begin with; empty if it has none.
	Prefix string
	// MaxPayload is the largest payload in bytes; zero means no limit.
	MaxPayload int
	// CountsSubscribers: Subscribers works.
	CountsSubscribers bool
	// ListsResponders: Responders works.
	ListsResponders bool
	// OrderAcrossChannels: one publisher's messages keep their order also
	// across channels, beyond B2.
	OrderAcrossChannels bool
	// Reconnects: the broker can lose its connection and come back [B14, B15].
	Reconnects bool
	// OnlyCrossroom: no server of another kind can use this system, so that content needs no
	// check for what it would do to one.
	OnlyCrossroom bool
}

// Stats are counters since the broker was made, except the Queued gauges. Counts
// of messages and bytes are of payloads.
type Stats struct {
	// Accepted by Publish.
	Accepted uint64
	// Sent: handed to the system.
	Sent uint64
	// Lost for certain: too old, or still queued at Close.
	Lost uint64
	// Uncertain: being sent when a connection broke. Not sent again.
	Uncertain uint64
	// Queued now, in messages and bytes.
	QueuedMessages, QueuedBytes int
	// Received: calls of Deliver.
	Received uint64
	// Interruptions: calls of Interrupted, and how long they lasted together,
	// a running one up to now.
	Interruptions uint64
	Interrupted   time.Duration
	// Subscriptions now: filters, each counted in every subscription.
	Subscriptions int
}
