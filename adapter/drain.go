package adapter

import (
	"context"
	"runtime/debug"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// Drain takes the server out of its fleet without a rush of its clients to the other servers. It notifies the other Go
// servers on all links (observe.Peer.Leaving), makes Health.Ready false, and calls hand for each local socket of each
// namespace, once: perSecond sockets in a second on average, at random intervals between a half and one and a half of
// the average. When no sockets are left, or ctx ends, Drain closes the server, as Close does.
//
// hand makes the socket's client connect to another server, for example with Disconnect(true). It must not block: Drain
// makes the calls one at a time, on the goroutine of its caller. A panic is reported as a *backplane.PanicError. Drain
// waits until the socket is removed with Namespace.Remove, which hand may do, or call later. Until Close the server
// works as before, also for sockets that are added meanwhile, to which hand is applied too.
//
// Drain returns nil if all sockets have left and Close succeeded. If ctx ends first, Drain closes the server without
// waiting, and returns the context's error; sockets that remain stay registered, as after Close. perSecond must be
// positive, or the error is a *backplane.OptionError. A second call, and a call after Close, return
// backplane.ErrClosed.
func (s *Server) Drain(ctx context.Context, perSecond float64, hand func(ns *Namespace, socket Socket)) error {
	switch {
	case len(s.links) == 0:
		return errNoServer
	case ctx == nil:
		return backplane.ErrNilContext
	case !(perSecond > 0):
		return wire.FromAdapter(&backplane.OptionError{Option: "perSecond", Reason: "not positive"})
	case hand == nil:
		return wire.FromAdapter(&backplane.OptionError{Option: "hand", Reason: "nil"})
	}
	began := true
	for _, l := range s.links {
		began = l.door.Leave() && began
	}
	if !began {
		return backplane.ErrClosed
	}
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	err := rooms.Drain(ended, perSecond, func() (all []rooms.Draining[backplane.Member]) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, ns := range s.opened() {
			all = append(all, rooms.Draining[backplane.Member]{Rooms: ns.rooms, Hand: func(m backplane.Member) {
				defer func() {
					if v := recover(); v != nil {
						s.report(wire.FromAdapter(&backplane.PanicError{What: "Drain", Value: v, Stack: debug.Stack()}))
					}
				}()
				hand(ns, socketOf(m))
			}})
		}
		return all
	})
	if err != nil && ctx.Err() == nil {
		return backplane.ErrClosed // Close was called
	}
	if closed := s.Close(ctx); err == nil {
		err = closed
	}
	return err
}
