package adapter

import "context"

// The operations below have the names under which socket.io-redis documents them.

// RemoteJoin puts a socket, on whatever node, into a room. It is Join with one room.
func (ns *Namespace) RemoteJoin(ctx context.Context, id, room string) error {
	return ns.Join(ctx, id, room)
}

// RemoteLeave takes a socket, on whatever node, out of a room. It is Leave with one
// room.
func (ns *Namespace) RemoteLeave(ctx context.Context, id, room string) error {
	return ns.Leave(ctx, id, room)
}

// RemoteDisconnect disconnects a socket, on whatever node, together with its
// connection if connection is set. It is Disconnect.
func (ns *Namespace) RemoteDisconnect(ctx context.Context, id string, connection bool) error {
	return ns.Disconnect(ctx, id, connection)
}
