package inbound

import "github.com/crossroom/crossroom/broker"

// work is the worker goroutine. It ends when the queue is closed and empty, or when the worker has been abandoned.
func (q *Queue[M]) work() {
	for q.next < len(q.batch) || q.refill() {
		it := &q.batch[q.next]
		q.next++
		if !q.handle(it) {
			return
		}
	}
}

// refill takes a batch from the queue, and waits for one if necessary. It returns false when the queue is closed and
// empty.
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

// Handle handles a message on this goroutine, without the queue. It is for tests, while no other message is pending.
func (q *Queue[M]) Handle(ch broker.Channel, payload []byte) {
	if ch.Kind() == broker.KindRequests {
		q.requests.Add(1)
	}
	q.handle(&item{ch: ch, payload: payload})
}

// handle handles one item and clears it. It returns false if the worker has been abandoned.
func (q *Queue[M]) handle(it *item) bool {
	deliver := q.dispatch(it)
	*it = item{}
	if !deliver {
		return true
	}
	return q.deliver(q.begin())
}

// dispatch passes an item to the handler, and reports whether it selected members.
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
		// A broker that calls Wants has done so, with few exceptions, which the handler notices.
		if !q.asked.Load() && !q.handler.Wants(it.ch) {
			q.handler.Unread(it.ch, len(it.payload))
			return false
		}
	}
	return q.handler.Message(it.ch, it.payload, &q.delivery)
}

// deliver runs the turn and ends the delivery. It returns false if the worker has been abandoned: then it must not
// touch the queue.
func (q *Queue[M]) deliver(t turn[M]) bool {
	if !t.run() {
		return false
	}
	q.handler.Delivered(&q.delivery)
	q.delivery.Reset()
	return true
}

// resume is the goroutine of a worker that continues after a stalled member.
func (q *Queue[M]) resume(t turn[M]) {
	if q.deliver(t) {
		q.work()
	}
}
