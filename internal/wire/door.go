package wire

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// Selection selects members of the whole fleet and says how a broadcast travels. The zero
// Selection is everybody. It is a value: methods return changed copies and never write
// to slices that another Selection holds.
type Selection struct {
	// Rooms: members in any of them; empty means everybody.
	Rooms []string
	// Except: but no member in any of these. A member's id is one of its rooms.
	Except []string
	// LocalOnly keeps a broadcast on this node, RemoteOnly off its own members.
	LocalOnly, RemoteOnly bool
	Flags                 Flags
	// Header travels with a broadcast. It is not changed and not kept.
	Header Header
	// Relay is Broadcast.Relay.
	Relay string
	// Lead is Broadcast.Lead. The memory is the caller's again afterwards.
	Lead []byte
}

// To adds rooms.
func (s Selection) To(rooms ...string) Selection {
	s.Rooms = append(s.Rooms[:len(s.Rooms):len(s.Rooms)], rooms...)
	return s
}

// Not adds rooms to Except.
func (s Selection) Not(rooms ...string) Selection {
	s.Except = append(s.Except[:len(s.Except):len(s.Except)], rooms...)
	return s
}

// Options are what package adapter sets when it opens a namespace, beside its public
// options.
type Options struct {
	// Codec of the protocol.
	Codec Codec
	// Rooms is the *rooms.Registry[backplane.Member] to use. Namespaces of nodes on different brokers that
	// share one have one set of members.
	Rooms any
	// Shared: another namespace of this process counts the members of Rooms.
	Shared bool
	// NewMessage makes the *backplane.Message for a broadcast, which the core fills in;
	// only Value stays as it is. The message may be part of something larger, which saves an
	// allocation. It must not panic. nil: new(backplane.Message).
	NewMessage func() any
	// OnBroadcast, if set, is called for every readable broadcast from another
	// node, whether or not it is for a member here, in order; false ends it here.
	// b and all in it is valid only during the call. It must not block.
	OnBroadcast func(b *Broadcast) bool
	// OnBroadcastEnd, if set, is called for every broadcast that OnBroadcast did not
	// end, when the members here that it is for have been called: after their methods
	// have returned, but for one that has stalled, and before the next OnBroadcast. It
	// must not block.
	OnBroadcastEnd func()
	// OnLink, if set, is called in the same order: when broadcasts may be missed from
	// here on, with the reason, and with nil when that has ended. It must not block.
	OnLink func(err error)
}

// Namespace is what package adapter can do with a namespace beside the public methods of
// *backplane.Namespace. Errors are those of the public methods.
type Namespace interface {
	// Public returns the *backplane.Namespace.
	Public() any
	Broadcast(ctx context.Context, payload []byte, s Selection) error
	// BroadcastAck returns a *backplane.Acks.
	BroadcastAck(ctx context.Context, payload []byte, s Selection, timeout time.Duration) (any, error)
	// Foreign counts the foreign peers of the namespace, and those of them that hold a
	// response channel of their own. There are none where the broker cannot count. While
	// the link is interrupted it does not wait for the broker: the error comes at once.
	Foreign(ctx context.Context) (Unannounced, error)
}

// Node is what package adapter can do with a node beside the public methods of
// *backplane.Node.
type Node interface {
	// Lease returns since when this node has received its own heartbeats without a gap,
	// and until when nodes that receive the same do not take it for dead. A node that was
	// stopped or cut off has a new since afterwards. Both are zero before the first
	// heartbeat came back. To find out whether the lease still holds, use Holds.
	Lease() (since, until time.Time)
	// Holds reports whether the lease that began at since holds at this moment.
	Holds(since time.Time) bool
	// Since returns when the node was made, as other nodes see it in Peer.Since.
	Since() time.Time
	// Open is backplane.Node.Namespace with more options. public is a
	// *backplane.NamespaceOptions.
	Open(ctx context.Context, name string, public any, o *Options) (Namespace, error)
}

// NodeOf returns what else a *backplane.Node can do. Package backplane sets it when it is
// initialised; only package adapter calls it. So none of this is in the documentation of
// either.
var NodeOf func(node any) Node

// Sender publishes into namespaces from outside of them: the sending half of the core. It
// sets Origin, and NoReply of a request. Errors are those of backplane.Emitter.
type Sender interface {
	Broadcast(ctx context.Context, ns string, b *Broadcast) error
	Request(ctx context.Context, ns string, r *Request) error
}

// NewSender makes a Sender that calls itself id. Package backplane sets it, as NodeOf.
var NewSender func(b broker.Broker, id string, c Codec, list []observe.Observer) (Sender, error)
