package conformance

import (
	"errors"
	"fmt"
)

// Failure says that a broker, or a fleet on it, does not keep a clause.
type Failure struct {
	Clause Clause
	// What was seen.
	What string
}

// Error has the clause's name, what was seen, and the clause's text.
func (f *Failure) Error() string {
	return fmt.Sprintf("%v is not kept: %s\n    %v: %s", f.Clause, f.What, f.Clause, f.Clause.Text())
}

func fail(clause Clause, format string, args ...any) error {
	return &Failure{Clause: clause, What: fmt.Sprintf(format, args...)}
}

// Skip says that a case could not be tried, and why. It is never a pass.
type Skip struct{ Reason string }

func (s *Skip) Error() string { return "not tried: " + s.Reason }

func skip(format string, args ...any) error { return &Skip{fmt.Sprintf(format, args...)} }

// errSetup marks failures of the harness, which say nothing about the broker.
var errSetup = errors.New("conformance: the harness failed")

func setup(what string, err error) error { return fmt.Errorf("%w: %s: %w", errSetup, what, err) }
