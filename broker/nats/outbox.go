package natsbroker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
)

// message is what the outbox remembers of one that it holds.
type message struct {
	to      *address
	wire    int    // bytes with the frame
	payload int    // bytes
	own     *local // for receivers here, nil if there are none
}

// waiting is a message that is not handed over yet.
type waiting struct {
	message
	at   time.Duration // when it was accepted, after outbox.born
	data []byte        // frame and payload
}

// local is a message that somebody here wants to have too. The server does not send
// it back: it is delivered when the server has answered that it has it.
type local struct {
	payload []byte
	subs    []*subscription
}

// outbox holds accepted messages in order: first those that wait, then those that
// were handed to nats.go and for which the server has not spoken yet (the flight). A
// message leaves it by being settled, in the order of acceptance: it was sent, or
// lost, or nobody knows.
//
// The server says nothing about a message that is well. It answers pings, in its
// place among the messages, so whatever was handed over before a ping is settled by
// its answer. The keeper pings when a quarter of the window is on its way, when
// somebody waits for the answer, and otherwise a little later (confirmDelay).
type outbox struct {
	opts *Options
	max  int // bytes of a payload
	from uint64
	born time.Time
	// work tells the keeper that there is something to do.
	work chan struct{}

	mu       sync.Mutex
	link     *link // where to publish; nil while there is none
	limit    int   // of the server, in bytes of a message; zero if it is not known
	seq      uint64
	queue    fifo[waiting]
	flight   fifo[message]
	flying   int // bytes of the flight
	asked    int // bytes of the flight that a ping is behind of
	urgent   bool
	held     tally
	heldWire int // bytes with the frames
	accepted uint64
	settled  uint64
	sent     tally
	losses   losses
	told     losses // by a Flush
	barriers fifo[*barrier]
	news     []broker.Loss // not yet told to OnLoss functions
	waiting  bool          // somebody waits for room
	room     chan struct{} // closed and replaced when there is room again
	closing  bool
	closed   chan struct{} // closed with closing
	scratch  []byte
}

const (
	// confirmDelay is how long a message may be on its way before the server is asked
	// whether it has it, if nobody waits for that.
	confirmDelay = 50 * time.Millisecond
	// scratchKept is the largest buffer that is used again.
	scratchKept = 64 << 10
)

func newOutbox(opts *Options, maxPayload int) *outbox {
	o := &outbox{
		opts: opts, max: maxPayload, born: time.Now(),
		work: make(chan struct{}, 1), room: make(chan struct{}), closed: make(chan struct{}),
	}
	var id [8]byte
	rand.Read(id[:])
	o.from = binary.BigEndian.Uint64(id[:])
	return o
}

// wake tells the keeper to look.
func (o *outbox) wake() { signal(o.work) }

// put takes a message in, and hands it to nats.go here and now if nothing waits. subs
// are those here who want it too.
func (o *outbox) put(ctx context.Context, to *address, payload []byte, subs []*subscription) error {
	if len(payload) > o.max {
		return &broker.PayloadError{Size: len(payload), Max: o.max}
	}
	head := frameHead + len(to.names)
	m := message{to: to, wire: head + len(payload), payload: len(payload)}
	if len(subs) > 0 {
		m.own = &local{payload: bytes.Clone(payload), subs: subs}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.full(m.wire) && !o.closing {
		if err := o.waitForRoom(ctx); err != nil {
			return err
		}
	}
	switch {
	case o.closing:
		return broker.ErrClosed
	case o.limit > 0 && m.wire > o.limit:
		return &broker.PayloadError{Size: len(payload), Max: max(0, o.limit-head)}
	}
	o.seq++
	o.accepted++
	o.held.add(len(payload))
	o.heldWire += m.wire
	if o.link != nil && o.queue.len() == 0 && o.fits(m.wire) {
		o.scratch = append(appendFrame(o.scratch[:0], o.from, o.seq, to.names), payload...)
		err := o.link.nc.Publish(to.subject, o.scratch)
		if cap(o.scratch) > scratchKept {
			o.scratch = nil
		}
		if err == nil {
			o.fly(m)
			return nil
		}
		// The link is ending. Nothing of the message has left, so it waits.
	}
	data := append(appendFrame(make([]byte, 0, m.wire), o.from, o.seq, to.names), payload...)
	o.queue.push(waiting{m, time.Since(o.born), data})
	if o.queue.len() == 1 {
		o.wake()
	}
	return nil
}

// waitForRoom waits until there is room again, or might be. mu is held, except while
// it waits.
func (o *outbox) waitForRoom(ctx context.Context) error {
	o.waiting = true
	room := o.room
	o.mu.Unlock()
	defer o.mu.Lock()
	select {
	case <-room:
	case <-o.closed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// full reports whether a message of size bytes has to wait. One that is larger than
// the whole limit is let in alone.
func (o *outbox) full(size int) bool {
	return o.held.messages > 0 && (o.held.messages >= o.opts.QueueMessages || o.heldWire+size > o.opts.QueueBytes)
}

// fits reports whether the window has room.
func (o *outbox) fits(size int) bool {
	return o.flight.len() == 0 || o.flying+size <= o.opts.WindowBytes
}

// fly notes a message that nats.go has taken.
func (o *outbox) fly(m message) {
	o.flight.push(m)
	o.flying += m.wire
	if o.flight.len() == 1 {
		o.wake() // so that it is asked about before long
	}
	if !o.urgent && (m.own != nil || o.flying-o.asked >= o.opts.WindowBytes/4) {
		o.urgent = true
		o.wake()
	}
}

// pump hands over what waits, as far as the window allows.
func (o *outbox) pump() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.link != nil && o.queue.len() > 0 && o.fits(o.queue.front().wire) {
		m := *o.queue.front()
		err := o.link.nc.Publish(m.to.subject, m.data)
		switch {
		case err == nil:
			o.queue.pop()
			o.fly(m.message)
		case errors.Is(err, nats.ErrMaxPayload):
			// Accepted while there was no server to say how much it takes.
			o.queue.pop()
			o.settle(m.message)
			o.lose(m.message, false, &broker.PayloadError{Size: m.payload, Max: max(0, o.limit-(m.wire-m.payload))})
			o.after()
		default:
			return // the link is ending
		}
	}
}

// due says whether something is on its way that the server has not been asked about,
// and whether somebody waits for its answer.
func (o *outbox) due() (some, urgent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flight.len() > 0, o.flight.len() > 0 && (o.urgent || o.barriers.len() > 0 || o.waiting || o.closing || o.queue.len() > 0)
}

// asking returns how many messages are settled once the server has answered a ping
// that is sent now.
func (o *outbox) asking() (through uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked, o.urgent = o.flying, false
	return o.settled + uint64(o.flight.len())
}

// answered settles what was asked about as sent, except what is denied. It appends
// what is for receivers here to own.
func (o *outbox) answered(through uint64, denied map[string]error, own []message) []message {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.settled < through && o.flight.len() > 0 {
		m := o.land()
		if err := denied[m.to.subject]; err != nil {
			o.lose(m, false, err)
			continue
		}
		o.sent.add(m.payload)
		if m.own != nil {
			own = append(own, m)
		}
	}
	o.after()
	return own
}

// land takes the first message off the flight.
func (o *outbox) land() message {
	m := o.flight.pop()
	o.flying -= m.wire
	o.asked = max(0, o.asked-m.wire)
	o.settle(m)
	return m
}

// connected lets messages go out over a link.
func (o *outbox) connected(l *link) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link, o.limit = l, l.limit
}

// disconnected settles the whole flight as uncertain.
func (o *outbox) disconnected(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link, o.asked, o.urgent = nil, 0, false
	for o.flight.len() > 0 {
		o.lose(o.land(), true, err)
	}
	o.after()
}

// expire settles as lost what has waited for too long, because of err, or
// everything if all is set. It returns when the next message gets too old; zero if
// none will.
func (o *outbox) expire(all bool, err error) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.after()
	now := time.Since(o.born)
	for o.queue.len() > 0 {
		if !all {
			if o.opts.QueueAge < 0 {
				break
			}
			if left := o.queue.front().at + o.opts.QueueAge - now; left > 0 {
				return left
			}
		}
		m := o.queue.pop().message
		o.settle(m)
		o.lose(m, false, err)
	}
	return 0
}

// settle is done with a message.
func (o *outbox) settle(m message) {
	o.held.messages--
	o.held.bytes -= m.payload
	o.heldWire -= m.wire
	o.settled++
}

// lose counts a settled message as lost, and tells those whom it concerns. It is
// called for one message at a time, so that barriers count exactly theirs.
func (o *outbox) lose(m message, uncertain bool, err error) {
	if uncertain {
		o.losses.uncertain.add(m.payload)
	} else {
		o.losses.lost.add(m.payload)
	}
	o.losses.err = err
	o.barriersUpTo(o.settled)
	if n := len(o.news); n > 0 && o.news[n-1].Uncertain == uncertain && sameError(o.news[n-1].Err, err) {
		o.news[n-1].Messages++
		o.news[n-1].Bytes += m.payload
		return
	}
	o.news = append(o.news, broker.Loss{Messages: 1, Bytes: m.payload, Uncertain: uncertain, Err: err})
}

// sameError reports whether two losses have the same cause and can be told together.
func sameError(a, b error) bool { return a == b || a.Error() == b.Error() }

// after looks who waited for what just happened.
func (o *outbox) after() {
	o.barriersUpTo(o.settled)
	// Waiting publishers are woken when half of the queue is free, all at once:
	// waking each for one free place costs more than sending.
	if o.waiting && o.held.messages <= o.opts.QueueMessages/2 && o.heldWire <= o.opts.QueueBytes/2 {
		o.waiting = false
		close(o.room)
		o.room = make(chan struct{})
	}
	if o.closing && o.held.messages == 0 {
		o.wake()
	}
}

// close takes nothing more in. The barrier returned is passed when all is settled.
func (o *outbox) close() *barrier {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = true
	close(o.closed)
	return o.barrier()
}

// state reports whether messages wait for a link, and whether there is nothing left
// to do, ever.
func (o *outbox) state() (waits, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.len() > 0, o.closing && o.held.messages == 0
}

// takeNews returns what was lost since the last call.
func (o *outbox) takeNews() []broker.Loss {
	o.mu.Lock()
	defer o.mu.Unlock()
	news := o.news
	o.news = nil
	return news
}

// fill writes the counters of publishing into s.
func (o *outbox) fill(s *broker.Stats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Accepted = o.accepted
	s.Sent = uint64(o.sent.messages)
	s.Lost = uint64(o.losses.lost.messages)
	s.Uncertain = uint64(o.losses.uncertain.messages)
	s.QueuedMessages, s.QueuedBytes = o.held.messages, o.held.bytes
}

// tooOld is the error of a message that was kept waiting by cause.
func tooOld(cause error) error {
	if cause == nil {
		return ErrTooOld
	}
	return fmt.Errorf("%w: %w", ErrTooOld, cause)
}
