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

// ErrTooOld is the reason of a loss: the message waited in the queue for longer than Options.QueueAge. It may be
// wrapped, together with the reason for the wait.
var ErrTooOld = errors.New("waited too long in the queue")

// PrefixError reports a prefix that cannot be used.
type PrefixError struct {
	Prefix, Reason string
}

func (e *PrefixError) Error() string {
	return fmt.Sprintf("nats broker: prefix %.300q: %s", e.Prefix, e.Reason)
}

// AddressError reports a server address that cannot be used. It contains no part of the address,
// because any part may belong to an unescaped user, password or token.
type AddressError struct {
	// Number is the position of the address in the list, from 1.
	Number int
	Reason string
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("nats broker: address %d: %s", e.Number, e.Reason)
}

// errOvertaken is why a message counts as missed that arrives after a later one of the same
// publisher. It had stayed at a server to which the publisher lost its connection.
var errOvertaken = errors.New("overtaken by a later message of the same publisher")

// typed adds the error value of nats.go to an error that has only the text of a server.
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

// isReason reports whether an error is a server's reason for refusing a connection.
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

// errLeaving is why a connection ended whose server had announced that it shuts down.
var errLeaving = errors.New("the server is shutting down (lame duck mode)")

// errNoReceiver is the error of a Subscribe with a nil receiver.
var errNoReceiver = errors.New("nats broker: no receiver")
