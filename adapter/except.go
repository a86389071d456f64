package adapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// except returns the exceptions in a form that all servers of the link understand: with the ids of those sockets in
// the rooms that are on servers older than 6.1 [PROTOCOL 4]. isID reports names that are known to be ids of sockets.
// It returns the error of ctx unwrapped, or one that wraps ErrUnresolved.
func (l *leg) except(ctx context.Context, names []string, isID func(string) bool) ([]string, error) {
	var rooms []string
	for _, name := range names {
		if !isID(name) {
			rooms = append(rooms, name)
		}
	}
	if len(rooms) == 0 {
		return names, nil
	}
	ids, err := l.foreignIn(ctx, rooms)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, backplane.ErrClosed):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w, in %.300q: %w", ErrUnresolved, rooms, err)
	case len(ids) == 0:
		return names, nil
	}
	return append(append(make([]string, 0, len(names)+len(ids)), names...), ids...), nil
}

// foreignIn lists the sockets in the rooms on foreign servers, if there are servers that cannot except rooms.
func (l *leg) foreignIn(ctx context.Context, rooms []string) ([]string, error) {
	if l.dialect >= Sharded {
		return nil, nil // all of its servers can
	}
	age := beatsCounted * l.beat
	if l.dialect == V5 {
		age = 0 // a request follows in any case, unless there are no foreign servers
	}
	if k := l.seen.foreign.Load(); k.younger(age) && k.err == nil && k.old == 0 {
		return nil, nil // the only cost for each Emit
	}
	ctx, cancel := l.within(ctx)
	defer cancel()
	k, err := l.foreigners(ctx, age)
	switch {
	case err != nil:
		return nil, err
	case l.dialect == V5 && k.Total == 0, l.dialect == V6 && k.old == 0:
		return nil, nil
	}
	list, err := l.ns.Members(ctx, backplane.To(rooms...).Remote())
	if list == nil {
		return nil, err
	}
	if err = aboutForeign(whole(wire.OpMembers, &list.Coverage, err)); err != nil {
		return nil, err
	}
	var ids []string
	for _, m := range list.List {
		if m.Node == "" { // Go nodes know their rooms
			ids = append(ids, m.ID)
		}
	}
	return ids, nil
}

func (l *leg) broadcast(ctx context.Context, payload []byte, t wire.Selection) error {
	if t.Flags&wire.Binary != 0 && !t.LocalOnly {
		l.sure(ctx)
	}
	return l.core.Broadcast(ctx, payload, t)
}
