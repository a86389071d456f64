package memorybroker

// ring is a first-in first-out queue in one growing slice. It does not know its
// bound: its owner does.
type ring[T any] struct {
	buf  []T // length is zero or a power of two
	head int
	n    int
}

// keep is the capacity that an empty ring may hold on to.
const keep = 1024

func (r *ring[T]) len() int { return r.n }

func (r *ring[T]) push(v T) {
	if r.n == len(r.buf) {
		bigger := make([]T, max(16, 2*len(r.buf)))
		n := copy(bigger, r.buf[r.head:])
		copy(bigger[n:], r.buf[:r.head])
		r.buf, r.head = bigger, 0
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = v
	r.n++
}

// pop removes the oldest. The ring must not be empty.
func (r *ring[T]) pop() T {
	var zero T
	v := r.buf[r.head]
	r.buf[r.head] = zero // let go of the payload
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	if r.n == 0 && len(r.buf) > keep {
		r.buf, r.head = nil, 0
	}
	return v
}

// first returns the oldest and last the newest, nil if the ring is empty.
func (r *ring[T]) first() *T {
	if r.n == 0 {
		return nil
	}
	return &r.buf[r.head]
}

func (r *ring[T]) last() *T {
	if r.n == 0 {
		return nil
	}
	return &r.buf[(r.head+r.n-1)&(len(r.buf)-1)]
}

// each calls f for every element, the oldest first.
func (r *ring[T]) each(f func(*T)) {
	for i := range r.n {
		f(&r.buf[(r.head+i)&(len(r.buf)-1)])
	}
}

func (r *ring[T]) clear() { *r = ring[T]{} }
