package socketio

// Reason says why a socket was disconnected. The texts are those of Socket.IO servers
// where they have one: https://socket.io/docs/v4/server-socket-instance/#disconnect
type Reason string

const (
	// TransportClose: the client closed the connection, or it broke.
	TransportClose Reason = "transport close"
	// TransportError: the client did not keep to WebSocket or Engine.IO, or sent a
	// message that was too large.
	TransportError Reason = "transport error"
	// PingTimeout: the client did not answer a ping in time.
	PingTimeout Reason = "ping timeout"
	// ParseError: the client sent something that is no Socket.IO packet.
	ParseError Reason = "parse error"
	// ClientDisconnect: the client left the namespace.
	ClientDisconnect Reason = "client namespace disconnect"
	// ServerDisconnect: Socket.Disconnect was called, here or by another node.
	ServerDisconnect Reason = "server namespace disconnect"
	// ForcedClose: the client spoke where it is not connected, or connected to no
	// namespace in time.
	ForcedClose Reason = "forced close"
	// SlowClient: the client did not read, and its queue was full. Socket.IO has no
	// such reason, as its queues have no end.
	SlowClient Reason = "slow client"
	// ServerShutdown: Server.Close was called, or the fleet's server is closed.
	ServerShutdown Reason = "server shutting down"
)
