// Package queue is a first-in first-out queue, for what brokers hold.
package queue

// FIFO is a queue that keeps its memory. The zero value is empty. It does not know its
// bound: its owner does, and guards it.
type FIFO[T any] struct {
	items []T
	head  int
}

// Len returns how many items there are.
func (q *FIFO[T]) Len() int { return len(q.items) - q.head }

// Push puts an item behind the last.
func (q *FIFO[T]) Push(v T) { q.items = append(q.items, v) }

// Front points to the first item, until the queue changes. It must not be empty.
func (q *FIFO[T]) Front() *T { return &q.items[q.head] }

// At points to the item with i others before it, on the same terms.
func (q *FIFO[T]) At(i int) *T { return &q.items[q.head+i] }

// Back points to the last item, on the same terms.
func (q *FIFO[T]) Back() *T { return &q.items[len(q.items)-1] }

// Pop takes the first item off. The queue must not be empty.
func (q *FIFO[T]) Pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero // let go of what it points to
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head >= 64 && q.head > len(q.items)/2:
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return v
}

// PopBack takes the last item off. The queue must not be empty.
func (q *FIFO[T]) PopBack() T {
	var zero T
	last := len(q.items) - 1
	v := q.items[last]
	q.items[last] = zero
	q.items = q.items[:last]
	if q.head == last {
		q.items, q.head = q.items[:0], 0
	}
	return v
}

// PushFront puts an item before the first.
func (q *FIFO[T]) PushFront(v T) {
	if q.head == 0 {
		var zero T
		q.items = append(q.items, zero)
		copy(q.items[1:], q.items)
		q.items[0] = v
		return
	}
	q.head--
	q.items[q.head] = v
}

// Keep removes the items for which f reports false, and leaves the others in order.
func (q *FIFO[T]) Keep(f func(*T) bool) {
	kept := q.items[:0]
	for i := q.head; i < len(q.items); i++ {
		if f(&q.items[i]) {
			kept = append(kept, q.items[i])
		}
	}
	clear(q.items[len(kept):])
	q.items, q.head = kept, 0
}
