package natsbroker

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
)

// ErrTooOld is why a message was lost that waited in the queue for longer than
// Options.QueueAge. It arrives wrapped, together with what kept it waiting.
var ErrTooOld = errors.New("waited too long in the queue")

// ErrSlowReceiver is why a receiver was interrupted that did not keep up: its buffer
// was full (Options.ReceiveBuffer). It arrives in a *broker.LossError with the number
// of messages that it missed.
var ErrSlowReceiver = errors.New("the receiver does not keep up")

// PrefixError says that a prefix cannot be used.
type PrefixError struct {
	Prefix, Reason string
}

func (e *PrefixError) Error() string {
	return fmt.Sprintf("nats broker: prefix %.300q: %s", e.Prefix, e.Reason)
}

// AddressError says that a server's address cannot be used. It has no part of the address: a
// user, a password or a token that is not escaped may be anywhere in it.
type AddressError struct {
	// Number of the address in the list, from 1.
	Number int
	Reason string
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("nats broker: address %d: %s", e.Number, e.Reason)
}

// errOvertaken is why a message is missed that arrives after a later one of the same
// publisher: it had been left behind at a server that the publisher has lost.
var errOvertaken = errors.New("overtaken by a later message of the same publisher")

// typed adds to an error that has the words of a server the one of nats.go's for it.
func typed(err error) error {
	for words, meant := range map[string]error{
		"nats: maximum connections exceeded":     nats.ErrMaxConnectionsExceeded,
		"nats: maximum payload violation":        nats.ErrMaxPayload,
		"nats: maximum subscriptions exceeded":   nats.ErrMaxSubscriptionsExceeded,
		"nats: secure connection - tls required": nats.ErrSecureConnRequired,
		"nats: user authentication expired":      nats.ErrAuthExpired,
		"nats: user authentication revoked":      nats.ErrAuthRevoked,
		"nats: account authentication expired":   nats.ErrAccountAuthExpired,
	} {
		if strings.EqualFold(err.Error(), words) && !errors.Is(err, meant) {
			return fmt.Errorf("%w (%w)", err, meant)
		}
	}
	return err
}

// isReason reports whether an error has a server's reason for refusing a connection.
func isReason(err error) bool {
	return slices.ContainsFunc([]error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrPermissionViolation,
		nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded, nats.ErrMaxSubscriptionsExceeded, nats.ErrSecureConnRequired,
	}, func(reason error) bool { return errors.Is(err, reason) })
}

// closedWithoutReason reports whether a server closed a connection and gave no reason.
func closedWithoutReason(err error) bool {
	return !errors.Is(err, errLeaving) && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// errLeaving is why a connection ended whose server had said that it shuts down.
var errLeaving = errors.New("the server is shutting down (lame duck mode)")

// errNoReceiver refuses a Subscribe without a receiver.
var errNoReceiver = errors.New("nats broker: no receiver")
