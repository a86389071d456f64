package conformance

// Quietly returns a harness whose run leaves no attributes: it is not about a broker.
func (h Harness) Quietly() Harness {
	h.quiet = true
	return h
}
