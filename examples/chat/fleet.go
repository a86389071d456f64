package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/examples/chat/socketio"
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

// tellStats answers another node.
func (c *chat) tellStats(_ context.Context, e *adapter.ServerEvent) { e.Ack(c.stats()) }

// look answers how the fleet is: what all nodes say, and which were there and are
// missing.
func (c *chat) look(ctx context.Context, _ *socketio.Socket, _ *socketio.Event) (object, error) {
	nodes := []stats{c.stats()}
	answers, err := c.ns.ServerSideEmitWithAck(ctx, "stats")
	if answers != nil { // also beside an error, if only some nodes did not answer
		for _, a := range answers.List {
			var s stats
			if a.Bind(&s) == nil && s.Name != "" {
				nodes = append(nodes, s)
			}
		}
	}
	slices.SortFunc(nodes, func(a, b stats) int { return cmp.Compare(a.Name, b.Name) })

	c.mu.Lock()
	defer c.mu.Unlock()
	now, missing := time.Now(), []string{}
	for _, s := range nodes {
		c.seen[s.Name] = now
	}
	// An error says that somebody is there and does not answer. Who has died is no error
	// any more, and missing for ten seconds, so that people notice.
	maps.DeleteFunc(c.seen, func(_ string, last time.Time) bool { return err == nil && now.Sub(last) > 10*time.Second })
	for name, last := range c.seen {
		if last.Before(now) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return object{"nodes": nodes, "missing": missing}, nil
}
