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
	ID    string `json:"id"` // of the socket
	Name  string `json:"name"`
	Node  string `json:"node"`
	Since int64  `json:"since"` // in milliseconds since 1970
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
		RoomPrefix: roomPrefix,
		Events: map[string]socketio.EventFunc{
			"join":  socketio.Answer(c.join),
			"leave": socketio.Answer(c.leave),
			"say":   socketio.Answer(c.say),
			// Requests to the fleet do not delay the user's next event.
			"members": socketio.Async(socketio.Answer(c.members)),
			"kick":    socketio.Async(socketio.Answer(c.kick)),
			"fleet":   socketio.Async(socketio.Answer(func(ctx context.Context, s *socketio.Socket, _ any) (object, error) { return c.look(ctx, s) })),
		},
	}, err
}

// connect admits users with a name.
func (c *chat) connect(_ context.Context, s *socketio.Socket) error {
	var auth struct{ Name string }
	if err := s.BindAuth(&auth); err != nil || strings.TrimSpace(auth.Name) == "" || len(auth.Name) > 160 {
		return errors.New("name required")
	}
	s.SetData(member{s.ID(), strings.TrimSpace(auth.Name), c.name, time.Now().UnixMilli()})
	return nil
}

// join lets the user in before the next event. The list of members follows later.
func (c *chat) join(ctx context.Context, s *socketio.Socket, room string) (_ socketio.Later, err error) {
	if rooms := s.Rooms(); room == "" || len(room) > 240 || len(rooms) >= 100 {
		return nil, errors.New("room required, or too many")
	} else if !slices.Contains(rooms, room) {
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
	return object{"ok": true}, s.In(room).Emit(ctx, "said", said)
}

// members lists the members of the user's room on every node. If some nodes did not respond, missing names them.
func (c *chat) members(ctx context.Context, s *socketio.Socket, room string) (object, error) {
	list, err := list(ctx, s, room)
	if list == nil {
		return nil, err
	}
	fleet, _ := c.look(ctx, s)
	return object{"ok": true, "members": list, "missing": fleet["missing"]}, nil
}

// list returns the members of the user's room, those that connected first at the beginning.
func list(ctx context.Context, s *socketio.Socket, room string) ([]member, error) {
	if !slices.Contains(s.Rooms(), room) {
		return nil, errors.New("not in that room")
	}
	found, err := s.In(room).FetchSockets(ctx)
	if found == nil {
		return nil, err
	}
	list := socketio.Data[member](found)
	slices.SortFunc(list, func(a, b member) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.ID, b.ID)) })
	return list, err
}

// kick disconnects a user on any node, after a notice. The first of a room's members may kick the others.
func (c *chat) kick(ctx context.Context, s *socketio.Socket, target struct{ ID, Room string }) (object, error) {
	list, err := list(ctx, s, target.Room)
	switch {
	case list == nil: // if only some nodes did not respond, the others' members are here
		return nil, err
	case len(list) == 0 || list[0].ID != s.ID():
		return nil, errors.New("only the room's first member may kick")
	case !slices.ContainsFunc(list, func(m member) bool { return m.ID == target.ID }):
		return nil, errors.New("no such member")
	}
	err = c.ns.To(target.ID).Emit(ctx, "kicked", object{"by": list[0].Name})
	return object{"ok": true}, errors.Join(err, c.ns.Disconnect(ctx, target.ID, false))
}
