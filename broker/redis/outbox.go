package redisbroker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/ledger"
	"github.com/crossroom/crossroom/broker/internal/queue"
	"github.com/crossroom/crossroom/broker/internal/signals"
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

	mu      sync.Mutex
	books   ledger.Ledger
	queue   queue.FIFO[*segment]
	flight  queue.FIFO[*segment]
	spare   sync.Pool // *segment, no larger than segmentSize
	link    *conn     // where to write; nil while there is none
	writing *segment  // being written
	from    int       // where in its buf that write began
	written *sync.Cond
	flying  int  // bytes of the flight
	exam    bool // the server is to be examined, when the flight has ended
	pace    pace
}

func newOutbox(names *naming, opts *Options) *outbox {
	o := &outbox{names: names, opts: opts, born: time.Now(), work: make(chan struct{}, 1)}
	o.books = ledger.New(&o.mu, opts.QueueMessages, opts.QueueBytes)
	o.written = sync.NewCond(&o.mu)
	o.pace.rate = opts.MaxRate
	return o
}

// wake tells the publisher to look.
func (o *outbox) wake() { signals.Raise(o.work) }

// put takes a message in, encoded as a PUBLISH, and waits while there is no room.
//
// A small message that comes alone is written here and now: with nothing else on the
// wire the system's buffer is empty, so that this does not wait, and it spares the
// time it takes to wake the publisher's goroutine.
func (o *outbox) put(ctx context.Context, ch broker.Channel, payload []byte) error {
	name := o.names.size(ch)
	size := len("*3\r\n$7\r\nPUBLISH\r\n") + len("$\r\n\r\n$\r\n\r\n") + digits(name) + name + digits(len(payload)) + len(payload)
	m := message{Size: ledger.Size{Payload: len(payload), Wire: size}}
	o.mu.Lock()
	if err := o.books.Admit(ctx, m.Size); err != nil {
		o.mu.Unlock()
		return err
	}
	idle := o.queue.Len() == 0
	s := o.tail(size)
	s.buf = append(s.buf, "*3\r\n$7\r\nPUBLISH\r\n"...)
	s.buf = appendHeader(s.buf, '$', name)
	s.buf = o.names.appendName(s.buf, ch)
	s.buf = append(s.buf, '\r', '\n')
	s.buf = appendHeader(s.buf, '$', len(payload))
	s.buf = append(s.buf, payload...)
	s.buf = append(s.buf, '\r', '\n')
	m.at = time.Since(o.born)
	s.msgs = append(s.msgs, m)
	o.books.Accept(m.Size)
	link := o.link
	if link != nil && idle && size <= directBytes && o.flight.Len() == 0 && o.writing == nil && !o.exam {
		if b := o.takeLocked(); b != nil {
			o.mu.Unlock()
			o.write(link, b)
			return nil
		}
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

// tail returns the segment at the end of the queue, with room for size bytes.
func (o *outbox) tail(size int) *segment {
	if o.queue.Len() > 0 {
		if s := *o.queue.Back(); len(s.buf)+size <= segmentSize {
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
	o.queue.Push(s)
	return s
}

// pump writes what waits, as far as the window allows. It is for the publisher's
// goroutine. due is how many answers to examinations are to come.
func (o *outbox) pump(link *conn, due *atomic.Int32) {
	for {
		o.mu.Lock()
		b := o.takeExam(link, due)
		if b == nil {
			b = o.takeLocked()
		}
		o.mu.Unlock()
		if b == nil || !o.write(link, b) {
			return
		}
	}
}

// takeLocked moves the next segment from the queue to the flight and returns the
// bytes to write; nil if there is none, or the window is full, or another goroutine
// writes, or an examination comes first, or the pace does not allow it yet.
func (o *outbox) takeLocked() []byte {
	if o.queue.Len() == 0 || o.writing != nil || o.flight.Len() >= windowSegments || o.exam {
		return nil
	}
	s := *o.queue.Front()
	if o.flight.Len() > 0 && o.flying+s.size() > windowBytes {
		return nil
	}
	now := time.Since(o.born)
	if wait := o.pace.wait(now); wait > 0 {
		if !o.pace.armed {
			o.pace.armed = true
			time.AfterFunc(wait, o.paced)
		}
		return nil
	}
	o.pace.spend(s.size(), now)
	o.queue.Pop()
	o.flight.Push(s)
	o.flying += s.size()
	o.writing, o.from = s, s.off
	return s.buf[s.off:]
}

// paced wakes the publisher when the pace allows the next segment.
func (o *outbox) paced() {
	o.mu.Lock()
	o.pace.armed = false
	o.mu.Unlock()
	o.wake()
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
	if o.queue.Len() > 0 || o.exam {
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
	for k < len(s.msgs) && n >= s.msgs[k].Wire {
		n -= s.msgs[k].Wire
		end += s.msgs[k].Wire
		k++
	}
	if k == len(s.msgs) {
		return
	}
	rest := &segment{buf: slices.Clone(s.buf[end:]), msgs: slices.Clone(s.msgs[k:])}
	o.flying -= len(rest.buf)
	s.buf, s.msgs = s.buf[:end], s.msgs[:k]
	if s.empty() {
		o.flight.PopBack()
		o.recycle(s)
	}
	o.queue.PushFront(rest)
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
		o.books.Sent(m.Size)
	}
	o.settled()
	return true
}

// refused settles the first message of the flight as lost.
func (o *outbox) refused(err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	m, ok := o.land()
	if ok {
		o.books.Lose(m.Size, false, err)
		o.settled()
		o.wake()
	}
	return ok
}

// land takes the first message off the flight, to be settled.
func (o *outbox) land() (message, bool) {
	if o.flight.Len() == 0 {
		return message{}, false
	}
	s := *o.flight.Front()
	m := s.drop()
	o.flying -= m.Wire
	if s.empty() {
		o.flight.Pop()
		o.recycle(s)
		o.wake() // the window may have been full
	}
	return m, true
}

// examine has the server examined as soon as no other answer is due, and before any
// more messages are written. So its answers are always the next.
func (o *outbox) examine() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.exam = true
}

// takeExam returns the examination to write; nil if there is none, or not yet.
func (o *outbox) takeExam(link *conn, due *atomic.Int32) []byte {
	if !o.exam || o.flight.Len() > 0 || o.writing != nil {
		return nil
	}
	o.exam = false
	o.writing = &segment{}
	due.Add(int32(len(link.exam.commands)))
	return link.exam.encoded
}

// connected lets messages be written.
func (o *outbox) connected(link *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link = link
}

// inDoubt reports whether answers are due, and lets nobody write until the next
// connection.
func (o *outbox) inDoubt() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link = nil
	return o.flight.Len() > 0
}

// disconnected settles the whole flight as uncertain. The connection is closed, so
// a write in progress ends.
func (o *outbox) disconnected(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link, o.exam = nil, false
	for o.writing != nil {
		o.written.Wait()
	}
	for o.flight.Len() > 0 {
		m, _ := o.land()
		o.books.Lose(m.Size, true, err)
	}
	o.settled()
}

// expire settles as lost what has waited for too long, because of err, or
// everything if all is set. It returns when the next message gets too old; zero if
// none will.
func (o *outbox) expire(all bool, err error) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Since(o.born)
	for o.queue.Len() > 0 {
		s := *o.queue.Front()
		if !all {
			if o.opts.QueueAge < 0 {
				break
			}
			if left := s.msgs[s.head].at + o.opts.QueueAge - now; left > 0 {
				o.settled()
				return left
			}
		}
		m := s.drop()
		if s.empty() {
			o.queue.Pop()
			o.recycle(s)
		}
		o.books.Lose(m.Size, false, err)
	}
	o.settled()
	return 0
}

// settled looks who waited for what just happened.
func (o *outbox) settled() {
	o.books.Balance()
	if o.books.Over() {
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

// flush waits until everything accepted so far is settled. What it returns no
// later flush returns again.
func (o *outbox) flush(ctx context.Context) error {
	o.mu.Lock()
	b, err := o.books.Barrier()
	o.mu.Unlock()
	if err != nil {
		return err
	}
	return o.books.Wait(ctx, b)
}

// close takes nothing more in. The barrier returned is passed when all is settled.
func (o *outbox) close() *ledger.Barrier {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wake()
	return o.books.Close()
}

// idle reports whether nothing waits to be sent, and whether nothing ever will.
func (o *outbox) idle() (idle, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.Len() == 0, o.books.Over()
}

// tooOld is the error of a message that was kept waiting by cause.
func tooOld(cause error) error {
	if cause == nil {
		return ErrTooOld
	}
	return fmt.Errorf("%w: %w", ErrTooOld, cause)
}
