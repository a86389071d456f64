package multilink

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
)

// Dedup makes relay marks and recognizes marks that it has seen. It remembers a limited
// window of numbers for each origin, and a limited number of origins.
type Dedup struct {
	seq atomic.Uint64

	mu       sync.Mutex
	now, old map[string]*Origin // current origins, and earlier ones
}

// Origin is a server that marks its messages.
type Origin struct {
	seen runs // guarded by Dedup.mu
	// turn holds a token while a message of the origin is being delivered. The messages are
	// delivered one at a time, because the next one may arrive on one link while this one is
	// still being delivered from another.
	turn chan struct{}
}

// End marks the end of a message's delivery. It does nothing for a nil Origin.
func (o *Origin) End() {
	if o != nil {
		<-o.turn
	}
}

// relayOrigins is the limit of now. When it is reached, now becomes old, and the former old is
// forgotten.
const relayOrigins = 1024

// Mark returns a new mark of this server.
func (d *Dedup) Mark(uid string) string {
	return socketio.Mark(uid, d.seq.Add(1))
}

// Fresh reports whether a mark (without its link) is seen for the first time. It returns
// false for an unreadable mark, which no Crossroom node writes.
func (d *Dedup) Fresh(mark string) bool {
	o, seq := d.origin(mark)
	return o != nil && d.see(o, seq)
}

// begin waits until no other message of the mark's origin is being delivered. It returns the
// origin if the mark is fresh, and nil otherwise.
func (d *Dedup) begin(mark string) *Origin {
	o, seq := d.origin(mark)
	if o == nil {
		return nil
	}
	o.turn <- struct{}{}
	if !d.see(o, seq) {
		<-o.turn
		return nil
	}
	return o
}

func (d *Dedup) see(o *Origin, seq uint64) (fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return o.seen.fresh(seq)
}

// origin returns the origin and the number of a mark, or nil if the mark is unreadable.
func (d *Dedup) origin(mark string) (*Origin, uint64) {
	name, seq, ok := socketio.SplitMark(mark)
	if !ok || seq == 0 {
		return nil, 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.now[name]
	if o == nil {
		if o = d.old[name]; o == nil {
			o = &Origin{turn: make(chan struct{}, 1)}
		}
		if d.now == nil || len(d.now) >= relayOrigins {
			d.now, d.old = make(map[string]*Origin), d.now
		}
		d.now[strings.Clone(name)] = o
	}
	return o, seq
}
