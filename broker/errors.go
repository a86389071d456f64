package broker

import (
	"errors"
	"fmt"
	"time"
)

// ErrClosed is returned by calls after Close. It may be wrapped.
var ErrClosed = errors.New("broker closed")

// ErrSlowReceiver is the reason of an interruption when a subscription's buffer was full for too long. Interrupted gets
// it in a *LossError, with the number of messages that the receiver missed. Make the receiver faster, or its buffer
// larger.
var ErrSlowReceiver = errors.New("broker: the receiver is too slow, and its buffer is full")

// NameError reports that a broker cannot carry a channel with these names. Choose another name. The reason "no such
// channel" means the zero Channel, or a kind that the protocol does not have.
type NameError struct {
	Channel Channel
	Reason  string
}

func (e *NameError) Error() string {
	// A hostile name must not fill a log, so it is cut to 300 bytes.
	return fmt.Sprintf("broker: %.300s: %s", e.Channel.String(), e.Reason)
}

// ProtocolError reports that a broker does not carry a protocol, or that the protocol has no such channel or filter on
// the broker's system [B31]. It wraps errors.ErrUnsupported.
type ProtocolError struct {
	Protocol Protocol
	Reason   string
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("broker: protocol %s: %s", e.Protocol, e.Reason)
}

func (e *ProtocolError) Unwrap() error { return errors.ErrUnsupported }

// PayloadError reports that a payload is larger than the broker can carry. Send less, or raise the limit of the broker
// or its server.
type PayloadError struct {
	Size, Max int // bytes
}

func (e *PayloadError) Error() string {
	return fmt.Sprintf("broker: payload of %d bytes exceeds the limit of %d", e.Size, e.Max)
}

// InexactError reports that Subscribers or Responders did not see the whole system [B30]. Each returned number is a
// lower bound, and the list of ids may be incomplete. Both are nil if nothing is known.
type InexactError struct {
	// Err is the cause, such as an unresponsive server or a missing permission.
	Err error
}

func (e *InexactError) Error() string {
	return fmt.Sprintf("broker: not every subscriber could be counted: %v", e.Err)
}

func (e *InexactError) Unwrap() error { return e.Err }

// MarshalText returns the text of the error, for a result as JSON.
func (e *InexactError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// TimeoutError reports that a broker gave up a connection because the server was unresponsive: it is frozen, or the
// link is dead. The broker reconnects by itself.
type TimeoutError struct {
	// System is the Name of the broker's Capabilities, and Addr the server.
	System, Addr string
	// After is how long the broker received no response.
	After time.Duration
	// Hint is a likely cause to check, or empty.
	Hint string
}

func (e *TimeoutError) Error() string {
	text := fmt.Sprintf("%s %s: no response for %v", e.System, e.Addr, e.After.Round(time.Millisecond))
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Timeout returns true, as for a net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Loss reports messages that Publish accepted, and that did not reach the system, or may not have. It does not have the
// messages.
type Loss struct {
	Messages, Bytes int // Bytes are those of payloads
	// Uncertain means that the messages were being sent when the connection broke, and may have arrived. They are not
	// sent again. In a LossError it means that some of them were.
	Uncertain bool
	// Err is the cause, for errors.Is and errors.As: the broker's ErrTooOld, the system's refusal, the lost connection,
	// or the error of Close's context. In a LossError with several causes it may be only one of them.
	Err error
}

// GapError is the argument of Receiver.Interrupted for an interruption that affects only some channels of a
// subscription: those of one server of a system that spreads them over several [B14]. Messages on the other channels
// arrive meanwhile.
type GapError struct {
	// Filters are those that may miss messages since the interruption began. Others may join them before Resumed, without
	// another call of Interrupted. The receiver owns the slice.
	Filters []Filter
	// Err is the cause, for errors.Is and errors.As.
	Err error
}

func (e *GapError) Error() string {
	if len(e.Filters) == 1 {
		return fmt.Sprintf("broker: %.300s: %v", e.Filters[0].String(), e.Err)
	}
	return fmt.Sprintf("broker: %d filters: %v", len(e.Filters), e.Err)
}

func (e *GapError) Unwrap() error { return e.Err }

// LossError is a Loss as an error. From Flush and Close it has the lost messages that no earlier Flush returned: those of
// all channels, and of all callers of Publish. Two Flush calls at the same time may return the same losses. In
// Receiver.Interrupted it has the messages that were not delivered; Messages is zero if the number is unknown.
type LossError struct {
	Loss
}

func (e *LossError) Error() string {
	word := "lost"
	if e.Uncertain {
		word = "lost or uncertain"
	}
	if e.Messages == 0 {
		return fmt.Sprintf("broker: messages %s: %v", word, e.Err)
	}
	return fmt.Sprintf("broker: %d messages (%d bytes) %s: %v", e.Messages, e.Bytes, word, e.Err)
}

func (e *LossError) Unwrap() error { return e.Err }
