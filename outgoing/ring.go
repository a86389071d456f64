package outgoing

// ring is a first-in first-out queue that grows and reuses its memory. The zero value is empty. Its owner enforces the
// limits.
type ring[T any] struct {
	slots []entry[T] // the length is a power of two
	head  int        // index of the first entry
	n     int
}

// entry is a waiting message.
type entry[T any] struct {
	value    T
	size     uint32
	volatile bool
}

const (
	minSlots = 4 // that an idle queue keeps
	maxSize  = 1<<31 - 1
)

func (r *ring[T]) at(i int) *entry[T] { return &r.slots[(r.head+i)&(len(r.slots)-1)] }

func (r *ring[T]) push(e entry[T]) {
	if r.n == len(r.slots) {
		grown := make([]entry[T], max(minSlots, 2*r.n))
		n := copy(grown, r.slots[r.head:])
		copy(grown[n:], r.slots[:r.head])
		r.slots, r.head = grown, 0
	}
	r.n++
	*r.at(r.n - 1) = e
}

// pop removes the first entry. The ring must not be empty.
func (r *ring[T]) pop() entry[T] {
	first := r.at(0)
	e := *first
	*first = entry[T]{} // drop the reference
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.n--
	return e
}

// removeVolatile removes the volatile entries and leaves the others in order.
func (r *ring[T]) removeVolatile() {
	kept := 0
	for i := range r.n {
		if e := r.at(i); !e.volatile {
			*r.at(kept) = *e
			kept++
		}
	}
	for i := kept; i < r.n; i++ {
		*r.at(i) = entry[T]{}
	}
	r.n = kept
}

// trim releases memory that an idle queue should not keep. The ring must be empty.
func (r *ring[T]) trim() {
	if len(r.slots) > minSlots {
		*r = ring[T]{}
	}
}
