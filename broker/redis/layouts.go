package redisbroker

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// Classic and sharded pub/sub are apart: servers that use one prefix in both layouts do each other no harm, and do not
// notice each other. So a broker counts the subscribers that its prefix has in the other layout, and logs that there are
// some, once until there are none any more: nodes by the control channel, and servers of Socket.IO by their namespaces.

// layoutProbes is how many ProbeIntervals are between two counts.
const layoutProbes = 30

// layouts is the state of these counts.
type layouts struct {
	names   *naming
	q       *querier
	opts    *Options
	changed chan struct{} // there are other names to count
	mixed   bool          // the log says that the other layout has subscribers
}

// other returns the name by which an entry's fleet has subscribers in the other layout; empty if the entry does not show
// that.
func (n *naming) other(e *entry) string {
	ch := e.filter.Channel()
	switch kind := ch.Kind(); {
	case ch == broker.Control():
		return e.name
	case ch.Protocol() != broker.SocketIO || e.filter.IsEveryRoom():
	case n.sharded && kind == broker.KindBroadcast:
		return n.name(broker.SocketIO.Requests(ch.Namespace())) // which classic servers subscribe to
	case !n.sharded && kind == broker.KindRequests:
		return n.name(broker.SocketIO.Broadcast(ch.Namespace())) // which has the requests of sharded servers
	}
	return ""
}

// run counts until ctx ends, or until it is certain that the server will not count.
func (l *layouts) run(ctx context.Context, s *subscriber) {
	every := layoutProbes * l.opts.ProbeInterval
	for again := (<-chan time.Time)(nil); ; again = time.After(every) {
		select {
		case <-l.changed:
		case <-again:
		case <-ctx.Done():
			return
		}
		if list := s.otherLayout(); len(list) > 0 && !l.look(ctx, list, every) {
			return
		}
		select {
		case <-time.After(l.opts.ProbeInterval): // namespaces often come many at a time
		case <-ctx.Done():
			return
		}
	}
}

// otherLayout returns the names to count.
func (s *subscriber) otherLayout() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.reg.entries {
		if e.other != "" {
			list = append(list, e.other)
		}
	}
	return list
}

// look counts once, and reports whether another count is of use.
func (l *layouts) look(ctx context.Context, list []string, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	word := "SHARDNUMSUB"
	if l.names.sharded {
		word = "NUMSUB"
	}
	sums, err := l.q.count(ctx, word, list)
	if refused, ok := errors.AsType[*ServerError](err); ok && sums == nil {
		return refused.Code() != "ERR" && refused.Code() != "NOPERM" // before Redis 7, or not allowed
	}
	most, name := 0, ""
	for i, n := range sums {
		if n > most {
			most, name = n, list[i]
		}
	}
	switch {
	case most > 0 && !l.mixed:
		l.mixed = true
		l.opts.Logger.Warn("redis broker: others use this prefix with another setting of Sharded: neither side receives the messages of the other",
			"channel", strconv.Quote(name), "subscribers", most, "sharded", l.names.sharded)
	case most == 0 && err == nil && l.mixed:
		l.mixed = false
		l.opts.Logger.Info("redis broker: all who use this prefix have the same setting of Sharded")
	}
	return true
}

// wake makes run count soon.
func (l *layouts) wake() { lifecycle.Raise(l.changed) }
