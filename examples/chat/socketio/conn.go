package socketio

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/outgoing"
)

// Engine.IO packet types.
// https://socket.io/docs/v4/engine-io-protocol/#protocol
const (
	engineOpen    = '0'
	engineClose   = '1'
	enginePing    = '2'
	enginePong    = '3'
	engineMessage = '4'
	engineNoop    = '6'
)

// conn is one client's connection. It has one goroutine: the caller of ServeHTTP, which reads. The goroutine of the
// queue, while it has something to write, and those of Disconnect and Socket.Go come in addition; serve waits for all
// of them.
//
// Lock order: mu, then the queue's and the adapter's. No function of the Handler is called under mu.
type conn struct {
	server    *Server
	handshake *adapter.Handshake
	out       *outgoing.Queue[adapter.Frames]
	tasks     chan struct{} // one entry for each function given to Socket.Go
	rate      rate          // of the reading goroutine
	wg        sync.WaitGroup

	// ctx ends when the connection must be broken off.
	ctx    context.Context
	giveUp context.CancelFunc
	// life ends when functions of the Handler should stop.
	life   context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	ws        *websocket.Conn     // nil before the client's request has been accepted
	farewell  sync.WaitGroup      // the goroutine that ends the connection
	sockets   map[string]*Socket  // by namespace
	removed   map[string]struct{} // namespaces that the server took the client out of
	reason    Reason              // cause of the end; empty before
	status    websocket.StatusCode
	message   string
	beat      *time.Timer // the next ping, or the timeout of the awaited pong
	awaited   bool        // a pong is awaited
	expecting bool        // attachments are expected
	homeless,
	attaching,
	linger *time.Timer
}

func newConn(s *Server, r *http.Request) *conn {
	c := &conn{server: s, handshake: describe(r), tasks: make(chan struct{}, s.opts.MaxTasks), rate: newRate(s.opts.MessageRate)}
	c.ctx, c.giveUp = context.WithCancel(context.Background())
	c.life, c.cancel = context.WithCancel(context.Background())
	c.out = outgoing.New(c.write, c.broken, &outgoing.Options{
		MaxMessages: s.opts.MaxQueue, MaxBytes: s.opts.MaxQueueBytes,
		WriteTimeout: -1, // a client that stops reading does not answer the next ping
	})
	return c
}

// serve returns when the connection has ended and nothing of it is left, also after a panic in a function of the
// Handler.
func (c *conn) serve(ws *websocket.Conn) {
	o := &c.server.opts
	c.server.opened.Add(1)
	ws.SetReadLimit(int64(o.MaxPayload) + 1) // the Engine.IO type
	c.mu.Lock()
	c.ws = ws
	c.beat = time.AfterFunc(o.PingInterval, c.onBeat)
	c.homeless = time.AfterFunc(o.ConnectTimeout, c.onHomeless)
	c.attaching = time.AfterFunc(time.Hour, c.onAttachmentsMissing)
	c.attaching.Stop()
	if c.reason == "" {
		c.send(openPacket(newID(), o), false)
	} else { // ended meanwhile
		c.stopTimers()
		c.farewell.Go(c.sayFarewell)
	}
	c.mu.Unlock()

	defer func() {
		c.end(TransportClose, 0, "") // if it has not ended, there was a panic
		c.farewell.Wait()
		ws.CloseNow()
		<-c.out.Done()
		c.wg.Wait()
		c.mu.Lock()
		c.linger.Stop()
		c.mu.Unlock()
		c.cancel()
	}()
	c.read(ws)
}

// read handles the client's messages until the end.
func (c *conn) read(ws *websocket.Conn) {
	d := decoder{maxPayload: c.server.opts.MaxPayload, maxAttachments: c.server.opts.MaxAttachments}
	for {
		typ, b, err := ws.Read(c.ctx)
		switch {
		case errors.Is(err, websocket.ErrMessageTooBig):
			c.end(TransportError, websocket.StatusMessageTooBig, errTooLarge.Error())
			return
		case err != nil:
			c.end(readReason(err), 0, "")
			return
		case c.ending():
			continue // until the farewell is answered
		case !c.rate.allows(len(b)):
			c.end(ForcedClose, websocket.StatusPolicyViolation, "too many messages")
			continue
		}
		var p *packet
		switch {
		case typ == websocket.MessageBinary:
			p, err = d.binary(b)
		case len(b) > 0 && b[0] == engineMessage:
			p, err = d.text(b[1:])
		default:
			c.control(b)
			continue
		}
		if err != nil {
			c.end(ParseError, websocket.StatusProtocolError, err.Error())
			continue
		}
		c.expectAttachments(d.waiting())
		if p != nil {
			c.take(p)
		}
	}
}

// readReason distinguishes broken connections from clients that violate the protocol.
func readReason(err error) Reason {
	var closed websocket.CloseError
	var network net.Error
	switch {
	case errors.As(err, &closed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe), errors.Is(err, context.Canceled),
		errors.As(err, &network):
		return TransportClose
	}
	return TransportError
}

// control handles the Engine.IO packets without a message.
func (c *conn) control(b []byte) {
	switch {
	case len(b) == 1 && b[0] == enginePong:
		c.onPong()
	case len(b) == 1 && b[0] == engineClose:
		c.end(TransportClose, websocket.StatusNormalClosure, "")
	case len(b) == 1 && b[0] == engineNoop:
	case len(b) > 0 && b[0] == enginePing:
		c.end(TransportError, websocket.StatusProtocolError, "invalid heartbeat direction")
	default:
		c.end(TransportError, websocket.StatusProtocolError, "invalid Engine.IO packet")
	}
}

// take handles a packet.
func (c *conn) take(p *packet) {
	c.mu.Lock()
	s := c.sockets[p.namespace]
	_, removed := c.removed[p.namespace]
	c.mu.Unlock()
	switch {
	case s == nil && p.kind == kindConnect:
		c.connect(p)
	case s != nil && p.kind == kindEvent:
		s.onEvent(p)
	case s != nil && p.kind == kindAck:
		s.onAnswer(p)
	case s != nil && p.kind == kindDisconnect:
		s.leave(ClientDisconnect)
	case s == nil && removed:
		// The client does not know yet.
		c.server.late.Add(1)
	case s == nil:
		c.end(ForcedClose, websocket.StatusPolicyViolation, "not connected to that namespace")
	default:
		c.end(ForcedClose, websocket.StatusPolicyViolation, "connected to that namespace already")
	}
}

// connect admits the client to a namespace, or sends the reason for refusing.
func (c *conn) connect(p *packet) {
	ns := c.server.namespace(p.namespace)
	if ns == nil {
		c.refuse(p.namespace, "Invalid namespace")
		return
	}
	s := newSocket(c, ns, p.auth)
	if ns.handler.Connect != nil {
		if err := ns.handler.Connect(s.ctx, s); err != nil {
			s.cancel()
			c.refuse(p.namespace, err.Error())
			return
		}
	}
	c.mu.Lock()
	if c.reason != "" {
		c.mu.Unlock()
		s.cancel()
		return
	}
	// The response goes first, so that nothing can overtake it.
	if !c.send(frames(kindConnect, p.namespace, map[string]string{"sid": s.id}), false) {
		c.mu.Unlock()
		s.cancel()
		return
	}
	err := ns.Add(s.ctx, s)
	if err == nil {
		if c.sockets == nil {
			c.sockets = make(map[string]*Socket, 1)
		}
		c.sockets[p.namespace] = s
		delete(c.removed, p.namespace)
		c.homeless.Stop()
	}
	c.mu.Unlock()
	if err != nil { // the fleet's server is closed
		s.cancel()
		c.end(ServerShutdown, websocket.StatusGoingAway, string(ServerShutdown))
		return
	}
	s.run(func() {
		if ns.handler.Connected != nil {
			ns.handler.Connected(s.ctx, s)
		}
	})
}

func (c *conn) refuse(namespace, message string) {
	c.send(frames(kindConnectError, namespace, map[string]string{"message": message}), false)
}

// frames encodes a packet of the protocol itself.
func frames(k kind, namespace string, payload any) adapter.Frames {
	b := []byte{engineMessage, byte(k)}
	if namespace != "/" {
		b = append(append(b, namespace...), ',')
	}
	if payload != nil {
		text, _ := json.Marshal(payload) // strings only
		b = append(b, text...)
	}
	return adapter.Frames{Engine: b, Text: b[1:]}
}

// newID returns 20 characters with 100 random bits.
func newID() string { return rand.Text()[:20] }
