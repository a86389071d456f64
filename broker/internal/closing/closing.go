// Package closing is what the Close of every broker has in common.
package closing

import (
	"context"
	"errors"
	"sync"

	"github.com/crossroom/crossroom/broker/internal/signals"
)

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
	} else if err := signals.Wait(ctx, o.done); err != nil {
		return err
	}
	return o.err
}

// Join returns what Close has to say: what was lost, and why it could not wait for
// everything to end, of which either may be nil. What the loss says already is not said
// twice.
func Join(lost, late error) error {
	switch {
	case late == nil || errors.Is(lost, late):
		return lost
	case lost == nil:
		return late
	}
	return errors.Join(lost, late)
}
