package serve

import (
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// page responds to queries for the same page. A page takes no place among the large responses: the node keeps nothing
// for the next one.
func (d *Desk[M]) page(list []*Request[M]) {
	r := list[0].req
	var p wire.Response
	if r.Op == wire.OpRooms {
		p.Rooms, p.Rest = d.RoomsPage(r.After, r.Page)
	} else {
		p.Members, p.Rest = d.MembersPage(filterOf(r), r.After, r.Page, r.Detail)
	}
	for _, s := range list {
		s.Response.Rooms, s.Response.Members, s.Response.Rest = p.Rooms, p.Members, p.Rest
		s.room = min(r.Page, d.part)
		s.end()
	}
}

// Approximate sizes of the smallest elements of a page in a message.
const (
	leastMember = 16
	leastName   = 4
)

// MembersPage lists the selected members in the order of their ids, those after the id after, with about that many
// bytes and at least one; with detail, including their rooms and data. rest reports that there are more.
func (d *Desk[M]) MembersPage(f rooms.Filter, after string, bytes int, detail bool) (infos []wire.MemberInfo, rest bool) {
	bytes = min(max(bytes, 1), d.part)
	var sel rooms.Selection[M]
	names, rest := sel.FindPage(d.o.Rooms, f, after, 1+bytes/leastMember, detail)
	infos = make([]wire.MemberInfo, 0, len(sel.List))
	for sum := 0; len(infos) < len(sel.List); {
		if sum >= bytes {
			return infos, true
		}
		from := len(infos)
		some := sel.List[from:min(from+describeAtOnce, len(sel.List))]
		for i, e := range some {
			infos = append(infos, wire.MemberInfo{ID: e.ID(), Node: d.o.Node})
			if detail {
				infos[from+i].Rooms = names[from+i]
			}
		}
		if detail {
			d.describe(some, infos[from:])
		}
		for i := from; i < len(infos); i++ {
			if sum >= bytes {
				return infos[:i], true
			}
			sum += sizeOf(&infos[i])
		}
	}
	return infos, rest
}

// RoomsPage is MembersPage for the names of all rooms.
func (d *Desk[M]) RoomsPage(after string, bytes int) (names []string, rest bool) {
	bytes = min(max(bytes, 1), d.part)
	names, rest = d.o.Rooms.NamesPage(after, 1+bytes/leastName)
	sum := 0
	for i, name := range names {
		if sum >= bytes {
			return names[:i], true
		}
		sum += len(name) + 4
	}
	return names, rest
}
