package adapter

import (
	"context"
	"errors"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// link is a broker and this server's node on it.
type link struct {
	index   int    // in Server.links
	key     string // the same on all nodes
	broker  broker.Broker
	dialect Dialect
	node    *backplane.Node
	door    wire.Node     // the operations of node beyond its public methods
	timeout time.Duration // Options.RequestsTimeout
	beat    time.Duration // Options.Heartbeat
}

// leg is a namespace on one of the server's links.
type leg struct {
	*link
	ns    *backplane.Namespace
	core  wire.Namespace // the operations of ns beyond its public methods
	codec codec
	seen  *generationState
	end   *multilink.Link // the same for package multilink
}

var _ fleet = (*leg)(nil)

func (l *leg) emit(ctx context.Context, payload []byte, t wire.Selection, isID func(string) bool) (err error) {
	if len(t.Except) > 0 {
		if t.Except, err = l.except(ctx, t.Except, isID); err != nil {
			return err
		}
	}
	return l.broadcast(ctx, payload, t)
}

func (l *leg) broadcastAck(ctx context.Context, payload []byte, t wire.Selection, timeout time.Duration, on wire.AckFuncs) (*backplane.Acks, error) {
	if err := l.hasEvents("EmitWithAck"); err != nil {
		return nil, err
	}
	return l.acks(ctx, payload, t, timeout, on)
}

// acks is broadcastAck in any dialect, for local sockets.
func (l *leg) acks(ctx context.Context, payload []byte, t wire.Selection, timeout time.Duration, on wire.AckFuncs) (*backplane.Acks, error) {
	acks, err := l.core.BroadcastAck(ctx, payload, t, timeout, on)
	return acks.(*backplane.Acks), err
}

func (l *leg) peers(ctx context.Context) (*observe.Peers, error) { return l.ns.Peers(ctx) }

func (l *leg) onSocket(ctx context.Context, f func(context.Context, *leg) error) error {
	return l.informed(ctx, f)
}

func (l *leg) change(ctx context.Context, op wire.Op, t wire.Selection, all onSelection, one onSocket) error {
	if l.dialect != V5 {
		_, err := l.onAll(ctx, op, t, all, one)
		return err
	}
	if err := changeLocal(ctx, l, t, all); err != nil {
		return err
	}
	f, err := l.onListed(ctx, op, t, func(backplane.MemberInfo) bool { return false }, one)
	if e, ok := errors.AsType[*backplane.PartialError](err); ok { // perhaps of the list
		return wire.FromAdapter(&backplane.PartialError{Op: op.String(), Coverage: f, Err: e.Err})
	}
	return err
}

// changeLocal carries out an operation on the local sockets of a selection, unless it has none.
func changeLocal(ctx context.Context, l *leg, t wire.Selection, all onSelection) error {
	if t.RemoteOnly {
		return ctx.Err()
	}
	t.LocalOnly = true
	if _, err := all(ctx, l, t); err != nil {
		return err
	}
	return ctx.Err()
}

func (l *leg) joinable(rooms []string) error { return l.codec.CheckJoin(rooms) }

func (l *leg) customAllowed(ctx context.Context) error {
	if l.dialect != V5 {
		return nil
	}
	asking, stop := half(ctx)
	defer stop()
	return l.allV5(asking)
}

func (l *leg) hasEvents(operation string) error {
	if l.dialect == V5 {
		return unsupported(operation, V5, "")
	}
	return nil
}

func (l *leg) checkServerEvent(payload []byte) error { return l.codec.CheckServerEvent(payload) }

func (l *leg) event(ctx context.Context, payload []byte) error { return l.ns.Event(ctx, payload) }

func (l *leg) eventAck(ctx context.Context, payload []byte) (*backplane.Result[backplane.Reply], error) {
	return l.ns.EventAck(ctx, payload)
}

// custom sends a custom request. In dialect v5 it checks the number of servers directly before publishing. If that
// differs from the number found to be v5, the request is refused, and the servers are checked again.
func (l *leg) custom(ctx context.Context, payload []byte) (*backplane.Result[backplane.Reply], error) {
	for tries := 1; ; tries++ {
		out, err := l.ns.Request(ctx, payload)
		var mixed *MixedFleetError
		if l.dialect != V5 || tries == 3 || !errors.As(err, &mixed) || mixed.Responding > 0 {
			return out, err
		}
		if err := l.allV5(ctx); err != nil {
			return nil, err
		}
	}
}

// members lists sockets on one link, in the form of its dialect.
func (l *leg) members(ctx context.Context, t wire.Selection, detail bool) (*backplane.Result[backplane.MemberInfo], error) {
	plain := l.ns.Members
	if detail {
		plain = l.ns.MembersDetail
	}
	beyond := detail || len(t.Except) > 0 // features of newer servers
	switch {
	case t.LocalOnly || t.Nobody() || l.dialect == V5 && !beyond:
		return plain(ctx, target(t))
	case l.dialect == V5:
		return l.membersV5(ctx, t, detail)
	}
	ctx, cancel := l.within(ctx)
	defer cancel()
	if l.lately(ctx).old > 0 && beyond {
		return l.membersOld(ctx, t, plain)
	}
	m, err := plain(ctx, target(t))
	if m != nil {
		err = whole(wire.OpMembers, &m.Coverage, err)
	}
	return m, err
}

// count counts sockets on one link.
func (l *leg) count(ctx context.Context, t wire.Selection) (*backplane.Count, error) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	listed := l.dialect == V5
	if !t.LocalOnly && !t.Nobody() && !listed {
		listed = l.lately(ctx).old > 0
	}
	if listed && !t.LocalOnly && len(t.Except) > 0 { // two lists
		m, err := l.members(ctx, t, false)
		if m == nil {
			return nil, err
		}
		c := &backplane.Count{ByNode: map[string]int{}, Coverage: m.Coverage}
		for _, id := range c.Answered {
			c.ByNode[id] = 0
		}
		for _, m := range m.List {
			c.Total++
			c.ByNode[m.Node]++
		}
		return c, err
	}
	c, err := l.ns.Count(ctx, target(t))
	if c != nil {
		err = whole(wire.OpMembers, &c.Coverage, err)
	}
	return c, err
}

// rooms lists the rooms on one link.
func (l *leg) rooms(ctx context.Context) (*backplane.Result[string], error) {
	if l.dialect == V5 {
		return l.ns.AllRooms(ctx)
	}
	ctx, cancel := l.within(ctx)
	defer cancel()
	_ = l.lately(ctx) // for the codec
	m, err := l.ns.AllRooms(ctx)
	if m != nil {
		err = whole(wire.OpRooms, &m.Coverage, err)
	}
	return m, err
}

func (l *leg) eachMember(ctx context.Context, t wire.Selection, yield func(wire.MemberInfo) bool) error {
	if !t.LocalOnly && !t.Nobody() {
		looking, cancel := l.within(ctx)
		listed := l.dialect == V5 || l.lately(looking).old > 0
		if cancel(); listed {
			m, err := l.members(ctx, t, true)
			return eachOf(m, err, yield)
		}
	}
	coverage, err := l.core.EachMember(ctx, t, yield)
	f := coverage.(backplane.Coverage)
	return whole(wire.OpMembers, &f, err)
}

// eachOf passes on a list.
func eachOf(m *backplane.Result[backplane.MemberInfo], err error, yield func(wire.MemberInfo) bool) error {
	if m != nil {
		for _, info := range m.List {
			if !yield(wire.MemberInfo(info)) {
				break
			}
		}
	}
	return err
}

func (l *leg) eachRoom(ctx context.Context, yield func(string) bool) error {
	if l.dialect != V5 {
		looking, cancel := l.within(ctx)
		_ = l.lately(looking) // for the codec
		cancel()
	}
	coverage, err := l.core.EachRoom(ctx, yield)
	f := coverage.(backplane.Coverage)
	if l.dialect == V5 {
		return err
	}
	return whole(wire.OpRooms, &f, err)
}

// target converts a selection for the core's public methods.
func target(s wire.Selection) backplane.Target {
	t := backplane.All().InAll(s.All...).Except(s.Except...).Header(s.Header).Reason(s.Reason)
	if s.Picked || len(s.Rooms) > 0 {
		t = t.To(s.Rooms...)
	}
	if s.LocalOnly {
		t = t.Local()
	}
	if s.RemoteOnly {
		t = t.Remote()
	}
	return t
}
