package conformance

import (
	"testing"

	"github.com/crossroom/crossroom/backplane"
)

// Quietly returns a harness whose run records no attributes, because the run is not about a broker.
func (h Harness) Quietly() Harness {
	h.quiet = true
	return h
}

// ReportOf returns the report of a case whose results were errs.
func ReportOf(c Case, errs ...error) *Report {
	r := &Report{clauses: BrokerClauses()}
	for _, err := range errs {
		r.add(c, err)
	}
	return r
}

// OpenedWith returns the keys and the mode of the nodes on a system that Run or Soak opens.
func (h Harness) OpenedWith(tb testing.TB) (*backplane.Keyring, backplane.SubscriptionMode) {
	sys := h.open(tb, new(Report))
	return sys.keys, sys.subscription
}
