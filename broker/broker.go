package broker

import (
	"context"
	"time"
)

// Broker is one node's connection to a publish/subscribe system. Numbers in brackets are clauses of the package
// documentation, whose section "Errors" says what to do about each error. All methods are safe for concurrent use
// [B24]. The broker and its subscriptions read slices of filters and channels only during the call.
//
// Give every node a Broker of its own: Subscribers counts brokers, not subscriptions [B22].
type Broker interface {
	// Publish puts payload into the broker's queue and returns. Nil does not mean sent [B16]. It waits only while the
	// queue is full. The caller owns the slice again when Publish returns [B7]. It returns a *NameError [B5], a
	// *ProtocolError [B31], a *PayloadError [B6], ErrClosed [B21], or the context's error if the queue stayed full.
	Publish(ctx context.Context, ch Channel, payload []byte) error

	// Flush waits until every message accepted before the call is sent or lost [B17]. It returns a *LossError, ErrClosed
	// or the context's error. After the context's error the next Flush or Close returns the losses.
	Flush(ctx context.Context) error

	// Subscribe calls r for each message that matches any of the filters, perhaps before Subscribe returns. The filters
	// are live when Subscribe returns nil [B1]. The subscription lasts until it or the broker is closed; ctx limits
	// only the call. filters may be empty. A nil r is an error. Subscribe waits for the end of an outage that has
	// interrupted a receiver. While no receiver is interrupted, it may return the failure of one attempt to connect. It
	// returns a *NameError, a *ProtocolError, ErrClosed, the system's error, such as a missing permission, or the
	// context's error. After an error no filter is live, and r is not called [B19].
	Subscribe(ctx context.Context, r Receiver, filters ...Filter) (Subscription, error)

	// Subscribers returns how many brokers hold Exactly of each channel [B22], in the order of channels. With an
	// *InexactError the numbers are lower bounds, or nil [B30]. With any other error they are nil: a *NameError, a
	// *ProtocolError, errors.ErrUnsupported, ErrClosed, the system's error, or the context's error. The caller owns the
	// slice.
	Subscribers(ctx context.Context, channels ...Channel) ([]int, error)

	// Responders returns the ids of the nodes that hold a response channel of their own in a namespace [B23], in no
	// order. It may be slow on a large system, so callers cache the result. It returns the errors of Subscribers. With
	// an *InexactError the list may be incomplete, or is nil [B30]; with any other error it is nil. The caller owns the
	// slice.
	Responders(ctx context.Context, p Protocol, ns string) ([]string, error)

	// OnLoss calls f for every future loss of accepted messages [B18]. Certain and uncertain losses are separate calls.
	// The broker's goroutine makes one call at a time, and sends nothing meanwhile. So f must not block, and must not
	// call a method with a context; Close waits for a running call even after its context has ended. stop ends the
	// calls. It does not wait for a running one, and f may call it. It need not be called before Close.
	OnLoss(f func(Loss)) (stop func())

	// Stats returns the counters since the broker was made, and the current gauges.
	Stats() Stats

	// Capabilities returns what this broker can do. It never changes [B25].
	Capabilities() Capabilities

	// Close sends the queued messages until ctx ends, stops everything, and waits for running calls of receivers [B21].
	// It returns a *LossError if accepted messages were lost, and the context's error if ctx ended first: both, joined,
	// if both apply. The broker is closed in every case. A later call waits for the first one, and returns its result
	// or the error of its own context.
	Close(ctx context.Context) error
}

// Subscription is a set of filters with one receiver. All methods are safe for concurrent use.
type Subscription interface {
	// Add makes more filters live [B1, B13]. It waits like Subscribe and returns its errors; ErrClosed also after Close
	// of the subscription. After an error none of the filters is live, except those that were before.
	Add(ctx context.Context, filters ...Filter) error

	// Remove removes filters, and waits for a running call of the receiver for them [B11, B13]. A broker may also wait
	// until the system has confirmed the removal. Remove returns nil or the context's error. If the context had ended
	// before the call, nothing is removed; if it ends during the call, the filters are removed all the same [B19].
	Remove(ctx context.Context, filters ...Filter) error

	// Close removes all filters, and waits like Remove [B11]. It returns nil or the context's error, and the
	// subscription is closed in both cases. Close is idempotent.
	Close(ctx context.Context) error
}

// Receiver gets the messages of a subscription. The broker's goroutines call its methods one at a time and in order
// [B9], so state that only these methods use needs no lock. A receiver of two subscriptions is called by both at once.
// A method that blocks delays its own subscription, and for a limited time others [B9]. A panic in a method crashes the
// process.
//
// A method must not call Remove or Close of a subscription, or Close of the broker [B11]. It may call Publish, which
// waits while the queue is full. It should not call Flush, Subscribe, Add, Subscribers or Responders: they wait for the
// system, and the system's responses may wait for this method.
type Receiver interface {
	// Deliver receives one message. The payload is read-only and may be kept [B8].
	Deliver(ch Channel, payload []byte)

	// Interrupted reports that messages may be missed from here on [B14]. err is the reason, and is not nil. A *LossError
	// has the number of missed messages if it is known. A *GapError has the affected filters if others are not affected.
	Interrupted(err error)

	// Resumed reports that every filter is live again [B15].
	Resumed()
}

// Prefilter is a Receiver that selects the messages it needs before the broker reads them from the system [B26].
type Prefilter interface {
	Receiver
	// Wants reports whether a message on a room's channel must be delivered. Unlike the other methods it is called by
	// several goroutines at once, also while Deliver runs, and perhaps during a call of Publish by its caller. It must
	// not block or call the broker, nor take a lock that a caller of Publish holds.
	Wants(ch Channel) bool
}

// TryReceiver is a Receiver with a bounded queue of its own. A broker may call it from the goroutine that reads its
// connection, which saves a queue and a hand-over between goroutines [B27].
type TryReceiver interface {
	Receiver
	// TryDeliver is Deliver, except that it never waits. If it would have to wait, it does nothing and returns false,
	// and the broker calls Deliver with the same message next. The broker may hold a lock, so TryDeliver must not call
	// the broker or a subscription.
	TryDeliver(ch Channel, payload []byte) bool
}

// Capabilities describes what a broker can do. A broker that wraps another one returns the Capabilities of that one.
type Capabilities struct {
	// Name of the system for logs and traces, such as "redis".
	Name string
	// Prefix of the broker's channel names; empty if they have none.
	Prefix string
	// MaxPayload is the largest payload in bytes; zero means no limit.
	MaxPayload int
	// CountsSubscribers reports that Subscribers works.
	CountsSubscribers bool
	// ListsResponders reports that Responders works.
	ListsResponders bool
	// OrderAcrossChannels reports that the messages of one publisher keep their order across channels too, beyond B2.
	OrderAcrossChannels bool
	// Reconnects reports that the broker has a connection and restores its subscriptions after losing it [B14, B15].
	// All brokers of this module do.
	Reconnects bool
	// OnlyExactly reports that the system has no subscription to every room, and that the broker refuses EveryRoom and
	// Uncounted [B31]. Nodes then subscribe to the rooms in use.
	OnlyExactly bool
	// OnlyCrossroom reports that no Node.js server can use this system. Nodes then do not check messages for contents
	// that crash such a server.
	OnlyCrossroom bool
}

// Stats are counters since the broker was made, except the gauges QueuedMessages, QueuedBytes and Subscriptions.
// Bytes are those of payloads.
type Stats struct {
	// Accepted counts messages that Publish accepted.
	Accepted uint64
	// Sent counts messages that the system has.
	Sent uint64
	// Lost counts messages that were certainly not sent: they waited too long, were still queued at Close, or the
	// system refused them.
	Lost uint64
	// Uncertain counts messages that were being sent when a connection broke, and may have arrived. They are not sent
	// again.
	Uncertain uint64
	// QueuedMessages and QueuedBytes count what is queued, or being sent and not yet confirmed.
	QueuedMessages, QueuedBytes int
	// Received counts messages passed to receivers: calls of Deliver, and of TryDeliver that returned true.
	Received uint64
	// Interruptions counts calls of Interrupted. Interrupted is the time in which a receiver missed messages, summed
	// over all subscriptions, including the current gaps.
	Interruptions uint64
	Interrupted   time.Duration
	// Subscriptions is the number of active filters. A filter in several subscriptions counts several times.
	Subscriptions int
}
