package adapter

import (
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/backplane"
)

// Errors of the core that callers of this package meet, under their own names
// there. They arrive wrapped; use errors.Is.
var (
	// ErrClosed: the server has been closed.
	ErrClosed = backplane.ErrClosed
	// ErrSocketExists: the namespace already has a socket with that id here.
	ErrSocketExists = backplane.ErrMemberExists
	// ErrNoSuchSocket: every known node said that it does not have the socket.
	ErrNoSuchSocket = backplane.ErrNoSuchMember
	// ErrPeerLost, ErrPeerUnresponsive and ErrNoResponse are why a node is Missing: it does
	// not listen any more, or was not heard of for Options.PeerTimeout; it missed an
	// earlier deadline and was not heard of since, so that nobody waits for it, or not
	// for long; it did not answer in time.
	ErrPeerLost         = backplane.ErrPeerLost
	ErrPeerUnresponsive = backplane.ErrPeerUnresponsive
	ErrNoResponse       = backplane.ErrNoResponse
	// ErrNotIntroduced is why a node is Missing that has not said yet which namespaces
	// it serves, or why there may be nodes that this one does not know.
	ErrNotIntroduced = backplane.ErrNotIntroduced
	// ErrBusy: a node has too many requests under way.
	ErrBusy = backplane.ErrBusy
	// ErrAcknowledged: an event can be acknowledged only once, and only if its
	// sender asked for it.
	ErrAcknowledged = errors.New("adapter: acknowledged before, or no acknowledgement wanted")
)

// Types of the core that callers of this package meet.
type (
	// Coverage says which nodes responded.
	Coverage = backplane.Coverage
	// Missing is a node, or several unannounced ones, that did not answer.
	Missing = backplane.Missing
	// PartialError says that some nodes did not answer. The value returned beside it
	// holds what the others said.
	PartialError = backplane.PartialError
	// LinkCoverage is the part of a Coverage that one of several links has.
	LinkCoverage = backplane.LinkCoverage
	// Peer is another Go node, as it announced itself.
	Peer = backplane.Peer
	// OptionError says which option cannot be used.
	OptionError = backplane.OptionError
)

// HarmError says that a value was not sent because a Node.js server, or a client of one,
// would crash, lose it or be disconnected. Rename the key, or send the value in another
// form, or raise MaxAttachments if all clients take more. Nothing was sent, and no local socket got anything.
type HarmError struct {
	// Path of the value, such as args[0].user.__proto__.
	Path   string
	Reason string
}

func (e *HarmError) Error() string {
	return fmt.Sprintf("adapter: %.500s would harm a Node.js server or client: %s", e.Path, e.Reason)
}

// MixedFleetError says that a request was not sent because servers of another
// generation share the prefix and namespace and would be harmed by it. Give each
// generation a prefix of its own.
type MixedFleetError struct {
	// Op is the request, as in PartialError.
	Op string
	// Total is how many servers are there besides Crossroom nodes, and Responding
	// how many of them listen for answers of their own, as servers from 7.1 on do;
	// -1 if that was not looked at.
	Total, Responding int
	Reason            string
}

func (e *MixedFleetError) Error() string {
	if e.Responding < 0 {
		return fmt.Sprintf("adapter: %s refused among %d servers: %s", e.Op, e.Total, e.Reason)
	}
	return fmt.Sprintf("adapter: %s refused among %d servers, %d of them of 7.1 or later: %s", e.Op, e.Total, e.Responding, e.Reason)
}

// ArgumentError says which argument of an event could not be encoded, or which one
// Bind could not store.
type ArgumentError struct {
	// Index of the argument, from 0; the event's name is not counted.
	Index int
	Err   error
}

func (e *ArgumentError) Error() string {
	return fmt.Sprintf("adapter: argument %d: %v", e.Index, e.Err)
}

func (e *ArgumentError) Unwrap() error { return e.Err }

// UnsupportedError says that a dialect has no form for an operation. It wraps
// errors.ErrUnsupported.
type UnsupportedError struct {
	Operation string
	Dialect   Dialect
	Reason    string // empty if there is no more to say
}

func (e *UnsupportedError) Error() string {
	text := fmt.Sprintf("adapter: %s is not possible in dialect %s", e.Operation, e.Dialect)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func (e *UnsupportedError) Unwrap() error { return errors.ErrUnsupported }

// GenerationsError reports, once for each namespace and prefix, that servers of
// generation v5 and newer ones were heard on it. They endanger each other without
// any help: give each generation a prefix of its own. See "Two generations" in the
// package documentation.
type GenerationsError struct {
	// Prefix of the channels; the dialect if the broker has no prefixes.
	Prefix, Namespace string
}

func (e *GenerationsError) Error() string {
	return fmt.Sprintf("adapter: servers of two generations share prefix %q, namespace %.100q", e.Prefix, e.Namespace)
}

// EncodeError says that what a callback gave as an answer could not be encoded; the
// asker got an answer without it, or the error's text where there is a place for it.
type EncodeError struct {
	// What it was: "acknowledgement", "handshake", …
	What string
	// Socket whose it was; empty if it was no socket's.
	Socket string
	Err    error
}

func (e *EncodeError) Error() string {
	if e.Socket == "" {
		return fmt.Sprintf("adapter: %s cannot be encoded: %v", e.What, e.Err)
	}
	return fmt.Sprintf("adapter: %s of socket %.100q cannot be encoded: %v", e.What, e.Socket, e.Err)
}

func (e *EncodeError) Unwrap() error { return e.Err }
