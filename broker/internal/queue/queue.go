// Package queue is a first-in first-out queue for brokers.
package queue

// FIFO is a queue that reuses its memory. The zero value is empty. Its owner limits its length and guards it.
type FIFO[T any] struct {
	items []T
	head  int
}

// Len returns the number of items.
func (q *FIFO[T]) Len() int { return len(q.items) - q.head }

// Push appends an item.
func (q *FIFO[T]) Push(v T) { q.items = append(q.items, v) }

// Front returns a pointer to the first item, valid until the queue changes. The queue must not be empty.
func (q *FIFO[T]) Front() *T { return &q.items[q.head] }

// At returns a pointer to the item with index i, on the same terms.
func (q *FIFO[T]) At(i int) *T { return &q.items[q.head+i] }

// Back returns a pointer to the last item, on the same terms.
func (q *FIFO[T]) Back() *T { return &q.items[len(q.items)-1] }

// Pop removes the first item and returns it. The queue must not be empty.
func (q *FIFO[T]) Pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero // drop the reference
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

// PopBack removes the last item and returns it. The queue must not be empty.
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

// PushFront inserts an item before the first.
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

// Keep removes the items for which f returns false, and keeps the order of the others.
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
