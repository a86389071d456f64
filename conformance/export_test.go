package conformance

// Quietly returns a harness whose run records no attributes, because the run is not about a broker.
func (h Harness) Quietly() Harness {
	h.quiet = true
	return h
}
