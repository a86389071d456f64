package adapter

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/crossroom/crossroom/backplane"
)

// Dialect v5 lists sockets by room and does things to one socket at a time. What
// newer servers have beyond that is put together here, from several questions:
//
//   - sockets except those in some rooms: two lists;
//   - sockets with their rooms: a list, then a question for each socket;
//   - join, leave and disconnect of a selection: a list, then one for each socket.
//
// Nothing of it happens at one moment, as it does on one node. The list and what
// follows it have a RequestsTimeout each.

// atOnceV5 is how many questions about single sockets are under way at a time.
const atOnceV5 = 16

// membersV5 lists sockets; with rooms, and what local ones say of themselves, if
// detail.
func (l leg) membersV5(ctx context.Context, t backplane.Target, detail bool) (*backplane.Members, error) {
	out, err, _ := l.selectV5(ctx, t)
	if out == nil {
		return nil, err
	}
	if detail {
		if failed := l.roomsV5(ctx, out); err == nil {
			err = failed
		}
	}
	if t.RemoteOnly {
		return out, err
	}
	t.LocalOnly = true
	here, failed := l.ns.MembersDetail(ctx, t)
	if here == nil {
		return nil, failed
	}
	out.List = append(out.List, here.List...)
	return out, err
}

// selectV5 lists remote sockets. Beside a *PartialError some may be missing, or, if
// excess, too many be there, because not all nodes said who is excepted.
func (l leg) selectV5(ctx context.Context, t backplane.Target) (list *backplane.Members, err error, excess bool) {
	list, err = l.ns.Members(ctx, backplane.Target{Rooms: t.Rooms, RemoteOnly: true})
	if list == nil || len(t.Except) == 0 {
		return list, err, false
	}
	out, failed := l.ns.Members(ctx, backplane.Target{Rooms: t.Except, RemoteOnly: true})
	if out == nil {
		return nil, failed, true
	}
	excepted := make(map[string]bool, len(out.List))
	for _, m := range out.List {
		excepted[m.ID] = true
	}
	list.List = slices.DeleteFunc(list.List, func(m backplane.MemberInfo) bool { return excepted[m.ID] })
	if failed != nil {
		return list, failed, true
	}
	return list, err, false
}

// roomsV5 asks for the rooms of each socket. Those that are gone meanwhile fall out
// of the list; those whose node does not say stay, without rooms.
func (l leg) roomsV5(ctx context.Context, list *backplane.Members) error {
	gone := make([]bool, len(list.List))
	err := l.atOnceV5(ctx, len(list.List), func(ctx context.Context, i int) error {
		m := &list.List[i]
		rooms, err := l.ns.RoomsOf(ctx, m.ID)
		if gone[i] = errors.Is(err, ErrNoSuchSocket); gone[i] {
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
	return &PartialError{Op: backplane.OpMembers, Fleet: list.Fleet, Err: err}
}

// onSelectedV5 does something to each remote socket of a selection, but not to those
// on the nodes in done. If it is not certain whom to spare, it does nothing.
func (l leg) onSelectedV5(ctx context.Context, op backplane.Op, t backplane.Target, done map[string]bool, f func(ctx context.Context, id string) error) (Fleet, error) {
	list, err, excess := l.selectV5(ctx, t)
	if list == nil {
		return Fleet{}, err
	}
	if excess {
		return list.Fleet, err
	}
	failed := l.atOnceV5(ctx, len(list.List), func(ctx context.Context, i int) error {
		m := list.List[i]
		if m.Node != "" && done[m.Node] {
			return nil
		}
		if err := f(ctx, m.ID); !errors.Is(err, ErrNoSuchSocket) {
			return err
		}
		return nil // it left meanwhile
	})
	if failed != nil && err == nil {
		err = &PartialError{Op: op, Fleet: list.Fleet, Err: failed}
	}
	return list.Fleet, err
}

// atOnceV5 calls f for 0 to n-1, several at a time, and returns the first error.
func (l leg) atOnceV5(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
		slots = make(chan struct{}, atOnceV5)
	)
	for i := range n {
		slots <- struct{}{} // f obeys ctx, so this does not wait for ever
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
