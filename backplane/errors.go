package backplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/errorlog"
)

// The errors below are wrapped by those that calls return; use errors.Is.
var (
	// ErrClosed: the node or namespace has been closed.
	ErrClosed = errors.New("backplane: closed")
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
	// for one node, 256 MiB for all nodes. The result has what came before.
	ErrTooLarge = errors.New("response is too large")
	// ErrUnsigned, ErrUnknownKey, ErrForged, ErrStale and ErrReplayed are the reasons of a *SignatureError.
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
	// ErrRefused: NamespaceOptions.Refuse or OnOperation refused an operation of another node. It is in a reported
	// *OpError; the other node gets a *RefusedError.
	ErrRefused = errors.New("operation refused")
	// ErrBusy: a node has too many pending requests. Repeat the request later.
	ErrBusy = errors.New("too many requests under way")
)

// NameError reports a namespace, room or member name that cannot be used.
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
	// Op is an operation, as in PartialError.Op, or add, open, count, announce, describe, or "respond to" an operation. Package
	// adapter reports values of the application that cannot be sent with "encode …"; Err is then an encoding error.
	Op string
	// Namespace of the operation; empty for announce.
	Namespace string
	// Name is the id of a member, of the node that made the request, or of this node; empty for open and count.
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

// Missing is a node, or several foreign peers, whose response was expected and did not come.
type Missing struct {
	// Node is its id; empty for foreign peers.
	Node string
	// Count is 1 for a named node.
	Count int
	// Reason is ErrPeerLost, ErrPeerUnresponsive, ErrNoResponse, ErrNotIntroduced, ErrBusy, ErrTooLarge or a
	// *RefusedError, or wraps the context's or the broker's error.
	Reason error
}

// MarshalJSON writes the fields, with the text of the reason.
func (m Missing) MarshalJSON() ([]byte, error) {
	reason := ""
	if m.Reason != nil {
		reason = m.Reason.Error()
	}
	return json.Marshal(struct {
		Node   string
		Count  int
		Reason string
	}{m.Node, m.Count, reason})
}

// Coverage says which nodes responded to a request, and which did not.
type Coverage struct {
	// Answered are the ids of the Crossroom nodes that responded, without this one.
	Answered []string
	// Foreign is the number of responses from foreign peers, such as Node.js servers.
	Foreign int
	// Missing are the nodes that did not respond.
	Missing []Missing
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
	on := func(m Missing) (links []string) {
		for _, l := range f.Links {
			if m.Node != "" && slices.ContainsFunc(l.Missing, func(o Missing) bool { return o.Node == m.Node }) {
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
	// Err is the reason for the end of the wait: context.DeadlineExceeded, context.Canceled, the reason of the first
	// Missing, Coverage.Uncounted, or the broker's error. If the broker could not count the subscribers, Err wraps one
	// of these. Coverage.Missing then has the known peers, and as many foreign peers as at the last count.
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

// RefusedError is the reason for a missing node that responded with an error of its own.
type RefusedError struct {
	Text string // the text of that error
}

func (e *RefusedError) Error() string {
	return "backplane: node refused: " + errorlog.Printable(e.Text, 300)
}

// DecodeError reports bytes on a channel that this node could not read. They changed nothing.
type DecodeError struct {
	Channel broker.Channel
	Err     error
	// More is the number of further unreadable messages in the namespace, on channels of the same kind.
	More int

	origin
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf(e.prefix()+"unreadable message on %.300s: %s%s", e.Channel, cause(e.Err), further(e.More))
}

func (e *DecodeError) Unwrap() error { return e.Err }

// SignatureError reports a message that Options.Keys refused. It changed nothing.
type SignatureError struct {
	Channel broker.Channel
	// Sender is the id of the node that the message says it is from, which need not be true; empty if that was not
	// read.
	Sender string
	// Err is, or wraps, ErrUnsigned, ErrUnknownKey, ErrForged, ErrStale or ErrReplayed.
	Err error
	// More is the number of further messages that were refused for the same reason.
	More int

	origin
}

func (e *SignatureError) Error() string {
	of := ""
	if e.Sender != "" {
		of = fmt.Sprintf(" that says it is of %.100q", e.Sender)
	}
	return fmt.Sprintf(e.prefix()+"refused a message on %.300s%s: %s%s", e.Channel, of, cause(e.Err), further(e.More))
}

func (e *SignatureError) Unwrap() error { return e.Err }

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

// StalledError reports that a member's method did not return for Options.StallTimeout. The node continues without the
// member: it gets no message until the call returns. The missed messages are counted in Stats.Skipped.
type StalledError struct {
	Namespace, Member string

	origin
}

func (e *StalledError) Error() string {
	return fmt.Sprintf(e.prefix()+"%.100q in %.100q does not return from its callback", e.Member, e.Namespace)
}

// OptionError reports an option with an invalid value.
type OptionError struct {
	Option, Reason string

	origin
}

func (e *OptionError) Error() string { return e.prefix() + "option " + e.Option + ": " + e.Reason }

// MembershipError reports that this node lost or refused announcements of other nodes. After a loss it requests the
// announcements of all others again. It notices a node whose goodbye was lost like a crashed one. A node whose
// announcements are refused is unknown, or not known in all of its namespaces.
type MembershipError struct {
	// Lost is the number of announcements, since the last report, that came faster than the node could handle them.
	Lost int
	// Refused is the number of announcements that exceeded a limit: 4,096 nodes, 65,536 namespaces of one node, 64 MiB
	// for the names of all.
	Refused int

	origin
}

func (e *MembershipError) Error() string {
	if e.Refused == 0 {
		return fmt.Sprintf(e.prefix()+"%d announcements of other nodes lost: they came too fast", e.Lost)
	}
	return fmt.Sprintf(e.prefix()+"announcements of other nodes: %d lost, %d refused: too many nodes or namespaces", e.Lost, e.Refused)
}

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
