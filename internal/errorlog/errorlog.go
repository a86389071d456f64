// Package errorlog passes the errors that no call returns to the application, by one rule for packages backplane and
// adapter.
package errorlog

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Sink passes errors to a logger and to a function of the application. The zero Sink passes them to nothing.
type Sink struct {
	from    string
	logger  *slog.Logger
	onError func(context.Context, error)
	stack   func(error) []byte
}

// New makes a sink. from is the message of each line in the log. A nil logger means slog.Default(), or no log if
// onError is not nil. stack returns the stack of an error that reports a panic, and nil for other errors.
func New(from string, logger *slog.Logger, onError func(context.Context, error), stack func(error) []byte) Sink {
	if logger == nil && onError == nil {
		logger = slog.Default()
	}
	return Sink{from, logger, onError, stack}
}

// Handle passes an error on. It logs the panic of a callback at level error, with its stack, and other errors as
// warnings. It returns false if the logger or the function panicked.
func (s *Sink) Handle(ctx context.Context, err error) (ok bool) {
	ok = true
	if n, is := err.(*Note); is {
		return s.logger == nil || s.guard(func() { s.note(ctx, n) }, func(any) {})
	}
	if s.logger != nil {
		ok = s.guard(func() { s.log(ctx, err) }, func(any) {})
	}
	return s.Call(ctx, err) && ok
}

// Call passes an error on to the function and not to the logger.
func (s *Sink) Call(ctx context.Context, err error) (ok bool) {
	return s.onError == nil || s.guard(func() { s.onError(ctx, err) }, s.handlerPanicked)
}

func (s *Sink) log(ctx context.Context, err error) {
	if stack := s.stack(err); stack != nil {
		s.logger.LogAttrs(ctx, slog.LevelError, s.from, slog.Any("error", err), slog.String("stack", string(stack)))
		return
	}
	s.logger.LogAttrs(ctx, slog.LevelWarn, s.from, slog.Any("error", err))
}

// handlerPanicked logs a panic of the function that handles errors: no other handler exists.
func (s *Sink) handlerPanicked(v any) {
	logger, stack := s.logger, string(debug.Stack())
	if logger == nil {
		logger = slog.Default()
	}
	s.guard(func() {
		logger.LogAttrs(context.Background(), slog.LevelError, s.from, slog.String("error", fmt.Sprintf("OnError panicked: %v", v)), slog.String("stack", stack))
	}, func(any) {})
}

// guard calls f. If it panics, guard calls panicked and returns false.
func (s *Sink) guard(f func(), panicked func(v any)) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			ok = false
			panicked(v)
		}
	}()
	f()
	return true
}
