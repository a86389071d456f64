// Package lifecycle has common functions of brokers for waking, waiting and closing.
package lifecycle

import (
	"context"
	"errors"
	"sync"
)

// Raise puts a value into a channel of capacity 1, unless it has one.
func Raise(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Wait waits until all channels are closed, or until ctx ends: then it returns the context's error, unless all
// channels were closed before. Nil channels count as closed.
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

// Once runs a shutdown once.
type Once struct {
	once sync.Once
	done chan struct{}
	err  error // before done is closed
}

// NewOnce returns a Once that has not run.
func NewOnce() *Once { return &Once{done: make(chan struct{})} }

// Do calls shutDown on the first call. Later calls wait for the first one and return its result, or the error of their
// own context if that ends first.
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

// Join returns the result of Close from the loss and from the error that ended the wait, either of which may be nil.
// An error that the loss wraps already is not repeated.
func Join(lost, late error) error {
	switch {
	case late == nil || errors.Is(lost, late):
		return lost
	case lost == nil:
		return late
	}
	return errors.Join(lost, late)
}
