// Package gorillaws connects WebSockets of github.com/gorilla/websocket to a hub:
//
//	http.Handle("/ws", gorillaws.Handler(h, nil))
package gorillaws

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/hub/internal/frames"
)

// Handler returns a handler that makes connections of WebSocket requests. A nil upgrader has good defaults. The hub
// checks the origin, by hub.Options.Origins: CheckOrigin of the upgrader has no effect. Without EnableCompression, all
// connections share the bytes of a message that is sent to many; with it, each connection compresses it.
func Handler(h *hub.Hub, upgrader *websocket.Upgrader) http.Handler {
	var u websocket.Upgrader
	if upgrader != nil {
		u = *upgrader
	}
	u.CheckOrigin = func(*http.Request) bool { return true } // the hub has checked it
	return h.WebSocket(func(w http.ResponseWriter, r *http.Request, maxMessage int) (hub.Socket, error) {
		w, conn := frames.Wrap(w, frames.Grant(maxMessage))
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return nil, err
		}
		s := &socket{ws: ws, conn: conn(), max: int64(maxMessage)}
		ws.SetPongHandler(s.onPong)
		if !u.EnableCompression {
			return shared{s}, nil
		}
		return s, nil
	})
}

type socket struct {
	ws     *websocket.Conn
	conn   *frames.Conn
	max    int64
	failed atomic.Bool // the client has broken a rule, and cannot be read any more

	mu    sync.Mutex
	pings uint64
	pongs map[string]chan struct{} // of Ping calls that wait
}

// shared is a socket that takes frames.
type shared struct{ *socket }

func (s shared) WriteFrames(list [][]byte) error { return s.conn.WriteFrames(list) }

// controlTimeout limits the writing of a control frame. The hub breaks a connection off that takes longer.
const controlTimeout = time.Minute

func (s *socket) Read() (m hub.Message, err error) {
	kind, r, err := s.ws.NextReader()
	if err == nil {
		// The limit of the package counts compressed bytes.
		m = hub.Message{Binary: kind == websocket.BinaryMessage}
		if m.Data, err = io.ReadAll(io.LimitReader(r, s.max+1)); int64(len(m.Data)) > s.max {
			err = hub.ErrTooLarge
		}
	}
	if err != nil {
		return hub.Message{}, s.reason(err)
	}
	s.conn.Renew()
	return m, nil
}

// reason returns the error in the form that the hub expects.
func (s *socket) reason(err error) error {
	var closed *websocket.CloseError
	var network net.Error
	switch {
	case errors.Is(err, hub.ErrTooLarge), errors.Is(err, frames.ErrFlood):
		s.failed.Store(true)
		return err
	case errors.As(err, &closed) && closed.Code == websocket.CloseAbnormalClosure, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.As(err, &network):
		return err
	case closed != nil:
		return &hub.CloseError{Code: closed.Code, Reason: closed.Text, Remote: true}
	}
	s.failed.Store(true)
	return &hub.CloseError{Code: websocket.CloseProtocolError, Reason: "protocol error", Err: err}
}

func (s *socket) Write(m hub.Message) error {
	kind := websocket.TextMessage
	if m.Binary {
		kind = websocket.BinaryMessage
	}
	return s.ws.WriteMessage(kind, m.Data)
}

func (s *socket) Ping(ctx context.Context) error {
	s.conn.Renew()
	pong := make(chan struct{})
	s.mu.Lock()
	s.pings++
	id := strconv.FormatUint(s.pings, 10)
	if s.pongs == nil {
		s.pongs = map[string]chan struct{}{}
	}
	s.pongs[id] = pong
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pongs, id)
		s.mu.Unlock()
	}()
	if err := s.ws.WriteControl(websocket.PingMessage, []byte(id), time.Now().Add(controlTimeout)); err != nil {
		return err
	}
	select {
	case <-pong:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *socket) onPong(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pong, ok := s.pongs[id]; ok {
		delete(s.pongs, id)
		close(pong)
	}
	return nil
}

func (s *socket) Close(code int, reason string) error {
	if s.failed.Load() {
		return s.conn.Refuse(code, reason)
	}
	return s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(controlTimeout))
}

func (s *socket) CloseNow() { s.conn.Abort() }
