package redisbroker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker/brokerkit"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// errFinished closes a connection that is not needed any more.
var errFinished = errors.New("finished")

// publisher makes the connections of the outbox. The outbox's sender calls it. For each
// connection a goroutine reads the replies.
type publisher struct {
	out    *outbox
	server server
	nodes  *nodes
	opts   *Options
	log    *lifecycle.Log
	// subscriber is this broker's subscriber if it uses the same client; else nil.
	subscriber *subscriber
	// refused returns the verdict on a message that the server has refused; nil: the refusal.
	refused func(*message, *ServerError) error

	failing time.Time // since when no connection could be opened; zero: one could be
	logged  bool      // although the broker is watched
	moved   bool      // the last connection led to a server that did not belong to the fleet
	held    bool      // messages have been kept back after the present outage
}

const cannotPublish = "redis broker: cannot publish, messages wait"

// publishConn is a conn that serves the outbox.
type publishConn struct {
	*conn
	p *publisher
}

// Connect implements brokerkit.Connector.
func (p *publisher) Connect(ctx context.Context) (brokerkit.Connection, error) {
	c, err := p.server.dial(ctx, p.opts.ProbeTimeout)
	switch {
	case err == nil:
		return publishConn{c, p}, nil
	case ctx.Err() != nil:
	case p.failing.IsZero():
		p.failing = time.Now()
		p.log.Warn(cannotPublish, "err", err)
	case p.log.Watched() && !p.logged && !p.log.Down.Load() && time.Since(p.failing) > time.Second:
		p.logged = true // what watches the broker sees no interruption
		p.opts.Logger.Warn(cannotPublish, "err", err)
	}
	return nil, err
}

// Serve implements brokerkit.Connection.
func (c publishConn) Serve(ctx context.Context, outage time.Duration) error {
	p := c.p
	if p.moved {
		// Other brokers notice later that their servers have changed.
		outage = max(outage, p.opts.ProbeInterval)
	}
	var interrupted func() <-chan struct{}
	if p.subscriber != nil {
		interrupted = p.subscriber.interrupted
	}
	if !p.held && p.out.AwaitReturn(ctx, outage, interrupted, c.done) {
		p.held = true
		c.close(errFinished) // nothing has read from it, so it may have been lost meanwhile
		var err error        // set before ready is closed
		ready := make(chan struct{})
		go func() {
			defer close(ready)
			c.conn, err = p.server.dial(ctx, p.opts.ProbeTimeout)
		}()
		p.out.Await(ready)
		if err != nil {
			return err
		}
	}
	p.held = false
	if !p.failing.IsZero() {
		to := p.log.Info
		if p.logged {
			to = p.opts.Logger.Info
		}
		to("redis broker: publishing again", "addr", c.addr)
		p.failing, p.logged = time.Time{}, false
	}
	return p.serve(ctx, c.conn)
}

// serve sends over one connection until it breaks, or all work is done.
func (p *publisher) serve(ctx context.Context, c *conn) error {
	stop := context.AfterFunc(ctx, func() { c.close(context.Cause(ctx)) })
	defer stop()
	var answers answerReader
	var reading sync.WaitGroup
	reading.Go(func() { c.close(answers.read(c, p)) })
	p.write(c, &answers)
	reading.Wait()
	lost := c.lost()
	finished := c.cause == errFinished || ctx.Err() != nil
	if !finished {
		if p.out.InFlight(nil) > 0 && closedWithoutReason(c.cause) {
			lost = p.reason(ctx, lost)
		}
		p.log.Warn("redis broker: publish connection lost", "err", lost)
	}
	p.out.Abandon(lost)
	p.server.left(c.cause)
	var stray *MembershipError
	p.moved = errors.As(c.cause, &stray)
	if finished {
		return nil
	}
	return lost
}

// reason returns why a connection with messages in flight was lost. A server that closes a
// connection gives no reason, but usually refuses the next connection with it.
func (p *publisher) reason(ctx context.Context, lost error) error {
	ctx, cancel := context.WithTimeout(ctx, reasonWait)
	defer cancel()
	c, err := p.server.dial(ctx, p.opts.ProbeTimeout)
	switch {
	case err == nil:
		c.close(errFinished)
	case isReason(err):
		return err
	}
	return lost
}

// Write implements brokerkit.Writer. A server does not execute a command of which it has only a
// part.
func (c publishConn) Write(b *brokerkit.Batch[*message]) (int, error) {
	n, err := c.write(b.Bytes(), c.p.opts.ProbeTimeout)
	if err != nil {
		c.close(err)
		return b.Whole(n), err
	}
	return b.Len(), nil
}

// write sends messages until the connection is closed. It closes the connection itself if the
// server is unresponsive. It sends an examination only while no reply to a message is
// outstanding, so the next replies belong to the examination.
func (p *publisher) write(c *conn, answers *answerReader) {
	alive := liveness{interval: p.opts.ProbeInterval, timeout: p.opts.ProbeTimeout, examined: time.Now()}
	timer := time.NewTimer(alive.interval)
	defer timer.Stop()
	wanted := false
	examine := func() error {
		wanted = true
		p.out.Hold()
		return nil
	}
	p.out.Send(publishConn{c, p}, func() bool {
		if !wanted || !p.out.Hold() {
			return alive.await(c, p.out.Work(), timer, examine)
		}
		wanted = false
		answers.due.Add(int32(len(c.exam.commands)))
		_, err := c.write(c.exam.encoded, p.opts.ProbeTimeout)
		p.out.Release()
		if err != nil {
			c.close(err)
		}
		return err == nil
	})
	if p.out.Done() {
		c.close(errFinished)
	}
}

// answerReader reads the replies on a publish connection.
type answerReader struct {
	// due is how many replies to an examination are outstanding. While there are any, no other
	// replies are outstanding.
	due atomic.Int32
}

// read settles messages until the connection breaks, or until the server proves not to belong
// to the fleet. It returns the cause. A master whose last slot has moved still replies to what was
// written before the broker noticed, so a lane waits for these replies.
func (a *answerReader) read(c *conn, p *publisher) error {
	out, n := p.out, p.nodes
	good := 0       // replies read and not yet passed on
	var stray error // the server does not belong to the fleet any more, and messages are in flight
	settle := func() bool {
		n := good
		good = 0
		return n == 0 || out.Settle(n, nil)
	}
	for {
		if a.due.Load() == 0 {
			good += takeIntegers(c.r)
		}
		if good > 0 && (c.r.Buffered() == 0 || good >= 1024) {
			if !settle() {
				return protocolError("a reply without a command")
			}
		}
		if stray != nil && good == 0 && out.InFlight(nil) == 0 {
			return stray
		}
		if _, err := c.r.Peek(1); err != nil { // waits; an examination may begin meanwhile
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
				if p.refused == nil || out.Hold() {
					return err
				}
				stray = err
				c.pending.Store(true) // ProbeTimeout limits the wait
			}
			continue
		}
		refused, err := readSimple(c.r, p.command())
		if err != nil {
			settle()
			return err
		}
		if refused == nil {
			good++
		} else if !settle() || !p.settleRefused(refused) {
			return protocolError("a reply without a command: " + refused.Reply)
		}
	}
}

// settleRefused settles the next message, which the server has refused. It returns false if there is none.
func (p *publisher) settleRefused(refused *ServerError) bool {
	verdict := error(refused)
	if p.refused != nil {
		m, ok := p.out.Next()
		if !ok {
			return false
		}
		verdict = p.refused(m, refused)
	}
	return p.out.Settle(1, func(*message) error { return verdict })
}

func (p *publisher) command() string {
	if p.opts.Sharded {
		return "SPUBLISH"
	}
	return "PUBLISH"
}
