package natsbroker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
)

// message is what the outbox remembers of a message beside its bytes.
type message struct {
	to  *target
	own *local // for receivers here, nil if there are none
}

// local is a message that subscriptions of this broker select too. The server does not send
// it back: it is delivered when the server has confirmed it.
type local struct {
	payload []byte
	subs    []*subscription
}

// outbox is the outbox of NATS: what is in flight was handed over to nats.go.
//
// The server says nothing about a message that it takes. It answers pings, in their place
// among the messages, so the answer settles everything handed over before the ping. The
// sender pings when a quarter of the window is in flight, when somebody waits for the answer,
// and otherwise after confirmDelay.
type outbox struct {
	*brokerkit.Outbox[message]
	max    int // bytes of a payload
	from   uint64
	window int
	limit  atomic.Int64 // of the server, in bytes of a message; zero if it is not known
	seq    uint64       // of the last message; the outbox's lock guards it

	// unconfirmed counts the bytes written since the last ping. urgent: the next ping does not
	// wait.
	unconfirmed int
	urgent      bool
	// denied are subjects of which the server has refused the last message. The sender's own.
	denied map[string]bool

	// others is the number of the last message for receivers here that is on no room's
	// channel, and returned how many are settled and delivered here (see expects).
	others, returned atomic.Uint64
}

const (
	// confirmDelay is how long a message may be in flight before the server is asked to
	// confirm it, if nobody waits for that.
	confirmDelay = 50 * time.Millisecond
	// answerLate is how long an answer to a ping may take, and nothing else arrive, before messages
	// are held back until it comes or ProbeTimeout ends the connection. On links that took longer
	// before, it is twice as long as that.
	answerLate = 200 * time.Millisecond
	// batchBytes is how much of what waits is handed over at a time.
	batchBytes = 32 << 10
	// deniedKept is how many subjects are remembered as denied.
	deniedKept = 1 << 13
)

func newOutbox(opts *Options, maxPayload int, connector brokerkit.Connector, needed func() bool) *outbox {
	var id [8]byte
	rand.Read(id[:])
	return &outbox{max: maxPayload, from: binary.BigEndian.Uint64(id[:]), window: opts.WindowBytes,
		Outbox: brokerkit.NewOutbox[message](brokerkit.OutboxOptions{
			Name: "nats broker", Logger: opts.Logger,
			Messages: opts.QueueMessages, Bytes: opts.QueueBytes, Age: opts.QueueAge, TooOld: ErrTooOld,
			BatchBytes: min(batchBytes, max(1, opts.WindowBytes/4)), WindowBytes: opts.WindowBytes, NonBlocking: true,
			BackoffMin: opts.BackoffMin, BackoffMax: opts.BackoffMax, Needed: needed,
		}, connector),
	}
}

// put accepts a message. subs are the subscriptions of this broker that select it.
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
		return append(appendFrame(buf, o.from, o.seq, to.names), payload...)
	})
}

// writer publishes over one connection.
type writer struct {
	out *outbox
	nc  *nats.Conn
}

// Write implements brokerkit.Writer. nats.go copies the messages into its buffer.
func (w writer) Write(b *brokerkit.Batch[message]) (n int, _ error) {
	for m, data := range b.All() {
		err := w.nc.Publish(m.to.subject, data)
		tooLarge := errors.Is(err, nats.ErrMaxPayload)
		if err != nil && !tooLarge {
			return n, err // the connection is ending: nothing of the message has left
		}
		if tooLarge { // accepted while there was no server to say how much it takes
			head := frameHead + len(m.to.names)
			b.Refuse(n, &broker.PayloadError{Size: len(data) - head, Max: max(0, int(w.nc.MaxPayload())-head)})
		}
		w.out.wrote(len(data), m.own != nil || tooLarge)
		n++
	}
	return n, nil
}

// wrote notes that so many bytes are to be confirmed, and wakes the sender if it is time.
func (o *outbox) wrote(bytes int, soon bool) {
	o.unconfirmed += bytes
	switch {
	case soon || o.unconfirmed >= o.window/4:
		if !o.urgent {
			o.urgent = true
			o.Wake()
		}
	case o.unconfirmed == bytes:
		o.Wake() // so that it is confirmed before long
	}
}

// due reports whether messages are to be confirmed, and whether somebody waits for that.
func (o *outbox) due() (some, urgent bool) {
	some = o.Sync(func() { urgent = o.urgent }) > 0
	return some, some && (urgent || o.Awaited())
}

// asking returns how many messages are settled once the server has answered a ping that
// is sent now.
func (o *outbox) asking() int {
	return o.Sync(func() { o.unconfirmed, o.urgent = 0, false })
}

// answered settles n messages as sent, except what is denied: then nothing else is in
// flight. It appends what is for receivers here to own.
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

// allowed returns how many messages for each of the denied subjects the server has taken
// before it refused the first. It says how many it has refused, but not which: it began or
// ceased to refuse them, once.
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

// expects reports whether a message is on its way to receivers here that may change what
// they want (B26).
func (o *outbox) expects() bool { return o.others.Load() > o.returned.Load() }

// delivered notes that receivers here have what answered returned.
func (o *outbox) delivered() {
	var s broker.Stats
	o.Fill(&s)
	o.returned.Store(s.Accepted - uint64(s.QueuedMessages))
}

// setLimit notes how much the server of a connection takes.
func (o *outbox) setLimit(c *conn) { o.limit.Store(c.nc.MaxPayload()) }

// disconnected settles what is in flight as uncertain.
func (o *outbox) disconnected(err error) {
	o.denied = nil
	o.asking()
	o.Abandon(err)
}
