package backplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crossroom/crossroom/broker"
)

// Sentinels arrive wrapped; use errors.Is.
var (
	// ErrClosed: the node or namespace has been closed.
	ErrClosed = errors.New("backplane: closed")
	// ErrNamespaceExists: the node already has a namespace of that name.
	ErrNamespaceExists = errors.New("namespace exists on this node")
	// ErrMemberExists: the namespace already has a member with that id on this node.
	ErrMemberExists = errors.New("the id is taken on this node")
	// ErrNoSuchMember: every known node said that it does not have the member.
	ErrNoSuchMember = errors.New("no node has it")
	// ErrPeerLost is why a node is missing that does not listen any more, or
	// was not heard of for Options.PeerTimeout.
	ErrPeerLost = errors.New("node is lost")
	// ErrPeerUnresponsive is why a node is missing that missed an earlier deadline and
	// was not heard of since: it is asked, but not waited for, or not for long.
	ErrPeerUnresponsive = errors.New("node is unresponsive")
	// ErrNoResponse is why a node is missing that did not answer in time.
	ErrNoResponse = errors.New("node did not respond in time")
	// ErrNotIntroduced is why a node is missing that has not said yet which namespaces
	// it serves. As PartialError.Err without such a node it says that there may be
	// nodes that this one does not know: it has started, or its link is down or has
	// returned, and the broker cannot count.
	ErrNotIntroduced = errors.New("node has not introduced itself")
	// ErrDuplicateID is reported, in an *OpError, when another node with this node's id
	// announces itself, once for each such node. Broadcasts of the two do not reach each
	// other, and responses of one count as the other's.
	ErrDuplicateID = errors.New("another node has the same id")
	// ErrTooLarge is why a node is missing whose response exceeds a limit: 64 MiB and 4,096
	// messages for one node, 256 MiB for all, as the response takes in memory. What came before
	// is in the result.
	ErrTooLarge = errors.New("response is too large")
	// ErrBusy: a node has too many requests under way.
	ErrBusy = errors.New("too many requests under way")
)

// NameError says that a namespace, room or member name cannot be used.
type NameError struct {
	What   string // "room", "id", …
	Name   string
	Reason string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("backplane: %s %.100q: %s", e.What, e.Name, e.Reason)
}

// OpError says which operation on what failed, and why. Err is what errors.Is and errors.As
// are for: a sentinel of this package, a *PartialError, or an error of the broker or the
// context.
type OpError struct {
	// Op is an operation, as in PartialError.Op, or add, open, count, announce, or "respond
	// to" an operation. Package adapter reports with "encode …" what the application gave
	// it and cannot be sent; Err is then an encoding error.
	Op string
	// Namespace in which it failed; empty for announce.
	Namespace string
	// Name is the id of a member, of the node that made the request, or of this node; empty
	// for open and count.
	Name string
	Err  error
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
	return fmt.Sprintf("backplane: %s%s: %s", e.Op, on, strings.TrimPrefix(cause(e.Err), e.Op+": "))
}

func (e *OpError) Unwrap() error { return e.Err }

// cause is the text of a wrapped error, without what the text around it says already.
func cause(err error) string { return strings.TrimPrefix(fmt.Sprint(err), "backplane: ") }

// Missing is a node, or several unannounced ones, from which an answer was
// expected and did not come.
type Missing struct {
	// Node is its id; empty for peers that do not announce themselves.
	Node string
	// Count is 1 for a named node.
	Count int
	// Reason is ErrPeerLost, ErrPeerUnresponsive, ErrNoResponse, ErrNotIntroduced, ErrBusy, ErrTooLarge or
	// a *RefusedError, or wraps the context's or the broker's error.
	Reason error
}

// MarshalJSON writes the fields, with the reason's text.
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
	// Answered are the ids of the Crossroom nodes that answered, without this one.
	Answered []string
	// Foreign is how many responses came from peers that do not announce themselves, such
	// as Node.js servers.
	Foreign int
	// Missing did not answer.
	Missing []Missing
	// Unconfirmed is how many foreign peers were sent a request of a kind that they never
	// respond to (Node.js servers do not confirm operations on selections of sockets).
	Unconfirmed int
	// Uncounted is why further foreign peers may exist that were not waited for: a
	// *broker.InexactError. nil: every peer was counted, or none of those that may be
	// missing responds to this kind of request.
	Uncounted error
	// Links says the same for each link of a server of package adapter that has several;
	// nil otherwise. A node that responded on one link and not on another is in Answered,
	// not in Missing.
	Links []LinkCoverage `json:",omitempty"`
}

// LinkCoverage is the part of a Coverage that one of several links has.
type LinkCoverage struct {
	// Prefix of the link, as in adapter.LinkError.
	Prefix string
	Coverage
	// Err is why the link's part is missing or incomplete; nil if it is complete.
	Err error
}

// MarshalJSON writes the fields, with the error's text.
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

// who lists what is missing, in words.
func (f *Coverage) who() (who []string) {
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
			who = append(who, m.Node+" on "+strings.Join(links, " and "))
		case m.Node != "":
			who = append(who, m.Node)
		case len(f.Links) == 0:
			who = append(who, fmt.Sprintf("%d unnamed", m.Count))
		}
	}
	for _, l := range f.Links {
		for _, m := range l.Missing {
			if m.Node == "" {
				who = append(who, fmt.Sprintf("%d unnamed on %s", m.Count, l.Prefix))
			}
		}
	}
	return who
}

// PartialError says that some nodes did not answer. The value returned beside it
// holds what the others said.
type PartialError struct {
	// Op is the operation: members, rooms-of, rooms, join, leave, disconnect, custom,
	// event or broadcast.
	Op       string
	Coverage Coverage
	// Err is why waiting ended: context.DeadlineExceeded, context.Canceled, the
	// first Missing's reason, Coverage.Uncounted, or the broker's error. If the broker could not even say
	// who is there it wraps one of these, and Coverage.Missing has the Crossroom nodes
	// that were known, and as many others as when it was last counted.
	Err error
}

func (e *PartialError) Error() string {
	const most = 20
	who := e.Coverage.who()
	if n := len(who) - most; n > 0 {
		who = append(who[:most], fmt.Sprintf("%d more", n))
	}
	answered := len(e.Coverage.Answered) + e.Coverage.Foreign
	if len(who) == 0 {
		return fmt.Sprintf("backplane: %s: %d nodes answered: %s", e.Op, answered, cause(e.Err))
	}
	return fmt.Sprintf("backplane: %s: %d nodes answered, missing %s: %s", e.Op, answered, strings.Join(who, ", "), cause(e.Err))
}

func (e *PartialError) Unwrap() error { return e.Err }

// RefusedError is why a node is missing that answered with an error of its own.
type RefusedError struct {
	Text string // what it said
}

func (e *RefusedError) Error() string { return fmt.Sprintf("backplane: node refused: %.300s", e.Text) }

// DecodeError reports bytes on a channel that this node could not read. They
// changed nothing.
type DecodeError struct {
	Channel broker.Channel
	Err     error
	// More is how many further unreadable messages of the channel this report
	// stands for: when OnError is slow, they are reported together.
	More int
}

func (e *DecodeError) Error() string {
	more := ""
	if e.More > 0 {
		more = fmt.Sprintf(" (and %d more)", e.More)
	}
	return fmt.Sprintf("backplane: unreadable message on %.300s: %s%s", e.Channel, cause(e.Err), more)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// InterruptedError reports that a namespace, or the control channel if Namespace
// is empty, may have missed messages. It comes when the interruption begins; a
// observe.Observer hears of both ends, in their places among the messages.
type InterruptedError struct {
	Namespace string
	Err       error
}

func (e *InterruptedError) Error() string {
	if e.Namespace == "" {
		return fmt.Sprintf("backplane: control channel interrupted: %s", cause(e.Err))
	}
	return fmt.Sprintf("backplane: namespace %.100q interrupted: %s", e.Namespace, cause(e.Err))
}

func (e *InterruptedError) Unwrap() error { return e.Err }

// PanicError reports that a callback panicked. The node went on with the next one.
type PanicError struct {
	// What panicked: "Deliver", "OnRequest", …
	What string
	// Member id, where there is one.
	Member string
	Value  any
	Stack  []byte
}

func (e *PanicError) Error() string {
	if e.Member == "" {
		return fmt.Sprintf("backplane: %s panicked: %v", e.What, e.Value)
	}
	return fmt.Sprintf("backplane: %s of %.100q panicked: %v", e.What, e.Member, e.Value)
}

// StalledError reports that a member's method did not return for
// Options.StallTimeout. The node goes on without it: the member gets nothing until
// the call returns, and what it misses is counted in Stats.Skipped.
type StalledError struct {
	Namespace, Member string
}

func (e *StalledError) Error() string {
	return fmt.Sprintf("backplane: %.100q in %.100q does not return from its callback", e.Member, e.Namespace)
}

// OptionError says that an option has a value that makes no sense.
type OptionError struct {
	Option, Reason string
}

func (e *OptionError) Error() string { return "backplane: option " + e.Option + ": " + e.Reason }

// MembershipError reports that announcements of other nodes were lost or refused here.
// After a loss this node asks all others for theirs again; a node that left without
// being heard is found out as if it had died. A node whose announcements are refused is
// not known, or not in all of its namespaces.
type MembershipError struct {
	// Lost is how many announcements came faster than they could be taken in, since
	// the last report.
	Lost int
	// Refused is how many exceeded a limit: 4,096 nodes, 65,536 namespaces of one node,
	// 64 MiB for the names of all.
	Refused int
}

func (e *MembershipError) Error() string {
	if e.Refused == 0 {
		return fmt.Sprintf("backplane: %d announcements of other nodes lost: they came too fast", e.Lost)
	}
	return fmt.Sprintf("backplane: announcements of other nodes: %d lost, %d refused: too many nodes or namespaces", e.Lost, e.Refused)
}

func newPanicError(what, member string, value any, stack []byte) error {
	return &PanicError{What: what, Member: member, Value: value, Stack: stack}
}

// merged makes one error of two: of two unreadable messages on a channel, and of two losses
// with the same cause. nil: they are not of one kind.
func merged(queued, err error) error {
	switch q := queued.(type) {
	case *DecodeError:
		if d, ok := err.(*DecodeError); ok && q.Channel == d.Channel {
			sum := *q
			sum.More++
			return &sum
		}
	case *broker.LossError:
		l, ok := err.(*broker.LossError)
		if ok && q.Uncertain == l.Uncertain && fmt.Sprint(q.Err) == fmt.Sprint(l.Err) {
			sum := *q
			sum.Messages += l.Messages
			sum.Bytes += l.Bytes
			return &sum
		}
	}
	return nil
}
