package conformance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

var fleetRoomCases = []Case{
	{Name: "F21_JoinIsLive", Clauses: []Clause{f21}, run: caseJoinIsLive},
	{Name: "F21_Changes", Clauses: []Clause{f21, f3}, Timing: true, run: caseChanges},
}

// caseChanges runs two cases in parallel, because each waits for some seconds.
func caseChanges(ctx context.Context, e *env) error {
	return inParallel(2, func(i int) error {
		return []func(context.Context, *env) error{caseLeaveRooms, caseModeChanges}[i](ctx, e)
	})
}

// watcher is an observer that gives access to a node's snapshots.
type watcher struct {
	observe.Nop
	node atomic.Pointer[observe.Node]
}

func (w *watcher) Events() observe.Events { return observe.Nodes }

func (w *watcher) NodeStart(n observe.Node) { w.node.Store(&n) }

func (w *watcher) namespace() observe.Namespace {
	return (*w.node.Load()).Snapshot().Namespaces[0]
}

// inRooms makes a fleet of three nodes with a namespace of the given mode. The second node has a member m.
func (e *env) inRooms(ctx context.Context, space string, mode backplane.SubscriptionMode) (*fleet, []*watcher, *fleetMember, error) {
	watchers := []*watcher{{}, {}, {}}
	c, err := e.assemble(ctx, 3, fleetOptions{spaces: []string{space}, subscription: &mode, observer: func(node int) observe.Observer { return watchers[node] }})
	if err != nil {
		return nil, nil, nil, err
	}
	m, err := c.join(ctx, 1, "m")
	return c, watchers, m, err
}

// each sends one broadcast to each room, and waits until m has all of them.
func (c *fleet) each(ctx context.Context, m *fleetMember, text string, rooms []string) error {
	for _, room := range rooms {
		if err := c.ns(0).Broadcast(ctx, []byte(text+" "+room), backplane.To(room)); err != nil {
			return fail(f21, "Broadcast failed without a fault: %v", err)
		}
	}
	for _, room := range rooms {
		if err := m.receives(ctx, f21, text+" "+room, nil); err != nil {
			return err
		}
	}
	return nil
}

// unwantedBy returns an error if a node has received messages for rooms in which it has no members.
func (c *fleet) unwantedBy(node int) error {
	if n := c.nodes[node].node.Stats().Unwanted; n > 0 {
		return fail(f21, "node %d received %d messages for rooms in which it has no members", node, n)
	}
	return nil
}

// caseJoinIsLive sends to rooms as soon as Join has returned.
func caseJoinIsLive(ctx context.Context, e *env) error {
	c, _, m, err := e.inRooms(ctx, onlySpace, backplane.DynamicSubscription)
	if err != nil {
		return err
	}
	for i := range 50 {
		room := fmt.Sprint("one-", i)
		if err := c.ns(1).Join(ctx, "m", room); err != nil {
			return fail(f21, "Join of a member of the same node failed: %v", err)
		}
		if err := c.each(ctx, m, "to", []string{room}); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	errs := make([]error, 200)
	for i := range errs {
		all.Go(func() {
			room := fmt.Sprint("many-", i)
			// Another node makes every second of these calls.
			if errs[i] = c.ns(i%2).Join(ctx, "m", room); errs[i] == nil {
				errs[i] = c.ns(0).Broadcast(ctx, []byte("to "+room), backplane.To(room))
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return fail(f21, "one of 200 concurrent calls of Join failed: %v", err)
		}
		if err := m.receives(ctx, f21, fmt.Sprint("to many-", i), nil); err != nil {
			return err
		}
	}
	rooms := []string{"m"}
	for _, room := range []string{"", "plain", "*", "a#b", "[x]", "m*", "é"} {
		if refuses(ctx, c.ns(0), room) {
			continue
		}
		if _, err := c.ns(0).JoinAll(ctx, backplane.To("m"), room); err != nil {
			return fail(f21, "JoinAll failed without a fault: %v", err)
		}
		rooms = append(rooms, room)
	}
	if err := c.each(ctx, m, "all", rooms); err != nil {
		return err
	}
	m.rooms = append(rooms, "one-1", "one-2")
	// Broadcasts to several rooms, one of which is empty, and to all members.
	for _, t := range []selecting{to("one-1", "empty", "one-2"), allMembers()} {
		if err := c.shape(ctx, f21, 0, t, []*fleetMember{m}); err != nil {
			return err
		}
	}
	for i := range 250 {
		text := fmt.Sprint("to one-", i)
		if i >= 50 {
			text = fmt.Sprint("to many-", i-50)
		}
		if n := m.count(text); n != 1 {
			return fail(f21, "a broadcast to one room arrived %d times", n)
		}
	}
	return c.noReports()
}

// caseLeaveRooms leaves some of many rooms, and checks the node's subscriptions.
func caseLeaveRooms(ctx context.Context, e *env) error {
	c, watchers, m, err := e.inRooms(ctx, "/leaves", backplane.DynamicSubscription)
	if err != nil {
		return err
	}
	other, err := c.join(ctx, 1, "other")
	if err != nil {
		return err
	}
	var left, kept []string
	for i := range 20 {
		left, kept = append(left, fmt.Sprint("left-", i)), append(kept, fmt.Sprint("kept-", i))
	}
	rooms := slices.Concat(left, kept)
	if err := c.ns(1).Join(ctx, m.id, rooms...); err != nil {
		return fail(f21, "Join failed without a fault: %v", err)
	}
	if err := c.ns(1).Join(ctx, other.id, rooms...); err != nil {
		return fail(f21, "Join failed without a fault: %v", err)
	}
	if err := c.ns(1).Leave(ctx, other.id, rooms...); err != nil {
		return fail(f21, "Leave failed without a fault: %v", err)
	}
	if err := c.ns(1).Leave(ctx, m.id, rooms...); err != nil {
		return fail(f21, "Leave failed without a fault: %v", err)
	}
	if err := c.ns(1).Join(ctx, m.id, kept...); err != nil {
		return fail(f21, "Join failed without a fault: %v", err)
	}
	if err := c.each(ctx, m, "before", kept); err != nil {
		return err
	}
	err = eventually(ctx, func() error {
		if n := watchers[1].namespace().RoomSubscriptions; n != len(kept)+2 {
			return fail(f21, "a node with members in %d rooms is subscribed to %d", len(kept)+2, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, room := range left {
		if err := c.ns(0).Broadcast(ctx, []byte("unwanted"), backplane.To(room)); err != nil {
			return fail(f21, "Broadcast failed without a fault: %v", err)
		}
	}
	if err := c.each(ctx, m, "after", kept); err != nil {
		return err
	}
	for node := range c.nodes {
		if err := c.unwantedBy(node); err != nil {
			return err
		}
	}
	return c.noReports()
}

// caseModeChanges makes a node change its subscriptions while messages arrive.
func caseModeChanges(ctx context.Context, e *env) error {
	c, watchers, m, err := e.inRooms(ctx, "/changes", backplane.AutomaticSubscription)
	if err != nil {
		return err
	}
	if c.nodes[1].Broker.Capabilities().OnlyExactly {
		return nil // there is one mode
	}
	if err := c.ns(1).Join(ctx, "m", "red", "blue"); err != nil {
		return fail(f21, "Join failed without a fault: %v", err)
	}
	sent := map[string]int{}
	text := func(to string) string { return fmt.Sprint(to, " ", sent[to]) }
	// until sends messages that m wants and messages that no member wants, until the node has the mode.
	until := func(dynamic bool) error {
		for after := 50; after > 0 && ctx.Err() == nil; {
			for range 4 {
				if err := c.ns(0).Broadcast(ctx, []byte("unwanted"), backplane.To("empty")); err != nil {
					return fail(f21, "Broadcast failed without a fault: %v", err)
				}
			}
			for to, target := range map[string]backplane.Target{"red": backplane.To("red"), "blue": backplane.To("blue"), "all": backplane.All()} {
				if err := c.ns(0).Broadcast(ctx, []byte(text(to)), target); err != nil {
					return fail(f21, "Broadcast failed without a fault: %v", err)
				}
				sent[to]++
			}
			time.Sleep(2 * time.Millisecond)
			if watchers[1].namespace().Dynamic == dynamic {
				after--
			}
		}
		if ctx.Err() != nil {
			return fail(f21, "the mode did not become dynamic=%v", dynamic)
		}
		return nil
	}
	if err := until(true); err != nil {
		return err
	}
	// An emitter makes a member join, and does not wait for it.
	out, err := e.node(ctx)
	if err != nil {
		return err
	}
	emitter, err := backplane.NewEmitter(out.Broker, &backplane.EmitterOptions{Keys: e.sys.keys})
	if err != nil {
		return setup("making an emitter", err)
	}
	if err := emitter.JoinAll(ctx, c.spaces[0], backplane.To("m"), "green"); err != nil {
		return fail(f21, "Emitter.JoinAll failed: %v", err)
	}
	if err := until(false); err != nil {
		return err
	}
	if err := c.each(ctx, m, "last", []string{"green"}); err != nil {
		return err
	}
	next := map[string]int{}
	for to, n := range sent {
		if err := m.receives(ctx, f21, fmt.Sprint(to, " ", n-1), nil); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, got := range m.got {
		for to := range sent {
			var n int
			if _, err := fmt.Sscanf(got, to+" %d", &n); err != nil {
				continue
			}
			if n != next[to] {
				return fail(f21, "while the mode changed, message %d to %s arrived in place of %d", n, to, next[to])
			}
			next[to]++
		}
	}
	return c.noReports()
}
