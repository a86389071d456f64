package multilink

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
)

// Dedup makes relay marks and remembers those that were seen. What it remembers is
// bounded: a window of numbers for each origin, and a number of origins.
type Dedup struct {
	seq atomic.Uint64

	mu       sync.Mutex
	now, old map[string]*Origin // heard lately, and before
}

// Origin is a server that marks what it sends.
type Origin struct {
	seen runs // guarded by Dedup.mu
	// turn holds a token while a message of the origin is being delivered, so that
	// they are delivered one at a time, whatever links they come from: the next one may
	// be here on one link while this one is still being delivered from another.
	turn chan struct{}
}

// End ends the delivery of a message. A nil Origin has no turns.
func (o *Origin) End() {
	if o != nil {
		<-o.turn
	}
}

// With so many origins in now it becomes old, and what was old is forgotten.
const relayOrigins = 1024

// Mark returns a new mark of this server's.
func (d *Dedup) Mark(uid string) string {
	return socketio.Mark(uid, d.seq.Add(1))
}

// Fresh reports whether a mark (without its link) is seen for the first time. An
// unreadable one never is: nothing of ours looks like that.
func (d *Dedup) Fresh(mark string) bool {
	o, seq := d.origin(mark)
	return o != nil && d.see(o, seq)
}

// begin waits for the turn of a mark's origin and keeps it if the mark is fresh.
// Otherwise it returns nil.
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

// origin returns the origin of a mark and its number; nil if it is unreadable.
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
