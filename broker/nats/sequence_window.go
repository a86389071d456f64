package natsbroker

// sequences records, for one subscription, which messages of which broker have arrived, so that no
// message is delivered twice or out of order. Several filters may select a message, and the server
// sends a copy for each. A broker that moves to another server may leave messages behind that
// arrive later.
//
// It is for one goroutine at a time.
type sequences struct {
	now, before map[uint64]*windows // by frame.from; before is an older generation
}

// windows are the windows of one broker, the last used first. The second one is for a jump of the
// numbers: any client that may publish can make one, and then the broker's own messages continue
// in the former window.
type windows [2]window

// window is a range of numbers: the highest number that has arrived, and which of those below it
// have. The zero window is empty, because numbers begin with 1.
type window struct {
	last uint64
	seen uint64 // bit i: last-i has arrived
}

const (
	// publishersKept limits the number of brokers in a generation.
	publishersKept = 4096
	// jump is the largest difference of two numbers in one window. The numbers also count the
	// broker's messages on other channels.
	jump = 1 << 20
)

// order is what to do with a message.
type order uint8

const (
	inOrder   order = iota // deliver it
	duplicate              // a copy of a message that has arrived
	overtaken              // a later message has arrived before
)

// check returns the order of a message. It does not record the message.
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

// record records a message that was in order, or that was overtaken and counts as missed.
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

// of returns the window that a number belongs to; nil if it begins a new one.
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
