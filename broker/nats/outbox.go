package natsbroker

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
)

// message is the outbox' record of a message, besides its bytes.
type message struct {
	to  *target
	own *local // local delivery; nil if no local subscription selects the message
}

// local is a message that local subscriptions select too. The server does not send it back. It is
// delivered to them when the server has confirmed it.
type local struct {
	payload []byte
	subs    []*subscription
}

// outbox is the outbox of NATS. Messages handed over to nats.go are in flight.
//
// The server does not acknowledge a message. It replies to pings in their order among the
// messages, so the reply settles every message handed over before the ping. The sender sends a
// ping when a quarter of the window is in flight, when a call waits for the confirmation, and
// otherwise after confirmDelay.
type outbox struct {
	*brokerkit.Outbox[message]
	max      int // bytes of a payload
	identity identity
	window   int
	limit    atomic.Int64 // the server's limit for a message in bytes; zero if it is unknown
	seq      uint64       // number of the last message; guarded by the outbox's lock

	// unconfirmed counts the bytes written since the last ping. If urgent, the next ping is sent
	// at once.
	unconfirmed int
	urgent      bool
	// denied has the subjects whose last message the server has refused. It belongs to the sender.
	denied map[string]bool

	// others is the number of the last message that has local delivery and is not on a room's
	// channel. returned is the number of messages that are settled and delivered (see expects).
	others, returned atomic.Uint64
}

const (
	// confirmDelay is how long a message may be in flight before the sender sends a ping, if no
	// call waits for the confirmation.
	confirmDelay = 50 * time.Millisecond
	// answerLate is how long the sender waits for the reply to a ping while nothing else arrives,
	// before it holds back messages. It holds them until the reply arrives or ProbeTimeout ends
	// the connection. On a link with longer round trips the wait is twice the round trip.
	answerLate = 200 * time.Millisecond
	// batchBytes is how many bytes of queued messages are handed over at a time.
	batchBytes = 32 << 10
	// deniedKept limits the number of subjects in outbox.denied.
	deniedKept = 1 << 13
)

func newOutbox(opts *Options, maxPayload int, connector brokerkit.Connector, needed func() bool) *outbox {
	return &outbox{max: maxPayload, window: opts.WindowBytes,
		Outbox: brokerkit.NewOutbox[message](brokerkit.OutboxOptions{
			Name: "nats broker", Logger: opts.Logger,
			Messages: opts.QueueMessages, Bytes: opts.QueueBytes, Age: opts.QueueAge, TooOld: ErrTooOld,
			BatchBytes: min(batchBytes, max(1, opts.WindowBytes/4)), WindowBytes: opts.WindowBytes, NonBlocking: true,
			BackoffMin: opts.BackoffMin, BackoffMax: opts.BackoffMax, Needed: needed,
		}, connector),
	}
}

// put adds a message to the queue. subs are the local subscriptions that select it.
func (o *outbox) put(ctx context.Context, to *target, payload []byte, subs []*subscription) error {
	head := frameHead + len(to.names)
	size := brokerkit.Size{Payload: len(payload), Wire: head + len(payload)}
	most := o.max
	if limit := int(o.limit.Load()); limit > 0 {
		most = min(most, max(0, limit-head))
	}
	if len(payload) > most {
		return &broker.PayloadError{Size: len(payload), Max: most}
	}
	m := message{to: to}
	if len(subs) > 0 {
		m.own = &local{payload: bytes.Clone(payload), subs: subs}
	}
	return o.Put(ctx, size, m, func(buf []byte) []byte {
		o.seq++
		if m.own != nil && to.ch.Kind() != broker.KindRoom {
			o.others.Store(o.seq)
		}
		return append(appendFrame(buf, 0, o.seq, to.names), payload...) // the writer puts the id in
	})
}

// writer publishes over one connection.
type writer struct {
	out  *outbox
	nc   *nats.Conn
	from uint64 // the connection's id
}

// Write implements brokerkit.Writer. nats.go copies the messages into its buffer.
func (w writer) Write(b *brokerkit.Batch[message]) (n int, _ error) {
	for m, data := range b.All() {
		setFrom(data, w.from)
		err := w.nc.Publish(m.to.subject, data)
		tooLarge := errors.Is(err, nats.ErrMaxPayload)
		if err != nil && !tooLarge {
			return n, err // the connection is ending, and nothing of the message was sent
		}
		if tooLarge { // accepted before the server's limit was known
			head := frameHead + len(m.to.names)
			b.Refuse(n, &broker.PayloadError{Size: len(data) - head, Max: max(0, int(w.nc.MaxPayload())-head)})
		}
		w.out.wrote(len(data), m.own != nil || tooLarge)
		n++
	}
	return n, nil
}

// wrote records that bytes were written, and wakes the sender if a ping is due.
func (o *outbox) wrote(bytes int, soon bool) {
	o.unconfirmed += bytes
	switch {
	case soon || o.unconfirmed >= o.window/4:
		if !o.urgent {
			o.urgent = true
			o.Wake()
		}
	case o.unconfirmed == bytes:
		o.Wake() // so that the sender starts confirmDelay
	}
}

// due reports whether messages need a confirmation, and whether it is urgent.
func (o *outbox) due() (some, urgent bool) {
	some = o.Sync(func() { urgent = o.urgent }) > 0
	return some, some && (urgent || o.Awaited())
}

// pinging records that a ping is about to be sent. It returns how many messages its reply settles.
func (o *outbox) pinging() int {
	return o.Sync(func() { o.unconfirmed, o.urgent = 0, false })
}

// answered settles n messages: as sent, or as refused if denied is not nil. In the latter case no
// other message is in flight. It appends messages with local delivery to own.
func (o *outbox) answered(n int, denied map[string]*refusedMessages, own []message) []message {
	allowed := o.allowed(denied)
	o.Settle(n, func(m message) error {
		if r := denied[m.to.subject]; r != nil {
			if allowed[m.to.subject]--; allowed[m.to.subject] < 0 && r.n > 0 {
				r.n--
				return r.err
			}
		} else if len(o.denied) > 0 {
			delete(o.denied, m.to.subject)
		}
		if m.own != nil {
			own = append(own, m)
		}
		return nil
	})
	return own
}

// allowed returns, for each denied subject, how many messages the server accepted before it
// refused the first. The server reports how many it has refused, but not which. allowed assumes
// that it began or stopped to refuse them once.
func (o *outbox) allowed(denied map[string]*refusedMessages) map[string]int {
	if len(denied) == 0 {
		return nil
	}
	allowed := map[string]int{}
	o.InFlight(func(m message) {
		if denied[m.to.subject] != nil {
			allowed[m.to.subject]++
		}
	})
	for subject, r := range denied {
		n := allowed[subject]
		switch {
		case r.n >= n || !o.denied[subject]:
			if o.denied == nil || len(o.denied) >= deniedKept {
				o.denied = map[string]bool{}
			}
			o.denied[subject] = true
			allowed[subject] = max(0, n-r.n)
		default:
			delete(o.denied, subject)
			allowed[subject] = 0
		}
	}
	return allowed
}

// expects reports whether a message is about to be delivered to local receivers that may change
// what they want (B26).
func (o *outbox) expects() bool { return o.others.Load() > o.returned.Load() }

// delivered records that local receivers have the messages that answered returned.
func (o *outbox) delivered() {
	var s broker.Stats
	o.Fill(&s)
	o.returned.Store(s.Accepted - uint64(s.QueuedMessages))
}

// setLimit records the message limit of a connection's server.
func (o *outbox) setLimit(c *conn) { o.limit.Store(c.nc.MaxPayload()) }

// disconnected settles the messages in flight as uncertain.
func (o *outbox) disconnected(err error) {
	o.denied = nil
	o.pinging()
	o.Abandon(err)
}
