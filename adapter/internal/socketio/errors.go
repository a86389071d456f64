package socketio

import (
	"fmt"

	"github.com/crossroom/crossroom/internal/wire"
)

// The types of this file never reach users: package adapter turns them into its own.

// HarmError reports a value that was refused because a Node.js server, or a client of one,
// would crash, lose the value or disconnect.
type HarmError struct {
	// Path of the value, such as args[0].user.__proto__.
	Path   string
	Reason string
}

func (e *HarmError) Error() string { return fmt.Sprintf("%.500s: %s", e.Path, e.Reason) }

// NameError reports a name that cannot be used. What is "event", "room" or "id".
type NameError struct{ What, Name, Reason string }

func (e *NameError) Error() string { return fmt.Sprintf("%s %.100q: %s", e.What, e.Name, e.Reason) }

// MixedError reports a request that was refused because it would harm foreign peers of
// another generation. Total is the number of foreign peers, Responding that of those with
// a response channel of their own, or -1 if they were not counted.
type MixedError struct {
	Op                wire.Op
	Total, Responding int
	Reason            string
}

func (e *MixedError) Error() string {
	return fmt.Sprintf("%s refused among %d servers: %s", e.Op, e.Total, e.Reason)
}

// MessageError reports a malformed message that was received from Redis, or a message that
// cannot be sent. Users see its text.
type MessageError struct {
	// Message is "broadcast", "request" or "response".
	Message string
	Reason  string
	// Err is the reader's error, or nil.
	Err error
}

func (e *MessageError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("adapter: %s: %s: %v", e.Message, e.Reason, e.Err)
	}
	return fmt.Sprintf("adapter: %s: %s", e.Message, e.Reason)
}

func (e *MessageError) Unwrap() error { return e.Err }
