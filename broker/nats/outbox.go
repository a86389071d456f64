package natsbroker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/ledger"
	"github.com/crossroom/crossroom/broker/internal/queue"
	"github.com/crossroom/crossroom/broker/internal/signals"
)

// message is what the outbox remembers of one that it holds.
type message struct {
	to          *address
	ledger.Size        // on the wire with the frame
	own         *local // for receivers here, nil if there are none
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

	mu      sync.Mutex
	books   ledger.Ledger
	link    *link // where to publish; nil while there is none
	most    int   // of the server, in bytes of a message; zero if it is not known
	seq     uint64
	queue   queue.FIFO[waiting]
	flight  queue.FIFO[message]
	flying  int // bytes of the flight
	asked   int // bytes of the flight that a ping is behind of
	urgent  bool
	scratch []byte
	// denied are subjects of which the server has refused the last message.
	denied map[string]bool

	// others is the number of the last message for receivers here that is on no room's
	// channel, and returned how many are settled and delivered here (see expects).
	others, returned atomic.Uint64
}

const (
	// confirmDelay is how long a message may be on its way before the server is asked
	// whether it has it, if nobody waits for that.
	confirmDelay = 50 * time.Millisecond
	// scratchKept is the largest buffer that is used again.
	scratchKept = 64 << 10
	// deniedKept is how many subjects are remembered as denied.
	deniedKept = 1 << 13
)

func newOutbox(opts *Options, maxPayload int) *outbox {
	o := &outbox{opts: opts, max: maxPayload, born: time.Now(), work: make(chan struct{}, 1)}
	o.books = ledger.New(&o.mu, opts.QueueMessages, opts.QueueBytes)
	var id [8]byte
	rand.Read(id[:])
	o.from = binary.BigEndian.Uint64(id[:])
	return o
}

// wake tells the keeper to look.
func (o *outbox) wake() { signals.Raise(o.work) }

// put takes a message in, and hands it to nats.go here and now if nothing waits. subs
// are those here who want it too.
func (o *outbox) put(ctx context.Context, to *address, payload []byte, subs []*subscription) error {
	if len(payload) > o.max {
		return &broker.PayloadError{Size: len(payload), Max: o.max}
	}
	head := frameHead + len(to.names)
	m := message{to: to, Size: ledger.Size{Payload: len(payload), Wire: head + len(payload)}}
	if len(subs) > 0 {
		m.own = &local{payload: bytes.Clone(payload), subs: subs}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.books.Admit(ctx, m.Size); err != nil {
		return err
	}
	if o.most > 0 && m.Wire > o.most {
		return &broker.PayloadError{Size: len(payload), Max: max(0, o.most-head)}
	}
	o.seq++
	o.books.Accept(m.Size)
	if m.own != nil && to.ch.Kind() != broker.KindRoom {
		o.others.Store(o.seq)
	}
	if o.link != nil && o.queue.Len() == 0 && o.fits(m.Wire) {
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
	data := append(appendFrame(make([]byte, 0, m.Wire), o.from, o.seq, to.names), payload...)
	o.queue.Push(waiting{m, time.Since(o.born), data})
	if o.queue.Len() == 1 {
		o.wake()
	}
	return nil
}

// fits reports whether the window has room.
func (o *outbox) fits(size int) bool {
	return o.flight.Len() == 0 || o.flying+size <= o.opts.WindowBytes
}

// fly notes a message that nats.go has taken.
func (o *outbox) fly(m message) {
	o.flight.Push(m)
	o.flying += m.Wire
	if o.flight.Len() == 1 {
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
	for o.link != nil && o.queue.Len() > 0 && o.fits(o.queue.Front().Wire) {
		m := *o.queue.Front()
		err := o.link.nc.Publish(m.to.subject, m.data)
		switch {
		case err == nil:
			o.queue.Pop()
			o.fly(m.message)
		case errors.Is(err, nats.ErrMaxPayload):
			// Accepted while there was no server to say how much it takes.
			if o.flight.Len() > 0 {
				return // settled in its turn: the keeper asks at once, and comes back
			}
			o.queue.Pop()
			o.books.Lose(m.Size, false, &broker.PayloadError{Size: m.Payload, Max: max(0, o.most-(m.Wire-m.Payload))})
			o.settled()
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
	return o.flight.Len() > 0, o.flight.Len() > 0 && (o.urgent || o.books.Awaited() || o.queue.Len() > 0)
}

// asking returns how many messages are settled once the server has answered a ping
// that is sent now. If it is to be the last of them, messages wait until connected is called.
func (o *outbox) asking(last bool) (through uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if last {
		o.link = nil
	}
	o.asked, o.urgent = o.flying, false
	return o.books.Settled() + uint64(o.flight.Len())
}

// answered settles what was asked about as sent, except what is denied: then nothing else
// is on its way. It appends what is for receivers here to own.
func (o *outbox) answered(through uint64, denied map[string]*refused, own []message) []message {
	o.mu.Lock()
	defer o.mu.Unlock()
	allowed := o.allowed(denied)
	for o.books.Settled() < through && o.flight.Len() > 0 {
		m := o.land()
		if r := denied[m.to.subject]; r != nil {
			if allowed[m.to.subject]--; allowed[m.to.subject] < 0 && r.n > 0 {
				r.n--
				o.books.Lose(m.Size, false, r.err)
				continue
			}
		} else if len(o.denied) > 0 {
			delete(o.denied, m.to.subject)
		}
		o.books.Sent(m.Size)
		if m.own != nil {
			own = append(own, m)
		}
	}
	o.settled()
	return own
}

// allowed returns how many messages for each of the denied subjects the server has taken
// before it refused the first. It says how many it has refused, but not which: it began or
// ceased to refuse them, once. mu is held.
func (o *outbox) allowed(denied map[string]*refused) map[string]int {
	if len(denied) == 0 {
		return nil
	}
	allowed := map[string]int{}
	for i := range o.flight.Len() {
		if m := o.flight.At(i); denied[m.to.subject] != nil {
			allowed[m.to.subject]++
		}
	}
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

// delivered notes that receivers here have what answered brought.
func (o *outbox) delivered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.returned.Store(o.books.Settled())
}

// land takes the first message off the flight, to be settled.
func (o *outbox) land() message {
	m := o.flight.Pop()
	o.flying -= m.Wire
	o.asked = max(0, o.asked-m.Wire)
	return m
}

// connected lets messages go out over a link.
func (o *outbox) connected(l *link) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link, o.most = l, int(l.nc.MaxPayload())
}

// limit notes how much the server of a link takes.
func (o *outbox) limit(l *link) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.most = int(l.nc.MaxPayload())
}

// disconnected settles the whole flight as uncertain.
func (o *outbox) disconnected(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link, o.asked, o.urgent, o.denied = nil, 0, false, nil
	for o.flight.Len() > 0 {
		o.books.Lose(o.land().Size, true, err)
	}
	o.settled()
}

// expire settles as lost what has waited for too long, because of err, or
// everything if all is set. It returns when the next message gets too old; zero if
// none will.
func (o *outbox) expire(all bool, err error) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.settled()
	now := time.Since(o.born)
	for o.queue.Len() > 0 {
		if !all {
			if o.opts.QueueAge < 0 {
				break
			}
			if left := o.queue.Front().at + o.opts.QueueAge - now; left > 0 {
				return left
			}
		}
		o.books.Lose(o.queue.Pop().Size, false, err)
	}
	return 0
}

// settled looks who waited for what just happened.
func (o *outbox) settled() {
	o.books.Balance()
	if o.books.Over() {
		o.wake()
	}
}

// flush waits until everything accepted so far is settled. What it returns no
// later flush returns again.
func (o *outbox) flush(ctx context.Context) error {
	o.mu.Lock()
	b, err := o.books.Barrier()
	o.mu.Unlock()
	if err != nil {
		return err
	}
	o.wake() // to ask the server
	return o.books.Wait(ctx, b)
}

// close takes nothing more in. The barrier returned is passed when all is settled.
func (o *outbox) close() *ledger.Barrier {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wake()
	return o.books.Close()
}

// state reports whether messages wait for a link, and whether there is nothing left
// to do, ever.
func (o *outbox) state() (waits, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.Len() > 0, o.books.Over()
}

// tooOld is the error of a message that was kept waiting by cause.
func tooOld(cause error) error {
	if cause == nil {
		return ErrTooOld
	}
	return fmt.Errorf("%w: %w", ErrTooOld, cause)
}
