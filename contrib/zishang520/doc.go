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
// SocketsJoin, SocketsLeave, DisconnectSockets, ServerSideEmit. [Fleet.Server] offers what the
// server's API lacks, such as a list of all rooms.
//
// # Start and end
//
// Namespaces of the server are opened on the broker in the background. Until one is open, and
// during an outage of the broker, the server works for its own clients. Errors are reported
// to adapter.Options.OnError and Logger, or to slog.Default if both are nil. Opening is tried
// again until it succeeds, and [Fleet.Ready] waits for that.
//
//	io.Close(nil)
//	err = errors.Join(fleet.Close(ctx), b.Close(ctx)) // in this order
//
// # Local clients
//
// The server's in-memory adapter serves local clients, before other servers' clients. Rooms, and the
// events create-room, join-room, leave-room and delete-room of the Adapter, are those of that adapter.
// They are correct also when another server changes a room. Broadcasts of other servers are encoded once for
// all clients, by the server's parser if ServerOptions.SetParser was given one.
//
// Listeners of room events, of OnAnyOutgoing and of disconnecting may be called by the
// goroutine that delivers messages of other servers. They must not block: a listener that takes
// longer than adapter.Options.StallTimeout is reported, and its socket misses the messages of that time.
//
// # Waiting for other servers
//
// No method of the Adapter waits for other servers, except ServerCount, which queries the broker.
// Operations reach other servers in the order of the calls: a broadcast that follows a
// SocketsJoin is sent when the join has been confirmed.
//
// Acknowledgements are passed on as they arrive, with each server's number of clients. As in
// Node.js, a call to which a server does not respond ends with its timeout.
//
// # Values
//
// Arguments may hold the binary types of the server: []byte, readers and buffers. Readers are
// read once, for all clients. Other servers get the same values as local clients: structs in
// the form of encoding/json. Acknowledgements of clients of other servers have float64 for
// numbers and *types.BytesBuffer for binary, as those of local clients do.
//
// # Connection state recovery
//
// Sessions are kept and restored on this node, by the server's in-memory adapter. Missed
// broadcasts of other servers are included. A client that reconnects to another node gets a
// new session.
package zishang520
