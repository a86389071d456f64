package wire

import (
	"context"
	"iter"
)

// Sequence makes an iterator of a function that passes each element on, and returns an error at the end. The iterator
// passes the error on last, unless the loop has ended before.
func Sequence[E any](ctx context.Context, each func(yield func(E) bool) error) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var none E
		if ctx == nil {
			yield(none, ErrNilContext)
			return
		}
		stopped := false
		err := each(func(e E) bool {
			stopped = !yield(e, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(none, err)
		}
	}
}
