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

// ErrTooOld is why a message was lost that waited in the queue for longer than
// Options.QueueAge. It arrives wrapped, together with what kept it waiting.
var ErrTooOld = errors.New("waited too long in the queue")

// ServerError is an error that the Redis server answered with, such as NOPERM or
// WRONGPASS. It arrives wrapped. It is also a redis.Error, so that
// redis.HasErrorPrefix works on it.
type ServerError struct {
	// Command that was refused, such as "PSUBSCRIBE".
	Command string
	// Reply is the server's text, which begins with a code.
	Reply string
}

func (e *ServerError) Error() string { return fmt.Sprintf("%s refused: %.300s", e.Command, e.Reply) }

// Code returns the first word of the reply, such as "NOPERM".
func (e *ServerError) Code() string {
	code, _, _ := strings.Cut(e.Reply, " ")
	return code
}

// hide removes what the command may have repeated of the credentials. A server that does
// not know AUTH quotes its arguments.
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

// MembershipError says that a connection was not made, or given up, although its server
// answers: the server does not carry the fleet's messages, or not all of them. The broker
// looks for another server, for as long as it takes.
type MembershipError struct {
	Addr string
	// Reason says what the server is, such as a replica.
	Reason string
}

func (e *MembershipError) Error() string {
	return fmt.Sprintf("redis %s: not a server of this fleet: %s", e.Addr, e.Reason)
}

// timedOut says that a server did not respond.
func timedOut(addr string, after time.Duration) *broker.TimeoutError {
	return &broker.TimeoutError{System: "redis", Addr: addr, After: after}
}

// PrefixError says that a prefix cannot be used.
type PrefixError struct {
	Prefix, Reason string
}

func (e *PrefixError) Error() string {
	return fmt.Sprintf("redis broker: prefix %.300q: %s", e.Prefix, e.Reason)
}

// ClientError says that a client cannot be used.
type ClientError struct {
	// Type of the client, such as "*redis.Ring".
	Type   string
	Reason string
}

func (e *ClientError) Error() string { return "redis broker: client " + e.Type + ": " + e.Reason }

// closedWithoutReason reports whether the other side closed a connection and said
// nothing.
func closedWithoutReason(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isReason reports whether an error says why a server is of no use, be it the server's
// word or the broker's.
func isReason(err error) bool {
	var refused *ServerError
	var stray *MembershipError
	return errors.As(err, &refused) || errors.As(err, &stray)
}

// protocolError says that bytes from the server were not what was to come.
type protocolError string

func (e protocolError) Error() string { return "redis protocol: " + string(e) }

// errNoReceiver refuses a Subscribe without a receiver.
var errNoReceiver = errors.New("redis broker: no receiver")
