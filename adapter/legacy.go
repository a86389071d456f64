package adapter

import "context"

// The operations below have the names that socket.io-redis documents.

// RemoteJoin puts a socket, on any node, into a room. It is Join with one room.
func (ns *Namespace) RemoteJoin(ctx context.Context, id, room string) error {
	return ns.Join(ctx, id, room)
}

// RemoteLeave takes a socket, on any node, out of a room. It is Leave with one room.
func (ns *Namespace) RemoteLeave(ctx context.Context, id, room string) error {
	return ns.Leave(ctx, id, room)
}

// RemoteDisconnect disconnects a socket, on any node; with connection, including its connection. It is Disconnect.
func (ns *Namespace) RemoteDisconnect(ctx context.Context, id string, connection bool) error {
	return ns.Disconnect(ctx, id, connection)
}
