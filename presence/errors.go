package presence

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by calls after Close.
var ErrClosed = errors.New("presence: closed")

// NameError reports a name that cannot be used.
type NameError struct {
	// What has this name: "room", "ID" or "User".
	What string
	// Name is the refused name.
	Name   string
	Reason string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("presence: join: %s %.100q: %s", e.What, e.Name, e.Reason)
}

// LimitError reports that a limit would be exceeded. Nothing was changed.
type LimitError struct {
	// What is the limited quantity, such as "bytes of State" or "members of one node".
	What  string
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("presence: join: more than %d %s", e.Limit, e.What)
}

// OptionError reports an option that cannot be used.
type OptionError struct{ Option, Reason string }

func (e *OptionError) Error() string {
	return fmt.Sprintf("presence: new: option %s: %s", e.Option, e.Reason)
}
