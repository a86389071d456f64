package brokerkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// Connector makes the connections of an Outbox.
type Connector interface {
	// Connect opens a connection. The sender calls it when a message waits and there is no connection, one call at a
	// time, and again after a pause if it fails. It must return soon after ctx ends.
	Connect(ctx context.Context) (Connection, error)
}

// Connection is one connection of an Outbox.
type Connection interface {
	// Serve uses the connection until it is lost, ctx ends or Outbox.Done reports true. It calls Outbox.Send, and
	// Abandon before it returns. The sender calls Serve once for each connection, also if ctx has ended meanwhile.
	// Serve returns the cause of the lost connection, or nil if the connection is not needed any more. outage is the
	// longest time that other nodes may pause before they reconnect after an outage; it is zero without one.
	Serve(ctx context.Context, outage time.Duration) error
}

// Writer writes messages to the system.
type Writer[M any] interface {
	// Write writes a batch. It returns how many of its messages the system may act on. After an error the connection
	// is useless: Write closes it, and the other messages wait for the next connection. Only one goroutine at a time
	// calls Write.
	Write(b *Batch[M]) (n int, err error)
}

// Work returns a channel of capacity 1 that has a value when the sender has something to do. It is for the function
// passed to Send.
func (o *Outbox[M]) Work() <-chan struct{} { return o.work }

// AwaitWork waits for Work, and returns false when ctx ends. It suffices as the function passed to Send if no other
// event can end the connection.
func (o *Outbox[M]) AwaitWork(ctx context.Context) bool {
	select {
	case <-o.work:
		return true
	case <-ctx.Done():
		return false
	}
}

// Wake makes the sender look for work, and starts it if necessary.
func (o *Outbox[M]) Wake() {
	if !o.started.Load() {
		o.mu.Lock()
		o.start()
		o.mu.Unlock()
	}
	o.wake()
}

func (o *Outbox[M]) wake() { lifecycle.Raise(o.work) }

// start starts the sender. The caller holds mu.
func (o *Outbox[M]) start() {
	if !o.started.Load() && !o.books.closed {
		o.started.Store(true)
		go o.run(o.ctx) // Close waits for it
	}
}

// run is the sender. It works until the outbox is closed and empty, or until ctx ends: then the waiting messages are
// lost.
func (o *Outbox[M]) run(ctx context.Context) {
	defer close(o.ended)
	pause := &backoff.Backoff{Min: o.opts.BackoffMin, Max: o.opts.BackoffMax}
	for o.waitForWork(ctx) {
		c, err := o.connect(ctx)
		if err != nil {
			if ctx.Err() == nil { // otherwise the error only reports the end of ctx
				o.cause = err
				o.rest(ctx, pause.Next())
			}
			continue
		}
		outage := pause.Spread()
		if o.cause != nil && outage == 0 { // the first attempt succeeded, and those of others may not have
			outage = min(2*o.opts.BackoffMin, o.opts.BackoffMax)
		}
		o.sending = time.Time{}
		o.cause = c.Serve(ctx, outage)
		// The time that Serve takes before Send is a part of the outage.
		lasted := time.Duration(0)
		if !o.sending.IsZero() {
			lasted = time.Since(o.sending)
		}
		if o.cause != nil && !o.Done() {
			o.rest(ctx, pause.Lost(lasted))
		} else if lasted > o.opts.BackoffMax {
			pause.Reset()
		}
	}
	if ctx.Err() != nil {
		why := context.Cause(ctx)
		if o.cause != nil {
			why = fmt.Errorf("%w (%w)", why, o.cause)
		}
		o.expire(true, why)
	}
	o.report()
}

// waitForWork returns true when a connection is needed, and false when the sender must end.
func (o *Outbox[M]) waitForWork(ctx context.Context) bool {
	for ctx.Err() == nil {
		o.report()
		if o.Done() {
			return false
		}
		if !o.Idle() || o.opts.Needed() {
			return true
		}
		o.AwaitWork(ctx)
	}
	return false
}

func (o *Outbox[M]) connect(ctx context.Context) (c Connection, err error) {
	ready := make(chan struct{})
	go func() { // waited for below
		defer close(ready)
		c, err = o.connector.Connect(ctx)
	}()
	o.await(ready, o.cause)
	return c, err
}

// rest pauses between two connections.
func (o *Outbox[M]) rest(ctx context.Context, pause time.Duration) {
	if pause <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	o.await(ctx.Done(), o.cause)
}

// Await waits until ready is closed. Meanwhile it drops messages that get too old. It is for Serve, before Send.
func (o *Outbox[M]) Await(ready <-chan struct{}) { o.await(ready, o.cause) }

// await is Await. cause is the reason why messages get too old.
func (o *Outbox[M]) await(ready <-chan struct{}, cause error) {
	for {
		left := o.expire(false, o.tooOld(cause))
		o.report()
		var alarm <-chan time.Time
		switch {
		case left > 0:
			alarm = time.After(left)
		case o.opts.Age > 0: // no message waits, and a new one is not too old before then
			alarm = time.After(o.opts.Age)
		}
		select {
		case <-ready:
			return
		case <-alarm:
		}
	}
}

// tooOld returns the error of a message that waited because of cause.
func (o *Outbox[M]) tooOld(cause error) error {
	if cause == nil {
		return o.opts.TooOld
	}
	return fmt.Errorf("%w: %w", o.opts.TooOld, cause)
}

// leastHold is the minimum wait of AwaitReturn, however short the pauses are.
const leastHold = time.Second

// AwaitReturn waits after an outage until the other nodes have probably resubscribed, because the gathered messages
// would otherwise reach no subscriber. It waits until this node's own subscriptions are restored, and for outage, the
// longest pause of the others. interrupted returns a channel that is closed when the own subscriptions are restored,
// or nil; interrupted itself may be nil. AwaitReturn takes at most twice the longest pause, or one second if that is
// longer. It returns early when the connection is lost, which closes lost. It reports whether it waited. It is for
// Serve, before Send.
func (o *Outbox[M]) AwaitReturn(ctx context.Context, outage time.Duration, interrupted func() <-chan struct{}, lost <-chan struct{}) bool {
	var own <-chan struct{}
	if interrupted != nil {
		own = interrupted()
	}
	if own == nil && outage == 0 {
		return false
	}
	back := make(chan struct{})
	go func() { // waited for below
		defer close(back)
		others := time.After(outage)
		for limit := time.After(max(2*o.opts.BackoffMax, leastHold)); own != nil || others != nil; {
			select {
			case <-own:
				own = nil
			case <-others:
				others = nil
				if interrupted != nil {
					own = interrupted() // the interruption may have been noticed meanwhile
				}
			case <-limit:
				return
			case <-o.Closing():
				return
			case <-lost:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	cause := o.cause
	if cause == nil {
		cause = errors.New(o.opts.Name + ": the server was unavailable, and other subscribers may not have returned yet")
	}
	o.await(back, cause)
	return true
}

// Send writes the waiting messages to w, as far as the window allows, and then calls wait, repeatedly. It returns when
// a write fails, wait returns false, or Done reports true. wait must wait for Work, and for the events that end the
// connection. Meanwhile Put may write too. Send is for Serve.
func (o *Outbox[M]) Send(w Writer[M], wait func() bool) {
	o.cause, o.sending = nil, time.Now()
	o.attach(w)
	defer o.attach(nil)
	for {
		if o.opts.Rate > 0 { // messages may get too old while the rate delays them
			o.expire(false, o.opts.TooOld)
		}
		written := o.pump(w)
		o.report()
		if !written || o.Done() || !wait() {
			return
		}
	}
}

func (o *Outbox[M]) attach(w Writer[M]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writer = w
}

// pump writes the waiting messages. It returns false if a write failed.
func (o *Outbox[M]) pump(w Writer[M]) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		b := o.take()
		if b == nil {
			return true
		}
		if !o.write(w, b) {
			return false
		}
	}
}

// report reports the losses that were not reported yet.
func (o *Outbox[M]) report() {
	for _, loss := range o.books.takeReports() {
		if !o.onLoss.report(loss) {
			o.opts.Logger.Warn(o.opts.Name+": messages lost", "messages", loss.Messages, "uncertain", loss.Uncertain, "err", loss.Err)
		}
	}
}

// listeners are the functions passed to OnLoss, in the order of the calls.
type listeners struct {
	mu   sync.Mutex
	list []*func(broker.Loss)
}

// add registers f until the returned function is called.
func (l *listeners) add(f func(broker.Loss)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Make a new slice each time: report reads the old one without the lock.
	l.list = append(slices.Clip(l.list), &f)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = slices.DeleteFunc(slices.Clone(l.list), func(g *func(broker.Loss)) bool { return g == &f })
	}
}

// report calls the functions, and returns false if there are none. Only the sender calls it, so that calls never
// overlap.
func (l *listeners) report(loss broker.Loss) bool {
	l.mu.Lock()
	list := l.list
	l.mu.Unlock()
	for _, f := range list {
		(*f)(loss)
	}
	return len(list) > 0
}
