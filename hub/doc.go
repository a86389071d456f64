// Package hub serves the clients of a realtime application: WebSockets and event streams (SSE) of one server, and the
// rooms and users of a whole fleet. A [Hub] accepts connections, authenticates them, reads with limits, pings, queues
// what it sends, and closes with the right code. It is built on package backplane, and works on any broker.
//
//	node, err := backplane.New(b, nil)               // b is the broker of this node alone
//	h, err := hub.New(ctx, node, "chat", &hub.Options{
//		Authenticate: func(r *http.Request) (hub.Identity, error) { … },
//		OnMessage:    hub.OnJSON(func(ctx context.Context, c *hub.Conn, said Said) error {
//			return c.Hub().SendJSON(ctx, hub.Room("lobby"), said)
//		}),
//	})
//	http.Handle("/ws", coderws.Handler(h, nil))      // or gorillaws.Handler
//	http.Handle("/events", h.SSE())
//	...
//	err = h.Drain(ctx, 200)                          // connections in a second
//	err = errors.Join(h.Close(ctx), node.Close(ctx), b.Close(ctx)) // in this order
//
// The package imports no WebSocket library. hub/coderws and hub/gorillaws connect two of them, in modules of their own;
// [Socket] is what another one must offer. Socket.IO clients need package adapter instead. The hub stores no messages,
// and knows no format of messages.
//
// # Targets
//
// [Room], [User], [Connection] and [Everyone] select connections of all servers; And, Except, Local and Volatile change
// a [Target]. Names of rooms and users may be chosen by clients: a room never reaches a user or a connection of the
// same name. A target without names selects nothing.
//
// # Delivery
//
// A message is encoded once for each server, and its bytes are shared by all connections there. nil from Send means
// accepted. A connection gets each message at most once, while it is connected. A message that was sent before the
// connection entered its rooms, or after its end, does not reach it, unless Options.Resume returns it. The order of messages, and what happens while the broker is down, are those of package
// backplane. SendAck waits for acknowledgements.
//
// # The life of a connection
//
//	what fails                                              the response
//	the origin of the page (Options.Origins)                403
//	MaxConnections, or the hub drains or is closed          503, with Retry-After
//	Authenticate                                            the status of its *StatusError, otherwise 500
//	names that Authenticate returns                         400
//	the handshake                                           400 and the like, of the WebSocket library
//	Resume, which is called after the stream has entered    as for Authenticate
//	its rooms
//
// The connection enters its rooms, OnConnect is called, and messages are read. It ends with one of these codes,
// which OnDisconnect gets as a *[CloseError] and Stats counts:
//
//	code                what happened
//	of the client       it closed the connection; 1005 if it gave no code, 1006 if the connection broke
//	1000                IdleTimeout
//	1001                Close of the hub; an event stream's client left
//	1002                a violation of the WebSocket protocol
//	1006                no answer to a ping (ErrUnresponsive)
//	1007                text that is not UTF-8, or not the JSON of OnJSON
//	1008                more messages than Rate allows; more than 64 KiB of control frames or empty fragments, and twice
//	                    MaxMessage, between two messages or pings; a queue that is full: the client reads too slowly
//	1009                a message of more than MaxMessage bytes
//	1011                OnConnect or OnMessage panicked or failed
//	1012                Drain
//	1013                the broker did not take the connection's rooms
//	any                 Kick, Conn.Close, a *CloseError of OnConnect or OnMessage
//
// A client whose queue is full, or that does not answer a ping, sees 1006: it reads nothing, so that it gets no close
// frame. A browser tab that sleeps may be such a client, and reconnects when it wakes up.
//
// A slow handshake is not seen by the hub: set http.Server.ReadHeaderTimeout.
//
// # Event streams
//
// The header Last-Event-ID goes to Options.Resume. A client that sends it gets an event "gap" if there is no Resume, or
// if Resume returns ErrGap: its data is {"after":"…"} with the id, and the page should load its state anew. When the
// server ends a stream, its last event is "close", with the code and reason as {"code":4001,"reason":"…"}. EventSource
// reconnects unless the page calls its close method, or gets status 204 (Refuse(204, "")). A comment goes out in each
// PingInterval. The header X-Accel-Buffering makes nginx pass events on at once; proxies that compress or buffer
// responses must be told not to, for text/event-stream.
//
// # Callbacks
//
// Options.OnMessage and OnConnect run on a goroutine of their connection and may block and call any method, except
// Drain and Close of the hub, which wait for them. Their ctx ends with the connection. Authenticate and Resume run on the
// HTTP server's goroutine. Panics are reported, counted in Stats, and end only their connection.
//
// # Memory and goroutines
//
// A WebSocket has one goroutine, one more while messages are written, and another one while a ping waits for its answer. An
// event stream has those of net/http, and one while messages are written. docs/guides/hub.md has measured sizes, and
// docs/LIMITS.md lists what clients can make a server remember.
package hub
