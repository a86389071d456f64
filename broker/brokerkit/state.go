package brokerkit

// What a Connection may ask of the outbox, and how it keeps messages back.

// InFlight returns how many messages were written and are not settled. If f is not nil it is
// called for each, with a lock held.
func (o *Outbox[M]) InFlight(f func(M)) int {
	return o.Sync(func() {
		if f == nil {
			return
		}
		for i := range o.flight.Len() {
			f(o.flight.At(i).meta)
		}
	})
}

// Sync calls f while no Put and, if OutboxOptions.NonBlocking is set, no Write is under way.
// It returns how many messages are in flight then.
func (o *Outbox[M]) Sync(f func()) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
	return o.flight.Len()
}

// Awaited reports whether somebody waits for the flight to be settled: a Put for room, a
// message for its place in the window, a Flush or Close.
func (o *Outbox[M]) Awaited() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flight.Len() > 0 && (o.queue.Len() > 0 || o.books.awaited())
}

// Idle reports whether no message waits to be written.
func (o *Outbox[M]) Idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.Len() == 0
}

// Done reports whether Close was called and all messages are settled.
func (o *Outbox[M]) Done() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.books.done()
}

// Hold keeps messages back until Release or Abandon. It reports whether nothing is being
// written or in flight; if not, Work has a value when that may be so.
func (o *Outbox[M]) Hold() (quiet bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = true
	return o.writing == nil && o.flight.Len() == 0
}

// Release ends Hold.
func (o *Outbox[M]) Release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = false
}
