package brokerkit

// The state that a Connection may query, and how it holds messages back.

// InFlight returns how many messages were written and are not settled. If f is not nil, it is called for each of them
// with a lock held.
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

// Sync calls f while no Put is running and, if OutboxOptions.NonBlocking is set, no Write. It returns the number of
// messages in flight at that moment.
func (o *Outbox[M]) Sync(f func()) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
	return o.flight.Len()
}

// Awaited reports whether a caller waits for the flight to be settled: a Put for room, a message for the window, a
// Flush or Close.
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

// Hold holds messages back until Release or Abandon. It returns true if no message is being written or in flight.
// Otherwise Work gets a value when that may have changed.
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
