package presence

import (
	"context"
	"iter"
)

// Kind is the kind of a Change.
type Kind uint8

const (
	// Snapshot is the whole room: the first change of a watch, and each one after changes were missed.
	Snapshot Kind = iota + 1
	// Joined is a member that entered the room.
	Joined
	// Updated is a member that has another State and the same User.
	Updated
	// Left is a member that left the room, or whose node left or crashed.
	Left
)

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if k < Snapshot || k > Left {
		return "invalid"
	}
	return [...]string{"snapshot", "joined", "updated", "left"}[k-Snapshot]
}

// Change is a change of a room.
type Change struct {
	Kind Kind
	// Member that joined, was updated or left. Zero for Snapshot.
	Member Member
	// Connections is how many connections the member's user has in the room, on all nodes, after the change: 1 with Joined
	// is the user's first, 0 with Left means that the user left.
	Connections int
	// Room is the state of the room. Only a Snapshot has it.
	Room Room
	// Missed counts the changes before this Snapshot that a slow loop has missed.
	Missed int
}

// watcher is one loop. Presence.mu guards it.
type watcher struct {
	queue  []Change
	stale  bool // needs a snapshot first
	missed int
	wake   chan struct{} // has room for one
}

func (w *watcher) add(c Change) {
	switch {
	case w.stale && w.missed == 0: // it has not begun
	case w.stale:
		w.missed++
	case len(w.queue) == MaxChanges:
		w.missed, w.stale, w.queue = len(w.queue)+1, true, nil
	default:
		w.queue = append(w.queue, c)
	}
	w.notify()
}

func (w *watcher) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Watch iterates over the changes of a room, in the order in which this node learns of them: first a Snapshot, then each
// change after it. The loop waits for the next change, and ends when ctx ends or Presence is closed. The result may be
// used by several loops: each is a watch of its own. Section "Order" of the package documentation says more.
func (p *Presence) Watch(ctx context.Context, room string) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		w := &watcher{stale: true, wake: make(chan struct{}, 1)}
		p.mu.Lock()
		p.at(room).watchers[w] = struct{}{}
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.at(room).watchers, w)
			p.tidy(room)
		}()
		for {
			c, ok := p.next(ctx, room, w)
			if !ok || !yield(c) {
				return
			}
		}
	}
}

// next waits for a change. It returns false when the watch ends.
func (p *Presence) next(ctx context.Context, room string, w *watcher) (Change, bool) {
	for ctx.Err() == nil {
		p.mu.Lock()
		switch {
		case p.closed:
			p.mu.Unlock()
			return Change{}, false
		case w.stale:
			c := Change{Kind: Snapshot, Room: p.room(room), Missed: w.missed}
			w.stale, w.missed = false, 0
			p.mu.Unlock()
			sortMembers(c.Room.Members)
			return c, true
		case len(w.queue) > 0:
			c := w.queue[0]
			w.queue[0] = Change{}
			w.queue = w.queue[1:]
			p.mu.Unlock()
			return c, true
		}
		p.mu.Unlock()
		select {
		case <-w.wake:
		case <-p.life.Done():
		case <-ctx.Done():
		}
	}
	return Change{}, false
}
