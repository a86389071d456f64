package socketio

import (
	"context"
	"time"

	"github.com/coder/websocket"
	"github.com/crossroom/crossroom/adapter"
)

// send puts a packet into the connection's queue. A client whose queue is full ends.
// It never blocks, and may be called from anywhere.
func (c *conn) send(f adapter.Frames, volatile bool) {
	if c.put(f, volatile) == full {
		c.end(SlowClient, 0, "")
	}
}

// sendLocked is send for callers that hold c.mu.
func (c *conn) sendLocked(f adapter.Frames) {
	if c.put(f, false) == full {
		c.endLocked(SlowClient, 0, "")
	}
}

func (c *conn) put(f adapter.Frames, volatile bool) verdict {
	v := c.out.put(f, volatile)
	if v == leftOut {
		c.server.volatile.Add(1)
	}
	return v
}

// write sends what is in the queue, and at the end says goodbye.
func (c *conn) write(ws *websocket.Conn) {
	var batch []adapter.Frames
	for {
		clear(batch)
		if batch = c.out.take(c.ctx, batch); batch == nil {
			break
		}
		for _, f := range batch {
			if err := writeFrames(c.ctx, ws, f); err != nil {
				c.end(TransportClose, 0, "")
				return
			}
			c.out.written(f)
		}
	}
	c.mu.Lock()
	status, message := c.status, c.message
	c.mu.Unlock()
	if status != 0 && c.ctx.Err() == nil {
		ws.Close(status, message)
	}
	c.giveUp()
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

// end ends the connection and all of its sockets, once. With a status the client gets
// what waits for it and a farewell, for which it has CloseTimeout; without one the
// connection is given up at once.
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
	c.out.close(status == 0)
	if status == 0 {
		c.giveUp()
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

// onBeat sends a ping, or ends the connection if the last one was not answered.
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

// expectAttachments starts or stops the time in which they must come.
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
