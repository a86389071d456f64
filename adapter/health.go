package adapter

import (
	"context"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

// Health returns the state of the server's link to its fleet, as backplane.Node.Health does, for a readiness probe: it
// does no I/O and does not wait. With several links a direction is up if it is up on each of them. If it is down on
// some, the result has its state on the first of these.
func (s *Server) Health() (out observe.Health) {
	for i, l := range s.links {
		h := l.node.Health()
		if i == 0 {
			out = h
			continue
		}
		out.Ready = out.Ready && h.Ready
		worse(&out.Subscribed, h.Subscribed)
		worse(&out.Publishing, h.Publishing)
		worse(&out.Queries, h.Queries)
	}
	return out
}

// worse replaces d by o if o is down and d is up, or if both are up and o changed later.
func worse(d *observe.Direction, o observe.Direction) {
	if d.Up && (!o.Up || o.Since.After(d.Since)) {
		*d = o
	}
}

// Ready waits until the server is ready on each link, as backplane.Node.Ready does: a namespace is open, and the server
// receives and publishes. It returns nil at once if that is so already. It returns the context's error, or
// backplane.ErrClosed, also if Drain has been called.
func (s *Server) Ready(ctx context.Context) error {
	if ctx == nil {
		return backplane.ErrNilContext
	}
	if len(s.links) == 0 {
		return errNoServer
	}
	return multilink.First(multilink.Each(s.links, func(l *link) error { return l.node.Ready(ctx) })...)
}
