package request

import (
	"context"
	"time"
)

// wait returns when the request ends, or its context. If responses take long, it counts at intervals whether the
// missing nodes are still subscribed.
func (p *Pending) wait(ctx context.Context, published bool) {
	t := p.t
	// At each quarter of the request timeout. After that, when only acknowledgements may
	// be missing, the pauses grow.
	began, pause := time.Now(), max(t.o.Timeout/4, time.Millisecond)
	recount := time.NewTimer(pause)
	defer recount.Stop()
	// A count ends with the request, too.
	counting, stop := context.WithCancel(ctx)
	defer stop()
	p.mu.Lock()
	if p.stop = stop; p.ended {
		stop()
	}
	p.mu.Unlock()
	limit := time.NewTimer(time.Hour)
	defer limit.Stop()
	foreign := time.Time{}
	if p.foreign.slow > 0 {
		foreign = time.Now().Add(min(ForeignWait, t.o.Timeout/4))
	}
	next := func() {
		if at := p.giveUp(foreign); !at.IsZero() {
			limit.Reset(time.Until(at))
		}
	}
	next()
	look, late := p.look, recount.C
	if !published || !t.caps.CountsSubscribers {
		look, late = nil, nil
	}
	for {
		select {
		case <-p.done:
			return
		case <-ctx.Done():
			return
		case <-p.news:
			p.callEach()
		case <-limit.C:
			next()
		case <-look:
			p.recount(counting)
		case <-late:
			p.recount(counting)
			if time.Since(began) >= t.o.Timeout {
				pause *= 2
			}
			recount.Reset(pause)
		}
	}
}

// giveUp ends the wait for peers that missed an earlier deadline, if it is time: for slow foreign peers at the moment
// foreign. It returns the next such moment; zero for none.
func (p *Pending) giveUp(foreign time.Time) (next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	later := func(at time.Time) bool {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
		return at.After(now)
	}
	if !foreign.IsZero() && !later(foreign) {
		p.foreign.givenUp = p.foreign.slow
	}
	for id, n := range p.nodes {
		if n.state == Waiting && !n.until.IsZero() && !later(n.until) && !p.t.o.Members.Trusts(id) {
			p.set(id, Unresponsive)
		}
	}
	p.check()
	return next
}

// recount counts again while responses are missing. The request no longer waits for nodes that are not subscribed any
// more. If strangers were counted, new names may be theirs: the request waits for these nodes by name. As many foreign
// peers can still respond as are left.
func (p *Pending) recount(ctx context.Context) {
	t := p.t
	p.mu.Lock()
	also := p.unnamed
	p.mu.Unlock()
	now, _, err := t.count(ctx, false, also)
	if err != nil || now.Inexact != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, n := range now.nodes {
		if n.state == Lost {
			p.lose(id)
		}
	}
	if p.foreign.open() {
		for id, n := range now.nodes {
			if p.strangers && p.nodes[id].state == Unknown && n.state.listens() {
				p.set(id, Waiting)
				p.foreign.named++
			}
		}
		p.foreign.limit(now.Foreign.Total)
	}
	p.check()
}
