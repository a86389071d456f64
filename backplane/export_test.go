package backplane

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane/internal/inbound"
	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/backplane/internal/serve"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/wire"
)

// InboundMessages is how many messages an inbound queue holds.
const InboundMessages = inbound.MaxMessages

// MaxWaiting and MaxWaitingBytes are how many requests wait in one line.
const (
	MaxWaiting      = serve.MaxWaiting
	MaxWaitingBytes = serve.MaxWaitingBytes
)

// NativeCodec is the codec of a namespace without one.
func NativeCodec() wire.Codec { return nativeCodec{} }

// DecodeControl reads a control frame as a node does.
var DecodeControl = membership.DecodeFrame

// CompareInRing compares the places of two nodes.
var CompareInRing = membership.CompareInRing

// RewriteControl reads a control frame and writes what it read.
var RewriteControl = membership.RewriteFrame

// HandleForTest has a namespace take in one message as if its worker had
// taken it from the queue. Nothing else may be under way.
func (ns *Namespace) HandleForTest(ch broker.Channel, payload []byte) {
	ns.inbound.queue.Handle(ch, payload)
}

// PlacesOf is how many names it takes to select members.
func PlacesOf(ns *Namespace, in, except []string) int {
	var s selection
	s.Find(ns.rooms, in, except)
	return s.Places()
}

var benchSelection selection

// EntriesOf selects members as a broadcast does.
func EntriesOf(ns *Namespace, in []string) []*entry {
	benchSelection.Find(ns.rooms, in, nil)
	return benchSelection.List
}

// RoomsKept is how many room names memory is kept for between messages.
func (ns *Namespace) RoomsKept() int { return cap(ns.inbound.in.Rooms) }

// WantsForTest asks a namespace's receiver what a broker may ask it.
func (ns *Namespace) WantsForTest(ch broker.Channel) bool { return ns.inbound.queue.Wants(ch) }

// Ghosts is how many are remembered.
func (n *Node) Ghosts() int {
	_, _, dead := n.members.Audit()
	return dead
}

// Kept is how much memory the lists of other nodes are charged for, and how much that
// is, peer by peer.
func (n *Node) Kept() (kept, sum int) {
	kept, sum, _ = n.members.Audit()
	return kept, sum
}

// Table is a node whose peer table a test feeds.
type Table struct{ *Node }

// NewTable makes one that runs nothing.
func NewTable(t testing.TB) Table {
	n, err := New(memorybroker.New(nil), &Options{ID: "me"})
	require.NoError(t, err)
	return Table{n}
}

// Take has the table take in a frame.
func (t Table) Take(frame []byte, direct bool) {
	ch := broker.Control()
	if direct {
		ch = broker.NodeControl(t.id)
	}
	t.members.Take(ch, frame)
}

// Proof is a frame with which a node proves itself.
func (t Table) Proof(id string) []byte { return t.members.Proof(id) }

// Strangers is how many nodes are known that have not proved themselves.
func (t Table) Strangers() int { return t.members.Strange() }

// Expire lets all peers expire.
func (t Table) Expire() { t.members.ExpireAll() }

// SelectionOf is what a target selects.
func SelectionOf(t Target) wire.Selection { return t.sel }

// Foreign is what package adapter reaches.
func Foreign(ctx context.Context, ns *Namespace) (wire.Unannounced, error) {
	return namespaceDoor{ns}.Foreign(ctx)
}
