// Package hub serves the clients of a realtime application: WebSockets and event streams (SSE) of one server, and the
// rooms and users of a whole fleet. A [Hub] accepts connections, authenticates them, reads with limits, pings, queues
// what it sends, and closes with the right code. It is built on package backplane, and works on any broker.
//
//	node, err := backplane.New(b, nil)               // b is a broker.Broker that no other node uses
//	h, err := hub.New(ctx, node, "chat", &hub.Options{
//		Authenticate: func(r *http.Request) (hub.Identity, error) { … },
//		OnMessage:    hub.OnJSON(func(ctx context.Context, c *hub.Conn, said Said) error {
//			return c.Hub().SendJSON(ctx, hub.Room("lobby"), said)
//		}),
//	})
//	http.Handle("/ws", coderws.Handler(h, nil))      // or gorillaws.Handler
//	http.Handle("/events", h.SSE())
//	...
//	h.Drain(drainCtx, 200)                           // at the end: close 200 connections in a second
//	err = errors.Join(h.Close(ctx), server.Shutdown(ctx), node.Close(ctx), b.Close(ctx)) // in this order
//
// The package imports no WebSocket library. hub/coderws and hub/gorillaws connect two of them, in modules of their own;
// [Socket] is the interface for another one. Socket.IO clients need package adapter instead. The hub stores no
// messages, and knows no format of messages.
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
// accepted: it is in the queues of the selected connections of this server, and in the broker's queue for the others.
// The connection of the sender gets the message too, if the target selects it.
//
//   - A connection gets each message at most once, while it is connected. Messages that were sent before it entered its
//     rooms, or after its end, do not reach it, unless Options.Resume returns them.
//   - Messages that one goroutine sends to equal targets arrive in order. Conn.Send has its place in this order.
//     Different targets keep the order too, except on Redis Cluster: see "Order and delivery" of package backplane.
//     Messages of two servers, or of two goroutines, have no common order.
//   - An event stream that resumes gets the messages of Resume first, then the live ones that came meanwhile, and then
//     those of OnConnect. A live message that came meanwhile is left out if it has the ID of a resumed one. Without
//     an ID it may repeat a resumed one.
//
// # Outages of the broker
//
// Connections stay, and new ones are accepted: they get messages of other servers after the outage. Until the broker
// notices the outage, a new connection may wait for its rooms, and fail after 5 seconds with 1013 or 503.
//
// Messages reach the connections of this server. For the others they wait in the broker's queue, which is sent when the
// broker returns, and Send waits while that is full. Calls that reach all servers return a *backplane.PartialError at
// their deadline. Clients may miss messages of other servers, and the hub does not notify them: OnError of
// backplane.Options gets a *backplane.InterruptedError, and Health of the node says when the outage has ended. A program
// whose clients must not miss anything then sends them a message to load their state anew.
//
// # Calls that wait
//
//	New                                    for the broker, until ctx ends. ctx limits only the call
//	Send, SendJSON, Emit                   while the broker's queue is full, until ctx ends
//	SendAck                                until all have acknowledged, timeout has elapsed, or ctx ends
//	Connections, Join, Leave, Kick         for all servers, until RequestsTimeout of backplane.Options (1 s by default) or
//	  of the Hub                           the end of ctx; Join first as Conn.Join, if t selects connections of this server
//	Conn.Join                              for the broker, if a room is new on this server and the subscription is dynamic
//	                                       ("Subscriptions" of backplane), until ctx ends
//	Conn.Join, Conn.Leave                  if the connection has ended: for all servers, as those of the Hub
//	Conn.Ack                               while the broker's queue is full, at most RequestsTimeout
//	Drain of the Hub                       for connections and their callbacks, until ctx ends
//	Close of the Hub                       the same, and then for the broker
//	all others                             do not wait
//
// # The life of a connection
//
//	failed check                                            response
//	an event stream: the method is not GET                  405
//	the origin of the page (Options.Origins)                403
//	MaxConnections, or the hub drains or is closed          503, with a Retry-After of 1 to 5 seconds
//	Authenticate                                            the status of its *StatusError, otherwise 500
//	names that Authenticate returns: longer than 4,094      400
//	bytes, or not UTF-8
//	the handshake                                           of the WebSocket library, such as 400
//	an event stream: the broker does not take its rooms     503
//	an event stream: Resume                                 as for Authenticate
//
// The checks come in this order. A WebSocket is accepted after its handshake, and then enters its rooms. An event
// stream first enters its rooms, Resume is called, and then it is accepted. In both cases OnConnect is called next, and
// then messages are read.
//
// It ends with one of these codes, which OnDisconnect gets as a *[CloseError] and Stats counts:
//
//	code                cause
//	of the client       it closed the connection; 1005 if it gave no code, 1006 if the connection broke
//	1000                IdleTimeout; DisconnectAll of the Namespace
//	1001                Close of the hub; an event stream's client left
//	1002                a violation of the WebSocket protocol
//	1006                no answer to a ping (ErrUnresponsive)
//	1007                text that is not UTF-8, or not the JSON of OnJSON
//	1008                more messages than Rate allows; more than 64 KiB + 2 × MaxMessage received without a whole
//	                    message or a ping of the hub; a full queue, or a write that takes longer than
//	                    Queue.WriteTimeout: the client reads too slowly
//	1009                a message of more than MaxMessage bytes
//	1011                OnConnect or OnMessage panicked or failed; an event stream was refused because of its rooms or
//	                    by Resume, without OnDisconnect
//	1012                Drain
//	1013                the broker refused a WebSocket's rooms, or took more than 5 seconds for them; without
//	                    OnConnect and OnDisconnect
//	any                 Kick, Conn.Close, a *CloseError of OnConnect or OnMessage; 1011 if the code cannot be sent
//
// These are the codes on the server. A client whose queue is full, or that does not answer a ping, is broken off: it
// gets no close frame, and sees 1006. A browser tab that sleeps may be such a client, and reconnects when it wakes up.
//
// The hub does not limit the time of a handshake: set http.Server.ReadHeaderTimeout.
//
// # Event streams
//
// The header Last-Event-ID goes to Options.Resume. A client that sends it gets an event "gap" if there is no Resume, or
// if Resume returns ErrGap: its data is {"after":"…"} with the id, and the page should load its state anew. When the
// server ends a stream, its last event is "close", with the code and reason as {"code":4001,"reason":"…"}. EventSource
// reconnects unless the page calls its close method, or gets status 204 (Refuse(204, "")). A comment goes out in each
// PingInterval. The header X-Accel-Buffering makes nginx pass events on at once; proxies that compress or buffer
// responses need a configuration that excludes text/event-stream.
//
// # Callbacks
//
// OnConnect, OnMessage and OnDisconnect run on a goroutine of their connection, one at a time and in this order;
// Authenticate and Resume on the HTTP server's goroutine of the request. They may block: that delays only their
// connection or request, and Drain and Close of the hub, which wait for them. So none of them may call Drain or Close
// of the hub, or Close of its node. All other methods are allowed. The ctx of OnConnect and OnMessage ends with the
// connection; the request's context ends when the client gives up. Panics of these five are reported, counted in Stats,
// and end only their connection or request.
//
// While OnMessage runs, the hub reads nothing from that client: no further message, no answer to a ping, no close. A
// ping's answer that waits meanwhile is not missed. Do work that may take seconds on another goroutine. SendAck in OnMessage cannot get the acknowledgement of its own
// connection: exclude that connection with Except.
//
// OnError runs on a goroutine of its own. It may block, and may call all methods except Close of the hub. Its panics are
// logged. OnOperation runs on the namespace's worker: it must not block, or call the hub.
//
// # Ownership
//
// Bytes and slices that are passed to a method belong to the caller again when it returns. Those that a callback gets
// may be kept, and must not be changed. The same holds for the bytes that SendAck returns. The slices of an
// Identity and the messages that Resume returns belong to the hub. All other results, with their slices and maps,
// belong to the caller. New copies Options with their slices.
//
// # Errors
//
//	*OptionError                    New, Drain                   correct the program
//	*MessageError                   Send, SendJSON, SendAck,     correct the message: text that is not UTF-8, a line break in
//	                                Emit, Conn.Send              Event or ID, or no id for SendAck
//	*broker.PayloadError            the same, not Conn.Send;     send less: the broker's MaxPayload with a few bytes of frame
//	                                Connections, Join, Leave,    and the names
//	                                Kick
//	an error of encoding/json       SendJSON                     correct the value
//	ErrDropped                      Conn.Send, Conn.SendJSON     none: the client is too slow, or has left
//	*backplane.NameError            calls with names             choose another name
//	backplane.ErrNamespaceExists    New                          use one hub for each namespace of a node
//	backplane.ErrNoSuchMember       Conn.Join, Conn.Leave        none: the connection has ended
//	*backplane.PartialError         SendAck, Connections, Join,  use the partial result, or repeat the call: it has the same
//	                                Leave, Kick                  effect, except SendAck
//	backplane.ErrClosed             all methods with a context   none: it is final
//	                                but Drain and Close
//	the context's error             Drain                        call Close
//	                                Close                        none: the remaining connections are broken off
//	                                all others with a context    call again with more time
//	the broker's error              New, Send, SendJSON, Emit,   call again. After an error of Send connections of this server
//	                                Join of Hub and Conn         may have the message already: they get it again
//
// Errors of backplane may be wrapped: use errors.Is and errors.As. "Errors" of package backplane has more about them.
//
// # The end
//
// Drain closes the connections at a rate, and takes their number divided by perSecond, in seconds. Close closes the
// others at once. Both then take at most CloseTimeout and the time of running callbacks. Close also takes some round
// trips to the broker, and a broker that does not respond can use all of the context's time. A small server needs no
// Drain. Give Drain a context of its own: if it ends, Close needs time too. http.Server.Shutdown waits for event
// streams, and knows nothing of WebSockets, so call it after Close, or at the same time as Drain. Then close the node,
// and then its broker. After Close all methods return errors, or do nothing.
//
// # Memory and goroutines
//
// A WebSocket has one goroutine, one more while messages are written, and another one while a ping waits for its
// answer. An event stream has those of net/http, and one while messages are written. docs/guides/hub.md has measured
// sizes, and docs/LIMITS.md lists what clients can make a server remember.
package hub
