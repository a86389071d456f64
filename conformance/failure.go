package conformance

import (
	"errors"
	"fmt"
)

// Failure reports that a broker, or a fleet on it, violates a clause.
type Failure struct {
	Clause Clause
	// What describes the violation.
	What string
}

// Error returns the clause's name, the violation, and the clause's text.
func (f *Failure) Error() string {
	return fmt.Sprintf("%v is violated: %s\n    %v: %s", f.Clause, f.What, f.Clause, f.Clause.Text())
}

func fail(clause Clause, format string, args ...any) error {
	return &Failure{Clause: clause, What: fmt.Sprintf(format, args...)}
}

// Skip reports that a case could not run, and why. It is never a pass.
type Skip struct{ Reason string }

func (s *Skip) Error() string { return "not tried: " + s.Reason }

func skip(format string, args ...any) error { return &Skip{fmt.Sprintf(format, args...)} }

// errSetup marks failures of the harness. They are no failures of the broker.
var errSetup = errors.New("conformance: the harness failed")

func setup(what string, err error) error { return fmt.Errorf("%w: %s: %w", errSetup, what, err) }
