package adapter

import (
	"context"
	"errors"
	"slices"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// This file has the operations of dialect V6 where foreign peers are old (see foreign). A request for newer servers is
// sent as usual, and with it a request that 6.0 understands.

// membersOld lists sockets among old peers: the sockets that only request 0 lists are added, without rooms.
func (l *leg) membersOld(ctx context.Context, t wire.Selection, plain func(context.Context, backplane.Target) (*backplane.Result[backplane.MemberInfo], error)) (*backplane.Result[backplane.MemberInfo], error) {
	type answer struct {
		m   *backplane.Result[backplane.MemberInfo]
		err error
	}
	got := multilink.Each([]bool{true, false}, func(newer bool) (a answer) {
		if newer {
			a.m, a.err = plain(ctx, target(t))
		} else {
			a.m, a.err, _ = l.list(ctx, t)
		}
		return a
	})
	out, all := got[0].m, got[1].m
	if out == nil {
		return nil, got[0].err
	}
	if all == nil {
		return nil, got[1].err
	}
	known := make(map[string]bool, len(out.List))
	for _, m := range out.List {
		known[m.ID] = true
	}
	for _, m := range all.List {
		if m.Node == "" && !known[m.ID] {
			out.List = append(out.List, m)
		}
	}
	// Of the foreign peers those are missing that did not respond to both.
	f := &out.Coverage
	f.Unconfirmed = all.Unconfirmed
	if missing := unnamed(f.Missing); missing >= unnamed(all.Missing) {
		f.Foreign = max(all.Foreign-missing, 0)
	} else {
		f.Foreign = all.Foreign
		f.Missing = slices.DeleteFunc(f.Missing, func(m observe.Missing) bool { return m.Node == "" })
		for _, m := range all.Missing {
			if m.Node == "" {
				f.Missing = append(f.Missing, m)
			}
		}
	}
	var err error
	for _, a := range got {
		if e, ok := errors.AsType[*backplane.PartialError](a.err); ok {
			err = wire.FromAdapter(&backplane.PartialError{Op: wire.OpMembers.String(), Coverage: *f, Err: e.Err})
		} else if a.err != nil {
			return out, a.err
		}
	}
	return out, whole(wire.OpMembers, f, err)
}

// roomsOf lists the rooms of one socket. Peers of 6.0 can only respond whether they have the socket.
func (l *leg) roomsOf(ctx context.Context, id string) ([]string, error) {
	rooms, err := l.ns.RoomsOf(ctx, id)
	k := l.seen.foreign.Load()
	if partial, ok := errors.AsType[*backplane.PartialError](err); k == nil || k.old == 0 || !ok || len(partial.Coverage.Missing) > 0 {
		return rooms, err
	}
	m, err := l.ns.Members(ctx, backplane.To(id).Remote())
	if m == nil {
		return nil, err
	}
	if slices.ContainsFunc(m.List, func(m backplane.MemberInfo) bool { return m.ID == id }) {
		err = unsupported("ClientRooms", V6, "the socket is on a server of 6.0, which cannot list its rooms")
	} else if err = whole(wire.OpRoomsOf, &m.Coverage, err); err == nil {
		err = backplane.ErrNoSuchMember
	}
	return nil, wire.FromAdapter(&backplane.OpError{Op: wire.OpRoomsOf.String(), Name: id, Err: err})
}

// informed calls f once it is known, for the codec, which peers are old.
func (l *leg) informed(ctx context.Context, f func(context.Context, *leg) error) error {
	if l.dialect == V6 {
		var cancel context.CancelFunc
		ctx, cancel = l.within(ctx)
		defer cancel()
		_ = l.lately(ctx)
	}
	return f(ctx, l)
}

// onAll carries out an operation on a selection, in dialect V6: by a filter, and for the sockets on peers of 6.0 by
// their ids. If it is not certain which of those to exclude, it changes none of them.
func (l *leg) onAll(ctx context.Context, op wire.Op, t wire.Selection, all onSelection, one onSocket) (backplane.Coverage, error) {
	limited, cancel := l.within(ctx)
	defer cancel()
	k := l.lately(limited)
	first := limited
	if k.old > 0 {
		var stop context.CancelFunc
		first, stop = half(limited)
		defer stop()
	}
	done, err := all(first, l, t)
	if done == nil {
		return backplane.Coverage{}, err
	}
	f := done.Coverage
	failed := k.err
	if k.old > k.deaf && failed == nil {
		failed = l.onOld(limited, op, t, one)
	}
	if k.deaf > 0 {
		f.Unconfirmed = max(f.Unconfirmed-k.deaf, 0)
		f.Missing = append(f.Missing, observe.Missing{Count: k.deaf, Reason: errDeaf})
		if failed == nil {
			failed = errDeaf
		}
	}
	if failed == nil || err != nil {
		return f, err
	}
	if e, ok := errors.AsType[*backplane.PartialError](failed); ok {
		failed = e.Err
		f.Missing = append(f.Missing, slices.DeleteFunc(slices.Clone(e.Coverage.Missing), func(m observe.Missing) bool { return m.Node != "" || m.Reason == errDeaf })...)
	}
	return f, wire.FromAdapter(&backplane.PartialError{Op: op.String(), Coverage: f, Err: failed})
}

// onOld carries out an operation on those sockets of a selection that only request 0 lists.
func (l *leg) onOld(ctx context.Context, op wire.Op, t wire.Selection, one onSocket) error {
	t.RemoteOnly = true
	listing, stop := half(ctx)
	defer stop()
	newer, err := l.ns.MembersDetail(listing, target(t))
	if newer == nil {
		return err
	}
	known := make(map[string]bool, len(newer.List))
	for _, m := range newer.List {
		known[m.ID] = true
	}
	_, err = l.onListed(ctx, op, t, func(m backplane.MemberInfo) bool { return m.Node != "" || known[m.ID] }, one)
	return aboutForeign(err)
}
