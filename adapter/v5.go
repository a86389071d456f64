package adapter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// Dialect v5 lists sockets by room and changes one socket at a time. This file composes the features of newer servers
// of several requests:
//
//   - sockets except those in some rooms: two lists;
//   - sockets with their rooms: a list, then a request for each socket;
//   - join, leave and disconnect of a selection: a list, then a request for each socket.
//
// None of this is atomic, as it is on one node. All requests together have one RequestsTimeout, of which the list may
// use a half if more is to follow.

// maxAtOnce limits the concurrent requests about single sockets.
const maxAtOnce = 16

// membersV5 lists sockets; with detail, including their rooms, and descriptions of local ones.
func (l *leg) membersV5(ctx context.Context, t wire.Selection, detail bool) (*backplane.Result[backplane.MemberInfo], error) {
	asking, cancel := l.within(ctx)
	defer cancel()
	listing := asking
	if detail {
		var stop context.CancelFunc
		listing, stop = half(asking)
		defer stop()
	}
	out, err, _ := l.list(listing, t)
	if out == nil {
		return nil, err
	}
	if detail {
		if failed := l.roomsV5(asking, out); err == nil {
			err = failed
		}
	}
	if t.RemoteOnly {
		return out, err
	}
	t.LocalOnly = true
	here, failed := l.ns.MembersDetail(ctx, target(t))
	if here == nil {
		return nil, failed
	}
	out.List = append(out.List, here.List...)
	return out, err
}

// within sets the deadline of an operation that consists of several requests.
func (l *leg) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, l.timeout)
}

// half limits the first of several requests to half of the remaining time.
func half(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/2)
}

// list lists remote sockets by rooms only, as all versions of both dialects can. With a *backplane.PartialError some
// may be missing. If excess, the list may have too many, because not all nodes responded with their excepted sockets.
func (l *leg) list(ctx context.Context, t wire.Selection) (list *backplane.Result[backplane.MemberInfo], err error, excess bool) {
	sought := []wire.Selection{{Rooms: t.Rooms, RemoteOnly: true}, {Rooms: t.Except, RemoteOnly: true}}
	if len(t.Except) == 0 {
		sought = sought[:1]
	}
	type answer struct {
		list *backplane.Result[backplane.MemberInfo]
		err  error
	}
	got := multilink.Each(sought, func(t wire.Selection) (a answer) {
		a.list, a.err = l.ns.Members(ctx, target(t))
		return a
	})
	list, err = got[0].list, got[0].err
	if list == nil || len(t.Except) == 0 {
		return list, err, false
	}
	out, failed := got[1].list, got[1].err
	if out == nil {
		return nil, failed, true
	}
	excepted := make(map[string]bool, len(out.List))
	for _, m := range out.List {
		excepted[m.ID] = true
	}
	list.List = slices.DeleteFunc(list.List, func(m backplane.MemberInfo) bool { return excepted[m.ID] })
	if failed != nil {
		// A node that did not send both lists is missing.
		for _, m := range out.Missing {
			list.Answered = slices.DeleteFunc(list.Answered, func(id string) bool { return id == m.Node })
		}
		list.Missing = append(list.Missing, out.Missing...)
		if list.Uncounted == nil {
			list.Uncounted = out.Uncounted
		}
		return list, failed, true
	}
	return list, err, false
}

// roomsV5 requests the rooms of each socket. Sockets that have left meanwhile are removed from the list; those whose
// node does not respond stay, without rooms.
func (l *leg) roomsV5(ctx context.Context, list *backplane.Result[backplane.MemberInfo]) error {
	gone := make([]bool, len(list.List))
	err := atOnce(ctx, len(list.List), func(ctx context.Context, i int) error {
		m := &list.List[i]
		rooms, err := l.ns.RoomsOf(ctx, m.ID)
		if gone[i] = errors.Is(err, backplane.ErrNoSuchMember); gone[i] {
			return nil
		}
		m.Rooms = rooms
		return err
	})
	kept := list.List[:0]
	for i, m := range list.List {
		if !gone[i] {
			kept = append(kept, m)
		}
	}
	list.List = kept
	if err == nil {
		return nil
	}
	return wire.FromAdapter(&backplane.PartialError{Op: wire.OpMembers.String(), Coverage: list.Coverage, Err: err})
}

// onListed carries out an operation on each remote socket of a selection, except those that skip selects. If it is not
// certain which sockets to exclude, it does nothing.
func (l *leg) onListed(ctx context.Context, op wire.Op, t wire.Selection, skip func(backplane.MemberInfo) bool, f onSocket) (backplane.Coverage, error) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	listing, stop := half(ctx)
	defer stop()
	list, err, excess := l.list(listing, t)
	if list == nil {
		return backplane.Coverage{}, err
	}
	if excess {
		return list.Coverage, err
	}
	failed := atOnce(ctx, len(list.List), func(ctx context.Context, i int) error {
		m := list.List[i]
		if skip(m) {
			return nil
		}
		if err := f(ctx, l, m.ID); !errors.Is(err, backplane.ErrNoSuchMember) {
			return err
		}
		return nil // it left meanwhile
	})
	if failed != nil && err == nil {
		err = wire.FromAdapter(&backplane.PartialError{Op: op.String(), Coverage: list.Coverage, Err: failed})
	}
	return list.Coverage, err
}

// atOnce calls f for 0 to n-1, several at a time, and returns the first error.
func atOnce(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
		slots = make(chan struct{}, maxAtOnce)
	)
	for i := range n {
		slots <- struct{}{} // f returns when ctx ends, so this does not wait for ever
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(ctx, i); err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	wg.Wait()
	return first
}
