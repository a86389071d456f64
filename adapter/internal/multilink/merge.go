package multilink

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// Part is the result of a request on one link.
type Part[T any] struct {
	// Link is the index of the link, and Key its key.
	Link  int
	Key   string
	Value T // the zero value if Err is neither nil nor a *backplane.PartialError
	backplane.Coverage
	Err error
}

// Merge returns the coverage of several links together. A node on several links has
// responded if it responded on one of them, because the links share its sockets. failed is
// true if no link has a value.
func Merge[T any](op wire.Op, parts []Part[T]) (f backplane.Coverage, err error, failed bool) {
	var hard []error
	var missing []observe.Missing
	var partial *backplane.PartialError
	for _, p := range parts {
		f.Links = append(f.Links, backplane.LinkCoverage{Prefix: p.Key, Coverage: p.Coverage, Err: p.Err})
		var pe *backplane.PartialError
		if p.Err != nil && !errors.As(p.Err, &pe) {
			hard = append(hard, p.Err)
			continue
		}
		for _, id := range p.Coverage.Answered {
			if !slices.Contains(f.Answered, id) {
				f.Answered = append(f.Answered, id)
			}
		}
		f.Foreign += p.Coverage.Foreign
		f.Unconfirmed += p.Coverage.Unconfirmed
		if f.Uncounted == nil {
			f.Uncounted = p.Coverage.Uncounted
		}
		missing = append(missing, p.Coverage.Missing...)
		if pe != nil && (partial == nil || len(pe.Coverage.Missing) == 0) {
			partial = pe
		}
	}
	for _, m := range missing {
		same := func(o observe.Missing) bool { return m.Node != "" && o.Node == m.Node }
		if m.Node != "" && slices.Contains(f.Answered, m.Node) || slices.ContainsFunc(f.Missing, same) {
			continue
		}
		f.Missing = append(f.Missing, m)
	}
	if len(hard) == len(parts) {
		return f, First(hard...), true
	}
	if partial != nil && (len(f.Missing) > 0 || f.Uncounted != nil || len(partial.Coverage.Missing) == 0) {
		hard = append(hard, wire.FromAdapter(&backplane.PartialError{Op: op.String(), Coverage: f, Err: partial.Err}))
	}
	return f, First(hard...), false
}

// First returns one error for errs: the error of a context if there is one, else all joined.
func First(errs ...error) error {
	var kept []error
	for _, err := range errs {
		switch {
		case err == nil:
		case err == context.Canceled || err == context.DeadlineExceeded:
			return err
		default:
			kept = append(kept, err)
		}
	}
	if len(kept) == 1 {
		return kept[0]
	}
	return errors.Join(kept...)
}

// Each calls f for all elements concurrently and returns the results in order. The first
// call is on the caller's goroutine, and usually it is the only one.
func Each[E, T any](list []E, f func(E) T) []T {
	out := make([]T, len(list))
	var wg sync.WaitGroup
	for i := 1; i < len(list); i++ {
		wg.Go(func() { out[i] = f(list[i]) })
	}
	if len(list) > 0 {
		out[0] = f(list[0])
	}
	wg.Wait()
	return out
}
