// Package hubtest has the tests that every glue of a WebSocket package passes, and a client that can break the rules.
package hubtest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// Opcodes of frames.
const (
	Continuation = 0
	TextFrame    = 1
	BinaryFrame  = 2
	CloseFrame   = 8
	PingFrame    = 9
	PongFrame    = 10
	Fin          = 0x80
)

// Client is a WebSocket client without manners: it sends what it is told, and answers pings only in Next.
type Client struct {
	Conn net.Conn
	r    *bufio.Reader
}

// Refused is the response to a handshake that was refused.
type Refused struct{ Status int }

func (e *Refused) Error() string { return fmt.Sprintf("handshake refused with status %d", e.Status) }

// Dial makes a connection. head are further lines of the request.
func Dial(address string, head ...string) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	head = append([]string{"GET " + u.RequestURI() + " HTTP/1.1", "Host: " + u.Host, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, head...)
	if _, err := io.WriteString(conn, strings.Join(head, "\r\n")+"\r\n\r\n"); err != nil {
		conn.Close()
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 512)
	res, err := http.ReadResponse(r, nil)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = &Refused{res.StatusCode}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return &Client{conn, r}, nil
}

// MustDial is Dial, and closes the client with the test.
func MustDial(t testing.TB, address string, head ...string) *Client {
	t.Helper()
	c, err := Dial(address, head...)
	require.NoError(t, err)
	t.Cleanup(func() { c.Conn.Close() })
	return c
}

// Frame returns a masked frame; the mask is zero.
func Frame(first byte, payload []byte) []byte {
	return append(FrameHead(first, uint64(len(payload))), payload...)
}

// FrameHead returns the head of a frame with a payload of n bytes.
func FrameHead(first byte, n uint64) []byte {
	b := []byte{first}
	switch {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), n)
	}
	return append(b, 0, 0, 0, 0)
}

// Raw sends bytes.
func (c *Client) Raw(b []byte) error {
	c.Conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.Conn.Write(b)
	return err
}

// Say sends a text message.
func (c *Client) Say(text string) error { return c.Raw(Frame(Fin|TextFrame, []byte(text))) }

// Next returns the next frame that is no ping, and answers pings.
func (c *Client) Next() (first byte, payload []byte, err error) {
	for {
		c.Conn.SetReadDeadline(time.Now().Add(patience))
		first, payload, err = c.frame()
		if err != nil || first != Fin|PingFrame {
			return first, payload, err
		}
		if err := c.Raw(Frame(Fin|PongFrame, payload)); err != nil {
			return 0, nil, err
		}
	}
}

func (c *Client) frame() (byte, []byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	var long [8]byte
	var err error
	switch n {
	case 126:
		_, err = io.ReadFull(c.r, long[6:])
		n = binary.BigEndian.Uint64(long[:])
	case 127:
		_, err = io.ReadFull(c.r, long[:])
		n = binary.BigEndian.Uint64(long[:])
	}
	if err == nil && n > 64<<20 {
		err = errors.New("the server sent a frame that is none, or too large")
	}
	if err != nil {
		return 0, nil, err
	}
	payload := make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	return head[0], payload, err
}

// Heard returns the next message.
func (c *Client) Heard(t testing.TB) string {
	t.Helper()
	first, payload, err := c.Next()
	require.NoError(t, err)
	require.Contains(t, []byte{Fin | TextFrame, Fin | BinaryFrame}, first, "a frame with %q", payload)
	return string(payload)
}

// Closed reads until the server closes, answers it, and returns the code: 1006 without a close frame.
func (c *Client) Closed() (code int, reason string) {
	for {
		first, payload, err := c.Next()
		switch {
		case err != nil:
			return 1006, err.Error()
		case first == Fin|CloseFrame && len(payload) >= 2:
			c.Raw(Frame(Fin|CloseFrame, payload[:2]))
			io.Copy(io.Discard, c.r) // until the server closes the connection
			c.Conn.Close()
			return int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
	}
}
