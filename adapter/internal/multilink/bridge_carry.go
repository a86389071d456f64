package multilink

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

const (
	// unconfirmed is how many copies may be sent before the broker has confirmed them. It is
	// unconfirmedBusy if the window holds more than busyBridge messages.
	unconfirmed     = 10
	unconfirmedBusy = 256
	busyBridge      = 1024
)

// next waits for the next message to forward. It returns nil when this node must hand over.
func (c *crossing) next() *waiting {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		e := c.head()
		switch {
		case c.closing && (!c.leading || e == nil || e.seq > c.last):
			return nil
		case c.rest:
			return nil
		case !c.leading || e == nil:
			c.work.Wait()
		case c.skipped(e):
			c.drop(e)
		default:
			c.passing = e
			return e
		}
	}
}

// carry forwards messages while this node leads.
func (c *crossing) carry() {
	for {
		c.passAll()
		if c.handOver() {
			return
		}
	}
}

// passAll forwards messages until this node must hand over. After a limited number of
// messages it waits until the broker has sent them: the broker would still send queued
// messages after another node has become the leader.
func (c *crossing) passAll() {
	ctx, cancel := context.WithCancel(c.b.ctx)
	defer func() { cancel() }()
	sent := 0
	for e := c.next(); e != nil && c.b.ctx.Err() == nil; e = c.next() {
		if sent == 0 || ctx.Err() != nil {
			cancel()
			ctx, cancel = c.lease()
		}
		switch {
		case sent >= c.allowed():
			if err := c.to.Broker.Flush(ctx); err != nil && ctx.Err() != nil {
				c.check()
				continue
			}
			sent = 0
		case !c.check():
		case c.pass(ctx, e) == nil:
			sent++
		}
	}
	if sent > 0 {
		_ = c.to.Broker.Flush(ctx) // the broker reports losses
	}
}

// lease returns a context that ends with the lease, or with close.
func (c *crossing) lease() (context.Context, context.CancelFunc) {
	_, one := c.from.Node.Lease()
	_, other := c.to.Node.Lease()
	if other.Before(one) {
		one = other
	}
	return context.WithDeadline(c.b.ctx, one)
}

func (c *crossing) allowed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held() > busyBridge {
		return unconfirmedBusy
	}
	return unconfirmed
}

// check reports whether this node leads. If the lease has expired it ends the lead.
func (c *crossing) check() bool {
	c.mu.Lock()
	leads, terms := c.leading, c.terms
	c.mu.Unlock()
	if !leads || c.holds(terms) {
		return leads
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.terms == terms {
		c.yield()
	}
	return false
}

// errLeaseOver is returned if the lease expired while Except sent requests.
var errLeaseOver = errors.New("adapter: bridge: the lease has expired")

// pass forwards a message, or reports its loss.
func (c *crossing) pass(ctx context.Context, e *waiting) error {
	err := c.publish(ctx, e)
	if err != nil && (ctx.Err() != nil || err == errLeaseOver) {
		return err // the message stays in the window
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e.remove()
	if err != nil {
		c.lost(broker.Loss{Messages: 1, Bytes: len(e.payload), Err: err})
	} else {
		c.b.opts.Passed.Add(1)
	}
	return err
}

func (c *crossing) publish(ctx context.Context, e *waiting) (err error) {
	t := e.target
	t.Relay = e.mark(c.b.set.dedup, c.b.set.uid, c.from.Key)
	if len(t.Except) > 0 {
		// NamesSocket saves a request for each message: most exceptions are ids of sockets.
		if t.Except, err = c.to.Except(ctx, t.Except, socketio.NamesSocket); err != nil {
			return err
		}
		if !c.check() {
			return errLeaseOver
		}
	}
	// Older servers cannot read the dates of the newest ones.
	return c.to.Core.Broadcast(ctx, msgpack.Portable(e.payload), t)
}

// handOver notifies the next leader that this node has stopped leading: for good, which it
// returns, or for a while.
func (c *crossing) handOver() (forGood bool) {
	note := noteRest
	c.mu.Lock()
	led, notify := c.leading, c.leading || c.rest
	if forGood = c.closing; forGood {
		note = noteEnd
	}
	c.leading, c.rest = false, false
	// One heartbeat longer than the other nodes assume.
	c.resting = time.Now().Add(c.b.rests() + c.b.opts.Heartbeat)
	c.rivaled = c.rivaled || c.others > 0
	c.mu.Unlock()
	if notify {
		ctx, cancel := context.WithTimeout(c.b.ctx, c.b.opts.Heartbeat)
		if led {
			cancel()
			ctx, cancel = c.lease()
		}
		defer cancel()
		err := c.to.Core.Broadcast(ctx, noteEvent, wire.Selection{
			Rooms: []string{"empty-" + rand.Text()}, RemoteOnly: true,
			Relay: socketio.BridgedMark(c.b.set.uid, 0, c.from.Key, note),
		})
		if err == nil {
			_ = c.to.Broker.Flush(ctx)
		}
	}
	if forGood {
		c.clear()
	}
	return forGood
}

// clear empties the window. The next leader forwards its messages; without one they are lost.
func (c *crossing) clear() {
	_, rivals := c.b.rivals(c.from, c.to)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	left := c.unkept()
	for _, w := range []*bridgeWindow{&c.doubtful, &c.window} {
		l := w.empty()
		left.messages += l.messages
		left.bytes += l.bytes
	}
	if len(rivals) == 0 && left.messages > 0 {
		c.lost(broker.Loss{Messages: left.messages, Bytes: left.bytes, Err: errBridgeClosed})
	}
}

// The notes of a leader's last mark: it forwards nothing more, or nothing for a while (see
// rests). The mark follows all copies, in a broadcast to a room that no socket can be in.
const (
	noteEnd  = "end"
	noteRest = "rest"
)

var noteEvent = msgpack.AppendString(msgpack.AppendArrayLen(nil, 1), "crossroom")
