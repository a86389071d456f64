package adapter

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/crossroom/crossroom/backplane"
)

// In dialect v8 some older servers do not answer what newer ones do [PROTOCOL 6, 12]:
//
//	                          5.4   6.0   6.1 and later
//	ids of sockets (type 0)   no    yes   yes
//	all rooms                 no    yes   yes
//	sockets with details      no    no    yes
//
// They are told apart by a question that all but v5 answer, and one that only 6.1 and later
// do, both about a room that cannot exist.

// older is how many servers of total, those that are no Go nodes, were found to be v5 and 6.0.
type older struct{ total, v5, v60 int }

// probeRoom begins the names of rooms that no socket is in.
const probeRoom = "nobody-"

// isProbe reports whether a request is such a question, which is asked of all.
func isProbe(r *backplane.Request) bool {
	return len(r.Rooms) == 1 && strings.HasPrefix(r.Rooms[0], probeRoom)
}

// olderAmong returns what is known of so many servers.
func (c *codec) olderAmong(total int) older {
	if k := c.older.Load(); k != nil && k.total == total {
		return *k
	}
	return older{total: total}
}

// answersOf is how many of the servers answer a question in dialect v8.
func (c *codec) answersOf(r *backplane.Request, total int) backplane.Expected {
	cannot := 0
	if k := c.olderAmong(total); !isProbe(r) {
		cannot = k.v5
		if r.Op == backplane.OpRoomsOf || r.Op == backplane.OpMembers && !bareIDs(r) {
			cannot += k.v60
		}
	}
	return backplane.Expected{Answers: total - cannot, Silent: cannot}
}

// bareIDs reports whether a list in dialect v8 is asked for in the form that 6.0 has too.
func bareIDs(r *backplane.Request) bool { return !r.Detail && len(r.Except) == 0 }

// probeTime limits each of the two questions.
const probeTime = 500 * time.Millisecond

// lookForOlder finds out which servers do not answer what in dialect v8.
func (l leg) lookForOlder(ctx context.Context) {
	total, err := l.others(ctx)
	if err != nil {
		return
	}
	if k := l.codec.older.Load(); k != nil && k.total == total && k.v5+k.v60 == 0 {
		return // newer ones answer everything, whichever they are
	}
	if total == 0 {
		l.codec.older.Store(&older{})
		return
	}
	room := backplane.Target{Rooms: []string{newProbe()}, RemoteOnly: true}
	misread := l.codec.seen.misread.Load()
	all, ok := l.probe(ctx, func(ctx context.Context) (*backplane.Members, error) { return l.ns.Members(ctx, room) })
	if !ok {
		return
	}
	k := older{total: all.Unnamed}
	for _, m := range all.Missing {
		if m.Node == "" {
			k.total += m.Count
			k.v5 += m.Count
		}
	}
	if l.codec.seen.misread.Load()-misread < int64(k.v5) {
		l.codec.older.Store(nil) // others may be slow, or hang
		return
	}
	if all.Unnamed > 0 {
		detailed, ok := l.probe(ctx, func(ctx context.Context) (*backplane.Members, error) { return l.ns.MembersDetail(ctx, room) })
		if !ok {
			return
		}
		k.v60 = max(0, all.Unnamed-detailed.Unnamed)
	}
	l.codec.older.Store(&k)
}

// probe asks one of the two questions.
func (l leg) probe(ctx context.Context, ask func(context.Context) (*backplane.Members, error)) (*backplane.Members, bool) {
	asking, cancel := context.WithTimeout(ctx, min(probeTime, l.timeout/2))
	defer cancel()
	m, _ := ask(asking)
	return m, m != nil && ctx.Err() == nil
}

// has60 reports whether servers of 6.0 were found.
func (l leg) has60() bool {
	k := l.codec.older.Load()
	return k != nil && k.v60 > 0
}

// membersV60 lists sockets in dialect v8 beside servers of 6.0, which only tell ids: their
// sockets are listed without details. If not all say who is excepted, they are left out.
func (l leg) membersV60(ctx context.Context, t backplane.Target, detail bool) (*backplane.Members, error) {
	type answer struct {
		list *backplane.Members
		err  error
	}
	got := each([]int{0, 1, 2}, func(i int) (a answer) {
		switch {
		case i == 0 && detail:
			a.list, a.err = l.ns.MembersDetail(ctx, t)
		case i == 0:
			a.list, a.err = l.ns.Members(ctx, t)
		case i == 1:
			a.list, a.err = l.ns.Members(ctx, backplane.Target{Rooms: t.Rooms, RemoteOnly: true})
		case len(t.Except) > 0:
			a.list, a.err = l.ns.Members(ctx, backplane.Target{Rooms: t.Except, RemoteOnly: true})
		}
		return a
	})
	out, err := got[0].list, got[0].err
	if out == nil || got[1].list == nil || got[2].err != nil {
		return out, err
	}
	seen := map[string]bool{}
	for _, list := range []*backplane.Members{out, got[2].list} {
		if list != nil {
			for _, m := range list.List {
				seen[m.ID] = true
			}
		}
	}
	more := slices.DeleteFunc(got[1].list.List, func(m backplane.MemberInfo) bool { return m.Node != "" || seen[m.ID] })
	out.List = append(out.List, more...)
	return out, err
}
