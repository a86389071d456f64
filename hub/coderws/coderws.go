// Package coderws connects WebSockets of github.com/coder/websocket to a hub:
//
//	http.Handle("/ws", coderws.Handler(h, nil))
package coderws

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/hub/internal/frames"
)

// Handler returns a handler that makes connections of WebSocket requests. Nil options are good defaults. The hub
// checks the origin, by hub.Options.Origins: those of opts have no effect. Without a CompressionMode in opts, all
// connections share the bytes of a message that is sent to many; with one, each connection compresses it.
func Handler(h *hub.Hub, opts *websocket.AcceptOptions) http.Handler {
	var o websocket.AcceptOptions
	if opts != nil {
		o = *opts
	}
	o.InsecureSkipVerify = true // the hub has checked it
	return h.WebSocket(func(w http.ResponseWriter, r *http.Request, maxMessage int) (hub.Socket, error) {
		w, conn := frames.Wrap(w, frames.Grant(maxMessage))
		ws, err := websocket.Accept(w, r, &o)
		if err != nil {
			return nil, err
		}
		ws.SetReadLimit(int64(maxMessage))
		s := &socket{ws: ws, conn: conn()}
		if o.CompressionMode == websocket.CompressionDisabled {
			return shared{s}, nil
		}
		return s, nil
	})
}

type socket struct {
	ws     *websocket.Conn
	conn   *frames.Conn
	failed atomic.Bool // the client has broken a rule
}

// shared is a socket that takes frames.
type shared struct{ *socket }

func (s shared) WriteFrames(list [][]byte) error { return s.conn.WriteFrames(list) }

func (s *socket) Read() (hub.Message, error) {
	kind, data, err := s.ws.Read(context.Background())
	if err != nil {
		return hub.Message{}, s.reason(err)
	}
	s.conn.Renew()
	return hub.Message{Data: data, Binary: kind == websocket.MessageBinary}, nil
}

// reason returns the error in the form that the hub expects.
func (s *socket) reason(err error) error {
	var closed websocket.CloseError
	var network net.Error
	switch {
	case errors.As(err, &closed):
		return &hub.CloseError{Code: int(closed.Code), Reason: closed.Reason, Remote: true}
	case errors.Is(err, websocket.ErrMessageTooBig):
		s.failed.Store(true)
		return hub.ErrTooLarge
	case errors.Is(err, frames.ErrFlood):
		s.failed.Store(true)
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.As(err, &network):
		return err
	}
	s.failed.Store(true)
	return &hub.CloseError{Code: int(websocket.StatusProtocolError), Reason: "protocol error", Err: err}
}

func (s *socket) Write(m hub.Message) error {
	kind := websocket.MessageText
	if m.Binary {
		kind = websocket.MessageBinary
	}
	return s.ws.Write(context.Background(), kind, m.Data)
}

func (s *socket) Ping(ctx context.Context) error {
	s.conn.Renew()
	return s.ws.Ping(ctx)
}

func (s *socket) Close(code int, reason string) error {
	if s.failed.Load() {
		return s.conn.Refuse(code, reason)
	}
	return s.ws.Close(websocket.StatusCode(code), reason)
}

// CloseNow closes the network connection first: CloseNow of the package waits for a Close in progress.
func (s *socket) CloseNow() {
	s.conn.Abort()
	s.ws.CloseNow()
}
