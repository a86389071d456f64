package backplane

import (
	"slices"
	"time"
)

// absent is what a node remembers of those that are its peers no more, but whose
// subscriptions the broker may still count: for a moment after a goodbye; for much
// longer if a process is frozen, or its machine went down without closing the
// connection. Who is forgotten and still counted would look like a server that does
// not announce itself, for which every question waits. Guarded by peerTable.mu.
type absent struct {
	// left are those that said that they leave a namespace, and when to forget that.
	left map[membership]time.Time
	// ghosts were not heard of for PeerTimeout; since tells their lives apart. They
	// are forgotten when the broker does not count them any more.
	ghosts map[membership]int64
}

type membership struct {
	node string
	key  nsKey
}

// maxGhosts bounds the memory of them. With more at once, some cost a question its
// deadline again.
const maxGhosts = 4096

func (a *absent) init() {
	a.left, a.ghosts = make(map[membership]time.Time), make(map[membership]int64)
}

// leave remembers for a while that a node said that it leaves.
func (a *absent) leave(m membership, d time.Duration) {
	a.left[m] = time.Now().Add(d)
	delete(a.ghosts, m)
}

// haunt remembers that a node fell silent.
func (a *absent) haunt(m membership, since int64) {
	for other := range a.ghosts {
		if len(a.ghosts) < maxGhosts {
			break
		}
		delete(a.ghosts, other)
	}
	a.ghosts[m] = since
}

// rest takes the goodbye of a ghost.
func (a *absent) rest(id string, since int64, d time.Duration) {
	for m, born := range a.ghosts {
		if m.node == id && born <= since {
			a.leave(m, d)
		}
	}
}

// back forgets an absence.
func (a *absent) back(m membership) {
	delete(a.left, m)
	delete(a.ghosts, m)
}

func (a *absent) expire(now time.Time) {
	for m, until := range a.left {
		if now.After(until) {
			delete(a.left, m)
		}
	}
}

// in lists who is absent from a namespace, sorted.
func (a *absent) in(key nsKey) (leaving, ghosts []string) {
	for m := range a.left {
		if m.key == key {
			leaving = append(leaving, m.node)
		}
	}
	for m := range a.ghosts {
		if m.key == key {
			ghosts = append(ghosts, m.node)
		}
	}
	slices.Sort(leaving)
	slices.Sort(ghosts)
	return leaving, ghosts
}
