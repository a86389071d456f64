// Package socketio lets clients of Socket.IO (socket.io-client 3 and 4) connect to a
// Crossroom fleet: the server's side of Engine.IO protocol 4 and Socket.IO protocol 5,
// over WebSocket.
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
// Each client in a namespace is a Socket, which the package adds to the
// adapter.Namespace and removes from it. Rooms, broadcasts and questions are the
// adapter's; Socket has what concerns one client, and short ways to the adapter's Join,
// Leave and To for it.
//
// # What is not here
//
// HTTP long-polling and with it the upgrade to WebSocket, WebTransport, compression,
// connection state recovery, parsers other than the default one, and the older
// protocol versions (EIO=3). A client that begins with long-polling, as the stock
// client does unless it is told transports: ["websocket"], gets the protocol's error
// that says so.
//
// # Order
//
// One goroutine reads a connection and calls the functions of the Handler in the order
// in which the client spoke. While one of them runs nothing else is read from that
// client: let it return soon, and do what takes time, such as questions to the fleet,
// with Socket.Go, Async or Later. Two functions of one socket never run at the same
// time, except those given to Socket.Go; Disconnect is the last. What is sent to a
// client leaves in the order in which it was sent.
//
// # Limits
//
// All of them are in Options. A client that goes beyond one is disconnected, which
// touches nobody else, and is counted in Stats by Reason:
//
//   - a packet, its attachments included, of more than MaxPayload bytes: TransportError
//     with WebSocket status 1009, or ParseError if it is the sum that is too large
//   - what is no packet, more than MaxAttachments, attachments that have not come after
//     PingTimeout: ParseError, status 1002
//   - packets for a namespace that it did not enter or has left, or no namespace
//     entered for ConnectTimeout: ForcedClose, status 1008
//   - no answer to a ping for PingTimeout: PingTimeout
//   - more than MaxQueue packets or MaxQueueBytes bytes waiting to be sent to it:
//     SlowClient. Volatile events are left out for a client already when half of that
//     waits, and counted in Stats.Volatile.
//
// The last two get no farewell, for they would not read it. All of these clients see a
// transport that closed, and connect again by themselves.
package socketio
