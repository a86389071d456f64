package backplane

import (
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/errorlog"
)

// reportCause is what errors have in common that are reported together. No part of it is a value that another process can
// choose freely: it could make up more causes than a Limiter remembers.
type reportCause struct{ kind, op, namespace, text string }

// causeOf is errorlog.Limiter.Cause for the errors of this package: nil for those that are reported one by one.
func causeOf(err error) any {
	switch e := err.(type) {
	case *errorlog.Note:
		return reportCause{"note", "", "", e.Cause}
	case *MessageError:
		if refusedSignature(e.Err) {
			return reportCause{"signature", "", "", reasonText(e.Err)}
		}
		return reportCause{"decode", e.Channel.Protocol().String() + " " + e.Channel.Kind().String(), e.Channel.Namespace(), ""}
	case *OpError:
		if errors.Is(e.Err, ErrStalled) {
			return nil // each names a member that gets no messages
		}
		return reportCause{"op", e.Op, e.Namespace, reasonText(e.Err)}
	case *PanicError:
		return reportCause{kind: "panic", op: e.What}
	case *InterruptedError:
		return reportCause{"interrupted", "", e.Namespace, textOf(e.Err)}
	case *broker.LossError:
		return reportCause{"loss", fmt.Sprint(e.Uncertain), "", textOf(e.Err)}
	}
	return nil
}

// sentinels are the errors that tell causes of one operation apart.
var sentinels = append([]error{ErrBusy, ErrRefused, ErrDuplicateID, ErrTooLarge, ErrOverflow, broker.ErrClosed}, signatureErrors...)

// reasonText returns what errors of one operation have in common: not the text, which may have values that another
// process chose.
func reasonText(err error) string {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return s.Error()
		}
	}
	return fmt.Sprintf("%T", rootOf(err))
}

// textOf returns the text of the first cause of an error of a broker. It has no numbers of the errors around it.
func textOf(err error) string { return errorlog.Printable(fmt.Sprint(rootOf(err)), 200) }

// rootOf returns the first cause of an error.
func rootOf(err error) error {
	for {
		next := errors.Unwrap(err)
		if list, ok := err.(interface{ Unwrap() []error }); ok && len(list.Unwrap()) > 0 {
			next = list.Unwrap()[0]
		}
		if next == nil {
			return err
		}
		err = next
	}
}

// foldedError reports whether an error is a part of what is logged as an outage.
func foldedError(err error) bool {
	switch err.(type) {
	case *InterruptedError, *broker.LossError:
		return true
	}
	return false
}

// merged is errorlog.Limiter.Merge for two errors of one cause.
func merged(waiting, err error) error {
	switch w := waiting.(type) {
	case *errorlog.Note:
		return w.Merged()
	case *MessageError:
		sum := *w
		sum.More += 1 + err.(*MessageError).More
		return &sum
	case *OpError:
		sum := *w
		sum.More += 1 + err.(*OpError).More
		return &sum
	case *PanicError:
		sum := *w
		sum.More += 1 + err.(*PanicError).More
		return &sum
	case *InterruptedError:
		sum := *w
		sum.More += 1 + err.(*InterruptedError).More
		return &sum
	case *broker.LossError:
		sum, l := *w, err.(*broker.LossError)
		sum.Messages += l.Messages
		sum.Bytes += l.Bytes
		return &sum
	}
	return waiting
}
