// Package signals is for channels that carry no values: those that hold one wake-up,
// and those that are closed.
package signals

import "context"

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
