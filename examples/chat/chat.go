package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/examples/chat/socketio"
)

// chat is one node's part in the namespace /chat. Rooms and sockets are the fleet's:
// nothing here cares which node a user is on.
type chat struct {
	ns    *adapter.Namespace
	name  string // of this node
	since time.Time

	mu   sync.Mutex
	seen map[string]time.Time // when each node last answered
}

// member is a user as all nodes, Go or Node.js, tell of it.
type member struct {
	ID   string `json:"id,omitempty"` // of the socket
	Name string `json:"name"`
	Node string `json:"node"`
}

type object = map[string]any

func newChat(ns *adapter.Namespace, name string) (*chat, error) {
	c := &chat{ns: ns, name: name, since: time.Now(), seen: map[string]time.Time{}}
	_, err := ns.OnServerSideEmit("stats", c.tellStats)
	return c, err
}

type handler func(ctx context.Context, s *socketio.Socket, e *socketio.Event) (object, error)

func (c *chat) handler() socketio.Handler {
	return socketio.Handler{
		Connect:    c.connect,
		Connected:  func(_ context.Context, s *socketio.Socket) { s.Emit("node", object{"name": c.name}) },
		Disconnect: c.disconnected,
		Events: map[string]socketio.EventFunc{
			"join": c.join, "leave": now(c.leave), "say": now(c.say),
			// Questions to the fleet do not hold up the user's next event.
			"members": socketio.Async(now(c.members)), "kick": socketio.Async(now(c.kick)), "fleet": socketio.Async(now(c.look)),
		},
	}
}

// now acknowledges an event with what h says.
func now(h handler) socketio.EventFunc {
	return func(ctx context.Context, s *socketio.Socket, e *socketio.Event) {
		reply, err := h(ctx, s, e)
		if err != nil {
			reply = object{"error": err.Error()}
		}
		reply["ok"] = err == nil
		e.Ack(reply)
	}
}

// connect lets in whoever has a name.
func (c *chat) connect(_ context.Context, s *socketio.Socket) error {
	var auth struct{ Name string }
	if err := s.BindAuth(&auth); err != nil || strings.TrimSpace(auth.Name) == "" {
		return errors.New("name required")
	}
	s.SetData(member{Name: strings.TrimSpace(auth.Name), Node: c.name})
	return nil
}

func whois(s *socketio.Socket) member {
	m := s.Data().(member)
	m.ID = s.ID()
	return m
}

// join lets the user in at once, so that the next event finds it done, and answers
// later, with those who are there.
func (c *chat) join(ctx context.Context, s *socketio.Socket, e *socketio.Event) {
	var room string
	if err := e.Bind(&room); err == nil && room != "" && !slices.Contains(s.Rooms(), room) {
		if err := errors.Join(c.ns.Join(ctx, s.ID(), room), c.tell(ctx, room, "joined", s)); err != nil {
			e.Ack(object{"ok": false, "error": err.Error()})
			return
		}
	}
	socketio.Async(now(c.members))(ctx, s, e)
}

func (c *chat) leave(ctx context.Context, s *socketio.Socket, e *socketio.Event) (object, error) {
	var room string
	if err := e.Bind(&room); err != nil || !slices.Contains(s.Rooms(), room) {
		return object{}, err
	}
	return object{}, errors.Join(c.ns.Leave(ctx, s.ID(), room), c.tell(ctx, room, "left", s))
}

func (c *chat) disconnected(ctx context.Context, s *socketio.Socket, _ socketio.Reason, rooms []string) {
	for _, room := range rooms {
		c.tell(ctx, room, "left", s)
	}
}

// tell lets the others in a room know.
func (c *chat) tell(ctx context.Context, room, event string, s *socketio.Socket) error {
	return c.ns.To(room).Except(s.ID()).Emit(ctx, event, object{"room": room, "member": whois(s)})
}

// say sends text, a file (binary on the whole way) or both to a room, on any node.
func (c *chat) say(ctx context.Context, s *socketio.Socket, e *socketio.Event) (object, error) {
	var message any
	e.Bind(&message)
	m, _ := message.(object)
	room, _ := m["room"].(string)
	if !slices.Contains(s.Rooms(), room) {
		return nil, errors.New("not in that room")
	}
	said := object{"room": room, "from": whois(s), "node": c.name, "at": time.Now().UnixMilli()}
	for _, key := range []string{"text", "file", "fileName"} {
		if m[key] != nil {
			said[key] = m[key]
		}
	}
	return object{}, c.ns.To(room).Emit(ctx, "said", said)
}

// members answers who is in a room, on every node. If some did not answer, there are
// those of the others, and missing says so.
func (c *chat) members(ctx context.Context, s *socketio.Socket, e *socketio.Event) (object, error) {
	var room string
	if err := e.Bind(&room); err != nil || room == "" {
		return nil, errors.New("room required")
	}
	found, err := c.ns.In(room).FetchSockets(ctx)
	if found == nil {
		return nil, err
	}
	fleet, _ := c.look(ctx, s, e)
	list := make([]member, len(found.List))
	for i, s := range found.List {
		s.BindData(&list[i])
		list[i].ID = s.ID
	}
	slices.SortFunc(list, func(a, b member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return object{"members": list, "missing": fleet["missing"]}, nil
}

// kick disconnects somebody, wherever that is, and says so before.
func (c *chat) kick(ctx context.Context, s *socketio.Socket, e *socketio.Event) (object, error) {
	var whom struct{ ID string }
	if err := e.Bind(&whom); err != nil {
		return nil, err
	}
	if _, err := c.ns.ClientRooms(ctx, whom.ID); err != nil { // a room may have such a name
		return nil, errors.New("no such member")
	}
	err := c.ns.To(whom.ID).Emit(ctx, "kicked", object{"by": whois(s).Name})
	return object{}, errors.Join(err, c.ns.Disconnect(ctx, whom.ID, false))
}
