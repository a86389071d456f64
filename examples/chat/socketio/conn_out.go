package socketio

import (
	"context"
	"errors"
	"time"

	"github.com/coder/websocket"
	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/outgoing"
)

// send puts a packet into the connection's queue, and returns false if the queue dropped it. A client whose queue is
// full is disconnected. send never blocks, and may be called from anywhere.
func (c *conn) send(f adapter.Frames, volatile bool) bool {
	size := len(f.Engine)
	for _, a := range f.Attachments {
		size += len(a)
	}
	return c.out.Push(f, size, volatile)
}

// write is called by the queue.
func (c *conn) write(batch []adapter.Frames) error {
	for _, f := range batch {
		if err := writeFrames(c.ctx, c.ws, f); err != nil {
			return err
		}
	}
	return nil
}

// broken is called by the queue if it could not write everything.
func (c *conn) broken(err error) {
	if errors.Is(err, outgoing.ErrFull) {
		c.end(SlowClient, 0, "")
	} else {
		c.end(TransportClose, 0, "")
	}
}

func writeFrames(ctx context.Context, ws *websocket.Conn, f adapter.Frames) error {
	err := ws.Write(ctx, websocket.MessageText, f.Engine)
	for _, a := range f.Attachments {
		if err != nil {
			return err
		}
		err = ws.Write(ctx, websocket.MessageBinary, a)
	}
	return err
}

// end ends the connection and all of its sockets, once. With a status the client gets the queued packets and a
// farewell, for which it has CloseTimeout. Without a status the connection is broken off at once.
func (c *conn) end(reason Reason, status websocket.StatusCode, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(reason, status, message)
}

// endLocked is end for callers that hold c.mu.
func (c *conn) endLocked(reason Reason, status websocket.StatusCode, message string) {
	if c.reason != "" {
		return
	}
	c.reason, c.status, c.message = reason, status, message[:min(len(message), 100)]
	c.stopTimers()
	for _, s := range c.sockets {
		c.detach(s, reason)
	}
	c.linger = time.AfterFunc(c.server.opts.CloseTimeout, c.giveUp)
	if status == 0 {
		c.giveUp()
	}
	if c.ws != nil { // otherwise serve does it
		c.farewell.Go(c.sayFarewell)
	}
}

// sayFarewell sends the queued packets and closes the WebSocket, unless the connection is broken off first.
func (c *conn) sayFarewell() {
	defer c.giveUp()
	if c.out.Close(c.ctx) == nil && c.ctx.Err() == nil {
		c.ws.Close(c.status, c.message)
	}
}

func (c *conn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason != ""
}

func (c *conn) stopTimers() {
	for _, t := range []*time.Timer{c.beat, c.homeless, c.attaching} {
		if t != nil {
			t.Stop()
		}
	}
}

// onBeat sends a ping, or ends the connection if the last ping was not answered.
func (c *conn) onBeat() {
	c.mu.Lock()
	dead := c.awaited
	if !dead && c.reason == "" {
		c.awaited = true
		c.beat.Reset(c.server.opts.PingTimeout)
	}
	c.mu.Unlock()
	if dead {
		c.end(PingTimeout, 0, "")
		return
	}
	c.send(adapter.Frames{Engine: []byte{enginePing}}, false)
}

func (c *conn) onPong() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.awaited && c.reason == "" {
		c.awaited = false
		c.beat.Reset(c.server.opts.PingInterval)
	}
}

func (c *conn) onHomeless() {
	c.mu.Lock()
	at := len(c.sockets)
	c.mu.Unlock()
	if at == 0 {
		c.end(ForcedClose, websocket.StatusPolicyViolation, "connected to no namespace in time")
	}
}

// expectAttachments starts or stops the timeout of attachments.
func (c *conn) expectAttachments(missing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.reason != "" || missing == c.expecting:
	case missing:
		c.attaching.Reset(c.server.opts.PingTimeout)
	default:
		c.attaching.Stop()
	}
	c.expecting = missing
}

func (c *conn) onAttachmentsMissing() {
	c.mu.Lock()
	missing := c.expecting
	c.mu.Unlock()
	if missing {
		c.end(ParseError, websocket.StatusProtocolError, "attachments did not come")
	}
}
