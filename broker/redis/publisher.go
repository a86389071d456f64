package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/lossfeed"
)

// errFinished closes a connection that is no longer needed.
var errFinished = errors.New("finished")

// publisher empties the outbox into one connection, which it opens when there is
// something to send. Its goroutine, run, is the only one that writes, decides about
// losses and calls OnLoss functions; a second one reads the answers.
type publisher struct {
	out    *outbox
	nodes  *nodes
	opts   *Options
	losses lossfeed.Listeners
	log    *slog.Logger
	// ears of this broker, if they listen where it publishes; else nil.
	ears *subscriber

	// cause is why there is no connection, if the last attempt failed; moved is set if the
	// last connection led to a server that is none of the fleet's. run's own.
	cause error
	moved bool
}

// run works until the outbox is closed and empty, or ctx ends: then what is left is
// lost.
func (p *publisher) run(ctx context.Context) {
	server := &picker{nodes: p.nodes, use: forPublishing}
	pause := &backoff.Backoff{Min: p.opts.BackoffMin, Max: p.opts.BackoffMax}
	for p.waitForWork(ctx) {
		c := p.connect(ctx, server, pause)
		if c == nil {
			continue
		}
		p.serve(ctx, server, c)
		server.left(c.cause)
		var stray *MembershipError
		p.moved = errors.As(c.cause, &stray)
		if time.Since(c.born) > p.opts.BackoffMax {
			pause.Reset()
		} else {
			p.rest(ctx, pause, c.lost())
		}
	}
	if ctx.Err() != nil {
		why := context.Cause(ctx)
		if p.cause != nil {
			why = fmt.Errorf("%w (%w)", why, p.cause)
		}
		p.out.expire(true, why)
	}
	p.tell()
}

// waitForWork returns true when something waits to be sent, and false when run
// shall end.
func (p *publisher) waitForWork(ctx context.Context) bool {
	for ctx.Err() == nil {
		p.tell()
		idle, over := p.out.idle()
		if over {
			return false
		}
		if !idle {
			return true
		}
		select {
		case <-p.out.work:
		case <-ctx.Done():
		}
	}
	return false
}

// connect tries until it has a connection. It returns nil when there is nothing left
// to send, or ctx has ended.
func (p *publisher) connect(ctx context.Context, server *picker, pause *backoff.Backoff) *conn {
	p.cause = nil
	held := false
	for {
		ready := make(chan *conn, 1)
		var err error // set before ready has a value
		go func() {
			var c *conn
			c, err = server.dial(ctx, p.opts.ProbeTimeout)
			ready <- c
		}()
		c, _ := await(p, ready, p.cause)
		if c != nil {
			if !held {
				held = true
				spread := pause.Spread()
				if p.moved {
					// The others notice in their own time that their servers have changed.
					spread = max(spread, p.opts.ProbeInterval)
				}
				if p.hold(ctx, spread) {
					c.close(errFinished) // it may have died meanwhile, and nobody looked
					continue
				}
			}
			if p.cause != nil {
				p.log.Info("redis broker: publishing again", "addr", c.addr)
			}
			p.cause = nil
			return c
		}
		if ctx.Err() != nil {
			return nil // what the dial says now is only that it was ended
		}
		if p.cause == nil {
			p.log.Warn("redis broker: cannot publish, messages wait", "err", err)
		}
		p.cause = err
		p.rest(ctx, pause, p.cause)
		if idle, _ := p.out.idle(); idle || ctx.Err() != nil {
			return nil
		}
	}
}

// leastHold is how long own subscriptions are waited for, however short the pauses are.
const leastHold = time.Second

// errHeld is what keeps messages waiting while publishing is held.
var errHeld = errors.New("redis broker: the server has been away, and subscribers may not be back yet")

// hold waits when the server is back after an outage, and reports whether it did: what
// has gathered would otherwise be sent to nobody. Other brokers are back, most likely,
// when this one's own subscriptions are and as much time has passed as they may pause
// between two attempts (spread): that grows with the outage, for them as for this one.
// It takes no more than twice the longest pause, or leastHold.
func (p *publisher) hold(ctx context.Context, spread time.Duration) bool {
	var own <-chan struct{}
	if p.ears != nil {
		own = p.ears.interrupted()
	}
	if own == nil && spread == 0 {
		return false
	}
	over := make(chan struct{})
	go func() { // waited for below
		defer close(over)
		others := time.After(spread)
		for patience := time.After(max(2*p.opts.BackoffMax, leastHold)); own != nil || others != nil; {
			select {
			case <-own:
				own = nil
			case <-others:
				others = nil
				if p.ears != nil {
					own = p.ears.interrupted() // it may have noticed meanwhile
				}
			case <-patience:
				return
			case <-p.out.books.Closing():
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	await(p, over, errHeld)
	return true
}

// rest pauses between two connections.
func (p *publisher) rest(ctx context.Context, pause *backoff.Backoff, cause error) {
	ctx, cancel := context.WithTimeout(ctx, pause.Next())
	defer cancel()
	await(p, ctx.Done(), cause)
}

// await waits for a value and drops meanwhile the messages that get too old, because
// of cause.
func await[T any](p *publisher, ready <-chan T, cause error) (T, bool) {
	for {
		left := p.out.expire(false, tooOld(cause))
		p.tell()
		var alarm <-chan time.Time
		if left > 0 {
			alarm = time.After(left)
		} else {
			// Nothing waits; what comes now is not too old before QueueAge has passed.
			alarm = p.nextAge()
		}
		select {
		case v, ok := <-ready:
			return v, ok
		case <-alarm:
		}
	}
}

// nextAge fires when a message that is accepted now gets too old.
func (p *publisher) nextAge() <-chan time.Time {
	if p.opts.QueueAge < 0 {
		return nil
	}
	return time.After(p.opts.QueueAge)
}

// serve sends over one connection until it breaks, or all work is done.
func (p *publisher) serve(ctx context.Context, server *picker, c *conn) {
	stop := context.AfterFunc(ctx, func() { c.close(context.Cause(ctx)) })
	defer stop()
	var answers answerReader
	var reading sync.WaitGroup
	reading.Go(func() { c.close(answers.read(c, p.out, p.nodes)) })
	p.out.connected(c)
	p.write(c, &answers)
	reading.Wait()
	lost := c.lost()
	if c.cause != errFinished && ctx.Err() == nil {
		if p.out.inDoubt() && closedWithoutReason(c.cause) {
			lost = p.reason(ctx, server, lost)
		}
		p.log.Warn("redis broker: publish connection lost", "err", lost)
	}
	p.out.disconnected(lost)
	p.tell()
}

// reason returns why messages are in doubt whose connection the server has closed without
// a word: most often it refuses the next one with it.
func (p *publisher) reason(ctx context.Context, server *picker, lost error) error {
	ctx, cancel := context.WithTimeout(ctx, reasonWait)
	defer cancel()
	c, err := server.dial(ctx, p.opts.ProbeTimeout)
	switch {
	case err == nil:
		c.close(errFinished)
	case isReason(err):
		return err
	}
	return lost
}

// write writes until the connection is closed, which it does itself if the server
// does not answer.
func (p *publisher) write(c *conn, answers *answerReader) {
	beat := pulse{interval: p.opts.ProbeInterval, timeout: p.opts.ProbeTimeout, asked: time.Now()}
	timer := time.NewTimer(beat.interval)
	defer timer.Stop()
	ask := func() error {
		p.out.examine() // pump sends it
		return nil
	}
	for {
		if p.opts.MaxRate > 0 { // messages may get too old while they wait for their turn
			p.out.expire(false, ErrTooOld)
		}
		p.out.pump(c, &answers.due)
		p.tell()
		if _, over := p.out.idle(); over {
			c.close(errFinished)
			return
		}
		if !beat.tend(c, p.out.work, timer, ask) {
			return
		}
	}
}

// tell reports losses.
func (p *publisher) tell() {
	for _, loss := range p.out.books.News() {
		p.log.Warn("redis broker: messages lost", "messages", loss.Messages, "uncertain", loss.Uncertain, "err", loss.Err)
		p.losses.Tell(loss)
	}
}

// answerReader reads the answers to what was written on a publish connection.
type answerReader struct {
	// due is how many answers to examinations are to come. An examination is only written
	// when no other answer is, so they are the next.
	due atomic.Int32
}

// read settles messages until the connection breaks, or the server turns out to be none
// of the fleet's, and returns why.
func (a *answerReader) read(c *conn, out *outbox, n *nodes) error {
	good := 0 // answers read and not yet passed on
	settle := func() bool {
		n := good
		good = 0
		return n == 0 || out.answered(n)
	}
	for {
		if a.due.Load() == 0 {
			good += takeIntegers(c.r)
		}
		if good > 0 && (c.r.Buffered() == 0 || good >= 1024) {
			if !settle() {
				return protocolError("an answer too many")
			}
		}
		if _, err := c.r.Peek(1); err != nil { // waits, while an examination may begin
			settle()
			return err
		}
		if a.due.Load() > 0 {
			a.due.Add(-1)
			answer, err := readReply(c.r, "examination")
			if err == nil {
				err = n.answered(c, answer)
			}
			if err != nil {
				return err
			}
			continue
		}
		refused, err := readSimple(c.r, "PUBLISH")
		if err != nil {
			settle()
			return err
		}
		switch {
		case refused == nil:
			good++
		default:
			if !settle() || !out.refused(refused) {
				return protocolError("an answer too many: " + refused.Reply)
			}
		}
	}
}
