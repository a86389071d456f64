package monitor

import (
	"sync"

	"github.com/crossroom/crossroom/backplane/observe"
)

// maxChanges limits the changes that wait for observers.
const maxChanges = 1 << 16

// changes passes changes to observers on a goroutine of its own, in order. It never blocks those who note a change:
// what exceeds maxChanges is counted and dropped.
type changes struct {
	mu      sync.Mutex
	wake    sync.Cond
	queue   []observe.Change
	working int // changes that the goroutine has taken and not passed on
	lost    int // since the last one that was queued
	closed  bool
}

// Changed notes a change. It may be called under any lock, and only if Observers.Change is set.
func (m *Monitor) Changed(c observe.Change) {
	q := &m.changes
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if len(q.queue)+q.working >= maxChanges {
		q.lost++
		m.ChangesLost.Add(1)
		return
	}
	c.Source, c.Lost = m.Source, q.lost
	q.lost = 0
	if q.queue = append(q.queue, c); len(q.queue) == 1 {
		q.wake.Signal()
	}
}

// keepChanges limits the memory for changes that is kept for the next ones.
const keepChanges = 1 << 10

// RunChanges is the goroutine that calls Changed of observers. It ends after Close, when nothing waits any more.
func (m *Monitor) RunChanges() {
	q := &m.changes
	var batch []observe.Change
	for {
		clear(batch)
		if cap(batch) > keepChanges {
			batch = nil
		}
		q.mu.Lock()
		for len(q.queue) == 0 && !q.closed {
			q.wake.Wait()
		}
		batch, q.queue = q.queue, batch[:0]
		q.working = len(batch)
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for i := range batch {
			m.Observed("Changed", func() { m.Observers.Change.Changed(batch[i]) })
			q.mu.Lock()
			q.working--
			q.mu.Unlock()
		}
	}
}

// Close ends Run and RunChanges when what waits has been passed on.
func (m *Monitor) Close() {
	m.reporter.Close()
	m.changes.close()
}

func (q *changes) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Signal()
}
