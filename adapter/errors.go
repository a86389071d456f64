package adapter

import (
	"errors"
	"fmt"
)

// ErrAcknowledged: an event can be acknowledged only once, and only if its sender asked
// for it.
var ErrAcknowledged = errors.New("adapter: acknowledged before, or no acknowledgement wanted")

// ErrExcept is wrapped by the error of a broadcast that was not sent, because servers older
// than 6.1 are or may be there. These can leave out single sockets only. So they are asked
// which of their sockets are in the rooms to leave out, and not all of them have said it.
// The error also wraps a *backplane.PartialError, or why they could not be asked.
var ErrExcept = errors.New("adapter: not known which sockets to leave out")

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

// unsupported is the error of an operation that a dialect has no form for.
func unsupported(operation string, d Dialect, reason string) error {
	if reason != "" {
		reason += ": "
	}
	return fmt.Errorf("adapter: %s is not possible in dialect %s: %s%w", operation, d, reason, errors.ErrUnsupported)
}

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
