package adapter

import (
	"context"
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

// Clients lists the ids of the sockets in any of the rooms, on all nodes; without rooms those of all sockets. If nodes
// are missing it returns the responses of the others and a *backplane.PartialError.
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
func (ns *Namespace) AllRooms(ctx context.Context) (*backplane.RoomList, error) {
	return ns.fleet.rooms(ctx)
}

// members lists sockets, sorted by id, each once.
func (ns *Namespace) members(ctx context.Context, t wire.Selection, detail bool) (*backplane.Members, error) {
	out, err := ns.fleet.members(ctx, t, detail)
	if out == nil {
		return nil, err
	}
	// Of two entries for one socket the one with more data comes first.
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
