package observe

// Change is a change of the fleet, or of the rooms of a node's members. Its values may be kept.
type Change struct {
	Source *Source
	Kind   ChangeKind
	// Peer is the id of the other node; empty for changes of rooms.
	Peer string
	// Namespace, Room and Member are about rooms; empty for changes of peers. Member is empty for RoomCreated and
	// RoomDeleted.
	Namespace, Room, Member string
	// Lost is the number of changes before this one that the observer did not get, because it was too slow. They are
	// counted in Stats.ChangesLost. To know the state again, the observer must ask for it: Node.KnownPeers,
	// Namespace.LocalRooms, Namespace.LocalRoomsOf.
	Lost int
}

// ChangeKind is a kind of Change.
type ChangeKind uint8

const (
	// PeerJoined: another node has become known, as in Node.KnownPeers.
	PeerJoined ChangeKind = iota + 1
	// PeerLeaving: it has announced that it drains.
	PeerLeaving
	// PeerLeft: it has said goodbye.
	PeerLeft
	// PeerLost: it sent no sign of life for PeerTimeout, or another node with its id has replaced it.
	PeerLost
	// PeerReturned: a lost node is back, or a node is active after another process has sent a goodbye in its name.
	PeerReturned
	// RoomCreated: the first member of this node is about to join the room. MemberJoined follows.
	RoomCreated
	// MemberJoined: a member of this node has joined the room. Each member joins the room of its own id when it is
	// added.
	MemberJoined
	// MemberLeft: a member of this node has left the room, or was removed.
	MemberLeft
	// RoomDeleted: the last member of this node has left the room. MemberLeft came before.
	RoomDeleted
)

// String returns the kind's name.
func (k ChangeKind) String() string {
	names := [...]string{"none", "peer joined", "peer leaving", "peer left", "peer lost", "peer returned", "room created", "member joined", "member left", "room deleted"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}
