package inbound

import "github.com/crossroom/crossroom/broker"

// work is the worker goroutine. It ends when the queue is closed and empty, or when it has
// been left behind.
func (q *Queue[M]) work() {
	for q.next < len(q.batch) || q.refill() {
		it := &q.batch[q.next]
		q.next++
		if !q.handle(it) {
			return
		}
	}
}

// refill takes a batch out of the queue and waits for one if need be. It returns false
// when the queue is closed and empty.
func (q *Queue[M]) refill() bool {
	q.mu.Lock()
	for len(q.queue) == 0 && !q.closed {
		q.notEmpty.Wait()
	}
	q.batch, q.queue = q.queue, q.batch[:0]
	q.next, q.bytes = 0, 0
	q.notFull.Broadcast()
	q.mu.Unlock()
	q.note()
	return len(q.batch) > 0
}

// Handle handles a message on this goroutine, past the queue. It is for tests: nothing
// else may be under way.
func (q *Queue[M]) Handle(ch broker.Channel, payload []byte) {
	if ch.Kind() == broker.KindRequests {
		q.requests.Add(1)
	}
	q.handle(&item{ch: ch, payload: payload})
}

// handle deals with one item and clears it. It returns false if the worker has been left
// behind.
func (q *Queue[M]) handle(it *item) bool {
	deliver := q.dispatch(it)
	*it = item{}
	if !deliver {
		return true
	}
	return q.deliver(q.begin())
}

// dispatch hands an item to the handler, and reports whether it selected members.
func (q *Queue[M]) dispatch(it *item) (deliver bool) {
	switch it.ch.Kind() {
	case 0:
		if it.err != nil {
			q.handler.Interrupted(it.err)
		} else {
			q.handler.Resumed()
		}
		return false
	case broker.KindRequests:
		defer q.requests.Add(-1)
	case broker.KindRoom:
		// A broker that asks has asked, with few exceptions, and the handler notices those.
		if !q.asked.Load() && !q.handler.Wants(it.ch) {
			q.handler.Unread(it.ch, len(it.payload))
			return false
		}
	}
	return q.handler.Message(it.ch, it.payload, &q.delivery)
}

// deliver runs the turn and ends the delivery. It returns false if the worker has been left
// behind: then it may touch nothing of the queue.
func (q *Queue[M]) deliver(t turn[M]) bool {
	if !t.run() {
		return false
	}
	q.handler.Delivered(&q.delivery)
	q.delivery.Reset()
	return true
}

// resume is the goroutine of a worker that goes on behind a member that has stalled.
func (q *Queue[M]) resume(t turn[M]) {
	if q.deliver(t) {
		q.work()
	}
}
