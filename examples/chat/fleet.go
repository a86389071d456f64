package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/crossroom/crossroom/examples/chat/socketio"
)

const roomPrefix = "room:" // keeps the rooms that users name apart from those of the sockets' ids

// stats is a node's description of itself. Since is in milliseconds since 1970.
type stats struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Sockets int      `json:"sockets"`
	Rooms   []string `json:"rooms"`
	Since   int64    `json:"since"`
}

func (c *chat) stats() stats {
	rooms := []string{}
	for _, room := range c.ns.LocalRooms() {
		if name, is := strings.CutPrefix(room, roomPrefix); is {
			rooms = append(rooms, name)
		}
	}
	slices.Sort(rooms)
	return stats{c.name, "go", c.ns.Len(), rooms, c.since.UnixMilli()}
}

// look returns the stats of all nodes, this one first, with the user's rooms, and the nodes that are missing.
func (c *chat) look(ctx context.Context, s *socketio.Socket) (object, error) {
	answers, err := c.ns.ServerSideEmitWithAck(ctx, "stats")
	if answers == nil { // if only some nodes did not respond, the others' stats are here
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rooms, now, nodes, missing := s.Rooms(), time.Now(), []stats{c.stats()}, []string{}
	for _, a := range answers.List {
		var s stats
		if a.Bind(&s) == nil && s.Name != "" {
			nodes, c.seen[s.Name] = append(nodes, s), now
		}
	}
	// A live node that does not respond is an error. A crashed one is listed as missing for ten seconds.
	for name, last := range c.seen {
		switch silent := now.Sub(last); {
		case err == nil && silent > 10*time.Second:
			delete(c.seen, name)
		case silent > 0:
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	for i := range nodes {
		nodes[i].Rooms = slices.DeleteFunc(nodes[i].Rooms, func(room string) bool { return !slices.Contains(rooms, room) })
	}
	return object{"ok": true, "nodes": nodes, "missing": missing}, nil
}
