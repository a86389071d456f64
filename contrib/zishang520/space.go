package zishang520

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

// space is a namespace of the fleet, with the server's adapters of that name. There may be
// more than one: the server makes a namespace twice if two clients request a new one at the
// same time, and a new adapter when SetAdapter is called again.
type space struct {
	fleet  *Fleet
	name   string
	ctx    context.Context // ends when no adapter is left
	cancel context.CancelFunc
	ns     atomic.Pointer[adapter.Namespace] // nil until it is open
	opened chan struct{}                     // closed when ns is set, or cannot be set

	mu       sync.Mutex
	adapters []*namespace
	err      error // of the last attempt to open it
}

func newSpace(f *Fleet, name string) *space {
	s := &space{fleet: f, name: name, opened: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(f.ctx)
	return s
}

// open opens the namespace. It tries again until that succeeds or cannot succeed.
func (s *space) open() {
	defer close(s.opened)
	server := s.fleet.server // set before
	timeout := 5 * server.RequestsTimeout()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, longestPause) {
		ctx, cancel := context.WithTimeout(s.ctx, timeout)
		ns, err := server.Of(ctx, s.name)
		cancel()
		if err == nil {
			s.attach(ns)
			return
		}
		if s.ctx.Err() != nil {
			return
		}
		err = fmt.Errorf("zishang520: open namespace %.100q: %w", s.name, err)
		s.mu.Lock()
		first := s.err == nil
		s.err = err
		s.mu.Unlock()
		if first {
			s.fleet.fault(err)
		}
		if never(err) {
			return
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// never reports whether trying again is useless.
func never(err error) bool {
	_, name := errors.AsType[*backplane.NameError](err)
	_, channel := errors.AsType[*broker.NameError](err)
	return name || channel || errors.Is(err, backplane.ErrClosed) || errors.Is(err, broker.ErrClosed)
}

func (s *space) attach(ns *adapter.Namespace) {
	ns.OnAnyServerSideEmit(s.event)
	s.ns.Store(ns)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = nil
	for _, a := range s.adapters {
		a.mirrorAll()
	}
}

// wait waits until the namespace is open.
func (s *space) wait(ctx context.Context) error {
	select {
	case <-s.opened:
	case <-ctx.Done():
	}
	if s.ns.Load() != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmp.Or(s.err, ctx.Err()); err != nil {
		return err
	}
	return backplane.ErrClosed
}

func (s *space) add(a *namespace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adapters = append(s.adapters, a)
}

// remove removes an adapter, and with the last one the namespace.
func (s *space) remove(a *namespace) {
	f := s.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.adapters {
		if other == a {
			s.adapters = append(s.adapters[:i:i], s.adapters[i+1:]...)
		}
	}
	if len(s.adapters) > 0 || f.spaces[s.name] != s {
		return
	}
	delete(f.spaces, s.name)
	s.cancel()
	f.run(func() { // on a goroutine, because a callback of the namespace may have called remove
		<-s.opened
		if ns := s.ns.Load(); ns != nil {
			ctx, cancel := context.WithTimeout(context.Background(), longestPause)
			defer cancel()
			f.fault(ns.Close(ctx))
		}
	})
}

// all returns the adapters. The list is not changed afterwards.
func (s *space) all() []*namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.adapters[:len(s.adapters):len(s.adapters)]
}

// event passes another server's event to the application.
func (s *space) event(_ context.Context, e *adapter.ServerEvent) {
	all := s.all()
	if len(all) == 0 || socket.NAMESPACE_RESERVED_EVENTS.Has(e.Event) {
		acknowledge(s.fleet, e, nil)
		return
	}
	nsp := all[len(all)-1].Nsp()
	args := append([]any{e.Event}, e.Args...)
	if e.WantsAck() {
		if len(nsp.Listeners(e.Event)) == 0 {
			acknowledge(s.fleet, e, nil)
			return
		}
		args = append(args, socket.Ack(func(values []any, _ error) { acknowledge(s.fleet, e, values) }))
	}
	nsp.OnServerSideEmit(args)
}

// acknowledge acknowledges an event, if its sender waits for that. Only the first call counts.
func acknowledge(f *Fleet, e *adapter.ServerEvent, values []any) {
	if !e.WantsAck() {
		return
	}
	values, err := outgoing(values, true)
	if err == nil {
		err = e.Ack(values[:min(len(values), 1)]...)
	}
	if !errors.Is(err, adapter.ErrAcknowledged) {
		f.fault(err)
	}
}

// keep returns the adapter.Options.OnBroadcast of a server that keeps sessions.
func (f *Fleet) keep(next func(p *adapter.Packet, rooms, except []string) bool) func(p *adapter.Packet, rooms, except []string) bool {
	return func(p *adapter.Packet, rooms, except []string) bool {
		if next != nil && !next(p, rooms, except) {
			return false
		}
		f.mu.Lock()
		s := f.spaces[p.Namespace()]
		f.mu.Unlock()
		if s != nil {
			for _, a := range s.all() {
				a.deliverAndKeep(p, rooms, except)
			}
		}
		return false
	}
}
