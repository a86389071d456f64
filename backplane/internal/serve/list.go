package serve

import (
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// partBytes is the approximate size of the messages of a long list, and of the parts in which it is made.
const partBytes = 256 << 10

// queryAll responds to queries with the same response.
func (d *Desk[M]) queryAll(list []*Request[M]) {
	switch r := list[0].req; r.Op {
	case wire.OpMembers:
		for len(list) > 0 {
			list = d.listMembers(list)
		}
	case wire.OpRoomsOf:
		names, ok := d.o.Rooms.RoomsOf(r.Member)
		for _, s := range list {
			s.Response.Rooms, s.Response.NotFound = names, !ok
			s.end()
		}
	case wire.OpRooms:
		d.listRooms(list)
	}
}

// shareLarge is how many requesters get the parts of a long list with details in turn. With more of them all would
// have to wait until the last one had everything.
const shareLarge = 8

// listRooms serves OpRooms.
func (d *Desk[M]) listRooms(list []*Request[M]) {
	names, limit := d.o.Rooms.Names(), d.part
	if !list[0].req.Native {
		limit = 0
	}
	sendParts(list, len(names), limit, func(i int) int { return len(names[i]) + 4 }, func(r *wire.Response, from, to int) {
		r.Rooms = names[from:to]
	})
}

// listMembers serves OpMembers. It calls Describe of the members while it sends the list, so that a long list is never
// in memory as a whole. A requester that accepts only one message is the exception: one such response is made at a
// time. It returns the requests without a response.
func (d *Desk[M]) listMembers(list []*Request[M]) (rest []*Request[M]) {
	r := list[0].req
	var sel rooms.Selection[M]
	infos := d.find(&sel, r.Rooms, r.Except, r.Detail)
	limit := d.part
	if !r.Native {
		limit = 0
	}
	said := 0
	size := func(i int) int {
		if r.Detail && i >= said {
			to := min(i+describeAtOnce, len(infos))
			d.describe(sel.List[i:to], infos[i:to])
			said = to
		}
		m := &infos[i]
		sum := len(m.ID) + len(m.Data) + 16
		for _, room := range m.Rooms {
			sum += len(room) + 4
		}
		return sum
	}
	if r.Detail && len(infos) > describeAtOnce {
		few := min(shareLarge, len(list))
		list, rest = list[:few], list[few:]
		if limit == 0 {
			d.o.Large <- struct{}{}
			defer func() { <-d.o.Large }()
		}
	}
	sendParts(list, len(infos), limit, size, func(r *wire.Response, from, to int) {
		r.Members = infos[from:to]
		if from > 0 {
			clear(infos[:from]) // sent
		}
	})
	return rest
}

// sendParts sends n elements to each requester, in parts of about limit bytes; zero means in one.
func sendParts[M any](list []*Request[M], n, limit int, size func(i int) int, put func(r *wire.Response, from, to int)) {
	failed := make([]error, len(list))
	for from, to := 0, 0; ; from = to {
		for sum := 0; to < n && (limit == 0 || sum < limit || to == from); to++ {
			sum += size(to)
		}
		for i, s := range list {
			switch put(&s.Response, from, to); {
			case failed[i] != nil:
			case i > 0 && list[0].short != nil:
				failed[i] = s.like(list[0])
			default:
				s.Response.More = to < n
				failed[i] = s.Reply(&s.Response)
			}
		}
		if to == n {
			break
		}
	}
	for i, s := range list {
		s.Response, s.short = wire.Response{}, nil
		s.done(failed[i])
	}
}

// Members lists the selected members; with detail, including their rooms and data.
func (d *Desk[M]) Members(in, except []string, detail bool) []wire.MemberInfo {
	var sel rooms.Selection[M]
	infos := d.find(&sel, in, except, detail)
	if detail {
		d.describe(sel.List, infos)
	}
	return infos
}

// find finds the selected members and lists them; with detail, including their rooms. describe adds their data.
func (d *Desk[M]) find(sel *rooms.Selection[M], in, except []string, detail bool) []wire.MemberInfo {
	var names [][]string
	if detail {
		names = sel.FindDetail(d.o.Rooms, in, except)
	} else {
		sel.Find(d.o.Rooms, in, except)
	}
	infos := make([]wire.MemberInfo, len(sel.List))
	for i, e := range sel.List {
		infos[i] = wire.MemberInfo{ID: e.ID(), Node: d.o.Node}
		if detail {
			infos[i].Rooms = names[i]
		}
	}
	return infos
}
