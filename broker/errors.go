package broker

import (
	"errors"
	"fmt"
	"time"
)

// ErrClosed is returned by a broker after Close. It may arrive wrapped.
var ErrClosed = errors.New("broker closed")

// NameError says that a channel's names cannot be carried.
type NameError struct {
	Channel Channel
	Reason  string
}

func (e *NameError) Error() string {
	// %.300s of a hostile name: an error must not be a way to fill a log.
	return fmt.Sprintf("broker: %.300s: %s", e.Channel.String(), e.Reason)
}

// ProtocolError says that a broker does not carry a protocol, or that the protocol has no
// such channel or filter on the broker's system [B31]. It is an errors.ErrUnsupported.
type ProtocolError struct {
	Protocol Protocol
	Reason   string
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("broker: protocol %s: %s", e.Protocol, e.Reason)
}

func (e *ProtocolError) Unwrap() error { return errors.ErrUnsupported }

// PayloadError says that a payload is larger than the broker can carry.
type PayloadError struct {
	Size, Max int // bytes
}

func (e *PayloadError) Error() string {
	return fmt.Sprintf("broker: payload of %d bytes is over the limit of %d", e.Size, e.Max)
}

// InexactError says that Subscribers or Responders did not see the whole system [B30].
// Each number beside it is a lower bound, and the list of ids may lack some. Without
// numbers or a list nothing was seen, and only known peers can be addressed by name.
type InexactError struct {
	// Err says why, such as a server that did not respond, or a missing permission.
	Err error
}

func (e *InexactError) Error() string {
	return fmt.Sprintf("broker: not every subscriber could be counted: %v", e.Err)
}

func (e *InexactError) Unwrap() error { return e.Err }

// MarshalText returns the text of the error, for a result as JSON.
func (e *InexactError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// TimeoutError says that a broker gave up a connection because the server did not respond in
// time: it is frozen, or the link is dead. It arrives wrapped.
type TimeoutError struct {
	// System is the Name of the broker's Capabilities, and Addr the server.
	System, Addr string
	// After is how long nothing came.
	After time.Duration
	// Hint is a likely cause to look into, or empty.
	Hint string
}

func (e *TimeoutError) Error() string {
	text := fmt.Sprintf("%s %s: no response for %v", e.System, e.Addr, e.After.Round(time.Millisecond))
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Timeout returns true, as of a net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Loss tells of messages that Publish accepted and that did not, or may not have,
// reached the system.
type Loss struct {
	Messages, Bytes int
	// Uncertain: they were being sent when the connection broke, and may have
	// arrived. They are not sent again.
	Uncertain bool
	// Err says why; errors.Is and errors.As see through it.
	Err error
}

// LossError is a Loss as an error. From Flush and Close it counts what their
// caller's messages suffered; in Receiver.Interrupted it counts messages that were
// not delivered, and Messages is zero if nobody knows how many.
type LossError struct {
	Loss
}

func (e *LossError) Error() string {
	word := "lost"
	if e.Uncertain {
		word = "lost or perhaps sent"
	}
	if e.Messages == 0 {
		return fmt.Sprintf("broker: messages %s: %v", word, e.Err)
	}
	return fmt.Sprintf("broker: %d messages (%d bytes) %s: %v", e.Messages, e.Bytes, word, e.Err)
}

func (e *LossError) Unwrap() error { return e.Err }
