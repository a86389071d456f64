package main

import (
	"context"
	"slices"
	"time"
)

// stats is what a node says of itself. Since is in milliseconds since 1970.
type stats struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Sockets int      `json:"sockets"`
	Rooms   []string `json:"rooms"`
	Since   int64    `json:"since"`
}

func (c *chat) stats() stats {
	rooms := slices.DeleteFunc(c.ns.LocalRooms(), func(room string) bool {
		_, own := c.ns.Socket(room) // every socket is in a room of its own
		return own
	})
	slices.Sort(rooms)
	return stats{c.name, "go", c.ns.Len(), rooms, c.since.UnixMilli()}
}

// look answers how the fleet is: what all nodes say, this one first, and which were
// there and are missing.
func (c *chat) look(ctx context.Context) (object, error) {
	answers, err := c.ns.ServerSideEmitWithAck(ctx, "stats")
	if answers == nil { // if only some nodes did not answer, there are those of the others
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now, nodes, missing := time.Now(), []stats{c.stats()}, []string{}
	for _, a := range answers.List {
		var s stats
		if a.Bind(&s) == nil && s.Name != "" {
			nodes, c.seen[s.Name] = append(nodes, s), now
		}
	}
	// An error says that somebody is there and does not answer. Who has died is no error
	// any more, and missing for ten seconds, so that people notice.
	for name, last := range c.seen {
		switch silent := now.Sub(last); {
		case err == nil && silent > 10*time.Second:
			delete(c.seen, name)
		case silent > 0:
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return object{"ok": true, "nodes": nodes, "missing": missing}, nil
}
