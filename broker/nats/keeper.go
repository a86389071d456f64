package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/lossfeed"
)

// keeper keeps one link for as long as somebody needs one. Its goroutine, run, is the
// only one that makes and ends links, decides about losses and calls OnLoss functions.
type keeper struct {
	out    *outbox
	in     *subscriber
	to     *endpoints
	opts   *Options
	losses lossfeed.Listeners
	log    *slog.Logger

	// cause is why there is no link, if the last attempt failed. run's own.
	cause error
}

// run works until the outbox is closed and empty, or ctx ends: then what is left is
// lost.
func (k *keeper) run(ctx context.Context) {
	pause := &backoff.Backoff{Min: k.opts.BackoffMin, Max: k.opts.BackoffMax}
	for k.waitForWork(ctx) {
		l, err := k.connect(ctx)
		if ctx.Err() != nil {
			if l != nil {
				l.close()
			}
			break
		}
		if err != nil {
			k.because(err, "nats broker: no connection")
			k.in.failed(err)
			k.rest(ctx, pause)
			continue
		}
		lived := k.serve(ctx, l, pause.Spread())
		if lived > k.opts.BackoffMax {
			pause.Reset()
		} else if _, over := k.out.state(); !over {
			k.rest(ctx, pause)
		}
	}
	if ctx.Err() != nil {
		why := context.Cause(ctx)
		if k.cause != nil {
			why = fmt.Errorf("%w (%w)", why, k.cause)
		}
		k.out.expire(true, why)
	}
	k.tell()
}

// waitForWork returns true when a link is needed, and false when run shall end.
func (k *keeper) waitForWork(ctx context.Context) bool {
	for ctx.Err() == nil {
		k.tell()
		waits, over := k.out.state()
		if over {
			return false
		}
		if waits || k.in.needed() {
			return true
		}
		select {
		case <-k.out.work:
		case <-ctx.Done():
		}
	}
	return false
}

// connect makes a link. A dialer that heeds no context may outlast it.
func (k *keeper) connect(ctx context.Context) (*link, error) {
	type result struct {
		l   *link
		err error
	}
	ready := make(chan result)
	go func() {
		l, err := dialLink(ctx, k.to, k.in.take)
		select {
		case ready <- result{l, err}:
		case <-ctx.Done():
			if l != nil {
				l.close()
			}
		}
	}()
	r, ok := await(ctx, k, ready)
	if !ok {
		return nil, ctx.Err()
	}
	return r.l, r.err
}

// rest pauses between two attempts.
func (k *keeper) rest(ctx context.Context, pause *backoff.Backoff) {
	ctx, cancel := context.WithTimeout(ctx, pause.Next())
	defer cancel()
	await[struct{}](ctx, k, nil)
}

// await waits for a value, or until ctx ends, and drops meanwhile the messages that
// get too old.
func await[T any](ctx context.Context, k *keeper, ready <-chan T) (v T, ok bool) {
	for {
		left := k.out.expire(false, tooOld(k.cause))
		k.tell()
		var alarm <-chan time.Time
		switch {
		case left > 0:
			alarm = time.After(left)
		case k.opts.QueueAge > 0:
			// Nothing waits; what comes now is not too old before that.
			alarm = time.After(k.opts.QueueAge)
		}
		select {
		case v := <-ready:
			return v, true
		case <-ctx.Done():
			return v, false
		case <-alarm:
		}
	}
}

// serve uses a link until it ends, or all work is done. It returns for how long. After
// an outage others may still pause before they come back, for so long as spread.
func (k *keeper) serve(ctx context.Context, l *link, spread time.Duration) time.Duration {
	stop := context.AfterFunc(ctx, func() { l.kill(context.Cause(ctx)) })
	defer stop()
	ready := make(chan error, 1)
	go func() {
		err := k.in.prepare(ctx, l)
		if err == nil {
			k.out.limit(l) // known when receivers publish in Resumed
			err = k.in.connected(l)
		}
		ready <- err
	}()
	// Waited for although ctx may end: it heeds it too.
	if err, _ := await(context.Background(), k, ready); err != nil {
		l.kill(err)
	} else {
		k.log.Info("nats broker: connected", "addr", l.to.url.Host, "server", l.nc.ConnectedServerName())
		tended := make(chan struct{})
		go func() {
			defer close(tended)
			k.in.tend(ctx, l)
		}()
		if k.cause != nil && spread > 0 {
			k.hold(ctx, l, spread)
		}
		k.cause = nil
		k.out.connected(l)
		if limit := int(l.nc.MaxPayload()); limit < k.out.max+frameReserve {
			k.log.Warn("nats broker: this server takes smaller messages than Options.MaxPayload says",
				"max_payload", limit, "MaxPayload", k.out.max)
		}
		k.work(ctx, l)
		l.wire.Close()
		<-tended
	}
	why, gap := l.reason(), error(nil)
	switch {
	case ctx.Err() != nil:
		why = context.Cause(ctx)
	case !errors.Is(why, errFinished):
		k.because(why, "nats broker: connection lost")
		k.to.last(l.to)
		gap = why
	}
	l.wire.Close()
	l.end()
	k.out.disconnected(why)
	k.in.disconnected(gap)
	k.tell()
	l.close()
	return time.Since(l.born)
}

// hold keeps messages waiting a little after an outage: what has gathered would
// otherwise be sent to nobody.
func (k *keeper) hold(ctx context.Context, l *link, spread time.Duration) {
	over := make(chan struct{})
	go func() { // ends before hold does
		defer close(over)
		select {
		case <-time.After(spread):
		case <-k.out.books.Closing():
		case <-l.wire.broken:
		case <-ctx.Done():
		}
	}()
	await(context.Background(), k, over)
}

// errFinished ends a link that is no longer needed.
var errFinished = errors.New("finished")

// work sends what waits, and asks the server for its word, until the link ends, which
// it does itself if the server is silent.
func (k *keeper) work(ctx context.Context, l *link) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var since time.Time // when something was first seen to be on its way
	var own []message
	for {
		k.out.pump()
		k.tell()
		if _, over := k.out.state(); over {
			l.kill(errFinished)
			return
		}
		some, urgent := k.out.due()
		wait := k.opts.ProbeInterval - l.wire.silent()
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
			through := k.out.asking(false)
			if !k.ask(ctx, l) {
				return
			}
			var denied map[string]*refused
			if l.refused.hasMessages() {
				// Some may be about messages behind the ping. A second one has none behind it.
				through = k.out.asking(true)
				if !k.ask(ctx, l) {
					return
				}
				denied = l.refused.takeMessages()
			}
			own = k.out.answered(through, denied, own[:0])
			k.out.connected(l)
			for _, m := range own {
				k.in.returned(&m.to.ch, m.own)
			}
			clear(own)
			k.out.delivered()
			k.to.learn(l.to, l.nc.DiscoveredServers())
			continue
		}
		timer.Reset(wait)
		select {
		case <-k.out.work:
		case <-timer.C:
		case <-l.wire.broken:
			return
		}
	}
}

// because notes why there is no link, with a line in the log if that is new.
func (k *keeper) because(err error, what string) {
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

// ask waits for the server's answer to all that it was sent, and for what it has refused of
// that. It reports false if the link has ended.
func (k *keeper) ask(ctx context.Context, l *link) bool {
	return l.ping(ctx, k.opts.ProbeTimeout) == nil && l.refused.complete(ctx, l) == nil
}

// tell reports losses.
func (k *keeper) tell() {
	for _, loss := range k.out.books.News() {
		k.log.Warn("nats broker: messages lost", "messages", loss.Messages, "uncertain", loss.Uncertain, "err", loss.Err)
		k.losses.Tell(loss)
	}
}
