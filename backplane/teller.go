package backplane

import (
	"runtime"
	"sync"
	"time"

	"github.com/crossroom/crossroom/internal/wire"
)

// teller has members say of themselves what MembersDetail is to show. A Describe method
// that does not return is left behind and reported, as one of Deliver is; its member is
// listed without it, and not asked again before it has returned.
type teller struct{ ns *Namespace }

// tellAtOnce is how many members are asked at a time.
const tellAtOnce = 256

// telling is one goroutine that asks members, one after the other.
type telling struct {
	mu    sync.Mutex
	at    int // the member that is being asked
	since time.Time
	left  bool // the goroutine was left behind
	done  chan struct{}
}

// tell fills in what the members of list say.
func (t teller) tell(list []*entry, infos []wire.MemberInfo) {
	n := t.ns.node
	watched := n.opts.StallTimeout > 0
	for at := 0; at < len(list); {
		if _, ok := list[at].Member.(Describer); !ok {
			at++
			continue
		}
		g := &telling{at: at, since: time.Now(), done: make(chan struct{})}
		if !watched {
			g.run(n, list, infos)
			return
		}
		go g.run(n, list, infos) // ends with the methods that it calls
		at = t.watch(g, list)
	}
}

// run asks the members from g.at on.
func (g *telling) run(n *Node, list []*entry, infos []wire.MemberInfo) {
	defer close(g.done)
	for i := g.at; i < len(list); i++ {
		e := list[i]
		d, ok := e.Member.(Describer)
		if !ok || e.Muted() {
			continue
		}
		g.mu.Lock()
		g.at, g.since = i, time.Now()
		g.mu.Unlock()
		data := dataOf(n, e, d)
		g.mu.Lock()
		left := g.left
		if !left {
			infos[i].Data = data
		}
		g.mu.Unlock()
		if left {
			e.Unmute()
			return
		}
	}
	g.mu.Lock()
	g.at = len(list)
	g.mu.Unlock()
}

// watch waits for a goroutine, and leaves it behind if a method does not return. It
// returns with which member to go on.
func (t teller) watch(g *telling, list []*entry) int {
	p, n := &t.ns.telling, t.ns.node
	timer := time.NewTimer(p.left(n))
	defer timer.Stop()
	for {
		select {
		case <-g.done:
			at, _ := g.asks() // that of a method that has ended its goroutine
			return at + 1
		case <-timer.C:
		}
		at, since := g.asks()
		rest := p.left(n) - time.Since(since)
		if rest <= 0 && g.stuck(at) {
			if left, first := g.leave(list, at); left {
				p.lose()
				if first {
					t.ns.stalled(list[at])
				}
				return at + 1
			}
		}
		timer.Reset(max(rest, time.Millisecond))
	}
}

// asks returns which member is being asked, and since when.
func (g *telling) asks() (at int, since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at, g.since
}

// stuck is as of fanouts.
func (g *telling) stuck(at int) bool {
	for range turns {
		runtime.Gosched()
		if now, _ := g.asks(); now != at {
			return false
		}
	}
	return true
}

// leave leaves the goroutine behind if it is still in the call of that member. When the
// call returns, the goroutine ends. first says that no other call of that member was left
// behind already.
func (g *telling) leave(list []*entry, at int) (left, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at != at || at >= len(list) {
		return false, false
	}
	select {
	case <-g.done:
		return false, false
	default:
	}
	g.left = true
	return true, list[at].Mute()
}

// dataOf is what a member says of itself, nil if it panics.
func dataOf(n *Node, e *entry, d Describer) []byte {
	defer func() {
		if v := recover(); v != nil {
			n.panicked("Describe", e.ID(), v)
		}
	}()
	return d.Describe()
}
