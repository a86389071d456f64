package interop_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossroom/crossroom/internal/interop"
)

// scene is one case in one fleet, in a namespace of its own.
type scene struct {
	*testing.T
	ctx        context.Context
	generation interop.Generation
	nsp        string
	// asker performs the operation. It is the first of servers, unless it is an emitter.
	asker   node
	servers []node
	clients []*client
	markers int
	faults  map[node]int // the number of faults before the scene
	// unordered means that messages of different channels have no order.
	unordered bool
}

const deadline = 30 * time.Second

var scenes atomic.Int64

// stage opens a namespace on the servers. An empty name means a new one.
func stage(t *testing.T, g interop.Generation, nsp string, asker node, servers ...node) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline) // strike uses it too
	t.Cleanup(cancel)
	if nsp == "" {
		nsp = fmt.Sprintf("/case-%d", scenes.Add(1))
	}
	s := &scene{T: t, ctx: ctx, generation: g, nsp: nsp, asker: asker, servers: servers}
	s.faults = map[node]int{asker: len(asker.Faults())}
	for _, n := range servers {
		s.faults[n] = len(n.Faults())
	}
	for _, n := range servers {
		s.do(n, "namespace", nil)
	}
	t.Cleanup(s.strike)
	return s
}

// strike ends the scene. No message may be left, and no process may have a new fault.
func (s *scene) strike() {
	if !s.Failed() {
		s.expectNothing()
	}
	for _, c := range s.clients {
		s.do(c.node, "close", args{"name": c.name})
	}
	for n, before := range s.faults {
		for _, fault := range n.Faults()[before:] {
			s.Errorf("%s: %s", n.Name(), fault)
		}
	}
}

// do performs an operation that must succeed.
func (s *scene) do(n node, op string, a args) any {
	s.Helper()
	v, err := s.try(n, op, a)
	if err != nil {
		s.Fatal(err)
	}
	return v
}

func (s *scene) try(n node, op string, a args) (any, error) {
	s.Helper()
	v, err := n.Call(s.ctx, op, with(args{"nsp": s.nsp}, a))
	if err != nil {
		err = fmt.Errorf("%s: %w", n.Name(), err)
	}
	return v, err
}

// ask performs the asker's operation.
func (s *scene) ask(op string, a args) any {
	s.Helper()
	return s.do(s.asker, op, a)
}

// connect adds a client.
func (s *scene) connect(n node, name string, a args, rooms ...any) *client {
	s.Helper()
	name = n.Name() + "/" + name
	inbox := s.nsp + " " + name
	c := &client{node: n, name: inbox, rooms: rooms, inbox: n.Inbox(inbox)}
	a = with(args{"name": inbox, "rooms": append([]any{}, rooms...), "data": args{"name": name}}, a)
	c.id = s.do(n, "connect", a).(string)
	s.clients = append(s.clients, c)
	return c
}

// populate connects three clients to each server: in room red, in red and blue,
// and in none.
func (s *scene) populate() {
	s.Helper()
	for _, n := range s.servers {
		s.connect(n, "red", nil, "red")
		s.connect(n, "both", nil, "red", "blue")
		s.connect(n, "none", nil)
	}
}

// of returns a client of populate.
func (s *scene) of(n node, name string) *client {
	s.Helper()
	for _, c := range s.clients {
		if c.node == n && strings.HasSuffix(c.name, "/"+name) {
			return c
		}
	}
	s.Fatalf("%s has no client %s", n.Name(), name)
	return nil
}

// far returns the last server, which is not the asker.
func (s *scene) far() node { return s.servers[len(s.servers)-1] }

// where returns the clients that match.
func (s *scene) where(match func(*client) bool) []*client {
	var out []*client
	for _, c := range s.clients {
		if match(c) {
			out = append(out, c)
		}
	}
	return out
}

func everybody(*client) bool { return true }

func in(rooms ...any) func(*client) bool { return func(c *client) bool { return c.in(rooms...) } }

func not(f func(*client) bool) func(*client) bool { return func(c *client) bool { return !f(c) } }

func both(f, g func(*client) bool) func(*client) bool {
	return func(c *client) bool { return f(c) && g(c) }
}

// leave removes a client from the scene, after its disconnection has been received.
func (s *scene) leave(c *client) {
	s.clients = slices.DeleteFunc(s.clients, func(x *client) bool { return x == c })
}

const marker = "marker"

// settle returns what each client has received so far. The asker emits a marker to all clients.
// Everything that it sent before, and every response to it, arrives before the marker.
func (s *scene) settle() map[*client][]interop.Message {
	s.Helper()
	s.markers++
	n := float64(s.markers)
	s.ask("emit", args{"event": marker, "args": []any{n}})
	got := map[*client][]interop.Message{}
	for _, c := range s.clients {
		before, err := c.inbox.Until(s.ctx, func(m interop.Message) bool {
			return m.Event == marker && interop.Text(m.Args) == interop.Text([]any{n})
		})
		if err != nil {
			s.Fatalf("%s: no marker: %v; got %v", c.name, err, before)
		}
		got[c] = before
	}
	return got
}

// gather is settle. On a cluster with a channel for each room a marker can overtake a message to a room, so there it
// settles until every client has enough messages.
func (s *scene) gather(enough func(c *client, n int) bool) map[*client][]interop.Message {
	s.Helper()
	all := s.settle()
	for s.unordered {
		missing := false
		for c, got := range all {
			missing = missing || !enough(c, len(got))
		}
		if !missing {
			break
		}
		for c, more := range s.settle() { // which fails when the scene's time has elapsed
			all[c] = append(all[c], more...)
		}
	}
	return all
}

// expect calls settle and checks that the matching clients got the event once, and that no client
// got another event.
func (s *scene) expect(match func(*client) bool, event string, values ...any) {
	s.Helper()
	matching := 0
	for c, got := range s.gather(func(c *client, n int) bool { return n > 0 || !match(c) }) {
		want := interop.Message{Event: event, Args: s.seen(c, values)}
		switch {
		case !match(c) && len(got) > 0:
			s.Errorf("%s got %v, want nothing", c.name, got)
		case match(c) && (len(got) != 1 || got[0].Text() != want.Text()):
			s.Errorf("%s got %v, want %s", c.name, got, want)
		}
		if match(c) {
			matching++
		}
	}
	if matching == 0 && len(s.clients) > 0 {
		s.Error("the case selects no client")
	}
}

// expectHints is expect for an event "news" with argument 1. It also checks the hints that Go nodes
// pass on. The marker after the event has no hints, so the hints are read before the marker
// arrives.
func (s *scene) expectHints(match func(*client) bool, volatile, compress bool) {
	s.Helper()
	for _, c := range s.where(match) {
		if _, ok := c.node.(*goNode); !ok {
			continue
		}
		m, err := c.inbox.Next(s.ctx)
		if err != nil {
			s.Fatalf("%s: %v", c.name, err)
		}
		s.equal(c.name+": hints", s.do(c.node, "hints", args{"client": c.name}), args{"volatile": volatile, "compress": compress})
		c.inbox.Put(m) // expect reads it again
	}
	s.expect(match, "news", 1)
}

// seen returns what a client gets for values that were emitted. Dates arrive as text. Clients of
// version 2 get binary data only if the packet is marked as binary, which Node.js emitters do not
// do.
func (s *scene) seen(c *client, values []any) []any {
	server, ok := c.node.(*interop.Peer)
	if z, other := c.node.(*zishangNode); other {
		server, ok = z.server, true
	}
	if !ok && (!onShards(s.generation) || c.node == s.asker || hasBytes(values)) {
		return values // and in the messages of the sharded adapter dates are text, unless there are bytes too
	}
	out := mapped(values, func(v any) any {
		switch v := v.(type) {
		case time.Time:
			if _, own := c.node.(*zishangNode); own && c.node == s.asker {
				return v.UTC().Format(time.RFC3339Nano) // as encoding/json writes it
			}
			return v.UTC().Format("2006-01-02T15:04:05.000Z")
		case []byte:
			if _, js := s.asker.(*interop.Peer); js && ok && emits(s.asker) && server.Generation() == v5 && server == c.node {
				return jsonBuffer(v)
			}
		}
		return v
	})
	return out.([]any)
}

// jsonBuffer is a Buffer as JSON.stringify writes it.
func jsonBuffer(b []byte) args {
	data := make([]any, len(b))
	for i := range b {
		data[i] = int(b[i])
	}
	return args{"type": "Buffer", "data": data}
}

// awaitBinary waits until the asker, if it is a Go node, knows that all servers are v5. Before that
// it sends binary data in the form of newer servers, which clients of v5 get as JSON.
func (s *scene) awaitBinary() {
	s.Helper()
	if _, ok := s.asker.(*interop.Peer); ok || s.generation != v5 {
		return
	}
	for s.ctx.Err() == nil {
		s.ask("emit", args{"event": "probe", "args": []any{[]byte{1}}})
		binary := true
		for _, got := range s.settle() {
			binary = binary && got[0].Text() == interop.Message{Event: "probe", Args: []any{[]byte{1}}}.Text()
		}
		if binary {
			return
		}
	}
	s.Fatal("binary data never comes as such")
}

// mapped returns a deep copy of a value with its leaves replaced.
func mapped(v any, leaf func(any) any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = mapped(v[i], leaf)
		}
		return out
	case args:
		out := args{}
		for k := range v {
			out[k] = mapped(v[k], leaf)
		}
		return out
	}
	return leaf(v)
}

func (s *scene) expectNothing() {
	s.Helper()
	if len(s.clients) == 0 {
		return
	}
	for c, got := range s.settle() {
		if len(got) > 0 {
			s.Errorf("%s got %v, want nothing more", c.name, got)
		}
	}
}

// barrier waits until every server has done what the asker requested before.
func (s *scene) barrier() {
	s.Helper()
	if emits(s.asker) {
		s.expectNothing() // servers handle requests and broadcasts in one order
		return
	}
	// Requests are handled in order. Each server responds to this one, the asker after it has
	// received its own earlier requests.
	if js, ok := s.asker.(*interop.Peer); ok && onShards(js.Generation()) {
		s.ask("fetchSockets", nil)
		return
	}
	s.ask("allRooms", nil)
}

// listen makes a server listen for serverSideEmit.
func (s *scene) listen(n node, event string, answers bool) {
	s.Helper()
	s.do(n, "listen", args{"event": event, "inbox": s.nsp + " listener " + event, "answers": answers})
}

func (s *scene) listener(n node, event string) *interop.Inbox {
	return n.Inbox(s.nsp + " listener " + event)
}

// roomsOf returns the rooms of a client according to its own server, without the room named by its
// id.
func (s *scene) roomsOf(c *client) []any {
	s.Helper()
	list, _ := s.do(c.node, "rooms", args{"client": c.name}).([]any)
	return slices.DeleteFunc(list, func(r any) bool { return r == any(c.id) })
}

// expectRooms checks that every client is in the rooms of its struct.
func (s *scene) expectRooms() {
	s.Helper()
	for _, c := range s.clients {
		if got := s.roomsOf(c); sorted(got) != sorted(c.rooms) {
			s.Errorf("%s is in %s, want %s", c.name, sorted(got), sorted(c.rooms))
		}
	}
}

// expectDisconnected waits for the disconnection of the matching clients, and removes them from the
// scene.
func (s *scene) expectDisconnected(match func(*client) bool) {
	s.Helper()
	for _, c := range s.where(match) {
		before, err := c.inbox.Until(s.ctx, func(m interop.Message) bool { return m.Disconnected != "" })
		if err != nil {
			s.Fatalf("%s was not disconnected: %v", c.name, err)
		}
		if len(before) > 0 {
			s.Errorf("%s got %v, want only a disconnection", c.name, before)
		}
		s.leave(c)
	}
}

// equal checks a result.
func (s *scene) equal(what string, got, want any) {
	s.Helper()
	if g, w := interop.Text(got), interop.Text(want); g != w {
		s.Errorf("%s: got %.2000s, want %.2000s", what, g, w)
	}
}

// same checks a result whose order does not matter.
func (s *scene) same(what string, got any, want []any) {
	s.Helper()
	list, ok := got.([]any)
	if !ok {
		s.Errorf("%s: got %s, want a list", what, interop.Text(got))
		return
	}
	if g, w := sorted(list), sorted(want); g != w {
		s.Errorf("%s: got %.2000s, want %.2000s", what, g, w)
	}
}

// partial returns the value of an operation that must fail.
func (s *scene) partial(op string, a args) []any {
	s.Helper()
	v, err := s.try(s.asker, op, a)
	var failed *interop.CallError
	if !errors.As(err, &failed) {
		s.Fatalf("%s: got %s and error %v, want an error with a part of the answers", op, interop.Text(v), err)
	}
	list, _ := failed.Value.([]any)
	return list
}

func sorted(list []any) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = interop.Text(v)
	}
	slices.SortFunc(texts, cmp.Compare)
	return "[" + strings.Join(texts, ",") + "]"
}

func ids(clients []*client) []any {
	out := []any{}
	for _, c := range clients {
		out = append(out, c.id)
	}
	return out
}
