package backplane

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// Options of a node. The zero value, and nil, are good defaults. New copies it.
type Options struct {
	// ID of the node. It must be unique among all nodes that ever share a broker, also after a restart, in valid
	// UTF-8, at most 128 bytes, without '#'. Empty means Name and random characters, which is right unless one process
	// is on several brokers as the same node.
	ID string
	// Name is a readable part of the id: letters, digits, '.', '-' and '_', at most 64 bytes. Empty means the name of
	// the host, in which a '-' replaces each other character.
	Name string
	// Logger logs the errors that OnError gets: a panic of a callback at level error with its stack, others as
	// warnings, and an outage in two lines. Nil means slog.Default(), or no log if OnError or OnErrorContext is set.
	// For silence set slog.New(slog.DiscardHandler).
	Logger *slog.Logger
	// OnError gets each error that no call returns: outages (*InterruptedError), lost messages (*broker.LossError),
	// callbacks that panic (*PanicError), messages that are unreadable or have no valid signature (*MessageError), and
	// *OpErrors: members that do not return (ErrStalled), refused operations (ErrRefused), other nodes with this node's
	// id (ErrDuplicateID), lost announcements of other nodes (ErrOverflow), and responses that cannot be sent. Calls
	// come one at a time on one goroutine that does nothing else. The first four errors of a cause come at once, and
	// those that follow as one in a second, with their number. Errors beyond 256 waiting ones, and beyond 256 causes in
	// a second, are counted in Stats.Unreported. Node.Close waits for the waiting calls until its context ends, so
	// OnError must not call it.
	OnError func(error)
	// OnErrorContext, if set, is called instead of OnError. ctx belongs to the failed operation: it has the observer's
	// values, such as a span, but may have ended.
	OnErrorContext func(context.Context, error)
	// Keys, if not nil, sign all that the node sends and verify all that it receives: see "Signing" in the package
	// documentation. What is not signed with one of them is refused: counted in Stats.Unverified, and reported as a
	// *MessageError.
	Keys *Keyring
	// Unsigned are the operations that the node accepts from foreign peers (Node.js servers), which cannot sign. The
	// zero value is none. It has no effect on fleets of Crossroom nodes only.
	Unsigned Operations
	// UnsignedNodes makes the node accept unsigned messages of Crossroom nodes as well, so that a fleet can begin to
	// sign without a gap. Then nothing is proved: end it when all nodes sign.
	UnsignedNodes bool
	// Observers are called for the node's operations, in this order: for tracing, metrics, tests. See package observe.
	Observers []observe.Observer
	// RequestsTimeout limits a request to the fleet, unless its context ends earlier. Zero means 1 s. Negative is an
	// error.
	RequestsTimeout time.Duration
	// Heartbeat is the interval of the node's signs of life, which go to the three nodes that watch it, and in fleets
	// of up to five nodes to all. All nodes of a fleet should have the same. Zero means 1 s. Negative is an error.
	Heartbeat time.Duration
	// PeerTimeout is the time without a sign of life after which another node is reported as lost and forgotten. On
	// any broker, all nodes know of a crash without goodbye after at most PeerTimeout + Heartbeat/2, which is 4 s by
	// default, and no request waits for that node any more. Zero means 3.5 × Heartbeat. It must be longer than
	// Heartbeat; negative is an error.
	PeerTimeout time.Duration
	// StallTimeout limits a member's method, when a message of another node is delivered, before the node continues
	// without the member. It may take up to an eighth longer; time in which the process is stopped does not count.
	// Inbound messages wait this long behind a blocked member. Keep it well below RequestsTimeout. Zero means two
	// fifths of RequestsTimeout, but at least 50 ms and at most 1 s. Negative means no limit.
	StallTimeout time.Duration
}

// NamespaceOptions are the options of one namespace on one node. Node.Namespace copies them.
type NamespaceOptions struct {
	// Prepare is called once for each message before its delivery to at least one local member, local broadcasts
	// included. It may set m.Value to data that all of these members need, such as a compressed WebSocket frame, so
	// that it is made once. It is called like a member's method and must not block.
	Prepare func(m *Message)
	// OnRequest serves Namespace.Request of other nodes. Its calls run on goroutines of their own, at most 256 at a
	// time for all callbacks of a namespace; more wait. ctx ends after RequestsTimeout. payload is read-only and may
	// be kept; the result must not be changed afterwards. from is the id of the requesting node. Nil means that the
	// response is an error.
	OnRequest func(ctx context.Context, from string, payload []byte) ([]byte, error)
	// OnEvent serves Namespace.Event and EventAck of other nodes, like OnRequest. reply is nil if the sender wants no
	// response. Otherwise it responds on the first call, which may come later and from any goroutine; further calls do
	// nothing. reply does not keep its argument, and waits while the broker's queue is full, for RequestsTimeout at
	// most. Nil means that events are ignored, and a sender that waits gets a reply without a value.
	OnEvent func(ctx context.Context, from string, payload []byte, reply func([]byte))
	// Refuse are the operations of other nodes that this node does not carry out: see "Operations of other nodes" in the
	// package documentation. Zero refuses none, and AllOperations &^ Broadcasts all but broadcasts. A value that
	// AllOperations does not have is an *OptionError.
	Refuse Operations
	// OnOperation, if not nil, is called for each operation of another node that Refuse does not name, before it is
	// carried out: one at a time, in the order of the messages, on the goroutine that handles all messages of the
	// namespace. It must not block, or call the namespace. An error refuses the operation, and its text goes to the
	// other node; a panic refuses it too. An operation on one member by its id is seen only by the node with that
	// member.
	OnOperation func(op *Operation) error
	// Subscription says which broadcasts the node receives. Zero: AutomaticSubscription.
	Subscription SubscriptionMode
	// IsID, if not nil, reports names that have the form of members' ids, such as a prefix that no other room has. No
	// member may then enter such a room, except that of its own id, so that it gets nothing that is sent to another
	// member's id. Join and JoinAll of this node return a *NameError. Those of other nodes, also of Node.js servers and
	// emitters, do nothing here: that is reported, and for a Crossroom node this one is missing with ErrRefused. Nil
	// means that every room is open. IsID is called for each room that a member is to enter, must not block, and should
	// be the same on all nodes. A panic refuses the room.
	IsID func(name string) bool
}

func (o *NamespaceOptions) check(on broker.Capabilities) error {
	switch {
	case o == nil:
	case o.Subscription > DynamicSubscription:
		return &OptionError{Option: "Subscription", Reason: "not one of the modes"}
	case o.Subscription == StaticSubscription && on.OnlyExactly:
		return &OptionError{Option: "Subscription", Reason: "static, and the broker has no subscription to every room"}
	case o.Refuse&^AllOperations != 0:
		return &OptionError{Option: "Refuse", Reason: "has operations that do not exist"}
	}
	return nil
}

// onError returns the function that gets errors; nil if there is none.
func (o *Options) onError() func(context.Context, error) {
	if o.OnErrorContext != nil || o.OnError == nil {
		return o.OnErrorContext
	}
	return func(_ context.Context, err error) { o.OnError(err) }
}

func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Name == "" {
		out.Name = hostName()
	}
	if err := checkNodeName(out.Name); err != nil {
		return out, err
	}
	if err := checkNodeID(out.ID); err != nil {
		return out, err
	}
	for _, d := range []struct {
		what  string
		value *time.Duration
		zero  time.Duration
	}{
		{"RequestsTimeout", &out.RequestsTimeout, time.Second},
		{"Heartbeat", &out.Heartbeat, time.Second},
		{"PeerTimeout", &out.PeerTimeout, 0},
	} {
		if *d.value < 0 {
			return out, &OptionError{Option: d.what, Reason: "negative"}
		}
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if out.PeerTimeout == 0 {
		out.PeerTimeout = out.Heartbeat * 7 / 2
	}
	if out.PeerTimeout <= out.Heartbeat {
		return out, &OptionError{Option: "PeerTimeout", Reason: "not longer than Heartbeat"}
	}
	if out.Unsigned&^AllOperations != 0 {
		return out, &OptionError{Option: "Unsigned", Reason: "has operations that do not exist"}
	}
	if out.Keys == nil && (out.Unsigned != 0 || out.UnsignedNodes) {
		return out, &OptionError{Option: "Keys", Reason: "nil, and Unsigned or UnsignedNodes is set"}
	}
	if err := out.Keys.check(); err != nil {
		return out, err
	}
	if out.StallTimeout == 0 {
		out.StallTimeout = min(max(out.RequestsTimeout*2/5, 50*time.Millisecond), time.Second)
	}
	return out, nil
}

// maxNodeName is the largest length of a node's name in bytes.
const maxNodeName = 64

func checkNodeName(name string) error {
	if len(name) > maxNodeName {
		return &OptionError{Option: "Name", Reason: "longer than 64 bytes"}
	}
	if strings.ContainsFunc(name, notOfName) {
		return &OptionError{Option: "Name", Reason: "has characters other than letters, digits, '.', '-' and '_'"}
	}
	return nil
}

func notOfName(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-_", c))
}

// hostName returns the name of the host in the form of a node's name; empty if the host has none.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	name := strings.Map(func(c rune) rune {
		if notOfName(c) {
			return '-'
		}
		return c
	}, host)
	return name[:min(len(name), maxNodeName)]
}

func checkNodeID(id string) error {
	if len(id) > 128 {
		return &OptionError{Option: "ID", Reason: "longer than 128 bytes"}
	}
	if strings.Contains(id, "#") {
		return &OptionError{Option: "ID", Reason: "has a '#'"}
	}
	if err := checkName("node id", id); err != nil {
		return &OptionError{Option: "ID", Reason: err.Error()}
	}
	return nil
}

// SubscriptionMode says which broadcasts of a namespace a node receives. The package
// documentation, section "Subscriptions", says what each costs.
type SubscriptionMode uint8

const (
	// AutomaticSubscription is DynamicSubscription on a broker whose Capabilities say OnlyExactly, such as sharded
	// pub/sub of Redis, which refuses StaticSubscription. On others it begins static, or dynamic if the node has 64
	// namespaces already, and changes to what is cheaper, by the rules in the package documentation.
	AutomaticSubscription SubscriptionMode = iota
	// StaticSubscription receives all broadcasts of the namespace, by one subscription.
	StaticSubscription
	// DynamicSubscription receives broadcasts to the rooms that members of this node are in,
	// to several rooms, and to all members, by one subscription for each room. Add, Join and
	// JoinAll wait until the broker has subscribed to rooms that are new on this node.
	DynamicSubscription
)

// String returns the mode's name.
func (m SubscriptionMode) String() string {
	switch m {
	case AutomaticSubscription:
		return "automatic"
	case StaticSubscription:
		return "static"
	case DynamicSubscription:
		return "dynamic"
	}
	return "mode(" + strconv.Itoa(int(m)) + ")"
}
