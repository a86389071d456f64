package backplane

import "github.com/crossroom/crossroom/internal/wire"

// partBytes is about how large the messages are in which a long list is sent, and how
// much of it is made at a time.
const partBytes = 256 << 10

// part returns the size that a node's lists are cut into.
func (n *Node) part() int {
	if n.limit > 0 {
		return min(partBytes, max(n.limit/2, 1))
	}
	return partBytes
}

// queryAll answers queries that have the same answer.
func queryAll(list []*served) {
	switch ns, r := list[0].ns, list[0].req; r.Op {
	case wire.OpMembers:
		for len(list) > 0 {
			list = ns.listMembers(list)
		}
	case wire.OpRoomsOf:
		rooms, ok := ns.rooms.RoomsOf(r.Member)
		for _, s := range list {
			s.resp.Rooms, s.resp.NotFound = rooms, !ok
			s.end()
		}
	case wire.OpRooms:
		ns.listRooms(list)
	}
}

// shareLarge is how many askers get the parts of a long list with details in turn. With
// more of them all would have to wait until the last one had everything.
const shareLarge = 8

// listRooms answers OpRooms.
func (ns *Namespace) listRooms(list []*served) {
	rooms, limit := ns.rooms.Names(), ns.node.part()
	if !list[0].req.Native {
		limit = 0
	}
	sendParts(list, len(rooms), limit, func(i int) int { return len(rooms[i]) + 4 }, func(r *wire.Response, from, to int) {
		r.Rooms = rooms[from:to]
	})
}

// listMembers answers OpMembers. What members say of themselves is asked for as it is
// sent, so that a long list is nowhere as a whole, unless the asker takes but one message:
// then one such answer is made at a time. It returns those that are not answered yet.
func (ns *Namespace) listMembers(list []*served) (rest []*served) {
	r, n := list[0].req, ns.node
	var sel selection
	infos := ns.find(&sel, r.Rooms, r.Except, r.Detail)
	limit := n.part()
	if !r.Native {
		limit = 0
	}
	said := 0
	size := func(i int) int {
		if r.Detail && i >= said {
			to := min(i+describeAtOnce, len(infos))
			ns.describe(sel.List[i:to], infos[i:to])
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
			n.large <- struct{}{}
			defer func() { <-n.large }()
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

// sendParts sends n elements to each asker, in parts of about limit bytes; zero: in one.
func sendParts(list []*served, n, limit int, size func(i int) int, put func(r *wire.Response, from, to int)) {
	failed := make([]error, len(list))
	for from, to := 0, 0; ; from = to {
		for sum := 0; to < n && (limit == 0 || sum < limit || to == from); to++ {
			sum += size(to)
		}
		for i, s := range list {
			switch put(&s.resp, from, to); {
			case failed[i] != nil:
			case i > 0 && list[0].short != nil:
				failed[i] = s.like(list[0])
			default:
				s.resp.More = to < n
				failed[i] = s.reply(&s.resp)
			}
		}
		if to == n {
			break
		}
	}
	for i, s := range list {
		s.resp, s.short = wire.Response{}, nil
		s.done(failed[i])
	}
}

// find finds the selected members and lists them; with rooms if detail. What they say of
// themselves is the teller's.
func (ns *Namespace) find(sel *selection, rooms, except []string, detail bool) []wire.MemberInfo {
	var names [][]string
	if detail {
		names = sel.FindDetail(ns.rooms, rooms, except)
	} else {
		sel.Find(ns.rooms, rooms, except)
	}
	infos := make([]wire.MemberInfo, len(sel.List))
	for i, e := range sel.List {
		infos[i] = wire.MemberInfo{ID: e.ID(), Node: ns.node.id}
		if detail {
			infos[i].Rooms = names[i]
		}
	}
	return infos
}
