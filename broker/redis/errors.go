package redisbroker

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// ErrTooOld is the reason of a loss: the message waited in the queue for longer than Options.QueueAge. It may be
// wrapped, together with the reason for the wait.
var ErrTooOld = errors.New("waited too long in the queue")

// ServerError is an error reply of the Redis server, such as NOPERM or WRONGPASS. It may be wrapped.
// redis.HasErrorPrefix of go-redis accepts it too.
type ServerError struct {
	// Command is the refused command, such as "PSUBSCRIBE".
	Command string
	// Reply is the server's text. It begins with a code.
	Reply string
}

func (e *ServerError) Error() string {
	return fmt.Sprintf("the server refused %s: %.300q", e.Command, e.Reply)
}

// Code returns the first word of the reply, such as "NOPERM".
func (e *ServerError) Code() string {
	code, _, _ := strings.Cut(e.Reply, " ")
	return code
}

// hide removes credentials that the reply repeats. A server that does not know AUTH quotes its
// arguments.
func (e *ServerError) hide(secrets ...string) {
	code, text, _ := strings.Cut(e.Reply, " ")
	if i := strings.Index(text, ", with args"); i >= 0 {
		text = text[:i]
	}
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	e.Reply = strings.TrimSpace(code + " " + text)
}

// RedisError marks the type as an error reply for go-redis.
func (e *ServerError) RedisError() {}

// MembershipError reports that a server replied, but does not carry all messages of the fleet. The broker does not use
// the connection, and looks for another server until it finds one. Subscribers and Responders return the error instead.
// So do Subscribe and Add while no subscription is interrupted.
type MembershipError struct {
	Addr string
	// Reason is what the server is instead, such as a replica.
	Reason string
}

func (e *MembershipError) Error() string {
	return fmt.Sprintf("redis %s: not a server of this fleet: %s", e.Addr, e.Reason)
}

// timedOut returns the error for a server that did not reply for the given time.
func timedOut(addr string, after time.Duration) *broker.TimeoutError {
	return &broker.TimeoutError{System: "redis", Addr: addr, After: after}
}

// PrefixError reports a prefix that cannot be used.
type PrefixError struct {
	Prefix, Reason string
}

func (e *PrefixError) Error() string {
	return fmt.Sprintf("redis broker: prefix %.300q: %s", e.Prefix, e.Reason)
}

// ClientError reports a client that cannot be used.
type ClientError struct {
	// Type is the type of the client, such as "*redis.Ring".
	Type   string
	Reason string
}

func (e *ClientError) Error() string { return "redis broker: client " + e.Type + ": " + e.Reason }

// closedWithoutReason reports whether the other side closed a connection without giving a
// reason.
func closedWithoutReason(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isReason reports whether an error says why a server cannot be used: the server's own refusal,
// or the broker's examination.
func isReason(err error) bool {
	var refused *ServerError
	var stray *MembershipError
	return errors.As(err, &refused) || errors.As(err, &stray)
}

// protocolError reports unexpected bytes from the server.
type protocolError string

func (e protocolError) Error() string { return "redis protocol: " + string(e) }

// errNoReceiver is the error of a Subscribe with a nil receiver.
var errNoReceiver = errors.New("redis broker: no receiver")
