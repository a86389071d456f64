package multilink

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/internal/wire"
)

// bridgeSum identifies a message by its content: most senders do not number their messages.
// Messages with the same content are counted, not distinguished.
type bridgeSum [12]byte

func (s bridgeSum) String() string { return base64.RawURLEncoding.EncodeToString(s[:]) }

func parseSum(text string) (s bridgeSum, ok bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(len(s)) {
		return s, false
	}
	n, err := base64.RawURLEncoding.Decode(s[:], []byte(text))
	return s, err == nil && n == len(s)
}

// hasher computes sums. It is not safe for concurrent use.
type hasher struct {
	sha hash.Hash
	buf []byte
}

func newHasher() *hasher { return &hasher{sha: sha256.New()} }

// sum covers all fields that receivers use. All nodes decode the same bytes to the same fields.
func (h *hasher) sum(b *wire.Broadcast) (s bridgeSum) {
	buf := append(h.buf[:0], byte(b.Flags))
	text := func(s string) { buf = append(binary.AppendUvarint(buf, uint64(len(s))), s...) }
	list := func(l []string) {
		buf = binary.AppendUvarint(buf, uint64(len(l)))
		for _, s := range l {
			text(s)
		}
	}
	text(b.Origin)
	list(b.Rooms)
	list(b.All)
	list(b.Except)
	h.sha.Reset()
	h.sha.Write(buf)
	h.sha.Write(b.Payload)
	h.buf = h.sha.Sum(buf[:0])
	copy(s[:], h.buf)
	return s
}

// bridged is a message that was received on one link. All directions from that link share
// it.
type bridged struct {
	id      bridgeSum
	origin  string
	payload []byte
	target  wire.Selection
	number  atomic.Uint64 // of its mark, if this node has forwarded it
}

// size is the number of bytes that a message occupies in the window.
func (m *bridged) size() int {
	n := 384 + len(m.origin) + len(m.payload)
	for _, list := range [...][]string{m.target.Rooms, m.target.All, m.target.Except} {
		for _, s := range list {
			n += 16 + len(s)
		}
	}
	return n
}

// mark returns the mark of this node's copies. It is the same on all links.
func (m *bridged) mark(d *Dedup, uid, link string) string {
	number := m.number.Load()
	for number == 0 {
		m.number.CompareAndSwap(0, d.seq.Add(1))
		number = m.number.Load()
	}
	return socketio.BridgedMark(uid, number, link, m.id.String())
}

// waiting is a message in a window, or the record of a dropped message.
type waiting struct {
	*bridged   // nil if it was dropped
	sum        bridgeSum
	bytes      int // of payload
	seq        uint64
	at         time.Time
	size       int
	prev, next *waiting
	sameNext   *waiting // the next one with the same sum
	in         *bridgeWindow
}

// bridgeWindow holds messages in order, and finds them by their sums.
type bridgeWindow struct {
	head, tail *waiting
	bySum      map[bridgeSum]*sameSum
	len, bytes int
	most       int // maximum of len since the window was empty
}

// sameSum is a list of the messages with one sum, oldest first.
type sameSum struct{ first, last *waiting }

func (w *bridgeWindow) push(e *waiting) {
	if w.bySum == nil {
		w.bySum = map[bridgeSum]*sameSum{}
	}
	if e.prev = w.tail; e.prev == nil {
		w.head = e
	} else {
		e.prev.next = e
	}
	w.tail, e.in = e, w
	if s := w.bySum[e.sum]; s == nil {
		w.bySum[e.sum] = &sameSum{e, e}
	} else {
		s.last.sameNext = e
		s.last = e
	}
	w.len++
	w.most = max(w.most, w.len)
	w.bytes += e.size
}

// find returns the oldest message with a sum, or nil.
func (w *bridgeWindow) find(sum bridgeSum) *waiting {
	if s := w.bySum[sum]; s != nil {
		return s.first
	}
	return nil
}

// remove removes a message from its window, if it is in one. It must be the oldest with its
// sum there.
func (e *waiting) remove() {
	w := e.in
	if w == nil {
		return
	}
	e.in = nil
	if e.prev == nil {
		w.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		w.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	s := w.bySum[e.sum]
	if s.first = e.sameNext; s.first == nil {
		delete(w.bySum, e.sum)
	}
	w.len--
	w.bytes -= e.size
	if w.len == 0 {
		if w.most > busyBridge {
			w.bySum = nil // a map does not shrink
		}
		w.most = 0
	}
	e.prev, e.next, e.sameNext = nil, nil, nil
}

// empty removes all messages and returns their sum.
func (w *bridgeWindow) empty() (all loss) {
	for e := w.head; e != nil; e = w.head {
		all.add(e.bytes)
		e.remove()
	}
	return all
}
