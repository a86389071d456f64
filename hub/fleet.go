package hub

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/crossroom/crossroom/backplane"
)

// Info describes a connection of some server.
type Info struct {
	ID   string
	User string
	// Node is the id of the backplane node of its server.
	Node string
	// Rooms of the connection, in no order.
	Rooms []string
	// Stream is true for an event stream, and false for a WebSocket.
	Stream bool
	// Since is when it connected, by the clock of its server.
	Since time.Time
}

// Connections lists the connections that t selects, on every server: Connections(ctx, Room("lobby")) returns those
// in the lobby. With a *backplane.PartialError the list lacks those of the servers that did not respond. Other errors are
// those of backplane's Namespace.MembersDetail.
func (h *Hub) Connections(ctx context.Context, t Target) ([]Info, error) {
	s, ok := t.selection()
	if !ok {
		return nil, ctx.Err()
	}
	members, err := h.ns.MembersDetail(ctx, s)
	if members == nil {
		return nil, err
	}
	list := make([]Info, len(members.List))
	for i, m := range members.List {
		list[i] = Info{ID: m.ID, Node: m.Node, Rooms: unprefixed(m.Rooms)}
		if len(m.Data) >= 9 {
			list[i].Stream = m.Data[0] == 's'
			list[i].Since = time.UnixMilli(int64(binary.BigEndian.Uint64(m.Data[1:])))
			list[i].User = string(m.Data[9:])
		}
	}
	return list, err
}

// kick is a request to the other servers.
type kick struct {
	Rooms    []string `json:"rooms,omitempty"`
	Except   []string `json:"except,omitempty"`
	Everyone bool     `json:"everyone,omitempty"`
	Code     int      `json:"code"`
	Reason   string   `json:"reason,omitempty"`
}

// Kick closes the connections that t selects, on every server, with a code and a reason, and returns their number. The
// codes 4000 to 4999 are free for applications. A client may connect again at once: refuse it in Options.Authenticate
// if it should not. With a *backplane.PartialError some servers did not respond, and may have closed theirs. A message
// that was sent shortly before may reach a client of another server or not: pass the reason to Kick instead. A code
// that cannot be sent becomes 1011, as with Conn.Close. An error that names a node says why its server closed none, such as
// Options.Refuse. Other errors are those of backplane's Namespace.Members.
func (h *Hub) Kick(ctx context.Context, t Target, code int, reason string) (int, error) {
	s, ok := t.selection()
	if !ok {
		return 0, ctx.Err()
	}
	n, err := h.kickLocal(ctx, s, code, reason)
	if err != nil || t.local {
		return n, err
	}
	payload, err := json.Marshal(kick{t.rooms, t.except, t.everyone, code, reason})
	if err != nil {
		return n, err
	}
	replies, err := h.ns.Request(ctx, payload)
	if replies == nil {
		return n, err
	}
	for _, r := range replies.List {
		var there int
		switch failed := json.Unmarshal(r.Payload, &there); {
		case r.Err != "":
			err = cmp.Or(err, fmt.Errorf("hub: kick on node %q: %q", r.Node, r.Err))
		case failed != nil:
			err = cmp.Or(err, fmt.Errorf("hub: kick on node %q: unreadable response: %w", r.Node, failed))
		}
		n += there
	}
	return n, err
}

func (h *Hub) kickLocal(ctx context.Context, s backplane.Target, code int, reason string) (n int, err error) {
	members, err := h.ns.Members(ctx, s.Local())
	if err != nil {
		return 0, err
	}
	for _, m := range members.List {
		member, _ := h.ns.Member(m.ID)
		var c *Conn
		switch m := member.(type) {
		case *socketMember:
			c = (*Conn)(m)
		case *streamMember:
			c = (*Conn)(m)
		default: // it has left meanwhile
			continue
		}
		c.Close(code, reason)
		n++
	}
	return n, nil
}

// serve carries out requests of other servers.
func (h *Hub) serve(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	var k kick
	if err := json.Unmarshal(payload, &k); err != nil {
		return nil, errFrame
	}
	s, ok := Target{rooms: k.Rooms, except: k.Except, everyone: k.Everyone}.selection()
	if !ok {
		return []byte("0"), nil
	}
	n, err := h.kickLocal(ctx, s, k.Code, k.Reason)
	if err != nil {
		return nil, err
	}
	return json.Marshal(n)
}
