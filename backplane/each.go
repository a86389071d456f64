package backplane

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// Lists in pages. One request to all nodes brings the first page of each; further pages are requested from one node
// after another, when the loop needs them. A page is requested by the last name before it, so that a node keeps nothing
// for a requester, and a loop may take any time.

// Sizes of pages, in bytes of messages.
const (
	pageBytes  = 256 << 10
	pagesBytes = 4 << 20  // the first pages of all nodes together …
	leastPage  = 16 << 10 // … unless they are smaller than this
)

// errPages is the reason for a missing node whose pages do not go on.
var errPages = errors.New("the node's pages are out of order")

// EachMember iterates over the members that t selects, with each one's rooms and data, like [Namespace.MembersDetail],
// but holds only pages of them in memory: at first one of each node, then one at a time. A page is a message of about
// 256 KiB. The first ones are smaller if that would be more than 4 MiB in all, but at least 16 KiB. A foreign peer
// (Node.js server) sends its whole list at once.
//
// The last pair may have an error in place of a member: a *[PartialError] if nodes are missing, also because they left
// or failed during the loop, else one of the errors of MembersDetail. Without it the list is complete: it has each
// member that was selected during the whole loop, once for each node that has it. Members that were added, removed or
// moved during the loop may be in it.
//
// Each request has the usual deadline, and the loop's body may take any time. ctx limits the loop as a whole. No lock is
// held while the body runs.
func (ns *Namespace) EachMember(ctx context.Context, t Target) iter.Seq2[MemberInfo, error] {
	return wire.Sequence(ctx, func(yield func(MemberInfo) bool) error {
		_, err := ns.eachMember(ctx, &t.sel, yield)
		return err
	})
}

// EachRoom iterates over all rooms that have members, sorted, each once, like [Namespace.AllRooms] and with the errors
// of [Namespace.EachMember]. It holds a page of each node in memory: 16 to 256 KiB, of many nodes about 4 MiB in all.
func (ns *Namespace) EachRoom(ctx context.Context) iter.Seq2[string, error] {
	return wire.Sequence(ctx, func(yield func(string) bool) error {
		_, err := ns.eachRoom(ctx, yield)
		return err
	})
}

// pages are the pages of one loop.
type pages struct {
	ns  *Namespace
	req *wire.Request
	// coverage is that of the first request, from which nodes are moved whose later pages do not come.
	coverage Coverage
	err      error           // of the first request, or a later one
	missed   context.Context // of the first request, or a later one that missed its deadline
	asked    map[string]int  // pages of a node
}

// first requests the first pages. take gets each response, and each is called on this goroutine after some.
func (p *pages) first(ctx context.Context, take func(*wire.Response), each func()) error {
	ns := p.ns
	p.req.Origin, p.req.Native = ns.node.id, true
	p.missed, p.asked = ctx, make(map[string]int)
	snap, err := ns.requests.Snapshot(ctx, p.req.Op)
	if err != nil {
		p.coverage, err = ns.unreachable(snap, p.req.Op, err)
		return err
	}
	exp, err := ns.requests.Expect(p.req, snap)
	if err != nil {
		return err
	}
	p.req.Page = min(max(pagesBytes/max(snap.Peers(), 1), leastPage), pageBytes)
	first := *p.req
	pending := ns.requests.New(&first, func(r *wire.Response) bool {
		take(r)
		return false
	})
	pending.Each(func(string) { each() })
	seeing, seen := ns.begin(ctx, pending, &first, snap, exp)
	p.coverage, p.err = ns.run(seeing, pending, seen, snap, exp, ns.hasRecipients(snap))
	if p.err != nil && !isOutage(p.err) {
		return p.err
	}
	return nil
}

// next requests the page of a node after the name after. It returns false if the node is missing from then on.
func (p *pages) next(ctx context.Context, node, after string, bytes int) (page wire.Response, ok bool) {
	ctx, cancel := p.ns.deadline(ctx, 0)
	defer cancel()
	r := *p.req
	r.To, r.After, r.Page = node, after, bytes
	c, err := p.ns.collect(ctx, &r, request.Only(node), wire.Expected{}, func(r *wire.Response) bool {
		if r.Node == node {
			page.Members, page.Rooms = append(page.Members, membersOf(r)...), append(page.Rooms, r.Rooms...)
			page.Rest = r.Rest && !r.More
		}
		return false
	})
	switch p.asked[node]++; {
	case err != nil || len(c.Missing) > 0:
		if p.err == nil {
			p.err = err
		}
		if ctx.Err() != nil {
			p.missed = ctx
		}
		if len(c.Missing) > 0 {
			err = c.Missing[0].Reason
		}
		p.lose(node, err)
	case page.Rest && last(&page) <= after:
		p.lose(node, errPages)
	case p.asked[node] == request.MaxParts:
		p.lose(node, ErrTooLarge)
	default:
		return page, true
	}
	return page, false
}

// lose makes a node missing.
func (p *pages) lose(node string, reason error) {
	if i := slices.Index(p.coverage.Answered, node); i >= 0 {
		p.coverage.Answered = slices.Delete(p.coverage.Answered, i, i+1)
		p.coverage.Missing = append(p.coverage.Missing, observe.Missing{Node: node, Count: 1, Reason: reason})
	}
}

// last returns the last name of a page.
func last(r *wire.Response) string {
	switch {
	case len(r.Members) > 0:
		return r.Members[len(r.Members)-1].ID
	case len(r.Rooms) > 0:
		return r.Rooms[len(r.Rooms)-1]
	}
	return ""
}

func (p *pages) end() (Coverage, error) {
	return p.coverage, p.ns.partial(p.missed, p.req.Op, p.coverage, p.err)
}

// memberPages are the members that have come and are not passed on.
type memberPages struct {
	mu    sync.Mutex
	ready []wire.MemberInfo
	rest  map[string]string // by node with more: its last id so far
}

func (m *memberPages) take(r *wire.Response) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = append(m.ready, membersOf(r)...)
	if r.Rest && !r.More && r.Node != "" {
		m.rest[r.Node] = last(r)
	}
}

func (m *memberPages) taken() []wire.MemberInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.ready
	m.ready = nil
	return list
}

// eachMember is EachMember, and returns the coverage too.
func (ns *Namespace) eachMember(ctx context.Context, t *wire.Selection, yield func(MemberInfo) bool) (Coverage, error) {
	if err := ns.target(ctx, t); err != nil || t.Nobody() {
		return Coverage{}, err
	}
	stopped := false
	pass := func(list []wire.MemberInfo) {
		for i := range list {
			if stopped {
				return
			}
			stopped = true // also if the body panics
			stopped = !yield(MemberInfo(list[i]))
			list[i] = wire.MemberInfo{} // what has passed is not kept
		}
	}
	for after, rest := "", !t.RemoteOnly; rest && !stopped; {
		var list []wire.MemberInfo
		list, rest = ns.desk.MembersPage(filterOf(t.Rooms, t.All, t.Except), after, pageBytes, true)
		after = last(&wire.Response{Members: list})
		pass(list)
	}
	if t.LocalOnly || stopped {
		return Coverage{}, nil
	}
	p := pages{ns: ns, req: &wire.Request{Op: wire.OpMembers, Detail: true, Rooms: t.Rooms, All: t.All, Except: t.Except, Header: t.Header}}
	in := memberPages{rest: make(map[string]string)}
	limited, cancel := ns.deadline(ctx, 0)
	defer cancel()
	err := p.first(limited, in.take, func() {
		if pass(in.taken()); stopped {
			cancel()
		}
	})
	if err != nil {
		return p.coverage, err
	}
	pass(in.taken())
	for _, node := range slices.Sorted(maps.Keys(in.rest)) {
		after, more := in.rest[node], slices.Contains(p.coverage.Answered, node)
		for more && !stopped {
			page, ok := p.next(ctx, node, after, pageBytes)
			more, after = ok && page.Rest, last(&page)
			pass(page.Members)
		}
	}
	if stopped {
		return p.coverage, nil
	}
	return p.end()
}

// roomPages are the rooms of a node, sorted, that are not passed on.
type roomPages struct {
	node  string
	names []string
	last  string // of the page, where the next one begins
	rest  bool
}

// eachRoom is EachRoom, and returns the coverage too. It merges the sorted lists of the nodes.
func (ns *Namespace) eachRoom(ctx context.Context, yield func(string) bool) (Coverage, error) {
	if err := ns.ready(ctx); err != nil {
		return Coverage{}, err
	}
	own := &roomPages{node: ns.node.id, rest: true}
	lists := []*roomPages{own, {}} // the second is that of all foreign peers
	p := pages{ns: ns, req: &wire.Request{Op: wire.OpRooms}}
	limited, cancel := ns.deadline(ctx, 0)
	defer cancel()
	err := p.first(limited, func(r *wire.Response) {
		i := slices.IndexFunc(lists, func(l *roomPages) bool { return l.node == r.Node })
		if i < 0 {
			i = len(lists)
			lists = append(lists, &roomPages{node: r.Node})
		}
		l := lists[i]
		l.names = append(l.names, r.Rooms...)
		l.last, l.rest = last(r), r.Rest && !r.More && r.Node != ""
	}, func() {})
	if err != nil {
		return p.coverage, err
	}
	slices.Sort(lists[1].names)
	for _, l := range lists[2:] {
		l.rest = l.rest && slices.Contains(p.coverage.Answered, l.node)
	}
	for first := ""; ; {
		next := ""
		lists = slices.DeleteFunc(lists, func(l *roomPages) bool {
			for {
				for len(l.names) > 0 && l.names[0] <= first {
					l.names = l.names[1:]
				}
				if len(l.names) > 0 || !l.rest {
					break
				}
				ns.refill(ctx, &p, l)
			}
			if len(l.names) > 0 && (next == "" || l.names[0] < next) {
				next = l.names[0]
			}
			return len(l.names) == 0
		})
		if first = next; first == "" {
			return p.end()
		}
		if !yield(first) {
			return p.coverage, nil
		}
	}
}

// refill gets the next page of rooms, if there is one.
func (ns *Namespace) refill(ctx context.Context, p *pages, l *roomPages) {
	if l.node == ns.node.id {
		l.names, l.rest = ns.desk.RoomsPage(l.last, p.req.Page)
	} else {
		page, ok := p.next(ctx, l.node, l.last, p.req.Page)
		l.names, l.rest = page.Rooms, ok && page.Rest
	}
	l.last = last(&wire.Response{Rooms: l.names})
}
