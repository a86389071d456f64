package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// membershipBytes puts 100,000 sockets into ten rooms each, of 10,000 rooms with 100
// sockets. What the sockets themselves and the names need is the application's and
// not counted.
func membershipBytes(ctx context.Context, e *env) (f figures, err error) {
	const sockets, rooms, each = 100_000, 10_000, 10
	n, err := newCrossroom(ctx, e, openRedis)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close(ctx)) }()
	members := make([]*idle, sockets)
	for i := range members {
		members[i] = &idle{socketID(i)}
	}
	names := make([]string, rooms)
	for i := range names {
		names[i] = fmt.Sprintf("room-%05d", i)
	}
	start := heap()
	for _, s := range members {
		if err := n.ns.Add(s); err != nil {
			return nil, err
		}
	}
	added := heap()
	joins := make([]string, each)
	for i, s := range members {
		for j := range joins {
			joins[j] = names[(i*each+j)%rooms]
		}
		if err := n.ns.Join(ctx, s.id, joins...); err != nil {
			return nil, err
		}
	}
	joined := heap()
	runtime.KeepAlive(members)
	runtime.KeepAlive(names)
	const memberships = sockets * each
	return figures{
		{"B/socket", float64(added-start) / sockets},
		{"B/membership", float64(joined-added) / memberships},
		{"B/membership, sockets included", float64(joined-start) / memberships},
	}, nil
}

// heap returns how many bytes live objects have.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the second frees what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
