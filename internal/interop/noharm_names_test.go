package interop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/interop"
)

// playRooms makes sockets of all servers join and leave rooms with these names, and emits to the
// rooms.
func playRooms(f *harmFleet, list []content) (refused int, err error) {
	old := slices.ContainsFunc(f.peers, func(p *interop.Peer) bool { return p.Generation() == v5 || p.Generation() == v60 })
	for _, c := range list {
		room := c.event
		here := &goSocket{id: "here", inbox: interop.NewInbox()}
		if err := errors.Join(f.there.Add(f.ctx, here), f.there.Join(f.ctx, "here", room)); err != nil {
			return 0, err
		}
		joined := true
		if err := f.ns.To("red").SocketsJoin(f.ctx, room); refusal(err) {
			joined = false
			refused++
		} else if err != nil && !f.unconfirmed(err) {
			return 0, err
		}
		match := func(c *harmClient) bool {
			return joined && inRed(c) && c.peer.Generation() != v60 && (!f.mixed || c.peer.Generation() != v5)
		}
		ways := []adapter.Operator{f.ns.To(room), f.ns.To(room, "empty")}
		if !old { // v5 cannot exclude rooms
			ways = append(ways, f.ns.To(room).Except("empty"))
		}
		for _, to := range ways {
			if _, err := f.emitAll([]content{{event: "event"}}, match, false, func(c content) error { return to.Emit(f.ctx, c.event, c.args...) }); err != nil {
				return 0, fmt.Errorf("room %q: %w", room, err)
			}
		}
		if !old {
			if _, err := f.emitAll([]content{{event: "event"}}, func(c *harmClient) bool { return !match(c) }, false, func(c content) error {
				return f.ns.All().Except(room).Emit(f.ctx, c.event, c.args...)
			}); err != nil {
				return 0, fmt.Errorf("except room %q: %w", room, err)
			}
		}
		if err := f.ns.To("red").SocketsLeave(f.ctx, room); err != nil && !refusal(err) && !f.unconfirmed(err) {
			return 0, err
		}
		if _, err := f.emitAll([]content{{event: "event"}}, noClient, false, func(c content) error { return f.ns.To(room).Emit(f.ctx, c.event, c.args...) }); err != nil {
			return 0, fmt.Errorf("room %q, left: %w", room, err)
		}
		if !f.mixed {
			if err := f.listed("allRooms", room); err != nil {
				return 0, err
			}
		}
		f.there.Remove("here")
	}
	return refused, nil
}

// unconfirmed reports whether an error says only that servers of other generations do not take
// part.
func (f *harmFleet) unconfirmed(err error) bool {
	var partial *backplane.PartialError
	return f.mixed && errors.As(err, &partial)
}

// listed checks that a list from the Node.js server contains a name. Servers of v5 cannot list one.
func (f *harmFleet) listed(op, name string) error {
	p := f.peers[0]
	if onShards(p.Generation()) {
		return nil // they have no such request
	}
	got, err := f.call(p, op, args{"rooms": []any{}})
	list, _ := got.([]any)
	if err != nil || !slices.Contains(list, any(name)) && (p.Generation() != v5 || name != "__proto__") {
		return fmt.Errorf("%s of %s has no %q: %v, %w", op, p.Generation(), name, got, err)
	}
	return nil
}

// playIDs adds sockets with these ids to one Go node. The others perform every operation that
// concerns one socket.
func playIDs(f *harmFleet, list []content) (refused int, err error) {
	for _, c := range list {
		id := c.event
		s := &goSocket{id: id, ns: f.there, inbox: interop.NewInbox()}
		if err := f.there.Add(f.ctx, s); err != nil {
			return 0, err
		}
		_, err1 := f.ns.ClientRooms(f.ctx, id)
		err2 := f.ns.Join(f.ctx, id, "green")
		err3 := f.ns.Leave(f.ctx, id, "green")
		err4 := f.ns.To(id).Emit(f.ctx, "event")
		soon, cancel := context.WithTimeout(f.ctx, deadline)
		_, err5 := s.inbox.Until(soon, func(m interop.Message) bool { return m.Event == "event" }) // markers may be late
		cancel()
		one := 0
		for _, err := range []error{err1, err2, err3, err4, err5} {
			switch {
			case refusal(err):
				one = 1
			case err != nil:
				return 0, fmt.Errorf("socket %q: %w", id, err)
			}
		}
		if !f.mixed {
			p := f.peers[0]
			op := "allSockets"
			if p.Generation() == v5 {
				op = "clients"
			}
			// Version 8 sends no request to other servers here, and neither does 7.2.
			newest := p.Generation() == v8 || onShards(p.Generation())
			if !newest {
				if err := f.listed(op, id); err != nil {
					return 0, err
				}
			}
			if !newest && (p.Generation() != v5 || !slices.Contains(f.names.kinds["object"], id)) {
				if _, err := f.call(p, "remoteJoin", args{"id": id, "room": "blue"}); err != nil {
					return 0, fmt.Errorf("%s: remoteJoin of %q: %w", p.Name(), id, err)
				}
			}
		}
		if err := f.ns.Disconnect(f.ctx, id, false); refusal(err) {
			one = 1
			f.there.Remove(id)
		} else if err != nil {
			return 0, fmt.Errorf("socket %q: %w", id, err)
		}
		refused += one
	}
	return refused, f.expect(noClient, nil)
}

// playNamespaces emits and sends requests in namespaces with these names.
func playNamespaces(f *harmFleet, list []content) (refused int, err error) {
	for _, c := range list {
		g := &harmFleet{t: f.t, ctx: f.ctx, mixed: f.mixed, nsp: "/" + c.event, peers: f.peers}
		if err := f.healthy(); err != nil {
			return 0, err
		}
		for _, p := range g.peers {
			g.join(p, g.nsp)
		}
		if g.ns, err = f.asking.server.Of(f.ctx, g.nsp); err != nil {
			return 0, err
		}
		if _, err := emits1(everyClient, toEverybody)(g, []content{{"event", []any{1, "text"}}}); err != nil {
			return 0, fmt.Errorf("namespace %q: %w", g.nsp, err)
		}
		if !f.mixed { // servers of two generations do not understand each other
			if _, err := g.ns.AllRooms(f.ctx); err != nil {
				return 0, fmt.Errorf("namespace %q: %w", g.nsp, err)
			}
		}
		for _, c := range g.clients {
			if _, err := g.call(c.peer, "close", args{"name": c.name}); err != nil {
				return 0, err
			}
		}
		ctx, cancel := context.WithTimeout(f.ctx, 5*time.Second)
		err := g.ns.Close(ctx)
		cancel()
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// playPrefixes starts servers of the same version on prefixes with these names.
func playPrefixes(f *harmFleet, list []content) (refused int, err error) {
	for _, c := range list {
		f.sub.Run("prefix", func(t *testing.T) {
			g := startHarmFleet(t, f.redis, []interop.Generation{f.peers[0].Generation()}, c.event)
			_, err = emits1(everyClient, toEverybody)(g, []content{{"event", []any{1, "text"}}})
			if err == nil {
				_, err = g.ns.AllRooms(g.ctx)
			}
		})
	}
	return 0, err
}
