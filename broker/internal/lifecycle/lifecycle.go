// Package lifecycle has what brokers need to wake, to wait and to close.
package lifecycle

import (
	"context"
	"errors"
	"sync"
)

// Raise puts a wake-up into a channel of capacity 1, unless there is one.
func Raise(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Wait waits until all channels are closed, or ctx ends: then it returns its error,
// unless they were all closed before. Nil channels count as closed.
func Wait(ctx context.Context, all ...<-chan struct{}) error {
	for _, ch := range all {
		if ch == nil {
			continue
		}
		select {
		case <-ch:
			continue
		default:
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Once closes something once.
type Once struct {
	once sync.Once
	done chan struct{}
	err  error // before done is closed
}

// NewOnce returns one for something that is not closed.
func NewOnce() *Once { return &Once{done: make(chan struct{})} }

// Do calls shutDown, if this is the first call. Later calls wait for the first one and
// return the same, or the error of their own context if that ends before.
func (o *Once) Do(ctx context.Context, shutDown func(context.Context) error) error {
	first := false
	o.once.Do(func() { first = true })
	if first {
		o.err = shutDown(ctx)
		close(o.done)
	} else if err := Wait(ctx, o.done); err != nil {
		return err
	}
	return o.err
}

// Join returns the result of Close: what was lost, and why Close could not wait for
// everything to end, of which either may be nil. An error that the loss wraps already is
// not repeated.
func Join(lost, late error) error {
	switch {
	case late == nil || errors.Is(lost, late):
		return lost
	case lost == nil:
		return late
	}
	return errors.Join(lost, late)
}
