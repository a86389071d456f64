package natsbroker

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// propagation finds out when a subscription is live for publishers on the other servers of a
// cluster. The server of the connection forwards a subscription to the others, but does not wait
// for them. It keeps the order: another server gets what is sent after the subscription after
// the subscription itself. Therefore the broker publishes a mark. When a probe, which is a
// connection to the other server, has received the mark, that server knows the subscription too.
//
// Probes are opened when they are first needed, and closed after probeIdle without use. Safe for
// concurrent use.
type propagation struct {
	to   *endpoints
	opts *Options
	log  *slog.Logger
	mark string // subject
	ctx  context.Context

	number atomic.Uint64 // number of the last mark

	mu     sync.Mutex
	closed bool
	probes map[string]*propagationProbe // by host
	warned time.Time                    // when warn last logged
}

// propagationProbe is a connection to one server that subscribes to marks.
type propagationProbe struct {
	ready  chan struct{} // closed when the attempt to connect has ended
	failed time.Time     // when it failed, or a mark did not arrive; guarded by propagation.mu
	nc     *nats.Conn    // nil if the attempt failed; set before ready is closed
	server string        // the server's id
	lost   chan struct{} // closed when the connection has ended
	denied chan struct{} // closed when the server refuses the subscription to marks
	idle   *time.Timer

	mu       sync.Mutex
	received uint64
	news     chan struct{} // closed and replaced with received
}

const (
	// probeIdle is how long a probe stays open without use.
	probeIdle = 15 * time.Second
	// probePause is how long a server is skipped that could not be reached, or where a mark
	// did not arrive.
	probePause = 5 * time.Second
	// markEvery is after what time a mark that has not arrived is published again. The first may
	// have been sent before the server knew the probe's subscription.
	markEvery = 5 * time.Millisecond
)

func newPropagation(ctx context.Context, to *endpoints, names *naming, opts *Options) *propagation {
	return &propagation{to: to, opts: opts, log: opts.Logger, mark: names.mark(rand.Text()), ctx: ctx, probes: map[string]*propagationProbe{}}
}

// confirm waits until every reachable server knows the subscriptions made over l before the call.
func (w *propagation) confirm(ctx context.Context, l *conn) error {
	if l.nc.ConnectedClusterName() == "" {
		return nil // a single server
	}
	w.to.learn(l.to, l.nc)
	var list []*propagationProbe
	for _, p := range w.to.all() {
		if p.url.Host != l.to.url.Host {
			if x := w.get(p); x != nil {
				list = append(list, x)
			}
		}
	}
	self := l.nc.ConnectedServerId()
	n := w.number.Add(1)
	text := strconv.AppendUint(nil, n, 10)
	timeout := time.NewTimer(w.opts.ProbeTimeout)
	defer timeout.Stop()
	again := time.NewTicker(markEvery)
	defer again.Stop()
	published := false
	for _, x := range list {
		select {
		case <-x.ready:
		case <-l.net.broken:
			return l.reason()
		case <-ctx.Done():
			return ctx.Err()
		}
		if x.nc == nil || x.server == self {
			continue
		}
		timeout.Reset(w.opts.ProbeTimeout) // each probe has its own timeout
		for late := false; !late; {
			news, seen := x.state()
			if seen >= n {
				break
			}
			if !published {
				if err := l.nc.Publish(w.mark, text); err != nil {
					return l.reason()
				}
				published = true
			}
			select {
			case <-news:
			case <-again.C:
				if err := l.violations.message(w.mark); err != nil {
					w.warn("addr", l.to.url.Host, "err", err)
					return nil
				}
				published = false
			case <-x.lost:
				late = true
			case <-x.denied:
				// The call may be about the same permissions, which may change. Therefore the next
				// call tries again at once.
				w.warn("addr", x.nc.ConnectedAddr(), "err", x.nc.LastError())
				x.nc.Close()
				late = true
			case <-timeout.C:
				w.warn("addr", x.nc.ConnectedAddr())
				w.mu.Lock()
				x.failed = time.Now()
				w.mu.Unlock()
				x.nc.Close()
				late = true
			case <-l.net.broken:
				return l.reason()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// get returns the probe at p, which may still be connecting. It returns nil if p failed less than
// probePause ago.
func (w *propagation) get(p endpoint) *propagationProbe {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.probes[p.url.Host]
	if x != nil {
		select {
		case <-x.ready:
			if time.Since(x.failed) < probePause {
				return nil
			}
			if x.nc != nil && !x.nc.IsClosed() {
				x.idle.Reset(probeIdle + w.opts.ProbeTimeout)
				return x
			}
		default:
			return x
		}
	}
	if w.closed {
		return nil
	}
	x = &propagationProbe{ready: make(chan struct{}), lost: make(chan struct{}), denied: make(chan struct{}), news: make(chan struct{})}
	w.probes[p.url.Host] = x
	go w.dial(p, x) // waited for by close
	return x
}

// dial connects a probe.
func (w *propagation) dial(p endpoint, x *propagationProbe) {
	defer close(x.ready)
	nc, err := w.to.connect(w.ctx, p, nil, handlers{failed: x.refused, closed: func() { close(x.lost) }})
	if err == nil {
		_, err = nc.Subscribe(w.mark, x.receive)
		if err != nil {
			nc.Close()
		}
	}
	if err != nil {
		if w.ctx.Err() == nil {
			w.log.Warn("nats broker: cannot check whether a server of the cluster knows new subscriptions", "err", err)
			w.to.failed(p)
		}
		w.mu.Lock()
		x.failed = time.Now()
		w.mu.Unlock()
		return
	}
	x.nc, x.server = nc, nc.ConnectedServerId()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		nc.Close()
		return
	}
	x.idle = time.AfterFunc(probeIdle+w.opts.ProbeTimeout, func() {
		nc.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.probes[p.url.Host] == x {
			delete(w.probes, p.url.Host)
		}
	})
}

// warn logs, at most once in probePause, that subscriptions count as live although a server may
// not know them yet.
func (w *propagation) warn(why ...any) {
	w.mu.Lock()
	recent := time.Since(w.warned) < probePause
	if !recent {
		w.warned = time.Now()
	}
	w.mu.Unlock()
	if !recent {
		w.log.Warn("nats broker: a server of the cluster does not get new subscriptions", why...)
	}
}

// refused handles an error from the server.
func (x *propagationProbe) refused(err error) {
	select {
	case <-x.denied:
	default:
		if errors.Is(err, nats.ErrPermissionViolation) {
			close(x.denied)
		}
	}
}

// receive handles a mark.
func (x *propagationProbe) receive(m *nats.Msg) {
	n, err := strconv.ParseUint(string(m.Data), 10, 64)
	if err != nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if n > x.received {
		x.received = n
		close(x.news)
		x.news = make(chan struct{})
	}
}

func (x *propagationProbe) state() (news <-chan struct{}, seen uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.news, x.received
}

// close closes all probes and waits for those that are connecting, until ctx ends. The context
// given to newPropagation has ended, so these end soon.
func (w *propagation) close(ctx context.Context) error {
	w.mu.Lock()
	w.closed = true
	all := w.probes
	w.probes = nil
	w.mu.Unlock()
	for _, x := range all {
		select {
		case <-x.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if x.idle != nil {
			x.idle.Stop()
			x.nc.Close()
		}
	}
	return nil
}
