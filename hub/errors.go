package hub

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/crossroom/crossroom/internal/errorlog"
)

// The codes with which the hub itself closes connections, of RFC 6455 and its registry.
const (
	codeNormal      = 1000
	codeGoingAway   = 1001
	codeProtocol    = 1002
	codeNoStatus    = 1005
	codeAbnormal    = 1006
	codeInvalid     = 1007
	codePolicy      = 1008
	codeTooLarge    = 1009
	codeInternal    = 1011
	codeRestart     = 1012
	codeTryLater    = 1013
	maxReason       = 123 // bytes in a close frame
	maxStatusReason = 1 << 10
)

// CloseError is the end of a connection. Options.OnDisconnect gets it, and OnConnect and OnMessage return it to close
// their connection.
type CloseError struct {
	// Code is the WebSocket close code. 1006 means that the connection broke, and 1005 that the client sent no code.
	// A code of OnConnect or OnMessage that cannot be sent, such as 0, becomes 1011, as with Conn.Close.
	Code int
	// Reason is the text that goes to the client, or comes from it: at most 123 bytes of UTF-8. A longer one is cut.
	Reason string
	// Remote means that the client closed the connection.
	Remote bool
	// Err is the cause. It does not go to the client. Nil if Code says everything.
	Err error
}

func (e *CloseError) Error() string {
	by := "server"
	if e.Remote {
		by = "client"
	}
	text := fmt.Sprintf("hub: connection closed by the %s with code %d", by, e.Code)
	if e.Reason != "" {
		text += fmt.Sprintf(" (%q)", e.Reason)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *CloseError) Unwrap() error { return e.Err }

// StatusError is a refusal by Options.Authenticate or Options.Resume: the HTTP status and the text of the response, of
// which the client gets at most 1,024 bytes. Status 204 makes an EventSource stop reconnecting.
type StatusError struct {
	Status int
	Reason string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("hub: refused with status %d: %s", e.Status, e.Reason)
}

// Refuse returns a *StatusError.
func Refuse(status int, reason string) error { return &StatusError{status, reason} }

// ErrGap is for Options.Resume to return, and Conn.Send returns ErrDropped. The others are causes of a CloseError.
var (
	// ErrGap: the history does not reach back to the last event of the client.
	ErrGap = errors.New("the history does not reach back so far")
	// ErrDropped: Conn.Send did not queue the message, because the queue is full or the connection has ended.
	ErrDropped = errors.New("hub: the connection's queue does not take the message")
	// ErrTooLarge: the client's message exceeds Options.MaxMessage. A Socket returns it from Read.
	ErrTooLarge = errors.New("message is too large")
	// ErrUnresponsive: the client did not answer a ping within Options.PingTimeout.
	ErrUnresponsive = errors.New("client did not answer a ping")
)

// write sends a refusal as an HTTP response.
func (e *StatusError) write(w http.ResponseWriter) {
	if e.Status < 200 || e.Status > 999 {
		e = &StatusError{http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError)}
	}
	if e.Status == http.StatusNoContent || e.Status == http.StatusNotModified {
		w.WriteHeader(e.Status)
		return
	}
	http.Error(w, e.Reason[:min(len(e.Reason), maxStatusReason)], e.Status)
}

// panicError reports that a callback of the host panicked.
type panicError struct {
	what, id string
	value    any
	stack    []byte
}

func (e *panicError) Error() string {
	value := errorlog.Printable(fmt.Sprint(e.value), 1000)
	if e.id == "" {
		return fmt.Sprintf("hub: %s panicked: %s", e.what, value)
	}
	return fmt.Sprintf("hub: %s of connection %s panicked: %s", e.what, e.id, value)
}

func stackOf(err error) []byte {
	var p *panicError
	if errors.As(err, &p) {
		return p.stack
	}
	return nil
}
