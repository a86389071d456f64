package backplane

import (
	"context"
	"slices"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// This file is about how long a question waits, and for whom.

// wait returns when waiting ends, as it does when the call does, and tells meanwhile who
// answers. If the answers take long it looks from time to time whether those who owe
// them are still there.
func (c *call) wait(ctx, waiting context.Context, published bool) {
	defer c.impatient(ctx)()
	pause := c.ns.node.opts.RequestsTimeout / 4
	timer := time.NewTimer(pause)
	defer timer.Stop()
	look, late := c.look, timer.C
	if !published || !c.settles() {
		look, late = nil, nil
	}
	for {
		select {
		case <-waiting.Done():
			return
		case <-c.news:
			c.tell(ctx)
			continue
		case <-look:
			if c.settle(waiting) {
				return
			}
		case <-late:
			pause *= 2
			timer.Reset(pause)
		}
		c.recount(waiting)
	}
}

// settles reports whether the broker can say which claims are right.
func (c *call) settles() bool { return c.ns.node.caps.CountsSubscribers }

// settle looks which claims are right: those of nodes that are still counted. It reports
// whether that ended the call.
func (c *call) settle(ctx context.Context) (ended bool) {
	c.mu.Lock()
	claims := c.claims
	c.claims = nil
	c.mu.Unlock()
	if len(claims) == 0 {
		return false
	}
	channels := make([]broker.Channel, len(claims))
	for i, id := range claims {
		channels[i] = c.ns.protocol.NodeResponses(c.ns.name, id)
	}
	counts, err := c.ns.node.broker.Subscribers(ctx, channels...)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range claims {
		if err == nil && counts[i] == 0 {
			c.strays++
		} else {
			c.want = max(c.want-1, 0)
		}
	}
	c.check()
	return c.ended
}

// recount looks who listens while answers are still missing. Nodes that are there no
// more need not be waited for.
func (c *call) recount(ctx context.Context) {
	now, _, err := c.ns.counted(ctx, false)
	if err != nil || now.inexact != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range now.gone {
		c.giveUp(id)
	}
	// As many as were unannounced then, and may have announced themselves since. A claim
	// that settle has not looked at stands for one of them.
	left := now.others.Total + len(c.claims)
	for _, id := range now.alive {
		_, open := c.waiting[id]
		if !open && c.gone[id] == nil && !slices.Contains(c.answered, id) && !slices.Contains(c.leaving, id) {
			left++
		}
	}
	if n := c.want - c.unnamed - left; n > 0 {
		c.want -= n
		answered := min(n, c.strays) // they left after they had been counted
		c.strays -= answered
		c.vanished += n - answered
		c.quiet, c.excused = max(c.quiet-n, 0), max(c.excused-n, 0)
	}
	c.check()
}

// impatient has those who missed an earlier deadline waited for only for a part of the
// time: for doubted nodes a half, so that one late answer does not cost them the next
// question; for unannounced ones an eighth, as they give no sign of life but answers. It
// returns what ends that.
func (c *call) impatient(ctx context.Context) (stop func()) {
	end, ok := ctx.Deadline()
	if !ok || len(c.doubted) == 0 && c.quiet == 0 {
		return func() {}
	}
	left := time.Until(end)
	half := time.AfterFunc(left/2, c.leaveDoubted)
	eighth := time.AfterFunc(left/8, c.leaveQuiet)
	return func() {
		half.Stop()
		eighth.Stop()
	}
}

// leaveDoubted ends the wait for doubted nodes that gave no sign of life meanwhile.
func (c *call) leaveDoubted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.doubted {
		if c.waiting[id] && !c.ns.node.members.Trusts(id) {
			c.waiting[id] = false
		}
	}
	c.check()
}

// leaveQuiet ends the wait for as many answers of unannounced nodes as were missing the
// last time.
func (c *call) leaveQuiet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.excused = c.quiet
	c.check()
}
