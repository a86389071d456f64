package adapter

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// Clients is a list of sockets of the whole fleet.
type Clients struct {
	// IDs, sorted, each once.
	IDs []string
	backplane.Coverage
}

// Clients lists the ids of the selected sockets, on all nodes. If nodes are missing it returns the responses of the
// others and a *backplane.PartialError.
func (o Operator) Clients(ctx context.Context) (*Clients, error) {
	if err := o.check(ctx); err != nil {
		return nil, err
	}
	m, err := o.members(ctx, false)
	if m == nil {
		return nil, err
	}
	c := &Clients{IDs: make([]string, len(m.List)), Coverage: m.Coverage}
	for i, info := range m.List {
		c.IDs[i] = info.ID
	}
	return c, err
}

// Count counts the selected sockets of all nodes. Go nodes respond with a number. Node.js servers can only list their
// sockets, so they do that; so do all nodes if Except is used beside servers older than 6.1. If nodes are missing, Total
// is a lower bound, and the error a *backplane.PartialError.
func (o Operator) Count(ctx context.Context) (*backplane.Count, error) {
	if err := o.check(ctx); err != nil {
		return nil, err
	}
	t, some := o.ns.resolve(ctx, o.target)
	if !isPartial(some) {
		return nil, some
	}
	c, err := o.ns.fleet.count(ctx, t)
	if err == nil {
		err = some
	}
	return c, err
}

// ClientRooms lists the rooms of one socket, on any node, including that of its own id. If no node has the socket, the
// error wraps backplane.ErrNoSuchMember and comes as soon as every known node has responded. Other errors are as with
// Join. Servers of 6.0.x cannot list the rooms of their sockets: the error wraps errors.ErrUnsupported.
func (ns *Namespace) ClientRooms(ctx context.Context, id string) ([]string, error) {
	parts := make(chan []string, len(ns.legs))
	err := ns.onSocket(ctx, id, func(ctx context.Context, l *leg) error {
		rooms, err := l.roomsOf(ctx, id)
		if err == nil {
			parts <- rooms
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	rooms := <-parts
	slices.Sort(rooms)
	return rooms, nil
}

// AllRooms lists all rooms that have sockets on any node, including those named by the sockets' ids. Partial results
// are as with Clients.
func (ns *Namespace) AllRooms(ctx context.Context) (*backplane.Result[string], error) {
	if ctx == nil {
		return nil, backplane.ErrNilContext
	}
	return ns.fleet.rooms(ctx)
}

// EachRoom iterates over all rooms that have sockets on any node, sorted, each once, like AllRooms. Memory and errors are
// as with EachSocket.
func (ns *Namespace) EachRoom(ctx context.Context) iter.Seq2[string, error] {
	return wire.Sequence(ctx, func(yield func(string) bool) error { return ns.fleet.eachRoom(ctx, yield) })
}

// members lists the selected sockets, sorted by id, each once.
func (o Operator) members(ctx context.Context, detail bool) (*backplane.Result[backplane.MemberInfo], error) {
	t, some := o.ns.resolve(ctx, o.target)
	if !isPartial(some) {
		return nil, some
	}
	out, err := o.ns.fleet.members(ctx, t, detail)
	if out == nil {
		return nil, err
	}
	if err == nil {
		err = some
	}
	out.List = onceEach(out.List)
	return out, err
}

// onceEach sorts sockets by id, and leaves of two entries for one socket the one with more data.
func onceEach(list []backplane.MemberInfo) []backplane.MemberInfo {
	slices.SortStableFunc(list, func(a, b backplane.MemberInfo) int {
		if c := strings.Compare(a.ID, b.ID); c != 0 {
			return c
		}
		return worth(b) - worth(a)
	})
	return slices.CompactFunc(list, func(a, b backplane.MemberInfo) bool { return a.ID == b.ID })
}

func worth(m backplane.MemberInfo) int {
	n := 0
	for i, has := range []bool{m.Node != "", m.Rooms != nil, m.Data != nil} {
		if has {
			n += 1 << i
		}
	}
	return n
}
