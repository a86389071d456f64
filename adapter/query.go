package adapter

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// Clients is a list of sockets of the whole fleet.
type Clients struct {
	// IDs, sorted, each once.
	IDs []string
	backplane.Coverage
}

// Clients lists the ids of the sockets in any of the rooms, of all sockets if there
// are none, on all nodes. If nodes are missing it returns what the others said and a
// *backplane.PartialError.
func (ns *Namespace) Clients(ctx context.Context, rooms ...string) (*Clients, error) {
	m, err := ns.members(ctx, wire.Selection{Rooms: rooms}, false)
	if m == nil {
		return nil, err
	}
	c := &Clients{IDs: make([]string, len(m.List)), Coverage: m.Coverage}
	for i, info := range m.List {
		c.IDs[i] = info.ID
	}
	return c, err
}

// ClientRooms lists the rooms of one socket, wherever it is, its own id's among
// them. If nobody has the socket, the error wraps backplane.ErrNoSuchMember and comes as soon
// as every known node has said so. Servers of 6.0.x cannot say it of theirs: the error wraps
// errors.ErrUnsupported.
func (ns *Namespace) ClientRooms(ctx context.Context, id string) ([]string, error) {
	parts := make(chan []string, len(ns.legs))
	err := ns.onSocket(ctx, id, func(ctx context.Context, l leg) error {
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

// AllRooms lists all rooms that have sockets on any node, those named by the
// sockets' ids among them. Partial answers are as with Clients.
func (ns *Namespace) AllRooms(ctx context.Context) (*backplane.RoomList, error) {
	parts := eachPart(ns, ns.legs, func(l leg) (p multilink.Part[*backplane.RoomList]) {
		if p.Value, p.Err = l.rooms(ctx); p.Value != nil {
			p.Coverage = p.Value.Coverage
		}
		return p
	})
	if len(parts) == 1 {
		return parts[0].Value, parts[0].Err
	}
	fleet, err, failed := multilink.Merge(wire.OpRooms, parts)
	if failed {
		return nil, err
	}
	out := &backplane.RoomList{Coverage: fleet}
	for _, p := range parts {
		if p.Value != nil {
			out.Rooms = append(out.Rooms, p.Value.Rooms...)
		}
	}
	slices.Sort(out.Rooms)
	out.Rooms = slices.Compact(out.Rooms)
	return out, err
}

// eachPart asks on several links at the same time.
func eachPart[T any](ns *Namespace, legs []leg, f func(l leg) multilink.Part[T]) []multilink.Part[T] {
	return multilink.Each(legs, func(l leg) multilink.Part[T] {
		p := f(l)
		p.Link, p.Key, p.Err = l.index, l.key, ns.onLink(l.link, p.Err)
		return p
	})
}

// eachLeg does something on all links at the same time.
func (ns *Namespace) eachLeg(f func(i int, l leg) error) error {
	return multilink.First(multilink.Each(ns.legs, func(l leg) error { return ns.onLink(l.link, f(l.index, l)) })...)
}

// onLink says which of several links an error is of; contexts' errors and partial
// answers, which are merged later, stay as they are.
func (ns *Namespace) onLink(l *link, err error) error {
	var pe *backplane.PartialError
	if err == nil || len(ns.legs) == 1 || err == context.Canceled || err == context.DeadlineExceeded || errors.As(err, &pe) {
		return err
	}
	return &LinkError{Prefix: l.key, Err: err}
}

// members lists sockets on all links, sorted by id, each once.
func (ns *Namespace) members(ctx context.Context, t wire.Selection, detail bool) (*backplane.Members, error) {
	parts := eachPart(ns, ns.legs, func(l leg) (p multilink.Part[*backplane.Members]) {
		if p.Value, p.Err = l.members(ctx, t, detail); p.Value != nil {
			p.Coverage = p.Value.Coverage
		}
		return p
	})
	out, err := parts[0].Value, parts[0].Err
	if len(parts) > 1 {
		var fleet backplane.Coverage
		var failed bool
		if fleet, err, failed = multilink.Merge(wire.OpMembers, parts); failed {
			return nil, err
		}
		out = &backplane.Members{Coverage: fleet}
		for _, p := range parts {
			if p.Value != nil {
				out.List = append(out.List, p.Value.List...)
			}
		}
	}
	if out == nil {
		return nil, err
	}
	// Of two entries for one socket the one that says more comes first.
	slices.SortStableFunc(out.List, func(a, b backplane.MemberInfo) int {
		if c := strings.Compare(a.ID, b.ID); c != 0 {
			return c
		}
		return worth(b) - worth(a)
	})
	out.List = slices.CompactFunc(out.List, func(a, b backplane.MemberInfo) bool { return a.ID == b.ID })
	return out, err
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

// members lists sockets on one link, in the form that its dialect has.
func (l leg) members(ctx context.Context, t wire.Selection, detail bool) (*backplane.Members, error) {
	plain := l.ns.Members
	if detail {
		plain = l.ns.MembersDetail
	}
	beyond := detail || len(t.Except) > 0 // what only newer servers have
	switch {
	case t.LocalOnly || l.dialect == V5 && !beyond:
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

// rooms lists the rooms on one link.
func (l leg) rooms(ctx context.Context) (*backplane.RoomList, error) {
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
