package natsbroker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker/brokerkit"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// connManager makes the connections of the outbox. Subscriptions use the same connections. The
// outbox's sender calls it.
type connManager struct {
	out  *outbox
	in   *subscriber
	to   *endpoints
	opts *Options
	log  *lifecycle.Log

	// cause is the logged reason for having no connection; nil if there is one.
	cause error
}

// connection is a conn that serves the outbox.
type connection struct {
	*conn
	m *connManager
}

// Connect implements brokerkit.Connector. A dialer that ignores its context may continue after it.
func (k *connManager) Connect(ctx context.Context) (brokerkit.Connection, error) {
	type result struct {
		c   *conn
		err error
	}
	ready := make(chan result)
	go func() {
		c, err := dial(ctx, k.to, k.in.receive)
		select {
		case ready <- result{c, err}:
		case <-ctx.Done():
			if c != nil {
				c.close()
			}
		}
	}()
	select {
	case r := <-ready:
		if r.err != nil {
			if ctx.Err() == nil {
				k.logCause(r.err, "nats broker: no connection")
				k.in.failed(r.err)
			}
			return nil, r.err
		}
		return connection{r.c, k}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Serve implements brokerkit.Connection.
func (c connection) Serve(ctx context.Context, outage time.Duration) error {
	k := c.m
	if ctx.Err() != nil {
		c.close()
		return nil
	}
	stop := context.AfterFunc(ctx, func() { c.kill(context.Cause(ctx)) })
	defer stop()
	ready := make(chan struct{})
	var err error // set before ready is closed
	go func() {
		defer close(ready)
		if err = k.in.prepare(ctx, c.conn); err == nil {
			k.out.setLimit(c.conn) // before Resumed, where receivers may publish
			err = k.in.connected(c.conn)
		}
	}()
	k.out.Await(ready) // also if ctx ends, because prepare then ends too
	if err != nil {
		c.kill(err)
	} else {
		k.log.Info("nats broker: connected", "addr", c.to.url.Host, "server", c.nc.ConnectedServerName())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			k.in.watchViolations(ctx, c.conn)
		}()
		k.out.AwaitReturn(ctx, outage, nil, c.net.broken)
		k.cause = nil
		if limit := int(c.nc.MaxPayload()); limit < k.out.max+frameReserve {
			k.opts.Logger.Warn("nats broker: the server accepts smaller messages than Options.MaxPayload: Publish refuses larger ones",
				"max_payload", limit, "MaxPayload", k.out.max)
		}
		k.out.Send(writer{k.out, c.nc, k.out.identity.next()}, k.confirmer(ctx, c.conn))
		if k.out.Done() {
			c.kill(errFinished)
		}
		c.net.Close()
		<-watched
	}
	why, gap := c.reason(), error(nil)
	switch {
	case ctx.Err() != nil:
		why = context.Cause(ctx)
	case !errors.Is(why, errFinished):
		k.logCause(why, "nats broker: connection lost")
		k.to.last(c.to)
		gap = why
	}
	c.net.Close()
	c.end()
	k.out.disconnected(why)
	k.in.disconnected(gap)
	c.close()
	return gap
}

// errFinished ends a connection that is not needed any more.
var errFinished = errors.New("finished")

// confirmer returns the function given to Send. It requests a confirmation when one is due, and
// otherwise waits. It returns false when the connection has ended. It closes the connection itself
// if the server is unresponsive.
func (k *connManager) confirmer(ctx context.Context, c *conn) func() bool {
	timer := time.NewTimer(0)
	var since time.Time // when messages were first found in flight
	var own []message
	return func() bool {
		some, urgent := k.out.due()
		wait := k.opts.ProbeInterval - c.net.idle()
		switch {
		case urgent:
			wait = 0
		case some && since.IsZero():
			since = time.Now()
			wait = min(wait, confirmDelay)
		case some:
			wait = min(wait, confirmDelay-time.Since(since))
		default:
			since = time.Time{}
		}
		if wait <= 0 {
			since = time.Time{}
			own = own[:0]
			if !k.confirm(ctx, c, &own) {
				return false
			}
			for _, m := range own {
				k.in.deliverOwn(&m.to.ch, m.own)
			}
			clear(own)
			k.out.delivered()
			k.to.learn(c.to, c.nc)
			k.out.setLimit(c) // the server may have changed it
			return true
		}
		timer.Reset(wait)
		select {
		case <-k.out.Work():
		case <-timer.C:
		case <-c.net.broken:
			return false
		}
		return true
	}
}

// confirm waits for the server's confirmation of the messages in flight, and settles them. It
// returns false if the connection has ended.
func (k *connManager) confirm(ctx context.Context, c *conn, own *[]message) bool {
	n := k.out.pinging()
	if !k.watchedPing(ctx, c) {
		return false
	}
	var denied map[string]*refusedMessages
	if c.violations.hasMessages() {
		// Some refusals may be of messages after the ping. No message follows a second ping.
		k.out.Hold()
		defer k.out.Release()
		n = k.out.pinging()
		if !k.ping(ctx, c) {
			return false
		}
		denied = c.violations.takeMessages()
	}
	*own = k.out.answered(n, denied, *own)
	return true
}

// watchedPing is ping, and holds messages back while the reply is late (see answerLate): the link
// may be dead, and messages written to it would become uncertain.
func (k *connManager) watchedPing(ctx context.Context, c *conn) bool {
	began, limit := time.Now(), max(answerLate, 2*c.trip)
	var mu sync.Mutex
	var late *time.Timer
	answered, held := false, false
	mu.Lock()
	late = time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		idle := c.net.idle()
		switch {
		case answered:
		case idle < limit: // the link is not dead: other messages arrive
			late.Reset(limit - idle)
		default:
			held = true
			k.out.Hold()
		}
	})
	mu.Unlock()
	ok := k.ping(ctx, c)
	mu.Lock()
	defer mu.Unlock()
	late.Stop()
	if answered = true; held {
		k.out.Release()
	}
	if ok {
		c.trip = max(time.Since(began), c.trip*7/8)
	}
	return ok
}

// ping waits until the server has replied to everything sent before, and until its refusals are
// recorded. It returns false if the connection has ended.
func (k *connManager) ping(ctx context.Context, c *conn) bool {
	return c.ping(ctx, k.opts.ProbeTimeout) == nil && c.violations.complete(ctx, c) == nil
}

// logCause records why there is no connection, and logs it if the reason is new.
func (k *connManager) logCause(err error, what string) {
	if k.cause == nil || wordsOf(k.cause) != wordsOf(err) {
		k.log.Warn(what, "err", err)
	}
	k.cause = err
}

// wordsOf returns an error's text without digits, because port numbers differ with each connection.
func wordsOf(err error) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}
