package socketio

// Reason is the reason why a socket was disconnected. The texts are those of Socket.IO servers where they have one:
// https://socket.io/docs/v4/server-socket-instance/#disconnect
type Reason string

const (
	// TransportClose: the client closed the connection, or it broke.
	TransportClose Reason = "transport close"
	// TransportError: the client violated WebSocket or Engine.IO, or sent a message that was too large.
	TransportError Reason = "transport error"
	// PingTimeout: the client did not answer a ping in time.
	PingTimeout Reason = "ping timeout"
	// ParseError: the client sent something that is not a Socket.IO packet.
	ParseError Reason = "parse error"
	// ClientDisconnect: the client left the namespace.
	ClientDisconnect Reason = "client namespace disconnect"
	// ServerDisconnect: Socket.Disconnect was called, here or by another node.
	ServerDisconnect Reason = "server namespace disconnect"
	// ForcedClose: the client sent a packet for a namespace that it is not in, or entered no namespace in time.
	ForcedClose Reason = "forced close"
	// SlowClient: the client did not read, and its queue was full. Socket.IO has no such reason, because its queues
	// are unlimited.
	SlowClient Reason = "slow client"
	// ServerShutdown: Server.Close was called, or the fleet's server is closed.
	ServerShutdown Reason = "server shutting down"
)
