package natsbroker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker/brokerkit"
)

// connManager makes the connections of the outbox, which subscriptions share. The outbox's
// sender calls it.
type connManager struct {
	out  *outbox
	in   *subscriber
	to   *endpoints
	opts *Options
	log  *slog.Logger

	// cause is why there is no connection, if the log knows it.
	cause error
}

// connection is a conn that serves the outbox.
type connection struct {
	*conn
	m *connManager
}

// Connect implements brokerkit.Connector. A dialer that ignores its context may outlast it.
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
			k.out.setLimit(c.conn) // known when receivers publish in Resumed
			err = k.in.connected(c.conn)
		}
	}()
	k.out.Await(ready) // also if ctx ends: prepare ends with it
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
			k.log.Warn("nats broker: this server takes smaller messages than Options.MaxPayload says",
				"max_payload", limit, "MaxPayload", k.out.max)
		}
		k.out.Send(writer{k.out, c.nc}, k.confirmer(ctx, c.conn))
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

// errFinished ends a connection that is no longer needed.
var errFinished = errors.New("finished")

// confirmer returns the function given to Send: it has the server confirm what is in flight
// when that is due, and waits. It returns false when the connection has ended, which it
// ends itself if the server is unresponsive.
func (k *connManager) confirmer(ctx context.Context, c *conn) func() bool {
	timer := time.NewTimer(0)
	var since time.Time // when something was first seen in flight
	var own []message
	return func() bool {
		some, urgent := k.out.due()
		wait := k.opts.ProbeInterval - c.net.silent()
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
			k.to.learn(c.to, c.nc.DiscoveredServers())
			k.out.setLimit(c) // it may have been changed
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

// confirm has the server confirm what is in flight, and settles it. It reports false if the
// connection has ended.
func (k *connManager) confirm(ctx context.Context, c *conn, own *[]message) bool {
	n := k.out.asking()
	if !k.watchedPing(ctx, c) {
		return false
	}
	var denied map[string]*refusedMessages
	if c.violations.hasMessages() {
		// Some may be about messages behind the ping. A second one has none behind it.
		k.out.Hold()
		defer k.out.Release()
		n = k.out.asking()
		if !k.ping(ctx, c) {
			return false
		}
		denied = c.violations.takeMessages()
	}
	*own = k.out.answered(n, denied, *own)
	return true
}

// watchedPing is ping, and holds messages back when the answer is late (see answerLate): the link
// may be dead, and what is written to it then is uncertain.
func (k *connManager) watchedPing(ctx context.Context, c *conn) bool {
	began, limit := time.Now(), max(answerLate, 2*c.trip)
	var mu sync.Mutex
	var late *time.Timer
	answered, held := false, false
	mu.Lock()
	late = time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		silent := c.net.silent()
		switch {
		case answered:
		case silent < limit: // the link is not dead: other messages arrive
			late.Reset(limit - silent)
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

// ping waits for the server's answer to all that it was sent, and for what it has refused
// of that. It reports false if the connection has ended.
func (k *connManager) ping(ctx context.Context, c *conn) bool {
	return c.ping(ctx, k.opts.ProbeTimeout) == nil && c.violations.complete(ctx, c) == nil
}

// logCause notes why there is no connection, with a line in the log if that is new.
func (k *connManager) logCause(err error, what string) {
	if k.cause == nil || wordsOf(k.cause) != wordsOf(err) {
		k.log.Warn(what, "err", err)
	}
	k.cause = err
}

// wordsOf is an error's text without its numbers, among which are ports that no two
// connections have in common.
func wordsOf(err error) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}
