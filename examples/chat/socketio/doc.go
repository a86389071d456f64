// Package socketio lets clients of Socket.IO (socket.io-client 3 and 4) connect to a Crossroom fleet. It is the server
// side of Engine.IO protocol 4 and Socket.IO protocol 5, over WebSocket.
//
//	io := socketio.New(nil)
//	io.Handle(chat, socketio.Handler{ // chat is an *adapter.Namespace
//		Connect:    func(ctx context.Context, s *socketio.Socket) error { … }, // an error refuses
//		Events:     map[string]socketio.EventFunc{"say": say, "ask": socketio.Answer(ask)},
//		Disconnect: func(ctx context.Context, s *socketio.Socket, reason socketio.Reason, rooms []string) { … },
//	})
//	http.Handle("/socket.io/", io)
//	defer io.Close(ctx)
//
// Each client in a namespace is a Socket. The package adds it to the adapter.Namespace and removes it again. Rooms,
// broadcasts and queries are those of the adapter. Socket has the methods for one client, and short forms of the
// adapter's Join, Leave and To.
//
// # Not supported
//
// HTTP long-polling and the upgrade from it to WebSocket, WebTransport, compression, connection state recovery,
// parsers other than the default one, and older protocol versions (EIO=3). The stock client begins with long-polling,
// unless it has transports: ["websocket"]; it then gets the protocol's error with a text that explains this.
//
// # Order
//
// One goroutine reads a connection and calls the functions of the Handler in the order of the client's messages. While
// a function runs, no further message of that client is read. So a function must return soon. Do slow work, such as
// queries to the fleet, with Socket.Go, Async or Later. Two functions of one socket never run at the same time, except
// those passed to Socket.Go; Disconnect is the last. Packets to a client are sent in order.
//
// # Limits
//
// All limits are in Options. A client that exceeds one is disconnected, without effect on others, and counted in Stats
// by Reason:
//
//	TransportError   status 1009: a packet of more than MaxPayload bytes in one message
//	ParseError       a packet of more than MaxPayload bytes with its attachments
//	ParseError       status 1002: not a packet, more than MaxAttachments, or attachments missing after PingTimeout
//	ForcedClose      status 1008: packets for a namespace that the client is not in, or no namespace after ConnectTimeout
//	PingTimeout      no answer to a ping for PingTimeout
//	SlowClient       more than MaxQueue packets or MaxQueueBytes bytes waiting
//
// Volatile events are dropped for a client when half of MaxQueue or MaxQueueBytes waits, and counted in
// Stats.Volatile. The last two get no farewell, because they would not read it. All of these clients see a closed
// transport, and reconnect by themselves.
package socketio
