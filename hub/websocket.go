package hub

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/crossroom/crossroom/hub/internal/frames"
	"github.com/crossroom/crossroom/outgoing"
)

// Socket is a WebSocket of any package, after its handshake. hub/coderws and hub/gorillaws implement it.
//
// A Socket may also have the method WriteFrames(list [][]byte) error. The hub calls it in place of Write, with
// WebSocket frames of whole messages, unmasked and not compressed, which all connections share. It must
// not write them into the middle of a frame of the WebSocket package, and must not change their bytes. It may change the
// list.
type Socket interface {
	// Read waits for the next message, and answers pings and the client's close frame meanwhile. One goroutine calls
	// it. It returns a *CloseError with Remote if the client has closed the connection, one without Remote if the
	// client has violated the protocol, and an error that wraps ErrTooLarge. Any other error means that the connection
	// broke. The Socket must not use the Data again: OnMessage may keep it.
	Read() (Message, error)
	// Write sends a message. One goroutine calls it at a time. All connections share the Data, which Write must not
	// change.
	Write(m Message) error
	// Ping sends a ping and waits for the answer, which Read reads.
	Ping(ctx context.Context) error
	// Close sends a close frame behind the messages of Write. It may wait for the client's answer, if no Read does.
	Close(code int, reason string) error
	// CloseNow closes the network connection, which makes all other methods return. It may be called at any time.
	CloseNow()
}

// Upgrade turns a request into a WebSocket, or writes a response and returns an error. It does not check the Origin. The
// Socket refuses messages of more than maxMessage bytes. Upgrade must not keep w and r.
type Upgrade func(w http.ResponseWriter, r *http.Request, maxMessage int) (Socket, error)

// WebSocket returns a handler that turns requests into connections: it checks the origin, calls Authenticate, upgrades,
// and serves the connection on a goroutine of its own. ServeHTTP returns after the handshake, so that the memory of the
// request is free.
func (h *Hub) WebSocket(upgrade Upgrade) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := h.admit(w, r)
		if !ok {
			return
		}
		status := &statusWriter{ResponseWriter: w}
		var socket Socket
		err := h.guard("Upgrade", "", func() (err error) {
			socket, err = upgrade(status, r, h.opts.MaxMessage)
			return err
		})
		if err != nil {
			h.enter(nil)
			if status.status == 0 && stackOf(err) != nil {
				h.refusal(err).write(status)
			}
			h.count(func(s *Stats) { s.Refused[or(status.status, http.StatusBadRequest)]++ })
			return
		}
		c := h.newConn(who)
		c.socket = socket
		c.frames, _ = socket.(frameWriter)
		c.queue = outgoing.New(c.writeSocket, c.queueBroken, &h.opts.Queue)
		if !h.enter(c) {
			h.count(func(s *Stats) { s.Refused[http.StatusServiceUnavailable]++ })
			go func() {
				defer time.AfterFunc(h.opts.CloseTimeout, socket.CloseNow).Stop()
				socket.Close(codeRestart, "server restarts")
				socket.CloseNow()
			}()
			return
		}
		go c.serveSocket(who.Rooms)
	})
}

// statusWriter knows the status of the response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// serveSocket returns when nothing of the connection is left.
func (c *Conn) serveSocket(rooms []string) {
	connected := c.connect(rooms)
	c.mu.Lock()
	if c.reason == nil {
		// Jitter keeps the pings of clients that came together apart.
		c.beat = time.AfterFunc(time.Duration((0.5+rand.Float64()/2)*float64(c.interval())), c.onBeat)
	}
	c.mu.Unlock()
	c.readSocket()
	c.finish(connected)
}

// readSocket handles the client's messages until the connection cannot be read any more.
func (c *Conn) readSocket() {
	o := &c.hub.opts
	bucket := bucket{tokens: float64(o.Burst)}
	for {
		m, err := c.socket.Read()
		if err != nil {
			c.endIn(readReason(err))
			return
		}
		if c.ending() {
			continue // until the client has answered the close frame
		}
		now := time.Now()
		c.heard.Store(now.UnixNano())
		c.received.Add(1)
		switch {
		case !bucket.take(now, o.Rate, o.Burst):
			c.endIn(reasonOnly, &CloseError{Code: codePolicy, Reason: "too many messages"})
		case !m.Binary && !utf8.Valid(m.Data):
			c.endIn(reasonOnly, &CloseError{Code: codeInvalid, Reason: "text is not valid UTF-8"})
		case o.OnMessage != nil:
			c.handled.Store(notYet)
			err := c.hub.guard("OnMessage", c.id, func() error { return o.OnMessage(c.ctx, c, m) })
			c.handled.Store(time.Now().UnixNano())
			c.after("OnMessage", err)
		}
	}
}

// readReason returns how a connection ends whose client cannot be read.
func readReason(err error) (manner, *CloseError) {
	var closed *CloseError
	switch {
	case errors.As(err, &closed):
		own := *closed
		if own.Remote {
			return cutOff, &own // its close frame is answered already
		}
		return reasonOnly, &own
	case errors.Is(err, ErrTooLarge):
		return reasonOnly, &CloseError{Code: codeTooLarge, Reason: "message is too large", Err: err}
	case errors.Is(err, frames.ErrFlood):
		return reasonOnly, &CloseError{Code: codePolicy, Reason: frames.ErrFlood.Error(), Err: err}
	}
	return cutOff, &CloseError{Code: codeAbnormal, Err: err}
}

// bucket limits a rate: it has a token for each message that may come at once, and gets new ones as time passes.
type bucket struct {
	tokens float64
	last   time.Time
}

func (b *bucket) take(now time.Time, rate, burst int) bool {
	if rate < 0 {
		return true
	}
	if !b.last.IsZero() {
		b.tokens = min(float64(burst), b.tokens+now.Sub(b.last).Seconds()*float64(rate))
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// interval is the time between two looks at an idle connection.
func (c *Conn) interval() time.Duration {
	if idle := c.hub.opts.IdleTimeout; idle > 0 {
		return min(idle, c.hub.opts.PingInterval)
	}
	return c.hub.opts.PingInterval
}

// notYet is later than every ping.
const notYet = math.MaxInt64

// onBeat runs on a goroutine of its own, which waits for the answer to a ping.
func (c *Conn) onBeat() {
	o := &c.hub.opts
	quiet := time.Since(time.Unix(0, c.heard.Load()))
	switch {
	case o.IdleTimeout > 0 && quiet >= o.IdleTimeout:
		c.end(&CloseError{Code: codeNormal, Reason: "idle"}, true)
		return
	case quiet >= c.interval()/2:
		sent := time.Now().UnixNano()
		ctx, cancel := context.WithTimeout(c.ctx, o.PingTimeout)
		err := c.socket.Ping(ctx)
		late := ctx.Err() != nil
		cancel()
		// Nothing is read while OnMessage runs, so the answer may wait behind messages.
		unread := late && max(c.handled.Load(), c.heard.Load()) >= sent
		if err != nil && !unread {
			if late { // Or the connection broke: Read returns the reason.
				err = ErrUnresponsive
			}
			c.end(&CloseError{Code: codeAbnormal, Err: err}, false)
			return
		}
	}
	next := c.interval()
	if o.IdleTimeout > 0 {
		next = min(next, max(o.IdleTimeout-quiet, time.Millisecond))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == nil {
		c.beat.Reset(next)
	}
}

// writeSocket is called by the queue.
func (c *Conn) writeSocket(batch []*frame) error {
	if c.frames == nil {
		for _, f := range batch {
			if err := c.socket.Write(f.message); err != nil {
				return err
			}
		}
		return nil
	}
	list := make([][]byte, len(batch))
	for i, f := range batch {
		list[i] = f.socketFrame()
	}
	return c.frames.WriteFrames(list)
}

// socketFrame returns the frame for WebSockets, which is made once.
func (f *frame) socketFrame() []byte {
	f.socketOnce.Do(func() {
		m := &f.message
		f.socket = frames.Append(make([]byte, 0, len(m.Data)+frames.MaxHead), m.Binary, m.Data)
	})
	return f.socket
}
