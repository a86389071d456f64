package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// partBytes is the approximate size of the messages of a long list, and of the parts in which it is made.
const partBytes = 256 << 10

// shareLarge is the number of requesters that get the parts of a large list in turn. With more of
// them all would wait until the last one had the whole list.
const shareLarge = 8

// queryAll responds to queries with the same response, or passes them to the line for large
// responses.
func (d *Desk[M]) queryAll(list []*Request[M]) {
	if list = d.present(list, false); len(list) == 0 {
		return
	}
	d.o.Budget.few <- struct{}{}
	defer func() { <-d.o.Budget.few }()
	r := list[0].req
	if r.Page > 0 && r.Native && r.Op != wire.OpRoomsOf {
		d.page(list)
		return
	}
	switch r.Op {
	case wire.OpMembers:
		if r.CountOnly && r.Native {
			n := d.o.Rooms.Count(filterOf(r))
			for _, s := range list {
				s.Response.Count = n
				s.end()
			}
			return
		}
		if n := d.selected(r); n > largeList || r.Detail && n > largeDetail || !d.listMembers(list, maxSmall) {
			d.enlarge(list)
		}
	case wire.OpRooms:
		if _, n := d.o.Rooms.Counts(); n > largeList {
			d.enlarge(list)
		} else {
			d.listRooms(list)
		}
	case wire.OpRoomsOf:
		names, ok := d.o.Rooms.RoomsOf(r.Member)
		for _, s := range list {
			s.Response.Rooms, s.Response.NotFound = names, !ok
			s.end()
		}
	}
}

// selected returns the number of members that a request selects.
func (d *Desk[M]) selected(r *wire.Request) int {
	if n := d.o.Rooms.Len(); n <= largeDetail {
		return n
	}
	sel, _ := d.selections.Get().(*rooms.Selection[M])
	if sel == nil {
		sel = new(rooms.Selection[M])
	}
	defer d.selections.Put(sel)
	defer sel.Reset()
	sel.Find(d.o.Rooms, filterOf(r))
	return len(sel.List)
}

func filterOf(r *wire.Request) rooms.Filter {
	return rooms.Filter{Rooms: r.Rooms, All: r.All, Except: r.Except}
}

// enlarge passes queries with a large response to their line.
func (d *Desk[M]) enlarge(list []*Request[M]) {
	for _, s := range list {
		if !d.large.put(s, s.key(), d.queryLarge) {
			d.refuse(s)
		}
	}
}

// queryLarge responds to queries that have the same large response. A node makes one such response
// at a time.
func (d *Desk[M]) queryLarge(list []*Request[M]) {
	for len(list) > 0 {
		some := list[:min(shareLarge, len(list))]
		list = list[len(some):]
		d.o.Budget.large <- struct{}{}
		if some = d.present(some, true); len(some) > 0 {
			if some[0].req.Op == wire.OpRooms {
				d.listRooms(some)
			} else {
				d.listMembers(some, maxLarge)
			}
		}
		<-d.o.Budget.large
	}
}

// present returns the requests whose requesters wait for the response. Of the others, those that
// have waited too long are refused, and those whose requesters have left get no response. If count
// is set, the broker counts the subscribers of the response channel.
func (d *Desk[M]) present(list []*Request[M], count bool) (here []*Request[M]) {
	for _, s := range list {
		switch {
		case s.left():
			s.done(errLeft)
		case s.late():
			d.refuse(s)
		default:
			here = append(here, s)
		}
	}
	if !count || len(here) == 0 || !d.counts {
		return here
	}
	channels := make([]broker.Channel, len(here))
	for i, s := range here {
		channels[i] = d.o.Codec.ResponseChannel(d.o.Namespace, &s.Response)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.o.Context), d.o.Timeout)
	defer cancel()
	counts, err := d.o.Broker.Subscribers(ctx, channels...)
	if err != nil || len(counts) != len(here) {
		return here
	}
	all := here
	here = nil
	for i, s := range all {
		if counts[i] > 0 {
			here = append(here, s)
		} else {
			s.done(errLeft)
		}
	}
	return here
}

var errLeft = errors.New("the requester does not listen any more")

// listRooms carries out OpRooms.
func (d *Desk[M]) listRooms(list []*Request[M]) {
	names, limit := d.o.Rooms.Names(), d.part
	if !list[0].req.Native {
		limit = 0
	}
	send(list, len(names), limit, func(i int) int { return len(names[i]) + 4 }, func(r *wire.Response, from, to int) {
		r.Rooms = names[from:to]
	})
}

// listMembers carries out OpMembers. Descriptions are requested while the list is sent, so that a
// long list is never in memory as a whole. A requester that reads only one message gets what fits
// into most bytes. If most is maxSmall and not enough, listMembers returns false. If it is
// maxLarge, the other members are listed without descriptions.
func (d *Desk[M]) listMembers(list []*Request[M], most int) bool {
	r := list[0].req
	var sel rooms.Selection[M]
	infos := d.find(&sel, filterOf(r), r.Detail)
	said, sum, bare := 0, 0, 0
	size := func(i int) int {
		if m := &infos[i]; r.Detail && i >= said {
			if r.Native || sum < most {
				said = min(i+describeAtOnce, len(infos))
				d.describe(sel.List[i:said], infos[i:said])
			} else if m.Data == nil {
				bare++
			}
		}
		n := sizeOf(&infos[i])
		sum += n
		return n
	}
	limit := d.part
	if !r.Native {
		limit = 0
		for i := range infos {
			if size(i); sum > most && most == maxSmall {
				return false
			}
		}
		size = func(i int) int { return sizeOf(&infos[i]) }
	}
	if bare > 0 {
		list[0].report(fmt.Errorf("sent without what %d of %d members say: %w", bare, len(infos), &broker.PayloadError{Size: sum, Max: most}))
	}
	send(list, len(infos), limit, size, func(r *wire.Response, from, to int) {
		r.Members = infos[from:to]
		if from > 0 {
			clear(infos[:from]) // sent
		}
	})
	return true
}

// sizeOf returns the approximate size of a member in a message.
func sizeOf(m *wire.MemberInfo) int {
	sum := len(m.ID) + len(m.Data) + 16
	for _, room := range m.Rooms {
		sum += len(room) + 4
	}
	return sum
}

// send sends n elements to each requester that still waits, in parts of about limit bytes. If limit
// is zero, it sends one part.
func send[M any](list []*Request[M], n, limit int, size func(i int) int, put func(r *wire.Response, from, to int)) {
	failed := make([]error, len(list))
	for from, to := 0, 0; ; from = to {
		sum := 0
		for ; to < n && (limit == 0 || sum < limit || to == from); to++ {
			sum += size(to)
		}
		waiting := 0
		for i, s := range list {
			switch put(&s.Response, from, to); {
			case failed[i] != nil:
				continue
			case from > 0 && (s.late() || s.left()):
				failed[i] = errLeft
				continue
			case i > 0 && list[0].short != nil:
				failed[i] = s.like(list[0])
			default:
				s.Response.More, s.room = to < n, sum
				failed[i] = s.Reply(&s.Response)
			}
			waiting++
		}
		if to == n || waiting == 0 {
			break
		}
	}
	for i, s := range list {
		s.Response, s.short = wire.Response{}, nil
		s.done(failed[i])
	}
}

// Members lists the selected members; with detail, including their rooms and data.
func (d *Desk[M]) Members(f rooms.Filter, detail bool) []wire.MemberInfo {
	var sel rooms.Selection[M]
	infos := d.find(&sel, f, detail)
	if detail {
		d.describe(sel.List, infos)
	}
	return infos
}

// find finds the selected members and lists them; with detail, including their rooms. describe adds their data.
func (d *Desk[M]) find(sel *rooms.Selection[M], f rooms.Filter, detail bool) []wire.MemberInfo {
	var names [][]string
	if detail {
		names = sel.FindDetail(d.o.Rooms, f)
	} else {
		sel.Find(d.o.Rooms, f)
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
