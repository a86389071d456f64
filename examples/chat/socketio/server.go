package socketio

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"
	"github.com/crossroom/crossroom/adapter"
)

// Server is an http.Handler for the path /socket.io/. All methods are safe for
// concurrent use.
type Server struct {
	opts Options

	mu         sync.Mutex
	namespaces map[string]*namespace
	conns      map[*conn]struct{}
	closed     bool
	idle       chan struct{} // closed when the server is closed and no connection is left

	opened, late, unhandled atomic.Uint64
	ended                   map[Reason]uint64 // guarded by mu
	volatile                uint64            // of connections that have ended; guarded by mu
}

// Handler is the application's code for a namespace. Every field may be nil. The package documentation says which
// functions may run at the same time. If Connect, Connected or a function of Events panics, the client's connection
// ends and net/http reports the panic. The others run on goroutines of their own, where a panic crashes the process.
type Handler struct {
	// Connect decides whether a client may enter: an error refuses, and its text is the message of the client's
	// connect_error. The socket is not in the adapter's namespace yet and cannot be sent anything. Connect may read
	// Auth and Handshake and set the socket's data. ctx ends with the connection.
	Connect func(ctx context.Context, s *Socket) error

	// Connected is called when the client has entered, before its first event. ctx ends when it leaves.
	Connected func(ctx context.Context, s *Socket)

	// Events are called by name. Others are ignored and counted in Stats.Unhandled. ctx ends when the client leaves.
	Events map[string]EventFunc

	// Disconnect is called when the client has left, on a goroutine of its own. rooms are the rooms it was in,
	// including that of its own id. ctx ends when the context of Server.Close ends.
	Disconnect func(ctx context.Context, s *Socket, reason Reason, rooms []string)

	// RoomPrefix is put before the rooms of Socket.Join, Leave, To and In, and cut off from those of Socket.Rooms and
	// Disconnect, which then have no others. Set it where clients choose names of rooms: without it one could choose
	// the id of another socket, whose room gets what is for that socket only.
	RoomPrefix string
}

// EventFunc handles one event of a client.
type EventFunc func(ctx context.Context, s *Socket, e *Event)

// namespace is a namespace that clients can enter.
type namespace struct {
	*adapter.Namespace
	handler Handler
}

// New makes a server without namespaces.
func New(opts *Options) *Server {
	return &Server{
		opts:       opts.withDefaults(),
		namespaces: make(map[string]*namespace),
		conns:      make(map[*conn]struct{}),
		ended:      make(map[Reason]uint64),
		idle:       make(chan struct{}),
	}
}

// Handle lets clients enter a namespace. A second call for the same name replaces the first for later clients. h is
// copied.
func (s *Server) Handle(ns *adapter.Namespace, h Handler) {
	h.Events = maps.Clone(h.Events)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespaces[ns.Name()] = &namespace{ns, h}
}

func (s *Server) namespace(name string) *namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.namespaces[name]
}

// ServeHTTP serves one client until its connection ends.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := checkHandshake(r); err != nil {
		err.write(w)
		return
	}
	c := newConn(s, r)
	if !s.add(c) {
		errShutdown.write(w)
		return
	}
	defer s.remove(c)
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: s.opts.Origins})
	if err != nil { // the error has been sent
		s.opts.Logger.Info("socketio: WebSocket handshake failed", "client", r.RemoteAddr, "error", err)
		return
	}
	c.serve(ws)
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	c.mu.Lock()
	reason, message := c.reason, c.message
	c.mu.Unlock()
	switch reason {
	case "", TransportClose, ServerDisconnect, ServerShutdown: // ordinary
	default:
		s.opts.Logger.Info("socketio: client disconnected", "client", c.handshake.Address, "reason", reason, "message", message)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.volatile += c.out.Stats().DroppedVolatile
	if reason != "" {
		s.ended[reason]++
	}
	if s.closed && len(s.conns) == 0 {
		close(s.idle)
	}
}

// Close accepts no more clients, disconnects the present ones with ServerShutdown, and waits until all of their
// functions have returned. When ctx ends it breaks the connections, ends the contexts of all functions and returns the
// context's error. Clients reconnect by themselves, elsewhere if they can. It is idempotent.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		if len(s.conns) == 0 {
			close(s.idle)
		}
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.end(ServerShutdown, websocket.StatusGoingAway, string(ServerShutdown))
	}
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
		for _, c := range conns {
			c.cancel()
			c.giveUp()
		}
		return ctx.Err()
	}
}

// Stats are the counters of a server since New.
type Stats struct {
	// Connections is the number of open connections; Opened counts all so far.
	Connections int
	Opened      uint64
	// Ended counts ended connections by reason. Those that end because their last socket was disconnected with close
	// count as ServerDisconnect.
	Ended map[Reason]uint64
	// Volatile counts volatile packets that were dropped because a client was slow.
	Volatile uint64
	// Late counts events of clients that the server had just disconnected from the namespace. Unhandled counts events
	// without a function in the Handler.
	Late, Unhandled uint64
}

// Stats returns the counters of the server.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	volatile := s.volatile
	for c := range s.conns {
		volatile += c.out.Stats().DroppedVolatile
	}
	return Stats{
		Connections: len(s.conns), Opened: s.opened.Load(), Ended: maps.Clone(s.ended),
		Volatile: volatile, Late: s.late.Load(), Unhandled: s.unhandled.Load(),
	}
}
