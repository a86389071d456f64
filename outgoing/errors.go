package outgoing

import (
	"errors"
	"fmt"
)

// Error reports that a queue ended before all of its messages were written.
type Error struct {
	// Messages and Bytes count the unsent messages: those that waited, and the whole batch that was being written. The
	// client may have received a part of that batch, or all of it if write returns nil after WriteTimeout.
	Messages, Bytes int
	// Err is the cause; the package documentation lists them.
	Err error
}

func (e *Error) Error() string {
	return fmt.Sprintf("outgoing: writing to a connection, %d messages of %d bytes unsent: %v", e.Messages, e.Bytes, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

var (
	// ErrFull means that the client reads more slowly than messages are pushed.
	ErrFull = errors.New("the queue is full (Options.MaxMessages, MaxBytes)")
	// ErrTimeout means that the connection did not accept a batch in time.
	ErrTimeout = errors.New("write did not return in time (Options.WriteTimeout)")
)

var errGoexit = errors.New("write called runtime.Goexit")
