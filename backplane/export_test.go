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

// MaxWaiting and MaxWaitingBytes are the limits of one queue of requests.
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

// HandleForTest makes a namespace handle one message as if its worker had taken it from the queue.
// No other message may be in progress.
func (ns *Namespace) HandleForTest(ch broker.Channel, payload []byte) {
	ns.inbound.queue.Handle(ch, payload)
}

// PlacesOf returns the number of names that a selection resolves.
func PlacesOf(ns *Namespace, in, except []string) int {
	var s selection
	s.Find(ns.rooms, filter{Rooms: in, Except: except})
	return s.Places()
}

var benchSelection selection

// EntriesOf selects members as a broadcast does.
func EntriesOf(ns *Namespace, in []string) []*entry {
	benchSelection.Find(ns.rooms, filter{Rooms: in})
	return benchSelection.List
}

// RoomsKept is the number of room names for which memory is kept between messages.
func (ns *Namespace) RoomsKept() int { return cap(ns.inbound.in.Rooms) }

// WantsForTest calls Wants of a namespace's receiver, as a broker does.
func (ns *Namespace) WantsForTest(ch broker.Channel) bool { return ns.inbound.queue.Wants(ch) }

// Ghosts returns the number of remembered ghosts.
func (n *Node) Ghosts() int {
	_, _, dead := n.members.Audit()
	return dead
}

// Kept returns the recorded memory of the lists of other nodes, and its sum peer by peer.
func (n *Node) Kept() (kept, sum int) {
	kept, sum, _ = n.members.Audit()
	return kept, sum
}

// Table is a node whose peer table a test feeds.
type Table struct{ *Node }

// NewTable makes a table without goroutines.
func NewTable(t testing.TB) Table {
	n, err := New(memorybroker.New(nil), &Options{ID: "me"})
	require.NoError(t, err)
	return Table{n}
}

// Take makes the table handle a frame.
func (t Table) Take(frame []byte, direct bool) {
	ch := broker.Control()
	if direct {
		ch = broker.NodeControl(t.id)
	}
	t.members.Take(ch, frame)
}

// Proof is a frame with which a node proves itself.
func (t Table) Proof(id string) []byte { return t.members.Proof(id) }

// Strangers returns the number of known nodes that have not proved themselves.
func (t Table) Strangers() int { return t.members.Strange() }

// Expire makes all peers expire.
func (t Table) Expire() { t.members.ExpireAll() }

// SelectionOf returns the selection of a target.
func SelectionOf(t Target) wire.Selection { return t.sel }

// Foreign returns the internal operations that package adapter uses.
func Foreign(ctx context.Context, ns *Namespace) (wire.Unannounced, error) {
	return namespaceDoor{ns}.Foreign(ctx)
}

// Refusal returns the reason for a missing node that responded with an error.
func Refusal(text string) error { return &refusal{text} }
