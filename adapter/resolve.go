package adapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// resolve replaces the rooms that a socket must all be in by the ids of the sockets that are, if a link's servers
// cannot read such a selection. With a *backplane.PartialError some may be missing.
func (ns *Namespace) resolve(ctx context.Context, t wire.Selection) (wire.Selection, error) {
	if len(t.All) == 0 || t.LocalOnly || t.Nobody() || ns.carriesAll() {
		return t, nil
	}
	found := map[string]bool{}
	if !t.RemoteOnly {
		var here rooms.Selection[backplane.Member]
		here.Find(ns.rooms, rooms.Filter{Rooms: t.Rooms, All: t.All})
		for _, e := range here.List {
			found[e.ID()] = true
		}
	}
	type answer struct {
		ids []string
		err error
	}
	var err error
	for i, a := range multilink.Each(ns.legs, func(l *leg) (a answer) {
		a.ids, a.err = l.inAll(ctx, t)
		return a
	}) {
		switch {
		case ctx.Err() != nil:
			return t, ctx.Err()
		case !isPartial(a.err):
			if len(ns.legs) > 1 {
				a.err = ns.legs[i].named(a.err)
			}
			return t, a.err
		case err == nil:
			err = a.err
		}
		for _, id := range a.ids {
			found[id] = true
		}
	}
	t.Rooms, t.All, t.Picked = make([]string, 0, len(found)), nil, true
	for id := range found {
		t.Rooms = append(t.Rooms, id)
	}
	return t, err
}

// resolved is resolve for operations that need all of the sockets.
func (ns *Namespace) resolved(ctx context.Context, t wire.Selection) (wire.Selection, error) {
	all := t.All
	t, err := ns.resolve(ctx, t)
	if err == nil || ctx.Err() != nil || errors.Is(err, backplane.ErrClosed) {
		return t, err
	}
	return t, fmt.Errorf("%w, in all of %.300q: %w", ErrUnresolved, all, err)
}

func (ns *Namespace) carriesAll() bool {
	for _, l := range ns.legs {
		if !l.codec.CarriesAll() {
			return false
		}
	}
	return true
}

// inAll lists the remote sockets that are in any of the rooms of t and in each of its All. It asks for one list for
// each room, which every server can send.
func (l *leg) inAll(ctx context.Context, t wire.Selection) ([]string, error) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	var sought []wire.Selection
	if len(t.Rooms) > 0 {
		sought = append(sought, wire.Selection{Rooms: t.Rooms, RemoteOnly: true})
	}
	for _, room := range t.All {
		sought = append(sought, wire.Selection{Rooms: []string{room}, RemoteOnly: true})
	}
	type answer struct {
		list *backplane.Result[backplane.MemberInfo]
		err  error
	}
	var err error
	in := map[string]int{} // in how many of the lists before
	for i, a := range multilink.Each(sought, func(t wire.Selection) (a answer) {
		a.list, a.err = l.members(ctx, t, false)
		return a
	}) {
		if a.list == nil {
			return nil, a.err
		}
		if err == nil {
			err = a.err
		}
		for _, m := range a.list.List {
			if in[m.ID] == i {
				in[m.ID] = i + 1
			}
		}
	}
	var ids []string
	for id, n := range in {
		if n == len(sought) {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// isPartial reports that a result comes with the error, or that there is none.
func isPartial(err error) bool {
	var partial *backplane.PartialError
	return err == nil || errors.As(err, &partial)
}
