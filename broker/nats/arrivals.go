package natsbroker

// arrivals remembers, for one subscription, what has come from which broker, so that
// nothing is delivered twice or out of order. Several filters may select a message,
// of each of which the server sends a copy; and a broker that moves to another server
// may leave messages behind that overtake nobody only by chance.
//
// It is for one goroutine at a time.
type arrivals struct {
	now, before map[uint64]*window // by frame.from; before is an older generation
}

// window is what has come from one broker: the highest number, and of those below
// it which.
type window struct {
	last uint64
	seen uint64 // bit i: last-i has come
}

// publishersKept is how many brokers a generation remembers.
const publishersKept = 4096

// verdict is what to do with a message.
type verdict uint8

const (
	fresh verdict = iota // to be delivered
	again                // a copy of what has come
	late                 // overtaken by a later one
)

// look judges a message without taking note of it.
func (a *arrivals) look(from, seq uint64) verdict {
	w := a.window(from)
	if w == nil || seq > w.last {
		return fresh
	}
	if back := w.last - seq; back < 64 && w.seen&(1<<back) != 0 {
		return again
	}
	return late
}

// note takes note of a message that was fresh, or late and is counted as missed.
func (a *arrivals) note(from, seq uint64) {
	w := a.window(from)
	if w == nil {
		if a.now == nil || len(a.now) >= publishersKept {
			a.before, a.now = a.now, map[uint64]*window{}
		}
		w = &window{last: seq}
		a.now[from] = w
	}
	switch {
	case seq > w.last:
		if shift := seq - w.last; shift < 64 {
			w.seen <<= shift
		} else {
			w.seen = 0
		}
		w.last = seq
		w.seen |= 1
	case w.last-seq < 64:
		w.seen |= 1 << (w.last - seq)
	}
}

func (a *arrivals) window(from uint64) *window {
	if w := a.now[from]; w != nil {
		return w
	}
	w := a.before[from]
	if w != nil && len(a.now) < publishersKept {
		a.now[from] = w
	}
	return w
}
