package adapter

import (
	"errors"
	"slices"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// part is what came of a question on one link.
type part[T any] struct {
	link  *link
	value T // nil if err is no *backplane.PartialError
	fleet backplane.Coverage
	err   error
}

// mergeFleets says who stands behind the answers of several links taken together. A
// node that is on several links has answered if it did so on one of them, as they
// share its sockets. failed is true if no link has a value.
func mergeFleets[T any](ns *Namespace, op wire.Op, parts []part[T]) (f backplane.Coverage, err error, failed bool) {
	var hard []error
	var missing []backplane.Missing
	var partial *backplane.PartialError
	for _, p := range parts {
		if len(ns.legs) > 1 {
			f.Links = append(f.Links, backplane.LinkCoverage{Prefix: p.link.key, Coverage: p.fleet, Err: p.err})
		}
		var pe *backplane.PartialError
		if p.err != nil && !errors.As(p.err, &pe) {
			hard = append(hard, p.err)
			continue
		}
		for _, id := range p.fleet.Answered {
			if !slices.Contains(f.Answered, id) {
				f.Answered = append(f.Answered, id)
			}
		}
		f.Foreign += p.fleet.Foreign
		f.Unconfirmed += p.fleet.Unconfirmed
		if f.Uncounted == nil {
			f.Uncounted = p.fleet.Uncounted
		}
		missing = append(missing, p.fleet.Missing...)
		if pe != nil && (partial == nil || len(pe.Coverage.Missing) == 0) {
			partial = pe
		}
	}
	for _, m := range missing {
		same := func(o backplane.Missing) bool { return m.Node != "" && o.Node == m.Node }
		if m.Node != "" && slices.Contains(f.Answered, m.Node) || slices.ContainsFunc(f.Missing, same) {
			continue
		}
		f.Missing = append(f.Missing, m)
	}
	if len(hard) == len(parts) {
		return f, firstOf(hard), true
	}
	if partial != nil && (len(f.Missing) > 0 || f.Uncounted != nil || len(partial.Coverage.Missing) == 0) {
		hard = append(hard, &backplane.PartialError{Op: op.String(), Coverage: f, Err: partial.Err})
	}
	return f, firstOf(hard), false
}
