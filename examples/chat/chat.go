package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/examples/chat/socketio"
)

// chat is one node's part of the namespace /chat. No code here depends on which node a user is on.
type chat struct {
	ns    *adapter.Namespace
	name  string // of this node
	since time.Time

	mu   sync.Mutex
	seen map[string]time.Time // when each other node last responded
}

// member is a user in the form that all nodes, Go or Node.js, send.
type member struct {
	ID   string `json:"id"` // of the socket
	Name string `json:"name"`
	Node string `json:"node"`
}

type object = map[string]any

// newChat returns the handler of a node's users.
func newChat(ns *adapter.Namespace, name string) (socketio.Handler, error) {
	c := &chat{ns: ns, name: name, since: time.Now(), seen: map[string]time.Time{}}
	_, err := ns.OnServerSideEmit("stats", func(_ context.Context, e *adapter.ServerEvent) { e.Ack(c.stats()) })
	return socketio.Handler{
		Connect:    c.connect,
		Connected:  func(_ context.Context, s *socketio.Socket) { s.Emit("node", object{"name": name}) },
		Disconnect: c.disconnected,
		Events: map[string]socketio.EventFunc{
			"join":  socketio.Answer(c.join),
			"leave": socketio.Answer(c.leave),
			"say":   socketio.Answer(c.say),
			// Requests to the fleet do not delay the user's next event.
			"members": socketio.Async(socketio.Answer(c.members)),
			"kick":    socketio.Async(socketio.Answer(c.kick)),
			"fleet":   socketio.Async(socketio.Answer(func(ctx context.Context, _ *socketio.Socket, _ any) (object, error) { return c.look(ctx) })),
		},
	}, err
}

// connect admits users with a name.
func (c *chat) connect(_ context.Context, s *socketio.Socket) error {
	var auth struct{ Name string }
	if err := s.BindAuth(&auth); err != nil || strings.TrimSpace(auth.Name) == "" {
		return errors.New("name required")
	}
	s.SetData(member{s.ID(), strings.TrimSpace(auth.Name), c.name})
	return nil
}

// join lets the user in before the next event. The list of members follows later.
func (c *chat) join(ctx context.Context, s *socketio.Socket, room string) (_ socketio.Later, err error) {
	if room != "" && !slices.Contains(s.Rooms(), room) {
		err = errors.Join(s.Join(ctx, room), s.To(room).Emit(ctx, "joined", object{"room": room, "member": s.Data()}))
	}
	return func(ctx context.Context) (any, error) { return c.members(ctx, s, room) }, err
}

func (c *chat) leave(ctx context.Context, s *socketio.Socket, room string) (_ object, err error) {
	if slices.Contains(s.Rooms(), room) {
		err = errors.Join(s.Leave(ctx, room), s.To(room).Emit(ctx, "left", object{"room": room, "member": s.Data()}))
	}
	return object{"ok": true}, err
}

func (c *chat) disconnected(ctx context.Context, s *socketio.Socket, _ socketio.Reason, rooms []string) {
	for _, room := range rooms {
		s.To(room).Emit(ctx, "left", object{"room": room, "member": s.Data()})
	}
}

// say sends text, a file (as binary data) or both to a room, on any node.
func (c *chat) say(ctx context.Context, s *socketio.Socket, message any) (object, error) {
	m, _ := message.(object)
	room, _ := m["room"].(string)
	if !slices.Contains(s.Rooms(), room) {
		return nil, errors.New("not in that room")
	}
	said := object{"room": room, "from": s.Data(), "node": c.name, "at": time.Now().UnixMilli(),
		"text": m["text"], "file": m["file"], "fileName": m["fileName"]}
	maps.DeleteFunc(said, func(_ string, v any) bool { return v == nil }) // fields that were not sent
	return object{"ok": true}, c.ns.To(room).Emit(ctx, "said", said)
}

// members lists the members of a room on every node. If some nodes did not respond, missing names them.
func (c *chat) members(ctx context.Context, _ *socketio.Socket, room string) (object, error) {
	if room == "" {
		return nil, errors.New("room required")
	}
	found, err := c.ns.To(room).FetchSockets(ctx)
	if found == nil {
		return nil, err
	}
	list := make([]member, len(found.List))
	for i, s := range found.List {
		s.BindData(&list[i])
		list[i].ID = s.ID
	}
	slices.SortStableFunc(list, func(a, b member) int { return cmp.Compare(a.Name, b.Name) })
	fleet, _ := c.look(ctx)
	return object{"ok": true, "members": list, "missing": fleet["missing"]}, nil
}

// kick disconnects a user on any node, after a notice to the room.
func (c *chat) kick(ctx context.Context, s *socketio.Socket, target struct{ ID string }) (object, error) {
	if _, err := c.ns.ClientRooms(ctx, target.ID); err != nil { // a room may have this id as its name
		return nil, errors.New("no such member")
	}
	err := c.ns.To(target.ID).Emit(ctx, "kicked", object{"by": s.Data().(member).Name})
	return object{"ok": true}, errors.Join(err, c.ns.Disconnect(ctx, target.ID, false))
}
