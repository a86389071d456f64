package backplane

import "github.com/crossroom/crossroom/broker"

// LaneMessages is how many messages a lane's queue holds.
const LaneMessages = laneMessages

// MaxWaiting is how many requests wait in one line.
const MaxWaiting = maxWaiting

// NativeCodec is the codec of a namespace without one.
func NativeCodec() Codec { return nativeCodec{} }

// DecodeControl reads a control frame as a node does.
func DecodeControl(payload []byte) error {
	var f controlFrame
	return f.decode(payload)
}

// RewriteControl reads a control frame and writes what it read.
func RewriteControl(payload []byte) ([]byte, error) {
	var f controlFrame
	if err := f.decode(payload); err != nil {
		return nil, err
	}
	return f.append(nil), nil
}

// HandleForTest has a namespace take in one message as if its lane's goroutine had
// taken it from the queue. Nothing else may be under way.
func (ns *Namespace) HandleForTest(ch broker.Channel, payload []byte) {
	if ch.Kind() == broker.KindRequests {
		ns.lane.requests.Add(1)
	}
	ns.lane.handle(&item{ch: ch, payload: payload})
}

// PlacesOf is how many names it takes to select members.
func PlacesOf(r *Rooms, rooms, except []string) int {
	var s selection
	s.find(r, rooms, except)
	return len(s.seen) + len(s.except)
}

// LaneKeeps is how many room names the lane keeps memory for between messages.
func (ns *Namespace) LaneKeeps() int { return cap(ns.lane.in.Rooms) }

// WantsForTest asks a namespace's receiver what a broker may ask it.
func (ns *Namespace) WantsForTest(ch broker.Channel) bool { return ns.lane.Wants(ch) }

// Ghosts is how many are remembered.
func (n *Node) Ghosts() int {
	n.peers.mu.Lock()
	defer n.peers.mu.Unlock()
	return len(n.peers.ghosts)
}
