package wire

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Selection selects members of the whole fleet and says how a broadcast travels. The zero Selection selects all
// members. It is a value: methods return changed copies and never write to slices that another Selection holds.
type Selection struct {
	// Rooms selects the members in any of them; empty means all members, or with Picked none.
	Rooms []string
	// Picked means that To was called.
	Picked bool
	// All selects, of these, the members that are in every one of these rooms.
	All []string
	// Except excludes the members in any of these rooms. A member's id is one of its rooms.
	Except []string
	// LocalOnly keeps a broadcast on this node; RemoteOnly excludes this node's members.
	LocalOnly, RemoteOnly bool
	Flags                 Flags
	// Header travels with a broadcast. It is neither changed nor kept.
	Header Header
	// Reason of a disconnect.
	Reason string
	// Relay is Broadcast.Relay.
	Relay string
	// Lead is Broadcast.Lead. The caller owns the memory again afterwards.
	Lead []byte
	// Selected, if not nil, gets the number of local members that a broadcast selects.
	Selected *int
}

// Nobody reports that no member can be selected: To was called without a room.
func (s *Selection) Nobody() bool { return s.Picked && len(s.Rooms) == 0 }

// To adds rooms.
func (s Selection) To(rooms ...string) Selection {
	s.Picked = true
	s.Rooms = append(s.Rooms[:len(s.Rooms):len(s.Rooms)], rooms...)
	return s
}

// InAll adds rooms to All.
func (s Selection) InAll(rooms ...string) Selection {
	s.All = append(s.All[:len(s.All):len(s.All)], rooms...)
	return s
}

// Not adds rooms to Except.
func (s Selection) Not(rooms ...string) Selection {
	s.Except = append(s.Except[:len(s.Except):len(s.Except)], rooms...)
	return s
}

// Options are what package adapter sets, besides its public options, when it opens a namespace.
type Options struct {
	// Codec of the protocol.
	Codec Codec
	// Rooms is the *rooms.Registry[backplane.Member] to use. Namespaces of nodes on different brokers that share one
	// registry have one set of members.
	Rooms any
	// Shared means that another namespace of this process counts the members of Rooms.
	Shared bool
	// NewMessage makes the *backplane.Message for a broadcast. The core fills it in, except Value, which stays
	// unchanged. The message may be part of something larger, which saves an allocation. NewMessage must not panic.
	// Nil means new(backplane.Message).
	NewMessage func() any
	// OnBroadcast, if set, is called for every readable broadcast from another node, whether or not it selects a local
	// member, in order. False drops the broadcast. b and all in it is valid only during the call. It must not block.
	OnBroadcast func(b *Broadcast) bool
	// OnBroadcastEnd, if set, is called for every broadcast that OnBroadcast did not drop, after the methods of all
	// selected local members have returned (except that of a stalled member) and before the next OnBroadcast. It must
	// not block.
	OnBroadcastEnd func()
	// OnLink, if set, is called in the same order: with the reason when broadcasts may be missed from here on, and
	// with nil when that has ended. It must not block.
	OnLink func(err error)
	// Note, if set, gets the lines for the log that are no errors, instead of the node's Logger. It must not block.
	Note func(note error)
}

// AckFuncs is backplane.AckFuncs.
type AckFuncs struct {
	Sent     func()
	Expected func(node string, n int)
	Value    func(node string, payload []byte)
}

// Namespace has the operations of package adapter on a namespace beyond the public methods of *backplane.Namespace.
// Errors are those of the public methods.
type Namespace interface {
	// Public returns the *backplane.Namespace.
	Public() any
	Broadcast(ctx context.Context, payload []byte, s Selection) error
	// Disconnect is that of the public methods, with a reason.
	Disconnect(ctx context.Context, id string, close bool, reason string) error
	// BroadcastAck is BroadcastAckFunc. It returns a *backplane.Acks.
	BroadcastAck(ctx context.Context, payload []byte, s Selection, timeout time.Duration, on AckFuncs) (any, error)
	// EachMember is the loop of EachMember. yield returns false to end it. It returns a backplane.Coverage.
	EachMember(ctx context.Context, s Selection, yield func(MemberInfo) bool) (any, error)
	// EachRoom is the loop of EachRoom, like EachMember.
	EachRoom(ctx context.Context, yield func(string) bool) (any, error)
	// Foreign counts the foreign peers of the namespace, and those of them that have a response channel of their own.
	// It returns zero where the broker cannot count. While the link is interrupted it does not wait for the broker:
	// the error comes at once.
	Foreign(ctx context.Context) (Unannounced, error)
}

// Node has the operations of packages adapter and hub on a node beyond the public methods of *backplane.Node.
type Node interface {
	// Lease returns since when this node has received its own heartbeats without a gap, and until when nodes that
	// receive the same do not report it as lost. A node that was stopped or cut off has a new since afterwards. Both
	// are zero before the first own heartbeat. To find out whether the lease still holds, use Holds.
	Lease() (since, until time.Time)
	// Holds reports whether the lease that began at since holds at this moment.
	Holds(since time.Time) bool
	// PeersChanged returns a channel that is closed when KnownPeers may have changed.
	PeersChanged() <-chan struct{}
	// Leave announces to the other nodes that this one drains, and ends Health.Ready. It returns false if that was done.
	Leave() bool
	// Notes makes f get the lines for the log about outages, each an *errorlog.Note, instead of the node's Logger. Call
	// it before the node starts. f must not block.
	Notes(f func(note error))
	// Since returns when the node was made, as other nodes see it in Peer.Since.
	Since() time.Time
	// Open is backplane.Node.Namespace with more options. public is a
	// *backplane.NamespaceOptions.
	Open(ctx context.Context, name string, public any, o *Options) (Namespace, error)
}

// NodeOf returns the internal operations of a *backplane.Node. Package backplane sets it when it is initialised; only
// packages adapter and hub call it. So none of this is in the documentation of any of them.
var NodeOf func(node any) Node

// Sender publishes into namespaces without joining them: the sending half of the core. It sets Origin, and NoReply of
// a request. Errors are those of backplane.Emitter.
type Sender interface {
	Broadcast(ctx context.Context, ns string, b *Broadcast) error
	Request(ctx context.Context, ns string, r *Request) error
	Close(ctx context.Context) error
}

// FromAdapter makes the text of an error of package backplane begin with "adapter: ". It changes and returns err. Package
// backplane sets it, like NodeOf.
var FromAdapter func(err error) error

// CauseOf and Merged are those of an errorlog.Limiter for errors of package backplane, which sets them, like NodeOf.
var (
	CauseOf func(err error) any
	Merged  func(waiting, err error) error
)

// PanicStack returns the stack of a *backplane.PanicError; nil for other errors. Package backplane sets it, like NodeOf.
var PanicStack func(err error) []byte

// NewSender makes a Sender with the id id. opts is a *backplane.EmitterOptions. Package backplane sets it, like NodeOf.
var NewSender func(b broker.Broker, id string, c Codec, opts any) (Sender, error)
