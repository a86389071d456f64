package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// SocketsJoin puts the selected sockets into rooms, on all nodes. Go nodes confirm;
// Node.js servers do as they are told without a word, so that nil does not mean
// they have done it. A *backplane.PartialError names the nodes that did not confirm. In
// dialect v5 it takes several steps, all confirmed, and does nothing at all if a
// node does not say which of its sockets are excepted, or if a room has a name that
// Namespace.Join refuses for sockets of other nodes.
func (o Operator) SocketsJoin(ctx context.Context, rooms ...string) error {
	if o.emitter != nil {
		return o.emitter.change(ctx, "SocketsJoin", &o.target, &wire.Request{Op: wire.OpJoin, Targets: rooms})
	}
	if err := o.check(); err != nil {
		return err
	}
	if !o.target.LocalOnly {
		if err := o.ns.joinable(rooms); err != nil {
			return err
		}
	}
	return o.change(ctx, wire.OpJoin,
		func(ctx context.Context, l leg, t wire.Selection) (*backplane.Changed, error) {
			return l.ns.JoinAll(ctx, target(t), rooms...)
		},
		func(ctx context.Context, l leg, id string) error { return l.ns.Join(ctx, id, rooms...) })
}

// SocketsLeave takes the selected sockets out of rooms, like SocketsJoin.
func (o Operator) SocketsLeave(ctx context.Context, rooms ...string) error {
	if o.emitter != nil {
		return o.emitter.change(ctx, "SocketsLeave", &o.target, &wire.Request{Op: wire.OpLeave, Targets: rooms})
	}
	return o.change(ctx, wire.OpLeave,
		func(ctx context.Context, l leg, t wire.Selection) (*backplane.Changed, error) {
			return l.ns.LeaveAll(ctx, target(t), rooms...)
		},
		func(ctx context.Context, l leg, id string) error { return l.ns.Leave(ctx, id, rooms...) })
}

// DisconnectSockets disconnects the selected sockets from the namespace, with their
// connections if connection is set, like SocketsJoin.
func (o Operator) DisconnectSockets(ctx context.Context, connection bool) error {
	if o.emitter != nil {
		return o.emitter.change(ctx, "DisconnectSockets", &o.target, &wire.Request{Op: wire.OpDisconnect, Close: connection})
	}
	return o.change(ctx, wire.OpDisconnect,
		func(ctx context.Context, l leg, t wire.Selection) (*backplane.Changed, error) {
			return l.ns.DisconnectAll(ctx, target(t), connection)
		},
		func(ctx context.Context, l leg, id string) error { return l.ns.Disconnect(ctx, id, connection) })
}

// onSelection does something to the sockets that a filter selects on a link, onSocket to one
// socket there.
type (
	onSelection func(context.Context, leg, wire.Selection) (*backplane.Changed, error)
	onSocket    func(ctx context.Context, l leg, id string) error
)

// change does something to the selected sockets: to local ones once, whatever state
// the brokers are in, then to those on each link in the form that its dialect has.
func (o Operator) change(ctx context.Context, op wire.Op, all onSelection, one onSocket) error {
	if err := o.check(); err != nil {
		return err
	}
	ns, t := o.ns, o.target
	if t.LocalOnly {
		_, err := all(ctx, ns.legs[0], t)
		return err
	}
	if len(ns.legs) == 1 && ns.legs[0].dialect != V5 {
		_, err := ns.legs[0].onAll(ctx, op, t, all, one)
		return err
	}
	local := t
	local.LocalOnly = true
	if _, err := all(ctx, ns.legs[0], local); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The two generations are asked one after the other, in one RequestsTimeout.
	ctx, cancel := context.WithTimeout(ctx, ns.server.opts.RequestsTimeout)
	defer cancel()
	newer := ctx
	if len(ns.speaking(V5)) > 0 && len(ns.speaking(V6)) > 0 {
		var stop context.CancelFunc
		newer, stop = half(ctx)
		defer stop()
	}
	var mu sync.Mutex
	done := map[string]bool{} // Go nodes that have done it in a newer dialect
	parts := make([]multilink.Part[*backplane.Changed], len(ns.legs))
	_ = ns.eachLeg(func(i int, l leg) error {
		if l.dialect == V5 {
			return nil
		}
		t := t
		t.RemoteOnly = true
		p := &parts[i]
		p.Coverage, p.Err = l.onAll(newer, op, t, all, one)
		mu.Lock()
		defer mu.Unlock()
		for _, id := range p.Coverage.Answered {
			done[id] = true
		}
		return nil
	})
	_ = ns.eachLeg(func(i int, l leg) error {
		if l.dialect == V5 {
			p := &parts[i]
			skip := func(m backplane.MemberInfo) bool { return m.Node != "" && done[m.Node] }
			p.Coverage, p.Err = l.onListed(ctx, op, t, skip, one)
		}
		return nil
	})
	for i := range parts {
		parts[i].Link, parts[i].Key = i, ns.legs[i].key
		parts[i].Err = ns.onLink(ns.legs[i].link, parts[i].Err)
	}
	_, err, _ := multilink.Merge(op, parts)
	return err
}

var (
	errNoNamespace = errors.New("adapter: an Operator or RemoteSocket that no Namespace or Emitter made")
	errNoServer    = errors.New("adapter: a Server that New did not make")
	errEmitterAsks = fmt.Errorf("adapter: an Emitter has no sockets and gets no responses: %w", errors.ErrUnsupported)
)

// check refuses what only a namespace's operator can do.
func (o Operator) check() error {
	switch {
	case o.emitter != nil:
		return errEmitterAsks
	case o.ns == nil:
		return errNoNamespace
	}
	return nil
}

// target is a selection as the core's public methods take it.
func target(s wire.Selection) backplane.Target {
	t := backplane.To(s.Rooms...).Except(s.Except...).Header(s.Header)
	if s.LocalOnly {
		t = t.Local()
	}
	if s.RemoteOnly {
		t = t.Remote()
	}
	return t
}
