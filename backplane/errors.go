package backplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/errorlog"
	"github.com/crossroom/crossroom/internal/wire"
)

// The errors below are wrapped by those that calls return and by those that Options.OnError gets; use errors.Is.
var (
	// ErrClosed: the node or namespace has been closed.
	ErrClosed = errors.New("backplane: closed")
	// ErrNilContext: the call had a nil context, and did nothing.
	ErrNilContext = wire.ErrNilContext
	// ErrDuplicateMember is reported, in an *OpError, when a list has members of two nodes with the same id: once a
	// second at most. Operations on that id reach one of them, or both.
	ErrDuplicateMember = errors.New("members of two nodes have this id")
	// ErrOtherWire: an emitter sent to a namespace that only servers on the other wire have: nodes of this package, or
	// those of package adapter and Node.js servers.
	ErrOtherWire = errors.New("its servers are on the other wire: see NewEmitter")
	// ErrNamespaceExists: the node already has a namespace of that name.
	ErrNamespaceExists = errors.New("namespace exists on this node")
	// ErrMemberExists: the namespace already has a member with that id on this node.
	ErrMemberExists = errors.New("the id is taken on this node")
	// ErrNoSuchMember: every known node responded that it does not have the member.
	ErrNoSuchMember = errors.New("no node has it")
	// ErrPeerLost is the reason for a missing node that is not subscribed any more, or that sent no sign of life for
	// Options.PeerTimeout.
	ErrPeerLost = errors.New("node is lost")
	// ErrPeerUnresponsive is the reason for a missing node that missed an earlier deadline and sent no sign of life
	// since. It gets requests, but they do not wait for it, or not for long.
	ErrPeerUnresponsive = errors.New("node is unresponsive")
	// ErrNoResponse is the reason for a missing node that did not respond in time.
	ErrNoResponse = errors.New("node did not respond in time")
	// ErrNotIntroduced is the reason for a missing node that has not announced its namespaces yet. As PartialError.Err
	// without such a node it means that unknown nodes may exist: this node has started, or its link is down or was
	// just restored, and the broker cannot count. Repeat the request.
	ErrNotIntroduced = errors.New("node has not introduced itself")
	// ErrDuplicateID is reported, in an *OpError, when another node with this node's id announces itself, once for
	// each such node. The two do not receive each other's broadcasts, and responses of one count as the other's. Give
	// each node an id of its own.
	ErrDuplicateID = errors.New("another node has the same id")
	// ErrTooLarge is the reason for a missing node whose response exceeds a limit: 64 MiB in memory or 4,096 messages
	// for one node, 256 MiB for all nodes. The result has what came before. It is also reported, in an *OpError, for
	// announcements of other nodes that exceed a limit: 4,096 nodes, 65,536 namespaces of one node, 64 MiB for the
	// names of all. A node whose announcements are refused is unknown, or not known in all of its namespaces.
	ErrTooLarge = errors.New("response is too large")
	// ErrOverflow is reported, in an *OpError, when announcements of other nodes were lost because they came faster than
	// this node could handle them. The node requests the announcements of all others again. It notices a node whose
	// goodbye was lost like a crashed one.
	ErrOverflow = errors.New("they came too fast")
	// ErrStalled is reported, in an *OpError, for a member whose method did not return for Options.StallTimeout. The
	// node continues without the member: it gets no message until the call returns. The missed messages are counted in
	// Stats.Skipped.
	ErrStalled = errors.New("its method does not return")
	// ErrUnsigned, ErrUnknownKey, ErrForged, ErrStale and ErrReplayed are the reasons of a *MessageError.
	//
	//	ErrUnsigned      the message has no signature
	//	ErrUnknownKey    it is signed with a key that this node does not have
	//	ErrForged        it or its signature was changed, or it was signed for another channel or prefix
	//	ErrStale         it is MaxMessageAge old or as far in the future; perhaps the clocks differ
	//	ErrReplayed      this node has received it before
	ErrUnsigned   = errors.New("message is not signed")
	ErrUnknownKey = errors.New("message is signed with an unknown key")
	ErrForged     = errors.New("message has a wrong signature")
	ErrStale      = errors.New("message is from another time")
	ErrReplayed   = errors.New("message has come before")
	// ErrRefused is reported, in an *OpError, when NamespaceOptions.Refuse or OnOperation has refused an operation of
	// another node. It is also the reason for a missing node that responded with an error. The reason's text has the
	// text of that error. Request and EventAck have such an error in Reply.Err.
	ErrRefused = errors.New("operation refused")
	// ErrBusy: a node has too many pending requests. Repeat the request later.
	ErrBusy = errors.New("too many requests under way")
)

// NameError reports a name that cannot be used: a room, a member's id, or the namespace of an Emitter's message.
type NameError struct {
	What   string // "room", "id", …
	Name   string
	Reason string

	origin
}

func (e *NameError) Error() string {
	return fmt.Sprintf(e.prefix()+"%s %.100q: %s", e.What, e.Name, e.Reason)
}

// OpError reports a failed operation. Use errors.Is and errors.As on it: Err is a sentinel of this package, a
// *PartialError, or an error of the broker or the context.
type OpError struct {
	// Op is an operation, as in PartialError.Op, or add, open, count, emit, announce, deliver, describe, "subscribe to
	// room", "subscribe to rooms", "read announcements", or "respond to" an operation. Package adapter has others, such
	// as "encode …" for values of the application that cannot be sent.
	Op string
	// Namespace of the operation; empty for announce and "read announcements".
	Namespace string
	// Name is the id of a member, of the node that made the request, or of this node, or the name of a room; empty for
	// open, count, emit, announce, "subscribe to rooms" and "read announcements".
	Name string
	Err  error
	// More is the number of further errors that were reported with this one: of the same operation in the namespace,
	// with the same cause.
	More int

	origin
}

func (e *OpError) Error() string {
	on := ""
	switch {
	case e.Name == "" && e.Namespace == "":
	case e.Name == "":
		on = fmt.Sprintf(" %.100q", e.Namespace)
	case e.Namespace == "":
		on = fmt.Sprintf(" %.100q", e.Name)
	default:
		on = fmt.Sprintf(" %.100q in %.100q", e.Name, e.Namespace)
	}
	return fmt.Sprintf(e.prefix()+"%s%s: %s", e.Op, on, strings.TrimPrefix(cause(e.Err), e.Op+": ")+further(e.More))
}

func (e *OpError) Unwrap() error { return e.Err }

// cause returns the text of a wrapped error, without the prefix that the text around it has already.
func cause(err error) string {
	return errorlog.Printable(strings.TrimPrefix(strings.TrimPrefix(fmt.Sprint(err), "backplane: "), "adapter: "), maxCause)
}

// maxCause limits the text of a wrapped error, in bytes.
const maxCause = 1000

// origin is the package that the caller called, with which the text of an error begins: this one, or adapter.
type origin struct{ adapter bool }

func (o *origin) prefix() string {
	if o.adapter {
		return "adapter: "
	}
	return "backplane: "
}

func (o *origin) setAdapter() { o.adapter = true }

// fromAdapter makes the text of an error of this package begin with adapter. It changes and returns err, which no other
// goroutine may have yet.
func fromAdapter(err error) error {
	if e, ok := err.(interface{ setAdapter() }); ok {
		e.setAdapter()
	}
	return err
}

// refusal is the ErrRefused of a missing node that responded with an error.
type refusal struct{ text string }

func (e *refusal) Error() string { return "node refused: " + errorlog.Printable(e.text, 300) }

func (e *refusal) Is(target error) bool { return target == ErrRefused }

// Coverage says which nodes responded to a request, and which did not.
type Coverage struct {
	// Answered are the ids of the Crossroom nodes that responded, without this one.
	Answered []string
	// Foreign is the number of responses from foreign peers, such as Node.js servers.
	Foreign int
	// Missing are the nodes that did not respond.
	Missing []observe.Missing
	// Unconfirmed is the number of foreign peers that got a request of a kind to which they never respond (Node.js
	// servers do not confirm operations on selections of sockets).
	Unconfirmed int
	// Uncounted reports that further foreign peers may exist, for which the request did not wait: a
	// *broker.InexactError. Nil means that every peer was counted, or that no peer that may be missing responds to
	// this kind of request.
	Uncounted error
	// Links is the coverage of each link of a server of package adapter with several links; nil otherwise. A node that
	// responded on one link and not on another is in Answered, not in Missing.
	Links []LinkCoverage `json:",omitempty"`
}

// LinkCoverage is the coverage of one of several links.
type LinkCoverage struct {
	// Prefix of the link, as in adapter.LinkError.
	Prefix string
	Coverage
	// Err is the cause if the link's part is missing or incomplete; nil if it is complete.
	Err error
}

// MarshalJSON writes the fields, with the text of the error.
func (l LinkCoverage) MarshalJSON() ([]byte, error) {
	reason := ""
	if l.Err != nil {
		reason = l.Err.Error()
	}
	return json.Marshal(struct {
		Prefix string
		Coverage
		Err string
	}{l.Prefix, l.Coverage, reason})
}

// missingNames lists the missing nodes, in words.
func (f *Coverage) missingNames() (who []string) {
	printed := func(node string) string { return errorlog.Printable(node, 128) }
	on := func(m observe.Missing) (links []string) {
		for _, l := range f.Links {
			if m.Node != "" && slices.ContainsFunc(l.Missing, func(o observe.Missing) bool { return o.Node == m.Node }) {
				links = append(links, l.Prefix)
			}
		}
		return links
	}
	for _, m := range f.Missing {
		switch links := on(m); {
		case m.Node != "" && len(links) > 0:
			who = append(who, printed(m.Node)+" on "+strings.Join(links, " and "))
		case m.Node != "":
			who = append(who, printed(m.Node))
		case len(f.Links) == 0:
			who = append(who, fmt.Sprintf("%d foreign", m.Count))
		}
	}
	for _, l := range f.Links {
		for _, m := range l.Missing {
			if m.Node == "" {
				who = append(who, fmt.Sprintf("%d foreign on %s", m.Count, l.Prefix))
			}
		}
	}
	return who
}

// PartialError reports that some nodes did not respond. The value returned with it holds the responses of the others.
type PartialError struct {
	// Op is the operation: members, rooms-of, rooms, join, leave, disconnect, custom, event or broadcast.
	Op       string
	Coverage Coverage
	// Err is, or wraps, the reason for the end of the wait: context.DeadlineExceeded, context.Canceled, the reason of the
	// first Missing, Coverage.Uncounted, ErrClosed, ErrNotIntroduced, a refusal, or the broker's error. If the broker
	// could not count the subscribers, Coverage.Missing has the known peers, and as many foreign peers as at the last
	// count.
	Err error

	origin
}

func (e *PartialError) Error() string {
	const most = 20
	who := e.Coverage.missingNames()
	if n := len(who) - most; n > 0 {
		who = append(who[:most], fmt.Sprintf("%d more", n))
	}
	answered := len(e.Coverage.Answered) + e.Coverage.Foreign
	if len(who) == 0 {
		return fmt.Sprintf(e.prefix()+"%s: %d nodes responded: %s", e.Op, answered, cause(e.Err))
	}
	return fmt.Sprintf(e.prefix()+"%s: %d nodes responded, missing %s: %s", e.Op, answered, strings.Join(who, ", "), cause(e.Err))
}

func (e *PartialError) Unwrap() error { return e.Err }

// MessageError reports a received message that this node did not use, and that changed nothing: its bytes could not be
// read, or Options.Keys refused its signature.
type MessageError struct {
	Channel broker.Channel
	// Sender is the id of the node that a message without a valid signature names as its sender, which need not be
	// true; empty if that was not read.
	Sender string
	// Err is, or wraps, ErrUnsigned, ErrUnknownKey, ErrForged, ErrStale or ErrReplayed. Another error says what could
	// not be read.
	Err error
	// More is the number of further messages that were reported with this one: for the same reason if Keys refused
	// them, in the same namespace on channels of the same kind if they could not be read.
	More int

	origin
}

func (e *MessageError) Error() string {
	what, of := "unreadable", ""
	if refusedSignature(e.Err) {
		what = "refused"
	}
	if e.Sender != "" {
		of = fmt.Sprintf(" that says it is of %.100q", e.Sender)
	}
	return fmt.Sprintf(e.prefix()+"%s message on %.300s%s: %s%s", what, e.Channel, of, cause(e.Err), further(e.More))
}

func (e *MessageError) Unwrap() error { return e.Err }

// refusedSignature reports whether err is a reason of Options.Keys.
func refusedSignature(err error) bool {
	return slices.ContainsFunc(signatureErrors, func(reason error) bool { return errors.Is(err, reason) })
}

var signatureErrors = []error{ErrUnsigned, ErrUnknownKey, ErrForged, ErrStale, ErrReplayed}

// further says how many errors were reported with another one.
func further(more int) string {
	if more == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", more)
}

// InterruptedError reports that a namespace, or the control channel if Namespace is empty, may have missed messages.
// It is reported when the interruption begins. An observe.Observer sees both ends, in their places among the messages.
type InterruptedError struct {
	Namespace string
	Err       error
	// More is the number of further interruptions with the same cause, shortly after another, that are reported with
	// this one.
	More int

	origin
}

func (e *InterruptedError) Error() string {
	if e.Namespace == "" {
		return fmt.Sprintf(e.prefix()+"control channel interrupted: %s%s", cause(e.Err), further(e.More))
	}
	return fmt.Sprintf(e.prefix()+"namespace %.100q interrupted: %s%s", e.Namespace, cause(e.Err), further(e.More))
}

func (e *InterruptedError) Unwrap() error { return e.Err }

// PanicError reports that a callback panicked. The node continued with the next one.
type PanicError struct {
	// What is the callback: "Deliver", "OnRequest", …
	What string
	// Member is the id of the member, if there is one.
	Member string
	Value  any
	Stack  []byte
	// More is the number of further panics of the same callback, of any member, that were reported with this one.
	More int

	origin
}

func (e *PanicError) value() string { return errorlog.Printable(fmt.Sprint(e.Value), maxCause) }

func (e *PanicError) Error() string {
	if e.Member == "" {
		return fmt.Sprintf(e.prefix()+"%s panicked: %s%s", e.What, e.value(), further(e.More))
	}
	return fmt.Sprintf(e.prefix()+"%s of %.100q panicked: %s%s", e.What, e.Member, e.value(), further(e.More))
}

// OptionError reports an option with an invalid value.
type OptionError struct {
	Option, Reason string

	origin
}

func (e *OptionError) Error() string { return e.prefix() + "option " + e.Option + ": " + e.Reason }

func newPanicError(what, member string, value any, stack []byte) error {
	return &PanicError{What: what, Member: member, Value: value, Stack: stack}
}

// panicStack returns the stack of an error that reports a panic; nil for others.
func panicStack(err error) []byte {
	if p, ok := errors.AsType[*PanicError](err); ok {
		return p.Stack
	}
	return nil
}
