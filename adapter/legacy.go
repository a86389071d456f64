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

// Clients lists the ids of the sockets in any of the rooms, on all nodes; without rooms those of all sockets. It is
// To(rooms...).Clients, or All().Clients.
func (ns *Namespace) Clients(ctx context.Context, rooms ...string) (*Clients, error) {
	if len(rooms) == 0 {
		return ns.All().Clients(ctx)
	}
	return ns.To(rooms...).Clients(ctx)
}
