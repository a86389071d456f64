package backplane

import (
	"fmt"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/rooms"
)

// nodeEvents handles the events of membership for a node.
type nodeEvents struct{ n *Node }

func (e nodeEvents) Left(id string, from []membership.Namespace) {
	for _, ns := range e.n.live() {
		if from == nil || slices.Contains(from, ns.key()) {
			ns.requests.Lost(id)
		}
	}
}

func (e nodeEvents) Interrupted(err error) {
	e.n.health.interrupted(controlKey, err)
	e.n.monitor.Report(&InterruptedError{Err: err})
	if o := e.n.monitor.Observers.Link; o != nil {
		e.n.monitor.Observed("Interrupted", func() { o.Interrupted("", err) })
	}
}

func (e nodeEvents) Resumed(lasted time.Duration) {
	e.n.health.resumed(controlKey)
	if o := e.n.monitor.Observers.Link; o != nil {
		e.n.monitor.Observed("Resumed", func() { o.Resumed("", lasted) })
	}
}

func (e nodeEvents) Unreadable(ch broker.Channel, err error) {
	e.n.monitor.Undecodable.Add(1)
	e.n.monitor.Report(&MessageError{Channel: ch, Err: err})
}

func (e nodeEvents) Foreign() { e.n.monitor.Foreign.Add(1) }

func (e nodeEvents) Duplicate(since time.Time) {
	e.n.monitor.Report(&OpError{Op: "announce", Name: e.n.id, Err: fmt.Errorf("%w, which started at %s", ErrDuplicateID, since.Format(time.RFC3339Nano))})
}

func (e nodeEvents) Overflowed() { e.n.monitor.MembershipLost.Add(1) }

func (e nodeEvents) Incomplete(lost, refused int) {
	e.n.monitor.MembershipLost.Add(uint64(refused))
	report := func(n int, err error) {
		if n > 0 {
			e.n.monitor.Report(&OpError{Op: "read announcements", Err: err, More: n - 1})
		}
	}
	report(lost, ErrOverflow)
	report(refused, ErrTooLarge)
}

func (e nodeEvents) Proven() { e.n.health.changed() }

func (e nodeEvents) Counted(err error) { e.n.health.count(err) }

func (e nodeEvents) Unsent(err error) { e.n.monitor.Report(&OpError{Op: "announce", Err: err}) }

// peerChanged returns what membership calls for each change of a peer; nil if no observer wants that.
func (n *Node) peerChanged() func(c membership.Change, id string) {
	if n.monitor.Observers.Change == nil {
		return nil
	}
	kinds := [...]observe.ChangeKind{
		membership.Joined: observe.PeerJoined, membership.Drains: observe.PeerLeaving, membership.Departed: observe.PeerLeft,
		membership.Lost: observe.PeerLost, membership.Returned: observe.PeerReturned,
	}
	return func(c membership.Change, id string) { n.monitor.Changed(observe.Change{Kind: kinds[c], Peer: id}) }
}

// roomChanged notes a change of the namespace's rooms.
func (ns *Namespace) roomChanged(c rooms.Change, room, member string) {
	kinds := [...]observe.ChangeKind{
		rooms.Created: observe.RoomCreated, rooms.Joined: observe.MemberJoined, rooms.Left: observe.MemberLeft, rooms.Deleted: observe.RoomDeleted,
	}
	ns.node.monitor.Changed(observe.Change{Kind: kinds[c], Namespace: ns.name, Room: room, Member: member})
}

// observedNode is a node as observers see it.
type observedNode struct{ n *Node }

func (o observedNode) Source() *observe.Source { return o.n.monitor.Source }

func (o observedNode) Snapshot() observe.Snapshot {
	s := observe.Snapshot{
		Stats: o.n.Stats(), Broker: o.n.broker.Stats(), Peers: len(o.n.members.Peers()),
		LastMessage: o.n.members.LastMessage(),
	}
	for _, ns := range o.n.live() {
		members, rooms := ns.rooms.Counts()
		interest := ns.interest.Stats()
		s.Namespaces = append(s.Namespaces, observe.Namespace{
			Name: ns.name, Protocol: ns.protocol.String(), Members: members, Rooms: rooms, Shared: ns.extra.Shared,
			Dynamic: interest.Dynamic, RoomSubscriptions: interest.Rooms, ModeChanges: interest.Changes,
			LastMessage: ns.inbound.queue.Last(),
		})
	}
	return s
}
