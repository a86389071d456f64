package natsbroker

// sequences remembers, for one subscription, what has come from which broker, so that
// nothing is delivered twice or out of order. Several filters may select a message,
// of each of which the server sends a copy; and a broker that moves to another server
// may leave messages behind that overtake nobody only by chance.
//
// It is for one goroutine at a time.
type sequences struct {
	now, before map[uint64]*windows // by frame.from; before is an older generation
}

// windows are what has come from one broker, the one used last first. There is a second one
// after a jump of its numbers: anybody who may publish can make one, and what the broker
// itself publishes goes on where it was.
type windows [2]window

// window is a row of numbers: the highest that has come, and of those below it which. The
// zero window is empty: numbers begin with 1.
type window struct {
	last uint64
	seen uint64 // bit i: last-i has come
}

const (
	// publishersKept is how many brokers a generation remembers.
	publishersKept = 4096
	// jump is by how much numbers of one row differ at most. They also count what the broker
	// publishes on other channels.
	jump = 1 << 20
)

// order is what to do with a message.
type order uint8

const (
	inOrder   order = iota // to be delivered
	duplicate              // a copy of what has come
	overtaken              // overtaken by a later one
)

// check judges a message without taking note of it.
func (a *sequences) check(from, seq uint64) order {
	ws := a.windows(from)
	if ws == nil {
		return inOrder
	}
	w := ws.of(seq)
	if w == nil || seq > w.last {
		return inOrder
	}
	if back := w.last - seq; back < 64 && w.seen&(1<<back) != 0 {
		return duplicate
	}
	return overtaken
}

// record takes record of a message that was fresh, or late and is counted as missed.
func (a *sequences) record(from, seq uint64) {
	ws := a.windows(from)
	if ws == nil {
		if a.now == nil || len(a.now) >= publishersKept {
			a.before, a.now = a.now, map[uint64]*windows{}
		}
		ws = &windows{}
		a.now[from] = ws
	}
	w := ws.of(seq)
	if w != &ws[0] {
		ws[0], ws[1] = ws[1], ws[0]
		if w == nil {
			ws[0] = window{last: seq}
		}
		w = &ws[0]
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

// of returns the row that a number belongs to; nil if it begins one.
func (ws *windows) of(seq uint64) *window {
	var nearest *window
	distance := uint64(jump)
	for i := range ws {
		w := &ws[i]
		if d := max(seq, w.last) - min(seq, w.last); w.last > 0 && d < distance {
			nearest, distance = w, d
		}
	}
	return nearest
}

func (a *sequences) windows(from uint64) *windows {
	if ws := a.now[from]; ws != nil {
		return ws
	}
	ws := a.before[from]
	if ws != nil && len(a.now) < publishersKept {
		a.now[from] = ws
	}
	return ws
}
