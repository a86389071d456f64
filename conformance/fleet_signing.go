package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
)

var fleetSigningCases = []Case{
	{Name: "F22_Forged", Clauses: []Clause{f22}, run: caseForged},
}

// tape records messages as a process that may only read the system sees them.
type tape struct {
	mu       sync.Mutex
	messages []taped
}

type taped struct {
	ch      broker.Channel
	payload []byte
}

// Deliver implements broker.Receiver.
func (t *tape) Deliver(ch broker.Channel, payload []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages = append(t.messages, taped{ch, payload})
}

// Interrupted implements broker.Receiver.
func (t *tape) Interrupted(error) {}

// Resumed implements broker.Receiver.
func (t *tape) Resumed() {}

func (t *tape) all() []taped {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.messages)
}

// caseForged has a fleet that signs, and a process beside it that reads what the nodes send, and sends all kinds of
// messages without a key, with another key, changed, and a second time.
func caseForged(ctx context.Context, e *env) error {
	keys, err := backplane.NewKeyring(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		return setup("making keys", err)
	}
	var events atomic.Int64 // of the stranger
	c, err := e.assemble(ctx, 3, fleetOptions{keys: keys, request: func(_ context.Context, _ int, _ string, p []byte) ([]byte, error) {
		if string(p) != "true" {
			events.Add(1)
		}
		return p, nil
	}})
	if err != nil {
		return err
	}
	for i := range c.nodes {
		if _, err := c.join(ctx, i, fmt.Sprint("member-", i), "red"); err != nil {
			return err
		}
	}
	stranger, err := e.node(ctx)
	if err != nil {
		return err
	}
	var heard tape
	filters, messages := []broker.Filter{broker.Native.EveryRoom(onlySpace), broker.Native.Uncounted(onlySpace)}, 9 // 6 broadcasts, 3 requests
	if stranger.Broker.Capabilities().OnlyExactly {
		// One that subscribes to requests is counted, and expected to respond.
		filters, messages = []broker.Filter{broker.Exactly(broker.Native.Broadcast(onlySpace)), broker.Exactly(broker.Native.Room(onlySpace, "red"))}, 6
	}
	sub, err := stranger.Broker.Subscribe(ctx, &heard, filters...)
	if err != nil {
		return setup("subscribing a stranger", err)
	}
	defer sub.Close(context.WithoutCancel(ctx))
	for i := range c.nodes {
		for _, t := range []backplane.Target{backplane.All(), backplane.To("red")} {
			if err := c.ns(i).Broadcast(ctx, []byte("true"), t); err != nil {
				return fail(f22, "Broadcast of a node with keys failed: %v", err)
			}
		}
	}
	if err := c.answer(ctx); err != nil {
		return err
	}
	if err := eventually(ctx, func() error {
		if n := len(heard.all()); n < messages {
			return fail(f22, "a stranger sees %d of %d messages", n, messages)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := c.attack(ctx, stranger.Broker, heard.all()); err != nil {
		return err
	}
	if err := c.mark(ctx, stranger.Broker, keys); err != nil {
		return err
	}
	if n := events.Load(); n > 0 {
		return fail(f22, "nodes with keys took in %d events of a stranger", n)
	}
	for _, p := range c.people {
		p.mu.Lock()
		got := strings.Join(slices.Sorted(slices.Values(p.got)), " ")
		p.mu.Unlock()
		if want := "last all last red" + strings.Repeat(" true", 6); got != want {
			return fail(f22, "a member received %q instead of %q", got, want)
		}
		if n := len(p.orders()); n > 0 {
			return fail(f22, "a stranger disconnected a member %d times", n)
		}
		p.rooms = []string{"red", "last"}
		if err := p.keepsRooms(f22); err != nil {
			return err
		}
	}
	if err := c.answer(ctx); err != nil {
		return err
	}
	return eventually(ctx, c.refused) // reports come on a goroutine of their own
}

// answer has each node send a request to all.
func (c *fleet) answer(ctx context.Context) error {
	for _, m := range c.nodes {
		r, err := orEmpty(m.spaces[onlySpace].Request(ctx, []byte("true")))
		if err := c.whole(f22, "Request", m, r.Coverage, err); err != nil {
			return err
		}
	}
	return nil
}

// attack sends what a process without the keys can send.
func (c *fleet) attack(ctx context.Context, b broker.Broker, heard []taped) error {
	var errs []error
	publish := func(ch broker.Channel, payload []byte) { errs = append(errs, b.Publish(ctx, ch, payload)) }
	for _, m := range heard {
		changed := bytes.Clone(m.payload)
		changed[len(changed)/2] ^= 1
		publish(m.ch, changed)
		publish(m.ch, m.payload[:len(m.payload)-1])
		publish(m.ch, m.payload)
		for _, ch := range []broker.Channel{broker.Native.Broadcast(onlySpace), broker.Native.Room(onlySpace, "red"), broker.Native.Requests(onlySpace), broker.Control()} {
			publish(ch, m.payload)
		}
	}
	other, err := backplane.NewKeyring(bytes.Repeat([]byte("x"), 32))
	if err != nil {
		return setup("making keys", err)
	}
	for _, keys := range []*backplane.Keyring{nil, other} {
		out, err := backplane.NewEmitter(b, &backplane.EmitterOptions{Keys: keys})
		if err != nil {
			return setup("making an emitter", err)
		}
		for _, t := range []backplane.Target{backplane.All(), backplane.To("red")} {
			errs = append(errs, out.Broadcast(ctx, onlySpace, []byte("false"), t), out.JoinAll(ctx, onlySpace, t, "false"),
				out.LeaveAll(ctx, onlySpace, t, "red"), out.DisconnectAll(ctx, onlySpace, t, true), out.Event(ctx, onlySpace, []byte("false")))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fail(f22, "publishing failed: %v", err)
	}
	return nil
}

// mark sends signed messages on the same channels, and waits for them: what came before has been seen then.
func (c *fleet) mark(ctx context.Context, b broker.Broker, keys *backplane.Keyring) error {
	out, err := backplane.NewEmitter(b, &backplane.EmitterOptions{Keys: keys})
	if err != nil {
		return setup("making an emitter", err)
	}
	if err := errors.Join(out.JoinAll(ctx, onlySpace, backplane.All(), "last"),
		out.Broadcast(ctx, onlySpace, []byte("last all"), backplane.All()), out.Broadcast(ctx, onlySpace, []byte("last red"), backplane.To("red"))); err != nil {
		return fail(f22, "an emitter with keys failed: %v", err)
	}
	for _, p := range c.people {
		for _, text := range []string{"last all", "last red"} {
			if err := p.receives(ctx, f22, text, nil); err != nil {
				return err
			}
		}
		if err := eventually(ctx, func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if !p.keeps["last"] {
				return fail(f22, "an emitter with keys could not put a member into a room")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// refused checks that every node has counted and reported what it refused.
func (c *fleet) refused() error {
	for _, m := range c.nodes {
		if m.node.Stats().Unverified == 0 {
			return fail(f22, "node %d counts no message that it refused", m.number)
		}
		for _, want := range []error{backplane.ErrUnsigned, backplane.ErrUnknownKey, backplane.ErrForged, backplane.ErrReplayed} {
			if !slices.ContainsFunc(m.reports(), func(err error) bool {
				var refused *backplane.MessageError
				return errors.As(err, &refused) && errors.Is(err, want)
			}) {
				return fail(f22, "OnError of node %d did not report: %v", m.number, want)
			}
		}
	}
	return nil
}
