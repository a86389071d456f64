package main

import (
	"context"
	"fmt"
	"runtime"
)

// In the measurement of memberships each socket is in ten rooms, and each room has 100 sockets. The memory of the
// sockets themselves and of the names belongs to the application and is not counted.
const crowd, roomCount, roomsEach = 100_000, 10_000, 10

const membershipSize = "bytes a membership"

// registry records sockets and their rooms.
type registry struct {
	add  func(s *listener) error
	join func(s *listener, rooms ...string) error
	kept any
}

// crossroomRegistry is a node's.
func crossroomRegistry(ctx context.Context, s *stage) (registry, error) {
	n, err := newLoopNode(ctx, s, nil)
	return registry{
		add:  func(s *listener) error { return n.ns.Add(ctx, s) },
		join: func(s *listener, rooms ...string) error { return n.ns.Join(ctx, s.id, rooms...) },
		kept: n,
	}, err
}

// twoMaps has the data structures of Socket.IO's in-memory adapter: the sockets of each room and the rooms of each
// socket, as sets.
func twoMaps(context.Context, *stage) (registry, error) {
	type set map[string]struct{}
	rooms, sockets := map[string]set{}, map[string]set{}
	into := func(all map[string]set, name, member string) {
		if all[name] == nil {
			all[name] = set{}
		}
		all[name][member] = struct{}{}
	}
	join := func(s *listener, names ...string) error {
		for _, name := range names {
			into(rooms, name, s.id)
			into(sockets, s.id, name)
		}
		return nil
	}
	return registry{
		add:  func(s *listener) error { return join(s, s.id) },
		join: join,
		kept: []map[string]set{rooms, sockets},
	}, nil
}

// membershipBytes fills a registry.
func membershipBytes(open func(context.Context, *stage) (registry, error)) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		r, err := open(ctx, s)
		return func(context.Context) (int64, figures, error) {
			bytes, err := r.fill()
			return 0, figures{{membershipSize, float64(bytes) / (crowd * roomsEach)}}, err
		}, err
	}
}

// fill returns how many more bytes are in use afterwards.
func (r registry) fill() (int64, error) {
	members := make([]*listener, crowd)
	for i := range members {
		members[i] = &listener{id: socketID(i)}
	}
	names := make([]string, roomCount)
	for i := range names {
		names[i] = fmt.Sprintf("room-%05d", i)
	}
	before := heap()
	for _, s := range members {
		if err := r.add(s); err != nil {
			return 0, err
		}
	}
	joins := make([]string, roomsEach)
	for i, s := range members {
		for j := range joins {
			joins[j] = names[(i*roomsEach+j)%roomCount]
		}
		if err := r.join(s, joins...); err != nil {
			return 0, err
		}
	}
	after := heap()
	runtime.KeepAlive(members)
	runtime.KeepAlive(names)
	runtime.KeepAlive(r.kept)
	return after - before, nil
}

// heap returns the size of live objects in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the second frees what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
