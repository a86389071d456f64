package brokerkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
	"github.com/crossroom/crossroom/broker/internal/queue"
)

// OutboxOptions are the limits of an Outbox.
type OutboxOptions struct {
	// Name of the broker, at the start of errors and log lines. Empty means "broker".
	Name string
	// Logger gets a line for each loss that no function of OnLoss gets. Nil means slog.Default().
	Logger *slog.Logger

	// Messages and Bytes (encoded) limit what waits to be sent or acknowledged. Put waits while either limit is
	// reached. A larger message is accepted alone. Zero or less means 65,536 messages and 32 MiB.
	Messages, Bytes int
	// Age limits how long a message waits to be sent. After that it is lost, because of TooOld. Zero means 30 seconds.
	// Negative means no limit.
	Age time.Duration
	// TooOld is the error of a message that waited too long. It is wrapped together with the reason for the missing
	// connection. Nil means a default error.
	TooOld error

	// BatchBytes is the number of bytes that are gathered for one Write. A larger message has a batch of its own. Zero
	// or less means 32 KiB.
	BatchBytes int
	// WindowBytes and WindowBatches limit what was written and is not yet settled. One batch is always allowed. Zero
	// or less means 256 KiB, and any number of batches.
	WindowBytes, WindowBatches int
	// Rate limits the bytes written per second. Zero or less means no limit.
	Rate int

	// Inline is the size in bytes of the largest message that Put writes itself, which saves a switch of goroutines.
	// Put does so if no message waits or is in flight. Zero means none.
	Inline int
	// NonBlocking promises that Write never waits, and calls no method of the outbox except Wake. Put then writes
	// messages of every size itself, also while others are in flight.
	NonBlocking bool

	// BackoffMin and BackoffMax limit the pauses between two connections. Each pause is random, below a limit that
	// doubles from BackoffMin to BackoffMax. Zero or less means 50 milliseconds and 2 seconds.
	BackoffMin, BackoffMax time.Duration
	// Needed reports whether a connection is needed although no message waits. Nil means that it is not.
	Needed func() bool
}

func (o OutboxOptions) withDefaults() OutboxOptions {
	o.Name = cmp.Or(o.Name, "broker")
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	positive(&o.Messages, 1<<16)
	positive(&o.Bytes, 32<<20)
	o.Age = cmp.Or(o.Age, 30*time.Second)
	if o.TooOld == nil {
		o.TooOld = errors.New(o.Name + ": waited too long to be sent")
	}
	positive(&o.BatchBytes, 32<<10)
	positive(&o.WindowBytes, 256<<10)
	positive(&o.BackoffMin, 50*time.Millisecond)
	positive(&o.BackoffMax, max(2*time.Second, o.BackoffMin))
	if o.Needed == nil {
		o.Needed = func() bool { return false }
	}
	return o
}

func positive[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Outbox holds the messages that a broker has accepted, encoded and in order. First come the messages in flight, which
// were written and not yet acknowledged, then the waiting ones. A message leaves the outbox by being settled, in the
// order of acceptance: as sent, lost or uncertain. M is the broker's own data for a message, kept until the message is
// settled. All methods are safe for concurrent use, except where they say otherwise.
type Outbox[M any] struct {
	opts      OutboxOptions
	connector Connector
	born      time.Time
	work      chan struct{} // capacity 1: the sender has something to do
	closing   *lifecycle.Once
	onLoss    listeners

	cancel  context.CancelCauseFunc // ends ctx
	ctx     context.Context         // of the sender
	started atomic.Bool             // the sender was started; set with mu held
	ended   chan struct{}           // closed when the sender has ended
	cause   error                   // why there is no connection; used by the sender only
	sending time.Time               // when Send began with the current connection; used by the sender only

	mu      sync.Mutex
	books   accounting
	queue   queue.FIFO[*Batch[M]]
	flight  queue.FIFO[record[M]]
	flying  int // bytes of the flight
	batches int // of the flight
	spare   sync.Pool
	writer  Writer[M] // nil without a connection
	held    bool
	writing *Batch[M]
	written sync.Cond // on mu: writing is nil
	pace    pace
}

// NewOutbox returns an empty outbox. The sender goroutine starts with the first work.
func NewOutbox[M any](opts OutboxOptions, connector Connector) *Outbox[M] {
	o := &Outbox[M]{
		opts: opts.withDefaults(), connector: connector, born: time.Now(),
		work: make(chan struct{}, 1), closing: lifecycle.NewOnce(), ended: make(chan struct{}),
	}
	o.ctx, o.cancel = context.WithCancelCause(context.Background())
	o.books = newAccounting(&o.mu, o.opts.Messages, o.opts.Bytes, o.wake)
	o.written.L = &o.mu
	o.pace.rate = o.opts.Rate
	return o
}

// Put accepts a message. encode appends exactly size.Wire bytes to a buffer. It is called before Put returns and in
// the order of acceptance, with a lock held. Put waits while the outbox is full. It returns the error of ctx, or
// broker.ErrClosed.
func (o *Outbox[M]) Put(ctx context.Context, size Size, m M, encode func([]byte) []byte) error {
	o.mu.Lock()
	if err := o.books.admit(ctx, size); err != nil {
		o.mu.Unlock()
		return err
	}
	first := o.queue.Len() == 0
	b := o.tail(size.Wire)
	before := len(b.buf)
	b.buf = encode(b.buf)
	if n := len(b.buf) - before; n != size.Wire {
		panic(fmt.Sprintf("%s: encode appended %d bytes, and Size.Wire is %d", o.opts.Name, n, size.Wire))
	}
	b.records = append(b.records, record[M]{Size: size, at: -1, meta: m})
	o.books.accept(size)
	if first && o.writer != nil && (o.opts.NonBlocking || o.opts.Inline >= max(size.Wire, 1) && o.flight.Len() == 0) {
		if b := o.take(); b != nil {
			o.write(o.writer, b)
			o.mu.Unlock()
			return nil
		}
	}
	b.records[len(b.records)-1].at = o.now()
	if first {
		o.start()
		o.wake()
	}
	o.mu.Unlock()
	return nil
}

func (o *Outbox[M]) now() time.Duration { return time.Since(o.born) }

// tail returns the batch at the end of the queue, with room for size bytes.
func (o *Outbox[M]) tail(size int) *Batch[M] {
	if o.queue.Len() > 0 {
		if b := *o.queue.Back(); len(b.buf)+size <= o.opts.BatchBytes {
			return b
		}
	}
	var b *Batch[M]
	if size <= o.opts.BatchBytes {
		b, _ = o.spare.Get().(*Batch[M])
	}
	if b == nil {
		b = &Batch[M]{buf: make([]byte, 0, max(size, min(4<<10, o.opts.BatchBytes)))}
	}
	o.queue.Push(b)
	return b
}

func (o *Outbox[M]) recycle(b *Batch[M]) {
	if cap(b.buf) <= 2*o.opts.BatchBytes {
		b.reset()
		o.spare.Put(b)
	}
}

// take moves the next batch from the queue to the flight, for a write. It returns nil if there is no batch, the window
// is full, another goroutine writes, messages are held, or the rate does not allow a batch yet. The caller holds mu.
func (o *Outbox[M]) take() *Batch[M] {
	if o.queue.Len() == 0 || o.writing != nil || o.held || o.opts.WindowBatches > 0 && o.batches >= o.opts.WindowBatches {
		return nil
	}
	b := *o.queue.Front()
	if o.flight.Len() > 0 && o.flying+b.size() > o.opts.WindowBytes {
		return nil
	}
	if o.pace.rate > 0 {
		now := o.now()
		if wait := o.pace.wait(now); wait > 0 {
			if !o.pace.armed {
				o.pace.armed = true
				time.AfterFunc(wait, o.paced)
			}
			return nil
		}
		o.pace.spend(b.size(), now)
	}
	o.queue.Pop()
	for _, r := range b.records[b.head:] {
		o.flight.Push(r)
	}
	o.flight.Back().last = true
	o.flying += b.size()
	o.batches++
	o.writing = b
	return b
}

// paced wakes the sender when the rate allows the next batch.
func (o *Outbox[M]) paced() {
	o.mu.Lock()
	o.pace.armed = false
	o.mu.Unlock()
	o.wake()
}

// write writes the batch that take returned, and reports whether that succeeded. The caller holds mu. write unlocks it
// during a Write that may wait.
func (o *Outbox[M]) write(w Writer[M], b *Batch[M]) bool {
	if !o.opts.NonBlocking {
		o.mu.Unlock()
	}
	n, err := w.Write(b)
	if !o.opts.NonBlocking {
		o.mu.Lock()
	}
	o.wrote(b, n, err)
	o.written.Broadcast()
	if err != nil || o.queue.Len() > 0 || o.held {
		o.wake() // after an error the sender looks for the cause
	}
	return err == nil
}

// wrote ends a write that handed over n messages. The others return to the queue: the system cannot act on a partial
// message.
func (o *Outbox[M]) wrote(b *Batch[M], n int, err error) {
	o.writing = nil
	here := min(b.Len(), o.flight.Len()) // the others were settled during the write
	settled := b.Len() - here
	back := 0
	if err != nil {
		back = min(b.Len()-n, here)
	}
	for range back {
		r := o.flight.PopBack()
		o.flying -= r.Wire
	}
	here -= back
	for _, r := range b.refused {
		if i := r.message - settled; i >= 0 && i < here {
			o.flight.At(o.flight.Len() - here + i).err = r.err
		}
	}
	if back == 0 {
		o.recycle(b)
		return
	}
	if here > 0 {
		o.flight.Back().last = true
	} else {
		o.batches--
	}
	for range settled + here {
		b.drop()
	}
	for i := range b.records[b.head:] {
		if r := &b.records[b.head+i]; r.at < 0 {
			r.at = o.now()
		}
	}
	b.refused = nil
	o.queue.PushFront(b)
}

// ErrForwarded is the verdict on a message that the broker has put into another outbox of its own. The message is
// neither sent nor lost here, and Stats count it as accepted there only.
var ErrForwarded = errors.New("brokerkit: the message was put into another outbox")

// Next returns the broker's data of the message that Settle takes first. It returns false if none is in flight.
func (o *Outbox[M]) Next() (m M, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flight.Len() == 0 {
		return m, false
	}
	return o.flight.Front().meta, true
}

// Progress returns how many messages Put has accepted, and how many of these are settled. Messages are settled in the
// order of acceptance.
func (o *Outbox[M]) Progress() (accepted, settled uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.books.accepted, o.books.settled
}

// Settle settles the first n messages of the flight, in the order of Put. verdict returns the system's reason for
// refusing a message, ErrForwarded, or nil if the system has it. A nil verdict means that the system has all. Settle
// returns false if fewer messages are in flight.
func (o *Outbox[M]) Settle(n int, verdict func(M) error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for ; n > 0 && o.flight.Len() > 0; n-- {
		r := o.land()
		if r.err == nil && verdict != nil {
			r.err = verdict(r.meta)
		}
		switch r.err {
		case nil:
			o.books.sent(r.Size)
		case ErrForwarded:
			o.books.forward(r.Size)
		default:
			o.books.lose(r.Size, false, r.err)
			o.wake() // to report it
		}
	}
	o.settled()
	return n == 0
}

// land removes the first message from the flight, to be settled.
func (o *Outbox[M]) land() record[M] {
	r := o.flight.Pop()
	o.flying -= r.Wire
	if r.last {
		o.batches--
		if o.queue.Len() > 0 || o.held && o.flight.Len() == 0 {
			o.wake() // the window may have been full
		}
	}
	return r
}

// settled notifies the callers that waited for the settled messages.
func (o *Outbox[M]) settled() {
	o.books.notify()
	if o.books.done() {
		o.wake()
	}
}

// Abandon settles the whole flight as uncertain, because of err: the connection is lost. It waits for a running Write,
// and ends Hold.
func (o *Outbox[M]) Abandon(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = false
	for o.writing != nil {
		o.written.Wait()
	}
	for o.flight.Len() > 0 {
		if r := o.land(); r.err != nil {
			o.books.lose(r.Size, false, r.err)
		} else {
			o.books.lose(r.Size, true, err)
		}
	}
	o.settled()
}

// expire settles messages that waited too long as lost because of err, or all messages if all is set. It returns the
// time until the next message is too old, or zero.
func (o *Outbox[M]) expire(all bool, err error) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.settled()
	now := o.now()
	for o.queue.Len() > 0 {
		b := *o.queue.Front()
		if !all {
			if o.opts.Age < 0 {
				break
			}
			if left := b.records[b.head].at + o.opts.Age - now; left > 0 {
				return left
			}
		}
		size := b.drop()
		if b.Len() == 0 {
			o.queue.Pop()
			o.recycle(b)
		}
		o.books.lose(size, false, err)
	}
	return 0
}

// Flush waits until all accepted messages are settled. It returns the losses among them as a *broker.LossError; no
// later Flush returns the same losses again. It may also return the error of ctx, or broker.ErrClosed.
func (o *Outbox[M]) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.mu.Lock()
	if o.books.closed {
		o.mu.Unlock()
		return broker.ErrClosed
	}
	b := o.books.addBarrier()
	o.wake() // the sender may have to request an acknowledgement
	o.mu.Unlock()
	return o.books.wait(ctx, b)
}

// Close makes Put fail, and waits until all messages are settled and the sender has ended. If ctx ends first, the
// waiting messages are lost and Close returns the error of ctx. Losses are a *broker.LossError. Later calls wait for
// the first one and return the same.
func (o *Outbox[M]) Close(ctx context.Context) error { return o.closing.Do(ctx, o.shutDown) }

func (o *Outbox[M]) shutDown(ctx context.Context) error {
	o.mu.Lock()
	o.books.shut()
	last := o.books.addBarrier()
	started := o.started.Load()
	o.wake()
	o.mu.Unlock()
	late := lifecycle.Wait(ctx, last.done)
	if late != nil {
		o.cancel(fmt.Errorf("broker closed before it was sent: %w", late))
		<-last.done // no caller waits for the system any more
	}
	o.cancel(broker.ErrClosed)
	if started {
		<-o.ended
	}
	return lifecycle.Join(last.err, late)
}

// Stop makes Put fail and gives up the waiting messages, because of err. It does not wait; Close does.
func (o *Outbox[M]) Stop(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.books.shut()
	o.cancel(err)
}

// Closing returns a channel that Close closes first.
func (o *Outbox[M]) Closing() <-chan struct{} { return o.books.closing }

// OnLoss implements broker.Broker.
func (o *Outbox[M]) OnLoss(f func(broker.Loss)) (stop func()) { return o.onLoss.add(f) }

// Fill writes the counters of publishing into s.
func (o *Outbox[M]) Fill(s *broker.Stats) { o.books.fill(s) }
