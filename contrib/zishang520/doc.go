// Package zishang520 makes the Socket.IO server of
// github.com/zishang520/socket.io/servers/socket/v3 a full member of a fleet: of other such
// servers, of Node.js servers with the adapters of socket.io-redis and
// @socket.io/redis-adapter, and of other Go nodes of Crossroom, on one broker.
//
//	b, err := redisbroker.Open("redis://localhost:6379", nil)
//	io := socket.NewServer(nil, nil)
//	io.SetAdapter(zishang520.New(b, nil)) // as io.adapter(redis(…)) in Node.js
//
// The server's own API then reaches all servers: broadcasts, acknowledgements, FetchSockets,
// SocketsJoin, SocketsLeave, DisconnectSockets, ServerSideEmit. [Fleet.Server] has what the
// server has no word for, such as a list of all rooms.
//
// # Start and end
//
// Namespaces of the server are opened on the broker in the background. Until one is open, and
// while the broker is away, the server works for its own clients. What goes wrong is reported
// to adapter.Options.OnError and Logger, or to slog.Default if both are nil; opening is tried
// again until it succeeds. [Fleet.Ready] waits for it.
//
//	io.Close(nil)
//	err = errors.Join(fleet.Close(ctx), b.Close(ctx)) // in this order
//
// # What this server's clients get
//
// Local clients are served by the server's in-memory adapter, before others. Rooms, and the
// events create-room, join-room, leave-room and delete-room of the Adapter, are its own, and
// true also when another server changes them. Broadcasts of other servers are encoded once for
// all clients, by the server's parser if ServerOptions.SetParser was given one.
//
// Listeners of room events, of OnAnyOutgoing and of disconnecting may be called by the
// goroutine that delivers what other servers send. They must not block: a listener that takes
// longer than adapter.Options.StallTimeout is reported, and misses what comes meanwhile.
//
// # Waiting for others
//
// No method of the Adapter waits for other servers, but ServerCount, which asks the broker.
// Operations reach other servers in the order of the calls: a broadcast that follows a
// SocketsJoin is sent when the join has been confirmed.
//
// Acknowledgements are passed on as they come, with each server's number of clients. As in
// Node.js, a server that does not respond makes the call end with its timeout.
//
// # Values
//
// Arguments may hold the binary types of the server: []byte, readers and buffers. Readers are
// read once, for all clients. Other servers get what this server's own clients get: structs in
// the form of encoding/json. Acknowledgements of clients of other servers have float64 for
// numbers and *types.BytesBuffer for binary, as those of local clients do.
//
// # Connection state recovery
//
// Sessions are kept and restored as by the server's in-memory adapter, on this node. Missed
// broadcasts of other servers are among them. A client that comes back to another node gets a
// new session.
package zishang520
