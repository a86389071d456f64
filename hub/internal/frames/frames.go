// Package frames has the connection that the hub's glue gives to a WebSocket package. The package reads from it and
// writes its control frames to it. The hub writes data frames, which all connections share, beside them.
package frames

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Append appends an unmasked frame with a whole message to b.
func Append(b []byte, isBinary bool, data []byte) []byte {
	opcode := byte(0x81)
	if isBinary {
		opcode = 0x82
	}
	b = append(b, opcode)
	switch n := len(data); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, data...)
}

// MaxHead is the number of bytes that Append writes in front of the data, at most.
const MaxHead = 10

// ErrFlood: the client sent more bytes than allowed, and no whole message.
var ErrFlood = errors.New("too many bytes without a message")

// Conn is a hijacked connection. Write and WriteFrames may be called at the same time, if each call of Write has
// whole frames. Write deadlines of the WebSocket package have no effect: they would end the hub's writes too, which
// have time limits of their own.
type Conn struct {
	net.Conn
	rest   []byte       // what was read before the connection was hijacked
	credit atomic.Int64 // bytes that may be read before Renew
	grant  int64

	mu     sync.Mutex // held while frames are written
	closed bool       // a close frame was written
}

// Grant returns what a client may send between two whole messages: one message in many frames, and control frames.
func Grant(maxMessage int) int64 { return 2*int64(maxMessage) + 64<<10 }

// Wrap returns a ResponseWriter whose Hijack gives out a Conn, and a function that returns that Conn, or nil if the
// response was not hijacked. Between two calls of Renew the client may send grant bytes.
func Wrap(w http.ResponseWriter, grant int64) (http.ResponseWriter, func() *Conn) {
	h := &hijacker{ResponseWriter: w, grant: grant}
	return h, func() *Conn { return h.conn }
}

type hijacker struct {
	http.ResponseWriter
	grant int64
	conn  *Conn
}

func (h *hijacker) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Buffers of a connection. The reader's also bounds what is read at once; the writer's only has control frames, and
// is as large as gorilla/websocket demands.
const (
	readBuffer  = 1 << 10
	writeBuffer = 384
)

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	raw, old, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c := &Conn{Conn: raw, grant: h.grant}
	c.credit.Store(h.grant)
	if n := old.Reader.Buffered(); n > 0 {
		b, _ := old.Reader.Peek(n)
		c.rest = append(c.rest, b...)
	}
	h.conn = c
	return c, bufio.NewReadWriter(bufio.NewReaderSize(c, readBuffer), bufio.NewWriterSize(c, writeBuffer)), nil
}

// Renew lets the client send bytes again: it has sent a whole message, or some time has elapsed.
func (c *Conn) Renew() { c.credit.Store(c.grant) }

func (c *Conn) Read(b []byte) (n int, err error) {
	if len(c.rest) > 0 {
		n = copy(b, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
	} else {
		n, err = c.Conn.Read(b)
	}
	if c.credit.Add(-int64(n)) < 0 {
		return 0, ErrFlood
	}
	return n, err
}

func (c *Conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(b) > 0 && b[0] == closeFrame {
		c.closed = true
	}
	return c.Conn.Write(b)
}

// WriteFrames writes whole frames with one system call, where the system can. It keeps nothing of list.
func (c *Conn) WriteFrames(list [][]byte) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	switch _, tcp := c.Conn.(*net.TCPConn); {
	case len(list) == 1:
		_, err = c.Conn.Write(list[0])
	case tcp:
		_, err = (*net.Buffers)(&list).WriteTo(c.Conn)
	default: // such as TLS, where each call makes a record
		_, err = c.Conn.Write(bytes.Join(list, nil))
	}
	return err
}

// SetDeadline sets the deadline of reading only.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline has no effect.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// Refuse closes the connection of a client that has broken a rule. It sends a close frame, unless the WebSocket package
// has done that, and the end of the stream. Then it reads and drops what comes, until the client closes too, or sends
// nothing for a second, or Abort is called: a connection that is closed with unread bytes is reset, and the client may
// miss the close frame.
func (c *Conn) Refuse(code int, reason string) error {
	payload := append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
	c.mu.Lock()
	var err error
	if !c.closed {
		c.closed = true
		_, err = c.Conn.Write(append([]byte{closeFrame, byte(len(payload))}, payload...))
	}
	c.mu.Unlock()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		b := make([]byte, 4<<10)
		for err := error(nil); err == nil; {
			c.SetReadDeadline(time.Now().Add(time.Second))
			_, err = c.Conn.Read(b)
		}
	}
	return errors.Join(err, c.Conn.Close())
}

// Abort closes the connection at once.
func (c *Conn) Abort() { c.Conn.Close() }

const closeFrame = 0x88
