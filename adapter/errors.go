package adapter

import (
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/internal/errorlog"
)

// ErrAcknowledged: an event can be acknowledged only once, and only if its sender requested it.
var ErrAcknowledged = errors.New("adapter: acknowledged before, or no acknowledgement wanted")

// ErrUnresolved is wrapped by the error of an operation that was not carried out because servers cannot select the
// sockets by themselves, and did not all respond to the query for their sockets. Servers older than 6.1 can exclude
// only single sockets (Except), and no Node.js server knows InAll. The error also wraps a *backplane.PartialError, or
// the cause if the query could not be sent; a value does not come with it. Repeat the call, or select without Except or
// InAll.
var ErrUnresolved = errors.New("adapter: not known which sockets are selected")

// HarmError reports a value that was not sent because a Node.js server, or a client of one, would crash, lose it or be
// disconnected. Rename the key, send the value in another form, or raise MaxAttachments if all clients accept more.
// Nothing was sent, and no local socket got the event.
type HarmError struct {
	// Path of the value, such as args[0].user.__proto__.
	Path   string
	Reason string
}

func (e *HarmError) Error() string {
	return fmt.Sprintf("adapter: %s would harm a Node.js server or client: %s", errorlog.Printable(e.Path, 500), e.Reason)
}

// MixedFleetError reports a request that was not sent because it would harm servers of another generation on the same
// prefix and namespace. Give each generation a prefix of its own.
type MixedFleetError struct {
	// Op is the request, as in PartialError.
	Op string
	// Total is the number of connected servers besides Crossroom nodes, and Responding how many of them have a
	// response channel of their own, like servers from 7.1 on; -1 if unknown.
	Total, Responding int
	Reason            string
}

func (e *MixedFleetError) Error() string {
	if e.Responding < 0 {
		return fmt.Sprintf("adapter: %s refused among %d servers: %s", e.Op, e.Total, e.Reason)
	}
	return fmt.Sprintf("adapter: %s refused among %d servers, %d of them of 7.1 or later: %s", e.Op, e.Total, e.Responding, e.Reason)
}

// ArgumentError reports which argument of an event could not be encoded, or which one Packet.Bind or BindArgs could not store.
type ArgumentError struct {
	// Index of the argument, from 0. The event's name does not count.
	Index int
	Err   error
}

func (e *ArgumentError) Error() string {
	return fmt.Sprintf("adapter: argument %d: %v", e.Index, e.Err)
}

func (e *ArgumentError) Unwrap() error { return e.Err }

// unsupported returns the error of an operation that a dialect does not have.
func unsupported(operation string, d Dialect, reason string) error {
	if reason != "" {
		reason += ": "
	}
	return fmt.Errorf("adapter: %s is not possible in dialect %s: %s%w", operation, d, reason, errors.ErrUnsupported)
}

// GenerationsError reports, once for each namespace and prefix, that messages of generation v5 and of newer servers
// arrived on it. Such servers endanger each other: give each generation a prefix of its own. See "Two generations" in
// the package documentation.
type GenerationsError struct {
	// Prefix of the channels; the dialect if the broker has no prefixes.
	Prefix, Namespace string
}

func (e *GenerationsError) Error() string {
	return fmt.Sprintf("adapter: servers of two generations share prefix %q, namespace %.100q", e.Prefix, e.Namespace)
}
