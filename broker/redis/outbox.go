package redisbroker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

const (
	// segmentSize is how many bytes of commands are gathered for one write. A larger
	// message has a segment of its own.
	segmentSize = 32 << 10
	// windowBytes and windowSegments bound what may be on the wire without an answer:
	// enough to keep the server busy, and as little as possible in doubt when the
	// connection breaks. At least one segment may always be there.
	windowBytes    = 256 << 10
	windowSegments = 64
	// directBytes is the largest message that its publisher writes itself.
	directBytes = 4 << 10
)

// outbox holds accepted messages, encoded and in order: first those that wait, then
// those on the wire without an answer (the flight). A message leaves it by being
// settled, in the order of acceptance: it was sent, or lost, or nobody knows.
type outbox struct {
	names *naming
	opts  *Options
	born  time.Time
	// work tells the publisher that there is something to do.
	work chan struct{}

	mu       sync.Mutex
	queue    fifo[*segment]
	flight   fifo[*segment]
	spare    sync.Pool // *segment, no larger than segmentSize
	link     *conn     // where to write; nil while there is none
	writing  *segment  // being written
	from     int       // where in its buf that write began
	written  *sync.Cond
	flying   int // bytes of the flight
	held     tally
	heldWire int // bytes of commands
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
}

func newOutbox(names *naming, opts *Options) *outbox {
	o := &outbox{
		names: names, opts: opts, born: time.Now(),
		work: make(chan struct{}, 1), room: make(chan struct{}), closed: make(chan struct{}),
	}
	o.written = sync.NewCond(&o.mu)
	return o
}

// wake tells the publisher to look.
func (o *outbox) wake() {
	select {
	case o.work <- struct{}{}:
	default:
	}
}

// put takes a message in, encoded as a PUBLISH, and waits while there is no room.
//
// A small message that comes alone is written here and now: with nothing else on the
// wire the system's buffer is empty, so that this does not wait, and it spares the
// time it takes to wake the publisher's goroutine.
func (o *outbox) put(ctx context.Context, ch broker.Channel, payload []byte) error {
	name := o.names.size(ch)
	size := len("*3\r\n$7\r\nPUBLISH\r\n") + len("$\r\n\r\n$\r\n\r\n") + digits(name) + name + digits(len(payload)) + len(payload)
	o.mu.Lock()
	for o.full(size) && !o.closing {
		o.waiting = true
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-o.closed:
		case <-ctx.Done():
			return ctx.Err()
		}
		o.mu.Lock()
	}
	if o.closing {
		o.mu.Unlock()
		return broker.ErrClosed
	}
	idle := o.queue.len() == 0
	s := o.tail(size)
	s.buf = append(s.buf, "*3\r\n$7\r\nPUBLISH\r\n"...)
	s.buf = appendHeader(s.buf, '$', name)
	s.buf = o.names.appendName(s.buf, ch)
	s.buf = append(s.buf, '\r', '\n')
	s.buf = appendHeader(s.buf, '$', len(payload))
	s.buf = append(s.buf, payload...)
	s.buf = append(s.buf, '\r', '\n')
	m := message{wire: size, payload: len(payload), at: time.Since(o.born)}
	s.msgs = append(s.msgs, m)
	o.held.add(m)
	o.heldWire += size
	o.accepted++
	link := o.link
	if link != nil && idle && size <= directBytes && o.flight.len() == 0 && o.writing == nil {
		b := o.takeLocked()
		o.mu.Unlock()
		o.write(link, b)
		return nil
	}
	if idle {
		o.wake()
	}
	o.mu.Unlock()
	return nil
}

func digits(n int) int {
	d := 1
	for n >= 10 {
		n /= 10
		d++
	}
	return d
}

// full reports whether a command of size bytes has to wait. One that is larger than
// the whole limit is let in alone.
func (o *outbox) full(size int) bool {
	return o.held.messages > 0 && (o.held.messages >= o.opts.QueueMessages || o.heldWire+size > o.opts.QueueBytes)
}

// tail returns the segment at the end of the queue, with room for size bytes.
func (o *outbox) tail(size int) *segment {
	if o.queue.len() > 0 {
		if s := *o.queue.back(); len(s.buf)+size <= segmentSize {
			return s
		}
	}
	var s *segment
	if size <= segmentSize {
		s, _ = o.spare.Get().(*segment)
	}
	if s == nil {
		s = &segment{buf: make([]byte, 0, max(size, 4<<10))}
	}
	o.queue.push(s)
	return s
}

// pump writes what waits, as far as the window allows. It is for the publisher's
// goroutine.
func (o *outbox) pump(link *conn) {
	for {
		o.mu.Lock()
		b := o.takeLocked()
		o.mu.Unlock()
		if b == nil || !o.write(link, b) {
			return
		}
	}
}

// takeLocked moves the next segment from the queue to the flight and returns the
// bytes to write; nil if there is none, or the window is full, or somebody writes.
func (o *outbox) takeLocked() []byte {
	if o.queue.len() == 0 || o.writing != nil || o.flight.len() >= windowSegments {
		return nil
	}
	s := *o.queue.front()
	if o.flight.len() > 0 && o.flying+s.size() > windowBytes {
		return nil
	}
	o.queue.pop()
	o.flight.push(s)
	o.flying += s.size()
	o.writing, o.from = s, s.off
	return s.buf[s.off:]
}

// write writes what takeLocked returned. If that fails the connection is of no use
// any more, and what was not written goes back into the queue: a server cannot act
// on a command that it has in part.
func (o *outbox) write(link *conn, b []byte) bool {
	n, err := link.write(b, o.opts.ProbeTimeout)
	if err != nil {
		link.close(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wrote(n, err)
	o.written.Broadcast()
	if o.queue.len() > 0 {
		o.wake()
	}
	return err == nil
}

// wrote is done with writing.
func (o *outbox) wrote(n int, err error) {
	s := o.writing
	o.writing = nil
	if s.empty() { // answered in the meantime, before the write returned
		o.recycle(s)
		return
	}
	if err == nil {
		return
	}
	k, end := s.head, s.off
	n -= s.off - o.from // those that were answered in the meantime
	for k < len(s.msgs) && n >= s.msgs[k].wire {
		n -= s.msgs[k].wire
		end += s.msgs[k].wire
		k++
	}
	if k == len(s.msgs) {
		return
	}
	rest := &segment{buf: slices.Clone(s.buf[end:]), msgs: slices.Clone(s.msgs[k:])}
	o.flying -= len(rest.buf)
	s.buf, s.msgs = s.buf[:end], s.msgs[:k]
	if s.empty() {
		o.flight.popBack()
		o.recycle(s)
	}
	o.queue.pushFront(rest)
}

// answered settles the first n messages of the flight as sent. It reports false if
// there are not so many.
func (o *outbox) answered(n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for ; n > 0; n-- {
		m, ok := o.land()
		if !ok {
			return false
		}
		o.sent.add(m)
	}
	o.after()
	return true
}

// refused settles the first message of the flight as lost.
func (o *outbox) refused(err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	m, ok := o.land()
	if ok {
		o.lose(m, false, err)
		o.after()
		o.wake()
	}
	return ok
}

// land takes the first message off the flight.
func (o *outbox) land() (message, bool) {
	if o.flight.len() == 0 {
		return message{}, false
	}
	s := *o.flight.front()
	m := s.drop()
	o.flying -= m.wire
	if s.empty() {
		o.flight.pop()
		o.recycle(s)
		o.wake() // the window may have been full
	}
	o.settle(m)
	return m, true
}

// ping asks the server for a sign of life, unless answers are due, which are one as
// well. So its answer is always the next.
func (o *outbox) ping(link *conn, pings *atomic.Int32) {
	o.mu.Lock()
	if o.flight.len() > 0 || o.writing != nil {
		o.mu.Unlock()
		return
	}
	o.writing = &segment{}
	pings.Add(1)
	o.mu.Unlock()
	o.write(link, appendCommand(nil, "PING"))
}

// connected lets messages be written.
func (o *outbox) connected(link *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link = link
}

// disconnected settles the whole flight as uncertain. The connection is closed, so
// a write in progress ends.
func (o *outbox) disconnected(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link = nil
	for o.writing != nil {
		o.written.Wait()
	}
	for o.flight.len() > 0 {
		m, _ := o.land()
		o.lose(m, true, err)
	}
	o.after()
}

// expire settles as lost what has waited for too long, because of err, or
// everything if all is set. It returns when the next message gets too old; zero if
// none will.
func (o *outbox) expire(all bool, err error) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Since(o.born)
	for o.queue.len() > 0 {
		s := *o.queue.front()
		if !all {
			if o.opts.QueueAge < 0 {
				break
			}
			if left := s.msgs[s.head].at + o.opts.QueueAge - now; left > 0 {
				o.after()
				return left
			}
		}
		m := s.drop()
		if s.empty() {
			o.queue.pop()
			o.recycle(s)
		}
		o.settle(m)
		o.lose(m, false, err)
	}
	o.after()
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
		o.losses.uncertain.add(m)
	} else {
		o.losses.lost.add(m)
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

func (o *outbox) recycle(s *segment) {
	if s == o.writing || cap(s.buf) > segmentSize*2 {
		return
	}
	s.buf, s.msgs, s.off, s.head = s.buf[:0], s.msgs[:0], 0, 0
	o.spare.Put(s)
}

// close takes nothing more in. The barrier returned is passed when all is settled.
func (o *outbox) close() *barrier {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = true
	close(o.closed)
	o.wake()
	return o.barrier()
}

// idle reports whether nothing waits to be sent, and whether nothing ever will.
func (o *outbox) idle() (idle, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.len() == 0, o.closing && o.held.messages == 0
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
