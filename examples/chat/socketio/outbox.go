package socketio

import (
	"context"
	"sync"

	"github.com/crossroom/crossroom/adapter"
)

// outbox is what waits to be sent to one connection: bounded, and never blocking those
// who put something in.
type outbox struct {
	maxCount, maxBytes int

	mu           sync.Mutex
	waiting      []adapter.Frames
	count, bytes int  // what the writer has taken and not yet written included
	closed       bool // nothing more is put in
	wake         chan struct{}
}

// verdict says what became of a packet.
type verdict int

const (
	queued verdict = iota
	leftOut
	full
	ended
)

func (o *outbox) init(maxCount, maxBytes int) {
	o.maxCount, o.maxBytes, o.wake = maxCount, maxBytes, make(chan struct{}, 1)
}

// put takes a packet. A volatile one is left out if half of the space is in use.
func (o *outbox) put(f adapter.Frames, volatile bool) verdict {
	size := sizeOf(f)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return ended
	case volatile && (o.count >= o.maxCount/2 || o.bytes >= o.maxBytes/2):
		return leftOut
	case o.count > 0 && (o.count >= o.maxCount || o.bytes+size > o.maxBytes):
		return full
	}
	o.waiting = append(o.waiting, f)
	o.count++
	o.bytes += size
	o.signal()
	return queued
}

// close lets nothing more in. What waits may still be taken, unless it is dropped.
func (o *outbox) close(drop bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if drop {
		o.waiting = nil
	}
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take waits for packets and returns all of them; nil at the end. spare is a slice to
// use again.
func (o *outbox) take(ctx context.Context, spare []adapter.Frames) []adapter.Frames {
	for {
		o.mu.Lock()
		taken, closed := o.waiting, o.closed
		if len(taken) > 0 {
			if cap(spare) > keepPackets {
				spare = nil // it was busy once; most connections are idle
			}
			o.waiting = spare[:0]
		}
		o.mu.Unlock()
		if len(taken) > 0 {
			return taken
		}
		if closed {
			return nil
		}
		select {
		case <-o.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

const keepPackets = 16

// written makes the place of a packet free.
func (o *outbox) written(f adapter.Frames) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count--
	o.bytes -= sizeOf(f)
}

func sizeOf(f adapter.Frames) int {
	size := len(f.Engine)
	for _, a := range f.Attachments {
		size += len(a)
	}
	return size
}
