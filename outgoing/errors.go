package outgoing

import (
	"errors"
	"fmt"
)

// Error says why a queue ended before all of its messages were written.
type Error struct {
	// Messages and Bytes were accepted and may not have been written: those that
	// waited, and the whole batch that was being written.
	Messages, Bytes int
	// Err is the cause: ErrFull, ErrTimeout, what write returned or panicked with, or
	// the cause of the end of Close's context.
	Err error
}

func (e *Error) Error() string {
	return fmt.Sprintf("outgoing: writing to a connection, %d messages of %d bytes unsent: %v", e.Messages, e.Bytes, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

var (
	// ErrFull is the cause if the client did not read fast enough for what was pushed.
	ErrFull = errors.New("the queue is full (Options.MaxMessages, MaxBytes)")
	// ErrTimeout is the cause if one call of write took longer than Options.WriteTimeout.
	ErrTimeout = errors.New("the connection took too long to accept a write (Options.WriteTimeout)")
)

var errGoexit = errors.New("write called runtime.Goexit")
